"""The names of one connection: the tunnel's, that of TLS and that of the request must be one."""

import ssl
from pathlib import Path

import pytest

from tests.sandbox.egress.outside import CHARGE, client_hello, inside, outside

pytestmark = pytest.mark.anyio
GET = b"GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n"
NAMES = ("good.example", "evil.test")
RULES = ["good.example", "good.example GET"]
CONNECT = b"CONNECT good.example:443 HTTP/1.1\r\nHost: good.example:443\r\n\r\n"
ALERT = b"\x15\x03\x03\x00\x02\x02\x31"


@pytest.mark.attack(26)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("door", [3128, 443])
async def test_tls_for_another_host(tmp_path: Path, rule: str, door: int) -> None:
    async with outside(tmp_path, *NAMES) as world, inside(world, tmp_path, rule) as box:
        trust = world.roots if rule == "good.example" else box.trust
        with pytest.raises(OSError):
            await box.secure("good.example", GET % b"evil.test", sni="evil.test", trust=trust, door=door)
        assert world.requests == []
        await box.sees(lambda: bool(box.reasons))
        assert all(host == "evil.test" or "not match" in reason for host, reason in box.reasons)
        # The control: the same with one name throughout arrives.
        assert CHARGE in await box.secure("good.example", GET % b"good.example", trust=trust, door=door)


@pytest.mark.attack(26)
@pytest.mark.parametrize("rule", RULES)
async def test_a_request_for_another_host_within_tls(tmp_path: Path, rule: str) -> None:
    async with outside(tmp_path, *NAMES) as world, inside(world, tmp_path, rule) as box:
        if rule == "good.example":
            # The control, and the limit that the README names: what is not opened is not seen.
            came = await box.secure("good.example", GET % b"evil.test", trust=world.roots)
            assert CHARGE in came
            return
        came = await box.secure("good.example", GET % b"evil.test", until=b"match")
        assert b"403 " in came
        assert world.requests == []
        assert [reason for _, reason in box.reasons] == ["host does not match the connection"]


@pytest.mark.attack(26)
@pytest.mark.parametrize("rule", RULES)
async def test_no_name_a_hidden_name_and_two_names(tmp_path: Path, rule: str) -> None:
    entry = b"\x00\x00\x0cgood.example"
    named = len(entry).to_bytes(2) + entry
    hellos = {
        "no server name": client_hello(None),
        "encrypted server name": client_hello(b"good.example", (0xFE0D, bytes(40))),
        "two server names": client_hello(None, (0, (2 * len(entry)).to_bytes(2) + 2 * entry)),
        "an extension twice": client_hello(b"good.example", (0, named)),
        "an odd server name": client_hello(None, (0, b"\x00\x05\x01\x00\x02ab")),
        "not a ClientHello": b"\x16\x03\x01\x00\x04\x02\x00\x00\x00",
        "not TLS": b"GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n",
    }
    async with outside(tmp_path, *NAMES) as world, inside(world, tmp_path, rule) as box:
        for reason, hello in hellos.items():
            by_tunnel = await box.talk(3128, CONNECT, hello)
            captured = await box.talk(443, hello)
            assert CHARGE not in by_tunnel + captured, reason
            assert ALERT in captured, "an alert says so"
            assert reason in {why for _, why in box.reasons}
        assert world.requests == []


@pytest.mark.attack(26)
async def test_a_hello_in_small_pieces_and_one_without_end(tmp_path: Path) -> None:
    async with outside(tmp_path, *NAMES) as world, inside(world, tmp_path, "good.example") as box:
        hello = client_hello(b"evil.test")[5:]
        pieces = b"".join(b"\x16\x03\x01\x00\x01" + hello[place : place + 1] for place in range(len(hello)))
        assert ALERT in await box.talk(443, pieces)
        assert ("evil.test", "host not allowed") in box.reasons
        endless = b"\x16\x03\x01\x40\x00" + b"\x01\x00\xff\xff" + bytes(0x3FFC)
        assert CHARGE not in await box.talk(443, endless * 8)
        assert "ClientHello too long" in {why for _, why in box.reasons}
        assert not world.requests


@pytest.mark.attack(26)
async def test_plain_words_in_a_tunnel_for_tls(tmp_path: Path) -> None:
    async with outside(tmp_path, *NAMES) as world, inside(world, tmp_path, "good.example") as box:
        await box.talk(3128, CONNECT, b"SSH-2.0-tunnel\r\n")
        await box.talk(3128, CONNECT + b"early words\r\n", b"")
        assert world.requests == []
        assert ("good.example", "not TLS") in box.reasons


@pytest.mark.attack(26, 28)
async def test_only_one_protocol_is_offered(tmp_path: Path) -> None:
    async with outside(tmp_path, *NAMES) as world, inside(world, tmp_path, "good.example GET") as box:
        trust = box.trust
        trust.set_alpn_protocols(["h2", "http/1.1"])
        assert CHARGE in await box.secure("good.example", GET % b"good.example", trust=trust)
        preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        assert CHARGE not in await box.secure("good.example", preface, until=b"malformed")
        assert len(world.requests) == 1


@pytest.mark.attack(26)
async def test_the_authority_signs_for_nobody_else_and_its_key_stays_here(tmp_path: Path) -> None:
    async with outside(tmp_path, *NAMES) as world, inside(world, tmp_path, "good.example GET") as box:
        files = [path for path in (tmp_path / "egress").rglob("*") if path.is_file()]
        assert [path.name for path in files] == ["certificates.pem"]
        assert b"PRIVATE" not in files[0].read_bytes()
        # Whoever does not trust it gets nothing, and that is told.
        with pytest.raises(ssl.SSLError):
            await box.secure("good.example", GET % b"good.example", trust=world.roots)
        assert world.requests == []
        await box.sees(lambda: any("broke TLS off" in reason for _, reason in box.reasons))
