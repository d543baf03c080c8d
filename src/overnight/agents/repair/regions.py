"""Function regions of languages that have no parser here: found by their first line and braces or indent.

Lenient on purpose: a region that is missed is a function that is not proposed, nothing worse.
"""

import re

import msgspec

LANGUAGES = {
    ".py": "python", ".pyi": "python",
    ".js": "javascript", ".mjs": "javascript", ".cjs": "javascript", ".jsx": "javascript",
    ".ts": "typescript", ".tsx": "typescript", ".mts": "typescript",
    ".go": "go", ".rs": "rust", ".java": "java", ".kt": "kotlin", ".scala": "scala",
    ".c": "c", ".h": "c", ".cc": "cpp", ".cpp": "cpp", ".hpp": "cpp", ".cs": "csharp",
    ".php": "php", ".swift": "swift", ".rb": "ruby", ".sh": "bash", ".bash": "bash", ".lua": "lua",
}  # fmt: skip
"""Language, as it is written behind a code fence, by file ending."""

MAX_LINES = 20_000

_STARTS: dict[str, list[str]] = {
    "script": [
        r"^\s*(?:export\s+)?(?:default\s+)?(?:async\s+)?function\s*\*?\s*(?P<name>[\w$]+)\s*[<(]",
        r"^\s*(?:export\s+)?(?:const|let|var)\s+(?P<name>[\w$]+)\s*(?::[^=]+)?=\s*(?:async\s*)?"
        r"(?:function\b|\([^;]*\)\s*(?::[^=]+)?=>|[\w$]+\s*=>)",
        r"^\s*(?:exports|module\.exports)\.(?P<name>[\w$]+)\s*=\s*(?:async\s*)?(?:function\b|\()",
        r"^\s+(?:(?:public|private|protected|static|async|override|readonly|get|set)\s+)*\*?"
        r"(?P<name>#?[\w$]+)\s*(?:<[^>]*>)?\([^;]*$",
    ],
    "go": [r"^func\s+(?:\(\s*\w*\s*\*?(?P<owner>\w+)[^)]*\)\s*)?(?P<name>\w+)\s*[\[(]"],
    "rust": [r"^\s*(?:pub(?:\([^)]*\))?\s+)?(?:const\s+|async\s+|unsafe\s+)*fn\s+(?P<name>\w+)"],
    "keyword": [
        r"^\s*(?:[\w@]+\s+)*(?:fun|func|function|def)\s+(?:[\w<>.]+\.)?(?P<name>\w+)\s*[<(]",
    ],
    "typed": [
        r"^\s*(?!return\b|else\b|new\b|throw\b|case\b)(?:[\w:<>\[\],.*&~@?]+\s+)+[*&]*"
        r"(?:(?P<owner>\w+)::)?(?P<name>~?\w+)\s*\([^;]*$",
    ],
    "shell": [r"^\s*(?:function\s+)?(?P<name>[\w-]+)\s*\(\)\s*\{?"],
    "ended": [r"^(?P<indent>\s*)(?:local\s+)?(?:def|function)\s+(?:self\.|[\w]+[.:])?(?P<name>\w+[?!]?)"],
}
_FAMILY = {
    "javascript": "script", "typescript": "script", "go": "go", "rust": "rust", "java": "typed", "c": "typed",
    "cpp": "typed", "csharp": "typed", "kotlin": "keyword", "scala": "keyword", "php": "keyword",
    "swift": "keyword", "bash": "shell", "ruby": "ended", "lua": "ended",
}  # fmt: skip
_CONTROL = frozenset(
    [
        "if",
        "for",
        "while",
        "switch",
        "catch",
        "do",
        "else",
        "return",
        "function",
        "match",
        "loop",
        "with",
        "sizeof",
        "when",
    ]
)
_HOLDER = re.compile(
    r"^\s*(?:[\w]+\s+)*(?:class|impl(?:<[^>]*>)?(?:\s+\w+\s+for)?|struct|interface|object|trait)\s+(\w+)"
)


class Region(msgspec.Struct, frozen=True, kw_only=True):
    """A function's lines, from 1, both ends included."""

    name: str
    start: int
    end: int
    owner: str = ""


def language_of(path: str) -> str:
    """Return the language of a file by its ending, or an empty string."""
    dot = path.rfind(".")
    return LANGUAGES.get(path[dot:].lower(), "") if dot > path.rfind("/") else ""


