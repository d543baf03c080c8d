"""A worker that does nothing but make workspaces, run a command in each and destroy them: to be killed.

    python -m tests.worker.cycling ROOT KIND CYCLES AT_ONCE SEED

It starts as workers do: what dead ones left is swept first. It prints a line for each whole cycle.
"""

import asyncio
import os
import random
import sys
import uuid
from pathlib import Path

from overnight.blobs.store import BlobStore
from overnight.cli.wire import SANDBOXES
from overnight.environments.snapshot import Snapshot
from overnight.environments.snapshots import Snapshots
from overnight.environments.workspaces import Workspaces
from overnight.sandbox.choose import choose
from overnight.sandbox.interface import Command, SandboxBackend
from tests.environments.environment_parts import PLAIN, mirrored
from tests.sink import Sink

SCRIPTS = (
    "echo {0} > made; :",
    "cat *; for i in 1 2 3; do echo {0} > $i; done; mkdir -p a/b; rm -f README.md",
    "(setsid bash -c 'exec sleep 3600.{0}' >/dev/null 2>&1 &); echo left",
    "trap '' TERM; for i in 1 2 3 4 5; do sleep 3600.{0} & done; sleep 0.0{1}; exit 0",
)


async def one_cycle(
    backend: SandboxBackend,
    workspaces: Workspaces,
    snapshot: Snapshot,
    draw: random.Random,
    token: str,
) -> None:
    """Make a workspace and a sandbox, run a command, and take both away."""
    workspace = workspaces.create(snapshot, f"cycle-{uuid.uuid4().hex[:12]}")
    try:
        sandbox = backend.open(workspace.spec())
        try:
            script = draw.choice(SCRIPTS).format(token, draw.randrange(1, 9))
            result = await sandbox.run(Command(script=script, seconds=60))
            assert result.exit_code == 0, result
        finally:
            await sandbox.close()
    finally:
        workspace.close()


async def main(root: Path, kind: str, cycles: int, at_once: int, seed: int) -> None:
    """Sweep, say so, and work until `cycles` are done."""
    backend = await choose(SANDBOXES[kind], state=root / "state", search=os.environ["PATH"], home=Path.home())
    workspaces = Workspaces(root / "workspaces", backend, BlobStore(root / "blobs"))
    workspaces.sweep()
    mirror = await mirrored(root, root / "repository")
    snapshots = Snapshots(root / "snapshots", backend)
    snapshot = await snapshots.prepare(mirror, await mirror.resolve("main"), PLAIN, Sink())
    say("ready")
    draw, token = random.Random(seed), (root / "token").read_text()
    left = cycles

    async def work() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await one_cycle(backend, workspaces, snapshot, draw, token)
            say("cycle")

    await asyncio.gather(*(work() for _ in range(at_once)))
    snapshots.close()


def say(what: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])))
