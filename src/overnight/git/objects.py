"""Reading a mirror: trees, files and differences. Nothing here starts a filter or a diff driver."""

from collections.abc import Iterable, Sequence

import msgspec

from overnight.domain.errors import GitError, PatchError
from overnight.domain.patch import FileChange
from overnight.git.mirror import Mirror
from overnight.git.run import decode, encode, run_git

GITLINK = 0o160000
DIRECTORY = 0o040000
NO_DRIVERS = ("--no-ext-diff", "--no-textconv", "--no-color")


class TreeEntry(msgspec.Struct, frozen=True):
    """A file, link or submodule of a commit. `size` is -1 for a submodule, or where it was not asked for."""

    path: str
    mode: int
    oid: str
    size: int


class LineCount(msgspec.Struct, frozen=True):
    """How many lines of a file a patch adds and removes; both None for binary files."""

    path: str
    added: int | None
    removed: int | None


async def tree_of(mirror: Mirror, commit: str) -> str:
    """Return the id of a commit's tree."""
    answer = await run_git(
        "rev-parse", "--verify", "--end-of-options", f"{commit}^{{tree}}", git_dir=mirror.path
    )
    return answer.text


async def list_tree(mirror: Mirror, commit: str, sizes: bool = True) -> list[TreeEntry]:
    """Return everything in the commit's tree, sorted by path as git sorts. Without `sizes` it is quicker."""
    options = ["-r", "-z", "--full-tree", *(["-l"] if sizes else [])]
    answer = await run_git("ls-tree", *options, commit, git_dir=mirror.path)
    entries: list[TreeEntry] = []
    for record in answer.stdout.split(b"\0")[:-1]:
        words, _, path = record.partition(b"\t")
        mode, _, oid, *size = words.split()
        known = int(size[0]) if size and size[0] != b"-" else -1
        entries.append(TreeEntry(decode(path), int(mode, 8), oid.decode(), known))
    return entries


async def read_objects(mirror: Mirror, names: Sequence[str]) -> list[bytes | None]:
    """Return the blobs that `names` (ids, or `commit:path`) stand for, in order; None for what is no blob."""
    if not names:
        return []
    if any("\n" in name for name in names):
        raise PatchError("a path has control characters")
    question = b"".join(encode(name) + b"\n" for name in names)
    answer = (await run_git("cat-file", "--batch", git_dir=mirror.path, stdin=question)).stdout
    found: list[bytes | None] = []
    at = 0
    for name in names:
        end = answer.index(b"\n", at)
        line = answer[at:end]
        words = line.split(b" ")
        at = end + 1
        if len(words) == 3 and words[1] in (b"blob", b"tree", b"commit", b"tag") and words[2].isdigit():
            size = int(words[2])
            found.append(answer[at : at + size] if words[1] == b"blob" else None)
            at += size + 1
        elif not line.endswith((b" missing", b" submodule")):
            raise GitError(f"cannot read {name!r} from the mirror")
        else:
            found.append(None)
    return found


async def read_files(mirror: Mirror, commit: str, paths: Iterable[str]) -> dict[str, bytes]:
    """Return the contents of those paths that are files (or links: their targets) in the commit."""
    wanted = list(dict.fromkeys(paths))
    contents = await read_objects(mirror, [f"{commit}:{path}" for path in wanted])
    return {path: content for path, content in zip(wanted, contents, strict=True) if content is not None}


async def read_file(mirror: Mirror, commit: str, path: str) -> bytes | None:
    """Return a file's content in the commit (a link's target), or None where there is none."""
    return (await read_files(mirror, commit, [path])).get(path)


async def diff(mirror: Mirror, base: str, head: str, renames: bool = True) -> bytes:
    """Return the unified difference of two commits. Binary files are in it in full, for `git apply`."""
    find = "--find-renames" if renames else "--no-renames"
    options = ("-r", "-p", "--binary", "--full-index", find, *NO_DRIVERS)
    return (await run_git("diff-tree", *options, base, head, "--", git_dir=mirror.path)).stdout


async def numstat(mirror: Mirror, base: str, head: str) -> list[LineCount]:
    """Return the size of the difference, file by file."""
    options = ("-r", "-z", "--numstat", "--no-renames", *NO_DRIVERS)
    answer = await run_git("diff-tree", *options, base, head, "--", git_dir=mirror.path)
    return _line_counts(answer.stdout)


def _line_counts(answer: bytes) -> list[LineCount]:
    counts: list[LineCount] = []
    for record in answer.split(b"\0")[:-1]:
        added, removed, path = record.split(b"\t", 2)
        binary = added == b"-"
        counts.append(
            LineCount(decode(path), None if binary else int(added), None if binary else int(removed))
        )
    return counts


async def diff_and_numstat(mirror: Mirror, base: str, head: str) -> tuple[bytes, list[LineCount]]:
    """Return `diff` and `numstat` of two commits, at the price of one git process where no file moved."""
    options = ("-r", "--numstat", "-p", "--binary", "--full-index", "--find-renames", *NO_DRIVERS)
    answer = (await run_git("diff-tree", *options, base, head, "--", git_dir=mirror.path)).stdout
    counts, _, text = answer.partition(b"\n\n")
    if not text or b" => " in counts or b'"' in counts:
        # A moved file is one line here and two of `numstat`; an odd name is quoted.
        return await diff(mirror, base, head), await numstat(mirror, base, head)
    return text, _line_counts(counts.replace(b"\n", b"\0") + b"\0")


async def changed_files(mirror: Mirror, base: str, head: str) -> list[FileChange]:
    """Return every file that differs, as it is in `head`.

    Raises:
        PatchError: the difference changes a submodule, which cannot be said as a file.
    """
    options = ("-r", "-z", "--raw", "--no-abbrev", "--no-renames")
    answer = (await run_git("diff-tree", *options, base, head, "--", git_dir=mirror.path)).stdout
    fields = answer.split(b"\0")[:-1]
    files: list[tuple[str, int, str | None]] = []
    for header, raw_path in zip(fields[::2], fields[1::2], strict=True):
        _, mode, _, oid, status = header.split(b" ")
        path = decode(raw_path)
        if int(mode, 8) == GITLINK:
            raise PatchError(f"the change moves a submodule: {path}")
        files.append((path, int(mode, 8), None if status == b"D" else oid.decode()))
    contents = iter(await read_objects(mirror, [oid for _, _, oid in files if oid is not None]))
    return [
        FileChange(path=path, mode=mode, content=None if oid is None else next(contents))
        for path, mode, oid in files
    ]
