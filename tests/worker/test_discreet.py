"""No value of a secret gets to a model or into an artifact, and nothing is searched for twice."""

from pathlib import Path
from typing import TypeVar

import pytest

from overnight.blobs.store import BlobStore
from overnight.domain.conversation import Completion, Message, Request
from overnight.domain.errors import SecretError
from overnight.models.scripted import ScriptedModel
from overnight.secrets.redaction import Redactor
from overnight.worker.discreet import DiscreetArtifacts, DiscreetModel

pytestmark = pytest.mark.anyio
T = TypeVar("T")
VALUE = "s3cr3t-value-of-a-token"


class Counting(Redactor):
    """Counts the messages that are searched."""

    def __init__(self) -> None:
        super().__init__([("TOKEN", VALUE)])
        self.searched: list[Message] = []

    def value(self, value: T) -> T:
        if isinstance(value, Message):
            self.searched.append(value)
        return super().value(value)


async def test_a_growing_conversation_is_searched_once_and_sent_without_the_value() -> None:
    redaction, inner = Counting(), ScriptedModel([Completion(text="a"), Completion(text="b")])
    model = DiscreetModel(inner, redaction)
    first = (Message(role="system", text="s"), Message(role="user", text=f"use {VALUE}"))
    more = (*first, Message(role="assistant", text="a"), Message(role="user", text=VALUE))
    await model.complete(Request(messages=first))
    await model.complete(Request(messages=more))
    assert [message.text for message in inner.requests[1].messages] == [
        "s", "use [secret:TOKEN]", "a", "[secret:TOKEN]",
    ]  # fmt: skip
    assert inner.requests[1].messages[:2] == inner.requests[0].messages
    assert len(redaction.searched) == 4


def test_artifacts_hold_no_value(tmp_path: Path) -> None:
    blobs = BlobStore(tmp_path / "blobs")
    artifacts = DiscreetArtifacts(blobs, Redactor([("TOKEN", VALUE)]))
    digest = artifacts.put(f"begin {VALUE} end".encode())
    assert artifacts.get(digest) == b"begin [secret:TOKEN] end"
    with pytest.raises(SecretError, match="TOKEN"):
        artifacts.put(b"\xff\xfe" + VALUE.encode())
    assert len(list(blobs.digests())) == 1
