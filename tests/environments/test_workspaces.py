"""Both kinds of workspace through one suite: real git, real snapshot, commands in the real sandbox."""

import os
import socket
import stat
from dataclasses import dataclass
from pathlib import Path

import pytest

from overnight.blobs.store import BlobStore
from overnight.domain.errors import ConflictError, PatchError
from overnight.domain.patch import EXECUTABLE, REGULAR, SYMLINK, FileChange
from overnight.environments.interface import Change, Workspace
from overnight.environments.snapshot import Snapshot
from overnight.environments.snapshots import Snapshots
from overnight.environments.workspaces import Workspaces
from overnight.sandbox.interface import Command, CommandResult, SandboxBackend
from tests.environments.environment_parts import PLAIN, commit_all, mirrored
from tests.sink import Sink

pytestmark = pytest.mark.anyio

FILES: dict[str, str | bytes] = {
    ".gitignore": "*.log\n/build/\n!keep.log\n",
    "README.md": "hello\n",
    "run.sh": "#!/bin/sh\n",
    "src/a.py": "a = 1\n",
    "src/b.py": "b = 2\n",
    "src/deep/er/c.py": "c = 3\n",
    "src/.gitignore": "generated_*\n",
    "tracked.log": "tracked although ignored\n",
    "one/only.txt": "alone\n",
}


class Copying:
    """The real sandbox over copies: it has no overlay as far as workspaces can tell."""

    overlay = False

    def __init__(self, backend: SandboxBackend) -> None:
        self.name = backend.name
        self.owner = backend.owner
        self.lasting = backend.lasting
        self.networks = backend.networks
        self.open = backend.open
        self.pin = backend.pin


@dataclass
class Made:
    """A workspace with what it was made from."""

    workspace: Workspace
    snapshot: Snapshot
    workspaces: Workspaces
    backend: SandboxBackend
    root: Path

    async def run(self, script: str) -> CommandResult:
        """Run a script in the sandbox and expect it to succeed."""
        sandbox = self.backend.open(self.workspace.spec())
        try:
            result = await sandbox.run(Command(script=script))
        finally:
            await sandbox.close()
        assert result.exit_code == 0, result.stderr
        return result

    def changed(self) -> dict[str, str]:
        """Return the changes as {path: kind}."""
        return {change.path: change.change for change in self.workspace.changes()}

    @property
    def upper(self) -> Path:
        """The workspace's own directory on the host."""
        return self.workspace.spec().upper


@pytest.fixture(params=["overlay", "copied"])
async def made(
    request: pytest.FixtureRequest, tmp_path: Path, repository: Path, backend: SandboxBackend, sink: Sink
) -> Made:
    """Return a fresh workspace of either kind."""
    used = backend if request.param == "overlay" else Copying(backend)
    commit_all(repository, FILES)
    (repository / "run.sh").chmod(0o755)
    (repository / "link").symlink_to("README.md")
    commit = commit_all(repository, {})
    mirror = await mirrored(tmp_path, repository)
    snapshot = await Snapshots(tmp_path / "snapshots", used).prepare(mirror, commit, PLAIN, sink)
    workspaces = Workspaces(tmp_path / "workspaces", used, BlobStore(tmp_path / "blobs"))
    return Made(workspaces.create(snapshot, "first"), snapshot, workspaces, used, tmp_path)


async def test_fresh_workspace_is_clean_for_us_and_for_git(made: Made) -> None:
    assert made.workspace.changes() == []
    assert made.workspace.files() == sorted([*FILES, "link"])
    result = await made.run("git status --porcelain && git log --oneline | wc -l && id -u")
    assert result.stdout.splitlines()[0] == b"2"
    if made.backend.owner is not None:
        assert result.stdout.splitlines()[1] == str(made.backend.owner[0]).encode()
    assert made.workspace.changes() == []


async def test_read(made: Made) -> None:
    assert made.workspace.read("src/deep/er/c.py") == b"c = 3\n"
    assert made.workspace.read("link") == b"README.md"
    assert made.workspace.read("missing") is None
    assert made.workspace.read("missing/below") is None
    assert made.workspace.read("src") is None
    assert made.workspace.read("README.md/below") is None


@pytest.mark.parametrize(
    "path", ["", "/etc/passwd", "../x", "a/../../x", ".git/config", "x/.GIT/y", "a//b", "a\0b"]
)
async def test_paths_outside_are_refused(made: Made, path: str) -> None:
    with pytest.raises(PatchError):
        made.workspace.read(path)
    with pytest.raises(PatchError):
        made.workspace.write(path, b"x")
    with pytest.raises(PatchError):
        made.workspace.delete(path)
    with pytest.raises(PatchError):
        made.workspace.apply([FileChange(path=path, mode=REGULAR, content=b"x")])


