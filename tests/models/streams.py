"""Streams of the providers as they come over the wire: thinking, words, two tool calls, and the end."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

STREAM = {"Content-Type": "text/event-stream"}
JSON = {"Content-Type": "application/json"}
SECRET_THOUGHT = "ZW5jcnlwdGVk"
"""What stands for a signature or an encrypted thought: base64, as Google sends bytes."""
CALLS = (("call_a", "read", '{"path": "a.py"}'), ("call_b", "read", '{"path": "b.py"}'))


def sse(*events: Mapping[str, Any], names: bool = False, end: str = "") -> bytes:
    """Return server-sent events."""
    lines = [
        (f"event: {event['type']}\n" if names else "") + f"data: {json.dumps(event)}\n\n" for event in events
    ]
    return ("".join(lines) + end).encode()


def chat_chunk(delta: Mapping[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
    """Return one chunk of Chat Completions."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    base = {"id": "chat-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return base | {"choices": [choice]} | more


CHAT_USAGE = {
    "prompt_tokens": 20,
    "completion_tokens": 9,
    "total_tokens": 29,
    "prompt_tokens_details": {"cached_tokens": 8},
    "completion_tokens_details": {"reasoning_tokens": 4},
}


def chat_calls(thought: Mapping[str, Any] | None = None) -> bytes:
    """Return a chat answer that thinks (in the fields of `thought`), says `Looking.` and reads two files."""
    calls = [
        chat_chunk({"tool_calls": [piece]})
        for index, (identifier, name, arguments) in enumerate(CALLS)
        for piece in (
            {
                "index": index,
                "id": identifier,
                "type": "function",
                "function": {"name": name, "arguments": ""},
            },
            {"index": index, "function": {"arguments": arguments[:7]}},
            {"index": index, "function": {"arguments": arguments[7:]}},
        )
    ]
    thinking = [chat_chunk({"role": "assistant", **thought})] if thought else []
    return sse(
        *thinking,
        chat_chunk({"content": "Look"}),
        chat_chunk({"content": "ing."}),
        *calls,
        chat_chunk({}, "tool_calls", usage=CHAT_USAGE),
        end="data: [DONE]\n\n",
    )


def chat_text(text: str = "Done.") -> bytes:
    """Return a chat answer of words alone."""
    return sse(
        chat_chunk({"role": "assistant", "content": text}),
        chat_chunk({}, "stop", usage=CHAT_USAGE),
        end="data: [DONE]\n\n",
    )


def _response(status: str, output: Sequence[Mapping[str, Any]] = (), **more: Any) -> dict[str, Any]:
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "status": status,
        "model": "gpt-5.6-terra",
        "output": list(output),
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "usage": {
            "input_tokens": 20,
            "input_tokens_details": {"cached_tokens": 8, "cache_write_tokens": 0},
            "output_tokens": 9,
            "output_tokens_details": {"reasoning_tokens": 4},
            "total_tokens": 29,
        }
        if status != "in_progress"
        else None,
    } | more


def responses(*items: Mapping[str, Any], status: str = "completed", **more: Any) -> bytes:
    """Return a stream of the Responses API that brings these output items."""
    events: list[dict[str, Any]] = [{"type": "response.created", "response": _response("in_progress")}]
    for index, item in enumerate(items):
        place = {"output_index": index, "item_id": item["id"]}
        started = dict(item)
        match item["type"]:
            case "message":
                started |= {"content": [], "status": "in_progress"}
                deltas: list[dict[str, Any]] = [
                    {"type": "response.output_text.delta", "content_index": 0, "delta": piece, "logprobs": []}
                    for piece in _halves(item["content"][0]["text"])
                ]
            case "reasoning":
                started |= {"summary": []}
                deltas = [
                    {
                        "type": "response.reasoning_summary_text.delta",
                        "summary_index": 0,
                        "delta": item["summary"][0]["text"],
                    }
                ]
            case _:
                started |= {"arguments": "", "status": "in_progress"}
                deltas = [
                    {"type": "response.function_call_arguments.delta", "delta": piece}
                    for piece in _halves(item["arguments"])
                ]
        events.append({"type": "response.output_item.added", "output_index": index, "item": started})
        events += [place | delta for delta in deltas]
        events.append({"type": "response.output_item.done", "output_index": index, "item": item})
    done = {"completed": "response.completed", "incomplete": "response.incomplete"}[status]
    events.append({"type": done, "response": _response(status, items, **more)})
    numbered = [event | {"sequence_number": number} for number, event in enumerate(events)]
    return sse(*numbered, names=True)


