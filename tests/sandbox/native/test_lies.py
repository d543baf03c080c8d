"""A supervisor that was taken over can say what it likes: it ends its own sandbox and nothing else."""

import array
import asyncio
import json
import os
import socket
from collections.abc import Mapping

import pytest

from overnight.domain.errors import SandboxUnavailableError
from overnight.sandbox.native import messages
from overnight.sandbox.native.inside import Inside

pytestmark = pytest.mark.anyio


async def _claimed() -> tuple[Inside, socket.socket]:
    """Return a hold on a sandbox whose supervisor is ourselves."""
    ours, theirs = messages.pair()
    handle = os.pidfd_open(os.getpid())
    messages.send(theirs, {"pid": os.getpid()}, [os.dup(handle)])
    os.close(handle)
    messages.send(theirs, {"ready": True, "listeners": []})
    messages.send(theirs, {"claimed": True})
    inside = Inside(ours)
    inside.claim({})
    await inside.settled()
    assert messages.receive(theirs) is not None
    return inside, theirs


def _let_go(inside: Inside, theirs: socket.socket) -> None:
    """Close both ends without the kill that would hit this process."""
    handle = inside._handle  # pyright: ignore[reportPrivateUsage]
    inside._handle = None  # pyright: ignore[reportPrivateUsage]
    inside.close()
    theirs.close()
    if handle is not None:
        os.close(handle)


@pytest.mark.parametrize(
    "said",
    [
        b"no json",
        b"[1, 2]",
        b'"text"',
        b"{}",
        b'{"exit": 1}',
        b'{"exit": 1, "code": 100000}',
        b'{"exit": 77, "code": 0}',
        b'{"exit": "1", "code": 0}',
        b'{"exit": 1.5, "code": 0}',
        b'{"claimed": true}',
        b'{"failed": "x"}',
        b'{"pid": 1}',
        b"f",
        b"\xff\xfe",
        b"[" * 60_000,
        b"{" + b" " * 70_000 + b"}",
    ],
)
async def test_nonsense_ends_the_sandbox(said: bytes) -> None:
    inside, theirs = await _claimed()
    handle = inside._handle  # pyright: ignore[reportPrivateUsage]
    inside._handle = None  # pyright: ignore[reportPrivateUsage]  it would be us who is killed
    ending = inside.run(["true"], "/", {}, [])
    theirs.send(said)
    await asyncio.wait_for(ending.ended.wait(), 60)
    assert inside.gone
    assert ending.code is None
    theirs.close()
    with pytest.raises(SandboxUnavailableError):
        inside.run(["true"], "/", {}, [])
    inside._handle = handle  # pyright: ignore[reportPrivateUsage]
    _let_go(inside, theirs)


async def test_descriptors_are_not_taken() -> None:
    inside, theirs = await _claimed()
    ending = inside.run(["true"], "/", {}, [])
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    passed = array.array("i", [0] * 50)
    theirs.sendmsg([json.dumps({"killed": 1}).encode()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, passed)])
    theirs.sendmsg(
        [json.dumps({"exit": 1, "code": 3}).encode()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, passed)]
    )
    await asyncio.wait_for(ending.ended.wait(), 60)
    assert ending.code == 3
    assert len(os.listdir("/proc/self/fd")) <= before  # noqa: PTH208
    _let_go(inside, theirs)


@pytest.mark.parametrize("message", [{"failed": "no /proc"}, {"surprise": 1}])
async def test_a_sandbox_that_cannot_be_made_says_why(message: Mapping[str, object]) -> None:
    ours, theirs = messages.pair()
    inside = Inside(ours)
    messages.send(theirs, dict(message))
    inside.claim({})
    with pytest.raises(SandboxUnavailableError) as caught:
        await inside.settled()
    assert "did not start" in caught.value.message
    inside.close()
    theirs.close()


async def test_a_sandbox_that_ended_before_its_claim_says_why() -> None:
    ours, theirs = messages.pair()
    inside = Inside(ours)
    messages.send(theirs, {"failed": "no /proc"})
    theirs.close()
    with pytest.raises(SandboxUnavailableError, match="no /proc"):
        inside.claim({})
    inside.close()


def test_large_messages_go_by_a_file() -> None:
    ours, theirs = messages.pair()
    with ours, theirs:
        messages.send(ours, {"run": "x" * 1_000_000}, [0])
        received = messages.receive(theirs)
    assert received is not None
    message, (descriptor,) = received
    os.close(descriptor)
    assert len(message["run"]) == 1_000_000
