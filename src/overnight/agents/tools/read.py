"""`read`: a part of a file, with line numbers."""

from collections.abc import Mapping
from typing import Any

from overnight.agents.tools.interface import Toolbox, ToolResult, cut_middle
from overnight.domain.conversation import ToolSpec
from overnight.domain.errors import PatchError

DEFAULT_LINES = 250


class Read:
    """Shows lines of one text file."""

    spec = ToolSpec(
        name="read",
        description="Read lines of a text file, each with its number.",
        parameters={
            "type": "object",
            "properties": {
                "path": {"type": "string", "description": "Relative to the repository's root."},
                "start": {"type": "integer", "description": "First line, from 1. Default 1."},
                "lines": {"type": "integer", "description": f"How many. Default {DEFAULT_LINES}."},
            },
            "required": ["path"],
            "additionalProperties": False,
        },
    )

    def summary(self, arguments: Mapping[str, Any]) -> str:
        """Return the file's name."""
        return str(arguments.get("path", ""))[:120]

    async def run(self, arguments: Mapping[str, Any], toolbox: Toolbox) -> ToolResult:
        """Return the lines asked for."""
        path = arguments.get("path")
        if not isinstance(path, str):
            return ToolResult("`path` must be a string", ok=False)
        try:
            content = toolbox.workspace.read(path)
        except PatchError as error:
            return ToolResult(error.message, ok=False)
        if content is None:
            return ToolResult(f"{path}: no such file", ok=False)
        if b"\0" in content[:4096]:
            return ToolResult(f"{path}: a binary file of {len(content)} bytes", ok=False)
        lines = content.decode("utf-8", "replace").splitlines()
        start = max(1, _whole(arguments.get("start"), 1))
        shown = lines[start - 1 : start - 1 + max(1, _whole(arguments.get("lines"), DEFAULT_LINES))]
        body = "\n".join(f"{start + offset}\t{line}" for offset, line in enumerate(shown))
        end = start + len(shown) - 1
        return ToolResult(f"{cut_middle(body)}\n[lines {start}-{end} of {len(lines)}]")


def _whole(value: object, default: int) -> int:
    return min(value, 10**9) if isinstance(value, int) and not isinstance(value, bool) else default
