"""The way of test results out of the sandbox: records sealed in a chain with keys that are used once.

The host puts a few random keys into a fresh directory. The first thing the watched runner does, before
any file of the repository is imported, is to read all keys and remove them; it seals every record with
its key over the record before it (HMAC-SHA256), and writes an end record with a count. A missing end, a
broken seal, a wrong count or a file that nobody was given a key for make the run unfinished.

This holds off: exiting early (`os._exit`, `sys.exit`, a signal), printing "passed", writing, changing or
removing result files, forked children, replaced functions of pytest, unittest, pluggy and of what they
load files with, new pytest hooks, import hooks and trace functions, replaced code of test functions,
bytecode beside a test, and a modified or deleted test file. What a repository does so itself on its base
is not held against a patch.

It cannot hold off code under test that searches its own process for the recorder (through `gc`, frames or
`ctypes`) and imitates it call by call, that changes a runner and puts it back between two looks, or
objects that lie when a test asks them (`__eq__` that is always true): whoever shares a process with the
test can do all that the test can. The patch stays readable for people, and such code is easy to see.
"""

import contextlib
import hashlib
import hmac
import os
import secrets
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from overnight.domain.verdict import TestStatus
from overnight.environments.beneath import remove_tree
from overnight.sandbox.interface import Bind

KEYS = 16
"""How many runner processes of one command can report."""
MAX_RECORDS_BYTES = 256 * 1024**2
_INSIDE = Path(__file__).parent / "inside"
_FILES = (
    "overnight_record.py",
    "overnight_pytest.py",
    "overnight_unittest.py",
    "sitecustomize.py",
    "overnight_reporter.mjs",
)


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a result file."""

    kind: Literal["begin", "collected", "test", "tampered", "end"]
    runner: str = ""
    ids: tuple[str, ...] = ()
    id: str = ""
    status: TestStatus = "error"
    names: tuple[str, ...] = ()
    tests: int = 0


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """What one runner process reported. Tests that were collected and never reported are `missing`."""

    runner: str = ""
    tests: dict[str, TestStatus] = {}
    finished: bool = False
    tampered: tuple[str, ...] = ()


class Channel:
    """A fresh pair of directories for one run: our files, read-only, and keys with results, writable."""

    def __init__(self, scratch: Path, owner: tuple[int, int] | None, mounted: bool) -> None:
        token = secrets.token_hex(16)
        self._root = scratch / f"channel-{token}"
        self._keys: dict[str, bytes] = {}
        self._inside, self._results = self._root / "inside", self._root / "results"
        for folder in (self._root, self._inside, self._results):
            folder.mkdir(parents=True)
            folder.chmod(0o755)
        for name in _FILES:
            shutil.copyfile(_INSIDE / name, self._inside / name)
            (self._inside / name).chmod(0o644)
        keys = self._results / "keys"
        out = self._results / "out"
        keys.mkdir()
        out.mkdir()
        for number in range(KEYS):
            name = f"{number:02d}-{secrets.token_hex(8)}"
            self._keys[name] = secrets.token_bytes(32)
            (keys / name).write_bytes(self._keys[name])
        for path in (self._results, keys, out, *keys.iterdir()):
            path.chmod(0o700 if path.is_dir() else 0o600)
            if owner is not None:
                os.chown(path, *owner)
        prefix = f"/overnight-{token}" if mounted else str(self._root)
        self.inside = f"{prefix}/inside"
        """Where the runner's files are seen by the command."""
        self.results = f"{prefix}/results"
        """Where keys and results are seen by the command."""

    @property
    def binds(self) -> tuple[Bind, ...]:
        """What the sandbox must mount."""
        return (
            Bind(source=self._inside, target=self.inside),
            Bind(source=self._results, target=self.results, writable=True),
        )

    def sessions(self) -> list[Session]:
        """Read what came back; only after the command and all it started have ended."""
        found: list[Session] = []
        left = self._names("keys")
        written = self._names("out")
        found += [
            Session(tampered=(f"result file {name!r} is not ours",))
            for name in sorted(written - self._keys.keys())
        ]
        for name, key in self._keys.items():
            if name in written:
                found.append(_session(_lines(self._results / "out" / name), key))
            elif name not in left and not written:
                found.append(Session(tampered=("a result channel was taken and not used",)))
                break
        return found

    def _names(self, folder: str) -> set[str]:
        path = self._results / folder
        # The command may have put a link in place of the directory.
        if path.is_symlink() or not path.is_dir():
            return set()
        return {entry.name for entry in path.iterdir()}

    def close(self) -> None:
        """Remove the directories."""
        with contextlib.suppress(OSError):
            remove_tree(self._root)


def _lines(path: Path) -> list[bytes]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return []
    with os.fdopen(descriptor, "rb") as file:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode) or state.st_size > MAX_RECORDS_BYTES:
            return []
        return file.read().split(b"\n")


def _session(lines: Sequence[bytes], key: bytes) -> Session:
    """Check the chain and fold the records; what follows a broken link is not believed."""
    tests: dict[str, TestStatus] = {}
    tampered: set[str] = set()
    runner, last, count, finished = "", b"", 0, False
    for line in lines:
        if not line:
            continue
        mac, _, text = line.partition(b" ")
        if not hmac.compare_digest(hmac.digest(key, last + text, hashlib.sha256).hex().encode(), mac):
            tampered.add("broken seal in the result file")
            finished = False
            break
        last = mac
        try:
            record = msgspec.json.decode(text, type=Record)
        except msgspec.MsgspecError:
            finished = False
            break
        finished = record.kind == "end" and record.tests == count
        if record.kind == "begin":
            runner = record.runner
        elif record.kind == "collected":
            for name in record.ids:
                tests.setdefault(name, "missing")
        elif record.kind == "test":
            count += 1
            tests[record.id] = worse(tests.get(record.id, "missing"), record.status)
        elif record.kind == "tampered":
            tampered.update(record.names)
        else:
            count = 0
    return Session(runner=runner, tests=tests, finished=finished, tampered=tuple(sorted(tampered)))


_ORDER: tuple[TestStatus, ...] = ("missing", "passed", "flaky", "skipped", "failed", "error")


def worse(one: TestStatus, other: TestStatus) -> TestStatus:
    """Return the worse of two results of one test, where any result counts more than none."""
    return one if _ORDER.index(one) >= _ORDER.index(other) else other
