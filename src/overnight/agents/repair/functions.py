"""What a source file consists of: functions and constants as line ranges with the names they use.

Python is read by `ast`; other languages, and Python that does not parse, by `regions`.
"""

import ast
import re
import textwrap
from collections.abc import Iterator
from typing import Literal

import msgspec

from overnight.agents.repair.regions import language_of, regions

Definition = ast.FunctionDef | ast.AsyncFunctionDef


class Function(msgspec.Struct, frozen=True, kw_only=True):
    """A named piece of a file that can be replaced: a function, a method, or a module's constant.

    Lines count from 1, both ends included, decorators too.
    """

    path: str
    name: str
    qualified: str
    """`Class.method` for methods, the bare name otherwise."""
    owner: str = ""
    """The class that holds it, or nothing."""
    start: int
    end: int
    text: str
    code: str = ""
    """The text at column 0, as it is shown to the model."""
    signature: str = ""
    docstring: str = ""
    language: str = "python"
    kind: Literal["function", "constant", "missing"] = "function"
    uses: frozenset[str] = frozenset()
    """Every name and attribute that occurs in it."""

    @property
    def key(self) -> str:
        """A name for the place, stable while lines move."""
        return f"{self.path}::{self.qualified}"

    @property
    def lines(self) -> int:
        """How many lines it has."""
        return self.end - self.start + 1


class ClassShape(msgspec.Struct, frozen=True, kw_only=True):
    """What there is to know of a class without its methods' bodies."""

    name: str
    start: int
    end: int
    bases: tuple[str, ...] = ()
    header: str = ""
    """The class line and its attributes."""


class FileShape(msgspec.Struct, frozen=True, kw_only=True):
    """A source file, taken apart."""

    path: str
    language: str
    functions: tuple[Function, ...] = ()
    classes: tuple[ClassShape, ...] = ()
    imports: tuple[str, ...] = ()
    """Import statements as written."""
    modules: tuple[str, ...] = ()
    """Dotted modules that it imports; relative ones begin with dots; `a.b.c` also for `from a.b import c`."""
    names: frozenset[str] = frozenset()
    """Names bound at the top level."""
    parsed: bool = True

    def at(self, line: int) -> Function | None:
        """Return the smallest function that holds `line`."""
        holding = [f for f in self.functions if f.start <= line <= f.end]
        return min(holding, key=lambda f: f.lines) if holding else None

    def find(self, qualified: str) -> Function | None:
        """Return the function of that qualified name; of several the last one, which counts."""
        found = None
        for function in self.functions:
            if function.qualified == qualified:
                found = function
        return found


