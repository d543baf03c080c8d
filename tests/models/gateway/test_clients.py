"""The gateway as OpenAI's and Anthropic's own clients see it: they check every field and event."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import anthropic
import openai
import pytest
from openai.types.responses import ResponseCompletedEvent, ResponseCustomToolCall, ResponseFunctionToolCall

from overnight.domain.conversation import Completion, Message, Native, Request, ToolCall
from overnight.domain.errors import ContextOverflowError, CredentialError, LimitError, ModelUnavailableError
from overnight.domain.task import Usage
from overnight.models.gateway.dialect import Asked, Memory
from overnight.models.interface import OnDelta
from tests.models.gateway.bridge import gateway_url

pytestmark = pytest.mark.anyio

USAGE = Usage(model_calls=1, input_tokens=100, cached_tokens=60, output_tokens=7, reasoning_tokens=2)
CALLS = (
    ToolCall(id="a", name="shell", arguments='{"command": "ls"}'),
    ToolCall(id="b", name="patch", arguments='{"input": "*** Begin Patch"}'),
)
SPEECH = Completion(text="Hello there.", usage=USAGE)
ACTION = Completion(text="Look.", tool_calls=CALLS, usage=USAGE, finish="tool_calls")
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"command": {"type": "string"}}}


class Script:
    """Answers in turn and keeps what was asked."""

    def __init__(self, *answers: Completion | Exception, pieces: tuple[str, ...] = ()) -> None:
        self.asked: list[Asked] = []
        self._answers = list(answers)
        self._pieces = pieces

    async def __call__(self, asked: Asked, on_delta: OnDelta) -> Completion:
        self.asked.append(asked)
        for piece in self._pieces:
            on_delta(piece)
            await asyncio.sleep(0)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def openai_client(url: str) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(
        api_key="none", base_url=f"{url}/v1", max_retries=0, _strict_response_validation=True
    )


def anthropic_client(url: str) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(
        api_key="none", base_url=url, max_retries=0, _strict_response_validation=True
    )


async def test_a_chat_goes_there_and_back() -> None:
    script = Script(ACTION, SPEECH)
    tool: Any = {
        "type": "function",
        "function": {"name": "shell", "description": "Runs.", "parameters": SCHEMA},
    }
    async with gateway_url(script) as url, openai_client(url) as client:
        first = await client.chat.completions.create(
            model="any", messages=[
                {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Go"},
            ], tools=[tool], max_tokens=50, stop=["END"],
        )  # fmt: skip
        answered = first.choices[0].message
        results: list[Any] = [
            {"role": "tool", "tool_call_id": "a", "content": [{"type": "text", "text": "README"}]},
            {"role": "tool", "tool_call_id": "b", "content": "done"},
        ]
        second = await client.chat.completions.create(
            model="any",
            messages=[{"role": "user", "content": "Go"}, answered, *results],  # type: ignore[list-item]
        )
    assert [call.id for call in answered.tool_calls or ()] == ["a", "b"]
    assert first.choices[0].finish_reason == "tool_calls"
    assert first.usage is not None
    assert first.usage.prompt_tokens_details is not None
    assert (first.usage.prompt_tokens, first.usage.prompt_tokens_details.cached_tokens) == (100, 60)
    assert second.choices[0].message.content == "Hello there."
    request = script.asked[0].request
    assert [message.role for message in request.messages] == ["system", "user"]
    assert (request.tools[0].name, request.max_output_tokens, request.stop) == ("shell", 50, ("END",))
    assert script.asked[1].request.messages == (
        Message(role="user", text="Go"),
        Message(role="assistant", text="Look.", tool_calls=CALLS),
        Message(role="tool", text="README", tool_call_id="a"),
        Message(role="tool", text="done", tool_call_id="b"),
    )


@pytest.mark.parametrize("pieces", [(), ("Lo", "ok.")], ids=["whole", "streamed"])
async def test_a_chat_streams(pieces: tuple[str, ...]) -> None:
    async with gateway_url(Script(ACTION, pieces=pieces)) as url, openai_client(url) as client:
        text, calls, usage = "", {}, None
        stream = await client.chat.completions.create(
            model="any", messages=[{"role": "user", "content": "Go"}], stream=True
        )
        async for chunk in stream:
            usage = chunk.usage or usage
            for choice in chunk.choices:
                text += choice.delta.content or ""
                for call in choice.delta.tool_calls or ():
                    assert call.function is not None
                    calls[call.id] = (call.function.name, call.function.arguments)
    assert text == "Look."
    assert calls == {call.id: (call.name, call.arguments) for call in CALLS}
    assert usage is not None
    assert usage.total_tokens == 107


@pytest.mark.parametrize("pieces", [(), ("Lo", "ok.")], ids=["whole", "streamed"])
async def test_responses_stream_with_functions_and_free_text(pieces: tuple[str, ...]) -> None:
    script = Script(ACTION, pieces=pieces)
    tools: list[Any] = [
        {"type": "function", "name": "shell", "parameters": SCHEMA, "strict": False},
        {"type": "custom", "name": "patch", "format": {"type": "text"}},
        {"type": "web_search"},
    ]
    async with gateway_url(script) as url, openai_client(url) as client:
        stream = await client.responses.create(
            model="any", instructions="Be brief.", input="Go", tools=tools, stream=True
        )
        events = [event async for event in stream]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    done = [event.item for event in events if event.type == "response.output_item.done"]
    end = events[-1]
    assert isinstance(end, ResponseCompletedEvent)
    assert end.response.output == done
    assert end.response.output_text == "Look."
    function, custom = done[1], done[2]
    assert isinstance(function, ResponseFunctionToolCall)
    assert function.arguments == '{"command": "ls"}'
    assert isinstance(custom, ResponseCustomToolCall)
    assert custom.input == "*** Begin Patch"
    assert [tool.name for tool in script.asked[0].request.tools] == ["shell", "patch"]
    assert end.response.usage is not None
    assert end.response.usage.input_tokens_details.cached_tokens == 60


async def test_responses_carry_a_conversation() -> None:
    script = Script(SPEECH)
    items: list[Any] = [
        {"role": "developer", "content": "Careful."},
        {"role": "user", "content": [{"type": "input_text", "text": "Go"}]},
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"type": "message", "role": "assistant", "id": "m", "status": "completed",
         "content": [{"type": "output_text", "text": "Look.", "annotations": []}]},
        {"type": "function_call", "call_id": "a", "name": "shell", "arguments": '{"command": "ls"}'},
        {"type": "custom_tool_call", "call_id": "b", "name": "patch", "input": "*** Begin Patch"},
        {"type": "function_call_output", "call_id": "a", "output": "README"},
        {"type": "custom_tool_call_output", "call_id": "b",
         "output": [{"type": "input_text", "text": "done"}]},
    ]  # fmt: skip
    async with gateway_url(script) as url, openai_client(url) as client:
        response = await client.responses.create(model="any", input=items)
    assert response.output_text == "Hello there."
    calls = (CALLS[0], ToolCall(id="b", name="patch", arguments='{"input":"*** Begin Patch"}'))
    assert script.asked[0].request.messages == (
        Message(role="system", text="Careful."),
        Message(role="user", text="Go"),
        Message(role="assistant", text="Look.", tool_calls=calls),
        Message(role="tool", text="README", tool_call_id="a"),
        Message(role="tool", text="done", tool_call_id="b"),
    )


@pytest.mark.parametrize("pieces", [(), ("Lo", "ok.")], ids=["whole", "streamed"])
async def test_messages_stream(pieces: tuple[str, ...]) -> None:
    script = Script(ACTION, pieces=pieces)
    async with (
        gateway_url(script) as url,
        anthropic_client(url) as client,
        client.messages.stream(
            model="any", max_tokens=99, system="Be brief.", messages=[{"role": "user", "content": "Go"}],
            tools=[{"name": "shell", "input_schema": SCHEMA}],
        ) as stream,
    ):  # fmt: skip
        message = await stream.get_final_message()
    assert [block.type for block in message.content] == ["text", "tool_use", "tool_use"]
    assert message.content[1].input == {"command": "ls"}  # type: ignore[union-attr]
    assert message.stop_reason == "tool_use"
    assert (message.usage.input_tokens, message.usage.cache_read_input_tokens) == (40, 60)
    assert script.asked[0].request.messages[0] == Message(role="system", text="Be brief.")
    assert script.asked[0].request.max_output_tokens == 99


async def test_messages_carry_a_conversation() -> None:
    script = Script(SPEECH)
    messages: list[Any] = [
        {"role": "user", "content": "Go"},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "hm", "signature": "s"},
            {"type": "text", "text": "Look."},
            {"type": "tool_use", "id": "a", "name": "shell", "input": {"command": "ls"}}]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text", "text": "README"}]},
            {"type": "text", "text": "Go on"}]},
    ]  # fmt: skip
    async with gateway_url(script) as url, anthropic_client(url) as client:
        message = await client.messages.create(model="any", max_tokens=9, messages=messages)
        counted = await client.messages.count_tokens(model="any", messages=messages)
    assert [block.model_dump()["text"] for block in message.content] == ["Hello there."]
    assert counted.input_tokens > 0
    assert script.asked[0].request.messages == (
        Message(role="user", text="Go"),
        Message(
            role="assistant", text="Look.",
            tool_calls=(ToolCall(id="a", name="shell", arguments='{"command":"ls"}'),),
        ),
        Message(role="tool", text="README", tool_call_id="a"),
        Message(role="user", text="Go on"),
    )  # fmt: skip


FAILURES: tuple[tuple[Callable[[], Exception], int], ...] = (
    (lambda: ContextOverflowError("too long"), 400),
    (lambda: CredentialError("no key"), 401),
    (lambda: LimitError("tokens", "no tokens left"), 403),
    (lambda: ModelUnavailableError("away"), 503),
    (lambda: RuntimeError("a value that nobody may see"), 502),
)


@pytest.mark.parametrize(("error", "status"), FAILURES)
async def test_what_fails_before_the_first_word_has_a_status(
    error: Callable[[], Exception], status: int
) -> None:
    async with gateway_url(Script(error(), error())) as url:
        async with openai_client(url) as client:
            with pytest.raises(openai.APIStatusError) as raised:
                await client.responses.create(model="any", input="Go", stream=True)
        assert raised.value.status_code == status
        assert "nobody may see" not in str(raised.value)
        async with anthropic_client(url) as client:
            with pytest.raises(anthropic.APIStatusError) as other:
                await client.messages.create(
                    model="any", max_tokens=9, messages=[{"role": "user", "content": "Go"}], stream=True
                )
        assert other.value.status_code == (529 if status == 503 else status)


async def test_what_fails_in_the_middle_ends_the_stream_with_an_error() -> None:
    fails = ModelUnavailableError("away")
    script = Script(fails, fails, fails, pieces=("Lo",))
    async with gateway_url(script) as url:
        async with openai_client(url) as client:
            stream = await client.responses.create(model="any", input="Go", stream=True)
            events = [event async for event in stream]
            assert events[-1].type == "response.failed"
            chunks = await client.chat.completions.create(
                model="any", messages=[{"role": "user", "content": "Go"}], stream=True
            )
            with pytest.raises(openai.APIError, match="away"):
                _ = [chunk async for chunk in chunks]
        async with anthropic_client(url) as client:
            with pytest.raises(anthropic.APIStatusError, match="away"):
                async with client.messages.stream(
                    model="any", max_tokens=9, messages=[{"role": "user", "content": "Go"}]
                ) as other:
                    await other.get_final_message()


async def test_a_request_that_is_none_is_refused_with_a_reason() -> None:
    async with gateway_url(Script()) as url, openai_client(url) as client:
        with pytest.raises(openai.BadRequestError, match="previous_response_id"):
            await client.responses.create(model="any", input="Go", previous_response_id="resp_0")
        with pytest.raises(openai.NotFoundError):
            await client.embeddings.create(model="any", input="Go")
        assert [model.id async for model in client.models.list()] == ["scripted"]


async def test_a_client_that_leaves_cancels_its_request() -> None:
    begun, canceled = asyncio.Event(), asyncio.Event()

    async def answer(asked: Asked, on_delta: OnDelta) -> Completion:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            canceled.set()
        raise AssertionError

    async with gateway_url(answer) as url, openai_client(url) as client:
        asking = asyncio.ensure_future(client.responses.create(model="any", input="Go"))
        await asyncio.wait_for(begun.wait(), 120)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await asyncio.wait_for(canceled.wait(), 120)


def test_an_answer_that_comes_back_gets_its_native_form() -> None:
    memory = Memory()
    native = Native(provider="p:m", parts=json.dumps([1]))
    memory.keep(Message(role="assistant", text="Look.", tool_calls=CALLS, native=native))
    back = Message(role="assistant", text="Look.\n", tool_calls=CALLS)
    other = Message(role="assistant", text="Look!", tool_calls=CALLS)
    restored = memory.restored(Request(messages=(Message(role="user", text="Go"), back, other)))
    assert [message.native for message in restored.messages] == [None, native, None]
