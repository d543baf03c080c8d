"""The gateway's connections: HTTP/1.1 over socket pairs, so that no other process can reach it."""

import asyncio
import contextlib
import socket
from collections.abc import Coroutine

import h11

from overnight.models.gateway.dialect import encode
from overnight.models.gateway.exchange import (
    COUNTING,
    JSON,
    Answer,
    Head,
    converse,
    count_tokens,
    dialect_of,
    listing,
)

MAX_BODY_BYTES = 16 * 1024**2
"""Of a request: a million tokens are a quarter of that. What is decoded takes many times as much."""
MAX_AT_ONCE = 8
"""Requests of one gateway that are read or answered at the same time; the others wait in their sockets."""
_MAX_EARLY = 256 * 1024
"""Bytes that a program may send ahead while it is answered."""
_CHUNK = 256 * 1024
_MAX_HEAD = 64 * 1024


class TooLargeError(Exception):
    """A body is larger than `MAX_BODY_BYTES`."""


class Gateway:
    """Answers what comes over the sockets that `connect` returns. Lives in one event loop.

    Args:
        answer: asks the model; called for one request after the other on each connection, and for
            several connections side by side.
        model: the name by which `GET /v1/models` lists it.
    """

    def __init__(self, answer: Answer, model: str) -> None:
        self._answer = answer
        self._model = model
        self._number = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(MAX_AT_ONCE)

    def connect(self) -> socket.socket:
        """Return the client's end of a new connection."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        task = asyncio.get_running_loop().create_task(self._serve(ours))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return theirs

    async def close(self) -> None:
        """Cut all connections."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, connection: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=connection)
        line = _Line(reader, writer)
        try:
            while (request := await line.request()) is not None:
                async with self._room:
                    await self._exchange(line, request)
                if not line.again():
                    return
        except (OSError, h11.ProtocolError):
            return  # the program inside went away, or speaks no HTTP
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _exchange(self, line: "_Line", request: h11.Request) -> None:
        path = request.target.decode("latin-1").partition("?")[0].rstrip("/")
        try:
            body = await line.body()
        except TooLargeError:
            await line.whole(413, encode({"error": {"message": f"more than {MAX_BODY_BYTES} bytes"}}))
            return
        if request.method == b"POST" and path.endswith(COUNTING):
            await line.whole(200, count_tokens(body))
        elif request.method == b"POST" and (dialect := dialect_of(path)) is not None:
            self._number += 1
            talking = converse(dialect, body, self._number, self._answer, line.begin, line.send)
            await line.while_there(talking)
            await line.finish()
        elif request.method in (b"GET", b"HEAD") and (path.endswith("/models") or not path):
            await line.whole(200, listing(self._model))
        else:
            await line.whole(404, encode({"error": {"message": f"there is no {path[:200]} here"}}))


class _Line:
    """One connection, request after request."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._state = h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_HEAD)
        self._head_only = False

    async def request(self) -> h11.Request | None:
        """Return the next request, None at the end."""
        event = await self._next()
        if not isinstance(event, h11.Request):
            return None
        self._head_only = event.method == b"HEAD"
        return event

    async def body(self) -> bytes:
        """Return the request's body.

        Raises:
            TooLargeError: it is too large; what is left of it is not read.
        """
        body = bytearray()
        while isinstance(event := await self._next(), h11.Data):
            if len(body) + len(event.data) > MAX_BODY_BYTES:
                raise TooLargeError
            body += event.data
        if not isinstance(event, h11.EndOfMessage):
            raise ConnectionResetError("cut short")
        return bytes(body)

    async def while_there(self, talking: Coroutine[None, None, None]) -> None:
        """Carry on for as long as the other side is there; cancel when it leaves."""
        task = asyncio.ensure_future(talking)
        early = 0
        try:
            while not task.done():
                watching = asyncio.ensure_future(self._reader.read(_CHUNK))
                try:
                    await asyncio.wait((task, watching), return_when=asyncio.FIRST_COMPLETED)
                    if watching.done():
                        data = watching.result()
                        self._state.receive_data(data)
                        early += len(data)
                        if not data or early > _MAX_EARLY:
                            raise ConnectionResetError("the client left, or says more than one may answer")
                finally:
                    watching.cancel()
                    await asyncio.gather(watching, return_exceptions=True)
            task.result()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def begin(self, head: Head) -> None:
        """Send the head of a response whose length nobody knows yet."""
        headers = [("content-type", head.kind), ("cache-control", "no-store")]
        await self._put(h11.Response(status_code=head.status, headers=headers))

    async def send(self, piece: bytes) -> None:
        """Send a piece of the body."""
        if piece and not self._head_only:
            await self._put(h11.Data(data=piece))

    async def finish(self) -> None:
        """Send the end of the response."""
        await self._put(h11.EndOfMessage())

    async def whole(self, status: int, body: bytes) -> None:
        """Send a response that is known already."""
        headers = [("content-type", JSON), ("content-length", str(len(body)))]
        await self._put(h11.Response(status_code=status, headers=headers))
        await self.send(body)
        await self.finish()

    def again(self) -> bool:
        """Say whether another request may come, and be ready for it."""
        if self._state.our_state is not h11.DONE or self._state.their_state is not h11.DONE:
            return False
        self._state.start_next_cycle()
        return True

    async def _next(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        while (event := self._state.next_event()) is h11.NEED_DATA:
            if self._state.they_are_waiting_for_100_continue:
                await self._put(h11.InformationalResponse(status_code=100, headers=[], reason="Continue"))
            self._state.receive_data(await self._reader.read(_CHUNK))
        return event

    async def _put(self, event: h11.Event) -> None:
        self._writer.write(self._state.send(event) or b"")
        await self._writer.drain()