def _halves(text: str) -> tuple[str, str]:
    return text[: len(text) // 2], text[len(text) // 2 :]


def response_text(text: str, identifier: str = "msg_1") -> dict[str, Any]:
    """Return an output item of words."""
    content = [{"type": "output_text", "text": text, "annotations": list[Any](), "logprobs": list[Any]()}]
    return {
        "id": identifier,
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": content,
    }


RESPONSES_CALLS = responses(
    {
        "id": "rs_1",
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": "I must look."}],
        "encrypted_content": SECRET_THOUGHT,
    },
    response_text("Looking."),
    *(
        {
            "id": f"fc_{identifier}",
            "type": "function_call",
            "call_id": identifier,
            "name": name,
            "arguments": arguments,
            "status": "completed",
        }
        for identifier, name, arguments in CALLS
    ),
)


def anthropic(stop: str, *blocks: tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]) -> bytes:
    """Return a stream of Messages with these content blocks: how each starts, and its deltas."""
    message: dict[str, Any] = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "content": [],
        "model": "claude-sonnet-5-5",
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {
            "input_tokens": 10,
            "cache_read_input_tokens": 8,
            "cache_creation_input_tokens": 2,
            "output_tokens": 1,
        },
    }
    events: list[Mapping[str, Any]] = [{"type": "message_start", "message": message}, {"type": "ping"}]
    for index, (block, deltas) in enumerate(blocks):
        events.append({"type": "content_block_start", "index": index, "content_block": block})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    ended = {"stop_reason": stop, "stop_sequence": None}
    events.append({"type": "message_delta", "delta": ended, "usage": {"output_tokens": 9}})
    events.append({"type": "message_stop"})
    return sse(*events, names=True)


def anthropic_text(text: str) -> bytes:
    """Return an answer of words alone."""
    block = {"type": "text", "text": ""}
    return anthropic("end_turn", (block, [{"type": "text_delta", "text": piece} for piece in _halves(text)]))


_NO_INPUT: dict[str, Any] = {}
ANTHROPIC_CALLS = anthropic(
    "tool_use",
    (
        {"type": "thinking", "thinking": "", "signature": ""},
        [
            {"type": "thinking_delta", "thinking": "I must look."},
            {"type": "signature_delta", "signature": SECRET_THOUGHT},
        ],
    ),
    ({"type": "text", "text": ""}, [{"type": "text_delta", "text": piece} for piece in ("Look", "ing.")]),
    *(
        (
            {"type": "tool_use", "id": identifier, "name": name, "input": _NO_INPUT},
            [{"type": "input_json_delta", "partial_json": piece} for piece in _halves(arguments)],
        )
        for identifier, name, arguments in CALLS
    ),
)


def google(*parts: Mapping[str, Any], finish: str = "STOP") -> bytes:
    """Return a stream of Gemini with one event for each part."""
    events: list[dict[str, Any]] = []
    for number, part in enumerate(parts, 1):
        candidate: dict[str, Any] = {"content": {"role": "model", "parts": [part]}, "index": 0}
        if number == len(parts):
            candidate["finishReason"] = finish
        usage = {
            "promptTokenCount": 20,
            "cachedContentTokenCount": 8,
            "candidatesTokenCount": 5,
            "thoughtsTokenCount": 4,
            "totalTokenCount": 29,
        }
        events.append(
            {
                "candidates": [candidate],
                "usageMetadata": usage,
                "responseId": "r1",
                "modelVersion": "gemini-3.8-flash",
            }
        )
    return sse(*events)


GOOGLE_CALLS = google(
    {"text": "I must look.", "thought": True},
    {"text": "Looking."},
    {"functionCall": {"name": "read", "args": {"path": "a.py"}}, "thoughtSignature": SECRET_THOUGHT},
    {"functionCall": {"name": "read", "args": {"path": "b.py"}}},
)
