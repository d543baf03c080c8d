"""What goes wrong at a provider, each in its own words: asked again, or one clear error."""

import json
from email.utils import formatdate
from typing import Any

import pytest

from overnight.domain.conversation import Completion, Message, Request, ToolSpec
from overnight.domain.errors import (
    ContextOverflowError,
    CredentialError,
    ModelError,
    ModelUnavailableError,
    QuotaError,
)
from overnight.models import providers
from tests.models import streams
from tests.models.loopback import Loopback, Reply, loopback
from tests.models.wires import WIRES, Wire

pytestmark = pytest.mark.anyio

BY_NAME = {wire.spec.partition(":")[0]: wire for wire in WIRES}
READ = ToolSpec(name="read", description="Reads.", parameters={"type": "object", "properties": {}})
ASK = Request(messages=(Message(role="user", text="Hello"),), tools=(READ,))


def error(status: int, message: str, kind: str = "error", headers: dict[str, str] | None = None) -> Reply:
    """Return an error in the form of OpenAI and its likes."""
    body = {"error": {"message": message, "type": kind, "code": kind, "param": None}}
    return Reply(json.dumps(body).encode(), status, streams.JSON | (headers or {}))


def anthropic_error(status: int, message: str, kind: str) -> Reply:
    body = {"type": "error", "error": {"type": kind, "message": message}}
    return Reply(json.dumps(body).encode(), status, streams.JSON)


def google_error(status: int, message: str, kind: str, *details: Any) -> Reply:
    body = {"error": {"code": status, "message": message, "status": kind, "details": details}}
    return Reply(json.dumps(body).encode(), status, streams.JSON)


@pytest.fixture(params=WIRES, ids=lambda wire: wire.spec.partition(":")[0])
def wire(request: pytest.FixtureRequest) -> Wire:
    return request.param


def text(wire: Wire) -> Reply:
    return Reply(wire.text, headers=streams.STREAM)


async def ask(
    wire: Wire, *replies: Reply, request: Request = ASK, **listeners: Any
) -> tuple[Completion, Loopback]:
    with loopback([*replies]) as server:
        model = wire.open(server)
        try:
            return await model.complete(request, **listeners), server
        finally:
            await model.close()


OVERFLOWS = {
    "openai": error(
        400,
        "Your input exceeds the context window of this model. Please adjust your input and try again.",
        "context_length_exceeded",
    ),
    "openai-chat": error(
        400,
        "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.",
        "context_length_exceeded",
    ),
    "anthropic": anthropic_error(
        400, "prompt is too long: 250000 tokens > 200000 maximum", "invalid_request_error"
    ),
    "google": google_error(
        400,
        "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
        "INVALID_ARGUMENT",
    ),
    "openrouter": error(
        400, "This endpoint's maximum context length is 131072 tokens. However, you requested about 200000."
    ),
}
COMPATIBLE_OVERFLOWS = {
    "vllm": error(
        400,
        "The decoder prompt (length 40000) is longer than the maximum model length of 32768.",
        "BadRequestError",
    ),
    "llamacpp": error(
        400,
        "the request exceeds the available context size, try increasing it",
        "exceed_context_size_error",
    ),
    "ollama": error(400, "input length exceeds the context length"),
    "lmstudio": error(
        400, "The number of tokens to keep from the initial prompt is greater than context length"
    ),
}


@pytest.mark.parametrize("name", OVERFLOWS)
async def test_a_request_that_does_not_fit(name: str) -> None:
    with pytest.raises(ContextOverflowError) as caught:
        await ask(BY_NAME[name], OVERFLOWS[name])
    assert BY_NAME[name].spec in caught.value.message


@pytest.mark.parametrize("server", COMPATIBLE_OVERFLOWS)
async def test_a_request_that_does_not_fit_a_server_of_ones_own(server: str) -> None:
    with pytest.raises(ContextOverflowError):
        await ask(BY_NAME["openai-compatible"], COMPATIBLE_OVERFLOWS[server])


async def test_a_request_that_is_refused_for_another_reason_fits(wire: Wire) -> None:
    with pytest.raises(ModelError) as caught:
        await ask(wire, error(400, "tools: the context of the field is wrong", "invalid_request_error"))
    assert not isinstance(caught.value, ContextOverflowError | ModelUnavailableError)


