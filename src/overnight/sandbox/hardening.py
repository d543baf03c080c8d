"""What keeps a hostile program inside, beyond the ordinary, as cases for any backend that confines.

A case that says nothing about a backend raises `NotApplicable`.
"""

import asyncio
import contextlib
import os
import socket
import uuid
from collections.abc import Mapping
from pathlib import Path

import msgspec

from overnight.domain.errors import SandboxUnavailableError
from overnight.domain.limits import Limits
from overnight.sandbox.interface import Bind, Command, Listeners, SandboxSpec
from overnight.sandbox.native.root import OLD_ROOT
from overnight.sandbox.room import NotApplicable, Room, expect, expect_confined_processes, host_processes
from overnight.sandbox.view import HOME

_FIRST_PROCESS = """
for name in ("environ", "mem", "maps", "root", "cwd", "exe", "fd/0", "task/1/mem"):
    try:
        with open(f"/proc/1/{name}", "rb") as file:
            file.read(1)
        print("can read", name)
    except OSError:
        pass
try:
    open("/proc/1/mem", "r+b")
    print("can write memory")
except OSError:
    pass
import os, signal
for number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM, signal.SIGINT):
    try:
        os.kill(1, number)
    except OSError:
        pass
print(open("/proc/1/cmdline").read())
"""
_NESTED = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
for flags in (0x10000000, 0x20000, 0x40000000, 0x10020000):
    if libc.unshare(flags) == 0:
        print("unshare", hex(flags))
try:
    print("namespaces allowed:", open("/proc/sys/user/max_user_namespaces").read().strip())
except OSError:
    print("namespaces allowed: 0")
"""


async def the_first_process_is_closed(room: Room) -> None:
    """The sandbox's own first process can be neither read nor written nor ended from inside."""
    if not room.backend.lasting:
        raise NotApplicable("its first process lives for one command")
    await expect_confined_processes(room)
    sandbox = room.open()
    result = await sandbox.run(Command(argv=("python3", "-I", "-c", _FIRST_PROCESS)))
    expect(b"can " not in result.stdout, "its first process", result)
    expect(str(Path.cwd()).encode() not in result.stdout, "no path of the host in its command line", result)
    result = await sandbox.run(Command(script="echo alive"))
    expect(result.stdout == b"alive\n", "it survives signals", result)
    await sandbox.close()


async def nesting_is_refused(room: Room) -> None:
    """No user namespace can be made inside, by the filter and by the kernel's own count."""
    sandbox = room.open()
    result = await sandbox.run(Command(argv=("python3", "-I", "-c", _NESTED)))
    expect(b"unshare" not in result.stdout, "namespaces within", result)
    if room.backend.name == "namespaces":
        expect(result.stdout == b"namespaces allowed: 0\n", "the kernel's count", result)
    await sandbox.close()


async def settings_of_the_kernel_are_closed(room: Room) -> None:
    """Nothing under `/proc` that changes the kernel can be written, and what tells too much is empty."""
    script = (
        "find /proc/sys /proc/irq /proc/bus /proc/fs -writable -type f 2>/dev/null | head; "
        "for f in /proc/sysrq-trigger /proc/acpi /proc/scsi /proc/kcore; do "
        "test -e $f && test -w $f && (echo x > $f || touch $f/x) 2>/dev/null && echo can $f; done; "
        "cat /proc/kallsyms /proc/timer_list /proc/keys /proc/kmsg 2>/dev/null | head -c 100; true"
    )
    result = await room.run(script)
    if room.backend.name == "namespaces":
        expect(result.stdout == b"", "settings of the kernel", result)
    else:
        expect(b"can " not in result.stdout, "settings of the kernel", result)


async def descriptors_are_its_own(room: Room) -> None:
    """A command has its three streams and nothing else that was open on the host or in the supervisor."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        os.set_inheritable(server.fileno(), True)
        result = await room.run(
            "ls -l /proc/self/fd | tail -n +2 | wc -l; exec 9</proc/self/fd; ls /proc/$$/fd"
        )
    lines = result.stdout.split()
    expect(lines[0] == b"4", "three streams, and the folder being read", result)


async def attempts_are_apart(room: Room) -> None:
    """Two sandboxes see neither each other's processes nor each other's files in memory."""
    token = str(uuid.uuid4().int)[:18]
    one, two = room.open(), room.open()
    going = await one.start(
        Command(script=f"echo x > /tmp/{token}; echo y > /dev/shm/{token}; sleep 3600; :")
    )
    await one.run(Command(script=f"while ! test -e /dev/shm/{token}; do sleep 0.01; done", seconds=60))
    # The token goes in by standard input: on the command line it would be found in this sandbox itself.
    script = (
        "read -r token; ls /tmp /dev/shm | grep $token; grep -l $token /proc/[0-9]*/cmdline 2>/dev/null; true"
    )
    result = await two.run(Command(script=script, stdin=f"{token}\n".encode()))
    expect(result.exit_code == 0 and result.stdout == b"", "another attempt", result)
    expect(bool(host_processes(token)), "the other lives")
    await going.stop(0.1)
    await one.close()
    await two.close()


class Answering:
    """Stands in for the proxy: says what arrived where, and that is all."""

    def __init__(self) -> None:
        self.listeners: Listeners | None = None
        self.commands: list[str] = []
        self.closed = False

    @property
    def variables(self) -> Mapping[str, str]:
        """Say that we are here."""
        return {"ANSWERED": "yes"}

    @property
    def binds(self) -> tuple[Bind, ...]:
        """Nothing."""
        return ()

    def serve(self, listeners: Listeners) -> None:
        """Take the listeners."""
        self.listeners = listeners

    def asking(self, command: str) -> None:
        """Remember the command."""
        self.commands.append(command)

    async def close(self) -> None:
        """Close the listeners."""
        self.closed = True
        if self.listeners is not None:
            for each in (*self.listeners.streams.values(), *self.listeners.datagrams.values()):
                each.close()


_CONNECT = """
import socket
for family, host, port in ((2, "192.0.2.1", 80), (2, "198.51.100.7", 443), (2, "127.0.0.1", 3128),
                           (2, "127.0.0.1", 1080), (2, "192.0.2.53", 53)):
    with socket.socket(family, socket.SOCK_STREAM) as s:
        s.settimeout(60)
        s.connect((host, port))
        print(host, port, s.recv(100).decode())
