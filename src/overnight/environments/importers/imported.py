"""What a file of another tool says about an environment, and why parts of it were left out."""

from collections.abc import Mapping
from typing import Any, cast

import msgspec

from overnight.domain.environment import IMAGE, SecretName, Service
from overnight.environments.detect.found import Host
from overnight.environments.detect.reader import Looking
from overnight.environments.importers.texts import UnreadableError
from overnight.sandbox.interface import WORKSPACE

MAX_LINES = 40
"""How many parts of one file are named as ignored."""
MAX_VARIABLES = 200
MAX_COMMANDS = 100
MAX_COMMAND = 20_000
"""Characters of one command; a longer one is a program that belongs into a file."""


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """One file's part of the recipe. None means that the file does not say."""

    file: str
    base: str | None = None
    setup: tuple[str, ...] | None = None
    maintenance: tuple[str, ...] | None = None
    start: tuple[str, ...] | None = None
    services: tuple[Service, ...] | None = None
    setup_seconds: float | None = None
    secrets: tuple[SecretName, ...] = ()
    variables: Mapping[str, str] = {}
    path: tuple[str, ...] = ()
    lock_files: tuple[str, ...] = ()
    """Files that decide whether the setup must run again, such as a script that it calls."""


class File:
    """One file while it is read: collects what is ignored, one line for each part."""

    def __init__(self, looking: Looking, host: Host, path: str) -> None:
        self.looking = looking
        self.host = host
        self.path = path
        self.lines: list[str] = []
        self._left_out = 0

    def ignore(self, part: str, why: str) -> None:
        """Note that a part of the file is not honoured, and why."""
        if len(self.lines) < MAX_LINES:
            self.lines.append(f"ignored: {self.path}: {_short(part)}, {_short(why, 160)}")
        else:
            self._left_out += 1

    def note(self, part: str, line: str) -> None:
        """Note how a part of the file is honoured."""
        if len(self.lines) < MAX_LINES:
            self.lines.append(f"{self.path}: {_short(part)}: {_short(line, 160)}")

    def wrong(self, key: str, expected: str) -> None:
        """Note that a key holds what it cannot."""
        self.ignore(key, f"it must be {expected}")

    def close(self) -> None:
        """Put the lines where `overnight env detect` shows them."""
        if self._left_out:
            self.lines.append(f"ignored: {self.path}: {self._left_out} more parts")
        self.looking.sources += self.lines

    # Values of the wrong kind are noted and count as absent.

    def text(self, table: Mapping[str, Any], key: str, where: str = "") -> str | None:
        """Return a string; None where there is none."""
        value: object = table.get(key)
        if value is None:
            return None
        if not isinstance(value, str) or "\0" in value or len(value) > MAX_COMMAND:
            self.wrong(where + key, f"a text of at most {MAX_COMMAND:,} characters")
            return None
        return value

    def image(self, key: str, name: str | None) -> str | None:
        """Return the name of an image; None where it is empty, or noted as none."""
        if name and not IMAGE.fullmatch(name):
            self.wrong(key, "the name of an image")
            return None
        return name or None

    def table(self, table: Mapping[str, Any], key: str, where: str = "") -> dict[str, Any]:
        """Return a table; empty where there is none."""
        value: object = table.get(key)
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.wrong(where + key, "a table of names and values")
            return {}
        return {str(name): item for name, item in cast("dict[object, Any]", value).items()}

    def items(self, table: Mapping[str, Any], key: str, where: str = "") -> list[Any]:
        """Return a list; empty where there is none."""
        value: object = table.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            self.wrong(where + key, "a list")
            return []
        return cast("list[Any]", value)


def open_file(looking: Looking, host: Host, path: str) -> tuple[File, bytes] | None:
    """Return a file and its bytes; None, with a line, where it must not be read."""
    refused = looking.refused(path)
    if refused:
        looking.sources.append(f"ignored: {path}, {refused}")
        return None
    content = looking.reader.read(path) if looking.has(path) else None
    return None if content is None else (File(looking, host, path), content)


def unreadable(file: File, kind: str, error: UnreadableError) -> Imported:
    """Return a file's empty part, and note why it is empty."""
    file.lines.append(f"ignored: {file.path}, no valid {kind}: {_short(str(error), 200)}")
    file.close()
    return Imported(file=file.path)


def expand(text: str, variables: Mapping[str, str] | None = None) -> str:
    """Return a text of devcontainer.json or `.cursor` with its `${…}` variables put in.

    What lies outside of the sandbox is never read: `localEnv` is empty, or the default that stands there.
    """
    known = {
        "containerWorkspaceFolder": WORKSPACE,
        "localWorkspaceFolder": WORKSPACE,
        "workspaceFolder": WORKSPACE,
        "containerWorkspaceFolderBasename": WORKSPACE.strip("/"),
        "localWorkspaceFolderBasename": WORKSPACE.strip("/"),
        "devcontainerId": "overnight",
    }
    made: list[str] = []
    rest = text
    while True:
        before, opening, rest = rest.partition("${")
        made.append(before)
        if not opening:
            return "".join(made)
        name, closing, after = rest.partition("}")
        kind, colon, detail = name.partition(":")
        if not closing:
            made.append("${" + rest)
            return "".join(made)
        if kind in ("localEnv", "env") and colon:
            made.append(detail.partition(":")[2])
        elif kind == "containerEnv" and colon:
            variable, _, default = detail.partition(":")
            made.append((variables or {}).get(variable, default))
        else:
            # Anything else is the shell's own.
            made.append(known.get(name, "${" + name + "}"))
        rest = after


def _short(text: str, width: int = 80) -> str:
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1] + "…"
