"""What an agent may leave in its workspace, and what the host makes of it."""

import asyncio
import shlex

import pytest

from overnight.domain.errors import PatchError, UsageError
from overnight.git.commit import commit_changes
from tests.attacks.hostile import Place

REFUSED = {
    "pipe": "mkfifo pipe",
    "socket": "python3 -c 'import socket; socket.socket(1).bind(\"/workspace/s\")'",
    "huge": "truncate -s 900M huge",
    "deep": "for i in $(seq 300); do mkdir d && cd d; done; touch f",
    "not utf-8": "echo x > $'a\\xff'",
}
NAMES = {
    "short name of .git on NTFS": "mkdir 'git~1' && echo x > 'git~1/config'",
    "invisible in .git on HFS": "mkdir $'.g\\u200cit' && echo x > $'.g\\u200cit/config'",
    "backslash": "mkdir -p a && echo x > 'a\\.git\\config'",
    "stream": "echo x > '.git::$INDEX_ALLOCATION'",
    "line break": "echo x > $'a\\nM 100644 inline b'",
    "escape sequence": "echo x > $'a\\e]0;b'",
    "link for .gitmodules": "ln -s calc.py .gitmodules",
    "link for .gitattributes": "mkdir sub && ln -s ../calc.py sub/.gitattributes",
}


@pytest.mark.attack(5, 6)
@pytest.mark.parametrize("attack", REFUSED)
def test_what_no_patch_can_hold_is_refused(place: Place, attack: str) -> None:
    with pytest.raises(PatchError):
        place.exported(REFUSED[attack])


@pytest.mark.attack(4, 5, 42)
@pytest.mark.parametrize("attack", NAMES)
def test_names_that_reach_git_elsewhere_are_refused(place: Place, attack: str) -> None:
    changes = list(place.exported(NAMES[attack]).values())
    base = place.snapshot.commit
    with pytest.raises(PatchError):
        asyncio.run(commit_changes(place.mirror, base, changes, "m", "overnight/attack", at=0))


@pytest.mark.attack(5)
def test_links_are_stored_and_never_followed(place: Place) -> None:
    secret = place.root / "secret.txt"
    secret.write_text("canary-of-the-host\n")
    found = place.exported(
        f"ln -s {secret} one; ln -sf ../../../../../../etc/passwd README.md; "
        f"ln -s {place.root} folder; ln -s .git g"
    )
    assert {path: change.content for path, change in found.items()} == {
        "one": str(secret).encode(),
        "README.md": b"../../../../../../etc/passwd",
        "folder": str(place.root).encode(),
        "g": b".git",
    }
    assert {change.mode for change in found.values()} == {0o120000}


@pytest.mark.attack(5)
def test_the_host_neither_reads_nor_writes_through_a_link(place: Place) -> None:
    victim = place.root / "victim"
    victim.mkdir()
    (victim / "file.txt").write_text("untouched\n")
    with place.workspace() as workspace:
        place.run_in(workspace, f"ln -s {victim} folder; ln -s {victim}/file.txt file.txt")
        assert workspace.read("folder/file.txt") is None
        assert workspace.read("file.txt") == str(victim / "file.txt").encode()
        with pytest.raises(PatchError):
            workspace.write("folder/file.txt", b"overwritten")
        workspace.write("file.txt", b"replaced")
        with pytest.raises(PatchError):
            workspace.read("../../victim/file.txt")
    assert (victim / "file.txt").read_text() == "untouched\n"


@pytest.mark.attack(2)
def test_repositories_within_are_no_part_of_a_patch(place: Place) -> None:
    found = place.exported(
        "mkdir -p sub .GIT/hooks && cd sub && git init -q . && git config core.fsmonitor false && "
        "echo a > a && cd .. && mkdir other && echo 'gitdir: /' > other/.git && echo b > other/b && "
        "echo x > .GIT/hooks/pre-push"
    )
    assert set(found) == {"sub/a", "other/b"}


@pytest.mark.attack(1, 2)
def test_a_replaced_git_directory_changes_nothing_for_the_host(place: Place) -> None:
    assert set(place.exported("rm -rf .git && ln -s /etc .git && echo y > y")) == {"y"}
    assert set(place.exported("git config core.fsmonitor 'touch /workspace/z' && echo y > y")) == {"y"}


@pytest.mark.attack(5)
def test_attributes_of_overlays_cannot_be_forged(place: Place) -> None:
    forge = """
import os
os.mkdir("new"); open("new/f", "w").write("x"); open("empty", "w").close()
for path, name in (("new", "opaque"), ("new", "redirect"), ("empty", "whiteout"), ("calc.py", "whiteout")):
    for prefix in ("user", "trusted"):
        try:
            os.setxattr(path, f"{prefix}.overlay.{name}", b"y")
        except OSError:
            pass
"""
    found = place.exported(f"python3 -c {shlex.quote(forge)}")
    assert {path: change.content for path, change in found.items()} == {"new/f": b"x", "empty": b""}


@pytest.mark.attack(42)
def test_modes_are_only_executable_or_not(place: Place) -> None:
    found = place.exported("mkdir p && echo x > p/x && chmod 4755 p/x && chmod 0 README.md && chmod 0 p")
    assert {path: change.mode for path, change in found.items()} == {"p/x": 0o100755}


@pytest.mark.attack(4)
def test_a_branch_is_one_of_ours(place: Place) -> None:
    changes = list(place.exported("echo y > y").values())
    for branch in (
        "main",
        "overnight/../main",
        "overnight/a b",
        "overnight/$(id)",
        "overnight/x\nreset main",
    ):
        with pytest.raises(UsageError, match="branch"):
            asyncio.run(commit_changes(place.mirror, place.snapshot.commit, changes, "m", branch, at=0))


@pytest.mark.attack(4)
def test_a_message_cannot_end_the_stream(place: Place) -> None:
    changes = list(place.exported("printf 'x\\ndone\\nreset refs/heads/evil\\n' > y").values())
    message = "title\x1b]0;x\x07\ndone\nreset refs/heads/evil\nfrom refs/heads/main\n\x9b31m"
    commit = asyncio.run(
        commit_changes(place.mirror, place.snapshot.commit, changes, message, "overnight/attack", at=0)
    )
    assert asyncio.run(place.mirror.branch_commit("overnight/attack")) == commit
    assert asyncio.run(place.mirror.branch_commit("evil")) is None
