"""A full disk: one line that names it, and what to do."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = 'mount -t tmpfs -o size=300k tmpfs "$1" && cd "$2" && exec "$3" -m overnight env exec -- true'


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a small disk")
def test_a_full_disk_is_one_line(tmp_path: Path, buggy: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", SCRIPT, "sh", disk, buggy, sys.executable],
        env={**os.environ, "OVERNIGHT_DATA_DIR": str(disk / "data")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "No space left on device" in done.stderr
    assert str(disk) in done.stderr, "it names the disk that is full"
    assert "Traceback" not in done.stderr
    assert "overnight prune" in done.stderr
