"""What a sandbox is made of, as the plain values that travel to its first process."""

from collections.abc import Iterable
from math import ceil
from pathlib import Path
from typing import Any

from overnight.domain.limits import Limits
from overnight.sandbox.interface import WORKSPACE, Bind, SandboxSpec
from overnight.sandbox.view import ETC_FOLDERS, HOME, SYSTEM_FOLDERS, memory_folder_bytes

Plan = dict[str, Any]

_MEMORY = [("/dev/shm", 0o1777), ("/tmp", 0o1777), (HOME, 0o777)]  # noqa: S108
"""Folders in memory and their modes; a sandbox with a scratch directory covers the last two."""
_PENDING_SIGNALS = 4096


def _bind(source: Path | str, target: str, *, writable: bool = False, mapped: bool = False) -> Plan:
    return {"source": str(source), "target": target, "writable": writable, "mapped": mapped}


def base_plan(
    owner: tuple[int, int],
    etc: Path,
    filter_of_calls: bytes,
    landlock: bool,
    network: str,
    tools: tuple[Bind, ...],
) -> Plan:
    """Return what sandboxes with one network and the same tools have in common, so that it can be made ahead.

    Args:
        owner: the uid and gid of everything inside, and of its files on disk.
        etc: what `write_etc` made.
        filter_of_calls: what `seccomp_filter` returned.
        landlock: whether the kernel has it.
        network: as in `SandboxSpec`.
        tools: programs of the host outside the system's folders.
    """
    mounts: list[Plan] = []
    links: list[tuple[str, str]] = []
    for name in SYSTEM_FOLDERS:
        path = Path(name)
        if path.is_symlink():
            links.append((name, str(path.readlink())))
        elif path.is_dir():
            mounts.append(_bind(name, name))
    mounts.append(_bind(etc, "/etc"))
    mounts += [_bind(f"/etc/{name}", f"/etc/{name}") for name in ETC_FOLDERS if (etc / name).is_dir()]
    if network == "host":
        for name in ("/etc/resolv.conf", "/etc/hosts"):
            # Often a link into /run, which stays hidden: bind what it points to.
            if Path(name).exists():
                mounts.append(_bind(Path(name).resolve(), name))
    mounts += [_bind(bind.source, bind.target) for bind in tools]
    return {
        "kind": repr((network, tools)),
        "uid": owner[0],
        "gid": owner[1],
        "hostname": "overnight",
        "network": network,
        "mounts": mounts,
        "links": links,
        "folders": [HOME, WORKSPACE],
        "memory": _MEMORY,
        "memory_bytes": memory_folder_bytes(Limits()),
        "filter": filter_of_calls.hex(),
        "landlock": landlock,
    }


def claim_plan(spec: SandboxSpec, binds: Iterable[Bind], *, bound_processes: bool) -> Plan:
    """Return what one attempt adds: its files, where it may write, its limits."""
    limits = spec.limits
    mounts: list[Plan] = []
    if spec.scratch is not None:
        mounts.append(_bind(spec.scratch / "tmp", "/tmp", writable=True, mapped=True))  # noqa: S108
        mounts.append(_bind(spec.scratch / "home", HOME, writable=True, mapped=True))
    if spec.lower:
        if spec.work is None:
            raise ValueError("an overlay workspace needs a work directory")
        overlay = {
            "lower": [str(layer) for layer in spec.lower], "upper": str(spec.upper), "work": str(spec.work),
        }  # fmt: skip
        mounts.append({"target": WORKSPACE, "overlay": overlay})
    else:
        mounts.append(_bind(spec.upper, WORKSPACE, writable=True, mapped=True))
    mounts += [_bind(bind.source, bind.target, writable=bind.writable) for bind in binds]
    # These have owners; what we add is root's, for all to read.
    mounts += [_bind(bind.source, bind.target, writable=bind.writable, mapped=True) for bind in spec.binds]
    bounds = {
        "CORE": 0,
        "FSIZE": limits.file_bytes,
        "NOFILE": limits.open_files,
        "CPU": ceil(limits.cpu_seconds) + 1,
        # Counts against whoever started us too, except where each sandbox has a user of its own.
        "SIGPENDING": _PENDING_SIGNALS,
    }
    if bound_processes:
        bounds["NPROC"] = limits.processes + 1  # the first is ours
    memory = memory_folder_bytes(limits)
    return {
        "mounts": mounts,
        "memory": [] if memory == memory_folder_bytes(Limits()) else [target for target, _ in _MEMORY],
        "memory_bytes": memory,
        "writable": [
            WORKSPACE, "/tmp", HOME, "/dev/shm",  # noqa: S108
            *(bind.target for bind in (*binds, *spec.binds) if bind.writable),
        ],
        "limits": bounds,
    }  # fmt: skip
