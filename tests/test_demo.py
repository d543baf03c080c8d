"""The two things a new user sees: the demo, and the embedded model on a repository of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house import BUGGY, CHECK, House, git, make_repository

pytestmark = pytest.mark.full

ROOT = Path(__file__).parent.parent
TRIES = 3
"""A small model samples: one run in some tens fails, three in a row do not."""
SECONDS = 900


def test_the_demo_ends_with_a_verified_pull_request() -> None:
    ended: list[str] = []
    for _ in range(TRIES):
        done = subprocess.run(
            [sys.executable, str(ROOT / "demo" / "demo.py")],
            capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip
        ended.append(done.stdout[-2000:] + done.stderr[-2000:])
        if done.returncode == 0:
            assert "verdict: verified" in done.stderr
            assert "red | green" in done.stdout
            return
        assert done.returncode == 3, ended[-1]
    pytest.fail("\n".join(ended))


def test_the_embedded_model_repairs_and_the_patch_can_be_merged(house: House, tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "own", BUGGY)
    environment = {**house.environment, "OVERNIGHT_CACHE_DIR": os.environ.get("OVERNIGHT_CACHE_DIR", "")}
    if not environment["OVERNIGHT_CACHE_DIR"]:
        # The model is 1.1 GB: it is shared with the person whose machine this is.
        environment.pop("OVERNIGHT_CACHE_DIR")
        environment["HOME"] = os.environ.get("HOME", "/")
    command = house.command(
        "run", "add() must return the sum", "--repo", str(repository), "--check", CHECK, "--model", "embedded"
    )
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    merged = house.run("pr", "merge", "1")
    assert merged.code == 0, merged.stderr
    assert "return a + b" in (repository / "calc.py").read_text()
    assert git(repository, "status", "--porcelain") == ""