async def test_host_writes_are_seen_inside_and_keep_their_mode(made: Made) -> None:
    made.workspace.write("run.sh", b"#!/bin/sh\necho ran\n")
    made.workspace.write("new/folder/tool", b"#!/bin/sh\necho tool\n", executable=True)
    made.workspace.write("src/a.py", b"a = 5\n")
    result = await made.run(
        "./run.sh; ./new/folder/tool; cat src/a.py src/b.py; echo more >> new/folder/tool"
    )
    assert result.stdout == b"ran\ntool\na = 5\nb = 2\n"
    assert made.workspace.changes() == [
        Change(path="new/folder/tool", change="added", mode=EXECUTABLE),
        Change(path="run.sh", change="modified", mode=EXECUTABLE),
        Change(path="src/a.py", change="modified", mode=REGULAR),
    ]
    assert made.workspace.read("new/folder/tool") == b"#!/bin/sh\necho tool\nmore\n"


async def test_host_deletes_are_seen_inside(made: Made) -> None:
    made.workspace.delete("src/a.py")
    made.workspace.delete("one/only.txt")
    made.workspace.delete("missing")
    result = await made.run("ls src; ls; git status --porcelain")
    assert b"a.py\n" not in result.stdout.split(b"README")[0]
    assert b"one\n" not in result.stdout
    assert b" D src/a.py" in result.stdout
    assert made.changed() == {"src/a.py": "deleted", "one/only.txt": "deleted"}
    assert made.workspace.read("src/a.py") is None
    made.workspace.write("one/other.txt", b"x")
    await made.run("test ! -e one/only.txt && test -e one/other.txt")
    assert made.changed() == {"src/a.py": "deleted", "one/only.txt": "deleted", "one/other.txt": "added"}


async def test_directories_are_not_files(made: Made) -> None:
    with pytest.raises(PatchError):
        made.workspace.delete("src")
    with pytest.raises(PatchError):
        made.workspace.write("src", b"x")
    with pytest.raises(PatchError):
        made.workspace.write("README.md/below", b"x")


async def test_commands_are_seen_by_the_host(made: Made) -> None:
    await made.run(
        "rm src/a.py && mv src/deep moved && chmod +x README.md && ln -sf src/b.py link && "
        "rm -r one && mkdir one && echo x > one/fresh.txt && rm run.sh && mkdir run.sh && echo y > run.sh/in"
    )
    assert made.changed() == {
        "README.md": "modified",
        "link": "modified",
        "moved/er/c.py": "added",
        "one/fresh.txt": "added",
        "one/only.txt": "deleted",
        "run.sh": "deleted",
        "run.sh/in": "added",
        "src/a.py": "deleted",
        "src/deep/er/c.py": "deleted",
    }
    assert made.workspace.files() == sorted(
        {*FILES, "link", "moved/er/c.py", "one/fresh.txt", "run.sh/in"}
        - {"one/only.txt", "run.sh", "src/a.py", "src/deep/er/c.py"}
    )


async def test_identical_content_is_no_change(made: Made) -> None:
    await made.run(
        "cp README.md x && rm README.md && mv x README.md && chmod 644 README.md && touch src/b.py"
    )
    assert made.changed() == {}


async def test_ignored_files_stay_out_and_tracked_ones_do_not(made: Made) -> None:
    await made.run(
        "mkdir -p build/x sub src/__pycache__ node_modules/p .pytest_cache && echo 1 | tee build/x/o a.log "
        "sub/b.log sub/keep.log src/generated_1 generated_2 src/__pycache__/a.pyc node_modules/p/i.js "
        ".pytest_cache/v > /dev/null && echo more >> tracked.log"
    )
    assert made.changed() == {"generated_2": "added", "sub/keep.log": "added", "tracked.log": "modified"}
    assert b"generated_2" in (await made.run("git status --porcelain")).stdout


async def test_git_of_the_agent_is_never_exported(made: Made) -> None:
    await made.run(
        "git config core.fsmonitor /bin/false; git init -q sub && echo x > sub/file; git add README.md"
    )
    assert made.changed() == {"sub/file": "added"}


async def test_links_out_of_the_workspace_are_never_followed(made: Made) -> None:
    secret = made.root / "secret"
    secret.mkdir()
    (secret / "key").write_text("secret")
    secret.chmod(0o755)
    (made.upper / "out").symlink_to(secret)
    (made.upper / "key").symlink_to(secret / "key")
    await made.run("rm -r src && ln -s /etc src")
    assert made.workspace.read("out/key") is None
    assert made.workspace.read("key") == str(secret / "key").encode()
    assert made.workspace.read("src/passwd") is None
    with pytest.raises(PatchError):
        made.workspace.write("out/key", b"overwritten")
    with pytest.raises(PatchError):
        made.workspace.write("src/passwd", b"overwritten")
    made.workspace.delete("out/key")
    made.workspace.write("key", b"a file now")
    assert (secret / "key").read_text() == "secret"
    exported = {change.path: change for change in made.workspace.export()}
    assert exported["out"].mode == SYMLINK
    assert exported["src"].content == b"/etc"
    assert exported["key"].content == b"a file now"


