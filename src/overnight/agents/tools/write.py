"""`write`: a whole file, new or in place of the one that is there."""

from collections.abc import Mapping
from typing import Any

from overnight.agents.tools.files import FileState, change_files, checked_path, state_of
from overnight.agents.tools.interface import Toolbox, ToolResult, refusal
from overnight.domain.conversation import ToolSpec
from overnight.domain.errors import PatchError


class Write:
    """Writes one file whole."""

    read_only = False
    spec = ToolSpec(
        name="write",
        description="Write a whole file: a new one, or in place of the one that is there.",
        parameters={
            "type": "object",
            "properties": {
                "path": {"type": "string", "description": "Relative to the repository's root."},
                "content": {"type": "string", "description": "All of the file's text."},
            },
            "required": ["path", "content"],
            "additionalProperties": False,
        },
    )

    def summary(self, arguments: Mapping[str, Any]) -> str:
        """Return the file's name."""
        return str(arguments.get("path", ""))[:120]

    async def run(self, arguments: Mapping[str, Any], toolbox: Toolbox) -> ToolResult:
        """Write the file and return one `A|M path` line."""
        path, content = arguments.get("path"), arguments.get("content")
        if not isinstance(path, str) or not isinstance(content, str):
            return ToolResult("`path` and `content` must be strings", ok=False)
        try:
            path = checked_path(path, toolbox)
            before = state_of(path, toolbox)
            return change_files({path: (before, FileState(content, before.executable))}, toolbox)
        except PatchError as error:
            return refusal(error)
        except OSError as error:
            return ToolResult(f"{path} cannot be written: {error.strerror}", ok=False)
