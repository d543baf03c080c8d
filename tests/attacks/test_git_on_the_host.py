"""What git runs in a tree that an agent wrote, each row shown to work, and that none of it runs for us."""

import asyncio
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from overnight.environments.beneath import open_file_at
from overnight.git.mirror import Mirror
from tests.attacks.scripted import Villain, told, write
from tests.attacks.traps import SCRIPT, careless, spring
from tests.house import BUGGY, CLEAN_GIT, FIX, git, make_repository

HARDENED = (
    "-c", "core.fsmonitor=", "-c", "core.hooksPath=/dev/null", "-c", "diff.external=",
    "-c", "core.pager=cat", "-c", "credential.helper=", "-c", "commit.gpgSign=false",
    "-c", "core.editor=true", "-c", "gpg.program=true", "-c", "core.askPass=true",
)  # fmt: skip

ROWS: dict[str, tuple[tuple[str, ...], set[str]]] = {
    "status": (("status",), {"include", "post-index-change"}),
    "diff": (("diff",), {"include", "external"}),
    "diff without drivers": (("diff", "--no-ext-diff", "--no-textconv"), {"include", "clean"}),
    "add": (("add", "-A"), {"include", "clean"}),
    "commit": (("commit", "-am", "x"), {"include", "clean", "gpg", "pre-commit"}),
    "log -p": (("log", "-p"), {"textconv"}),
    "checkout -b": (("checkout", "-b", "other"), {"post-checkout", "reference-transaction"}),
    "push": (("push", "../elsewhere.git", "HEAD:refs/heads/x"), {"pre-push"}),
    "stash": (("stash",), {"clean", "reference-transaction"}),
    "hardened status": ((*HARDENED, "status"), set()),
    "hardened diff": ((*HARDENED, "diff"), {"clean"}),
    "hardened add": ((*HARDENED, "add", "-A"), {"clean"}),
}
"""What a careless host would run → programs of the agent's that then run, at the least."""


@pytest.mark.attack(1)
@pytest.mark.parametrize("row", ROWS)
def test_the_attack_works_on_a_careless_host(tmp_path: Path, row: str) -> None:
    arguments, expected = ROWS[row]
    tree, sprung = make_repository(tmp_path / "tree", BUGGY), tmp_path / "sprung"
    sprung.mkdir()
    git(tmp_path, "init", "-q", "--bare", "elsewhere.git")
    spring(tree, sprung)
    careless(tree, *arguments)
    ran = {path.name for path in sprung.iterdir()}
    assert expected <= ran, ran


@pytest.mark.attack(2)
def test_a_nested_repository_works_even_on_a_git_directory_of_our_own(tmp_path: Path) -> None:
    tree, sprung = make_repository(tmp_path / "tree", BUGGY), tmp_path / "sprung"
    sprung.mkdir()
    spring(tree, sprung)
    own = tmp_path / "own.git"
    git(tmp_path, "init", "-q", "--bare", str(own))
    # As a host would look that keeps the git directory to itself, and takes the nested one for a submodule.
    ours = (f"--git-dir={own}", f"--work-tree={tree}")
    head = git(tree / "nested", "rev-parse", "HEAD") if not sprung.joinpath("x").exists() else ""
    for name in sprung.iterdir():
        name.unlink()
    careless(tree, *ours, "update-index", "--add", "--cacheinfo", f"160000,{head},nested")
    careless(tree, *ours, "status")
    assert any(path.name.startswith("nested-") for path in sprung.iterdir())
    for name in sprung.iterdir():
        name.unlink()
    careless(tree, *ours, "status", "--ignore-submodules=all")
    assert list(sprung.iterdir()) == []


@pytest.mark.attack(1, 2)
def test_nothing_of_it_runs_for_us(villain: Villain) -> None:
    """One attempt that sets every trap, and then everything that the host ever does with its result."""
    sprung = villain.root / "sprung"
    sprung.mkdir()
    sprung.chmod(0o777)
    ready = replace(villain, files=BUGGY)
    done = ready.attack(
        {"name": "apply_patch", "arguments": {"patch": FIX}},
        f"export SPRUNG={sprung}; {SCRIPT}",
        "git status; git log -p > /dev/null; true",
        options=("--check", "grep -q 'return a + b' calc.py"),
    )
    patch = done.attempt["patch"]
    assert {"calc.py", "README.md", "new.txt", "redirected/file"} <= set(patch["files"]), patch
    assert not any(".git/" in path or path.endswith("/.git") for path in patch["files"])
    for arguments in (
        ("task", "view", done.task),
        ("task", "diff", done.task),
        ("task", "logs", done.task),
        ("pr", "create", done.task),
        ("pr", "view", "1", "--patch"),
        ("task", "apply", done.task),
        ("env", "detect", "--repo", str(ready.repository)),
        ("task", "list"),
    ):
        ended = told(ready.house, *arguments)
        assert ended.code == 0, (arguments, ended)
    git(ready.repository, "reset", "-q", "--hard")
    git(ready.repository, "clean", "-qfd")
    assert told(ready.house, "pr", "merge", "1").code == 0
    assert told(ready.house, "prune").code == 0
    assert list(sprung.iterdir()) == []


