"""`apply_patch`: edits in the V4A format, all of them or none."""

from collections.abc import Mapping
from typing import Any

import msgspec

from overnight.agents.tools.files import NONE, FileState, change_files, checked_path, state_of
from overnight.agents.tools.interface import Toolbox, ToolResult, refusal
from overnight.agents.tools.patch_apply import update_text
from overnight.agents.tools.patch_format import AddFile, DeleteFile, Section, UpdateFile, parse_patch
from overnight.domain.conversation import ToolSpec
from overnight.domain.errors import PatchError

GRAMMAR = """\
*** Begin Patch
*** Update File: path/relative/to/the/root.py
@@ name_of_the_class or function, where the lines below occur more than once; may be given again to narrow
 three lines of context
-a line to remove
+a line to add
 three lines of context
*** Update File: path/old_name.py
*** Move to: path/new_name.py
*** Add File: path/new.py
+every line starts with a plus
*** Delete File: path/old.py
*** End Patch"""


class ApplyPatch:
    """Edits files. Relative paths only; nothing is written unless every part applies."""

    read_only = False
    raw_argument = "patch"
    spec = ToolSpec(
        name="apply_patch",
        description=f"Edit files with a patch of this form, relative paths only:\n{GRAMMAR}",
        parameters={
            "type": "object",
            "properties": {"patch": {"type": "string", "description": "The whole patch."}},
            "required": ["patch"],
            "additionalProperties": False,
        },
    )

    def summary(self, arguments: Mapping[str, Any]) -> str:
        """Return the files that the patch names."""
        lines = str(arguments.get("patch", arguments.get("input", ""))).splitlines()
        return ", ".join(
            line.split(": ", 1)[1].strip() for line in lines if line.startswith("*** ") and ": " in line
        )[:400]

    async def run(self, arguments: Mapping[str, Any], toolbox: Toolbox) -> ToolResult:
        """Apply the patch and return one `A|M|D path` line a file."""
        text = arguments.get("patch", arguments.get("input"))
        if not isinstance(text, str):
            return ToolResult("`patch` must be a string", ok=False)
        return apply_patch(text, toolbox)


def apply_patch(text: str, toolbox: Toolbox, directory: str = "") -> ToolResult:
    """Apply a patch whose paths start at `directory`; an error leaves every file as it was."""
    try:
        return change_files(_stage(parse_patch(text), toolbox, directory), toolbox)
    except PatchError as error:
        return refusal(error)
    except OSError as error:
        return ToolResult(f"The patch cannot be applied: {error.strerror}", ok=False)


def _stage(
    sections: tuple[Section, ...], toolbox: Toolbox, directory: str
) -> dict[str, tuple[FileState, FileState]]:
    """Return path → (before, after) for the whole patch, without writing anything."""
    staged: dict[str, tuple[FileState, FileState]] = {}

    def current(path: str) -> FileState:
        return staged[path][1] if path in staged else state_of(path, toolbox)

    def put(path: str, after: FileState) -> None:
        before = staged[path][0] if path in staged else state_of(path, toolbox)
        staged[path] = (before, after)

    for section in sections:
        path = checked_path(section.path, toolbox, directory)
        match section:
            case AddFile():
                put(path, FileState(section.text, current(path).executable))
            case DeleteFile():
                if current(path).text is None:
                    raise PatchError(f"{path}: cannot delete it, there is no such file")
                put(path, NONE)
            case UpdateFile():
                state = current(path)
                if state.text is None:
                    raise PatchError(f"{path}: cannot update it, there is no such file")
                if section.chunks:
                    state = msgspec.structs.replace(state, text=update_text(path, state.text, section.chunks))
                if section.move_to is not None:
                    put(path, NONE)
                    path = checked_path(section.move_to, toolbox, directory)
                put(path, state)
    return staged