with socket.socket(2, socket.SOCK_DGRAM) as s:
    s.settimeout(60)
    s.sendto(b"name?", ("192.0.2.99", 53))
    data, sender = s.recvfrom(100)
    print(sender[0], data.decode())
for port in (81, 8080):
    with socket.socket() as s:
        try:
            s.connect(("192.0.2.1", port))
            print("connected to", port)
        except OSError:
            pass
"""


async def everything_asked_for_arrives(room: Room) -> None:
    """With a network of `egress`, a connection to any address lands on our listeners, and nowhere else."""
    if "egress" not in room.backend.networks:
        raise NotApplicable("it has no network that is answered")
    answering = Answering()
    sandbox = room.open(network="egress", egress=answering)
    await sandbox.run(Command(argv=("true",)))
    listeners = answering.listeners
    assert listeners is not None
    expect(sorted(listeners.streams) == [53, 80, 443, 1080, 3128], "ports")
    expect(sorted(listeners.datagrams) == [53], "datagrams")
    loop = asyncio.get_running_loop()

    async def answer(listener: socket.socket) -> None:
        listener.setblocking(False)
        while True:
            connection, _ = await loop.sock_accept(listener)
            with connection:
                await loop.sock_sendall(connection, str(connection.getsockname()[:2]).encode())

    async def answer_datagrams(listener: socket.socket) -> None:
        listener.setblocking(False)
        data, sender = await loop.sock_recvfrom(listener, 1000)
        await loop.sock_sendto(listener, data.upper(), sender)

    tasks = [asyncio.create_task(answer(each)) for each in listeners.streams.values()]
    tasks.append(asyncio.create_task(answer_datagrams(listeners.datagrams[53])))
    try:
        result = await sandbox.run(Command(argv=("python3", "-I", "-c", _CONNECT)))
        expected = "".join(
            f"{host} {port} ('::ffff:{host}', {port})\n"
            for host, port in (
                ("192.0.2.1", 80), ("198.51.100.7", 443), ("127.0.0.1", 3128), ("127.0.0.1", 1080),
                ("192.0.2.53", 53),
            )
        )  # fmt: skip
        text = result.stdout.decode().replace("('192", "('::ffff:192").replace("('127", "('::ffff:127")
        expect(text == expected + "192.0.2.99 NAME?\n", "what arrives", result)
        result = await sandbox.run(Command(script="echo $ANSWERED; cat /etc/resolv.conf"))
        expect(result.stdout == b"yes\nnameserver 127.0.0.1\n", "variables and names", result)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    await sandbox.close()
    expect(answering.closed and answering.commands[-1] == "", "it is told the end")


async def a_link_left_behind_leads_nowhere(room: Room) -> None:
    """A link that one sandbox leaves in its home does not lead the making of the next one to the host."""
    if room.backend.name != "namespaces":
        raise NotApplicable("it is about how these are made")
    place = room.folder / uuid.uuid4().hex[:8]
    upper, outside = place / "upper", place / "outside"
    for path in (place, upper, outside):
        path.mkdir()
        if room.backend.owner is not None:
            os.chown(path, *room.backend.owner)
    limits = Limits(command_seconds=30)
    spec = SandboxSpec(lower=(), upper=upper, work=None, scratch=place / "scratch", limits=limits)
    first = room.backend.open(spec)
    result = await first.run(Command(script=f"ln -s {OLD_ROOT}{outside} ~/kept"))
    await first.close()
    expect(result.exit_code == 0, "a link", result)
    bind = Bind(source=upper, target=f"{HOME}/kept/inner")
    second = room.backend.open(msgspec.structs.replace(spec, binds=(bind,)))
    with contextlib.suppress(SandboxUnavailableError):
        await second.run(Command(argv=("true",)))
    await second.close()
    expect(not any(outside.iterdir()), "nothing was made on the host")


async def the_layers_are_not_named(room: Room) -> None:
    """What is mounted as the workspace says nothing of where its layers lie on the host."""
    if room.backend.name != "namespaces":
        raise NotApplicable("it is about how these are made")
    sandbox = room.open()
    result = await sandbox.run(Command(script="grep -w overlay /proc/self/mountinfo"))
    await sandbox.close()
    expect(result.exit_code == 0 and b" /workspace " in result.stdout, "an overlay", result)
    expect(str(room.folder).encode() not in result.stdout, "its layers", result)


HARDENED = (
    the_layers_are_not_named,
    a_link_left_behind_leads_nowhere,
    the_first_process_is_closed,
    nesting_is_refused,
    settings_of_the_kernel_are_closed,
    descriptors_are_its_own,
    attempts_are_apart,
    everything_asked_for_arrives,
)
