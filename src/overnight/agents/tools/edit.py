"""`edit`: one text in one file gives way to another; for models that write no patches."""

from collections.abc import Mapping
from typing import Any

import msgspec

from overnight.agents.tools.files import change_files, checked_path, state_of
from overnight.agents.tools.interface import Toolbox, ToolResult, refusal
from overnight.agents.tools.patch_apply import nearest
from overnight.domain.conversation import ToolSpec
from overnight.domain.errors import PatchError

SHOWN_PLACES = 10


class Edit:
    """Search and replace. The old text must stand there exactly once, unless all are meant."""

    read_only = False
    spec = ToolSpec(
        name="edit",
        description=(
            "Replace a text in a file by another one. `old` must be copied exactly from the file, with its "
            "indentation, and occur once: give as many lines as that takes. Without `read`'s line numbers."
        ),
        parameters={
            "type": "object",
            "properties": {
                "path": {"type": "string", "description": "Relative to the repository's root."},
                "old": {"type": "string", "description": "The text that is there."},
                "new": {"type": "string", "description": "The text that takes its place."},
                "all": {"type": "boolean", "description": "Replace every occurrence. Default false."},
            },
            "required": ["path", "old", "new"],
            "additionalProperties": False,
        },
    )

    def summary(self, arguments: Mapping[str, Any]) -> str:
        """Return the file's name."""
        return str(arguments.get("path", ""))[:120]

    async def run(self, arguments: Mapping[str, Any], toolbox: Toolbox) -> ToolResult:
        """Replace, and return one `M path` line."""
        path, old, new = (arguments.get(name) for name in ("path", "old", "new"))
        if not isinstance(path, str) or not isinstance(old, str) or not isinstance(new, str) or not old:
            return ToolResult("`path`, `old` and `new` must be strings, and `old` not empty", ok=False)
        try:
            path = checked_path(path, toolbox)
            state = state_of(path, toolbox)
            if state.text is None:
                raise PatchError(f"{path}: there is no such file")
            text = replace_text(path, state.text, old, new, everywhere=arguments.get("all") is True)
            return change_files({path: (state, msgspec.structs.replace(state, text=text))}, toolbox)
        except PatchError as error:
            return refusal(error)
        except OSError as error:
            return ToolResult(f"{path} cannot be edited: {error.strerror}", ok=False)


def replace_text(path: str, text: str, old: str, new: str, *, everywhere: bool = False) -> str:
    """Return `text` with `old` replaced by `new`; a file with CR LF keeps them.

    Raises:
        PatchError: `old` is not there, or more than once and not all are meant.
    """
    if "\r\n" in text and old not in text:
        old, new = (part.replace("\r\n", "\n").replace("\n", "\r\n") for part in (old, new))
    count = text.count(old)
    if count == 0:
        lines = text.replace("\r\n", "\n").split("\n")
        raise PatchError(f"{path}: the text `old` is not there", nearest(lines, old.splitlines() or [old]))
    if count > 1 and not everywhere:
        places: list[str] = []
        at = text.find(old)
        while at >= 0 and len(places) < SHOWN_PLACES:
            places.append(str(text.count("\n", 0, at) + 1))
            at = text.find(old, at + len(old))
        raise PatchError(
            f"{path}: the text `old` stands there {count} times, at lines {', '.join(places)}",
            "Give more lines around it, or set `all`",
        )
    return text.replace(old, new)
