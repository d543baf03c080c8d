"""What each way of isolating can do on this machine, found by running it."""

from collections.abc import Awaitable, Callable

import msgspec

from overnight.domain.errors import OvernightError
from overnight.domain.limits import Limits
from overnight.sandbox.cgroup import create_cgroup
from overnight.sandbox.container.backend import ContainerBackend
from overnight.sandbox.interface import SandboxBackend
from overnight.sandbox.native.backend import NamespacesBackend
from overnight.sandbox.native.landlock import version as landlock_version
from overnight.sandbox.processes import counts_processes_apart


class Examination(msgspec.Struct, frozen=True, kw_only=True):
    """One backend on this machine. `enforces` says for each bound how it is kept, or that it is not."""

    name: str
    works: bool
    safe: bool
    """Whether it isolates at all."""
    problem: str = ""
    hint: str = ""
    networks: tuple[str, ...] = ()
    lasting: bool = False
    enforces: dict[str, str] = {}


async def examine(name: str, choose: Callable[[str], Awaitable[SandboxBackend]]) -> Examination:
    """Run a backend's self-test and say what it can enforce; a failure is part of the answer."""
    safe = name != "none"
    try:
        backend = await choose(name)
    except OvernightError as error:
        return Examination(name=name, works=False, safe=safe, problem=error.message, hint=error.hint)
    return Examination(
        name=name,
        works=True,
        safe=safe,
        networks=tuple(sorted(backend.networks)),
        lasting=backend.lasting,
        enforces=_enforces(backend) | {"users": await _users(backend)},
    )


async def _users(backend: SandboxBackend) -> str:
    """Say who commands are to the kernel, which counts some things for a user and not for a sandbox."""
    if backend.owner is None:
        return "whoever started Overnight, for all sandboxes"
    if isinstance(backend, NamespacesBackend):
        try:
            why = await backend.shares_user()
        except OvernightError as error:
            why = error.message
        return f"one for all sandboxes ({why})" if why else "one of its own for each sandbox"
    return "one for all sandboxes"


def _enforces(backend: SandboxBackend) -> dict[str, str]:
    if isinstance(backend, ContainerBackend):
        return backend.enforces()
    kinds = _kinds_of_group() if backend.owner is not None else frozenset[str]()
    confined = backend.name != "none"
    group = bool(kinds)
    processes = "control group" if group else "not enforced"
    if not group and confined and counts_processes_apart():
        processes = "per process limit of the sandbox's own user (RLIMIT_NPROC)"
    freezer = "freezer" in kinds and backend.lasting
    return {
        "time": "timer",
        "memory": "control group" if group else ("watched" if confined else "watched, as far as it is seen"),
        "processes": processes,
        "cpu": "control group, RLIMIT_CPU" if "cpu" in kinds else "watched, RLIMIT_CPU",
        "files": "RLIMIT_FSIZE, RLIMIT_NOFILE",
        "disk": "watched",
        "output": "read no faster than allowed; a flood is stopped",
        "freeze": "control group" if freezer else "signals",
        "network": "own namespace" if confined else "not enforced",
        "landlock": _landlock(backend),
    }


def _landlock(backend: SandboxBackend) -> str:
    if backend.name != "namespaces":
        return "not used"
    version = landlock_version()
    return f"version {version}" if version else "not in this kernel"


def _kinds_of_group() -> frozenset[str]:
    """Return what a control group of ours can do: `limits`, `cpu`, `freezer`; empty when there is none."""
    group = create_cgroup(Limits())
    if group is None:
        return frozenset()
    kinds = {"limits"}
    if group.cpu_seconds() is not None:
        kinds.add("cpu")
    if group.freezes:
        kinds.add("freezer")
    group.remove()
    return frozenset(kinds)
