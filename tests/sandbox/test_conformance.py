"""The shipped conformance suite, run against both backends, as root and as an ordinary user."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from overnight.sandbox.choose import SandboxKind, choose
from overnight.sandbox.conformance import CONFINED, EVERY, Case
from overnight.sandbox.room import NotApplicable, Room
from tests.sandbox.conftest import case_name

pytestmark = pytest.mark.anyio
SECRET = "canary-7f3a9c"


@pytest.mark.parametrize("case", [*EVERY, *CONFINED], ids=case_name)
@pytest.mark.parametrize("kind", ["namespaces", "bubblewrap"])
async def test_confined(kind: SandboxKind, case: Case, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVERNIGHT_TEST_SECRET", SECRET)
    backend = await choose(kind, state=folder / "state", search=os.environ["PATH"], home=Path.home())
    try:
        await case(Room(backend, folder, SECRET))
    except NotApplicable as reason:
        pytest.skip(str(reason))


@pytest.mark.parametrize("case", EVERY, ids=case_name)
async def test_none(case: Case, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVERNIGHT_TEST_SECRET", SECRET)
    backend = await choose("none", state=folder / "state", search=os.environ["PATH"], home=Path.home())
    try:
        await case(Room(backend, folder, SECRET))
    except NotApplicable as reason:
        pytest.skip(str(reason))


@pytest.mark.skipif(os.geteuid() != 0, reason="the other tests already run without root")
@pytest.mark.parametrize("kind", ["namespaces", "bubblewrap"])
def test_confined_as_an_ordinary_user(kind: str, folder: Path) -> None:
    os.chown(folder, 1000, 1000)
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("rootless.py"), str(folder), kind],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env={"PATH": "/usr/bin:/bin", "OVERNIGHT_TEST_SECRET": SECRET},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.split() == [case_name(case) for case in (*EVERY, *CONFINED)]
