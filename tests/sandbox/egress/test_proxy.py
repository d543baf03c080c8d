"""The proxy lets through what the policy names, by every door, and records it."""

import asyncio
import socket
from pathlib import Path

import pytest

from overnight.sandbox.egress.substitution import RequestHead
from overnight.sandbox.interface import Listeners
from tests.sandbox.egress.outside import CHARGE, dns_query, inside, outside

pytestmark = pytest.mark.anyio
GET = b"GET /v1/thing HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n\r\n"


async def test_a_request_through_the_http_proxy(tmp_path: Path) -> None:
    async with (
        outside(tmp_path, "api.example.com") as world,
        inside(world, tmp_path, "api.example.com") as box,
    ):
        box.proxy.asking("curl api.example.com")
        came = await box.proxied("http://api.example.com/v1/thing")
        assert came.startswith(b"HTTP/1.1 200"), came
        assert CHARGE in came
        assert [request.line for request in world.requests] == ["GET /v1/thing HTTP/1.1"]
        (event,) = box.allowed
        assert (event.host, event.port, event.method) == ("api.example.com", 80, "GET")
        assert event.command == "curl api.example.com"
        assert event.bytes_up > 0
        assert event.bytes_down >= len(CHARGE)
        assert box.blocked == []


async def test_every_door_leads_to_an_allowed_host(tmp_path: Path) -> None:
    async with (
        outside(tmp_path, "api.example.com") as world,
        inside(world, tmp_path, "api.example.com") as box,
    ):
        assert CHARGE in await box.secure("api.example.com", GET, trust=world.roots)
        assert CHARGE in await box.secure("api.example.com", GET, trust=world.roots, door=443)
        assert CHARGE in await box.talk(80, GET)
        name = b"api.example.com"
        socks = b"\x05\x01\x00\x03" + bytes((len(name),)) + name + b"\x00\x50"
        assert CHARGE in await box.talk(1080, b"\x05\x01\x00", socks, GET)
        assert CHARGE in await box.talk(1080, b"\x04\x01\x00\x50\0\0\0\x01me\0" + name + b"\0", GET)
        assert len(world.requests) == 5
        assert box.blocked == []


async def test_names_are_answered_here_and_lead_back(tmp_path: Path) -> None:
    async with (
        outside(tmp_path, "api.example.com") as world,
        inside(world, tmp_path, "api.example.com") as box,
    ):
        answer = await box.asks("API.example.com")
        assert answer[3] & 15 == 0
        address = answer[-4:]
        assert address[0] == 198
        assert (await box.asks("api.example.com"))[-4:] == address
        assert world.lookups == [], "nobody was asked"
        # By the address that stands for the name.
        came = await box.talk(1080, b"\x05\x01\x00", b"\x05\x01\x00\x01" + address + b"\x00\x50", GET)
        assert CHARGE in came
        empty = await box.asks("api.example.com", 28)
        assert (empty[3] & 15, empty[6:8]) == (0, b"\0\0"), "no IPv6, and no other name"
        stream = dns_query("api.example.com")
        assert address in await box.talk(53, len(stream).to_bytes(2) + stream, until=address)
        assert (await box.asks("other.example.com"))[3] & 15 == 3
        assert [(event.host, event.method) for event in box.blocked] == [("other.example.com", "DNS")]


async def test_requests_are_read_where_rules_ask_for_it(tmp_path: Path) -> None:
    rule = "api.example.com/v1 GET,HEAD"
    async with outside(tmp_path, "api.example.com") as world, inside(world, tmp_path, rule) as box:
        assert CHARGE in await box.secure("api.example.com", GET)
        assert CHARGE in await box.secure("api.example.com", GET, door=443)
        assert b"403 " in await box.secure(
            "api.example.com", GET.replace(b"GET", b"PUT"), until=b"not allowed"
        )
        assert b"403 " in await box.secure("api.example.com", GET.replace(b"v1", b"v2"), until=b"not allowed")
        assert [request.line for request in world.requests] == ["GET /v1/thing HTTP/1.1"] * 2
        assert {event.method for event in box.allowed} == {"GET"}
        assert box.reasons == {
            ("api.example.com", "method PUT not allowed"), ("api.example.com", "path not allowed")
        }  # fmt: skip


async def test_one_connection_carries_many_requests(tmp_path: Path) -> None:
    rule = "api.example.com GET,HEAD,POST"
    async with outside(tmp_path, "api.example.com") as world, inside(world, tmp_path, rule) as box:
        body = b"x" * 300_000
        chunked = b"4\r\nabcd\r\n0\r\n\r\n"
        requests = (
            b"GET /1 HTTP/1.1\r\nHost: api.example.com\r\n\r\n"
            b"POST /2 HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 300000\r\n\r\n" + body +
            b"POST /3 HTTP/1.1\r\nHost: api.example.com\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked +
            b"HEAD /4 HTTP/1.1\r\nHost: api.example.com\r\n\r\n"
            b"GET /5 HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n\r\n"
        )  # fmt: skip
        came = await box.secure("api.example.com", requests, until=b"never")
        assert came.count(b"HTTP/1.1 200") == 5
        assert [request.line[-11:-9] for request in world.requests] == ["/1", "/2", "/3", "/4", "/5"]
        assert [len(request.body) for request in world.requests] == [0, 300_000, 4, 0, 0]
        assert sum(event.flows for event in box.allowed) == 5


