"""A new task: the words of a person, checked, and stored with its attempts and their jobs in one go."""

import msgspec
from sqlalchemy import Connection

from overnight.domain.errors import UsageError
from overnight.domain.ids import new_id
from overnight.domain.limits import Limits
from overnight.domain.network import Network
from overnight.domain.ports import Clock
from overnight.domain.task import Attempt, Task
from overnight.store import attempts, jobs, repositories, tasks
from overnight.store.database import Database

MAX_PROMPT = 1_000_000
"""Characters; no model reads more, and a mistake such as a binary file is longer."""
MAX_ATTEMPTS = 100


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked, on which commit, and who shall try: one (agent, model) pair for each attempt."""

    repository_id: str
    prompt: str
    base_ref: str
    base_commit: str
    attempts: tuple[tuple[str, str], ...]
    checks: tuple[str, ...] = ()
    verify: bool = True
    allow_test_changes: bool = False
    lend_setup_secrets: bool = False
    sandbox: str = "auto"
    limits: Limits = Limits()
    network: Network = Network()


async def submit(
    database: Database, submission: Submission, clock: Clock
) -> tuple[Task, tuple[Attempt, ...]]:
    """Store the task, its attempts and a job for each; they may be claimed at once.

    Raises:
        UsageError: the submission makes no sense, and why.
        NotFoundError: there is no such repository.
    """
    validate(submission)
    now = clock.time()
    task = Task(
        id=new_id(),
        repository_id=submission.repository_id,
        prompt=submission.prompt.strip(),
        base_ref=submission.base_ref,
        base_commit=submission.base_commit,
        state="open",
        checks=submission.checks,
        verify=submission.verify,
        allow_test_changes=submission.allow_test_changes,
        lend_setup_secrets=submission.lend_setup_secrets,
        sandbox=submission.sandbox,
        limits=submission.limits,
        network=submission.network,
        created_at=now,
    )
    made = tuple(
        Attempt(
            id=new_id(),
            task_id=task.id,
            number=number,
            agent=agent,
            model=model,
            state="queued",
            created_at=now,
            turn_created_at=now,
        )
        for number, (agent, model) in enumerate(submission.attempts, start=1)
    )

    def store(connection: Connection) -> None:
        repositories.get(connection, task.repository_id)
        tasks.insert_one(connection, task)
        for attempt in made:
            attempts.insert_one(connection, attempt)
            jobs.enqueue(
                connection,
                kind="turn",
                task_id=task.id,
                attempt_id=attempt.id,
                now=now,
                place=attempt.number,
            )

    await database.tx(store)
    return task, made


def validate(submission: Submission) -> None:
    """Say what is wrong with a submission before anything is stored.

    Raises:
        UsageError: the first thing that is wrong.
    """
    if not submission.prompt.strip():
        raise UsageError("The task is empty.", "Say what shall be done.")
    if len(submission.prompt) > MAX_PROMPT:
        raise UsageError(
            f"The task is {len(submission.prompt)} characters long.", f"At most {MAX_PROMPT} are read."
        )
    if not submission.base_commit:
        raise UsageError("The task has no base commit.", "Resolve the base reference first.")
    if not 1 <= len(submission.attempts) <= MAX_ATTEMPTS:
        raise UsageError(
            f"{len(submission.attempts)} attempts cannot be made.", f"Ask for 1 to {MAX_ATTEMPTS}."
        )
    if any(not agent or not model for agent, model in submission.attempts):
        raise UsageError("An attempt has no agent or no model.", "Name both.")
    if any(not check.strip() for check in submission.checks):
        raise UsageError("A check is empty.", "Give the command after `--check`.")
    for name, bound in msgspec.structs.asdict(submission.limits).items():
        # Written so that NaN is refused as well.
        if not bound > 0:
            raise UsageError(f"The limit {name} is {bound}.", "Limits are greater than 0.")
