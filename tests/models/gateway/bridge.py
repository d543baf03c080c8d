"""A gateway behind a port of loopback, so that the providers' own clients can talk to it."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from overnight.models.gateway.exchange import Answer
from overnight.models.gateway.server import Gateway


@contextlib.asynccontextmanager
async def gateway_url(answer: Answer, model: str = "scripted") -> AsyncGenerator[str]:
    """Serve a gateway and return its address."""
    gateway = Gateway(answer, model)

    async def bridge(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner, outer = await asyncio.open_connection(sock=gateway.connect())

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                while data := await source.read(65536):
                    sink.write(data)
                    await sink.drain()
            sink.close()

        await asyncio.gather(pump(reader, outer), pump(inner, writer))

    server = await asyncio.start_server(bridge, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await gateway.close()
