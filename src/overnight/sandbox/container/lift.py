"""Makes listeners in the network namespace of a running container and hands them out.

    python -I -m overnight.sandbox.container.lift PID DESCRIPTOR

A process of its own, because whoever enters a namespace stays there. It enters the user namespace of that
process too where it is another one, which its maker may (setns(2)). What it made goes over the socket
DESCRIPTOR: one message, the kinds and ports as JSON, the sockets as SCM_RIGHTS.
"""

import asyncio
import contextlib
import ctypes
import json
import os
import socket
import sys
from pathlib import Path
from typing import Final

from overnight.domain.errors import SandboxUnavailableError
from overnight.sandbox.interface import Listeners
from overnight.sandbox.native.network import capture_all, make_listeners, raise_loopback

_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000
_MOST: Final = 32
_SECONDS: Final = 120.0


def _enter(process: int, name: str, flag: int) -> None:
    if Path(f"/proc/{process}/ns/{name}").readlink() == Path(f"/proc/self/ns/{name}").readlink():
        return
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(f"/proc/{process}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
    if libc.setns(descriptor, flag) != 0:
        raise OSError(ctypes.get_errno(), f"setns({name})")
    os.close(descriptor)


def main() -> None:
    """Enter, listen, hand out."""
    process, descriptor = int(sys.argv[1]), int(sys.argv[2])
    host = Path("/proc/self/ns/net").readlink()
    with contextlib.suppress(PermissionError):
        _enter(process, "user", _NEW_USER)
    _enter(process, "net", _NEW_NETWORK)
    if Path("/proc/self/ns/net").readlink() == host:
        raise SystemExit("the container has the host's network")
    raise_loopback()
    capture_all()
    made = make_listeners()
    with socket.socket(fileno=descriptor) as channel:
        names = json.dumps([(kind, port) for kind, port, _ in made]).encode()
        socket.send_fds(channel, [names], [listener.fileno() for _, _, listener in made])


async def lift_listeners(init: int) -> Listeners:
    """Return listeners in the network namespace of `init`, made by a process that enters it.

    Raises:
        SandboxUnavailableError: the namespace cannot be entered from here.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-m", "overnight.sandbox.container.lift"),
            *(str(init), str(theirs.fileno())),
            pass_fds=(theirs.fileno(),),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env={},
            cwd="/",
        )
        try:
            async with asyncio.timeout(_SECONDS):
                said = (await process.communicate())[1].decode(errors="replace").strip().splitlines()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode != 0:
            raise SandboxUnavailableError(
                f"The container's network cannot be answered: {said[-1] if said else process.returncode}"
            )
        message, descriptors, _, _ = socket.recv_fds(ours, 4096, _MOST)
    streams, datagrams = dict[int, socket.socket](), dict[int, socket.socket]()
    for (kind, port), descriptor in zip(json.loads(message), descriptors, strict=True):
        (streams if kind == "streams" else datagrams)[port] = socket.socket(fileno=descriptor)
    return Listeners(streams=streams, datagrams=datagrams)


if __name__ == "__main__":
    main()
