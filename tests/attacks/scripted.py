"""A malicious agent: a scripted model that goes the ordinary way of an attempt, `overnight run` and all.

    @pytest.mark.attack(17)
    def test_a_case(villain: Villain) -> None:
        done = villain.attack("cat /proc/*/environ")
        assert CANARY not in done.everything

`villain` comes once for every sandbox that this machine can run (fixture `backend`); where a kind cannot
run, the case is not applicable, with the machine's reason. The oracle always looks from outside: the log, the
files of the data directory, a canary on the host. `villain.unprotected(…)` does the same without a sandbox:
the control run which shows that the attack would work.
"""

import asyncio
import contextlib
import io
import os
import re
import tempfile
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec

from overnight.cli.main import execute
from overnight.cli.wire import SANDBOXES
from overnight.domain.errors import SandboxUnavailableError
from overnight.sandbox.choose import choose
from tests.house import Ended, House, make_repository

BACKENDS = tuple(name for name in SANDBOXES if name not in ("auto", "none"))
"""Every way of isolating that has a name; which of them this machine can run is tried."""

Call = Mapping[str, Any]


@lru_cache
def _tried(name: str) -> frozenset[str] | str:
    """Return the networks that the sandbox `name` can give here, or why it cannot run."""

    async def tried(state: Path) -> frozenset[str]:
        search = os.environ.get("PATH", "")
        return (await choose(SANDBOXES[name], state=state, search=search, home=Path.home())).networks

    with tempfile.TemporaryDirectory(prefix="overnight-tried-") as state:
        Path(state).chmod(0o755)
        try:
            return asyncio.run(tried(Path(state)))
        except SandboxUnavailableError as error:
            return error.message


def unavailable(name: str) -> str:
    """Return why this machine cannot run the sandbox `name`; empty if it can."""
    found = _tried(name)
    return found if isinstance(found, str) else ""


def has_egress(name: str) -> bool:
    """Say whether the sandbox `name` can hold a network policy on this machine."""
    return "egress" in _tried(name)


def shell(command: str) -> Call:
    """Return the tool call that runs `command`."""
    return {"name": "shell", "arguments": {"command": command}}


def write(path: str, text: str) -> Call:
    """Return the tool call that makes the file `path`."""
    lines = "".join(f"+{line}\n" for line in text.splitlines())
    patch = f"*** Begin Patch\n*** Add File: {path}\n{lines}*** End Patch"
    return {"name": "apply_patch", "arguments": {"patch": patch}}


@dataclass(frozen=True)
class Done:
    """What an attempt of the malicious agent left, as seen from outside its sandbox."""

    house: House
    ended: Ended

    @property
    def task(self) -> str:
        """The task's id."""
        return self.ended.json["task"]

    @property
    def shown(self) -> Any:
        """What `overnight task view --json` says."""
        return told(self.house, "task", "view", self.task, "--json").json

    @property
    def attempt(self) -> Any:
        """The attempt, as `overnight task view --json` has it."""
        return self.shown["attempts"][0]

    @property
    def events(self) -> list[Any]:
        """Every event of the log."""
        lines = told(self.house, "task", "logs", self.task, "--json").stdout.splitlines()
        return [msgspec.json.decode(line) for line in lines]

    @property
    def log(self) -> str:
        """Every event of the log, as text without the escapes of JSON."""
        return "\n".join(str(event) for event in self.events)

    @property
    def output(self) -> str:
        """What the agent's commands printed."""
        found = (one.get("event", one) for one in self.events)
        return "".join(one["text"] for one in found if one.get("type") == "command.output")

    @property
    def diff(self) -> str:
        """The patch."""
        return told(self.house, "task", "diff", self.task).stdout

    def kept(self, needle: bytes, allowed: Callable[[Path], bool] = lambda _: False) -> list[Path]:
        """Return the files below the data directory that hold `needle`, compressed ones looked into."""
        return [
            path
            for path in (self.house.root / "data").rglob("*")
            if path.is_file() and not path.is_symlink() and not allowed(path) and needle in unpacked(path)
        ]


def _written(path: Path) -> bytes:
    """Return what was written into a file: images of disks are gigabytes of nothing."""
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size < 1024**2:
            return file.read()
        pieces: list[bytes] = []
        at = 0
        with contextlib.suppress(OSError):  # no data behind `at`
            while True:
                start = os.lseek(file.fileno(), at, os.SEEK_DATA)
                at = os.lseek(file.fileno(), start, os.SEEK_HOLE)
                pieces.append(os.pread(file.fileno(), at - start, start))
        return b"".join(pieces)


def unpacked(path: Path) -> bytes:
    """Return a file's bytes, and behind them what they are when they are compressed."""
    import zstandard

    content = _written(path)
    with contextlib.suppress(zstandard.ZstdError):
        content += zstandard.decompress(content, max_output_size=64 * 1024**2)
    return content


@dataclass(frozen=True)
class Villain:
    """A repository, a data directory of its own, and a malicious agent that is asked to work there."""

    root: Path
    backend: str
    files: Mapping[str, str] = field(default_factory=lambda: {"README.md": "A calculator.\n"})
    variables: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def house(self) -> House:
        """The data directory and the command line over it."""
        root = self.root / "house"
        root.mkdir(exist_ok=True)
        return House(root)

    @property
    def repository(self) -> Path:
        """The repository, made on first use."""
        path = self.root / "repository"
        return path if path.exists() else make_repository(path, self.files)

    def attack(
        self,
        *calls: Call | str,
        options: Sequence[str] = (),
        prompt: str = "Fix it",
        last: str = "Done.",
        watch: Sequence[str] = (),
    ) -> Done:
        """Run a task in which the model makes these calls, one a step; text is a command for the shell.

        Whatever of `watch` is in a request, the model says of it that it saw it.
        """
        steps = [shell(call) if isinstance(call, str) else call for call in calls]
        answers = [{"text": "", "tool_calls": [step]} for step in steps]
        seen = [{"text": "the model saw it", "match": text, "repeat": True} for text in watch]
        model = self.house.script(
            [*seen, *answers, {"text": last}], f"villain-{len(list(self.root.glob('*/*.json')))}"
        )
        ended = told(
            self.house,
            *("run", prompt, "--repo", str(self.repository), "--model", model, "--json"),
            *("--sandbox", self.backend, *(options or ("--no-verify",))),
            **self.variables,
        )
        assert ended.stdout.startswith("{"), ended
        return Done(self.house, ended)

    def unprotected(self, *calls: Call | str, options: Sequence[str] = ()) -> Done:
        """Do the same without a sandbox: the control run. Only for what does no harm."""
        root = self.root / "unprotected"
        root.mkdir(exist_ok=True)
        return replace(self, root=root, backend="none").attack(*calls, options=options)


def told(house: House, *arguments: str, stdin: str = "", **variables: str) -> Ended:
    """Call the command line of a house inside this process: as real, and quicker by Python's start."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.dict(os.environ, {**house.environment, **variables}, clear=True))
        stack.enter_context(contextlib.chdir(house.root))
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(err))
        stack.enter_context(_standard_input(stdin))
        code = execute(list(arguments))
    return Ended(code, out.buffer.getvalue().decode(), err.buffer.getvalue().decode())  # type: ignore[attr-defined]


@contextlib.contextmanager
def _standard_input(text: str) -> Generator[None]:
    with mock.patch("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode()), "utf-8")):
        yield


def plain(text: str) -> str:
    """Return `text` without whatever a terminal would obey, for comparisons."""
    return re.sub("\x1b\\[[0-9;]*m", "", text)
