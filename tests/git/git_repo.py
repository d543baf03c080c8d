"""A real repository for the tests of git, on a temporary folder."""

import os
import subprocess
from pathlib import Path

IDENTITY = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false")


def bare_git(*args: str, env: dict[str, str] | None = None, stdin: str | None = None) -> str:
    """Run git as a person with no config would."""
    plain = {
        "PATH": os.environ["PATH"],
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "LC_ALL": "C",
    }
    done = subprocess.run(
        ["git", *IDENTITY, *args],
        check=False,
        capture_output=True,
        text=True,
        input=stdin or "",
        env={**plain, **(env or {})},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


class Repo:
    """A checkout at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def make(cls, path: Path, files: dict[str, str | bytes] | None = None) -> "Repo":
        path.mkdir(parents=True)
        bare_git("init", "-q", "-b", "main", str(path))
        repo = cls(path)
        if files:
            repo.commit("start", files)
        return repo

    def git(self, *args: str, env: dict[str, str] | None = None, stdin: str | None = None) -> str:
        return bare_git("-C", str(self.path), *args, env=env, stdin=stdin)

    def write(self, path: str, content: str | bytes) -> None:
        file = self.path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)

    def commit(self, message: str, files: dict[str, str | bytes] | None = None) -> str:
        for path, content in (files or {}).items():
            self.write(path, content)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.head()

    def head(self, name: str = "HEAD") -> str:
        return self.git("rev-parse", name)

    def fingerprint(self) -> dict[str, tuple[int, int]]:
        """Every file with size and time, to show that nothing was written."""
        return {
            str(p.relative_to(self.path)): (p.lstat().st_size, p.lstat().st_mtime_ns)
            for p in sorted(self.path.rglob("*"))
        }
