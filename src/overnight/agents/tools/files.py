"""Changes of files by tools: what may be touched, all written or none, and told as events."""

from collections.abc import Mapping
from difflib import SequenceMatcher
from posixpath import join, normpath
from typing import Literal

import msgspec

from overnight.agents.tools.interface import Toolbox, ToolResult
from overnight.domain.errors import PatchError
from overnight.domain.events import FileChanged, PolicyBlocked
from overnight.domain.patch import EXECUTABLE, SYMLINK
from overnight.environments.protected import is_protected

MAX_FILE_BYTES = 8 * 1024**2
_COUNTED_LINES = 2_000
"""Texts with more lines are counted by what they hold, not line by line."""


class FileState(msgspec.Struct, frozen=True):
    """A file's text, None where there is none, and whether it is executable."""

    text: str | None
    executable: bool = False


NONE = FileState(None)
Changes = Mapping[str, tuple[FileState, FileState]]
"""Path → what was there and what shall be there."""


def checked_path(path: str, toolbox: Toolbox, directory: str = "") -> str:
    """Return the path from the root.

    Raises:
        PatchError: it is absolute, outside, in `.git`, or protected.
    """
    if path.startswith(("/", "~")) or "\\" in path or "\0" in path or not _encodes(path):
        raise PatchError(f"{path}: use a path relative to the repository's root")
    whole = normpath(join(directory, path))
    parts = whole.split("/")
    if whole == "." or parts[0] == ".." or any(part.lower() == ".git" for part in parts):
        raise PatchError(f"{path}: outside the repository's files")
    if is_protected(whole, toolbox.protected, toolbox.base_paths):
        toolbox.events.emit(PolicyBlocked(what="protected file", detail=whole))
        raise PatchError(f"{whole}: this file is protected (existing tests and the checks' configuration)")
    return whole


def state_of(path: str, toolbox: Toolbox) -> FileState:
    """Return how a file stands.

    Raises:
        PatchError: it is a link, too large, or no text in UTF-8.
    """
    mode = toolbox.workspace.mode(path)
    if mode == SYMLINK:
        raise PatchError(f"{path}: a symbolic link; change it by a command")
    content = toolbox.workspace.read(path)
    if content is None:
        return NONE
    if len(content) > MAX_FILE_BYTES:
        raise PatchError(f"{path}: larger than {MAX_FILE_BYTES:,} bytes")
    try:
        return FileState(content.decode(), mode == EXECUTABLE)
    except UnicodeDecodeError:
        raise PatchError(f"{path}: not a UTF-8 text file") from None


def change_files(changes: Changes, toolbox: Toolbox) -> ToolResult:
    """Write all changes and return one `A|M|D path` line a file.

    Raises:
        PatchError: one of them cannot be; then every file is as it was.
    """
    real = {path: change for path, change in changes.items() if change[0] != change[1]}
    if not real:
        return ToolResult("Nothing changes: the files already look like this.", ok=False)
    _write(real, toolbox)
    lines: list[str] = []
    for path, (before, after) in real.items():
        change = _kind(before, after)
        added, removed = _counts(before.text or "", after.text or "")
        toolbox.events.emit(FileChanged(path=path, change=change, added=added, removed=removed))
        lines.append(f"{change[0].upper()} {path}")
    return ToolResult("Done. Changed files:\n" + "\n".join(lines), summary=", ".join(lines))


def _write(changes: Changes, toolbox: Toolbox) -> None:
    """Write all changes, or put back those that were written when one cannot be."""
    written: list[str] = []
    # Deletions first: a file may give way to a directory of its name.
    for path, (_, after) in sorted(changes.items(), key=lambda item: item[1][1].text is not None):
        try:
            _put(path, after, toolbox)
        except (PatchError, OSError, UnicodeError) as error:
            for done in reversed(written):
                _put(done, changes[done][0], toolbox)
            if isinstance(error, PatchError):
                raise
            why = error.strerror if isinstance(error, OSError) else "it is no text that UTF-8 can hold"
            raise PatchError(f"{path} cannot be written: {why}") from error
        written.append(path)


def _put(path: str, state: FileState, toolbox: Toolbox) -> None:
    if state.text is None:
        toolbox.workspace.delete(path)
    else:
        toolbox.workspace.write(path, state.text.encode(), state.executable)


def _encodes(path: str) -> bool:
    try:
        path.encode()
    except UnicodeError:
        return False
    return True


def _kind(before: FileState, after: FileState) -> Literal["added", "modified", "deleted"]:
    if before.text is None:
        return "added"
    return "deleted" if after.text is None else "modified"


def _counts(before: str, after: str) -> tuple[int, int]:
    """Return how many lines were added and removed."""
    old, new = before.split("\n"), after.split("\n")
    if old[-1] == "":
        old.pop()
    if new[-1] == "":
        new.pop()
    if max(len(old), len(new)) > _COUNTED_LINES:
        before_lines, after_lines = set(old), set(new)
        return (
            sum(line not in before_lines for line in new),
            sum(line not in after_lines for line in old),
        )
    same = sum(block.size for block in SequenceMatcher(None, old, new, autojunk=False).get_matching_blocks())
    return len(new) - same, len(old) - same
