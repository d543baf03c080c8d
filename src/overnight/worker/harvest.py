"""From what an agent left in its workspace to a commit on a branch of the mirror."""

import asyncio
from collections.abc import Sequence

from overnight.domain.events import PatchReady
from overnight.domain.ids import branch_name, short
from overnight.domain.patch import FileChange
from overnight.domain.ports import EventSink
from overnight.domain.task import Attempt, PatchStats, Task
from overnight.domain.verdict import Verdict
from overnight.git.commit import commit_changes
from overnight.git.objects import changed_files, diff_and_numstat
from overnight.worker.engine import Engine
from overnight.worker.prepare import Prepared


async def harvest(
    engine: Engine, task: Task, attempt: Attempt, prepared: Prepared, events: EventSink
) -> PatchStats | None:
    """Commit the workspace's changes to the attempt's branch; None when nothing changed.

    Raises:
        PatchError: the workspace holds something that can be no part of a patch.
    """
    changes = await asyncio.to_thread(prepared.workspace.export)
    changes = [change for change in changes if change not in prepared.begun]
    return await _commit(engine, task, attempt, prepared, changes, events)


async def keep_only(
    engine: Engine, task: Task, attempt: Attempt, prepared: Prepared, verdict: Verdict, events: EventSink
) -> PatchStats | None:
    """Commit the attempt's patch again without the protected files that verification put back."""
    assert attempt.patch is not None
    changes = await changed_files(prepared.mirror, task.base_commit, attempt.patch.commit)
    restored = set(verdict.protected_restored)
    kept = [change for change in changes if change.path not in restored]
    return await _commit(engine, task, attempt, prepared, kept, events)


async def _commit(
    engine: Engine,
    task: Task,
    attempt: Attempt,
    prepared: Prepared,
    changes: Sequence[FileChange],
    events: EventSink,
) -> PatchStats | None:
    if not changes:
        return None
    branch = branch_name(task.title, attempt.id)
    commit = await commit_changes(
        prepared.mirror,
        task.base_commit,
        changes,
        message=f"{task.title}\n\nOvernight-Task: {short(task.id)}\nOvernight-Attempt: {short(attempt.id)}\n",
        branch=branch,
        at=attempt.created_at,
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
