"""Opening models by name, the default, and what `model list` shows."""

from pathlib import Path

import pytest

from overnight.domain.conversation import Message, Request
from overnight.domain.errors import CredentialError, NotFoundError, UsageError
from overnight.models.catalog import EMBEDDED, PROVIDERS, default_spec
from overnight.models.local import list_models, pull_model
from overnight.models.model_file import QWEN_CODER
from overnight.models.open import ModelSettings, key_names, open_model

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("spec", ["", "gpt-5", "nobody:model", "openai:", "scripted:"])
def test_a_wrong_name_lists_the_providers(tmp_path: Path, spec: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_model(spec, ModelSettings(cache=tmp_path))
    assert "anthropic" in caught.value.hint


def test_a_provider_without_its_key(tmp_path: Path) -> None:
    with pytest.raises(CredentialError) as caught:
        open_model("openai:gpt-5.6-terra", ModelSettings(cache=tmp_path))
    assert "OPENAI_API_KEY" in caught.value.hint


async def test_a_provider_knows_its_prices(tmp_path: Path) -> None:
    settings = ModelSettings(cache=tmp_path, keys={"ANTHROPIC_API_KEY": "k"})
    model = open_model("anthropic:claude-sonnet-5-5", settings)
    assert model.profile.agent == "loop"
    assert model.profile.context_tokens == 1_000_000
    prices = (model.profile.cached_price, model.profile.input_price, model.profile.output_price)
    assert 0 < (prices[0] or 0) < (prices[1] or 0) < (prices[2] or 0)
    await model.close()


async def test_an_unknown_local_model_gets_a_default(tmp_path: Path) -> None:
    model = open_model("ollama:something-new", ModelSettings(cache=tmp_path))
    assert model.profile.context_tokens == 32_768
    assert not model.profile.priced
    await model.close()


async def test_the_embedded_model_suits_repair(tmp_path: Path) -> None:
    model = open_model("embedded", ModelSettings(cache=tmp_path))
    assert model.profile == EMBEDDED
    assert model.profile.agent == "repair"
    assert not model.profile.tool_calls
    await model.close()


def test_a_model_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no model file"):
        open_model(f"embedded:{tmp_path}/big.gguf", ModelSettings(cache=tmp_path))


async def test_a_script(tmp_path: Path) -> None:
    path = tmp_path / "script.json"
    path.write_text('{"answers": ["hello"]}')
    model = open_model(f"scripted:{path}", ModelSettings(cache=tmp_path))
    answer = await model.complete(Request(messages=(Message(role="user", text="x"),)))
    assert answer.text == "hello"


def test_the_default_needs_no_key() -> None:
    assert default_spec({}) == "embedded"
    assert default_spec({"OPENAI_API_KEY": ""}) == "embedded"
    assert default_spec({"OPENAI_API_KEY": "k"}).startswith("openai:")


def test_the_list_shows_files_server_and_keys_but_no_secret(tmp_path: Path) -> None:
    settings = ModelSettings(cache=tmp_path, keys={"OPENAI_API_KEY": "very-secret"})
    listing = list_models(settings)
    (local,) = listing.local
    assert (local.name, local.ready, local.on_disk, local.size) == ("embedded", False, 0, QWEN_CODER.size)
    assert not local.server.running
    ready = {provider.name for provider in listing.providers if provider.ready}
    assert "openai" in ready
    assert "anthropic" not in ready
    (unaddressed,) = [one for one in listing.providers if one.key_optional and not one.ready]
    assert unaddressed.standing == "not set (OPENAI_COMPATIBLE_BASE_URL)"
    standing = {provider.name: provider.standing for provider in listing.providers}
    assert standing["openai"] == "ready (OPENAI_API_KEY)"
    assert standing["ollama"] == "no key needed (OLLAMA_BASE_URL if not http://127.0.0.1:11434/v1)"
    assert "very-secret" not in repr(listing)


async def test_pull_knows_only_local_models(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        await pull_model("llama", ModelSettings(cache=tmp_path))


def test_every_variable_of_a_provider_is_named() -> None:
    names = key_names()
    assert len(names) == len(set(names))
    assert all(key in names for provider in PROVIDERS.values() for key in provider.keys)