def shape(path: str, text: str) -> FileShape:
    """Take a file apart. Never fails: what cannot be read has no functions."""
    language = language_of(path)
    if language == "python":
        try:
            return _python(path, text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            pass
    lines = text.splitlines()
    found: list[Function] = []
    for region in regions(language, lines):
        body = "\n".join(lines[region.start - 1 : region.end])
        found.append(
            Function(
                path=path,
                name=region.name,
                qualified=f"{region.owner}.{region.name}" if region.owner else region.name,
                owner=region.owner,
                start=region.start,
                end=region.end,
                text=body,
                code=textwrap.dedent(body),
                signature=lines[region.start - 1].strip(),
                language=language,
                uses=frozenset(re.findall(r"[A-Za-z_]\w*", body)),
            )
        )
    imports = tuple(
        line for line in lines if re.match(r"\s*(import|from|use|#include|const .*require\()\b", line)
    )
    return FileShape(
        path=path,
        language=language,
        functions=tuple(found),
        imports=imports,
        names=frozenset(f.name for f in found if not f.owner),
        parsed=language != "python",
    )


def _python(path: str, text: str) -> FileShape:
    tree = ast.parse(text)
    # Not `splitlines`: that also splits at form feeds and other characters that Python does not count.
    lines = text.replace("\r\n", "\n").split("\n")
    functions: list[Function] = []
    classes: list[ClassShape] = []
    imports: list[str] = []
    modules: list[str] = []
    names: set[str] = set()
    for node, owners in _definitions(tree.body, ()):
        if isinstance(node, ast.ClassDef):
            classes.append(_class(node, owners, lines))
        elif isinstance(node, Definition):
            functions.append(_function(path, node, owners, lines))
        elif not owners and isinstance(node, ast.Assign | ast.AnnAssign):
            functions.extend(_constant(path, node, lines))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules.extend(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            modules.append(base)
            dot = "" if base.endswith(".") else "."
            modules.extend(f"{base}{dot}{alias.name}" for alias in node.names)
    for statement in tree.body:
        names.update(_bound(statement))
        if isinstance(statement, ast.Import | ast.ImportFrom):
            imports.append("\n".join(lines[statement.lineno - 1 : statement.end_lineno]))
    return FileShape(
        path=path,
        language="python",
        functions=tuple(functions),
        classes=tuple(classes),
        imports=tuple(imports),
        modules=tuple(dict.fromkeys(modules)),
        names=frozenset(names),
    )


def _definitions(body: list[ast.stmt], owners: tuple[str, ...]) -> Iterator[tuple[ast.stmt, tuple[str, ...]]]:
    """Yield top-level statements and those of classes; also those below `if` and `try`."""
    for node in body:
        yield node, owners
        if isinstance(node, ast.ClassDef):
            yield from _definitions(node.body, (*owners, node.name))
        elif isinstance(node, ast.If | ast.Try | ast.With):
            yield from _definitions(node.body, owners)
            if not isinstance(node, ast.With):
                yield from _definitions(node.orelse, owners)
            for handler in getattr(node, "handlers", []):
                yield from _definitions(handler.body, owners)


def _function(path: str, node: Definition, owners: tuple[str, ...], lines: list[str]) -> Function:
    start = min([node.lineno, *(d.lineno for d in node.decorator_list)])
    end = node.end_lineno or node.lineno
    body_start = node.body[0].lineno if node.body else node.lineno
    signature = "\n".join(lines[node.lineno - 1 : max(node.lineno, body_start - 1)]).strip()
    return Function(
        path=path,
        name=node.name,
        qualified=".".join((*owners, node.name)),
        owner=".".join(owners),
        start=start,
        end=end,
        text="\n".join(lines[start - 1 : end]),
        code=outdented(lines, start, end, inside_strings(node)),
        signature=signature if node.body and body_start > node.lineno else lines[node.lineno - 1].strip(),
        docstring=ast.get_docstring(node) or "",
        uses=frozenset(used_names(node)),
    )


def _constant(path: str, node: ast.Assign | ast.AnnAssign, lines: list[str]) -> list[Function]:
    target = node.targets[0] if isinstance(node, ast.Assign) else node.target
    if not isinstance(target, ast.Name) or target.id.startswith("__") or node.value is None:
        return []
    end = node.end_lineno or node.lineno
    return [
        Function(
            path=path,
            name=target.id,
            qualified=target.id,
            start=node.lineno,
            end=end,
            text="\n".join(lines[node.lineno - 1 : end]),
            code=outdented(lines, node.lineno, end, inside_strings(node)),
            kind="constant",
            uses=frozenset(used_names(node)),
        )
    ]


def _class(node: ast.ClassDef, owners: tuple[str, ...], lines: list[str]) -> ClassShape:
    header = [lines[node.lineno - 1].strip()]
    header += [
        "    " + " ".join(x.strip() for x in lines[statement.lineno - 1 : statement.end_lineno])
        for statement in node.body
        if isinstance(statement, ast.Assign | ast.AnnAssign)
    ]
    return ClassShape(
        name=".".join((*owners, node.name)),
        start=min([node.lineno, *(d.lineno for d in node.decorator_list)]),
        end=node.end_lineno or node.lineno,
        bases=tuple(name for base in node.bases for name in used_names(base)),
        header="\n".join(header),
    )


def inside_strings(tree: ast.AST) -> set[int]:
    """Return the lines that begin inside a string, where white space is content; not docstrings."""
    inside: set[int] = set()
    free: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant | ast.JoinedStr) and node.end_lineno is not None:
            if isinstance(node, ast.JoinedStr) or isinstance(node.value, str | bytes):
                inside.update(range(node.lineno + 1, node.end_lineno + 1))
        elif isinstance(node, Definition | ast.ClassDef) and node.body:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                free.update(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return inside - free


def outdented(lines: list[str], start: int, end: int, inside: set[int]) -> str:
    """Return lines, from 1, moved to column 0, those in `inside` left as they are."""
    first = lines[start - 1]
    indent = first[: len(first) - len(first.lstrip())]
    return "\n".join(
        lines[number - 1] if number in inside else lines[number - 1].removeprefix(indent)
        for number in range(start, end + 1)
    )


def used_names(node: ast.AST) -> set[str]:
    """Return the names and attributes that occur anywhere in `node`."""
    found: set[str] = set()
    for child in ast.walk(node):
        if isinstance(child, ast.Name):
            found.add(child.id)
        elif isinstance(child, ast.Attribute):
            found.add(child.attr)
    return found


def _bound(statement: ast.stmt) -> set[str]:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return {(alias.asname or alias.name).split(".")[0] for alias in statement.names}
    if isinstance(statement, ast.If | ast.Try):
        inner: set[str] = set()
        for part in ast.iter_child_nodes(statement):
            if isinstance(part, ast.stmt):
                inner |= _bound(part)
        return inner
    return {n.id for n in ast.walk(statement) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
