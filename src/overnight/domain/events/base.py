"""What every event shares: a dotted lower-case tag, and nothing else; number and time come from the log."""

import msgspec


class EventBase(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """An immutable fact about an attempt. Unknown fields of a newer version are ignored on reading."""
