"""`read`: a part of a file, with line numbers, or of a long output that was cut."""

from collections.abc import Mapping
from typing import Any

from overnight.agents.tools.interface import ARTIFACT, Toolbox, ToolResult, cut_middle, refusal
from overnight.domain.conversation import ToolSpec
from overnight.domain.errors import OvernightError

DEFAULT_LINES = 250


class Read:
    """Shows lines of one text file, or of an artifact by its name."""

    read_only = True
    spec = ToolSpec(
        name="read",
        description="Read lines of a text file, each with its number.",
        parameters={
            "type": "object",
            "properties": {
                "path": {
                    "type": "string",
                    "description": "Relative to the repository's root; or artifact:NAME for the whole of an "
                    "output that was cut.",
                },
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
            if path.startswith(ARTIFACT):
                content: bytes | None = toolbox.artifact(path)
            else:
                content = toolbox.workspace.read(path)
        except OvernightError as error:
            return refusal(error)
        except (OSError, ValueError) as error:
            return ToolResult(f"{path!r:.200} cannot be read: {error!s:.200}", ok=False)
        if content is None:
            return ToolResult(f"{path}: no such file", ok=False)
        if b"\0" in content[:4096]:
            return ToolResult(f"{path}: a binary file of {len(content)} bytes", ok=False)
        # By line feeds alone, as patches and compilers count.
        lines = content.decode("utf-8", "replace").replace("\r\n", "\n").split("\n")
        if lines[-1] == "":
            lines.pop()
        start = max(1, _whole(arguments.get("start"), 1))
        shown = lines[start - 1 : start - 1 + max(1, _whole(arguments.get("lines"), DEFAULT_LINES))]
        body = "\n".join(f"{start + offset}\t{line}" for offset, line in enumerate(shown))
        end = start + len(shown) - 1
        body = cut_middle(body, toolbox.limits.result_characters, "; ask for fewer lines")
        return ToolResult(f"{body}\n[lines {start}-{end} of {len(lines)}]")


def _whole(value: object, default: int) -> int:
    return min(value, 10**9) if isinstance(value, int) and not isinstance(value, bool) else default
