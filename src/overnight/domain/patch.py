"""A change to files as plain values, the same for workspaces, commits and verification."""

import msgspec

REGULAR = 0o100644
EXECUTABLE = 0o100755
SYMLINK = 0o120000


class FileChange(msgspec.Struct, frozen=True, kw_only=True):
    """A file as it shall be after the change.

    `content` is None for a deletion and the target for a symbolic link.
    """

    path: str
    mode: int
    content: bytes | None
