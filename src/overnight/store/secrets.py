"""Secrets in SQL: what they are for, and their values sealed; one row a name and scope."""

from typing import Any

import msgspec
from sqlalchemy import Connection, Row, delete, insert, or_, select

from overnight.domain.secret import Secret
from overnight.store.schema import secrets

_hosts = msgspec.json.Decoder(tuple[str, ...])


class SecretRow(msgspec.Struct, frozen=True, kw_only=True):
    """A secret with its value as it is kept: sealed elsewhere, opaque here."""

    secret: Secret
    key_id: str
    wrapped: bytes
    ciphertext: bytes


def put(connection: Connection, row: SecretRow) -> bool:
    """Keep a secret in place of whatever had its name and scope; say whether something had."""
    secret = row.secret
    replaced = remove(connection, secret.scope, secret.name)
    connection.execute(
        insert(secrets).values(
            scope=secret.scope,
            name=secret.name,
            version=secret.version,
            phase=secret.phase,
            hosts=msgspec.json.encode(secret.hosts).decode(),
            created_at=secret.created_at,
            key_id=row.key_id,
            wrapped=row.wrapped,
            ciphertext=row.ciphertext,
        )
    )
    return replaced


def remove(connection: Connection, scope: str, name: str) -> bool:
    """Forget a secret; say whether there was one."""
    done = connection.execute(delete(secrets).where(secrets.c.scope == scope, secrets.c.name == name))
    return done.rowcount > 0


def every(connection: Connection) -> tuple[SecretRow, ...]:
    """Return all secrets, by scope and name."""
    rows = connection.execute(select(secrets).order_by(secrets.c.scope, secrets.c.name))
    return tuple(_row(row) for row in rows)


def of_origin(connection: Connection, origin: str) -> tuple[SecretRow, ...]:
    """Return the secrets for the repository of `origin`, by name: its own win over those for all."""
    query = select(secrets).where(or_(secrets.c.scope == origin, secrets.c.scope == ""))
    # The empty scope sorts first, so that the repository's own comes after it and stays.
    found = {row.name: _row(row) for row in connection.execute(query.order_by(secrets.c.scope))}
    return tuple(found[name] for name in sorted(found))


def _row(row: Row[Any]) -> SecretRow:
    secret = Secret(
        name=row.name,
        phase=row.phase,
        scope=row.scope,
        hosts=_hosts.decode(row.hosts),
        version=row.version,
        created_at=row.created_at,
    )
    return SecretRow(secret=secret, key_id=row.key_id, wrapped=row.wrapped, ciphertext=row.ciphertext)
