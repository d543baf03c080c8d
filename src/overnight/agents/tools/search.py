"""`search`: lines that match a pattern, found inside the sandbox."""

from collections.abc import Mapping
from typing import Any

from overnight.agents.tools.interface import Toolbox, ToolResult, cut_middle
from overnight.domain.conversation import ToolSpec
from overnight.sandbox.interface import Command

MAX_MATCHES = 200


class Search:
    """Greps the workspace. It runs in the sandbox since a hostile pattern can burn any CPU it gets."""

    read_only = True
    spec = ToolSpec(
        name="search",
        description="Find lines that match an extended regular expression (grep -E), as path:line:text.",
        parameters={
            "type": "object",
            "properties": {
                "pattern": {"type": "string"},
                "path": {"type": "string", "description": "File or directory. Default: everything."},
            },
            "required": ["pattern"],
            "additionalProperties": False,
        },
    )

    def summary(self, arguments: Mapping[str, Any]) -> str:
        """Return the pattern."""
        return str(arguments.get("pattern", ""))[:120]

    async def run(self, arguments: Mapping[str, Any], toolbox: Toolbox) -> ToolResult:
        """Return at most `MAX_MATCHES` lines."""
        pattern, path = arguments.get("pattern"), arguments.get("path", ".")
        if not isinstance(pattern, str) or not pattern or not isinstance(path, str):
            return ToolResult("`pattern` must be a non-empty string and `path` a string", ok=False)
        argv = (
            "grep", "-rnHIE", "--exclude-dir=.git", "--exclude-dir=node_modules", "--exclude-dir=__pycache__",
            "-e", pattern, "--", path or ".",
        )  # fmt: skip
        result = await toolbox.run(Command(argv=argv, seconds=30))
        if result.exit_code > 1 or result.limit:
            return ToolResult(result.stderr.decode("utf-8", "replace").strip() or "search failed", ok=False)
        lines = [
            line.removeprefix("./")[:300] for line in result.stdout.decode("utf-8", "replace").splitlines()
        ]
        if not lines:
            return ToolResult("No line matches.")
        more = f"\n[{len(lines) - MAX_MATCHES} more]" if len(lines) > MAX_MATCHES else ""
        return ToolResult(
            cut_middle("\n".join(lines[:MAX_MATCHES]), toolbox.limits.result_characters) + more,
            summary=f"{len(lines)} lines",
        )
