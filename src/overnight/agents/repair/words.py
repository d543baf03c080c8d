"""What people said after the task was given: `repair` reads it when it begins, as part of the task."""

import msgspec

from overnight.agents.interface import Assignment
from overnight.agents.record import last_step
from overnight.domain.conversation import Message
from overnight.domain.events import MessageAdded, StepEnded


async def with_words(assignment: Assignment) -> Assignment:
    """Return the assignment with all that was said in its prompt.

    What is new begins the search anew, over the files as they are: what was tried was tried for less.
    """
    said = [
        event.message.text
        for event in assignment.history
        if isinstance(event, MessageAdded) and event.command_id
    ]
    arrived = await assignment.inbox.arrived()
    history = list(assignment.history)
    before = last_step(history)
    if arrived and before is not None:
        history.append(StepEnded(step=before.step, checkpoint=before.checkpoint))
    for word in arrived:
        message = Message(role="user", text=word.text)
        # Outside of any step: it is told again unless one ends after it.
        assignment.events.emit(MessageAdded(step=0, message=message, command_id=word.id))
    prompt = "\n\n".join((assignment.prompt, *said, *(word.text for word in arrived)))
    return msgspec.structs.replace(assignment, prompt=prompt, history=history)
