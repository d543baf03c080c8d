"""Which changes of a patch must not reach verification: protected files, and files that stand in for them."""

from collections.abc import Callable, Collection, Sequence
from pathlib import PurePosixPath

from overnight.domain.patch import FileChange

_BYTECODE = (".pyc", ".pyo")
_NATIVE = (".so", ".pyd")


def divide(
    changes: Sequence[FileChange], base_files: Collection[str], is_protected: Callable[[str], bool]
) -> tuple[list[FileChange], list[str]]:
    """Split a patch into the changes to verify and the sorted paths that stay as on the base."""
    kept: list[FileChange] = []
    restored: list[str] = []
    for change in changes:
        path = change.path
        added = change.content is not None and path not in base_files
        if is_protected(path) or (
            added and (_covers(path, base_files, is_protected) or stands_in(path, base_files, is_protected))
        ):
            restored.append(path)
        else:
            kept.append(change)
    return kept, sorted(restored)


def stands_in(path: str, base_files: Collection[str], is_protected: Callable[[str], bool]) -> bool:
    """Say whether Python would load the new file `path` in place of a protected source file.

    Bytecode is never accepted: it can be loaded instead of a source that looks untouched.
    """
    place = PurePosixPath(path)
    if place.suffix in _BYTECODE or "__pycache__" in place.parts:
        return True
    sources = ["/".join(place.parts[:depth]) + ".py" for depth in range(1, len(place.parts))]
    if place.suffix in _NATIVE:
        sources.append(str(place.with_name(place.name.split(".")[0] + ".py")))
    return any(source in base_files and is_protected(source) for source in sources)


def _covers(path: str, base_files: Collection[str], is_protected: Callable[[str], bool]) -> bool:
    """Say whether a file or link would take the place of a directory that holds protected files."""
    above = f"{path}/"
    return any(file.startswith(above) and is_protected(file) for file in base_files)
