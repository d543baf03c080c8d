"""What a hostile program may send: it is refused, in one answer, and others are served on."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator
from typing import Any

import httpx
import pytest

from overnight.domain.conversation import Completion
from overnight.domain.task import Usage
from overnight.models.gateway.dialect import MAX_DEPTH, MAX_TOOLS, Asked
from overnight.models.gateway.server import MAX_AT_ONCE, MAX_BODY_BYTES
from overnight.models.interface import OnDelta
from tests.models.gateway.bridge import gateway_url

pytestmark = pytest.mark.anyio
GREETING: dict[str, Any] = {"messages": [{"role": "user", "content": "Hello."}]}


async def hello(asked: Asked, on_delta: OnDelta) -> Completion:
    del asked
    on_delta("Hello.")
    return Completion(text="Hello.", usage=Usage(model_calls=1))


@pytest.fixture
async def client() -> AsyncGenerator[httpx.AsyncClient]:
    async with gateway_url(hello) as url, httpx.AsyncClient(base_url=url, timeout=120) as made:
        yield made


def nested(depth: int) -> str:
    return '{"a":' * depth + "{}" + "}" * depth


def with_schema(schema: str) -> bytes:
    tools = b'[{"type":"function","function":{"name":"x","parameters":%b}}]' % schema.encode()
    return b'{"messages":[{"role":"user","content":"x"}],"tools":%b}' % tools


BODIES = {
    "no JSON": b"\xff\xfe{",
    "deep beyond any stack": b'{"messages":' + b"[" * 200_000,
    "a deep schema": with_schema(nested(MAX_DEPTH + 1)),
    "a schema deep beyond any stack": with_schema(nested(100_000)),
    "wrong types": b'{"messages":{"role":7}}',
    "a number for text": b'{"messages":[{"role":"user","content":1e999}]}',
    "half a character": b'{"messages":[{"role":"user","content":"\\ud800"}]}',
    "tools without end": json.dumps(
        {**GREETING, "tools": [{"type": "function", "function": {"name": "x"}}] * (MAX_TOOLS + 1)}
    ).encode(),
    "messages without end": json.dumps({"messages": GREETING["messages"] * 20_001}).encode(),
}
PATHS = (
    "/v1/chat/completions", "/v1/responses", "/v1/messages", "/v1beta/models/m:generateContent",
    "/v1beta/models/m:streamGenerateContent",
)  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
async def test_what_is_no_request_is_refused_and_the_next_one_answered(
    client: httpx.AsyncClient, path: str
) -> None:
    for name, body in BODIES.items():
        answer = await client.post(path, content=body)
        assert answer.status_code == 400, name
        assert "error" in answer.json(), name
    assert (await client.post("/v1/chat/completions", json=GREETING)).status_code == 200


async def test_a_body_beyond_the_bound_is_refused_while_it_comes(client: httpx.AsyncClient) -> None:
    read = 0

    async def endless() -> AsyncGenerator[bytes]:
        nonlocal read
        while True:
            read += 65536
            yield b" " * 65536

    with contextlib.suppress(httpx.TransportError):  # it may be cut off before it looks for the answer
        assert (await client.post("/v1/chat/completions", content=endless())).status_code == 413
    assert read < MAX_BODY_BYTES * 2


async def test_who_sends_on_while_it_is_answered_is_cut_off() -> None:
    answering = asyncio.Event()

    async def never(asked: Asked, on_delta: OnDelta) -> Completion:
        answering.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with gateway_url(never) as url:
        host, _, port = url.removeprefix("http://").partition(":")
        _, writer = await asyncio.open_connection(host, int(port))
        body = json.dumps(GREETING).encode()
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n")
        writer.write(b"content-length: %d\r\n\r\n%b" % (len(body), body))
        await answering.wait()

        async def send_on() -> None:
            while True:
                writer.write(b" " * 65536)
                await writer.drain()

        with pytest.raises(ConnectionError):
            await send_on()
        writer.close()


async def test_slow_and_silent_connections_do_not_keep_others_out(client: httpx.AsyncClient) -> None:
    host, port = client.base_url.host, client.base_url.port
    writers: list[asyncio.StreamWriter] = []
    for number in range(MAX_AT_ONCE * 4):
        _, writer = await asyncio.open_connection(host, port)
        writer.write(b"" if number % 2 else b"POST /v1/chat/completions HTTP/1.1\r\nhost:")
        await writer.drain()
        writers.append(writer)
    assert (await client.post("/v1/chat/completions", json=GREETING)).status_code == 200
    for writer in writers:
        writer.close()


async def test_the_name_that_a_program_asks_for_decides_nothing(client: httpx.AsyncClient) -> None:
    listed = (await client.get("/v1/models")).json()
    assert [one["id"] for one in listed["data"]] == ["scripted"]
    answer = await client.post("/v1/chat/completions", json={**GREETING, "model": "dearer"})
    assert answer.json()["choices"][0]["message"]["content"] == "Hello."


async def test_nothing_of_other_conversations_is_stored_that_could_be_asked_for(
    client: httpx.AsyncClient,
) -> None:
    body = {"model": "m", "input": "go on", "previous_response_id": "resp_1"}
    assert (await client.post("/v1/responses", json=body)).status_code == 400
    assert (await client.get("/v1/responses/resp_1")).status_code == 404
