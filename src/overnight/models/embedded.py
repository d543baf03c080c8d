"""The embedded model: a small local model behind the shared model server, with no key and no account."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

import httpx
import msgspec

from overnight.domain.conversation import Completion, Request
from overnight.domain.errors import ContextOverflowError, ModelError, ModelUnavailableError
from overnight.models.chat_wire import ChatStream, Chunk, chat_body
from overnight.models.interface import ModelProfile, OnDelta, OnLimit, OnWaiting
from overnight.models.server import ModelServer
from overnight.models.server_files import ServerState

TRIES = 5
"""Servers that may die under one request before it fails."""
KEEP_SECONDS = 10.0
"""How often a waiting request tells the server that it is still wanted."""
SILENCE_SECONDS = 180.0
"""An answer under way shows a sign of life every 30 seconds; so much silence means a server that hangs."""
BUSY_SECONDS = 2.0
BUSY = "the model is busy with other requests"

EnsureFile = Callable[[OnWaiting | None], Awaitable[object]]


class _ServerGoneError(Exception):
    """The server went away under a request; another one can answer it."""


class EmbeddedModel:
    """The embedded model as a `Model`. A server that dies is started again and asked again.

    When a request is asked again after some of its answer was streamed, `on_delta` gets the new answer
    from its beginning; `on_waiting` is told before.
    """

    def __init__(
        self, name: str, profile: ModelProfile, server: ModelServer, ensure_file: EnsureFile | None = None
    ) -> None:
        self.name = name
        self.profile = profile
        self._server = server
        self._ensure_file = ensure_file
        self._client: httpx.AsyncClient | None = None

    async def complete(
        self,
        request: Request,
        on_delta: OnDelta | None = None,
        on_waiting: OnWaiting | None = None,
        on_reasoning: OnDelta | None = None,
        on_limit: OnLimit | None = None,
    ) -> Completion:
        """Answer `request`; waits for the model file, for loading, and for a restart of the server.

        Raises:
            ContextOverflowError: the prompt is longer than a slot of the server.
            ModelUnavailableError: the server cannot be started, or dies again and again.
            ModelError: the server refuses the request.
        """
        del on_reasoning, on_limit
        if self._ensure_file is not None:
            await self._ensure_file(on_waiting)
            self._ensure_file = None
        reason = ""
        for _ in range(TRIES):
            state = await self._server.endpoint(on_waiting)
            try:
                async with self._wanted():
                    return await self._ask(state, request, on_delta, on_waiting)
            except (_ServerGoneError, httpx.TransportError) as error:
                reason = str(error) or error.__class__.__name__
                if on_waiting is not None:
                    on_waiting("the model server went away; waiting for its restart")
                await self._settle(state)
        raise ModelUnavailableError(
            f"The model server went away {TRIES} times under one request ({reason}).",
            f"Its log is {self._server.files.log}. Is there enough memory?",
        )

    async def close(self) -> None:
        """Give the connection back; the server ends some time after its last client."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None
        self._server.close()

    async def _ask(
        self, state: ServerState, request: Request, on_delta: OnDelta | None, on_waiting: OnWaiting | None
    ) -> Completion:
        stream = ChatStream()
        async with contextlib.aclosing(self._chunks(state, request, on_waiting)) as chunks:
            async for chunk in chunks:
                progress = chunk.prompt_progress
                if progress is not None and on_waiting is not None and progress.processed < progress.total:
                    on_waiting(f"reading the prompt: {progress.processed} of {progress.total} tokens")
                text = stream.add(chunk)
                if text and on_delta is not None:
                    on_delta(text)
        if not stream.finished:
            raise _ServerGoneError("the answer broke off")
        return stream.completion(self.name)

    async def _chunks(
        self, state: ServerState, request: Request, on_waiting: OnWaiting | None
    ) -> AsyncGenerator[Chunk]:
        client = self._connections()
        message = client.build_request(
            "POST",
            f"{state.url}/v1/chat/completions",
            json=chat_body(request, trace=self.profile.token_trace),
            headers={"Authorization": f"Bearer {state.token}"},
        )
        # The server says nothing, not even headers, while other requests have all its slots.
        busy = asyncio.get_running_loop().call_later(BUSY_SECONDS, on_waiting or _ignore, BUSY)
        try:
            response = await client.send(message, stream=True)
        finally:
            busy.cancel()
        async with contextlib.aclosing(response):
            if response.status_code != 200:
                raise _refusal(response.status_code, await response.aread())
            lines = response.aiter_lines()
            while (line := await self._next_line(lines)) is not None:
                if line.startswith("data: {"):
                    chunk = msgspec.json.decode(line[6:], type=Chunk)
                    if chunk.error is not None:
                        raise ModelError(f"The embedded model failed: {chunk.error.message}")
                    yield chunk

    async def _next_line(self, lines: AsyncIterator[str]) -> str | None:
        try:
            async with asyncio.timeout(SILENCE_SECONDS):
                return await anext(lines, None)
        except TimeoutError:
            await self._server.stop()
            raise _ServerGoneError("the model server hung and was ended") from None

    def _connections(self) -> httpx.AsyncClient:
        if self._client is None:
            # Loopback must not go through a proxy that the environment names.
            timeout = httpx.Timeout(None, connect=10.0)
            limits = httpx.Limits(max_connections=None)
            self._client = httpx.AsyncClient(trust_env=False, timeout=timeout, limits=limits)
        return self._client

    @contextlib.asynccontextmanager
    async def _wanted(self) -> AsyncGenerator[None]:
        """Keep the server from ending as idle under a long request."""

        async def keep() -> None:
            while True:
                self._server.files.touch_used()
                await asyncio.sleep(KEEP_SECONDS)

        task = asyncio.create_task(keep())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            self._server.files.touch_used()

    async def _settle(self, state: ServerState) -> None:
        """Give a dying server a moment to let go of its lock, so that the next try starts another."""
        for _ in range(20):
            if not self._server.files.alive() or self._server.files.read_state() != state:
                return
            await asyncio.sleep(0.05)


def _ignore(_text: str) -> None:
    """Stand for a caller who does not ask what is waited for."""


def _refusal(status: int, body: bytes) -> Exception:
    try:
        error = msgspec.json.decode(body, type=Chunk).error
    except msgspec.DecodeError:
        error = None
    message = error.message if error else body[:300].decode(errors="replace")
    if error is not None and error.type == "exceed_context_size_error":
        return ContextOverflowError(
            f"The prompt does not fit the embedded model: {message}", "Show the model less at a time."
        )
    if status in (401, 503):
        # Another server has the port by now, or this one is not ready yet.
        return _ServerGoneError(f"the model server answers {status}")
    return ModelError(f"The embedded model refused the request ({status}): {message}")
