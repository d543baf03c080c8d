"""A small process of one thread that is copied into the first process of each sandbox.

Copying it costs a fraction of what copying the caller would; it imports everything that a supervisor will
need, because inside there is no package to import from. It ends, and every sandbox with it, when the
caller does.
"""

import contextlib
import gc
import os
import signal
import socket
from typing import Any, Final

from overnight.sandbox.native import messages, supervisor, syscalls
from overnight.sandbox.native.mounts import open_mount
from overnight.sandbox.native.users import effectively, open_map, write_file, write_maps

_NAMESPACES: Final = (
    syscalls.CLONE_NEWUSER
    | syscalls.CLONE_NEWNS
    | syscalls.CLONE_NEWPID
    | syscalls.CLONE_NEWIPC
    | syscalls.CLONE_NEWUTS
    | syscalls.CLONE_NEWCGROUP
)


def main(descriptor: int) -> None:
    """Make sandboxes as asked for on the socket `descriptor` until the caller goes away."""
    channel = socket.socket(fileno=descriptor)
    channel.set_inheritable(False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    syscalls.name_process("overnight")
    privileged = os.geteuid() == 0
    if privileged:
        os.setgroups([])
    signal.signal(signal.SIGCHLD, _reap)
    gc.collect()
    gc.freeze()
    # Up to here it told the caller why it cannot start; every sandbox would inherit that file.
    os.dup2(0, 2)
    messages.send(channel, {"ready": True})
    while (received := messages.receive(channel)) is not None:
        base, (control, *others) = received
        if "refresh" in base:
            _refresh(socket.socket(fileno=control), others, base["refresh"])
            continue
        _make(channel, socket.socket(fileno=control), base, privileged=privileged)


def _reap(*_: object) -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _make(channel: socket.socket, control: socket.socket, base: dict[str, Any], *, privileged: bool) -> None:
    """Start one sandbox, whose first process talks on `control`; a failure is told there too."""
    opened: list[int] = []
    released, release = os.pipe2(os.O_CLOEXEC)
    try:
        if privileged:
            for mount in base["mounts"]:
                opened.append(open_mount(mount, privileged=True))  # noqa: PERF401  closed on failure
        flags = _NAMESPACES | (0 if base["network"] == "host" else syscalls.CLONE_NEWNET)
        inside = (base["uid"], base["gid"])
        outside = inside if base["kuid"] is None else (base["kuid"], base["kuid"])
        with effectively(base["kuid"] or 0):
            process = syscalls.clone(flags)
            if process == 0:
                _become_first(channel, control, base, opened, (released, release))
        if not privileged:
            write_file(f"/proc/{process}/setgroups", "deny")
        write_maps(process, inside, outside, also_root=False)
        handles = [os.pidfd_open(process)]
        try:
            if not privileged:
                # Taken now: once it is not dumpable its namespaces are closed to us.
                handles += [os.open(f"/proc/{process}/ns/{kind}", os.O_RDONLY) for kind in ("user", "mnt")]
            messages.send(control, {"pid": process}, handles)
        finally:
            for handle in handles:
                os.close(handle)
        os.write(release, b"1")
        if base["map"]:  # meanwhile it builds its root
            _send_map(control, inside, outside)
    except OSError as error:
        with contextlib.suppress(OSError):
            where = f"{error.filename}: " if error.filename else ""
            messages.send(control, {"failed": f"{where}{error.strerror}"})
    finally:
        for descriptor in (*opened, released, release):
            os.close(descriptor)
        control.close()


def _refresh(reply: socket.socket, namespaces: list[int], path: str) -> None:
    """Have a mount of a sandbox look at the host's files anew, from a process that enters it for that.

    Args:
        reply: closed without a word when it fails.
        namespaces: the sandbox's user and mount namespaces.
    """
    process = os.fork()
    if process == 0:
        try:
            syscalls.enter(namespaces[0], syscalls.CLONE_NEWUSER)
            syscalls.enter(namespaces[1], syscalls.CLONE_NEWNS)
            mount = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)
            syscalls.forget_names(mount)
            messages.send(reply, {"refreshed": True})
        finally:
            os._exit(0)
    reply.close()
    for namespace in namespaces:
        os.close(namespace)


def _become_first(
    channel: socket.socket,
    control: socket.socket,
    base: dict[str, Any],
    opened: list[int],
    gate: tuple[int, int],
) -> None:
    try:
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
        channel.close()
        _enter_groups(control)
        released, release = gate
        os.close(release)
        if os.read(released, 1) != b"1":
            os._exit(0)
        os.close(released)
        supervisor.supervise(control, base, opened)
    finally:
        os._exit(1)


def _enter_groups(control: socket.socket) -> None:
    """Move this process, of one thread yet, into the control groups that the caller opened for it."""
    received = messages.receive(control)
    if received is None:
        os._exit(0)
    try:
        for file in received[1]:
            os.write(file, b"0")
            os.close(file)
    except OSError as error:
        messages.send(control, {"failed": f"the control group: {error.strerror}"})
        os._exit(1)


def _send_map(control: socket.socket, owner: tuple[int, int], shown: tuple[int, int]) -> None:
    """Send what mounts need to show files of `owner` as those of `shown`; nothing where that cannot be."""
    handles: list[int] = []
    try:
        with contextlib.suppress(OSError):
            handles.append(open_map(owner, shown))
        messages.send(control, {"map": True}, handles)
    finally:
        for handle in handles:
            os.close(handle)