def regions(language: str, lines: list[str]) -> list[Region]:
    """Return the functions of a file, outer ones before inner ones."""
    if len(lines) > MAX_LINES:
        return []
    if language == "python":
        return _by_indent(lines)
    family = _FAMILY.get(language, "")
    if family == "ended":
        return _by_end(lines)
    if not family:
        return []
    patterns = [re.compile(p) for p in _STARTS[family]]
    holders = _holders(lines)
    found: list[Region] = []
    for number, line in enumerate(lines):
        if len(line) > 400:
            continue
        match = next((m for m in (p.match(line) for p in patterns) if m), None)
        if match is None or match["name"] in _CONTROL:
            continue
        end = closing_line(lines, number)
        if end is None:
            continue
        owner = match.groupdict().get("owner") or next(
            (name for name, first, last in reversed(holders) if first < number <= last), ""
        )
        found.append(Region(name=match["name"], start=number + 1, end=end + 1, owner=owner))
    return found


def _holders(lines: list[str]) -> list[tuple[str, int, int]]:
    held: list[tuple[str, int, int]] = []
    for number, line in enumerate(lines):
        match = _HOLDER.match(line) if len(line) <= 400 else None
        end = closing_line(lines, number) if match else None
        if match and end is not None:
            held.append((match[1], number, end))
    return held


def closing_line(lines: list[str], first: int, reach: int = 600) -> int | None:
    """Return the index of the line that closes the first brace opened at or after `first`.

    None if no brace opens before a `;` at depth zero, or if it is never closed within `reach` lines.
    A one-line arrow function without braces ends on its own line.
    """
    depth = round_depth = 0
    opened = False
    quote = ""
    comment = False
    for number in range(first, min(len(lines), first + reach)):
        line = lines[number]
        position = 0
        while position < len(line):
            two = line[position : position + 2]
            char = line[position]
            if comment:
                if two == "*/":
                    comment = False
                    position += 1
            elif quote:
                if char == "\\":
                    position += 1
                elif char == quote:
                    quote = ""
            elif two == "/*":
                comment = True
                position += 1
            elif two == "//":
                break
            elif char in "\"'`" and not _lifetime(line, position):
                quote = char
            elif char in "([":
                round_depth += 1
            elif char in ")]":
                round_depth -= 1
            elif char == "{" and (opened or round_depth <= 0):
                opened = True
                depth += 1
            elif char == "}" and opened:
                depth -= 1
                if depth <= 0:
                    return number
            elif char == ";" and not opened and round_depth <= 0:
                return number if "=>" in "".join(lines[first : number + 1]) else None
            position += 1
        if quote in ("'", '"'):
            quote = ""
    return None


def _lifetime(line: str, position: int) -> bool:
    """Say whether the quote at `position` is a Rust lifetime (`'a`) and opens nothing."""
    return (
        re.match(r"'[A-Za-z_]\w*(?!')", line[position:]) is not None and line[position:].count("'") % 2 == 1
    )


def _by_indent(lines: list[str]) -> list[Region]:
    found: list[Region] = []
    classes: list[tuple[int, str]] = []
    for number, line in enumerate(lines):
        match = re.match(r"(\s*)(?:async\s+def|def|class)\s+(\w+)", line)
        if match is None:
            continue
        indent = len(match[1].expandtabs())
        classes = [(depth, name) for depth, name in classes if depth < indent]
        if line.lstrip().startswith("class"):
            classes.append((indent, match[2]))
            continue
        end = number
        for later in range(number + 1, len(lines)):
            text = lines[later]
            if (
                text.strip()
                and len(text) - len(text.lstrip()) <= len(match[1])
                and not text.lstrip().startswith((")", "#"))
            ):
                break
            if text.strip():
                end = later
        owner = classes[-1][1] if classes else ""
        found.append(Region(name=match[2], start=number + 1, end=end + 1, owner=owner))
    return found


def _by_end(lines: list[str]) -> list[Region]:
    found: list[Region] = []
    pattern = re.compile(_STARTS["ended"][0])
    for number, line in enumerate(lines):
        match = pattern.match(line)
        if match is None:
            continue
        for later in range(number + 1, len(lines)):
            if re.match(rf"{match['indent']}end\b", lines[later]):
                found.append(Region(name=match["name"], start=number + 1, end=later + 1))
                break
    return found
