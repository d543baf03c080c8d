"""Puts a function back into its file: same indentation, comments of untouched lines kept."""

import ast
import difflib
import io
import re
import tokenize

from overnight.agents.repair.answers import Edit, digest
from overnight.agents.repair.functions import Function, inside_strings


def splice(text: str, target: Function, edit: Edit) -> str | None:
    """Return the file with `edit` in place of `target`, or None where the result is no code any more.

    `target` must have been read from this very `text`.
    """
    crlf = "\r\n" in text
    plain = text.replace("\r\n", "\n")
    lines = plain.split("\n")
    if target.text:
        indent = _indent(lines[target.start - 1])
        code = graft(target.code, edit.code) if target.language == "python" else edit.code
        made = [*lines[: target.start - 1], *_indented(code, indent).split("\n"), *lines[target.end :]]
        first = target.start - 1
    else:
        made, first = _inserted(lines, target, edit.code)
    if target.language == "python":
        made = _with_helpers(made, first, target, edit)
        made = _with_imports(made, edit.imports)
    result = "\n".join(made)
    if not result.endswith("\n"):
        result += "\n"
    if target.language == "python":
        try:
            compile(result, target.path, "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None
    return result.replace("\n", "\r\n") if crlf else result


def _inserted(lines: list[str], target: Function, code: str) -> tuple[list[str], int]:
    """Insert a new function behind line `target.end`, with the usual blank lines."""
    before = lines[: target.end]
    after = lines[target.end :]
    while before and not before[-1].strip():
        before.pop()
    while after and not after[0].strip():
        after.pop(0)
    member = bool(target.owner)
    indent = "    " * target.owner.count(".") + "    " if member else ""
    gap = [""] if member else ["", ""]
    front = [*before, *gap] if before else []
    made = [*front, *_indented(code, indent).split("\n")]
    tail = (
        [*([""] if member and after and after[0][:1] in (" ", "\t") else ["", ""]), *after] if after else [""]
    )
    return [*made, *tail], len(front)


def _with_helpers(lines: list[str], first: int, target: Function, edit: Edit) -> list[str]:
    """Put new helper functions before the function, or before the class that holds it."""
    if not edit.helpers:
        return lines
    at = first
    if target.owner:
        while at > 0 and not re.match(r"class\s", lines[at]):
            at -= 1
        while at > 0 and lines[at - 1].startswith("@"):
            at -= 1
    block = [line for helper in edit.helpers for line in (*helper.split("\n"), "", "")]
    return [*lines[:at], *block, *lines[at:]]


def _with_imports(lines: list[str], imports: tuple[str, ...]) -> list[str]:
    """Put imports behind the last import at the top, or behind docstring and comments."""
    if not imports:
        return lines
    try:
        tree = ast.parse("\n".join(lines))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return lines
    at = 0
    for node in tree.body:
        is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if isinstance(node, ast.Import | ast.ImportFrom) or (is_text and at == 0):
            at = node.end_lineno or at
        elif at:
            break
    if at == 0:
        while at < len(lines) and lines[at].startswith("#"):
            at += 1
    following = (
        [""] if at < len(lines) and lines[at].strip() and not lines[at].startswith(("import", "from")) else []
    )
    return [*lines[:at], *imports, *following, *lines[at:]]


def graft(old: str, new: str) -> str:
    """Return `new` with the lines of `old` where they mean the same, so that comments and quotes survive.

    Both are a function's source at column 0. Falls back to `new` when the mixture would mean something else.
    """
    old_lines, new_lines = old.split("\n"), new.split("\n")
    old_keys, new_keys = [_meaning(x) for x in old_lines], [_meaning(x) for x in new_lines]
    made: list[str] = []
    matcher = difflib.SequenceMatcher(None, old_keys, new_keys, autojunk=False)
    for tag, old_from, old_to, new_from, new_to in matcher.get_opcodes():
        if tag == "equal":
            made.extend(old_lines[old_from:old_to])
        elif tag == "delete" and all(not key.strip() for key in old_keys[old_from:old_to]):
            made.extend(old_lines[old_from:old_to])  # only comments and blank lines: they were just left out
        elif tag != "delete":
            made.extend(new_lines[new_from:new_to])
    mixed = "\n".join(made)
    try:
        same = digest(ast.parse(mixed).body) == digest(ast.parse(new).body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return new
    return mixed if same else new


def _meaning(line: str) -> str:
    """Return a line without its comment and with one kind of quotes, as a key to compare by."""
    stripped = line.strip()
    indent = line[: len(line) - len(line.lstrip())]
    if not stripped or stripped.startswith("#"):
        return ""
    try:
        parts = [
            t.string.replace("'", '"') if t.type == tokenize.STRING else t.string
            for t in tokenize.generate_tokens(io.StringIO(stripped).readline)
            if t.type not in (tokenize.COMMENT, tokenize.NEWLINE, tokenize.NL, tokenize.ENDMARKER)
        ]
    except (tokenize.TokenError, IndentationError, SyntaxError):
        return line.rstrip()
    return indent + " ".join(parts)


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _indented(code: str, indent: str) -> str:
    """Indent code, but not the inside of strings over several lines, whose content that would change."""
    if not indent:
        return code
    try:
        inside = inside_strings(ast.parse(code))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        inside = set[int]()
    return "\n".join(
        line if number in inside or not line.strip() else indent + line
        for number, line in enumerate(code.split("\n"), start=1)
    )
