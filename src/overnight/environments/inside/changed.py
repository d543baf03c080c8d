"""Tells git inside a sandbox which paths may differ from the snapshot: what the overlay's upper layer holds.

Run by git as `core.fsmonitor`, version 2 of githooks(5): a token, then paths, each ended by a NUL. Any doubt
ends it with an error, and git looks at every file.
"""

import os
import sys

UPPER = b"/overnight/upper/"


def main() -> int:
    """Print the token and the paths."""
    answer = [b"upper"]
    pending = [b""]
    while pending:
        folder = pending.pop()
        names: set[bytes] = set()
        with os.scandir(UPPER + folder) as entries:
            for entry in entries:
                names.add(entry.name)
                if not folder and entry.name == b".git":
                    continue
                if entry.is_dir(follow_symlinks=False):
                    pending.append(folder + entry.name + b"/")
                else:
                    answer.append(folder + entry.name)
        # A directory that shows nothing from below may hide what was there: everything in it is in doubt.
        if folder and names.issuperset(os.listdir(folder)):  # noqa: PTH208
            answer += [folder[:-1], folder]  # what was there may have been a file, or a directory
    sys.stdout.buffer.write(b"\0".join(answer) + b"\0")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except OSError:
        sys.exit(1)
