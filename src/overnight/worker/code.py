"""The code map of a commit, read from its mirror."""

from collections.abc import Sequence
from pathlib import Path

from overnight.agents.codemap.cache import TagCache
from overnight.agents.codemap.code_map import CodeMap, Entry
from overnight.agents.codemap.languages import fingerprint
from overnight.domain.limits import Limits
from overnight.git.mirror import Mirror
from overnight.git.objects import list_tree, read_objects


def code_map(data: Path, mirror: Mirror, commit: str, limits: Limits) -> CodeMap:
    """Return the map of a commit, kept beneath the data directory; nothing is read before it is asked."""

    async def entries(sizes: bool) -> list[Entry]:
        tree = await list_tree(mirror, commit, sizes)
        return [Entry(one.path, one.mode, one.oid, one.size) for one in tree]

    async def read(blobs: Sequence[str]) -> list[bytes | None]:
        return await read_objects(mirror, blobs)

    return CodeMap(TagCache(data / "codemap", fingerprint()), entries, read, limits)
