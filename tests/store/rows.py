"""Rows that store tests begin with."""

from sqlalchemy import Connection

from overnight.domain.ids import new_id
from overnight.domain.task import Attempt, Task
from overnight.store import attempts, jobs, repositories, tasks


def a_task(connection: Connection, created_at: float = 1.0, origin: str = "/repo") -> Task:
    """Store and return an open task."""
    task = Task(
        id=new_id(),
        repository_id=repositories.ensure(connection, origin, 1.0).id,
        prompt="Fix it\nplease",
        base_ref="main",
        base_commit="c" * 40,
        state="open",
        checks=("pytest",),
        created_at=created_at,
    )
    tasks.insert_one(connection, task)
    return task


def an_attempt(connection: Connection, task: Task, number: int = 1, queue: bool = True) -> Attempt:
    """Store and return a queued attempt, with its job unless told otherwise."""
    attempt = Attempt(
        id=new_id(),
        task_id=task.id,
        number=number,
        agent="repair",
        model="embedded",
        state="queued",
        created_at=task.created_at,
    )
    attempts.insert_one(connection, attempt)
    if queue:
        jobs.enqueue(
            connection,
            kind="turn",
            task_id=task.id,
            attempt_id=attempt.id,
            now=task.created_at,
            place=number,
        )
    return attempt
