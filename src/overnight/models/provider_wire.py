"""Our conversation as pydantic-ai's messages, and its response as our completion."""

from typing import TYPE_CHECKING, Any

import msgspec

from overnight.domain.conversation import (
    Completion,
    Image,
    Message,
    Native,
    Request,
    TokenTrace,
    ToolCall,
)
from overnight.domain.errors import ModelError
from overnight.domain.task import Usage
from overnight.models.interface import ModelProfile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic_ai.messages import BinaryContent, ModelMessage, ModelResponse
    from pydantic_ai.models import ModelRequestParameters
    from pydantic_ai.settings import ModelSettings


class _Alien(msgspec.Struct, frozen=True):
    """What of a library's response goes back with its parts."""

    parts: list[dict[str, Any]]
    provider_name: str | None = None
    model_name: str | None = None
    canonical_system: str | None = None


def to_messages(request: Request, name: str) -> "list[ModelMessage]":
    """Return the messages in pydantic-ai's form: what the model did not say is joined into requests.

    `name` is the model's: an answer that it gave itself goes back in its own form.

    Raises:
        ModelError: the bytes of an image are not there.
    """
    from pydantic_ai.messages import (
        ModelMessage,
        ModelRequest,
        ModelRequestPart,
        SystemPromptPart,
        ToolReturnPart,
        UserPromptPart,
    )

    found: list[ModelMessage] = []
    pending: list[ModelRequestPart] = []
    tools: dict[str, str] = {}
    for message in request.messages:
        pictures = [_picture(image, request.images) for image in message.images]
        match message.role:
            case "system":
                pending.append(SystemPromptPart(message.text))
            case "user":
                pending.append(UserPromptPart([message.text, *pictures] if pictures else message.text))
            case "tool":
                identifier = message.tool_call_id or ""
                content = [message.text, *pictures] if pictures else message.text
                pending.append(ToolReturnPart(tools.get(identifier, "tool"), content, identifier))
            case "assistant":
                if pending:
                    found.append(ModelRequest(pending))
                    pending = []
                tools |= {call.id: call.name for call in message.tool_calls}
                found.append(_answer(message, name))
    if pending:
        found.append(ModelRequest(pending))
    return found


def _answer(message: Message, name: str) -> "ModelResponse":
    from pydantic_ai.messages import (
        ModelMessagesTypeAdapter,
        ModelResponse,
        ModelResponsePart,
        TextPart,
        ToolCallPart,
    )

    if message.native is not None and message.native.provider == name:
        alien = msgspec.json.decode(message.native.parts, type=_Alien)
        fields = msgspec.to_builtins(alien) | {"kind": "response"}
        (response,) = ModelMessagesTypeAdapter.validate_python([fields])
        assert isinstance(response, ModelResponse)
        return response
    parts: list[ModelResponsePart] = [TextPart(message.text)] if message.text else []
    parts += [ToolCallPart(call.name, call.arguments, call.id) for call in message.tool_calls]
    return ModelResponse(parts)


def _picture(image: Image, contents: "Mapping[str, bytes]") -> "BinaryContent":
    from pydantic_ai.messages import BinaryContent

    if image.digest not in contents:
        raise ModelError(f"The image {image.digest[:12]} of the conversation is not there any more.")
    return BinaryContent(contents[image.digest], media_type=image.media_type)


def to_parameters(request: Request) -> "ModelRequestParameters":
    """Return the tools of a request in pydantic-ai's form."""
    from pydantic_ai.models import ModelRequestParameters
    from pydantic_ai.tools import ToolDefinition

    return ModelRequestParameters(
        function_tools=[
            ToolDefinition(
                name=tool.name, description=tool.description, parameters_json_schema=dict(tool.parameters)
            )
            for tool in request.tools
        ]
    )


