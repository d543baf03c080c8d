"""Which sandbox this machine offers: chosen by running one, never by looking for files."""

import asyncio
import contextlib
import hashlib
import os
import platform
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Literal

from overnight import __version__
from overnight.domain.errors import SandboxUnavailableError
from overnight.sandbox.bubblewrap.arguments import Bubblewrap, find_bubblewrap
from overnight.sandbox.bubblewrap.backend import BubblewrapBackend
from overnight.sandbox.container.trial import open_containers
from overnight.sandbox.interface import Command, SandboxBackend, SandboxSpec
from overnight.sandbox.native.backend import NamespacesBackend
from overnight.sandbox.processes import OWNER
from overnight.sandbox.seccomp import ARCHITECTURES
from overnight.sandbox.tools import HostTools
from overnight.sandbox.unconfined import UnconfinedBackend

SandboxKind = Literal["auto", "namespaces", "bubblewrap", "container", "none"]

_NONE = "or give up isolation by name: `--sandbox none`."
_SYSCTLS = (
    ("kernel/unprivileged_userns_clone", "0", "sysctl -w kernel.unprivileged_userns_clone=1"),
    ("user/max_user_namespaces", "0", "sysctl -w user.max_user_namespaces=15000"),
    (
        "kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0 (or install the system's bubblewrap)",
    ),
)
"""What turns user namespaces off, the value that does, and what turns them on again."""


async def choose(
    kind: SandboxKind, *, state: Path, search: str, home: Path,
    prefix: Path | None = None, rustup: Path | None = None, python: Path | None = None,
) -> SandboxBackend:  # fmt: skip
    """Return the sandbox of that kind, after having run it here once (a few tens of milliseconds).

    A success is remembered in `state`, for this kernel, user and program.

    Args:
        kind: `auto` is the strongest that works here, and never `none`.
        state: a directory of ours that lasts; what sandboxes need is kept there, secrets never.
        search: the caller's PATH, to find programs.
        home: the caller's home directory, to find version managers.
        prefix: the base prefix of the Python to fall back to; the running one's when None.
        rustup: where rustup keeps its toolchains; `.rustup` in `home` when None.
        python: the interpreter for processes that make sandboxes; the running one when None.

    Raises:
        SandboxUnavailableError: the machine cannot do it; message and hint make one line.
    """
    tools = HostTools(search, home, prefix or Path(sys.base_prefix), rustup)
    if kind == "none":
        return UnconfinedBackend(search)
    _check_machine()
    state = state.absolute()
    state.mkdir(parents=True, exist_ok=True)
    if kind == "container":
        return await open_containers(tools, state=state, search=search, home=home, other=OWNER)
    refused: list[SandboxUnavailableError] = []
    for name in ("namespaces", "bubblewrap") if kind == "auto" else (kind,):
        try:
            return await _try(name, tools, state, search, python)
        except SandboxUnavailableError as error:
            refused.append(error)
    if kind == "auto":
        with contextlib.suppress(SandboxUnavailableError):
            return await open_containers(tools, state=state, search=search, home=home, other=OWNER)
    raise refused[-1]


async def _try(name: str, tools: HostTools, state: Path, search: str, python: Path | None) -> SandboxBackend:
    """Return that backend if it works here."""
    bubblewrap: Bubblewrap | None = None
    if name == "bubblewrap":
        if os.geteuid() == 0 and not Path("/usr/bin/setpriv").exists():
            raise SandboxUnavailableError(
                "Started by root, bubblewrap needs /usr/bin/setpriv to become somebody else",
                f"Install util-linux, run Overnight as another user, {_NONE}",
            )
        bubblewrap = find_bubblewrap(search)
        backend: SandboxBackend = BubblewrapBackend(bubblewrap, tools, state)
    else:
        backend = NamespacesBackend(tools, state, python)
    proof = state / f"works-{name}-{_key(bubblewrap, python)}"
    if not proof.exists():
        await self_test(backend, state)
        proof.touch()
    return backend


def _key(bubblewrap: Bubblewrap | None, python: Path | None) -> str:
    """Name the circumstances under which a self-test stays true; a restart of the machine is another."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    parts = (
        platform.release(),
        boot.read_text() if boot.is_file() else "",
        str(os.geteuid()),
        __version__,
        str(python or sys.executable) if bubblewrap is None else f"{bubblewrap.program} {bubblewrap.version}",
        *(_sysctl(name) for name, _, _ in _SYSCTLS),
    )
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _sysctl(name: str) -> str:
    with contextlib.suppress(OSError):
        return Path("/proc/sys", name).read_text().strip()
    return ""


def _check_machine() -> None:
    if sys.platform != "linux":
        raise SandboxUnavailableError(
            f"The sandbox needs Linux; this is {sys.platform}", f"Run Overnight in a Linux machine, {_NONE}"
        )
    if platform.machine() not in ARCHITECTURES:
        raise SandboxUnavailableError(
            f"There is no system-call filter for {platform.machine()} processors",
            f"Use one of {', '.join(ARCHITECTURES)}, {_NONE}",
        )


def _reason() -> tuple[str, str]:
    """Return the likeliest cause why namespaces do not work here, and its remedy."""
    if os.geteuid() != 0:
        for name, bad, remedy in _SYSCTLS:
            if _sysctl(name) == bad:
                return f"user namespaces are turned off ({name.replace('/', '.')}={bad})", f"Run `{remedy}`"
    if Path("/.dockerenv").exists() or Path("/run/.containerenv").exists():
        return (
            "this container may not make namespaces",
            "Start it with `--security-opt seccomp=unconfined --security-opt systempaths=unconfined`",
        )
    return "this machine does not let us make namespaces or overlays", "Run `overnight doctor`"


async def self_test(backend: SandboxBackend, state: Path) -> None:
    """Run one command that writes through an overlay, and see that it was confined.

    Raises:
        SandboxUnavailableError: it does not start, or does not hold.
    """
    folder = Path(tempfile.mkdtemp(prefix="self-test-", dir=state))
    try:
        for name in ("lower", "upper", "work"):
            (folder / name).mkdir()
            if backend.owner is not None:
                os.chown(folder / name, *backend.owner)
        (folder / "lower" / "base").write_text("base\n")
        spec = SandboxSpec(lower=(folder / "lower",), upper=folder / "upper", work=folder / "work")
        sandbox = backend.open(spec)
        script = "cat base && echo written > new && test ! -w /proc/sys/kernel/core_pattern && id -u"
        try:
            result = await asyncio.wait_for(sandbox.run(Command(script=script)), 20)
        finally:
            await sandbox.close()
        said = (result.stdout + result.stderr).decode(errors="replace").strip()
        new = folder / "upper" / "new"
        if result.exit_code != 0 or not new.is_file() or new.read_text() != "written\n":
            raise SandboxUnavailableError(f"the self-test failed: {said or result.exit_code}")
        if new.stat().st_uid == 0:
            raise SandboxUnavailableError("the self-test ran as root")
    except (SandboxUnavailableError, TimeoutError) as error:
        said = getattr(error, "message", "the self-test did not end")
        cause, remedy = _reason()
        raise SandboxUnavailableError(f"No sandbox: {cause}. {said}", f"{remedy}, {_NONE}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
