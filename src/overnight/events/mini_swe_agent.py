"""An attempt as a trajectory of mini-swe-agent (format 1.1): OpenAI's chat messages, and a summary."""

from collections.abc import Sequence
from typing import Any

import msgspec

from overnight.domain.conversation import Message, ToolCall
from overnight.domain.events import Recorded
from overnight.domain.task import Attempt
from overnight.events.conversation import Said, conversation

FORMAT = "mini-swe-agent-1.1"


def mini_swe_agent(attempt: Attempt, events: Sequence[Recorded], diff: str, version: str) -> dict[str, Any]:
    """Return the trajectory as JSON values; `diff` is the attempt's patch, `version` is ours."""
    messages: list[dict[str, Any]] = []
    for said in conversation(events):
        messages.append(_message(said))
        messages += [_result(result.call_id, result.message, said.at) for result in said.results]
    status = _exit_status(attempt, diff)
    ended = {"exit_status": status, "submission": diff}
    messages.append({"role": "exit", "content": attempt.message or status, "extra": ended})
    usage = attempt.usage
    return {
        "info": {
            "model_stats": {
                # The format has no word for an unknown price; the calls without one are told beside it.
                "instance_cost": usage.cost_usd,
                "api_calls": usage.model_calls,
                "unpriced_calls": usage.unpriced_calls,
            },
            "config": {
                "agent": {"name": attempt.agent},
                "agent_type": f"overnight.{attempt.agent}",
                "model": {"model_name": attempt.model},
                "model_type": f"overnight.{attempt.model.partition(':')[0]}",
                "environment": {},
                "environment_type": "overnight.sandbox",
            },
            "mini_version": f"overnight {version}",
            **ended,
        },
        "messages": messages,
        "trajectory_format": FORMAT,
    }


def _message(said: Said) -> dict[str, Any]:
    message = said.message
    found: dict[str, Any] = {"role": message.role, "content": message.text}
    extra: dict[str, Any] = {"timestamp": said.at}
    if message.role == "assistant":
        if message.tool_calls:
            found["tool_calls"] = [_call(call) for call in message.tool_calls]
        extra["actions"] = [_action(call) for call in message.tool_calls]
        extra["cost"] = said.usage.cost_usd if said.usage else 0.0
        if message.reasoning:
            found["reasoning_content"] = message.reasoning
    return found | {"extra": extra}


def _result(call_id: str, message: Message, at: float) -> dict[str, Any]:
    found: dict[str, Any] = {"role": "tool" if call_id else "user", "content": message.text}
    if call_id:
        found["tool_call_id"] = call_id
    return found | {"extra": {"timestamp": at}}


def _call(call: ToolCall) -> dict[str, Any]:
    return {
        "id": call.id,
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments},
    }


def _action(call: ToolCall) -> dict[str, Any]:
    """Return a call as a command: that of the shell as it is, of any other tool in its own words."""
    try:
        arguments = msgspec.json.decode(call.arguments, type=dict[str, Any])
    except msgspec.MsgspecError:
        arguments = {}
    command = arguments.get("command")
    if call.name == "shell" and isinstance(command, str):
        return {"command": command, "tool_call_id": call.id}
    return {"command": f"{call.name} {call.arguments}", "tool_call_id": call.id}


def _exit_status(attempt: Attempt, diff: str) -> str:
    if attempt.state == "canceled":
        return "UserInterruption"
    if diff:
        return "Submitted"
    return "LimitsExceeded" if attempt.message.startswith("Stopped at the limit") else "NoPatch"
