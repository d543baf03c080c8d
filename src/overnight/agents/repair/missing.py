"""What the tests want and the code does not have: names to be written, and where they belong."""

import re
from collections.abc import Iterable

from overnight.agents.repair.codebase import Codebase, is_test
from overnight.agents.repair.failures import Failure
from overnight.agents.repair.functions import FileShape, Function

_FROM_MODULE = re.compile(
    r"cannot import name '(?P<name>\w+)' from (?:partially initialized module )?'(?P<module>[\w.]+)'"
    r"|module '(?P<module2>[\w.]+)' has no attribute '(?P<name2>\w+)'"
)
_OF_CLASS = re.compile(
    r"(?:type object )?'(?P<owner>\w+)' object has no attribute '(?P<name>\w+)'|"
    r"type object '(?P<owner2>\w+)' has no attribute '(?P<name2>\w+)'"
)
_SPECIAL: tuple[tuple[str, str], ...] = (
    (r"object of type '(\w+)' has no len\(\)", "__len__"),
    (r"'(\w+)' object is not iterable", "__iter__"),
    (r"argument of type '(\w+)' is not (?:iterable|a container)", "__contains__"),
    (r"'(\w+)' object is not subscriptable", "__getitem__"),
    (r"'(\w+)' object does not support item assignment", "__setitem__"),
    (r"'(\w+)' object does not support item deletion", "__delitem__"),
    (r"'(\w+)' object is not callable", "__call__"),
    (r"'(\w+)' object is not an iterator", "__next__"),
    (r"'(\w+)' object does not support the context manager", "__enter__"),
    (r"unhashable type: '(\w+)'", "__hash__"),
    (r"'<' not supported between instances of '(\w+)'", "__lt__"),
    (r"unsupported operand type\(s\) for \+: '(\w+)'", "__add__"),
    (r"unsupported operand type\(s\) for -: '(\w+)'", "__sub__"),
    (r"unsupported operand type\(s\) for \*: '(\w+)'", "__mul__"),
)
"""What Python says when a class lacks a special method, and which one."""
_NO_MODULE = re.compile(r"No module named '(?P<module>[\w.]+)'")


def missing(
    codebase: Codebase, failures: Iterable[Failure], prompt: str
) -> Iterable[tuple[Function, float, str]]:
    """Yield places for what failing tests miss, with points and the test. Their `text` is empty."""
    seen: set[str] = set()
    for failure in failures:
        for function in _places(codebase, failure, prompt):
            if function.key not in seen:
                seen.add(function.key)
                yield function, 5.0, failure.test


def _places(codebase: Codebase, failure: Failure, prompt: str) -> Iterable[Function]:
    match = _FROM_MODULE.search(failure.message)
    if match:
        path = codebase.module(match["module"] or match["module2"])
        if path is not None and codebase.editable(path):
            yield at_end(codebase.shape(path), codebase.text(path), match["name"] or match["name2"])
        return
    member = _member(failure.message)
    if member is not None:
        starts = [f.path for f in failure.frames] or [failure.test.split("::")[0]]
        for path in codebase.closure(starts, hops=3, limit=120):
            place = in_class(codebase.shape(path), codebase.text(path), *member)
            if place is not None and codebase.editable(path):
                yield place
                return
        return
    match = _NO_MODULE.search(failure.message)
    if match and "." in match["module"]:
        package, _, name = match["module"].rpartition(".")
        init = codebase.module(package)
        if init is not None and init.endswith("__init__.py"):
            path = init.removesuffix("__init__.py") + name + ".py"
            wanted = _wanted_from(codebase, failure, match["module"]) or [name]
            yield Function(
                path=path, name=wanted[0], qualified=wanted[0], start=1, end=0, text="", kind="missing"
            )


def _member(message: str) -> tuple[str, str] | None:
    """Return the class and the member that a message misses."""
    match = _OF_CLASS.search(message)
    if match:
        return match["owner"] or match["owner2"], match["name"] or match["name2"]
    for pattern, name in _SPECIAL:
        match = re.search(pattern, message)
        if match:
            return match[1], name
    return None


def _wanted_from(codebase: Codebase, failure: Failure, module: str) -> list[str]:
    """Return the names that the failing test imports from a module that does not exist."""
    for path in [failure.test.split("::")[0], *(f.path for f in failure.frames)]:
        if is_test(path) and codebase.has(path):
            match = re.search(rf"from {re.escape(module)} import \(?([\w, \n]+)", codebase.text(path))
            if match:
                return [n.strip() for n in match[1].split(",") if n.strip()]
    return []


def at_end(file: FileShape, text: str, name: str) -> Function:
    """Return the place for a new top-level name: after the file's last line of code."""
    lines = text.rstrip().count("\n") + 1 if text.strip() else 0
    return Function(
        path=file.path, name=name, qualified=name, start=lines + 1, end=lines, text="", kind="missing",
        language=file.language,
    )  # fmt: skip


def in_class(file: FileShape, text: str, owner: str, name: str) -> Function | None:
    """Return the place for a new member: the end of the class's body."""
    for holder in file.classes:
        if holder.name.split(".")[-1] == owner:
            if any(f.owner == holder.name and f.name == name for f in file.functions):
                return None
            return Function(
                path=file.path, name=name, qualified=f"{holder.name}.{name}", owner=holder.name,
                start=holder.end + 1, end=holder.end, text="", kind="missing", language=file.language,
            )  # fmt: skip
    return None
