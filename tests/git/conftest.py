"""A repository, its mirror's folder, and a person's environment."""

import os
from pathlib import Path

import pytest

from tests.git.git_repo import Repo


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return Repo.make(tmp_path / "origin", {"a.txt": "one\n", "src/b.py": "def f():\n    return 1\n"})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "mirrors"


@pytest.fixture
def user(tmp_path: Path) -> dict[str, str]:
    """A person with a name and otherwise no config."""
    config = tmp_path / "gitconfig"
    config.write_text("[user]\n\tname = Grace\n\temail = grace@example.org\n")
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "GIT_CONFIG_GLOBAL": str(config),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_DIR": "/nonexistent/must-be-ignored",
    }
