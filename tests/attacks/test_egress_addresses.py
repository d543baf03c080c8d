"""Where an allowed name leads: looked up once, never inward, and the address that was checked is dialled."""

import ipaddress
from pathlib import Path

import pytest

from overnight.sandbox.egress.addresses import forbidden
from tests.sandbox.egress.outside import CHARGE, inside, outside, own_address

pytestmark = pytest.mark.anyio
INWARD = (
    "127.0.0.1", "127.9.9.9", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1",
    "169.254.169.254", "169.254.170.2", "100.64.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.192",
    "192.0.2.1", "198.18.0.5", "198.51.100.1", "203.0.113.1", "224.0.0.251", "239.255.255.250", "240.0.0.1",
    "255.255.255.255", "192.88.99.1", "::1", "::", "::ffff:127.0.0.1", "::ffff:169.254.169.254",
    "::ffff:93.184.216.34", "::127.0.0.1", "64:ff9b::a00:1", "64:ff9b::7f00:1", "64:ff9b:1::a00:1",
    "2002:7f00:1::", "2002:a9fe:a9fe::", "2001:0:7f00:1::", "fe80::1", "fec0::1", "fc00::1",
    "fd00:ec2::254", "ff02::1", "2001:db8::1", "100::1", "3fff::1", "5f00::1",
)  # fmt: skip


@pytest.mark.attack(19, 23)
@pytest.mark.parametrize("address", INWARD)
async def test_an_allowed_name_that_leads_inward(tmp_path: Path, address: str) -> None:
    async with outside(tmp_path) as world, inside(world, tmp_path, network="open") as box:
        world.host("inner.example", address)
        assert b"403 " in await box.proxied("http://inner.example/")
        assert world.dials == []
        assert box.reasons == {("inner.example", "private address")}


@pytest.mark.attack(19)
async def test_metadata_and_this_machine_at_every_door(tmp_path: Path) -> None:
    own = own_address()
    async with outside(tmp_path) as world, inside(world, tmp_path, network="open") as box:
        world.host("metadata.google.internal", "169.254.169.254")
        world.host("me.example", own)
        world.host("localhost", "127.0.0.1")
        for name in ("169.254.169.254", "metadata.google.internal", "me.example", "localhost", own):
            get = f"GET /latest/meta-data HTTP/1.1\r\nHost: {name}\r\nMetadata: true\r\n\r\n".encode()
            assert CHARGE not in await box.talk(80, get)
            assert CHARGE not in await box.proxied(f"http://{name}/latest/meta-data")
            assert b"403 " in await box.secure(name, b"")
            socks = b"\x05\x01\x00\x03" + bytes((len(name),)) + name.encode() + b"\x00\x50"
            assert CHARGE not in await box.talk(1080, b"\x05\x01\x00", socks, get)
        assert not world.reached


@pytest.mark.attack(19)
def test_public_addresses_are_let_through_and_own_ones_are_not() -> None:
    for text in ("93.184.216.34", "1.1.1.1", "2606:2800:220:1::1", "2a00:1450::1"):
        assert forbidden(ipaddress.ip_address(text)) == ""
    assert forbidden(ipaddress.ip_address(own_address())) != ""


@pytest.mark.attack(32)
async def test_a_name_whose_address_changes_after_it_was_checked(tmp_path: Path) -> None:
    async with outside(tmp_path, "rebind.example") as world, inside(world, tmp_path, "rebind.example") as box:
        answers = [["93.184.216.77"], ["127.0.0.1"], ["10.0.0.1"], ["127.0.0.1"]]

        async def resolve(name: str, port: int) -> list[str]:
            world.lookups.append(name)
            return answers[len(world.lookups) - 1]

        box.proxy.gate.dialer._resolve = resolve  # type: ignore[attr-defined] # pyright: ignore
        assert CHARGE in await box.proxied("http://rebind.example/")
        assert world.lookups == ["rebind.example"], "looked up once"
        assert world.dials == [("93.184.216.77", 80)], "and what was checked is what was dialled"
        for _ in range(3):
            assert b"403 " in await box.proxied("http://rebind.example/")
        assert len(world.dials) == 1


@pytest.mark.attack(32)
@pytest.mark.parametrize("addresses", [("93.184.216.9", "127.0.0.1"), ("10.0.0.1", "93.184.216.9")])
async def test_one_inward_address_among_public_ones(tmp_path: Path, addresses: tuple[str, str]) -> None:
    async with outside(tmp_path) as world, inside(world, tmp_path, "mixed.example") as box:
        world.host("mixed.example", *addresses)
        assert b"403 " in await box.proxied("http://mixed.example/")
        assert world.dials == []


@pytest.mark.attack(10)
async def test_a_large_file_pointer_to_an_internal_address(tmp_path: Path) -> None:
    """What a client of large files asks for when the repository's `.lfsconfig` names the address."""
    async with outside(tmp_path) as world, inside(world, tmp_path, network="open") as box:
        world.host("lfs.internal", "10.0.0.80")
        for place in (
            "http://169.254.169.254",
            "http://127.0.0.1:8080",
            "http://[::1]:8080",
            "http://lfs.internal",
        ):
            batch = await box.proxied(f"{place}/objects/batch", "POST", body=b'{"operation": "download"}')
            assert b"403 " in batch
        assert not world.reached
