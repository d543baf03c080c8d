"""Workspaces made, used and destroyed by workers that are killed at random: nothing of theirs is left."""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attacks.scripted import BACKENDS, unavailable
from tests.house import make_repository
from tests.processes import gone, running

CYCLES = {"container": 60}
"""Cycles by sandbox, where it is not `MOST`: an engine takes seconds for one."""
MOST = 1000
AT_ONCE = 4
SEED = 20261128
LONGEST = 600.0
"""Seconds for all; a test that does not come to its end fails."""


@pytest.fixture
def root() -> Iterator[Path]:
    """Return a directory that other users may reach, with a repository and a token of its own."""
    path = Path(tempfile.mkdtemp(prefix="overnight-cycles-"))
    path.chmod(0o755)
    make_repository(path / "repository")
    (path / "token").write_text(str(uuid.uuid4().int)[:18])
    yield path
    shutil.rmtree(path, ignore_errors=True)


def start(root: Path, kind: str, cycles: int, seed: int) -> "subprocess.Popen[str]":
    """Start a worker for so many cycles."""
    words = [sys.executable, "-m", "tests.worker.cycling", str(root), kind]
    with (root / "said").open("a") as said:
        return subprocess.Popen(
            [*words, str(cycles), str(AT_ONCE), str(seed)],
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            start_new_session=True,
        )


def lines_until(process: "subprocess.Popen[str]", count: int) -> tuple[bool, int]:
    """Read until the worker was ready and did `count` cycles, or ended; return both."""
    assert process.stdout is not None
    ready, cycles = False, 0
    while (not ready or cycles < count) and (line := process.stdout.readline()):
        ready, cycles = ready or line == "ready\n", cycles + (line == "cycle\n")
    return ready, cycles


@pytest.fixture
def load() -> Iterator[None]:
    """Keep every core busy meanwhile, at the lowest priority."""
    words = ["nice", "-n", "19", sys.executable, "-c", "while True: pass"]
    busy = [subprocess.Popen(words) for _ in range(os.cpu_count() or 1)]
    yield
    for process in busy:
        process.kill()
        process.wait()


@pytest.mark.full
@pytest.mark.usefixtures("load")
@pytest.mark.parametrize("kind", BACKENDS)
def test_killed_workers_leave_nothing(root: Path, kind: str) -> None:
    if reason := unavailable(kind):
        pytest.skip(reason)
    draw = random.Random(SEED)
    left, kills, pids = CYCLES.get(kind, MOST), 0, list[int]()
    until = time.monotonic() + LONGEST
    while left > 0:
        assert time.monotonic() < until, f"{left} cycles are left after {kills} kills"
        process = start(root, kind, left, draw.randrange(2**30))
        pids.append(process.pid)
        wanted = min(left, draw.randrange(1, max(2, CYCLES.get(kind, MOST) // 12)))
        ready, done = lines_until(process, wanted)
        assert ready, (root / "said").read_text()
        time.sleep(draw.random() * 0.05)  # Not a wait for anything: it spreads the kills over a cycle.
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        assert process.stdout is not None
        done += process.stdout.read().count("cycle\n")
        process.stdout.close()
        process.wait()
        left -= done
    assert kills > 0
    last = start(root, kind, 1, 0)
    pids.append(last.pid)
    assert lines_until(last, 1) == (True, 1), (root / "said").read_text()
    assert last.stdout is not None
    last.stdout.close()
    assert last.wait(60) == 0, (root / "said").read_text()
    check_nothing_is_left(root, pids)


def check_nothing_is_left(root: Path, pids: list[int]) -> None:
    """Look for processes, mounts, control groups, containers and directories of those workers."""
    token = (root / "token").read_text()
    assert gone(token), running(token)
    assert gone(str(root)), running(str(root))
    assert str(root) not in Path("/proc/self/mountinfo").read_text()
    assert [path.name for path in (root / "workspaces").iterdir() if path.is_dir()] == []
    assert list((root / "state" / "containers").glob("*")) == []
    if (engine := shutil.which("podman") or shutil.which("docker")) is not None:
        mine = f"label=overnight.state={root / 'state'}"
        said = subprocess.run([engine, "ps", "-aq", "--filter", mine], capture_output=True, check=False)
        assert said.stdout == b"", "a container is left"
    # A network namespace lives as long as a process in it, or a mount of it: neither is left.
    assert not list(Path("/run/netns").glob("*overnight*"))
    groups = [path for pid in pids for path in Path("/sys/fs/cgroup").glob(f"**/overnight-{pid}-*")]
    assert groups == []
    strange = {path.name for path in (root / "state").iterdir() if path.name.startswith("self-test-")}
    assert strange == set()


def test_a_killed_worker_leaves_nothing(root: Path) -> None:
    """The same once, in short, for whatever this machine chooses by itself."""
    process = start(root, "auto", 100, SEED)
    ready, _ = lines_until(process, 3)
    assert ready, (root / "said").read_text()
    process.kill()
    assert process.stdout is not None
    process.stdout.close()
    process.wait()
    again = start(root, "auto", 1, SEED)
    assert lines_until(again, 1) == (True, 1), (root / "said").read_text()
    assert again.stdout is not None
    again.stdout.close()
    assert again.wait(60) == 0
    check_nothing_is_left(root, [process.pid, again.pid])
