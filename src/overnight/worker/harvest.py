"""From what an agent left in its workspace to a commit on a branch of the mirror."""

import asyncio
from collections.abc import Sequence

from overnight.domain.errors import PatchError
from overnight.domain.events import PatchReady, PolicyBlocked
from overnight.domain.ids import branch_name, short
from overnight.domain.patch import FileChange
from overnight.domain.ports import EventSink, Redaction
from overnight.domain.task import Attempt, PatchStats, Task, title_of
from overnight.domain.verdict import Verdict
from overnight.git.commit import advance_branch, commit_changes, drop_branch
from overnight.git.mirror import Mirror
from overnight.git.objects import changed_files, diff_and_numstat, read_file
from overnight.worker.course import Earlier
from overnight.worker.engine import Engine
from overnight.worker.prepare import Prepared


async def harvest(
    engine: Engine,
    task: Task,
    attempt: Attempt,
    prepared: Prepared,
    events: EventSink,
    redaction: Redaction,
    earlier: Earlier,
) -> PatchStats | None:
    """Commit the workspace's changes to the attempt's branch; None when nothing changed.

    Over an `earlier` patch it is one more commit, which the branch moves to when the turn ends.

    Raises:
        PatchError: the workspace holds something that can be no part of a patch, a secret included.
    """
    # What runs on in the background must not write while its files are read.
    async with prepared.sandbox.frozen():
        changes = await asyncio.to_thread(prepared.workspace.export)
    changes = [change for change in changes if change not in prepared.begun]
    await _refuse_secrets(task, prepared, changes, events, redaction)
    return await _commit(engine, task, attempt, prepared, changes, events, redaction, earlier)


async def keep_only(
    engine: Engine,
    task: Task,
    attempt: Attempt,
    prepared: Prepared,
    verdict: Verdict,
    events: EventSink,
    redaction: Redaction,
    earlier: Earlier,
) -> PatchStats | None:
    """Commit the attempt's patch again without the protected files that verification put back."""
    assert attempt.patch is not None
    changes = await changed_files(prepared.mirror, task.base_commit, attempt.patch.commit)
    restored = set(verdict.protected_restored)
    kept = [change for change in changes if change.path not in restored]
    return await _commit(engine, task, attempt, prepared, kept, events, redaction, earlier)


async def move_branch(mirror: Mirror, attempt: Attempt, earlier: Earlier) -> None:
    """Point the branch at the patch of a turn that has ended; forward only, and never twice."""
    if attempt.patch is not None and attempt.turn > 1:
        branch, commit = attempt.patch.branch, attempt.patch.commit
        if await advance_branch(mirror, branch, commit, earlier.commits):
            await drop_branch(mirror, f"{branch}-{attempt.turn}", commit)


async def _same(prepared: Prepared, task: Task, before: PatchStats, changes: Sequence[FileChange]) -> bool:
    """Say whether the turn left everything as the earlier patch has it."""
    there = await changed_files(prepared.mirror, task.base_commit, before.commit)
    return {change.path: change for change in there} == {change.path: change for change in changes}


async def _refuse_secrets(
    task: Task,
    prepared: Prepared,
    changes: Sequence[FileChange],
    events: EventSink,
    redaction: Redaction,
) -> None:
    """Refuse a patch that brings in the value of a secret; taking one out of a file is welcome.

    Editing it out of the patch silently would publish something that nobody wrote and nothing verified.
    """
    for change in changes:
        path = redaction.clean(change.path)
        name, where = redaction.found_in(change.path.encode()), "the name of"
        if name is None and change.content is not None:
            name, where = await asyncio.to_thread(redaction.found_in, change.content), ""
            if name is not None:
                before = await read_file(prepared.mirror, task.base_commit, change.path)
                if before is not None and redaction.found_in(before) is not None:
                    continue
        if name is not None:
            detail = f"{where} {path}".strip()
            events.emit(PolicyBlocked(what="secret in a patch", detail=f"{name} in {detail}"))
            raise PatchError(
                f"The patch is refused: the value of the secret {name} stands in {detail}.",
                "Nothing was committed. If the value is no secret: overnight secret remove.",
            )


async def _commit(
    engine: Engine,
    task: Task,
    attempt: Attempt,
    prepared: Prepared,
    changes: Sequence[FileChange],
    events: EventSink,
    redaction: Redaction,
    earlier: Earlier,
) -> PatchStats | None:
    if not changes:
        return None
    before = earlier.patch
    if before is not None and not earlier.moved and await _same(prepared, task, before, changes):
        events.emit(PatchReady(patch=before))
        return before
    title = redaction.clean(title_of(attempt.prompt or task.prompt))
    branch = before.branch if before is not None else branch_name(redaction.clean(task.title), attempt.id)
    trailers = f"Overnight-Task: {short(task.id)}\nOvernight-Attempt: {short(attempt.id)}\n"
    commit = await commit_changes(
        prepared.mirror,
        task.base_commit,
        changes,
        message=f"{title}\n\n{trailers}",
        branch=branch if before is None else f"{branch}-{attempt.turn}",
        at=attempt.turn_created_at,
        parent=before.commit if before is not None else None,
        merged=earlier.moved,
    )
    text, counts = await diff_and_numstat(prepared.mirror, task.base_commit, commit)
    patch = PatchStats(
        commit=commit,
        branch=branch,
        digest=engine.blobs.put(text),
        files=tuple(entry.path for entry in counts),
        added=sum(entry.added or 0 for entry in counts),
        removed=sum(entry.removed or 0 for entry in counts),
    )
    events.emit(PatchReady(patch=patch))
    return patch
