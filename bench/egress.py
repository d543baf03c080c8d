"""A request through the egress proxy from a sandbox, against the same proxy from the host.

    python -m bench.egress

Both ask the same proxy for the same small page of a server on loopback, a connection each time, turn and turn
about; the client is the same program, so that what differs is only the way through the sandbox's listeners.
"""

import asyncio
import contextlib
import os
import shutil
import socket
import statistics
import sys
import tempfile
from pathlib import Path

import msgspec

from overnight.domain.events import Event
from overnight.domain.network import parse_network, policy_of
from overnight.domain.task import Limits
from overnight.sandbox.choose import choose
from overnight.sandbox.egress.opening import open_egress
from overnight.sandbox.interface import Command, Listeners, SandboxSpec

ROUNDS = 20
REQUESTS = 16
LIMITS = Limits(egress_requests=1_000_000, egress_rate=1_000_000)
CLIENT = """
import socket, sys, time
port, target, count = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
ask = f"GET http://{target}/ HTTP/1.1\\r\\nHost: {target}\\r\\nConnection: close\\r\\n\\r\\n".encode()
for _ in range(count):
    begun = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port)) as s:
        s.sendall(ask)
        got = b""
        while data := s.recv(65536):
            got += data
    assert got.startswith(b"HTTP/1.1 200"), got
    print((time.perf_counter() - begun) * 1000)
"""


class Medians(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds for a connection and a small request, and how many were measured of each."""

    direct: float
    """Without a proxy, for comparison."""
    host: float
    sandbox: float
    requests: int

    @property
    def ratio(self) -> float:
        """How much longer it takes from a sandbox."""
        return self.sandbox / self.host


async def measure(rounds: int = ROUNDS, requests: int = REQUESTS) -> Medians:
    """Return the medians of `rounds` times `requests` each way.

    Raises:
        SandboxUnavailableError: this machine has no sandbox.
        RuntimeError: its sandbox has no egress.
    """
    folder = Path(tempfile.mkdtemp(prefix="overnight-bench-egress-"))
    folder.chmod(0o755)
    try:
        return await _measure(folder, rounds, requests)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _measure(folder: Path, rounds: int, requests: int) -> Medians:
    backend = await choose("auto", state=folder / "state", search=os.environ["PATH"], home=Path.home())
    if "egress" not in backend.networks:
        raise RuntimeError(f"the sandbox `{backend.name}` has no egress")
    server = await asyncio.start_server(_answer, "127.0.0.1", 0)
    target = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    for name in ("lower", "upper", "work"):
        (folder / name).mkdir()
        if backend.owner is not None:
            os.chown(folder / name, *backend.owner)
    # The same proxy answers on a listener of the host's.
    listener = socket.create_server(("127.0.0.1", 0))
    events: list[Event] = []
    policy = policy_of(parse_network(target))
    outside = open_egress(policy, LIMITS, events.append, folder / "outside")
    inside = open_egress(policy, LIMITS, events.append, folder / "inside")
    outside.serve(Listeners(streams={3128: listener}, datagrams={}))
    spec = SandboxSpec(
        lower=(folder / "lower",),
        upper=folder / "upper",
        work=folder / "work",
        network="egress",
        egress=inside,
        limits=LIMITS,
        tools=("python3",),
    )
    sandbox = backend.open(spec)
    direct: list[float] = []
    host: list[float] = []
    contained: list[float] = []
    try:
        for _ in range(rounds):
            direct += await _from_host(target.rpartition(":")[2], target, requests)
            host += await _from_host(str(listener.getsockname()[1]), target, requests)
            command = Command(argv=("python3", "-I", "-c", CLIENT, "3128", target, str(requests)))
            result = await sandbox.run(command)
            if result.exit_code:
                raise RuntimeError(result.stderr.decode(errors="replace"))
            contained += _figures(result.stdout)
    finally:
        await sandbox.close()
        await outside.close()
        server.close()
    return Medians(
        direct=statistics.median(direct),
        host=statistics.median(host),
        sandbox=statistics.median(contained),
        requests=rounds * requests,
    )


async def _from_host(port: str, target: str, requests: int) -> list[float]:
    process = await asyncio.create_subprocess_exec(
        "python3", "-I", "-c", CLIENT, port, target, str(requests), stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await process.communicate()
    return _figures(printed)


def _figures(printed: bytes) -> list[float]:
    return [float(line) for line in printed.split()][1:]


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
        await writer.drain()
    writer.close()


def main() -> int:
    """Print the table."""
    medians = asyncio.run(measure())
    print(f"connection and small request, median of {medians.requests}, {os.cpu_count()} cores")
    print("| way | ms |\n|---|---:|")
    print(f"| host, without a proxy | {medians.direct:.2f} |")
    print(f"| host, by the proxy | {medians.host:.2f} |")
    print(f"| sandbox, by the proxy | {medians.sandbox:.2f} |")
    print(f"sandbox to host: {medians.ratio:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
