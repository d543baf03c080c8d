"""An attempt's events as exchanges, as ATIF and as a trajectory of mini-swe-agent."""

import json
from typing import Any

import msgspec
import pytest
from pydantic import ValidationError

from overnight.domain.conversation import (
    Completion,
    Image,
    Message,
    TokenTrace,
    ToolCall,
    ToolSpec,
)
from overnight.domain.events import (
    AttemptStarted,
    Event,
    MessageAdded,
    ModelCalled,
    ModelOpened,
    ProposalChecked,
    ProposalMade,
    Recorded,
    StepEnded,
    StepStarted,
)
from overnight.domain.task import Attempt, Task, Usage
from overnight.events.atif import atif, images
from overnight.events.exchanges import exchanges, last_opened
from overnight.events.mini_swe_agent import mini_swe_agent
from tests.events.atif_schema import Trajectory

TASK = Task(
    id="t" * 32, repository_id="r", prompt="Fix it", base_ref="main", base_commit="c" * 40, state="done",
    created_at=0.0,
)  # fmt: skip
ATTEMPT = Attempt(
    id="a" * 32, task_id=TASK.id, number=1, agent="loop", model="vllm:qwen", state="succeeded",
    message="Fixed.", created_at=0.0,
    usage=Usage(model_calls=2, input_tokens=40, cached_tokens=10, output_tokens=9, cost_usd=0.5),
)  # fmt: skip
TOOL = ToolSpec(name="shell", description="Runs.", parameters={"type": "object"})
OPENING = (Message(role="system", text="Be brief."), Message(role="user", text="Fix it"))
CALLS = (
    ToolCall(id="c1", name="shell", arguments='{"command": "make"}'),
    ToolCall(id="c2", name="view", arguments="not json"),
)
PICTURE = Image(media_type="image/png", digest="d" * 64, width=1, height=1, size=1)
RESULTS = (
    Message(role="tool", text="red", tool_call_id="c1"),
    Message(role="tool", text="a chart", tool_call_id="c2", images=(PICTURE,)),
)
ACTING = Completion(
    text="Looking.",
    tool_calls=CALLS,
    reasoning="Hm.",
    model="vllm:qwen",
    request_id="r1",
    usage=Usage(
        model_calls=1, input_tokens=20, cached_tokens=5, output_tokens=4, reasoning_tokens=2, cost_usd=0.25
    ),
    trace=TokenTrace(prompt_ids=(1, 2), ids=(3,), logprobs=(-0.5,)),
)
DONE = Completion(
    text="Fixed.", usage=Usage(model_calls=1, input_tokens=20, output_tokens=5, unpriced_calls=1)
)


def start(epoch: int) -> AttemptStarted:
    return AttemptStarted(agent="loop", model="vllm:qwen", prompt="Fix it", base_commit="c", epoch=epoch)


def added(step: int, message: Message, usage: Usage | None = None) -> MessageAdded:
    return MessageAdded(step=step, message=message, usage=usage)


def recorded(*events: Event) -> list[Recorded]:
    return [Recorded(seq=number, at=100.0 + number, event=one) for number, one in enumerate(events, start=1)]


FIRST: tuple[Event, ...] = (
    start(1),
    ModelOpened(name="vllm:qwen", profile={"name": "vllm:qwen"}, number=1, seed=7),
    *(added(0, message) for message in OPENING),
    StepStarted(step=1),
    ModelCalled(call=1, messages=OPENING, tools=(TOOL,), completion=ACTING, seconds=1.5, first_seconds=0.5),
    added(1, ACTING.message, ACTING.usage),
    *(added(1, message) for message in RESULTS),
    StepEnded(step=1),
)
LOST: tuple[Event, ...] = (
    StepStarted(step=2),
    ModelCalled(
        call=2, base=1, keep=2, messages=(ACTING.message, *RESULTS), completion=Completion(text="lost")
    ),
    added(2, Message(role="assistant", text="lost")),
)
SECOND: tuple[Event, ...] = (
    start(2),
    ModelOpened(name="vllm:qwen", profile={"name": "vllm:qwen"}, number=1, seed=7),
    StepStarted(step=2),
    ModelCalled(call=1, messages=(*OPENING, ACTING.message, *RESULTS), tools=(TOOL,), completion=DONE),
    added(2, DONE.message, DONE.usage),
    StepEnded(step=2),
)
STORY = recorded(*FIRST, *LOST, *SECOND)


