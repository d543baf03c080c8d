"""A conversation with every provider: thinking and parallel tool calls out, results and images back."""

import json

import msgspec
import pytest

from overnight.domain.conversation import Completion, Image, Message, Request, ToolSpec
from tests.models import streams
from tests.models.loopback import Reply, loopback
from tests.models.wires import WIRES, Wire

pytestmark = pytest.mark.anyio

READ = ToolSpec(
    name="read",
    description="Reads a file.",
    parameters={"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
)
PICTURE = Image(media_type="image/png", digest="d" * 64, width=1, height=1, size=8)
OPENING = (
    Message(role="system", text="Be brief."),
    Message(role="user", text="What is in the picture and in both files?", images=(PICTURE,)),
)


@pytest.fixture(params=WIRES, ids=lambda wire: wire.spec.partition(":")[0])
def wire(request: pytest.FixtureRequest) -> Wire:
    return request.param


def request_of(*messages: Message) -> Request:
    return Request(
        messages=(*OPENING, *messages),
        tools=(READ,),
        max_output_tokens=500,
        images={PICTURE.digest: b"\x89PNG\r\n\x1a\n"},
    )


def results(completion: Completion) -> tuple[Message, ...]:
    first, second = completion.tool_calls
    return (
        completion.message,
        Message(role="tool", text="a = 1", tool_call_id=first.id),
        Message(role="tool", text="a chart", tool_call_id=second.id, images=(PICTURE,)),
    )


async def test_a_conversation_with_thoughts_tools_and_pictures(wire: Wire) -> None:
    said: list[str] = []
    thought: list[str] = []
    with loopback(
        [Reply(wire.calls, headers=streams.STREAM), Reply(wire.text, headers=streams.STREAM)]
    ) as server:
        model = wire.open(server)
        asked = await model.complete(request_of(), said.append, None, thought.append)
        # As it comes back from the log.
        again = msgspec.json.decode(msgspec.json.encode(asked), type=Completion)
        answer = await model.complete(request_of(*results(again)))
        await model.close()
    assert asked.text == "".join(said) == "Looking."
    if wire.signature:
        assert asked.reasoning == "".join(thought) == "I must look."
    assert [json.loads(call.arguments) for call in asked.tool_calls] == [{"path": "a.py"}, {"path": "b.py"}]
    assert len({call.id for call in asked.tool_calls}) == 2
    assert (asked.finish, answer.finish, answer.text) == ("tool_calls", "stop", "Done.")
    usage = asked.usage
    assert (usage.model_calls, usage.input_tokens, usage.cached_tokens) == (1, 20, 8)
    assert usage.output_tokens == 9
    for body in map(json.loads, server.bodies):
        wire.check(body)
        assert "iVBORw0KGgo" in json.dumps(body)
    second = server.bodies[1].decode()
    assert wire.signature in second
    assert "a = 1" in second
    assert second.index("Looking.") < second.index("a = 1") < second.index("a chart")
    assert all("key-1" not in body.decode() for body in server.bodies)


async def test_another_model_gets_no_thoughts_that_it_cannot_read(wire: Wire) -> None:
    with loopback([Reply(wire.calls, headers=streams.STREAM)]) as server:
        model = wire.open(server)
        asked = await model.complete(request_of())
        await model.close()
    for other in WIRES:
        if other.spec == wire.spec:
            continue
        with loopback([Reply(other.text, headers=streams.STREAM)]) as server:
            model = other.open(server)
            answer = await model.complete(request_of(*results(asked)))
            await model.close()
        assert answer.text == "Done."
        body = server.bodies[0].decode()
        other.check(json.loads(body))
        assert streams.SECRET_THOUGHT not in body
        assert "a = 1" in body


async def test_the_prefix_of_a_request_is_that_of_the_one_before(wire: Wire) -> None:
    """Providers' caches work on equal beginnings; made-up ids or times would spoil them."""
    with loopback([Reply(wire.calls, headers=streams.STREAM)]) as server:
        model = wire.open(server)
        asked = await model.complete(request_of())
        history = results(asked)
        await model.complete(request_of(*history))
        await model.complete(request_of(*history))
        await model.close()
    assert server.bodies[1] == server.bodies[2]
