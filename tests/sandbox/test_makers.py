"""What a dead worker left is swept by the next one of its user and PID namespace, and by nobody else."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from overnight.domain.limits import Limits
from overnight.domain.process import process_started
from overnight.sandbox.cgroup import create_cgroup
from overnight.sandbox.makers import is_gone, this_maker

SWEEP = """
from overnight.domain.limits import Limits
from overnight.sandbox.cgroup import create_cgroup
group = create_cgroup(Limits())
group.remove()
"""
WAITING = """
import os, sys
from overnight.domain.process import process_started
from overnight.sandbox.makers import this_maker
print(this_maker(), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def living() -> Iterator[str]:
    """Return the name of another process that lives, of another data directory for all that is known."""
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    yield process.stdout.readline().strip()
    process.communicate("")


def dead(maker: str) -> str:
    """Return the name of a process that had the same number before."""
    process, _, user, namespace = maker.split("-")
    return f"{process}-1-{user}-{namespace}"


def test_only_a_dead_process_of_ours_is_gone(living: str) -> None:
    number, start, user, namespace = living.split("-")
    assert start == process_started(int(number))
    assert (int(user), namespace) == (os.getuid(), this_maker().split("-")[3])
    assert not is_gone(living)
    assert not is_gone(this_maker())
    assert is_gone(dead(living))
    assert not is_gone(f"{number}-1-{int(user) + 1}-{namespace}"), "another user's"
    assert not is_gone(f"{number}-1-{user}-{int(namespace) + 1}"), "another PID namespace's"
    for text in ("", "1-2-3", f"{number}-1", f"x{dead(living)}", f"{dead(living)}-5"):
        assert not is_gone(text)


def test_a_fork_is_another_maker() -> None:
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        os.write(writer, this_maker().encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    with os.fdopen(reader) as said:
        assert said.read().startswith(f"{child}-")


def test_a_sweep_touches_only_groups_of_dead_workers_of_ours(living: str) -> None:
    group = create_cgroup(Limits())
    if group is None:
        pytest.skip("this machine has no control groups for us")
    number, _, user, namespace = living.split("-")
    stay = [
        f"overnight-{living}-1",
        f"overnight-{number}-1-{int(user) + 1}-{namespace}-1",
        f"overnight-{number}-1-{user}-{int(namespace) + 1}-1",
        f"overnight-{number}-1-1",
    ]
    go = [f"overnight-{dead(living)}-1"]
    made = [folder.parent / name for folder in group.folders.values() for name in (*stay, *go)]
    try:
        for folder in made:
            folder.mkdir(exist_ok=True)  # two controllers of one hierarchy
        subprocess.run([sys.executable, "-c", SWEEP], check=True)
        left = {folder for folder in made if folder.exists()}
        assert left == {folder for folder in made if folder.name in stay}
        assert all(Path(folder).exists() for folder in group.folders.values()), "ours lives"
    finally:
        group.remove()
        for folder in made:
            if folder.exists():
                folder.rmdir()