@pytest.mark.attack(1)
def test_a_bundle_into_a_clean_repository_runs_nothing(tmp_path: Path) -> None:
    tree, sprung = make_repository(tmp_path / "tree", BUGGY), tmp_path / "sprung"
    sprung.mkdir()
    spring(tree, sprung)
    git(tree, *HARDENED, "bundle", "create", str(tmp_path / "bundle"), "main")
    for name in sprung.iterdir():
        name.unlink()
    own = tmp_path / "own.git"
    git(tmp_path, "init", "-q", "--bare", str(own))
    git(
        own,
        "-c",
        "transfer.fsckObjects=true",
        "fetch",
        "-q",
        str(tmp_path / "bundle"),
        "main:refs/heads/main",
    )
    assert list(sprung.iterdir()) == []


@pytest.mark.attack(3, 4)
@pytest.mark.parametrize(
    "repository",
    [
        "--upload-pack=touch {sprung}/x",
        "-utouch {sprung}/x",
        "ext::sh -c touch% {sprung}/x",
        "EXT::sh -c touch% {sprung}/x",
        "fd::17",
        "file://$(touch {sprung}/x)",
        "ssh://-oProxyCommand=touch%20{sprung}%2Fx/a",
        "-oProxyCommand=touch:a/b",
        "https://example.com/a\n--upload-pack=touch {sprung}/x",
        "git://example.invalid/x",
    ],
)
def test_a_repository_is_never_an_option_or_a_command(
    tmp_path: Path, villain: Villain, repository: str
) -> None:
    sprung = tmp_path / "sprung"
    sprung.mkdir()
    named = repository.format(sprung=sprung)
    ended = told(villain.house, "run", "Fix it", f"--repo={named}", "--model", villain.house.fixing_script())
    assert ended.code == 64, ended
    assert "Traceback" not in ended.stderr
    assert list(sprung.iterdir()) == []


@pytest.mark.attack(1)
def test_the_row_of_ls_remote(tmp_path: Path) -> None:
    """The control of the one above: git itself takes such a name for an option."""
    tree, sprung = make_repository(tmp_path / "tree", BUGGY), tmp_path / "sprung"
    sprung.mkdir()
    careless(tree, "ls-remote", f"--upload-pack=touch {sprung}/x;", ".")
    assert [path.name for path in sprung.iterdir()] == ["x"]
    (sprung / "x").unlink()
    careless(tree, "ls-remote", "--", f"--upload-pack=touch {sprung}/x;", ".")
    assert list(sprung.iterdir()) == []


@pytest.mark.attack(3)
def test_submodules_are_left_empty(villain: Villain) -> None:
    sprung = villain.root / "sprung"
    sprung.mkdir()
    repository = make_repository(villain.root / "repository", BUGGY)
    modules = "".join(
        f'[submodule "{name}"]\n\tpath = {path}\n\turl = {url}\n'
        for name, path, url in (
            ("ext", "one", f"ext::sh -c touch% {sprung}/ext"),
            ("option", "two", f"-utouch {sprung}/option"),
            ("return", '"three\\r"', str(repository)),
            ("../../escape", "four", str(repository)),
        )
    )
    (repository / ".gitmodules").write_text(modules)
    head = git(repository, "rev-parse", "HEAD")
    for path in ("one", "two", "four"):
        git(repository, "update-index", "--add", "--cacheinfo", f"160000,{head},{path}")
    git(repository, "add", ".gitmodules")
    git(repository, "commit", "-qm", "submodules")
    model = villain.house.script([{"text": "x", "tool_calls": [write("new.txt", "x")]}, {"text": "ok"}])
    ended = told(
        villain.house,
        *("run", "Fix it", "--repo", str(repository), "--model", model, "--sandbox", villain.backend),
        *("--no-verify", "--json"),
    )
    # Either git's own check of what comes in refuses it, or the submodules stay what they are: empty.
    assert ended.code in (0, 3, 64, 1), ended
    assert "Traceback" not in ended.stderr
    assert list(sprung.iterdir()) == []
    if ended.stdout.startswith("{"):
        assert ended.json["attempts"][0]["patch"]["files"] == ["new.txt"]
    # A careless clone runs it.
    first = "[submodule" + modules.split("[submodule", 2)[1]
    plain = make_repository(villain.root / "plain", {".gitmodules": first})
    git(plain, "update-index", "--add", "--cacheinfo", f"160000,{head},one")
    git(plain, "commit", "-qm", "submodule")
    environment = {**os.environ, **CLEAN_GIT, "GIT_ALLOW_PROTOCOL": "ext:file"}
    clone = ["git", "clone", "-q", "--recurse-submodules", str(plain), str(villain.root / "control")]
    subprocess.run(clone, env=environment, capture_output=True, check=False, timeout=120)
    assert [path.name for path in sprung.iterdir()] == ["ext"]


