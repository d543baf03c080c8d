"""Which changes of a patch must not reach verification: protected files, and files that stand in for them."""

import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import PurePosixPath

from overnight.domain.patch import FileChange

_RUNNERS = frozenset(
    {"pytest", "_pytest", "py", "pluggy", "iniconfig", "packaging", "exceptiongroup", "tomli", "pygments"}
    | {"sitecustomize", "usercustomize", "coverage", "pytest_cov", "xdist", "hypothesis", "_hypothesis_pytestplugin"}
    | {"overnight_pytest", "overnight_unittest", "overnight_record"}
)
_ROOTS = frozenset({".", "src", "lib", "python"})
_BYTECODE = (".pyc", ".pyo", ".pth", ".egg-link")
_NATIVE = (".so", ".pyd")


def divide(
    changes: Sequence[FileChange], base_files: Iterable[str], is_protected: Callable[[str], bool]
) -> tuple[list[FileChange], list[str]]:
    """Split a patch into the changes to verify and the sorted paths that stay as on the base."""
    files = set(base_files)
    guarded = {path for path in files if is_protected(path)}
    above = {str(parent) for path in guarded for parent in PurePosixPath(path).parents}
    after = files | {change.path for change in changes if change.content is not None}
    kept: list[FileChange] = []
    restored: list[str] = []
    for change in changes:
        path = change.path
        hidden = (
            path in above  # a file or link in place of a directory with protected files
            or is_protected(path)
            or (change.content is not None and path not in files and shadows(path, after, guarded))
        )
        if hidden:
            restored.append(path)
        else:
            kept.append(change)
    return kept, sorted(restored)


def shadows(path: str, files: set[str], guarded: set[str]) -> bool:
    """Say whether Python would load the new file `path` in place of a test, the runner or the library.

    Bytecode is never accepted: it can stand in for a source file that looks untouched.
    """
    place = PurePosixPath(path)
    if place.suffix in _BYTECODE or "__pycache__" in place.parts:
        return True
    parts = place.parts
    stem = place.name.split(".")[0]
    if place.suffix in _NATIVE and str(place.with_name(f"{stem}.py")) in guarded:
        return True
    for depth in range(1, len(parts)):  # a package in place of a module: tests/test_x/__init__.py
        if "/".join(parts[:depth]) + ".py" in guarded:
            return True
    if place.suffix != ".py" and place.suffix not in _NATIVE:
        return False
    folder, name = (place.parent, stem) if stem != "__init__" else (place.parent.parent, place.parent.name)
    reserved = name in sys.stdlib_module_names or name in _RUNNERS
    return reserved and _is_import_root(folder, files, guarded)


def _is_import_root(folder: PurePosixPath, files: set[str], guarded: set[str]) -> bool:
    """Say whether a test run is likely to have `folder` itself on Python's search path."""
    if str(folder) in _ROOTS:
        return True
    if str(folder / "__init__.py") in files:
        return False
    return any(path.endswith(".py") and PurePosixPath(path).parent == folder for path in guarded)