@pytest.mark.parametrize("date", [False, True], ids=["seconds", "date"])
async def test_a_rate_limit_waits_as_it_is_told(
    wire: Wire, date: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The date lies in the past, so that nobody waits; without it the wait would be an hour."""
    waits: list[str] = []
    headers = {"Retry-After": formatdate(0, usegmt=True) if date else "0"}
    monkeypatch.setattr(providers, "FIRST_WAIT_SECONDS", 3600.0)
    with loopback([error(429, "slow down", "rate_limit_exceeded", headers), text(wire)]) as server:
        model = wire.open(server)
        model._first_wait = 3600.0  # pyright: ignore[reportPrivateUsage]
        completion = await model.complete(ASK, None, waits.append)
        await model.close()
    assert completion.text == "Done."
    assert len(waits) == 1
    assert "in 0 s" in waits[0]


async def test_a_date_in_the_far_future_is_too_much_patience(wire: Wire) -> None:
    headers = {"Retry-After": formatdate(4e9, usegmt=True)}
    with pytest.raises(ModelUnavailableError, match="asks to wait"):
        await ask(wire, error(429, "slow down", "rate_limit_exceeded", headers))


async def test_google_says_in_the_body_how_long_to_wait() -> None:
    info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "86400s"}
    with pytest.raises(ModelUnavailableError, match="86400"):
        await ask(BY_NAME["google"], google_error(429, "Resource exhausted", "RESOURCE_EXHAUSTED", info))


async def test_an_account_that_is_used_up_is_no_reason_to_wait() -> None:
    with pytest.raises(QuotaError):
        await ask(BY_NAME["openai"], error(429, "You exceeded your current quota", "insufficient_quota"))


async def test_a_refused_key(wire: Wire) -> None:
    with pytest.raises(CredentialError) as caught:
        await ask(wire, error(401, "Incorrect API key provided", "invalid_api_key"))
    assert wire.key in caught.value.hint
    assert "key-1" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize("how", ["drop", "cut", "short"])
async def test_a_connection_that_breaks_is_asked_again(wire: Wire, how: str) -> None:
    half = wire.text[: wire.text.rindex(b"\n\n", 0, len(wire.text) // 2 + 60) + 2]
    broken = Reply(half, headers=streams.STREAM, cut=how == "cut", drop=how == "drop")
    completion, server = await ask(wire, broken, text(wire))
    assert completion.text == "Done."
    assert len(server.bodies) == 2


MID_STREAM = {
    "openai": streams.sse(
        {"type": "error", "code": "server_error", "message": "The server had an error", "param": None,
         "sequence_number": 1},
        names=True,
    ),
    "openai-chat": streams.sse({"error": {"message": "The server had an error", "type": "server_error"}}),
    "anthropic": streams.sse(
        {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, names=True
    ),
    "google": streams.sse({"error": {"code": 503, "message": "Overloaded.", "status": "UNAVAILABLE"}}),
    "openrouter": streams.sse(
        {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "provider": "p",
         "error": {"code": 502, "message": "Provider disconnected"},
         "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}]}
    ),
    "openai-compatible": streams.sse({"error": {"message": "CUDA out of memory", "code": 500}}),
}  # fmt: skip


async def test_an_error_in_the_middle_of_a_stream_is_asked_again(wire: Wire) -> None:
    waits: list[str] = []
    name = wire.spec.partition(":")[0]
    begun = wire.text[: wire.text.index(b"\n\n") + 2]
    if name in ("openai-chat", "openrouter", "openai-compatible"):
        begun = streams.sse(streams.chat_chunk({"role": "assistant", "content": "Hal"}))
    broken = Reply(begun + MID_STREAM[name], headers=streams.STREAM)
    completion, server = await ask(wire, broken, text(wire), on_waiting=waits.append)
    assert completion.text == "Done."
    assert len(server.bodies) == 2
    assert waits


async def test_a_stream_that_hangs_reaches_a_limit_that_has_a_name(wire: Wire) -> None:
    limits: list[tuple[str, str]] = []

    def on_limit(name: str, detail: str) -> None:
        limits.append((name, detail))

    hanging = Reply(wire.text[: wire.text.index(b"\n\n") + 2], headers=streams.STREAM, hang=True)
    request = Request(messages=ASK.messages, silence_seconds=0.3)
    with pytest.raises(ModelUnavailableError, match="model_silence_seconds"):
        await ask(wire, hanging, request=request, on_limit=on_limit)
    assert [name for name, _ in limits] == ["model_silence_seconds"] * providers.SILENT_TRIES
    assert wire.spec in limits[0][1]


def calling(wire: Wire, arguments: str) -> bytes:
    """Return an answer that calls a tool with these arguments, whatever they are."""
    match wire.spec.partition(":")[0]:
        case "openai":
            call = {"id": "fc_1", "type": "function_call", "call_id": "c1", "name": "read"}
            return streams.responses(call | {"arguments": arguments, "status": "completed"})
        case "anthropic":
            block = {"type": "tool_use", "id": "c1", "name": "read", "input": dict[str, Any]()}
            return streams.anthropic(
                "tool_use", (block, [{"type": "input_json_delta", "partial_json": arguments}])
            )
        case _:
            call = {
                "index": 0,
                "id": "c1",
                "type": "function",
                "function": {"name": "read", "arguments": arguments},
            }
            return streams.sse(
                streams.chat_chunk({"role": "assistant", "tool_calls": [call]}),
                streams.chat_chunk({}, "tool_calls", usage=streams.CHAT_USAGE),
                end="data: [DONE]\n\n",
            )


@pytest.mark.parametrize("arguments", ['{"path": "a', "not json", "[1]"])
async def test_arguments_that_are_no_json_come_as_they_are_and_can_go_back(
    wire: Wire, arguments: str
) -> None:
    if wire.spec.startswith("google"):
        return  # Gemini sends arguments as an object.
    asked, _ = await ask(wire, Reply(calling(wire, arguments), headers=streams.STREAM))
    assert asked.tool_calls[0].arguments == arguments
    refusal = Message(role="tool", text="The arguments are no JSON.", tool_call_id=asked.tool_calls[0].id)
    request = Request(messages=(*ASK.messages, asked.message, refusal), tools=(READ,))
    answer, server = await ask(wire, text(wire), request=request)
    assert answer.text == "Done."
    wire.check(json.loads(server.bodies[0]))


def nothing(wire: Wire) -> Reply:
    match wire.spec.partition(":")[0]:
        case "openai":
            body = streams.responses()
        case "anthropic":
            body = streams.anthropic("end_turn")
        case "google":
            body = streams.google({"text": ""})
        case _:
            body = streams.chat_text("")
    return Reply(body, headers=streams.STREAM)


async def test_an_empty_answer_is_asked_again(wire: Wire) -> None:
    completion, server = await ask(wire, nothing(wire), text(wire))
    assert completion.text == "Done."
    assert len(server.bodies) == 2


async def test_a_model_that_says_nothing_is_an_error_but_after_results_it_has_ended(wire: Wire) -> None:
    with pytest.raises(ModelError, match="answers nothing"):
        await ask(wire, nothing(wire))
    asked, _ = await ask(wire, Reply(wire.calls, headers=streams.STREAM))
    results = [Message(role="tool", text="1", tool_call_id=call.id) for call in asked.tool_calls]
    request = Request(messages=(*ASK.messages, asked.message, *results), tools=(READ,))
    completion, _ = await ask(wire, nothing(wire), request=request)
    assert (completion.text, completion.tool_calls, completion.finish) == ("", (), "stop")


async def test_an_answer_that_was_cut_says_so(wire: Wire) -> None:
    match wire.spec.partition(":")[0]:
        case "openai":
            body = streams.responses(
                streams.response_text("Half"),
                status="incomplete",
                incomplete_details={"reason": "max_output_tokens"},
            )
        case "anthropic":
            block = {"type": "text", "text": ""}
            body = streams.anthropic("max_tokens", (block, [{"type": "text_delta", "text": "Half"}]))
        case "google":
            body = streams.google({"text": "Half"}, finish="MAX_TOKENS")
        case _:
            body = streams.sse(
                streams.chat_chunk({"role": "assistant", "content": "Half"}),
                streams.chat_chunk({}, "length", usage=streams.CHAT_USAGE),
                end="data: [DONE]\n\n",
            )
    completion, _ = await ask(wire, Reply(body, headers=streams.STREAM))
    assert (completion.text, completion.finish) == ("Half", "length")


async def test_a_redirect_takes_the_key_nowhere(wire: Wire) -> None:
    with loopback([text(wire)]) as elsewhere:
        moved = Reply(b"", 307, {"Location": elsewhere.url})
        with pytest.raises(ModelError):
            await ask(wire, moved)
        assert elsewhere.bodies == []