async def test_export_apply_round_trip(made: Made) -> None:
    await made.run(
        "echo n > new.txt; rm -r src/deep; chmod +x src/b.py; ln -s nowhere dangling; "
        "rm run.sh; mkdir run.sh; echo 1 > run.sh/x"
    )
    exported = made.workspace.export()
    other = made.workspaces.create(made.snapshot, "second")
    other.apply(exported)
    assert other.export() == exported
    assert {change.path for change in exported} == {
        "dangling",
        "new.txt",
        "run.sh",
        "run.sh/x",
        "src/b.py",
        "src/deep/er/c.py",
    }
    assert made.workspace.files() == other.files()


async def test_apply_replaces_a_directory_by_a_file(made: Made) -> None:
    made.workspace.apply(
        [
            FileChange(path="one/only.txt", mode=0, content=None),
            FileChange(path="one", mode=REGULAR, content=b"now a file"),
        ]
    )
    assert (await made.run("cat one")).stdout == b"now a file"
    assert made.changed() == {"one": "added", "one/only.txt": "deleted"}


async def test_apply_refuses_strange_modes_before_doing_anything(made: Made) -> None:
    with pytest.raises(PatchError):
        made.workspace.apply(
            [
                FileChange(path="fine", mode=REGULAR, content=b"x"),
                FileChange(path="setuid", mode=0o104755, content=b"x"),
            ]
        )
    assert made.changed() == {}


async def test_checkpoint_and_restore(made: Made) -> None:
    assert await made.workspace.checkpoint() == ""
    await made.run("echo 1 > new; rm src/a.py; chmod +x README.md; ln -s x y")
    first, before = await made.workspace.checkpoint(), made.workspace.export()
    assert await made.workspace.checkpoint() == first
    await made.run(
        "rm new y; echo 2 > src/a.py; mkdir -p closed/in && echo 1 > closed/in/f && chmod 000 closed/in"
    )
    assert made.workspace.export() != before
    await made.workspace.restore(first)
    assert made.workspace.export() == before
    assert (await made.run("cat new; git status --porcelain | wc -l")).stdout == b"1\n4\n"
    await made.workspace.restore("")
    assert made.changed() == {}
    other = made.workspaces.create(made.snapshot, "second")
    await other.restore(first)
    assert other.export() == before


@pytest.mark.parametrize("kind", ["fifo", "socket"])
async def test_special_files_are_refused_by_name(made: Made, kind: str) -> None:
    if kind == "fifo":
        await made.run("mkfifo strange")
    else:
        with socket.socket(socket.AF_UNIX) as server:
            old = Path.cwd()
            os.chdir(made.upper)
            server.bind("strange")
            os.chdir(old)
    with pytest.raises(PatchError, match="strange"):
        made.workspace.export()


async def test_large_files_are_refused_by_name(made: Made) -> None:
    await made.run("truncate -s 65M large.bin")
    with pytest.raises(PatchError, match=r"large\.bin"):
        made.workspace.export()


async def test_names_that_are_no_utf8_are_refused(made: Made) -> None:
    await made.run("touch $'bad\\xff'")
    with pytest.raises(PatchError, match="UTF-8"):
        made.workspace.export()


async def test_a_tree_that_is_too_deep_is_refused_and_can_be_removed(made: Made) -> None:
    handle = os.open(made.upper, os.O_RDONLY)
    for _ in range(300):
        os.mkdir("d", dir_fd=handle)
        below = os.open("d", os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = below
    os.close(handle)
    with pytest.raises(PatchError, match="deep"):
        made.workspace.changes()
    made.workspace.close()
    assert not made.upper.exists()


async def test_close_removes_everything_whatever_the_modes(made: Made) -> None:
    await made.run("mkdir -p a/b && touch a/b/c && chmod 000 a/b a; rm README.md; mkfifo f")
    root = made.upper.parent
    made.workspace.close()
    assert not root.exists()
    assert made.snapshot.checkout[0].joinpath("README.md").exists()


async def test_two_workspaces_do_not_see_each_other(made: Made) -> None:
    other = made.workspaces.create(made.snapshot, "second")
    await made.run("echo mine > README.md; rm src/a.py")
    assert other.changes() == []
    assert other.read("README.md") == b"hello\n"


async def test_a_held_name_is_refused_and_a_free_one_is_reused(made: Made) -> None:
    with pytest.raises(ConflictError):
        made.workspaces.create(made.snapshot, "first")
    assert made.workspaces.sweep() == []
    await made.run("echo old > old.txt")
    left = made.upper.parent.rename(made.root / "left")
    made.workspace.close()
    left.rename(made.upper.parent)
    again = made.workspaces.create(made.snapshot, "first")
    assert again.changes() == []
    again.close()


async def test_sweep_removes_what_nobody_holds(made: Made) -> None:
    stale = made.root / "workspaces" / "stale"
    (stale / "upper").mkdir(parents=True)
    assert made.workspaces.sweep() == ["stale"]
    assert not stale.exists()
    assert made.upper.exists()


async def test_files_belong_to_the_sandbox_user(made: Made) -> None:
    made.workspace.write("x/y", b"1")
    if made.backend.owner is not None:
        state = (made.upper / "x/y").stat()
        assert (state.st_uid, state.st_gid) == made.backend.owner
        assert stat.S_IMODE(state.st_mode) == 0o644
    await made.run("echo 2 > x/y && rm -r x")
