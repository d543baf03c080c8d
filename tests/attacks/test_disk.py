"""Commands that fill the host's disk, or its table of files."""

import asyncio
import os
import shutil
import tempfile
from pathlib import Path

import msgspec
import pytest

from overnight.domain.limits import Limits
from overnight.sandbox.bubblewrap import backend as namespaces
from overnight.sandbox.hidden import Free, held_bytes
from overnight.sandbox.interface import Command, CommandResult
from tests.attacks.hostile import LIMITS, Place

MIB = 1024**2

HELD_OPEN = """
import os, time
held = []
for number in range(6):
    held.append(os.open("{where}/f", os.O_CREAT | os.O_RDWR))
    os.unlink("{where}/f")
    for _ in range(10):
        os.write(held[-1], bytes(1024**2))
time.sleep(60)
"""
LINKS = """
import os, time
os.mkdir("links")
for number in range(6000):
    os.symlink("x", f"links/{number}")
time.sleep(60)
"""

IN_MEMORY = """
import os, time
held = [os.memfd_create("x") for _ in range(10)]
for descriptor in held:
    for _ in range(10):
        os.write(descriptor, bytes(1024**2))
time.sleep(60)
"""


@pytest.mark.parametrize("where", ["/workspace", "/tmp", "/home/overnight"])
def test_files_removed_while_open_count(place: Place, where: str) -> None:
    limits = msgspec.structs.replace(LIMITS, disk_bytes=30 * MIB)
    result = place.run(f"exec python3 -c '{HELD_OPEN.format(where=where)}'", limits)
    assert result.limit == "disk_bytes", result


def test_files_without_content_count(place: Place) -> None:
    limits = msgspec.structs.replace(LIMITS, disk_bytes=20 * MIB)
    result = place.run(f"exec python3 -c '{LINKS}'", limits)
    assert result.limit == "disk_bytes", result


def test_a_file_larger_than_allowed_is_refused(place: Place) -> None:
    result = place.run("truncate -s 1T sparse")
    assert result.exit_code != 0, result


def test_removed_files_are_counted_once() -> None:
    with tempfile.TemporaryFile() as file, tempfile.NamedTemporaryFile() as named:
        for each in (file, named):
            each.write(bytes(MIB))
            each.flush()
        memory = os.memfd_create("x")
        again = os.dup(file.fileno())
        try:
            os.write(memory, bytes(MIB))
            held = held_bytes([os.getpid()], 100 * MIB)
            assert MIB <= held.disk < 2 * MIB
            assert MIB <= held.memory < 2 * MIB
        finally:
            os.close(memory)
            os.close(again)


def _no_group(_limits: Limits) -> None:
    """Stand in for a machine where this process may make no control group."""


async def _bounded_from_outside(place: Place) -> CommandResult:
    """Run a command as where the kernel keeps no count of a group's memory."""
    with place.workspace() as workspace:
        sandbox = place.backend.open(
            msgspec.structs.replace(
                workspace.spec(), limits=msgspec.structs.replace(LIMITS, memory_bytes=64 * MIB)
            )
        )
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(namespaces, "create_cgroup", _no_group)
            result = await sandbox.run(Command(argv=("python3", "-c", IN_MEMORY)))
        await sandbox.close()
    return result


def test_files_in_memory_count_without_a_control_group(place: Place) -> None:
    result = asyncio.run(_bounded_from_outside(place))
    assert result.limit == "memory_bytes", result


def test_a_disk_that_runs_out_is_noticed(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    before = Free({tmp_path: free * 3})
    assert before.running_out(free * 2)
    assert not before.running_out(free // 2), "there is enough left"
    assert not Free.of([tmp_path]).running_out(free * 2), "nothing was written"
