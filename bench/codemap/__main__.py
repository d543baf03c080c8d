"""The code map against aider's repository map on a real repository: cold, warm, after a change of ten files.

`python -m bench.codemap [--rounds N] [--publish]`. The repository (the source distribution of Home Assistant,
6,739 Python files, checked by its hash) and aider (its package, in an environment of its own) are fetched for
the measurement only and deleted afterwards; `--keep FOLDER` keeps them. Every measurement is
a fresh process, and takes the time of the call that draws the map, imports left out. Rounds are interleaved.
"""

import argparse
import asyncio
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.house import GIT

from bench.rounds import machine, publish
from overnight.agents.codemap.languages import language_of
from overnight.git.mirror import Mirror

PACKAGE, VERSION = "homeassistant", "2024.3.3"
SHA256 = "f62f2c9efa330ca82f70441f93d29361fa87c506c3065baf02b5d85559cdbe70"
AIDER = "aider-chat==0.86.2"
TOKENS = 3000
CHANGED = 10
FOCUS = (
    "The DataUpdateCoordinator should retry when async_refresh raises ConfigEntryAuthFailed in the bluetooth "
    "passive scanner"
)
CASES = ("cold", "warm", "after a change of 10 files")
GOALS = {"cold": 1.0, "warm": 1.0, "after a change of 10 files": 10.0}
"""How many times as fast as aider the design wants each."""


