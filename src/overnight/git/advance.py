"""From one commit's checkout to another's, paying for what differs: changed entries, and the index."""

import hashlib
import shutil
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from overnight.domain.errors import GitError
from overnight.git.checkout import PROTECTION
from overnight.git.mirror import Mirror
from overnight.git.run import decode, encode, run_git


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A path that differs between two commits, as it is in the newer one. `mode` is 0 where it is gone."""

    path: str
    mode: int
    oid: str


async def count_changes(mirror: Mirror, old: str, new: str) -> int:
    """Return how many paths differ between two commits."""
    options = ("-r", "-z", "--name-only", "--no-renames")
    answer = await run_git("diff-tree", *options, old, new, "--", git_dir=mirror.path)
    return answer.stdout.count(b"\0")


async def changed_entries(mirror: Mirror, old: str, new: str) -> list[Entry]:
    """Return what differs between two commits, submodules included, in the index's order."""
    options = ("-r", "-z", "--raw", "--no-abbrev", "--no-renames")
    answer = await run_git("diff-tree", *options, old, new, "--", git_dir=mirror.path)
    fields = answer.stdout.split(b"\0")[:-1]
    entries: list[Entry] = []
    for header, path in zip(fields[::2], fields[1::2], strict=True):
        _, mode, _, oid, _ = header.split(b" ")
        entries.append(Entry(path=decode(path), mode=int(mode, 8), oid=oid.decode()))
    return sorted(entries, key=lambda entry: encode(entry.path))


async def advance_index(
    mirror: Mirror, old: Path, new: Path, entries: Sequence[Entry], sizes: Mapping[str, int], when: int
) -> None:
    """Write at `new` the index at `old` with `entries` changed: their files have the time `when`.

    `old` is one that we wrote ourselves: git on the host reads it. `sizes` are bytes by path.

    Raises:
        GitError: git refuses a path, or its index is not of the kind that we can read.
    """
    shutil.copyfile(old, new)
    lines = b"".join(
        b"%o %s\t%s\0" % (entry.mode, entry.oid.encode() if entry.mode else b"0" * 40, encode(entry.path))
        for entry in entries
    )
    if lines:
        await run_git(
            "update-index",
            "-z",
            "--index-info",
            git_dir=mirror.path,
            variables={"GIT_INDEX_FILE": str(new)},
            config=PROTECTION,
            stdin=lines,
        )
    kept = [entry for entry in entries if entry.mode and entry.mode != 0o160000]
    new.write_bytes(_with_states(new.read_bytes(), kept, sizes, when))


def _with_states(data: bytes, entries: Sequence[Entry], sizes: Mapping[str, int], when: int) -> bytes:
    """Return the index with times and sizes filled in, as git would find them.

    Format of the index: git's Documentation/gitformat-index.txt, version 2. `entries` are in its order.
    """
    if data[:8] != b"DIRC\0\0\0\2":
        raise GitError("git wrote an index of a version that cannot be read")
    changed = bytearray(data)
    times = struct.pack(">IIII", when, 0, when, 0)
    at = 12
    for entry in entries:
        at = _find_entry(data, entry, at)
        changed[at : at + 16] = times
        struct.pack_into(">I", changed, at + 36, sizes[entry.path] & 0xFFFFFFFF)
    changed[-20:] = hashlib.sha1(changed[:-20], usedforsecurity=False).digest()
    return bytes(changed)


def _find_entry(data: bytes, entry: Entry, start: int) -> int:
    """Return where the entry begins: 62 bytes before its path, if mode, id and length say so too."""
    path = encode(entry.path)
    head = struct.pack(">20sH", bytes.fromhex(entry.oid), min(len(path), 0xFFF))
    at = data.find(head + path + b"\0", start)
    if at < 0:
        raise GitError(f"git left {entry.path!r} out of the index")
    return at - 40
