"""Recordings: the exchanges of an attempt, from its log or from a file, under the name `replay:NAME`."""

from pathlib import Path

import msgspec

from overnight.domain.errors import NotFoundError, UsageError
from overnight.domain.exchange import Recording
from overnight.domain.task import Attempt
from overnight.events.exchanges import exchanges, last_opened
from overnight.events.log import EventLog
from overnight.store.database import Database
from overnight.tasks.views import find

REPLAY = "replay:"
"""How the name of a replayed model begins."""


class Recordings:
    """What was recorded in one data directory, and files that were exported from any."""

    def __init__(self, database: Database, log: EventLog) -> None:
        self._database = database
        self._log = log

    async def read(self, name: str) -> Recording:
        """Return the recording that `name` means: an attempt, a task with one attempt, or a file.

        Raises:
            UsageError: the file is no recording, or the task has several attempts.
            NotFoundError: there is no such attempt, or nothing was recorded in it.
        """
        name = name.removeprefix(REPLAY)
        path = Path(name)
        if "/" in name or path.suffix == ".json":
            return _from_file(path)
        shown, attempt = await find(self._database, name)
        if attempt is None and len(shown.attempts) > 1:
            raise UsageError(f"The task {name} has several attempts.", "Name one of them.")
        attempt = attempt or next(iter(shown.attempts), None)
        if attempt is None:
            raise NotFoundError(f"The task {name} has no attempt.")
        return await self.of(attempt)

    async def of(self, attempt: Attempt) -> Recording:
        """Return what was recorded of an attempt.

        Raises:
            NotFoundError: nothing was.
        """
        # A fork's conversation begins in its origin.
        events = await self._log.lineage(attempt.id)
        opened, found = last_opened(events), exchanges(events)
        if opened is None or not found:
            raise NotFoundError(f"No exchange with a model was recorded in {attempt.id[:12]}.")
        return Recording(
            attempt=attempt.id,
            agent=attempt.agent,
            model=opened.name,
            number=opened.number,
            seed=opened.seed,
            profile=opened.profile,
            exchanges=found,
        )


def _from_file(path: Path) -> Recording:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Recording)
    except OSError as error:
        raise UsageError(f"The recording {path} cannot be read: {error.strerror}.") from error
    except msgspec.MsgspecError as error:
        raise UsageError(
            f"{path} is no recording: {error}.", "Make one: overnight task export ID --format recording"
        ) from error
