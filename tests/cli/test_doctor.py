"""`overnight doctor`, run as a user runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path


def _doctor(data: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "overnight", "doctor", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={"PATH": os.environ["PATH"], "HOME": str(data), "OVERNIGHT_DATA_DIR": str(data / "data")},
    )


def test_it_says_which_sandbox_is_used_and_what_each_enforces(tmp_path: Path) -> None:
    done = _doctor(tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["active"] == "namespaces"
    by_name = {backend["name"]: backend for backend in said["backends"]}
    assert by_name["namespaces"]["works"]
    assert by_name["namespaces"]["lasting"]
    assert not by_name["none"]["safe"]
    for backend in by_name.values():
        if backend["works"]:
            assert {"memory", "processes", "cpu", "disk", "freeze", "network"} <= set(backend["enforces"])


def test_it_reads_well(tmp_path: Path) -> None:
    done = _doctor(tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("namespaces: active\n")
    assert "none: works (no isolation" in done.stdout
