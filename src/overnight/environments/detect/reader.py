"""What detection sees of a repository: paths and contents at one commit, with caps; nothing is executed."""

import json
import tomllib
from configparser import ConfigParser, Error
from typing import Any, Protocol, cast

MAX_BYTES = 512 * 1024
"""A larger configuration file is ignored."""


class Reader(Protocol):
    """A repository's files at one commit."""

    def paths(self) -> tuple[str, ...]:
        """Return the paths of all files, sorted."""
        ...

    def read(self, path: str) -> bytes | None:
        """Return a file's bytes, or None where there is none or it is too large to be looked at."""
        ...

    def refused(self, path: str) -> str:
        """Return why a file that is there must not be read, as `it is a symbolic link`; empty if it may."""
        ...


class Looking:
    """Reads configuration files leniently and notes those that had to be ignored."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.all = reader.paths()
        self.names = frozenset(self.all)
        self.sources: list[str] = []
        """One line for every decision, for `overnight env detect`."""

    def has(self, path: str) -> bool:
        """Say whether the repository has a file of this path."""
        return path in self.names

    def refused(self, path: str) -> str:
        """Return why a file, or a folder that it lies in, must not be read; empty if it may."""
        parts = path.split("/")
        places = ("/".join(parts[:depth]) for depth in range(1, len(parts) + 1))
        return next((reason for place in places if (reason := self.reader.refused(place))), "")

    def note(self, path: str, line: str) -> None:
        """Record why something was decided."""
        self.sources.append(f"{path}: {line}")

    def text(self, path: str) -> str:
        """Return a file's text; empty where there is none or it is too large."""
        content = self.reader.read(path) if path in self.names else None
        if content is None or len(content) > MAX_BYTES:
            if content is not None:
                self.note(path, f"ignored, larger than {MAX_BYTES:,} bytes")
            return ""
        return content.decode("utf-8", "replace")

    def toml(self, path: str) -> dict[str, Any]:
        """Return a TOML file's table; empty where there is none or it is broken."""
        try:
            return tomllib.loads(self.text(path))
        except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
            self.note(path, f"ignored, no valid TOML ({_short(error)})")
            return {}

    def json(self, path: str) -> dict[str, Any]:
        """Return a JSON file's object; empty where there is none or it is broken."""
        text = self.text(path)
        if not text:
            return {}
        try:
            value: object = json.loads(text)
        except (ValueError, RecursionError) as error:
            self.note(path, f"ignored, no valid JSON ({_short(error)})")
            return {}
        return table(value)

    def ini(self, path: str) -> dict[str, dict[str, str]]:
        """Return an INI file's sections; empty where there is none or it is broken."""
        parser = ConfigParser(interpolation=None, strict=False)
        try:
            parser.read_string(self.text(path))
        except (Error, ValueError) as error:
            self.note(path, f"ignored, no valid INI ({_short(error)})")
            return {}
        return {name: dict(parser.items(name)) for name in parser.sections()}


def table(value: object) -> dict[str, Any]:
    """Return `value` if it is a table, else an empty one."""
    if not isinstance(value, dict):
        return {}
    return {str(key): item for key, item in cast("dict[object, Any]", value).items()}


def strings(value: object) -> list[str]:
    """Return the strings of a list; a hostile file may hold anything."""
    if not isinstance(value, list):
        return []
    return [item for item in cast("list[object]", value) if isinstance(item, str)]


def tables(value: object) -> list[dict[str, Any]]:
    """Return the tables of a list."""
    if not isinstance(value, list):
        return []
    return [found for item in cast("list[object]", value) if (found := table(item))]


def text(value: object) -> str:
    """Return `value` if it is a string, else an empty one."""
    return value if isinstance(value, str) else ""


def _short(error: Exception) -> str:
    return str(error).splitlines()[0][:120] if str(error) else type(error).__name__
