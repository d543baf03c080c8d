"""Users for sandboxes, shared out among processes by locks on one file."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from overnight.domain.errors import SandboxUnavailableError
from overnight.sandbox.native.identities import Identities

FIRST = 3_000_000_000
"""Far from the users that are really lent: nobody else runs as one of these."""

HOLDER = """
import sys
from pathlib import Path
from overnight.sandbox.native.identities import Identities
identities = Identities(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
print(*(identities.take().number for _ in range(int(sys.argv[4]))), flush=True)
sys.stdin.read()
"""


def _holder(folder: Path, count: int, taken: int) -> tuple["subprocess.Popen[str]", set[int]]:
    words = [sys.executable, "-c", HOLDER, str(folder), str(FIRST), str(count), str(taken)]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, {int(number) for number in process.stdout.readline().split()}


def test_processes_never_share_one(tmp_path: Path) -> None:
    ours = Identities(tmp_path, FIRST, 9)
    mine = {ours.take().number for _ in range(3)}
    process, theirs = _holder(tmp_path, 9, 4)
    other = Identities(tmp_path, FIRST, 9)
    more = {other.take().number for _ in range(2)}
    try:
        assert mine | theirs | more == set(range(FIRST, FIRST + 9))
        for each in (ours, other):
            with pytest.raises(SandboxUnavailableError, match="all 9 are taken"):
                each.take()
    finally:
        process.communicate("")


def test_those_of_a_killed_process_are_lent_again(tmp_path: Path) -> None:
    process, theirs = _holder(tmp_path, 5, 5)
    with pytest.raises(SandboxUnavailableError):
        Identities(tmp_path, FIRST, 5).take()
    process.kill()
    process.communicate()
    ours = Identities(tmp_path, FIRST, 5)
    assert {ours.take().number for _ in range(5)} == theirs


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_not_while_a_process_of_that_user_lives(tmp_path: Path) -> None:
    process, _ = _holder(tmp_path, 2, 2)
    process.kill()
    process.communicate()
    lasting = subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, user=FIRST, group=FIRST, extra_groups=[])
    ours = Identities(tmp_path, FIRST, 2)
    assert ours.take().number == FIRST + 1
    with pytest.raises(SandboxUnavailableError):
        ours.take()
    lasting.communicate(b"")
    assert ours.take().number == FIRST


def test_one_whose_end_is_not_certain_waits_for_a_look(tmp_path: Path) -> None:
    ours = Identities(tmp_path, FIRST, 1)
    ours.take().give_back(ended=False)
    assert ours.take().number == FIRST  # nobody of that user lives


def test_one_that_was_given_back_is_kept_with_its_map(tmp_path: Path) -> None:
    ours = Identities(tmp_path, FIRST, 4)
    identity = ours.take()
    identity.users = users = os.open("/proc/self/ns/user", os.O_RDONLY)
    identity.give_back(ended=True)
    again = ours.take()
    assert again.number == identity.number
    assert again.users == users
    again.give_back(ended=True)
    ours.let_go()
    with pytest.raises(OSError, match="descriptor"):
        os.fstat(users)
    assert {Identities(tmp_path, FIRST, 4).take().number, ours.take().number} <= set(range(FIRST, FIRST + 4))


def test_a_place_that_others_may_write_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(PermissionError):
        Identities(tmp_path / "open")
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(PermissionError):
        Identities(tmp_path / "link")
