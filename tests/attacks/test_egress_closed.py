"""Nothing is open by accident: empty, missing and invalid policies, and a proxy that has ended."""

import asyncio
import contextlib
from pathlib import Path

import pytest

from overnight.domain.errors import UsageError
from overnight.domain.hostnames import Host
from overnight.domain.network import Network, Policy, parse_network, parse_rule, policy_of
from overnight.domain.task import Limits
from overnight.sandbox.egress.refusal import Refused
from overnight.store import schema, tasks
from overnight.store.database import Database
from tests.sandbox.egress.outside import CHARGE, client_hello, inside, outside
from tests.store.rows import a_task

pytestmark = pytest.mark.anyio


@pytest.mark.attack(30)
@pytest.mark.parametrize("policy", [Policy(), policy_of(Network()), policy_of(Network(preset="registries"))])
async def test_an_empty_policy_refuses_everything(tmp_path: Path, policy: Policy) -> None:
    async with outside(tmp_path, "good.example") as world, inside(world, tmp_path, policy=policy) as box:
        world.credulous = True
        get = b"GET / HTTP/1.1\r\nHost: good.example\r\n\r\n"
        assert b"403 " in await box.proxied("http://good.example/")
        assert b"403 " in await box.talk(80, get)
        assert b"403 " in await box.secure("good.example", b"")
        assert CHARGE not in await box.talk(443, client_hello(b"good.example"))
        assert (await box.asks("good.example"))[3] & 15 == 3
        assert (world.lookups, world.dials) == ([], [])
        # What was asked for is known all the same.
        assert {event.host for event in box.blocked} == {"good.example"}
        assert box.proxy.variables == {}
        assert box.proxy.binds == ()
        with pytest.raises(Refused):
            await box.proxy.gate.dialer.dial(Host("good.example"), 80, private=True)


