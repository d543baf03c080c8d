"""A small repository and the command line as a person would use them, for tests of the whole."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

GIT = (
    "git", "-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false",
    "-c", "init.defaultBranch=main",
)  # fmt: skip
CLEAN_GIT = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
SECONDS = 120
"""A bound on one command, so that a hanging one fails the test instead of the run."""

BUGGY = {
    "calc.py": "def add(a, b):\n    return a - b\n\n\ndef double(a):\n    return add(a, a)\n",
    "test_calc.py": (
        "import unittest\n\nimport calc\n\n\nclass CalcTest(unittest.TestCase):\n"
        "    def test_add(self):\n        self.assertEqual(calc.add(2, 3), 5)\n\n"
        "    def test_zero(self):\n        self.assertEqual(calc.add(0, 0), 0)\n"
    ),
    "README.md": "A calculator.\n",
}
CHECK = "python3 -m unittest -q"
FIX = """*** Begin Patch
*** Update File: calc.py
@@ def add(a, b):
-    return a - b
+    return a + b
*** End Patch"""


def git(directory: Path, *arguments: str) -> str:
    """Run git as a person would in their own checkout."""
    done = subprocess.run(
        [*GIT, *arguments],
        cwd=directory,
        env={**os.environ, **CLEAN_GIT},
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


def make_repository(directory: Path, files: Mapping[str, str] = BUGGY) -> Path:
    """Write `files` into a fresh repository with one commit on `main`."""
    directory.mkdir(parents=True)
    git(directory, "init", "-q")
    for path, text in files.items():
        target = directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    git(directory, "add", "-A")
    git(directory, "commit", "-q", "-m", "start")
    return directory


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """What it printed, as JSON."""
        return json.loads(self.stdout)


@dataclass(frozen=True)
class House:
    """A data directory of its own, and the command line over it."""

    root: Path

    @property
    def environment(self) -> dict[str, str]:
        """The variables of every command of this house."""
        return {
            **os.environ,
            **CLEAN_GIT,
            "HOME": str(self.root),
            "OVERNIGHT_DATA_DIR": str(self.root / "data"),
            "OVERNIGHT_CACHE_DIR": str(self.root / "cache"),
            "OVERNIGHT_MODEL": "",
        }

    def command(self, *arguments: str) -> list[str]:
        """Return the command line as a list."""
        return [sys.executable, "-m", "overnight", *arguments]

    def run(
        self, *arguments: str, directory: Path | None = None, seconds: float = SECONDS, **variables: str
    ) -> Ended:
        """Run `overnight` to its end."""
        done = subprocess.run(
            self.command(*arguments),
            cwd=directory or self.root,
            env={**self.environment, **variables},
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: str, directory: Path | None = None) -> "subprocess.Popen[str]":
        """Start `overnight` and return its process."""
        return subprocess.Popen(
            self.command(*arguments),
            cwd=directory or self.root,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def script(self, answers: Sequence[Mapping[str, Any]], name: str = "script", agent: str = "loop") -> str:
        """Write a scripted model and return what `--model` takes."""
        path = self.root / f"{name}.json"
        path.write_bytes(msgspec.json.encode({"agent": agent, "answers": answers, "repeat_last": True}))
        return f"scripted:{path}"

    def fixing_script(self) -> str:
        """Return a scripted model that fixes `BUGGY` by one patch."""
        return self.script(
            [
                {"text": "Fixing.", "tool_calls": [{"name": "apply_patch", "arguments": {"patch": FIX}}]},
                {"text": "add() subtracted; it adds now."},
            ]
        )
