"""The gateway as Google's own client sees it."""

import contextlib
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from google import genai
from google.genai import errors, types

from overnight.domain.conversation import Message, ToolCall
from overnight.domain.errors import ModelUnavailableError
from tests.models.gateway.bridge import gateway_url
from tests.models.gateway.test_clients import ACTION, CALLS, SPEECH, Script

pytestmark = pytest.mark.anyio

SCHEMA: Any = {"type": "OBJECT", "properties": {"command": {"type": "STRING"}}}
TOOL = types.Tool(
    function_declarations=[types.FunctionDeclaration(name="shell", description="Runs.", parameters=SCHEMA)]
)
CONFIG = types.GenerateContentConfig(system_instruction="Be brief.", tools=[TOOL], max_output_tokens=50)


@contextlib.asynccontextmanager
async def client(url: str) -> AsyncGenerator[Any]:
    """Return Google's client; some of its types are not known to the type checker."""
    options = types.HttpOptions(base_url=url, retry_options=types.HttpRetryOptions(attempts=1))
    async with genai.Client(api_key="none", http_options=options).aio as asynchronous:
        yield asynchronous.models


def content(role: str, *parts: types.Part) -> types.Content:
    return types.Content(role=role, parts=list(parts))


async def test_a_conversation_goes_there_and_back() -> None:
    script = Script(ACTION, SPEECH)
    action = types.Part(function_call=types.FunctionCall(name="shell", args={"command": "ls"}))
    result = types.Part.from_function_response(name="shell", response={"output": "README"})
    conversation: Any = [
        content("user", types.Part(text="Go")),
        content("model", types.Part(text="Look."), action),
        content("user", result, types.Part(text="Go on")),
    ]
    async with gateway_url(script) as url, client(url) as google:
        first = await google.generate_content(model="any", contents="Go", config=CONFIG)
        second = await google.generate_content(model="any", contents=conversation)
    call = first.function_calls[0]
    assert (call.id, call.name, call.args) == ("a", "shell", {"command": "ls"})
    assert first.text == "Look."
    assert first.usage_metadata is not None
    assert (first.usage_metadata.prompt_token_count, first.usage_metadata.cached_content_token_count) == (
        100,
        60,
    )
    assert second.text == "Hello there."
    asked = script.asked[0].request
    assert asked.messages == (Message(role="system", text="Be brief."), Message(role="user", text="Go"))
    assert (asked.tools[0].name, asked.max_output_tokens) == ("shell", 50)
    assert asked.tools[0].parameters["properties"] == {"command": {"type": "string"}}
    assert script.asked[1].request.messages == (
        Message(role="user", text="Go"),
        Message(
            role="assistant",
            text="Look.",
            tool_calls=(ToolCall(id="call_1_1", name="shell", arguments='{"command":"ls"}'),),
        ),
        Message(role="tool", text="README", tool_call_id="call_1_1"),
        Message(role="user", text="Go on"),
    )


@pytest.mark.parametrize("pieces", [(), ("Lo", "ok.")], ids=["whole", "streamed"])
async def test_a_conversation_streams(pieces: tuple[str, ...]) -> None:
    async with gateway_url(Script(ACTION, pieces=pieces)) as url, client(url) as google:
        stream = await google.generate_content_stream(model="any", contents="Go", config=CONFIG)
        chunks = [chunk async for chunk in stream]
    parts = [part for chunk in chunks for one in chunk.candidates or () for part in (one.content.parts or ())]
    assert "".join(part.text or "" for part in parts) == "Look."
    assert [part.function_call.name for part in parts if part.function_call] == [one.name for one in CALLS]
    assert chunks[-1].usage_metadata is not None
    assert chunks[-1].usage_metadata.total_token_count == 107


async def test_a_failure_has_googles_form() -> None:
    async with gateway_url(Script(ModelUnavailableError("away"))) as url, client(url) as google:
        with pytest.raises(errors.ServerError, match="away"):
            await google.generate_content(model="any", contents="Go")