def to_settings(request: Request, profile: ModelProfile) -> "ModelSettings":
    """Return the settings of a request."""
    settings: dict[str, Any] = {
        "temperature": request.temperature,
        "max_tokens": min(request.max_output_tokens, profile.max_output_tokens),
        # Between two pieces of the stream, not in all.
        "timeout": request.silence_seconds,
        # Retrying is ours: it tells `on_waiting` and knows Retry-After.
        "max_retries": 0,
        "cache": True,
    }
    if request.stop:
        settings["stop_sequences"] = list(request.stop)
    if request.seed is not None:
        settings["seed"] = request.seed
    if profile.reasoning:
        settings["thinking"] = False if profile.reasoning == "none" else profile.reasoning
    if profile.token_trace:
        settings["openai_logprobs"] = True
        # What vLLM tells of token ids is none of OpenAI's fields.
        settings["openai_include_unmapped_response_data"] = True
        settings["extra_body"] = {"return_token_ids": True}
    return settings  # pyright: ignore[reportReturnType]


def to_completion(response: "ModelResponse", name: str, profile: ModelProfile) -> Completion:
    """Return what the provider answered as ours."""
    from pydantic_ai.messages import TextPart, ThinkingPart, ToolCallPart

    calls = tuple(
        ToolCall(id=part.tool_call_id, name=part.tool_name, arguments=_arguments(part.args))
        for part in response.parts
        if isinstance(part, ToolCallPart)
    )
    cut = response.finish_reason == "length"
    return Completion(
        text="".join(part.content for part in response.parts if isinstance(part, TextPart)),
        tool_calls=calls,
        usage=_usage(response, profile),
        finish="length" if cut else "tool_calls" if calls else "stop",
        model=name,
        reasoning="\n".join(
            part.content for part in response.parts if isinstance(part, ThinkingPart) and part.content
        ),
        native=_native(response, name),
        request_id=response.provider_response_id or "",
        trace=_trace(response.provider_details or {}) if profile.token_trace else None,
    )


def _native(response: "ModelResponse", name: str) -> Native | None:
    """Return the response's own form, None where text and tool calls say it all."""
    from pydantic_ai.messages import ModelMessagesTypeAdapter, TextPart, ToolCallPart

    plain = all(
        isinstance(part, TextPart | ToolCallPart) and not part.id and not part.provider_details
        for part in response.parts
    )
    if plain:
        return None
    (fields,) = ModelMessagesTypeAdapter.dump_python([response], mode="json", exclude_defaults=True)
    parts = [
        {**found, "part_kind": part.part_kind}
        for found, part in zip(fields["parts"], response.parts, strict=True)
    ]
    alien = msgspec.convert(fields | {"parts": parts}, _Alien)
    return Native(provider=name, parts=msgspec.json.encode(alien).decode())


def _trace(details: "Mapping[str, Any]") -> TokenTrace | None:
    """Return token ids (vLLM's `return_token_ids`) and log-probabilities that an OpenAI-like server gave."""
    prompt: list[int] = []
    ids: list[int] = []
    for chunk in details.get("unmapped", {}).get("chunks", ()):
        prompt = chunk.get("response", {}).get("prompt_token_ids") or prompt
        ids += chunk.get("choice", {}).get("token_ids") or ()
    logprobs = tuple(float(one["logprob"]) for one in details.get("logprobs", ()))
    if not prompt and not ids and not logprobs:
        return None
    return TokenTrace(prompt_ids=tuple(prompt), ids=tuple(ids), logprobs=logprobs)


def _arguments(arguments: object) -> str:
    if isinstance(arguments, str):
        return arguments or "{}"
    return msgspec.json.encode(arguments or {}).decode()


def _usage(response: "ModelResponse", profile: ModelProfile) -> Usage:
    usage = response.usage
    return Usage(
        model_calls=1,
        input_tokens=usage.input_tokens,
        cached_tokens=usage.cache_read_tokens,
        output_tokens=usage.output_tokens,
        reasoning_tokens=usage.output_reasoning_tokens,
        cost_usd=profile.cost(
            usage.input_tokens - usage.cache_read_tokens - usage.cache_write_tokens,
            usage.cache_read_tokens,
            usage.cache_write_tokens,
            usage.output_tokens,
        ),
        unpriced_calls=0 if profile.priced else 1,
    )