async def test_a_port_of_its_own_carries_any_bytes(tmp_path: Path) -> None:
    allow = "mail.example.com:25"
    async with outside(tmp_path, "mail.example.com") as world, inside(world, tmp_path, allow) as box:
        connect = b"CONNECT mail.example.com:25 HTTP/1.1\r\nHost: mail.example.com\r\n\r\n"
        came = await box.talk(3128, connect, b"HELO there\r\n", until=b"250 HELO")
        assert b"220 hello" in came
        assert world.raw == b"HELO there\r\n"


async def test_a_size_bounds_a_request(tmp_path: Path) -> None:
    rule = "api.example.com max=1k"
    async with outside(tmp_path, "api.example.com") as world, inside(world, tmp_path, rule) as box:
        assert b"200 " in await box.proxied("http://api.example.com/", "POST", body=b"x" * 1024)
        assert b"403 " in await box.proxied("http://api.example.com/", "POST", body=b"x" * 1025)
        head = b"POST / HTTP/1.1\r\nHost: api.example.com\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert b"403 " in await box.talk(80, head + b"800\r\n" + b"x" * 2048 + b"\r\n0\r\n\r\n")
        assert len(world.requests) == 1


async def test_a_host_that_does_not_answer(tmp_path: Path) -> None:
    allow = ("gone.example.com", "api.example.com:81")
    async with outside(tmp_path, "api.example.com") as world, inside(world, tmp_path, *allow) as box:
        assert b"502 " in await box.proxied("http://gone.example.com/")
        assert b"502 " in await box.proxied("http://api.example.com:81/")
        assert b"502 " in await box.secure("gone.example.com", b"")
        assert box.blocked == []


async def test_a_wrong_certificate_outside_is_refused(tmp_path: Path) -> None:
    async with outside(tmp_path, "api.example.com") as world:
        world.host("other.example.com")  # the server has no certificate for it
        async with inside(world, tmp_path, "other.example.com GET") as box:
            request = GET.replace(b"api.", b"other.")
            assert b"502 " in await box.secure("other.example.com", request, until=b"match")
            assert world.requests == []


async def test_the_listeners_of_another_sandbox_take_the_place_of_the_old_ones(tmp_path: Path) -> None:
    async with (
        outside(tmp_path, "api.example.com") as world,
        inside(world, tmp_path, "api.example.com") as box,
    ):
        assert CHARGE in await box.talk(80, GET)
        listener = socket.create_server(("127.0.0.1", 0))
        old = box.doors[80]
        box.doors[80] = listener.getsockname()[1]
        box.proxy.serve(Listeners(streams={80: listener}, datagrams={}))
        assert CHARGE in await box.talk(80, GET)
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", old)


async def test_values_are_put_into_requests_for_their_hosts_only(tmp_path: Path) -> None:
    class Vault:
        def wants(self, host: str, port: int) -> bool:
            return host == "api.example.com"

        def put_in(self, host: str, port: int, head: RequestHead, *, secure: bool) -> RequestHead:
            if host != "api.example.com" or not secure:
                return head
            headers = tuple(
                (name, value.replace(b"PLACEHOLDER", b"real-value")) for name, value in head.headers
            )
            return RequestHead(method=head.method, target=head.target, headers=headers)

    allow = ("api.example.com", "other.example.com")
    async with (
        outside(tmp_path, *allow) as world,
        inside(world, tmp_path, *allow, substitution=Vault()) as box,
    ):
        secret = GET.replace(b"Connection", b"Authorization: Bearer PLACEHOLDER\r\nConnection")
        assert CHARGE in await box.secure("api.example.com", secret)
        assert CHARGE in await box.talk(80, secret)
        other = secret.replace(b"api.", b"other.")
        assert CHARGE in await box.secure("other.example.com", other, trust=world.roots)
        assert [b"real-value" in request.head for request in world.requests] == [True, False, False]
        assert b"real-value" not in repr(box.events).encode()


async def test_close_cuts_and_frees_everything(tmp_path: Path) -> None:
    async with outside(tmp_path, "mail.example.com") as world:
        async with inside(world, tmp_path, "mail.example.com:25") as box:
            reader, writer = await asyncio.open_connection("127.0.0.1", box.doors[3128])
            writer.write(b"CONNECT mail.example.com:25 HTTP/1.1\r\nHost: mail.example.com\r\n\r\n")
            await reader.readuntil(b"hello\r\n")
        async with asyncio.timeout(60):
            assert await reader.read() == b"", "cut"
        writer.close()
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", box.doors[3128])