class Subject:
    """The repository in a checkout, our mirror and data, and aider's environment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.repository = folder / f"{PACKAGE}-{VERSION}"
        self.mirrors, self.data = folder / "mirrors", folder / "data"
        self.aider = folder / "aider" / "bin" / "python"
        self.listing = folder / "files.json"

    def fetch(self) -> None:
        """Fetch what is not there yet."""
        if not self.aider.exists():
            print("fetching aider …", file=sys.stderr)
            uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or "uv"
            subprocess.run([uv, "venv", "-q", "--clear", str(self.folder / "aider")], check=True)
            subprocess.run([uv, "pip", "install", "-q", "--python", str(self.aider), AIDER], check=True)
        if not (self.repository / ".git").exists():
            print(f"fetching {PACKAGE} {VERSION} …", file=sys.stderr)
            self._unpack()
        tracked = self._git("ls-files", "-z").split("\0")
        self.listing.write_text(json.dumps([path for path in tracked if language_of(path)]))

    def _unpack(self) -> None:
        command = [
            sys.executable, "-m", "pip", "--no-input", "download", "-q", "--no-deps", "--no-binary", ":all:",
            "-d", str(self.folder), f"{PACKAGE}=={VERSION}",
        ]  # fmt: skip
        subprocess.run(command, check=True)
        archive = self.folder / f"{PACKAGE}-{VERSION}.tar.gz"
        if hashlib.sha256(archive.read_bytes()).hexdigest() != SHA256:
            raise SystemExit(f"{archive} is not the archive that was measured before")
        with tarfile.open(archive) as packed:
            packed.extractall(self.folder, filter="data")
        self._git("init", "-q")
        self._git("add", "-A")
        self._git("commit", "-q", "-m", "start")

    def _git(self, *arguments: str) -> str:
        done = subprocess.run(
            [*GIT, *arguments], cwd=self.repository, check=True, capture_output=True, text=True
        )
        return done.stdout

    @property
    def files(self) -> list[str]:
        """The source files that both tools map."""
        return json.loads(self.listing.read_text())

    def forget(self) -> None:
        """Remove what both tools keep."""
        shutil.rmtree(self.data, ignore_errors=True)
        for kept in self.repository.glob(".aider.tags.cache.*"):
            shutil.rmtree(kept)

    def change(self, number: int) -> None:
        """Add a function to ten files, spread over the repository, and commit that."""
        paths = self.files
        for path in paths[:: len(paths) // CHANGED][:CHANGED]:
            with (self.repository / path).open("a") as file:
                file.write(f"\n\ndef changed_{number}(first, second):\n    return first + second\n")
        self._git("add", "-A", "--", *paths[:: len(paths) // CHANGED][:CHANGED])
        self._git("commit", "-q", "-m", f"change {number}")

    def follow(self) -> None:
        """Bring our mirror up to date, as every attempt does before it starts."""

        async def fetch() -> None:
            mirror = await Mirror.open(self.mirrors, str(self.repository))
            await mirror.fetch()

        asyncio.run(fetch())

    def measure(self, tool: str) -> dict[str, Any]:
        """Return the seconds and the text of one map."""
        task = {
            "repository": str(self.repository), "mirrors": str(self.mirrors), "data": str(self.data),
            "files": str(self.listing), "focus": FOCUS, "tokens": str(TOKENS),
        }  # fmt: skip
        if tool == "overnight":
            command = [sys.executable, "-m", "bench.codemap.ours", json.dumps(task)]
        else:
            command = [str(self.aider), str(Path(__file__).with_name("aider_map.py")), json.dumps(task)]
        done = subprocess.run(
            command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        return json.loads(done.stdout.splitlines()[-1])


def rounds_of(subject: Subject, rounds: int) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Measure both tools in each of so many rounds."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for number in range(rounds):
        subject.forget()
        for case in CASES:
            if case == CASES[2]:
                subject.change(number + 1)
            subject.follow()
            for tool in ("overnight", "aider"):
                result = subject.measure(tool)
                found.setdefault((case, tool), []).append(result)
                print(f"round {number + 1}, {case}, {tool}: {result['seconds']:.2f} s", file=sys.stderr)
    return found


def report(subject: Subject, found: dict[tuple[str, str], list[dict[str, Any]]]) -> str:
    """Return the table, the machine, and which goals were met."""
    files = subject.files
    size = sum((subject.repository / path).stat().st_size for path in files) / 1e6
    rounds = len(next(iter(found.values())))
    lines = [
        f"{PACKAGE} {VERSION}: {len(files):,} source files of {size:.1f} MB; a map of {TOKENS:,} tokens, "
        f"medians of {rounds}, aider {AIDER.rpartition('=')[2]}. {machine()}.",
        "",
        "| | Overnight, s | aider, s | times as fast |",
        "|---|---:|---:|---:|",
    ]
    ratios: dict[str, float] = {}
    for case in CASES:
        ours, theirs = (_median(found[case, tool]) for tool in ("overnight", "aider"))
        ratios[case] = theirs / ours
        lines.append(f"| {case} | {ours:.2f} | {theirs:.2f} | {ratios[case]:.1f} |")
    lines.append("")
    for case, goal in GOALS.items():
        met = "met" if ratios[case] >= goal else "**missed**"
        lines.append(f"- {case}: {ratios[case]:.1f} times as fast, goal at least {goal:g}: {met}")
    texts = {result["text"] for result in found["warm", "overnight"]}
    same = "the same bytes in every round" if len(texts) == 1 else f"{len(texts)} different texts"
    sizes = {tool: len(found["warm", tool][0]["text"]) for tool in ("overnight", "aider")}
    lines.append(f"- the map has {sizes['overnight']:,} characters, aider's {sizes['aider']:,}; warm, {same}")
    return "\n".join(lines)


def _median(results: Sequence[dict[str, Any]]) -> float:
    return statistics.median(result["seconds"] for result in results)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.codemap", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="a folder for what is fetched, kept afterwards")
    parser.add_argument("--publish", action="store_true", help="put the table into bench/README.md")
    arguments = parser.parse_args()
    folder = arguments.keep or Path(tempfile.mkdtemp(prefix="overnight-bench-"))
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["GIT_CONFIG_GLOBAL"] = os.devnull
    try:
        subject = Subject(folder.absolute())
        subject.fetch()
        text = report(subject, rounds_of(subject, arguments.rounds))
        print(text)
        if arguments.publish:
            publish("codemap", text)
    finally:
        if arguments.keep is None:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
