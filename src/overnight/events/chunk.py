"""The bytes of a chunk: a list of recorded events in MessagePack, compressed with Zstandard.

A reader of an older version must not stumble over what a newer one wrote: unknown fields are ignored, and an
event that it does not know becomes a note that says so.
"""

import msgspec
import zstandard

from overnight.domain.events import Event, MessageDelta, Noted, Recorded

_LEVEL = 1
_MAX_BYTES = 1024**3
"""A chunk says how large it is; one that says more than this is damaged."""


class _Loose(msgspec.Struct, frozen=True, kw_only=True):
    """A recorded event whose inner part is not looked at yet."""

    seq: int
    at: float
    event: msgspec.Raw


class _Tag(msgspec.Struct, frozen=True, kw_only=True):
    """What is looked at in an event of an unknown type."""

    type: str = "unknown"


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[Recorded])
_loose_decoder = msgspec.msgpack.Decoder(list[_Loose])
_event_decoder: msgspec.msgpack.Decoder[Event] = msgspec.msgpack.Decoder(Event)
_tag_decoder = msgspec.msgpack.Decoder(_Tag)


def encode(events: list[Recorded]) -> bytes:
    """Return the chunk that holds `events`."""
    return zstandard.compress(_encoder.encode(events), _LEVEL)


def decode(data: bytes) -> list[Recorded]:
    """Return the events of a chunk; those of an unknown type come back as notes.

    Raises:
        zstandard.ZstdError: the bytes are damaged.
        msgspec.DecodeError: the bytes hold no chunk.
    """
    plain = zstandard.decompress(data, max_output_size=_MAX_BYTES)
    try:
        return _decoder.decode(plain)
    except msgspec.ValidationError:
        return [
            Recorded(seq=loose.seq, at=loose.at, event=_event(loose.event))
            for loose in _loose_decoder.decode(plain)
        ]


def compacted(data: bytes) -> bytes | None:
    """Return a chunk whose deltas have no text, which their messages have too; None if nothing changes.

    The deltas stay, as numbers have no gaps. A chunk with events of a newer version stays as it is.
    """
    try:
        events = _decoder.decode(zstandard.decompress(data, max_output_size=_MAX_BYTES))
    except msgspec.ValidationError:
        return None
    if not any(isinstance(item.event, MessageDelta) and item.event.text for item in events):
        return None
    return encode([_without_text(item) for item in events])


def _without_text(item: Recorded) -> Recorded:
    if not isinstance(item.event, MessageDelta):
        return item
    return msgspec.structs.replace(item, event=msgspec.structs.replace(item.event, text=""))


def _event(raw: msgspec.Raw) -> Event:
    try:
        return _event_decoder.decode(raw)
    except msgspec.ValidationError:
        kind = _tag_decoder.decode(raw).type
        return Noted(text=f"An event that this version cannot read: {kind}.")
