"""Small messages with descriptors over a socket pair: JSON in, JSON out, bounded both ways."""

import array
import json
import os
import socket
from collections.abc import Sequence
from typing import Any, Final, cast

MAX_BYTES: Final = 64 * 1024
"""A message beyond this comes as a memory file, whose descriptor is the first."""
MAX_FILE_BYTES: Final = 16 * 1024**2
MAX_DESCRIPTORS: Final = 128

Message = dict[str, Any]


def pair() -> tuple[socket.socket, socket.socket]:
    """Return two ends that keep messages whole."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send(channel: socket.socket, message: Message, descriptors: Sequence[int] = ()) -> None:
    """Send a message; the receiver gets descriptors of its own.

    Raises:
        OSError: the other end is gone, or takes nothing now.
    """
    data = json.dumps(message).encode()
    given = list(descriptors)
    extra: int | None = None
    if len(data) > MAX_BYTES:
        extra = os.memfd_create("message", os.MFD_CLOEXEC)
        view = memoryview(data)
        while view:
            view = view[os.write(extra, view) :]
        given.insert(0, extra)
        data = b"f"
    try:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", given))] if given else []
        channel.sendmsg([data], rights)
    finally:
        if extra is not None:
            os.close(extra)


def receive(
    channel: socket.socket, max_descriptors: int = MAX_DESCRIPTORS
) -> tuple[Message, list[int]] | None:
    """Return the next message and its descriptors, or None when the other end is gone.

    Raises:
        ValueError: what came is no message; its descriptors are closed.
        BlockingIOError: nothing is there.
    """
    given: list[int] = []
    if max_descriptors:
        data, ancillary, _flags, _ = channel.recvmsg(
            MAX_BYTES + 1, socket.CMSG_SPACE(4 * max_descriptors), socket.MSG_CMSG_CLOEXEC
        )
        descriptors = array.array("i")
        for level, kind, rights in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                descriptors.frombytes(rights[: len(rights) - len(rights) % 4])
        given = list(descriptors)
    else:
        data = channel.recv(MAX_BYTES + 1)  # the kernel closes what came along
    if not data:
        _close(given)
        return None
    try:
        if data == b"f":
            data = _read_file(given)
        message = json.loads(data)
        if not isinstance(message, dict):
            raise ValueError("not an object")
    except (ValueError, OSError, RecursionError) as error:
        _close(given)
        raise ValueError(f"no message: {error}") from None
    return cast("Message", message), given


def _read_file(given: list[int]) -> bytes:
    if not given:
        raise ValueError("a message without its file")
    file = given.pop(0)
    try:
        if os.fstat(file).st_size > MAX_FILE_BYTES:
            raise ValueError("a message too long")
        return os.pread(file, MAX_FILE_BYTES, 0)
    finally:
        os.close(file)


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
