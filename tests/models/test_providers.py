"""Providers: our request on the wire, their stream as our completion, and what is asked again."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from overnight.domain.conversation import Message, Request, ToolCall, ToolSpec
from overnight.domain.errors import (
    ContextOverflowError,
    CredentialError,
    ModelError,
    ModelUnavailableError,
    UsageError,
)
from overnight.models.catalog import PROVIDERS, Provider
from overnight.models.provider_open import open_provider as open_profiled
from overnight.models.provider_prices import priced_profile
from overnight.models.providers import ProviderModel
from tests.models.loopback import Loopback, Reply, loopback

pytestmark = pytest.mark.anyio

STREAM = {"Content-Type": "text/event-stream"}
JSON = {"Content-Type": "application/json"}
ASK = Request(messages=(Message(role="system", text="Be brief."), Message(role="user", text="Hello")))
SHELL = ToolSpec(
    name="shell",
    description="Runs a command.",
    parameters={"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]},
)


def open_provider(provider: Provider, name: str, keys: Mapping[str, str]) -> ProviderModel:
    return open_profiled(provider, name, keys, priced_profile(provider, name))


def sse(*events: Mapping[str, Any], names: bool = False) -> bytes:
    lines = [
        (f"event: {event['type']}\n" if names else "") + f"data: {json.dumps(event)}\n\n" for event in events
    ]
    return "".join(lines).encode()


def chat(delta: Mapping[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    base = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return base | {"choices": [choice]} | more


CHAT_USAGE = {
    "prompt_tokens": 20,
    "completion_tokens": 5,
    "total_tokens": 25,
    "prompt_tokens_details": {"cached_tokens": 8},
}
CHAT_TEXT = (
    sse(
        chat({"role": "assistant", "content": "Hi "}),
        chat({"content": "there"}),
        chat({}, "stop", usage=CHAT_USAGE),
    )
    + b"data: [DONE]\n\n"
)
CHAT_CALL = (
    sse(
        chat(
            {
                "role": "assistant",
                "tool_calls": [
                    {
                        "index": 0,
                        "id": "call_9",
                        "type": "function",
                        "function": {"name": "shell", "arguments": ""},
                    }
                ],
            }
        ),
        chat({"tool_calls": [{"index": 0, "function": {"arguments": '{"command":'}}]}),
        chat({"tool_calls": [{"index": 0, "function": {"arguments": ' "ls"}'}}]}),
        chat({}, "tool_calls", usage=CHAT_USAGE),
    )
    + b"data: [DONE]\n\n"
)


def failure(status: int, message: str, code: str = "", **headers: str) -> Reply:
    body = {"error": {"message": message, "type": code or "error", "code": code or None}}
    return Reply(json.dumps(body).encode(), status, JSON | headers)


def openai(server: Loopback) -> ProviderModel:
    keys = {"OPENAI_API_KEY": "key-1", "OPENAI_BASE_URL": f"{server.url}/v1"}
    model = open_provider(PROVIDERS["openai-chat"], "gpt-4.1", keys)
    model._first_wait = 0.001  # pyright: ignore[reportPrivateUsage]
    return model


async def test_openai_text_is_streamed_with_usage_and_cost() -> None:
    deltas: list[str] = []
    with loopback([Reply(CHAT_TEXT, headers=STREAM)]) as server:
        model = openai(server)
        completion = await model.complete(ASK, deltas.append)
        await model.close()
    assert completion.text == "Hi there" == "".join(deltas)
    assert len(deltas) == 2
    assert completion.finish == "stop"
    assert (completion.usage.input_tokens, completion.usage.cached_tokens) == (20, 8)
    assert completion.usage.output_tokens == 5
    assert completion.usage.cost_usd == pytest.approx((12 * 2.0 + 8 * 0.5 + 5 * 8.0) / 1e6)
    body = json.loads(server.bodies[0])
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    assert body["temperature"] == 0.0
    assert server.headers[0]["authorization"] == "Bearer key-1"
    assert server.paths == ["/v1/chat/completions"]


async def test_openai_tool_calls_go_out_and_come_back() -> None:
    history = (
        *ASK.messages,
        Message(
            role="assistant", tool_calls=(ToolCall(id="call_1", name="shell", arguments='{"command":"id"}'),)
        ),
        Message(role="tool", text="uid=1000", tool_call_id="call_1"),
    )
    with loopback([Reply(CHAT_CALL, headers=STREAM)]) as server:
        model = openai(server)
        completion = await model.complete(Request(messages=history, tools=(SHELL,)))
        await model.close()
    assert completion.finish == "tool_calls"
    assert [(call.id, call.name) for call in completion.tool_calls] == [("call_9", "shell")]
    assert json.loads(completion.tool_calls[0].arguments) == {"command": "ls"}
    body = json.loads(server.bodies[0])
    assert body["tools"][0]["function"]["name"] == "shell"
    assert body["messages"][2]["tool_calls"][0]["function"]["arguments"] == '{"command":"id"}'
    assert body["messages"][3] == {"role": "tool", "tool_call_id": "call_1", "content": "uid=1000"}


async def test_a_rate_limit_waits_as_long_as_the_provider_asks() -> None:
    waits: list[str] = []
    limited = failure(429, "slow down", "rate_limit_exceeded", **{"Retry-After": "0"})
    with loopback([limited, Reply(CHAT_TEXT, headers=STREAM)]) as server:
        model = openai(server)
        model._first_wait = 3600.0  # pyright: ignore[reportPrivateUsage]
        completion = await model.complete(ASK, None, waits.append)
        await model.close()
    assert completion.text == "Hi there"
    assert len(server.bodies) == 2
    assert len(waits) == 1
    assert "slow down" in waits[0]


async def test_too_much_patience_asked_is_an_error_at_once() -> None:
    limited = failure(429, "slow down", "rate_limit_exceeded", **{"Retry-After": "86400"})
    with loopback([limited]) as server:
        model = openai(server)
        with pytest.raises(ModelUnavailableError, match="86400"):
            await model.complete(ASK)
        await model.close()
    assert len(server.bodies) == 1


async def test_a_refused_key_names_its_variable() -> None:
    with loopback([failure(401, "Incorrect API key", "invalid_api_key")]) as server:
        model = openai(server)
        with pytest.raises(CredentialError) as caught:
            await model.complete(ASK)
        await model.close()
    assert "OPENAI_API_KEY" in caught.value.hint
    assert len(server.bodies) == 1


async def test_a_server_error_is_asked_again() -> None:
    with loopback([failure(500, "oops"), failure(503, "busy"), Reply(CHAT_TEXT, headers=STREAM)]) as server:
        model = openai(server)
        assert (await model.complete(ASK)).text == "Hi there"
        await model.close()
    assert len(server.bodies) == 3


async def test_a_server_that_never_recovers_is_unavailable() -> None:
    with loopback([failure(500, "oops")]) as server:
        model = openai(server)
        with pytest.raises(ModelUnavailableError, match="oops"):
            await model.complete(ASK)
        await model.close()
    assert len(server.bodies) == 7


@pytest.mark.parametrize("cut", [True, False])
async def test_a_stream_that_breaks_off_is_asked_again(cut: bool) -> None:
    half = Reply(sse(chat({"role": "assistant", "content": "Hi th"})), headers=STREAM, cut=cut)
    with loopback([half, Reply(CHAT_TEXT, headers=STREAM)]) as server:
        model = openai(server)
        assert (await model.complete(ASK)).text == "Hi there"
        await model.close()
    assert len(server.bodies) == 2


async def test_a_request_that_does_not_fit_is_said_so() -> None:
    reply = failure(400, "This model's maximum context length is 8 tokens.", "context_length_exceeded")
    with loopback([reply]) as server:
        model = openai(server)
        with pytest.raises(ContextOverflowError):
            await model.complete(ASK)
        await model.close()


async def test_a_refused_request_is_not_asked_again() -> None:
    with loopback([failure(400, "bad temperature", "invalid_request_error")]) as server:
        model = openai(server)
        with pytest.raises(ModelError, match="bad temperature"):
            await model.complete(ASK)
        await model.close()
    assert len(server.bodies) == 1


async def test_nobody_listens() -> None:
    with loopback([failure(500, "never asked")]) as server:
        pass
    model = openai(server)
    with pytest.raises(ModelUnavailableError):
        await model.complete(ASK)
    await model.close()


def anthropic_message(stop: str, *blocks: Mapping[str, Any]) -> bytes:
    message: dict[str, Any] = {
        "id": "m1",
        "type": "message",
        "role": "assistant",
        "content": [],
        "model": "claude-sonnet-5-5",
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 12, "cache_read_input_tokens": 8, "output_tokens": 1},
    }
    ended = {"stop_reason": stop, "stop_sequence": None}
    return sse(
        {"type": "message_start", "message": message},
        *blocks,
        {"type": "message_delta", "delta": ended, "usage": {"output_tokens": 5}},
        {"type": "message_stop"},
        names=True,
    )


ANTHROPIC_TEXT = anthropic_message(
    "end_turn",
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi "}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "there"}},
    {"type": "content_block_stop", "index": 0},
)
ANTHROPIC_CALL = anthropic_message(
    "tool_use",
    {
        "type": "content_block_start",
        "index": 0,
        "content_block": {"type": "tool_use", "id": "toolu_1", "name": "shell", "input": {}},
    },
    {
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": "input_json_delta", "partial_json": '{"command": "ls"}'},
    },
    {"type": "content_block_stop", "index": 0},
)


def anthropic(server: Loopback) -> ProviderModel:
    keys = {"ANTHROPIC_API_KEY": "key-2", "ANTHROPIC_BASE_URL": server.url}
    model = open_provider(PROVIDERS["anthropic"], "claude-sonnet-5-5", keys)
    model._first_wait = 0.001  # pyright: ignore[reportPrivateUsage]
    return model


async def test_anthropic_text_after_an_overload() -> None:
    overloaded = Reply(
        b'{"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}', 529, JSON
    )
    deltas: list[str] = []
    with loopback([overloaded, Reply(ANTHROPIC_TEXT, headers=STREAM)]) as server:
        model = anthropic(server)
        completion = await model.complete(ASK, deltas.append)
        await model.close()
    assert completion.text == "Hi there" == "".join(deltas)
    assert (completion.usage.input_tokens, completion.usage.cached_tokens) == (20, 8)
    assert completion.usage.cost_usd > 0
    sent = server.headers[0]
    assert "key-2" in sent.get("x-api-key", "") + sent.get("authorization", "")
    assert server.paths[0].startswith("/v1/messages")


async def test_anthropic_tool_call() -> None:
    with loopback([Reply(ANTHROPIC_CALL, headers=STREAM)]) as server:
        model = anthropic(server)
        completion = await model.complete(
            Request(messages=ASK.messages, tools=(SHELL,), max_output_tokens=77)
        )
        await model.close()
    assert completion.finish == "tool_calls"
    assert json.loads(completion.tool_calls[0].arguments) == {"command": "ls"}
    body = json.loads(server.bodies[0])
    assert body["max_tokens"] == 77
    assert body["tools"][0]["name"] == "shell"


async def test_anthropic_refused_key() -> None:
    reply = Reply(
        b'{"type": "error", "error": {"type": "authentication_error", "message": "invalid x-api-key"}}',
        401,
        JSON,
    )
    with loopback([reply]) as server:
        model = anthropic(server)
        with pytest.raises(CredentialError) as caught:
            await model.complete(ASK)
        await model.close()
    assert "ANTHROPIC_API_KEY" in caught.value.hint


async def test_google_text() -> None:
    event = {
        "candidates": [
            {"content": {"role": "model", "parts": [{"text": "Hi there"}]}, "finishReason": "STOP"}
        ],
        "usageMetadata": {"promptTokenCount": 20, "candidatesTokenCount": 5, "totalTokenCount": 25},
        "modelVersion": "gemini-3.8-flash",
    }
    with loopback([Reply(sse(event), headers=STREAM)]) as server:
        provider = PROVIDERS["google"]
        model = open_provider(
            provider, "gemini-3.8-flash", {"GEMINI_API_KEY": "k", "GOOGLE_BASE_URL": server.url}
        )
        completion = await model.complete(ASK)
        await model.close()
    assert completion.text == "Hi there"
    assert completion.usage.output_tokens == 5


def test_a_missing_key_names_the_variables() -> None:
    with pytest.raises(CredentialError) as caught:
        open_provider(PROVIDERS["google"], "gemini-2.5-pro", {})
    assert "GEMINI_API_KEY or GOOGLE_API_KEY" in caught.value.hint


def test_a_compatible_server_needs_its_address() -> None:
    with pytest.raises(UsageError) as caught:
        open_provider(PROVIDERS["openai-compatible"], "any", {})
    assert "OPENAI_COMPATIBLE_BASE_URL" in caught.value.hint