def test_exchanges_are_whole_again_and_what_was_lost_comes_last() -> None:
    found = exchanges(item.event for item in STORY)
    assert [one.completion and one.completion.text for one in found] == ["Looking.", "Fixed.", "lost"]
    assert [one.step for one in found] == [1, 2, 2]
    conversation = (*OPENING, ACTING.message, *RESULTS)
    assert [one.request.messages for one in found] == [OPENING, conversation, conversation]
    assert all(one.request.tools == (TOOL,) for one in found)
    opened = last_opened(item.event for item in STORY)
    assert opened is not None
    assert (opened.number, opened.seed) == (1, 7)


def trajectory(*events: Event) -> dict[str, Any]:
    return json.loads(msgspec.json.encode(atif(TASK, ATTEMPT, recorded(*events), "1.2")))


def test_a_trajectory_is_of_the_format_and_whole() -> None:
    found = trajectory(*FIRST, *LOST, *SECOND)
    Trajectory.model_validate(found)
    assert [step["source"] for step in found["steps"]] == ["system", "user", "agent", "agent"]
    acting, done = found["steps"][2:]
    assert acting["reasoning_content"] == "Hm."
    assert [call["arguments"] for call in acting["tool_calls"]] == [{"command": "make"}, {}]
    assert acting["tool_calls"][1]["extra"] == {"raw_arguments": "not json"}
    assert [one["source_call_id"] for one in acting["observation"]["results"]] == ["c1", "c2"]
    assert acting["metrics"]["prompt_token_ids"] == [1, 2]
    assert acting["metrics"]["completion_token_ids"] == [3]
    assert acting["metrics"]["logprobs"] == [-0.5]
    assert (acting["metrics"]["cost_usd"], acting["metrics"]["cached_tokens"]) == (0.25, 5)
    assert acting["metrics"]["extra"]["first_seconds"] == 0.5
    assert "cost_usd" not in done["metrics"], "an unknown price is no price of 0"
    assert found["final_metrics"]["total_cost_usd"] == 0.5
    assert found["agent"]["tool_definitions"][0]["function"]["name"] == "shell"
    assert images(STORY) == {f"images/{PICTURE.digest}.png": PICTURE.digest}


def test_what_repair_made_of_an_answer_is_an_observation() -> None:
    asked = (*OPENING, Message(role="assistant", text="```python"))
    found = trajectory(
        start(1),
        StepStarted(step=1),
        *(added(1, message) for message in asked),
        ProposalMade(step=1, path="a.py", target="f", view="plain", temperature=0.0),
        ProposalChecked(step=1, path="a.py", target="f", passed=3, failed=0, kept=True),
        StepEnded(step=1),
    )
    Trajectory.model_validate(found)
    results = found["steps"][2]["observation"]["results"]
    assert results[1]["content"] == "f in a.py: 3 pass, 0 fail: kept"


def test_an_attempt_that_said_nothing_is_a_trajectory_too() -> None:
    found = trajectory(start(1))
    Trajectory.model_validate(found)
    assert found["steps"] == [{"step_id": 1, "source": "user", "message": "Fix it"}]


FORBIDDEN: list[dict[str, Any]] = [
    {"schema_version": "ATIF-v1.6"},
    {"steps": []},
    {"more": 1},
    {"steps": [{"step_id": 2, "source": "user", "message": ""}]},
    {"steps": [{"step_id": 1, "source": "user", "message": "", "metrics": {}}]},
    {"steps": [{"step_id": 1, "source": "agent", "message": "", "llm_call_count": 0, "metrics": {}}]},
    {
        "steps": [
            {
                "step_id": 1,
                "source": "agent",
                "message": "",
                "observation": {"results": [{"source_call_id": "x"}]},
            }
        ]
    },
]


@pytest.mark.parametrize("change", FORBIDDEN)
def test_the_schema_refuses_what_the_format_forbids(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Trajectory.model_validate(trajectory(*FIRST) | change)


def test_a_trajectory_of_mini_swe_agent() -> None:
    found = json.loads(msgspec.json.encode(mini_swe_agent(ATTEMPT, STORY, "diff --git", "1.2")))
    assert found["trajectory_format"] == "mini-swe-agent-1.1"
    roles = [message["role"] for message in found["messages"]]
    assert roles == ["system", "user", "assistant", "tool", "tool", "assistant", "exit"]
    acting = found["messages"][2]
    assert [action["command"] for action in acting["extra"]["actions"]] == ["make", "view not json"]
    assert acting["extra"]["cost"] == 0.25
    assert found["messages"][3]["tool_call_id"] == "c1"
    assert found["messages"][-1]["extra"] == {"exit_status": "Submitted", "submission": "diff --git"}
    info = found["info"]
    assert (info["exit_status"], info["submission"]) == ("Submitted", "diff --git")
    assert info["model_stats"] == {"instance_cost": 0.5, "api_calls": 2, "unpriced_calls": 0}
    assert {"agent", "agent_type", "model", "model_type", "environment", "environment_type"} == set(
        info["config"]
    )
