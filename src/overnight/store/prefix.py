"""Finding a row by the beginning of its id, as people type it."""

import re
from typing import Any

from sqlalchemy import Connection, Table, select

from overnight.domain.errors import NotFoundError, UsageError

SHORTEST = 4
"""Characters that a prefix needs at least, so that a slip of the finger names nothing."""


def resolve(connection: Connection, table: Table, prefix: str, word: str) -> str:
    """Return the one id in `table` that begins with `prefix`; `word` is what to call it to people.

    Raises:
        NotFoundError: no id begins so.
        UsageError: the prefix is too short or fits several.
    """
    found = candidates(connection, table, prefix)
    if not found:
        raise NotFoundError(f"There is no {word} {prefix!r}.", "See `overnight task list`.")
    if len(found) > 1:
        shown = ", ".join(identifier[: max(len(prefix) + 2, 8)] for identifier in found)
        raise UsageError(f"{prefix!r} fits more than one {word}: {shown} …", "Type more of the id.")
    return found[0]


def candidates(connection: Connection, table: Table, prefix: str, limit: int = 4) -> list[str]:
    """Return up to `limit` ids that begin with `prefix`; none for what cannot be an id.

    Raises:
        UsageError: the prefix is too short.
    """
    text = prefix.strip().lower()
    if not re.fullmatch(r"[0-9a-f]{1,32}", text):
        return []
    if len(text) < SHORTEST:
        raise UsageError(f"{prefix!r} is too short for an id.", f"Type at least {SHORTEST} characters of it.")
    column: Any = table.c.id
    # "g" sorts after every hexadecimal digit: a range, so that the primary key's index answers.
    query = select(column).where(column >= text, column < text + "g").order_by(column).limit(limit)
    return list(connection.execute(query).scalars())
