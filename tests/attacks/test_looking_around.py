"""A malicious agent that looks for what the host holds: variables, memory, descriptors, sockets."""

import contextlib
import os
import shlex
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attacks.scripted import Villain, shell

CANARY = "canary-0815-of-the-host"

LOOK = "env; cat /proc/self/environ /proc/*/environ /proc/*/cmdline 2>/dev/null | tr '\\0' '\\n'; ps auxe"
MEMORY = r"""
import glob, os, re
def mapped(pid):
    try:
        with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb") as memory:
            for line in maps:
                if "rw" not in line.split()[1] or "[v" in line: continue
                low, high = (int(end, 16) for end in line.split()[0].split("-"))
                try:
                    memory.seek(low)
                    for hit in re.findall(rb"canary-0815-[a-z-]+", memory.read(min(high - low, 1 << 24))):
                        print("found", hit, "in", pid)
                except (OSError, OverflowError): pass
    except OSError: pass
me = os.getpid()
for path in glob.glob("/proc/[0-9]*"):
    pid = int(path.split("/")[2])
    if pid != me: mapped(pid)
print("looked")
"""
TRACE = r"""
import ctypes, glob, os
libc = ctypes.CDLL(None, use_errno=True)
for path in glob.glob("/proc/[0-9]*"):
    pid = int(path.split("/")[2])
    if pid in (os.getpid(), os.getppid()): continue
    if libc.ptrace(0x4206, pid, 0, 0) == 0: print("attached to", pid)
    if libc.syscall(310, pid, 0, 0, 0, 0, 0) == 0: print("could read", pid)
print("tried")
"""
"""PTRACE_SEIZE, and process_vm_readv by its number on x86-64."""


@pytest.fixture
def rich(villain: Villain, monkeypatch: pytest.MonkeyPatch) -> Villain:
    """Return the agent on a host whose process holds a canary in its variables and its memory."""
    monkeypatch.setenv("OVERNIGHT_TEST_SECRET", CANARY)
    return villain


@pytest.mark.attack(17)
def test_variables_of_the_host_stay_there(rich: Villain) -> None:
    model = rich.house.script([{"text": "", "tool_calls": [shell(LOOK)]}, {"text": "ok"}])
    # A process of its own: the variables of this one, in its memory, were fixed when it started.
    started = rich.house.run(
        *("run", "Look around", "--repo", str(rich.repository), "--no-verify", "--json"),
        *("--sandbox", rich.backend, "--model", model),
        OPENAI_API_KEY=CANARY,
    )
    log = rich.house.run("task", "logs", started.json["task"], "--json").stdout
    assert "PATH=" in log, "the search was recorded"
    assert CANARY not in log


@pytest.mark.attack(17)
def test_memory_of_others_stays_closed(rich: Villain) -> None:
    held = bytearray(CANARY.encode())
    done = rich.attack(f"python3 -c {_quoted(MEMORY)}", f"python3 -c {_quoted(TRACE)}")
    assert bytes(held) == CANARY.encode(), "it was in memory all the time"
    assert "looked" in done.output
    assert "tried" in done.output
    assert "found" not in done.output, done.output
    assert "attached" not in done.output, done.output
    assert "could read" not in done.output, done.output


@pytest.mark.attack(17)
def test_no_core_is_left(villain: Villain) -> None:
    done = villain.attack(
        "ulimit -c unlimited; bash -c 'kill -SEGV $$'; echo core-$(ulimit -H -c)-over; find . -name 'core*'"
    )
    # A core would lie in the workspace, and so in the patch; a pattern that names a program runs it outside.
    assert "core-0-over" in done.output, done.output
    assert done.attempt["patch"] is None


@pytest.fixture
def sockets() -> Iterator[tuple[str, str]]:
    """Listen on an abstract address and on one in a folder, as agents and daemons of a desktop do."""
    with tempfile.TemporaryDirectory(prefix="overnight-agent-") as folder, contextlib.ExitStack() as stack:
        Path(folder).chmod(0o755)
        named, abstract = f"{folder}/agent.sock", f"overnight-{os.getpid()}-{Path(folder).name}"
        for address in (named, "\0" + abstract):
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(address)
            listener.listen()
        Path(named).chmod(0o777)
        yield named, abstract


KNOCK = """
import os, socket
usual = "/run/docker.sock", "/var/run/docker.sock", "/run/dbus/system_bus_socket"
for address in ({named!r}, chr(0) + {abstract!r}, *usual):
    try:
        socket.socket(socket.AF_UNIX).connect(address); print("reached", repr(address))
    except OSError as error: print("no", error.errno)
print({{name for name in os.environ if "SOCK" in name or "BUS" in name or "DOCKER" in name}} or "none named")
"""


@pytest.mark.attack(19)
def test_sockets_of_the_host_are_out_of_reach(
    villain: Villain, sockets: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    named, abstract = sockets
    monkeypatch.setenv("SSH_AUTH_SOCK", named)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{named}")
    knock = f"python3 -c {_quoted(KNOCK.format(named=named, abstract=abstract))}"
    done = villain.attack(knock)
    assert "reached" not in done.output, done.output
    assert "none named" in done.output, done.output
    control = villain.unprotected(knock)
    assert control.output.count("reached") >= 2, "without a sandbox both can be reached"


@pytest.mark.attack(19)
def test_no_descriptor_comes_along(villain: Villain, tmp_path: Path) -> None:
    (tmp_path / "open").write_text(CANARY)
    with (tmp_path / "open").open() as file:
        os.set_inheritable(file.fileno(), True)
        done = villain.attack(
            "for f in /proc/self/fd/*; do readlink $f; done; cat /proc/self/fd/[3-9]* 2>/dev/null; echo over"
        )
    assert str(tmp_path) not in done.output
    assert CANARY not in done.output
    assert "over" in done.output


@pytest.mark.attack(19)
def test_there_is_no_metadata_service(villain: Villain) -> None:
    ask = (
        "import socket\nfor host in ('169.254.169.254', 'fd00:ec2::254', '100.100.100.200'):\n"
        "    try:\n"
        "        with socket.create_connection((host, 80), 10) as link:\n"
        "            ask = b'GET /latest/meta-data/ HTTP/1.0\\r\\nHost: %s\\r\\n\\r\\n' % host.encode()\n"
        "            link.sendall(ask)\n"
        "            print('said', host, link.recv(1000).split(b'\\r\\n')[0])\n"
        "    except OSError as error: print('no', host)\n"
    )
    done = villain.attack(f"python3 -c {_quoted(ask)}")
    # Where every connection ends at the proxy, it is the proxy that answers: with a refusal.
    answers = [line for line in done.output.splitlines() if line.startswith(("said ", "no "))]
    assert len(answers) == 3, done.output
    assert all(line.startswith("no ") or " 403 " in line or " 400 " in line for line in answers), answers


def _quoted(script: str) -> str:
    return shlex.quote(script)
