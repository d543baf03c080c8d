"""Real parts for the tests of environments, as plain functions: git repositories, mirrors, an event sink."""

import os
import subprocess
from pathlib import Path

from overnight.domain.environment import Recipe
from overnight.git.mirror import Mirror
from tests.sink import Sink as Sink


def git(directory: Path, *arguments: str) -> str:
    """Run git as the owner of a test repository."""
    variables = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1"}
    identity = ("-c", "user.name=Tester", "-c", "user.email=tester@example.org")
    answer = subprocess.run(
        ["git", *identity, *arguments], cwd=directory, env=variables, capture_output=True, check=True
    )
    return answer.stdout.decode().strip()


def commit_all(directory: Path, files: dict[str, str | bytes]) -> str:
    """Write files, commit everything, and return the commit."""
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    git(directory, "add", "-A", "-f")
    git(directory, "commit", "-q", "-m", "files", "--allow-empty")
    return git(directory, "rev-parse", "HEAD")


async def mirrored(tmp_path: Path, repository: Path) -> Mirror:
    """Return an up-to-date mirror of a repository."""
    mirror = await Mirror.open(tmp_path / "mirrors", str(repository))
    await mirror.fetch()
    return mirror


PLAIN = Recipe(checks=("true",))
