"""An attempt as a trajectory in ATIF v1.7, the Agent Trajectory Interchange Format of Harbor."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from overnight.domain.conversation import Image, Message, ToolCall, ToolSpec
from overnight.domain.events import Recorded
from overnight.domain.task import Attempt, Task, Usage
from overnight.events.conversation import Said, conversation
from overnight.events.exchanges import exchanges

SCHEMA = "ATIF-v1.7"
IMAGES = "images"
"""The folder beside the file in which its images lie."""


def atif(task: Task, attempt: Attempt, events: Sequence[Recorded], version: str) -> dict[str, Any]:
    """Return the trajectory as JSON values; `version` is ours."""
    steps = [_step(number, said) for number, said in enumerate(conversation(events), 1)]
    if not steps:
        # A trajectory has at least one step; who never got to the model was still asked something.
        steps = [{"step_id": 1, "source": "user", "message": task.prompt}]
    asked = exchanges(item.event for item in events)
    tools = asked[-1].request.tools if asked else ()
    verdict = attempt.verdict.finding if attempt.verdict else None
    agent: dict[str, Any] = {"name": f"overnight-{attempt.agent}", "version": version}
    agent["model_name"] = attempt.model
    if tools:
        agent["tool_definitions"] = [_tool(tool) for tool in tools]
    return {
        "schema_version": SCHEMA,
        "session_id": attempt.id,
        "trajectory_id": attempt.id,
        "agent": agent,
        "steps": steps,
        "final_metrics": _totals(attempt.usage, len(steps)),
        "extra": {
            "task": task.id,
            "prompt": task.prompt,
            "base_commit": task.base_commit,
            "state": attempt.state,
            "verdict": verdict,
            "commit": attempt.patch.commit if attempt.patch else None,
        },
    }


def images(events: Sequence[Recorded]) -> dict[str, str]:
    """Return the digest of every image of the trajectory by its path beside the file."""
    found: dict[str, str] = {}
    for said in conversation(events):
        for message in (said.message, *(result.message for result in said.results)):
            found |= {_path(image): image.digest for image in message.images}
    return found


def _step(number: int, said: Said) -> dict[str, Any]:
    message = said.message
    step: dict[str, Any] = {
        "step_id": number,
        "timestamp": datetime.fromtimestamp(said.at, UTC).isoformat(),
        "source": "agent" if message.role == "assistant" else message.role,
        "message": _content(message),
        "extra": {"step": said.step},
    }
    if message.role != "assistant":
        return step
    if said.call is not None and said.call.completion is not None:
        step["model_name"] = said.call.completion.model
    if message.reasoning:
        step["reasoning_content"] = message.reasoning
    if message.tool_calls:
        step["tool_calls"] = [_call(call) for call in message.tool_calls]
    if said.results:
        results = [
            ({"source_call_id": result.call_id} if result.call_id else {})
            | {"content": _content(result.message)}
            for result in said.results
        ]
        step["observation"] = {"results": results}
    step["llm_call_count"] = 1
    step["metrics"] = _metrics(said)
    return step


def _metrics(said: Said) -> dict[str, Any]:
    usage = said.usage or Usage()
    found: dict[str, Any] = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "cached_tokens": usage.cached_tokens,
    }
    if not usage.unpriced_calls:
        found["cost_usd"] = usage.cost_usd
    call = said.call
    if call is None:
        return found
    extra: dict[str, Any] = {"seconds": call.seconds, "temperature": call.temperature}
    if call.first_seconds is not None:
        extra["first_seconds"] = call.first_seconds
    if usage.reasoning_tokens:
        extra["reasoning_tokens"] = usage.reasoning_tokens
    if call.completion is not None and call.completion.request_id:
        extra["request_id"] = call.completion.request_id
    trace = call.completion.trace if call.completion is not None else None
    if trace is not None:
        kept = {
            "prompt_token_ids": trace.prompt_ids,
            "completion_token_ids": trace.ids,
            "logprobs": trace.logprobs,
        }
        found |= {name: list(values) for name, values in kept.items() if values}
    return found | {"extra": extra}


def _call(call: ToolCall) -> dict[str, Any]:
    found: dict[str, Any] = {"tool_call_id": call.id, "function_name": call.name}
    try:
        return found | {"arguments": msgspec.json.decode(call.arguments, type=dict[str, Any])}
    except msgspec.MsgspecError:
        # The format wants an object; what the model wrote instead is kept beside it.
        return found | {"arguments": {}, "extra": {"raw_arguments": call.arguments}}


def _content(message: Message) -> str | list[dict[str, Any]]:
    if not message.images:
        return message.text
    pictures = [
        {"type": "image", "source": {"media_type": image.media_type, "path": _path(image)}}
        for image in message.images
    ]
    return [{"type": "text", "text": message.text}, *pictures]


def _path(image: Image) -> str:
    return f"{IMAGES}/{image.digest}.{image.media_type.rpartition('/')[2]}"


def _tool(tool: ToolSpec) -> dict[str, Any]:
    function: Mapping[str, Any] = {
        "name": tool.name,
        "description": tool.description,
        "parameters": dict(tool.parameters),
    }
    return {"type": "function", "function": function}


def _totals(usage: Usage, steps: int) -> dict[str, Any]:
    totals: dict[str, Any] = {
        "total_prompt_tokens": usage.input_tokens,
        "total_completion_tokens": usage.output_tokens,
        "total_cached_tokens": usage.cached_tokens,
        "total_steps": steps,
        "extra": {"model_calls": usage.model_calls, "unpriced_calls": usage.unpriced_calls},
    }
    if not usage.unpriced_calls:
        totals["total_cost_usd"] = usage.cost_usd
    return totals
