"""Chains of models, and what a configuration says of them."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from overnight.domain.conversation import Message, Request
from overnight.domain.errors import ContextOverflowError, ModelUnavailableError, UsageError
from overnight.models.fallback import FallbackModel
from overnight.models.open import ModelSettings, open_model
from overnight.models.overrides import ModelOverride, read_overrides
from overnight.models.providers import ProviderModel
from overnight.models.scripted import ScriptedModel
from tests.models import streams
from tests.models.loopback import Reply, loopback
from tests.models.wires import WIRES

pytestmark = pytest.mark.anyio

ASK = Request(messages=(Message(role="user", text="Hello"),))


class Failing(ScriptedModel):
    """A model that raises."""

    def __init__(self, name: str, error: Exception) -> None:
        super().__init__([], name=name)
        self._error = error

    async def complete(self, request: Request, *listeners: Any, **named: Any) -> Any:
        self.requests.append(request)
        raise self._error


async def test_the_next_model_answers_where_one_is_not_available() -> None:
    first = Failing("a", ModelUnavailableError("a does not answer."))
    second = ScriptedModel(["from b", "again"], name="b")
    chain = FallbackModel("a > b", [first, second])
    waits: list[str] = []
    completion = await chain.complete(ASK, on_waiting=waits.append)
    assert (completion.text, completion.model) == ("from b", "b")
    assert waits == ["a does not answer. Asking b instead."]
    assert (await chain.complete(ASK)).text == "again"
    assert len(first.requests) == 1  # it rests for a while
    await chain.close()


async def test_the_last_error_is_told_and_a_request_that_does_not_fit_goes_nowhere_else() -> None:
    gone = [Failing(name, ModelUnavailableError(f"{name} does not answer.")) for name in ("a", "b")]
    with pytest.raises(ModelUnavailableError, match="b does not answer"):
        await FallbackModel("a > b", gone).complete(ASK)
    other = ScriptedModel(["no"])
    with pytest.raises(ContextOverflowError):
        await FallbackModel("a > b", [Failing("a", ContextOverflowError("too long")), other]).complete(ASK)
    assert other.requests == []


def test_a_chain_promises_what_all_of_it_can_do() -> None:
    small = ScriptedModel([])
    small.profile = msgspec.structs.replace(small.profile, context_tokens=1000, images=False, parallel=1)
    profile = FallbackModel("x", [ScriptedModel([]), small]).profile
    assert (profile.name, profile.context_tokens, profile.images, profile.parallel) == ("x", 1000, False, 1)


async def test_a_chain_is_written_with_arrows_or_configured(tmp_path: Path) -> None:
    keys = {"OPENAI_API_KEY": "k", "ANTHROPIC_API_KEY": "k"}
    written = open_model("openai:gpt-4.1 > ollama:qwen", ModelSettings(cache=tmp_path, keys=keys))
    assert isinstance(written, FallbackModel)
    assert (written.name, written.profile.context_tokens) == ("openai:gpt-4.1 > ollama:qwen", 32_768)
    overrides = {"openai:gpt-4.1": ModelOverride(fallback=("ollama:qwen", "anthropic:claude-sonnet-5-5"))}
    configured = open_model("openai:gpt-4.1", ModelSettings(cache=tmp_path, keys=keys, overrides=overrides))
    assert isinstance(configured, FallbackModel)
    assert configured.name == "openai:gpt-4.1"
    for chain in ("a>", "openai:x > openai:x", "openai:x > nobody:y"):
        with pytest.raises(UsageError):
            open_model(chain, ModelSettings(cache=tmp_path, keys=keys))
    await written.close()
    await configured.close()


async def test_over_the_wire_a_chain_goes_from_one_provider_to_another(tmp_path: Path) -> None:
    chat, claude = WIRES[1], WIRES[2]
    quota = json.dumps(
        {"error": {"message": "no money", "type": "insufficient_quota", "code": "insufficient_quota"}}
    )
    with (
        loopback([Reply(quota.encode(), 429, streams.JSON)]) as broke,
        loopback([Reply(claude.text, headers=streams.STREAM)]) as rich,
    ):
        keys = {
            chat.key: "k1", chat.url_key: f"{broke.url}/v1", claude.key: "k2", claude.url_key: rich.url,
        }  # fmt: skip
        model = open_model(f"{chat.spec} > {claude.spec}", ModelSettings(cache=tmp_path, keys=keys))
        completion = await model.complete(ASK)
        await model.close()
    assert (completion.text, completion.model) == ("Done.", claude.spec)
    assert "k1" not in str(rich.headers) + str(rich.bodies)
    assert completion.usage.cost_usd > 0


def test_the_configuration_goes_before_the_catalog(tmp_path: Path) -> None:
    tables = {
        "vllm:*": {"context_tokens": 100_000, "input_price": 0, "output_price": 0},
        "vllm:qwen": {
            "context_tokens": 200_000,
            "edit_format": "replace",
            "reasoning": "none",
            "images": True,
        },
    }
    settings = ModelSettings(cache=tmp_path, overrides=read_overrides(tables, "config.toml"))
    profile = open_model("vllm:qwen", settings).profile
    assert (profile.context_tokens, profile.edit_format, profile.images) == (200_000, "replace", True)
    assert (profile.reasoning, profile.priced, profile.token_trace) == ("none", True, True)
    assert open_model("vllm:other", settings).profile.context_tokens == 100_000
    assert open_model("embedded", settings).profile.context_tokens == 8_192


@pytest.mark.parametrize(
    "table",
    [
        {"contxt_tokens": 1},
        {"context_tokens": 0},
        {"input_price": -1.0},
        {"output_price": float("nan")},
        {"edit_format": "diff"},
        {"fallback": 3},
        "text",
    ],
)
def test_a_wrong_table_is_named(table: Any) -> None:
    with pytest.raises(UsageError) as caught:
        read_overrides({"openai:x": table}, "config.toml")
    assert 'config.toml: [models."openai:x"]' in caught.value.message


async def test_a_server_that_tells_tokens_has_them_kept(tmp_path: Path) -> None:
    """The fields of vLLM's `return_token_ids`, and log-probabilities as OpenAI has them."""
    logprobs = {"content": [{"token": "Do", "logprob": -0.25, "bytes": [68, 111], "top_logprobs": []}]}
    first = streams.chat_chunk({"role": "assistant", "content": "Do"}, prompt_token_ids=[1, 2, 3])
    first["choices"][0] |= {"logprobs": logprobs, "token_ids": [7]}
    second = streams.chat_chunk({"content": "ne."})
    second["choices"][0] |= {"token_ids": [8, 9]}
    end = streams.chat_chunk({}, "stop", usage=streams.CHAT_USAGE)
    body = streams.sse(first, second, end, end="data: [DONE]\n\n")
    with loopback([Reply(body, headers=streams.STREAM)]) as server:
        keys = {"VLLM_BASE_URL": f"{server.url}/v1"}
        model = open_model("vllm:qwen", ModelSettings(cache=tmp_path, keys=keys))
        assert isinstance(model, ProviderModel)
        completion = await model.complete(ASK)
        await model.close()
    assert completion.trace is not None
    assert completion.trace.prompt_ids == (1, 2, 3)
    assert completion.trace.ids == (7, 8, 9)
    assert completion.trace.logprobs == (-0.25,)
    assert completion.usage.unpriced_calls == 1
    asked = json.loads(server.bodies[0])
    assert (asked["return_token_ids"], asked["logprobs"]) == (True, True)
