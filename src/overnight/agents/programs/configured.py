"""Agent programs from a person's configuration: others than the table's, and other versions of those."""

import re
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from overnight.agents.programs.table import PROGRAMS, SESSION, Launch, Program, Wiring
from overnight.domain.errors import UsageError

_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")
_WORD = re.compile(r"[\w.+-]+")


class Described(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table `[agents.NAME]` of a program that a person has in their PATH.

    In arguments, variables and files, `{url}` is the gateway's address without a path, `{model}` the name to
    ask it for, `{context_tokens}` and `{output_tokens}` are the model's bounds.
    """

    command: str
    arguments: tuple[str, ...] = ()
    """With `{prompt}` in one of them, or the prompt comes by standard input."""
    variables: dict[str, str] = {}
    files: dict[str, str] = {}
    """Contents by path beneath the home."""
    resume: tuple[str, ...] = ()
    keeps: tuple[str, ...] = ()
    protocol: tuple[str, ...] | None = None
    """Its arguments for the Agent Client Protocol, by which it is run then."""
    tools: tuple[str, ...] = ()
    """Other programs that it needs."""


class Pinned(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table `[agents.NAME]` of a program that is known: another version of it."""

    version: str


def configured(tables: Mapping[str, Any], built_in: tuple[str, ...]) -> tuple[Program, ...]:
    """Return all programs there are: the known ones, at the versions that are wanted, and a person's own.

    Raises:
        UsageError: a table makes no sense, and why.
    """
    known = {program.name: program for program in PROGRAMS}
    for name, table in tables.items():
        if name in built_in:
            raise UsageError(f"[agents.{name}]: {name} is built in, there is nothing to set.")
        if not _NAME.fullmatch(name):
            raise UsageError(f"[agents.{name}]: a name has small letters, digits and dashes.")
        known[name] = _pinned(known[name], table) if name in known else _described(name, table)
    return tuple(known.values())


def _pinned(program: Program, table: Any) -> Program:
    version = _read(program.name, table, Pinned).version
    if program.registry == "host" or not _WORD.fullmatch(version) or version.startswith("-"):
        raise UsageError(f"[agents.{program.name}]: {version!r} is no version that could be installed.")
    return msgspec.structs.replace(program, version=version)


def _described(name: str, table: Any) -> Program:
    read = _read(name, table, Described)
    if not _WORD.fullmatch(read.command) or read.command.startswith("-"):
        raise UsageError(f"[agents.{name}]: command must be the name of a program in your PATH.")
    outside = [path for path in (*read.files, *read.keeps) if path.startswith("/") or ".." in path.split("/")]
    if outside:
        raise UsageError(f"[agents.{name}]: {outside[0]!r} lies outside of the home.")

    def launch(wiring: Wiring) -> Launch:
        return Launch(
            argv=(read.command, *(_filled(word, wiring) for word in read.arguments)),
            variables={key: _filled(value, wiring) for key, value in read.variables.items()},
            files={path: _filled(text, wiring) for path, text in read.files.items()},
            prompt_argument=any("{prompt}" in word for word in read.arguments),
        )

    by_protocol = read.protocol is not None
    return Program(
        name=name, title=name, registry="host", package=read.command, version="", licence="yours",
        command=read.command, launch=launch, resume=read.resume, tools=(read.command, *read.tools),
        keeps=(*read.keeps, SESSION) if by_protocol and read.keeps else read.keeps,
        protocol=read.protocol or (), by_protocol=by_protocol,
    )  # fmt: skip


def _filled(text: str, wiring: Wiring) -> str:
    values: dict[str, object] = msgspec.structs.asdict(wiring)
    for key, value in values.items():
        text = text.replace(f"{{{key}}}", str(value))
    return text


_Table = TypeVar("_Table", Described, Pinned)


def _read(name: str, table: Any, wanted: type[_Table]) -> _Table:
    try:
        return msgspec.convert(table, wanted)
    except msgspec.ValidationError as error:
        raise UsageError(f"[agents.{name}]: {error}") from None
