"""The first source of a model file: its publisher's own copy, by HTTP with ranges."""

import asyncio
from collections.abc import Callable

import httpx

from overnight.models.model_file import ModelStore

ANSWER_SECONDS = 4.0
"""A hub that has not answered by then is not reachable from here; the next source is tried."""
SILENCE_SECONDS = 30.0


class SourceError(Exception):
    """This source cannot give the file now; another may."""


async def fetch_from_hub(store: ModelStore, on_size: Callable[[int], None]) -> None:
    """Append to the part file until it is complete; a connection that breaks is taken up where it broke.

    Raises:
        SourceError: the hub does not answer, or stops giving.
    """
    while True:
        before = store.part.stat().st_size if store.part.exists() else 0
        try:
            await _append(store, before, on_size)
        except (httpx.HTTPError, TimeoutError) as error:
            after = store.part.stat().st_size if store.part.exists() else 0
            if after <= before:
                raise SourceError(str(error) or "no answer") from error
            continue
        if store.part.stat().st_size != store.file.size:
            store.part.unlink()
            raise SourceError("its file has another size")
        return


async def _append(store: ModelStore, offset: int, on_size: Callable[[int], None]) -> None:
    timeout = httpx.Timeout(SILENCE_SECONDS, connect=ANSWER_SECONDS)
    headers = {"Range": f"bytes={offset}-"} if offset else {}
    async with httpx.AsyncClient(timeout=timeout, follow_redirects=True) as client:
        request = client.build_request(
            "GET", store.file.url, headers={"Accept-Encoding": "identity", **headers}
        )
        async with asyncio.timeout(ANSWER_SECONDS):
            response = await client.send(request, stream=True)
        try:
            response.raise_for_status()
            # A server that ignores the range sends the whole file.
            resumed = response.status_code == 206
            length = response.headers.get("Content-Length", "")
            if length != str(store.file.size - (offset if resumed else 0)):
                raise SourceError(f"its file has another size ({length or 'unknown'} bytes)")
            done = offset if resumed else 0
            with store.part.open("ab" if resumed else "wb") as file:
                # Blocks as they come: one that is collected to some size is lost when the line breaks.
                async for block in response.aiter_raw():
                    file.write(block)
                    done += len(block)
                    on_size(done)
        finally:
            await response.aclose()
