"""The providers' published schemas, as their own packages type them: what we send must be of that form."""

from collections.abc import Iterable, Mapping
from typing import Any, cast

from anthropic.types.beta.message_create_params import MessageCreateParamsStreaming
from google.genai import types as google
from openai.types.chat.completion_create_params import CompletionCreateParamsStreaming
from openai.types.responses.response_create_params import ResponseCreateParamsStreaming
from pydantic import TypeAdapter

_CHAT = TypeAdapter[Any](CompletionCreateParamsStreaming)
_RESPONSES = TypeAdapter[Any](ResponseCreateParamsStreaming)
_ANTHROPIC = TypeAdapter[Any](MessageCreateParamsStreaming)


def check_chat(body: Mapping[str, Any], *, beyond: Iterable[str] = ()) -> None:
    """Check a request to OpenAI's Chat Completions; `beyond` names fields of a server that has more."""
    _check(_CHAT, _without(body, frozenset(beyond)))


def check_responses(body: Mapping[str, Any]) -> None:
    """Check a request to OpenAI's Responses."""
    _check(_RESPONSES, body)


def check_anthropic(body: Mapping[str, Any]) -> None:
    """Check a request to Anthropic's Messages."""
    _check(_ANTHROPIC, body)


def check_google(body: Mapping[str, Any]) -> None:
    """Check a request to Gemini's `streamGenerateContent`; its package types the parts, not the whole."""
    left = dict(body)
    TypeAdapter(list[google.Content]).validate_python(left.pop("contents"))
    google.Content.model_validate(left.pop("systemInstruction", {}))
    TypeAdapter(list[google.Tool]).validate_python(left.pop("tools", []))
    google.ToolConfig.model_validate(left.pop("toolConfig", {}))
    google.GenerationConfig.model_validate(left.pop("generationConfig", {}))
    assert not left, left


def _without(value: Any, names: frozenset[str]) -> Any:
    if isinstance(value, dict):
        parts = cast("dict[str, Any]", value)
        return {key: _without(part, names) for key, part in parts.items() if key not in names}
    return [_without(part, names) for part in cast("list[Any]", value)] if isinstance(value, list) else value


def _check(schema: TypeAdapter[Any], body: Mapping[str, Any]) -> None:
    """Validate, and refuse what the schema does not know: of a typed dictionary pydantic drops it."""
    assert _read(schema.validate_python(body)) == body


def _read(value: Any) -> Any:
    """Return every part: pydantic checks what is typed as an iterable only when it is read."""
    if isinstance(value, dict):
        return {key: _read(part) for key, part in cast("dict[str, Any]", value).items()}
    if not isinstance(value, str | bytes) and isinstance(value, Iterable):
        return [_read(part) for part in cast("Iterable[Any]", value)]
    return value
