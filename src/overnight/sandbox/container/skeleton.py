"""The root directory of containers that use the host's own programs: bare folders, made once."""

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from overnight.sandbox.interface import DEPENDENCIES, WORKSPACE
from overnight.sandbox.view import ETC_FOLDERS, HOME, SYSTEM_FOLDERS, write_etc

INIT = "/overnight/init"
"""The shell that is PID 1: a copy that nobody may read, which keeps its memory closed to the commands."""

_OWN = ("proc", "sys", "dev", "tmp", "run", "var", "overnight/control")
_FOLDERS = (*_OWN, HOME[1:], WORKSPACE[1:], DEPENDENCIES[1:])


def write_skeleton(state: Path, uid: int, gid: int) -> Path:
    """Make the directory below `state` and return it; one that is there is used again."""
    etc = write_etc(state, uid, gid)
    shell = Path("/bin/bash").stat()
    key = hashlib.sha256(repr((etc.name, shell.st_mtime_ns, shell.st_size, _FOLDERS)).encode()).hexdigest()
    skeleton = state / f"container-root-{key[:16]}"
    if skeleton.is_dir():
        return skeleton
    making = Path(tempfile.mkdtemp(prefix="container-root-making-", dir=state))
    for name in SYSTEM_FOLDERS:
        path = Path(name)
        if path.is_symlink():
            (making / name[1:]).symlink_to(path.readlink())
        elif path.is_dir():
            (making / name[1:]).mkdir()
    for name in _FOLDERS:
        (making / name).mkdir(parents=True, exist_ok=True)
    shutil.copytree(etc, making / "etc")
    shutil.copyfile("/bin/bash", making / INIT[1:])
    for path in (making, *making.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)
    (making / INIT[1:]).chmod(0o111)
    for name in ("tmp", HOME[1:]):  # the file systems that are mounted there take over the mode
        (making / name).chmod(0o1777)
    try:
        making.rename(skeleton)
    except OSError:  # another process was first
        shutil.rmtree(making, ignore_errors=True)
    return skeleton


def host_binds() -> list[tuple[str, str]]:
    """Return what of the host is bound read-only, as (source, target)."""
    binds = [(name, name) for name in SYSTEM_FOLDERS if Path(name).is_dir() and not Path(name).is_symlink()]
    binds += [(f"/etc/{name}", f"/etc/{name}") for name in ETC_FOLDERS if os.path.isdir(f"/etc/{name}")]  # noqa: PTH112
    return binds
