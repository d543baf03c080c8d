"""`apply_patch`: edits in the V4A format, all of them or none."""

from collections.abc import Mapping
from posixpath import join, normpath
from typing import Any, Literal

from overnight.agents.tools.interface import Toolbox, ToolResult
from overnight.agents.tools.patch_apply import update_text
from overnight.agents.tools.patch_format import AddFile, DeleteFile, Section, UpdateFile, parse_patch
from overnight.domain.conversation import ToolSpec
from overnight.domain.errors import PatchError
from overnight.domain.events import FileChanged, PolicyBlocked
from overnight.environments.protected import is_protected

MAX_FILE_BYTES = 8 * 1024**2
GRAMMAR = """\
*** Begin Patch
*** Update File: path/relative/to/the/root.py
@@ def name_of_the_function(
 three lines of context
-a line to remove
+a line to add
 three lines of context
*** Add File: path/new.py
+every line starts with a plus
*** Delete File: path/old.py
*** End Patch"""


class ApplyPatch:
    """Edits files. Relative paths only; nothing is written unless every part applies."""

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
        )

    async def run(self, arguments: Mapping[str, Any], toolbox: Toolbox) -> ToolResult:
        """Apply the patch and return one `A|M|D path` line a file."""
        text = arguments.get("patch", arguments.get("input"))
        if not isinstance(text, str):
            return ToolResult("`patch` must be a string", ok=False)
        return apply_patch(text, toolbox)


def apply_patch(text: str, toolbox: Toolbox, directory: str = "") -> ToolResult:
    """Apply a patch whose paths start at `directory`; an error leaves every file as it was."""
    try:
        staged = _stage(parse_patch(text), toolbox, directory)
        changes = {path: change for path, change in staged.items() if _change(*change) is not None}
        _write(changes, toolbox)
    except PatchError as error:
        return ToolResult("\n".join(part for part in (error.message, error.hint) if part), ok=False)
    except OSError as error:
        return ToolResult(f"The patch cannot be written: {error.strerror}", ok=False)
    lines: list[str] = []
    for path, (before, after) in changes.items():
        change = _change(before, after)
        assert change is not None
        old, new = (before or "").splitlines(), (after or "").splitlines()
        before_lines, after_lines = set(old), set(new)
        toolbox.events.emit(
            FileChanged(
                path=path,
                change=change,
                added=sum(line not in before_lines for line in new),
                removed=sum(line not in after_lines for line in old),
            )
        )
        lines.append(f"{change[0].upper()} {path}")
    if not lines:
        return ToolResult("The patch changes nothing: the files already look like this.", ok=False)
    return ToolResult("Done. Changed files:\n" + "\n".join(lines), summary=", ".join(lines))


def _write(changes: Mapping[str, tuple[str | None, str | None]], toolbox: Toolbox) -> None:
    """Write all changes, or put back those that were written when one cannot be."""
    written: list[str] = []
    try:
        for path, (_, after) in changes.items():
            _put(path, after, toolbox)
            written.append(path)
    except (PatchError, OSError):
        for path in reversed(written):
            _put(path, changes[path][0], toolbox)
        raise


def _put(path: str, text: str | None, toolbox: Toolbox) -> None:
    if text is None:
        toolbox.workspace.delete(path)
    else:
        toolbox.workspace.write(path, text.encode())


def _change(before: str | None, after: str | None) -> Literal["added", "modified", "deleted"] | None:
    if before == after:
        return None
    if before is None:
        return "added"
    return "deleted" if after is None else "modified"


def _stage(
    sections: tuple[Section, ...], toolbox: Toolbox, directory: str
) -> dict[str, tuple[str | None, str | None]]:
    """Return path → (text before, text after) for the whole patch, without writing anything."""
    staged: dict[str, tuple[str | None, str | None]] = {}

    def current(path: str) -> str | None:
        return staged[path][1] if path in staged else _read(toolbox, path)

    def put(path: str, text: str | None) -> None:
        before = staged[path][0] if path in staged else _read(toolbox, path)
        staged[path] = (before, text)

    for section in sections:
        path = _checked(section.path, toolbox, directory)
        match section:
            case AddFile():
                put(path, section.text)
            case DeleteFile():
                if current(path) is None:
                    raise PatchError(f"{path}: cannot delete it, there is no such file")
                put(path, None)
            case UpdateFile():
                text = current(path)
                if text is None:
                    raise PatchError(f"{path}: cannot update it, there is no such file")
                updated = update_text(path, text, section.chunks) if section.chunks else text
                if section.move_to is not None:
                    put(path, None)
                    path = _checked(section.move_to, toolbox, directory)
                put(path, updated)
    return staged


def _checked(path: str, toolbox: Toolbox, directory: str) -> str:
    """Return the path from the root, or raise: absolute, outside, `.git` and protected paths are refused."""
    if path.startswith(("/", "~")) or "\\" in path or "\0" in path:
        raise PatchError(f"{path}: use a path relative to the repository's root")
    whole = normpath(join(directory, path))
    parts = whole.split("/")
    if whole == "." or parts[0] == ".." or any(part.lower() == ".git" for part in parts):
        raise PatchError(f"{path}: outside the repository's files")
    if is_protected(whole, toolbox.protected, toolbox.base_paths):
        toolbox.events.emit(PolicyBlocked(what="protected file", detail=whole))
        raise PatchError(f"{whole}: this file is protected (existing tests and the checks' configuration)")
    return whole


def _read(toolbox: Toolbox, path: str) -> str | None:
    content = toolbox.workspace.read(path)
    if content is None:
        return None
    if len(content) > MAX_FILE_BYTES:
        raise PatchError(f"{path}: larger than {MAX_FILE_BYTES} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise PatchError(f"{path}: not a UTF-8 text file") from None
