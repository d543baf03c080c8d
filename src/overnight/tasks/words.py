"""Words to an attempt: a correction while it works, an answer to what it asks, a turn once it has ended."""

from sqlalchemy import Connection

from overnight.domain.commands import Command
from overnight.domain.errors import ConflictError, UsageError
from overnight.domain.ids import short
from overnight.domain.states import TURN_ENDED
from overnight.domain.task import Attempt
from overnight.store import attempts, commands, jobs, pull_requests
from overnight.store.database import Database
from overnight.tasks.cancel import reopen
from overnight.tasks.submit import MAX_PROMPT


async def steer(database: Database, attempt_id: str, text: str, now: float) -> Command:
    """Leave word for a running attempt; its agent reads it after the action that it is at.

    Raises:
        ConflictError: the attempt asks a question, or its agent is done.
    """
    words = check_words(text)

    def work(connection: Connection) -> Command:
        attempt = attempts.get(connection, attempt_id)
        if attempt.state == "needs_input":
            raise ConflictError(f"Attempt {short(attempt.id)} asks a question.", _to(attempt, "answer"))
        if attempt.state in TURN_ENDED or attempt.state == "verifying":
            is_so = "is being verified" if attempt.state == "verifying" else "has ended"
            raise ConflictError(f"Attempt {short(attempt.id)} {is_so}.", _to(attempt, "message"))
        return commands.insert_one(connection, attempt.id, "steer", now, words)

    return await database.tx(work)


async def answer(database: Database, attempt_id: str, text: str, now: float) -> Command:
    """Answer the question that an attempt waits with; whoever claims it next goes on.

    Raises:
        ConflictError: it asks nothing.
    """
    words = check_words(text)

    def work(connection: Connection) -> Command:
        attempt = attempts.get(connection, attempt_id)
        if attempt.state != "needs_input":
            verb = "message" if attempt.state in TURN_ENDED else "steer"
            raise ConflictError(f"Attempt {short(attempt.id)} asks nothing.", _to(attempt, verb))
        command = commands.insert_one(connection, attempt.id, "answer", now, words)
        jobs.wake(connection, attempt.id)
        return command

    return await database.tx(work)


async def follow_up(
    database: Database, attempt_id: str, text: str, now: float, base_commit: str = ""
) -> Attempt:
    """Begin a new turn on an attempt that has ended; `base_commit` is where its changes shall be moved to.

    Raises:
        ConflictError: it has not ended, its place was taken by another one, or its work is merged.
    """
    words = check_words(text)

    def work(connection: Connection) -> Attempt:
        attempt = attempts.get(connection, attempt_id)
        if attempt.superseded_by is not None:
            other = short(attempt.superseded_by)
            raise ConflictError(
                f"Attempt {other} took the place of {short(attempt.id)}.", f"overnight task message {other} …"
            )
        if attempt.state not in TURN_ENDED:
            verb = "answer" if attempt.state == "needs_input" else "steer"
            raise ConflictError(f"Attempt {short(attempt.id)} has not ended.", _to(attempt, verb))
        request = pull_requests.of_attempt(connection, attempt.id)
        if request is not None and request.state == "merged":
            raise ConflictError(
                f"Pull request #{request.number} of attempt {short(attempt.id)} is merged.",
                "Start a new task on what is there now: overnight run",
            )
        # Whoever ended the turn may not have lived to finish its job: it has nothing left to say.
        jobs.withdraw(connection, attempt.id)
        begun = attempts.begin_turn(connection, attempt, words, base_commit or attempt.base_commit, now)
        commands.insert_one(connection, attempt.id, "message", now, words)
        jobs.enqueue(
            connection, kind="turn", task_id=attempt.task_id, attempt_id=attempt.id, now=now,
            place=attempt.number,
        )  # fmt: skip
        reopen(connection, attempt.task_id)
        return begun

    return await database.tx(work)


def check_words(text: str) -> str:
    """Return what a person said, without space around it.

    Raises:
        UsageError: they said nothing, or too much.
    """
    words = text.strip()
    if not words:
        raise UsageError("Nothing was said.", "Give the text after the id.")
    if len(words) > MAX_PROMPT:
        raise UsageError(f"The text is {len(words)} characters long.", f"At most {MAX_PROMPT} are read.")
    return words


def _to(attempt: Attempt, verb: str) -> str:
    return f'Say it so: overnight task {verb} {short(attempt.id)} "…"'
