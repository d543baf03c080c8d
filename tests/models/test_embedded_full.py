"""The real embedded model: it answers, its prompt cache works, and it survives its server's death."""

import os
import signal
from pathlib import Path

import platformdirs
import pytest

from overnight.domain.conversation import Message, Request
from overnight.domain.errors import ContextOverflowError
from overnight.models.embedded import EmbeddedModel
from overnight.models.open import ModelSettings, ensure_embedded, open_model, server_parameters
from overnight.models.server import ModelServer

pytestmark = [pytest.mark.anyio, pytest.mark.full]

PROMPT = """This Python function is wrong: it must return the largest of two numbers.

```python
def largest(a, b):
    if a < b:
        return a
    return b
```

Answer with the corrected function in one ```python block, and nothing else."""


async def test_the_real_model(tmp_path: Path) -> None:
    cache = platformdirs.user_cache_path("overnight")
    await ensure_embedded(ModelSettings(cache=cache))
    (tmp_path / "models").symlink_to(cache / "models")
    settings = ModelSettings(cache=tmp_path)
    model = open_model("embedded", settings)
    assert isinstance(model, EmbeddedModel)
    server = ModelServer(tmp_path, server_parameters(settings))
    try:
        request = Request(messages=(Message(role="user", text=PROMPT),), max_output_tokens=100)
        first = await model.complete(request)
        code = first.text.partition("```python")[2].partition("```")[0]
        names: dict[str, object] = {}
        exec(compile(code, "answer", "exec"), names)
        assert "largest" in names
        assert first.usage.input_tokens > 50
        assert first.usage.output_tokens > 10
        second = await model.complete(
            Request(messages=request.messages, max_output_tokens=8, temperature=0.8, seed=2)
        )
        assert second.usage.cached_tokens >= first.usage.input_tokens - 2
        assert second.finish == "length"
        stopped = await model.complete(
            Request(messages=request.messages, max_output_tokens=100, stop=("largest",))
        )
        assert "largest" not in stopped.text
        too_long = Request(messages=(Message(role="user", text="word " * 20_000),))
        with pytest.raises(ContextOverflowError):
            await model.complete(too_long)
        state = server.files.read_state()
        assert state is not None
        os.kill(state.pid, signal.SIGKILL)
        again = await model.complete(request)
        assert again.text == first.text
    finally:
        await server.stop()
        await model.close()