@pytest.mark.attack(30)
@pytest.mark.parametrize(
    "text",
    [
        "", "*", "*.*", "**", "all", "any", "true", "none,open", "*.com:*x", "http://a.example",
        "a.example/../b", "a.example:0", "a.example:65536", "a.example:-1", "a.example GET POST x",
        "a.example max=0",
        "a.example max=1.5m", "a_b.example", "10.0.0.0/8", "127.1", "0x7f.0.0.1", "[::1", "*.127.0.0.1",
        "a.example#x", "a.example/x?y", "user@a.example", "a.example,", "a..example", "a.example\x00b",
    ],
)  # fmt: skip
async def test_an_invalid_policy_is_an_error(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_network(text)
    assert "\n" not in caught.value.message


@pytest.mark.attack(30)
@pytest.mark.parametrize(
    "stored", [None, "", "{", "null", "[]", '{"preset": "everything"}', '{"allow": "*"}']
)
async def test_a_grant_that_cannot_be_read_grants_nothing(tmp_path: Path, stored: str | None) -> None:
    database = await Database.open(tmp_path / "overnight.db")
    task = await database.tx(a_task)
    column = schema.tasks.update().values(network=stored)
    await database.tx(lambda connection: connection.execute(column).close())
    read = await database.read(lambda connection: tasks.get(connection, task.id))
    await database.close()
    assert read.network.closed


@pytest.mark.attack(30)
async def test_a_denial_wins_over_every_grant(tmp_path: Path) -> None:
    denied = ("evil.test", "*.evil.test", "good.example/secret")
    async with (
        outside(tmp_path, "good.example", "evil.test") as world,
        inside(world, tmp_path, "evil.test", network="open", deny=denied) as box,
    ):
        for name in ("evil.test", "EVIL.test.", "a.evil.test"):
            assert b"403 " in await box.proxied(f"http://{name}/")
            assert b"403 " in await box.secure(name, b"")
        for path in ("secret", "secret/x", "%73ecret", "x/../secret", "/secret", "x/%2e%2e/secret"):
            assert b"403 " in await box.proxied(f"http://good.example/{path}")
        assert world.requests == []
        assert CHARGE in await box.proxied("http://good.example/public")


@pytest.mark.attack(31)
async def test_a_proxy_that_was_ended(tmp_path: Path) -> None:
    async with outside(tmp_path, "good.example") as world, inside(world, tmp_path, "good.example") as box:
        assert CHARGE in await box.proxied("http://good.example/")
        await box.proxy.close()
        for door in (53, 80, 443, 1080, 3128):
            with pytest.raises(OSError):
                await asyncio.open_connection("127.0.0.1", box.doors[door])
        assert len(world.requests) == 1


@pytest.mark.attack(31)
async def test_a_mistake_of_ours_shuts_the_door(tmp_path: Path) -> None:
    async with outside(tmp_path, "good.example") as world, inside(world, tmp_path, "good.example") as box:

        def broken(*_: object) -> None:
            raise ZeroDivisionError

        object.__setattr__(box.proxy.gate, "names", None)
        box.proxy.gate.dialer.dial = broken  # type: ignore[method-assign] # pyright: ignore
        with contextlib.suppress(OSError):
            assert CHARGE not in await box.proxied("http://good.example/")
        with contextlib.suppress(OSError):
            assert CHARGE not in await box.talk(443, client_hello(b"good.example"))
        assert not world.reached
        assert any("internal error" in reason for _, reason in box.reasons)


@pytest.mark.attack(36)
async def test_limits_have_names(tmp_path: Path) -> None:
    limits = Limits(egress_requests=3, egress_bytes_up=4000)
    async with (
        outside(tmp_path, "good.example") as world,
        inside(world, tmp_path, "good.example", limits=limits) as box,
    ):
        assert b"403 " in await box.proxied("http://good.example/", "POST", body=b"x" * 5000)
        for _ in range(6):
            await box.proxied("http://good.example/")
        assert set(box.limits) == {"egress_bytes_up", "egress_requests"}
        assert len(box.limits) == 2, "each is said once"
        assert sum(len(request.body) for request in world.requests) <= 4000


@pytest.mark.attack(36)
async def test_too_many_connections_wait(tmp_path: Path) -> None:
    limits = Limits(egress_connections=4)
    async with (
        outside(tmp_path, "good.example") as world,
        inside(world, tmp_path, "good.example", limits=limits) as box,
    ):
        held = [await asyncio.open_connection("127.0.0.1", box.doors[3128]) for _ in range(12)]
        await box.sees(lambda: "egress_connections" in box.limits)
        waiting = asyncio.create_task(box.proxied("http://good.example/"))
        for _, writer in held:
            writer.close()
        assert CHARGE in await waiting
        assert len(world.requests) == 1


@pytest.mark.attack(36)
async def test_a_connection_that_lies_still_ends(tmp_path: Path) -> None:
    limits = Limits(egress_idle_seconds=0.2)
    async with (
        outside(tmp_path, "good.example") as world,
        inside(world, tmp_path, "good.example", limits=limits) as box,
    ):
        assert await box.talk(3128, b"GET http://good.example/ HT") == b""
        assert await box.talk(443, client_hello(b"good.example")[:20]) == b""
        assert box.limits == ["egress_idle_seconds"]
        assert not world.reached


@pytest.mark.attack(33)
async def test_programs_that_ignore_the_variables(tmp_path: Path) -> None:
    """By their own lookup and to the usual ports: the doors hold them by the same rules."""
    async with (
        outside(tmp_path, "good.example") as world,
        inside(world, tmp_path, "good.example/read GET") as box,
    ):
        assert (await box.asks("evil.test"))[3] & 15 == 3
        address = (await box.asks("good.example"))[-4:]
        assert address != b"\x00\x00\x00\x00"
        get = b"GET /read HTTP/1.1\r\nHost: good.example\r\nConnection: close\r\n\r\n"
        assert CHARGE in await box.talk(80, get)
        assert CHARGE in await box.secure("good.example", get, door=443)
        assert b"403 " in await box.talk(80, get.replace(b"GET", b"PUT"))
        assert b"403 " in await box.secure(
            "good.example", get.replace(b"/read", b"/other"), door=443, until=b"allowed"
        )
        with pytest.raises(OSError):
            await box.secure("evil.test", get, door=443)
        assert len(world.requests) == 2


@pytest.mark.attack(30)
async def test_rules_read_as_they_are_written() -> None:
    for text in (
        "a.example",
        "*.a.example:8443",
        "a.example:*",
        "a.example/x/y GET,PUT max=1024",
        "[2606:2800::1]:8080",
    ):
        rule = parse_rule(text)
        assert parse_rule(str(rule)) == rule, text
