"""`search`: lines that match a pattern, found inside the sandbox, or a name in the code map."""

from collections.abc import Mapping
from typing import Any

from overnight.agents.codemap.symbols import Place, find_symbol
from overnight.agents.tools.interface import Toolbox, ToolResult, cut_middle
from overnight.domain.conversation import ToolSpec
from overnight.domain.errors import OvernightError
from overnight.environments.ripgrep import RIPGREP
from overnight.sandbox.interface import Command, CommandResult

MAX_MATCHES = 200
SECONDS = 30.0
_ABSENT = (126, 127)


class Search:
    """Greps the workspace, or looks a name up.

    Text is searched in the sandbox, since the files are hostile; names in the map, which is kept outside.
    """

    read_only = True
    spec = ToolSpec(
        name="search",
        description=(
            "Find lines that match a regular expression, as path:line:text; files that git ignores are left "
            "out. Or give `symbol` for where a function, class or other name is defined and referred to."
        ),
        parameters={
            "type": "object",
            "properties": {
                "pattern": {"type": "string", "description": "A regular expression."},
                "symbol": {"type": "string", "description": "A name, as `parse` or `Parser.parse`."},
                "path": {"type": "string", "description": "File or directory. Default: everything."},
            },
            "additionalProperties": False,
        },
    )

    def summary(self, arguments: Mapping[str, Any]) -> str:
        """Return the pattern or the name."""
        return str(arguments.get("pattern") or arguments.get("symbol") or "")[:120]

    async def run(self, arguments: Mapping[str, Any], toolbox: Toolbox) -> ToolResult:
        """Return at most `MAX_MATCHES` lines."""
        pattern, path = arguments.get("pattern") or "", arguments.get("path", ".")
        symbol = arguments.get("symbol") or ""
        if not all(isinstance(value, str) for value in (pattern, path, symbol)):
            return ToolResult("`pattern`, `symbol` and `path` must be strings", ok=False)
        if bool(pattern) == bool(symbol):
            return ToolResult("Give either `pattern` or `symbol`: a non-empty string", ok=False)
        if symbol:
            return await _look_up(symbol, "" if path == "." else path, toolbox)
        return await _grep(pattern, path or ".", toolbox)


async def _grep(pattern: str, path: str, toolbox: Toolbox) -> ToolResult:
    argv = (
        RIPGREP, "--no-config", "--no-heading", "--with-filename", "--line-number", "--color=never",
        "--hidden", "--glob=!.git", "--no-require-git", "--sort=path", "--max-columns=300",
        "--max-columns-preview", "--regexp", pattern, "--", path,
    )  # fmt: skip
    result = await toolbox.run(Command(argv=argv, seconds=SECONDS))
    if result.exit_code in _ABSENT:
        # A sandbox without binds, or a machine for which there is no wheel of ripgrep.
        result = await toolbox.run(Command(argv=_plain(pattern, path), seconds=SECONDS))
    return _matches(result, toolbox.limits.result_characters)


def _plain(pattern: str, path: str) -> tuple[str, ...]:
    return (
        "grep", "-rnHIE", "--exclude-dir=.git", "--exclude-dir=node_modules", "--exclude-dir=__pycache__",
        "-e", pattern, "--", path,
    )  # fmt: skip


def _matches(result: CommandResult, characters: int) -> ToolResult:
    lines = [line.removeprefix("./")[:300] for line in result.stdout.decode("utf-8", "replace").splitlines()]
    if (result.exit_code not in (0, 1) and not lines) or result.limit:
        return ToolResult(result.stderr.decode("utf-8", "replace").strip() or "search failed", ok=False)
    if not lines:
        return ToolResult("No line matches.")
    more = f"\n[{len(lines) - MAX_MATCHES} more]" if len(lines) > MAX_MATCHES else ""
    shown = cut_middle("\n".join(lines[:MAX_MATCHES]), characters)
    return ToolResult(shown + more, summary=f"{len(lines)} lines")


async def _look_up(name: str, path: str, toolbox: Toolbox) -> ToolResult:
    if toolbox.code is None:
        return ToolResult("There is no code map here: use `pattern`.", ok=False)
    try:
        symbol = await find_symbol(toolbox.code, name, toolbox.workspace, path)
    except OvernightError as error:
        return ToolResult(f"{error.message}\nUse `pattern`.", ok=False)
    if not symbol.definitions and not symbol.references:
        near = f" Names like it: {', '.join(symbol.near)}." if symbol.near else ""
        return ToolResult(f"Nothing is defined or referred to as {symbol.name}.{near}")
    lines = [f"definitions of {symbol.name}:", *map(_place, symbol.definitions)]
    if not symbol.definitions:
        lines = [f"{symbol.name} is not defined in this repository's source files."]
    if symbol.references:
        lines += [f"references, in {symbol.files} files:", *map(_place, symbol.references)]
    found = f"{len(symbol.definitions)} definitions, {symbol.files} files refer to it"
    return ToolResult(cut_middle("\n".join(lines), toolbox.limits.result_characters), summary=found)


def _place(place: Place) -> str:
    return f"{place.path}:{place.line}:{place.text}"
