"""Verification of an attempt's patch: what is committed in the mirror, in workspaces nobody worked in."""

from functools import partial

from overnight.domain.events import VerdictReached
from overnight.domain.ids import new_id
from overnight.domain.ports import EventSink, Redaction
from overnight.domain.task import Attempt, Task
from overnight.domain.verdict import Verdict
from overnight.environments.interface import Workspace
from overnight.environments.services import begin, names_of
from overnight.git.objects import changed_files
from overnight.sandbox.watch import reports
from overnight.verify.clean_room import CleanRoom
from overnight.verify.judge import not_verified, unverified
from overnight.verify.verifier import VerifyRequest, verify
from overnight.worker.engine import Engine
from overnight.worker.prepare import Prepared


async def reach_verdict(
    engine: Engine,
    task: Task,
    attempt: Attempt,
    prepared: Prepared,
    events: EventSink,
    redaction: Redaction,
) -> Verdict:
    """Judge the attempt's commit; without one there is nothing to verify."""
    if attempt.patch is None:
        return _settled(not_verified("The agent changed no files."), events)
    if not task.verify:
        return _settled(unverified(), events)
    ground = prepared.ground

    def new_workspace() -> Workspace:
        return ground.workspaces.create(ground.snapshot, f"verify-{new_id()}")

    changes = await changed_files(ground.mirror, task.base_commit, attempt.patch.commit)
    scratch = engine.data / "results"
    scratch.mkdir(parents=True, exist_ok=True)
    return await verify(
        VerifyRequest(
            checks=prepared.checks,
            changes=tuple(changes),
            snapshot=ground.snapshot.key,
            room=CleanRoom(
                on_limit=reports(events),
                new_workspace=new_workspace,
                backend=ground.backend,
                scratch=scratch,
                limits=prepared.limits,
                begin=partial(begin, ground.snapshot.recipe, ground.backend, events=events),
                beside=names_of(ground.snapshot.recipe, ground.backend),
            ),
            base_runs=engine.base_runs,
            events=events,
            redaction=redaction,
            protected=prepared.protected,
            allow_test_changes=task.allow_test_changes,
        )
    )


def _settled(verdict: Verdict, events: EventSink) -> Verdict:
    events.emit(VerdictReached(verdict=verdict))
    return verdict
