"""What we export, read by Harbor's own classes: in a Python that its package takes, where one is at hand."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from overnight.events.atif import atif
from tests.events.test_trajectories import ATTEMPT, STORY, TASK

pytestmark = pytest.mark.full

VERSION = "0.26.0"
READ = """
import json, sys
from harbor.models.trajectories import Trajectory
found = Trajectory.model_validate(json.load(sys.stdin))
print(json.dumps([found.schema_version, len(found.steps), found.has_multimodal_content()]))
"""


def pythons() -> Iterator[str]:
    """Yield interpreters that are new enough and run."""
    for minor in (12, 13, 14):
        names = [shutil.which(f"python3.{minor}")]
        names += sorted(map(str, Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/python3")))
        for name in names:
            if name and subprocess.run([name, "-c", ""], capture_output=True, check=False).returncode == 0:
                yield name


@pytest.fixture(scope="module")
def harbor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an interpreter that has Harbor's classes, or skip."""
    python = next(pythons(), None)
    if python is None:
        pytest.skip("no Python 3.12 or newer is at hand, which Harbor needs")
    folder = tmp_path_factory.mktemp("harbor")
    subprocess.run([python, "-m", "venv", str(folder)], check=True, capture_output=True)
    inside = folder / "bin" / "python"
    # The trajectory classes need nothing of Harbor's many dependencies but pydantic.
    for packages in (["--no-deps", f"harbor=={VERSION}"], ["pydantic"]):
        done = subprocess.run(
            [inside, "-m", "pip", "install", "-q", *packages], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            pytest.skip(f"Harbor cannot be installed here: {done.stderr[-300:]}")
    return inside


def test_harbor_reads_our_trajectories(harbor: Path) -> None:
    data = msgspec.json.encode(atif(TASK, ATTEMPT, STORY, "1.2"))
    done = subprocess.run([harbor, "-c", READ], input=data, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    assert json.loads(done.stdout) == ["ATIF-v1.7", 4, True]


def test_harbor_refuses_what_is_wrong(harbor: Path) -> None:
    """So that the test above would see it."""
    wrong = atif(TASK, ATTEMPT, STORY, "1.2") | {"more": 1}
    done = subprocess.run(
        [harbor, "-c", READ], input=msgspec.json.encode(wrong), capture_output=True, check=False
    )
    assert done.returncode != 0
