"""Identifiers, made by the client so that a retried write is recognised."""

import re
import uuid

SHORT = 8
"""Characters of an id that people see and may type."""


def new_id() -> str:
    """Return a fresh UUIDv4 as 32 hexadecimal characters."""
    return uuid.uuid4().hex


def short(identifier: str) -> str:
    """Return the part of `identifier` that is shown to people."""
    return identifier[:SHORT]


def slug(text: str, limit: int = 40) -> str:
    """Return `text` as lower-case words joined by hyphens, at most `limit` characters, for branch names.

    Only `a-z0-9-` survives, so that a task's text can never put shell or ref syntax into a name.
    """
    words = re.findall(r"[a-z0-9]+", text.lower())
    kept = ""
    for word in words:
        longer = f"{kept}-{word}" if kept else word
        if len(longer) > limit:
            break
        kept = longer
    return kept or (words[0][:limit] if words else "task")


def branch_name(title: str, identifier: str) -> str:
    """Return the branch of an attempt's patch: `overnight/<slug>-<id>`."""
    return f"overnight/{slug(title)}-{short(identifier)}"
