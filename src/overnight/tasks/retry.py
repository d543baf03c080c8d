"""A task once more: same words, commit and agents; with more of the network, or with a recorded model."""

from collections.abc import Sequence

import msgspec

from overnight.domain.network import Rule
from overnight.domain.task import Attempt, Task
from overnight.tasks.submit import Submission


def again(task: Task, attempts: Sequence[Attempt], allow: Sequence[Rule]) -> Submission:
    """Return what to submit so that the task starts anew with `allow` granted over what it had."""
    return Submission(
        repository_id=task.repository_id,
        prompt=task.prompt,
        base_ref=task.base_ref,
        base_commit=task.base_commit,
        attempts=tuple((attempt.agent, attempt.model) for attempt in attempts),
        checks=task.checks,
        verify=task.verify,
        allow_test_changes=task.allow_test_changes,
        sandbox=task.sandbox,
        limits=task.limits,
        network=task.network.granting(allow),
    )


def replaying(task: Task, attempt: Attempt, model: str) -> Submission:
    """Return what to submit so that one attempt is made again with `model`, which is its recording.

    Nothing is verified, so that no second pull request stands beside the first.
    """
    submission = again(task, [attempt], ())
    return msgspec.structs.replace(
        submission,
        attempts=((attempt.agent, model),),
        lend_setup_secrets=task.lend_setup_secrets,
        verify=False,
    )
