"""What an agent that is taken up again remembers of what it did before."""

from overnight.agents.stuck import from_history
from overnight.domain.conversation import Message, ToolCall
from overnight.domain.events import Event, MessageAdded, ToolCallEnded, TurnStarted

AGAIN = TurnStarted(turn=2, prompt="Once more", command_id="c", base_commit="b" * 40)


def acted(step: int) -> list[Event]:
    """Return what the log holds of one call that gave what it always gives."""
    call = ToolCall(id=f"call{step}", name="shell", arguments='{"command": "make"}')
    return [
        MessageAdded(step=step, message=Message(role="assistant", text="", tool_calls=(call,))),
        ToolCallEnded(step=step, call_id=call.id, ok=False, seconds=0.1, summary=""),
        MessageAdded(step=step, message=Message(role="tool", text="no rule", tool_call_id=call.id)),
    ]


def test_a_circle_goes_on_where_the_work_was_cut_off() -> None:
    stuck = from_history([*acted(1), *acted(2)], most=3)
    assert stuck.notice(2) is None
    stuck.saw(ToolCall(id="x", name="shell", arguments='{"command": "make"}'), "no rule", ok=False)
    assert stuck.notice(3) is not None


def test_a_new_turn_remembers_nothing_of_the_one_before() -> None:
    told = [event for step in range(1, 4) for event in acted(step)]
    stuck = from_history([*told, AGAIN], most=3)
    for step in (4, 5):
        stuck.saw(ToolCall(id="x", name="shell", arguments='{"command": "make"}'), "no rule", ok=False)
        assert stuck.notice(step) is None
    stuck.saw(ToolCall(id="x", name="shell", arguments='{"command": "make"}'), "no rule", ok=False)
    assert stuck.notice(6) is not None
    assert not stuck.over, "it was told in the turn before, not in this one"
