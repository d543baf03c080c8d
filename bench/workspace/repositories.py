"""Repositories to measure on: synthetic ones by fast-import, and a real large tree."""

import hashlib
import os
import subprocess
import sysconfig
from pathlib import Path

from tests.house import CLEAN_GIT, git

PER_FOLDER = 50
CHANGED = 20
WORDS = b"def value_%d():\n    return %d  # line of a file that could be real\n\n"


def run(command: list[str], directory: Path, stdin: bytes | None = None) -> None:
    """Run a command as somebody without any configuration of git."""
    subprocess.run(
        command, cwd=directory, env={**os.environ, **CLEAN_GIT}, input=stdin, capture_output=True, check=True
    )


def synthetic(folder: Path, files: int) -> Path:
    """Make a bare repository of `files` files (0.2 to 8 KB) on `main`, whose branch `next` changes 20."""
    repository = folder / f"synthetic-{files}"
    repository.mkdir(parents=True)
    git(repository, "init", "-q", "--bare")
    stream = [_commit(b"main", b"", 1)]
    paths = [b"part%d/module%d/file%d.py" % (n // 5000, n // PER_FOLDER, n) for n in range(files)]
    for number, path in enumerate(paths):
        seed = int.from_bytes(hashlib.sha256(path).digest()[:2], "big")
        stream.append(_file(path, b"".join(WORDS % (number, line) for line in range(3 + seed % 100))))
    stream.append(_commit(b"next", b"from refs/heads/main\n", 2))
    stream += [_file(path, b"changed = True\n") for path in paths[:: max(1, files // CHANGED)][:CHANGED]]
    run(["git", "fast-import", "--quiet"], repository, b"".join(stream))
    git(repository, "symbolic-ref", "HEAD", "refs/heads/main")
    return repository


def real(folder: Path, tree: Path | None) -> Path:
    """Make a repository of a real tree: `tree`, or the packages that Python has installed here."""
    source = tree or Path(sysconfig.get_paths()["purelib"])
    repository = folder / "real"
    repository.mkdir(parents=True)
    git(repository, "init", "-q")
    work = (f"--git-dir={repository}/.git", f"--work-tree={source}")
    run(["git", *work, "-c", "core.safecrlf=false", "add", "-A", "-f", "."], source)
    commit = ["-c", "user.name=Bench", "-c", "user.email=bench@example.org", "commit", "-q"]
    run(["git", *work, *commit, "-m", "all"], source)
    run(["git", f"--git-dir={repository}/.git", "branch", "-q", "-M", "main"], repository)
    paths = git(repository, "ls-tree", "-r", "--name-only", "main").splitlines()
    texts = [path for path in paths if path.endswith(".py") and '"' not in path]
    stream = [_commit(b"next", b"from refs/heads/main\n", 2)]
    stream += [
        _file(path.encode(), b"changed = True\n")
        for path in texts[:: max(1, len(texts) // CHANGED)][:CHANGED]
    ]
    run(["git", f"--git-dir={repository}/.git", "fast-import", "--quiet"], repository, b"".join(stream))
    return repository


def _commit(branch: bytes, parent: bytes, when: int) -> bytes:
    who = b"Bench <bench@example.org> %d +0000\n" % (1_700_000_000 + when)
    return b"commit refs/heads/" + branch + b"\ncommitter " + who + b"data 2\nc\n\n" + parent


def _file(path: bytes, content: bytes) -> bytes:
    return b"M 100644 inline " + path + b"\ndata %d\n" % len(content) + content + b"\n"
