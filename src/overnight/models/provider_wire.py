"""Our conversation as pydantic-ai's messages, and its response as our completion."""

from typing import TYPE_CHECKING

import msgspec

from overnight.domain.conversation import Completion, Message, Request, ToolCall
from overnight.domain.task import Usage
from overnight.models.interface import ModelProfile

if TYPE_CHECKING:
    from pydantic_ai.messages import ModelMessage, ModelResponse
    from pydantic_ai.models import ModelRequestParameters
    from pydantic_ai.settings import ModelSettings


def to_messages(messages: tuple[Message, ...]) -> "list[ModelMessage]":
    """Return the messages in pydantic-ai's form: what the model did not say is joined into requests."""
    from pydantic_ai.messages import (
        ModelMessage,
        ModelRequest,
        ModelRequestPart,
        ModelResponse,
        ModelResponsePart,
        SystemPromptPart,
        TextPart,
        ToolCallPart,
        ToolReturnPart,
        UserPromptPart,
    )

    found: list[ModelMessage] = []
    pending: list[ModelRequestPart] = []
    tools: dict[str, str] = {}
    for message in messages:
        match message.role:
            case "system":
                pending.append(SystemPromptPart(message.text))
            case "user":
                pending.append(UserPromptPart(message.text))
            case "tool":
                identifier = message.tool_call_id or ""
                pending.append(ToolReturnPart(tools.get(identifier, "tool"), message.text, identifier))
            case "assistant":
                if pending:
                    found.append(ModelRequest(pending))
                    pending = []
                parts: list[ModelResponsePart] = [TextPart(message.text)] if message.text else []
                for call in message.tool_calls:
                    tools[call.id] = call.name
                    parts.append(ToolCallPart(call.name, call.arguments, call.id))
                found.append(ModelResponse(parts))
    if pending:
        found.append(ModelRequest(pending))
    return found


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


def to_settings(request: Request, profile: ModelProfile, seconds: float) -> "ModelSettings":
    """Return the settings of a request; `seconds` is the longest silence of the provider."""
    settings: ModelSettings = {
        "temperature": request.temperature,
        "max_tokens": min(request.max_output_tokens, profile.max_output_tokens),
        "timeout": seconds,
        # Retrying is ours: it tells `on_waiting` and knows Retry-After.
        "max_retries": 0,
        "cache": True,
    }
    if request.stop:
        settings["stop_sequences"] = list(request.stop)
    if request.seed is not None:
        settings["seed"] = request.seed
    return settings


def to_completion(response: "ModelResponse", name: str, profile: ModelProfile) -> Completion:
    """Return what the provider answered as ours."""
    from pydantic_ai.messages import TextPart, ToolCallPart

    text = "".join(part.content for part in response.parts if isinstance(part, TextPart))
    calls = tuple(
        ToolCall(id=part.tool_call_id, name=part.tool_name, arguments=_arguments(part.args))
        for part in response.parts
        if isinstance(part, ToolCallPart)
    )
    cut = response.finish_reason == "length"
    return Completion(
        text=text,
        tool_calls=calls,
        usage=_usage(response, profile),
        finish="length" if cut else "tool_calls" if calls else "stop",
        model=name,
    )


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