NAMES = (
    "x;touch${IFS}sprung",
    "x$(touch${IFS}sprung)",
    "x`touch${IFS}sprung`",
    "x|touch\u3000sprung",
    "x&'\"",
)


@pytest.mark.attack(4)
@pytest.mark.parametrize("name", NAMES)
def test_names_are_names(villain: Villain, name: str) -> None:
    repository = make_repository(
        villain.root / "repository", {**BUGGY, f"{name.replace('/', '_')}.txt": "x\n"}
    )
    git(repository, "checkout", "-q", "-b", name)
    git(repository, "tag", f"{name}-tag")
    author = ("-c", f"user.name={name}", "-c", "user.email=$(touch sprung)@x")
    git(repository, *author, "commit", "-q", "--allow-empty", "-m", f"{name}\n\n$(touch sprung)")
    ready = replace(villain, files=BUGGY)
    for options in ((), ("--base", name), ("--base", f"{name}-tag")):
        done = ready.attack(
            {"name": "apply_patch", "arguments": {"patch": FIX}},
            f"echo y > {name.encode().hex()}",
            options=("--no-verify", *options),
            prompt=f"{name} $(touch sprung)",
        )
        assert done.attempt["patch"]["branch"].startswith("overnight/"), done.ended
    assert told(ready.house, "pr", "create", done.task).code == 0
    assert told(ready.house, "pr", "merge", "1").code in (0, 1, 64)
    assert not list(villain.root.rglob("sprung"))
    assert not Path("sprung").exists()


@pytest.mark.attack(4)
def test_a_base_is_never_an_option(villain: Villain) -> None:
    for base in (
        "--upload-pack=touch sprung",
        "-x",
        "main\n--output=sprung",
        "main:calc.py",
        "@{-1}",
        "^main",
    ):
        ended = told(
            villain.house,
            *("run", "Fix it", "--repo", str(villain.repository), f"--base={base}"),
            *("--model", villain.house.fixing_script()),
        )
        assert ended.code == 64, ended
    assert not list(villain.root.rglob("sprung"))


@pytest.mark.attack(5)
def test_a_link_is_never_read_through(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("canary")
    (tmp_path / "README.md").symlink_to(tmp_path / "secret")
    assert (tmp_path / "README.md").read_text() == "canary", "a careless host reads it"
    handle = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with pytest.raises(OSError, match="symbolic links"):
            open_file_at(handle, "README.md")
    finally:
        os.close(handle)


@pytest.mark.attack(5)
def test_a_patch_writes_nowhere_else(villain: Villain) -> None:
    outside = villain.root / "outside"
    outside.mkdir(mode=0o777)
    paths = ("../outside/x", str(outside / "x"), "a/../../outside/x", "link/x", ".git/hooks/post-checkout")
    done = villain.attack(f"ln -s {outside} link", *(write(path, "owned") for path in paths))
    assert list(outside.iterdir()) == []
    assert done.attempt["patch"]["files"] == ["link"]
    applied = told(villain.house, "task", "apply", done.task)
    assert applied.code == 0, applied
    assert (villain.repository / "link").is_symlink()
    assert list(outside.iterdir()) == []


TREES = {
    ".git": (b"40000 .git\0", "hasDotgit"),
    ".GIT": (b"40000 .GIT\0", "hasDotgit"),
    "..": (b"40000 ..\0", "hasDotdot"),
    ".": (b"40000 .\0", "hasDot"),
    "a path": (b"100644 a/b\0", "fullPathname"),
    "twice": (b"100644 a\0", "duplicateEntries"),
    "git~1": (b"40000 git~1\0", "hasDotgit"),
}


@pytest.mark.attack(42)
@pytest.mark.parametrize("entry", TREES)
def test_a_tree_that_no_git_makes_does_not_come_in(tmp_path: Path, entry: str) -> None:
    head, reason = TREES[entry]
    repository = make_repository(tmp_path / "repository", BUGGY)
    oid = git(repository, "rev-parse", "HEAD^{tree}" if head.startswith(b"4") else "HEAD:calc.py")
    record = head + bytes.fromhex(oid)
    tree = subprocess.run(
        ["git", "hash-object", "-t", "tree", "-w", "--stdin", "--literally"],
        cwd=repository, input=record * (2 if entry == "twice" else 1), capture_output=True, check=True,
    ).stdout.decode().strip()  # fmt: skip
    commit = git(repository, "commit-tree", tree, "-m", "bad")
    git(repository, "update-ref", "refs/heads/main", commit)
    refused = asyncio.run(_fetched(tmp_path, repository))
    assert reason.lower() in refused.lower(), refused


async def _fetched(root: Path, repository: Path) -> str:
    from overnight.domain.errors import OvernightError

    mirror = await Mirror.open(root / "mirrors", str(repository))
    try:
        await mirror.fetch()
    except OvernightError as error:
        return f"{error.message} {error.hint}"
    return "it came in"
