"""The vault: secrets go in and are lent out for one purpose; no way leads to reading one back."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from overnight.domain.errors import NotFoundError, SecretError, UsageError
from overnight.domain.ids import new_id
from overnight.domain.ports import Clock
from overnight.domain.secret import Secret, check_secret
from overnight.secrets.envelope import Sealed, seal, unseal
from overnight.secrets.master_key import key_id, load_master_key
from overnight.secrets.placeholders import Placeholders
from overnight.secrets.redaction import Redactor
from overnight.store import secrets
from overnight.store.database import Database
from overnight.store.secrets import SecretRow

_CLIENTS = "package clients"
"""Stands in the key of a setup that had the credentials of this machine's package clients."""


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """The secrets of one repository, opened: for the worker alone, never for a surface."""

    held: tuple[tuple[Secret, str], ...] = ()
    others: tuple[tuple[str, str], ...] = ()
    """What else must not be kept, such as the keys of providers: (name, value)."""
    clients: tuple[tuple[str, str], ...] = ()
    """Credentials of this machine's package clients, where setup gets them: (host, value)."""

    def redactor(self) -> Redactor:
        """Return what takes every value out of what is kept, whatever its phase."""
        return Redactor([*((secret.name, value) for secret, value in self.held), *self.others, *self.clients])

    def placeholders(self) -> Placeholders:
        """Return the placeholders of one attempt for the agent's secrets."""
        return Placeholders([pair for pair in self.held if pair[0].phase == "agent"])

    def lent(self) -> "Lent":
        """Return the setup's secrets; only for a commit that a person gave their word for."""
        return Lent([pair for pair in self.held if pair[0].phase == "setup"], self.clients)

    def publisher(self) -> Mapping[str, str]:
        """Return the values for what publishes pull requests; nothing else may ask."""
        return {secret.name: value for secret, value in self.held if secret.phase == "publisher"}


class Lent:
    """Setup secrets on loan to the setup of one commit, and with them this machine's package clients'."""

    def __init__(self, held: Sequence[tuple[Secret, str]], clients: Sequence[tuple[str, str]] = ()) -> None:
        self.versions = (*(secret.lent_as for secret, _ in held), *([_CLIENTS] if clients else []))
        self.variables: Mapping[str, str] = {secret.name: value for secret, value in held}
        self.searched = bool(held or clients)
        self._search = Redactor([*self.variables.items(), *clients])

    def found_in(self, content: bytes) -> str | None:
        """Return the name of a secret whose value stands in `content`, None if none does."""
        return self._search.found_in(content)


class Vault:
    """The secrets of one data directory."""

    def __init__(
        self, database: Database, key_file: Path, clock: Clock, others: Sequence[tuple[str, str]] = (),
        clients: Callable[[], Sequence[tuple[str, str]]] = tuple,
    ) -> None:  # fmt: skip
        """`others` are further values that must not be kept: (name, value); `clients` tells those that
        setup gets with its own.
        """
        self._database = database
        self._key_file = key_file
        self._clock = clock
        self._others = tuple(others)
        self._clients = clients

    async def set(
        self,
        name: str,
        value: str,
        *,
        phase: str,
        hosts: Sequence[str] = (),
        origin: str = "",
        make_key: bool,
    ) -> tuple[Secret, bool]:
        """Seal a value under a new version; return it and whether it takes an older one's place.

        `origin` is the one repository that it is for; empty: all. `make_key` lets a master key be made where
        there is no file and no secret yet.

        Raises:
            UsageError: name, phase, hosts or value cannot be.
            SecretError: the master key cannot be read.
        """
        named = tuple(sorted({host.lower().rstrip(".") for host in hosts}))
        secret = Secret(
            name=name,
            phase=check_secret(name, phase, named, value),
            scope=origin,
            hosts=named,
            version=new_id(),
            created_at=self._clock.time(),
        )
        known = await self._database.read(secrets.every)
        master = await asyncio.to_thread(load_master_key, self._key_file, make=make_key and not known)
        if any(row.key_id != key_id(master) for row in known):
            raise SecretError(
                "Another master key sealed the secrets that are there.",
                "Use the key file that they were set with, or remove them first.",
            )
        sealed = seal(master, secret, value)
        row = SecretRow(
            secret=secret, key_id=sealed.key_id, wrapped=sealed.wrapped, ciphertext=sealed.ciphertext
        )
        return secret, await self._database.tx(lambda conn: secrets.put(conn, row))

    async def list(self) -> tuple[Secret, ...]:
        """Return every secret, without its value."""
        return tuple(row.secret for row in await self._database.read(secrets.every))

    async def remove(self, name: str, origin: str = "") -> None:
        """Forget a secret.

        Raises:
            NotFoundError: there is none of that name for that repository (or for all, without one).
        """
        if not await self._database.tx(lambda conn: secrets.remove(conn, origin, name)):
            where = f" for {origin}" if origin else " for all repositories"
            raise NotFoundError(f"There is no secret {name}{where}.", "See `overnight secret list`.")

    async def of(self, origin: str) -> tuple[Secret, ...]:
        """Return the secrets of a repository, without their values."""
        rows = await self._database.read(lambda conn: secrets.of_origin(conn, origin))
        return tuple(row.secret for row in rows)

    async def setup_versions(self, origin: str) -> tuple[tuple[str, ...], ...]:
        """Return what may stand for secrets in the key of a repository's setup; see `Lent.versions`."""
        own = tuple(secret.lent_as for secret in await self.of(origin) if secret.phase == "setup")
        return (own, (*own, _CLIENTS))

    async def check_word(self, origin: str, commit: str, *, lent: bool) -> None:
        """See that a person gave their word where setup, which is the commit's own code, would get secrets.

        Raises:
            UsageError: there are secrets for setup, and they did not.
        """
        names = [secret.name for secret in await self.of(origin) if secret.phase == "setup"]
        if names and not lent:
            raise UsageError(
                f"The setup of this repository has secrets ({', '.join(names)}), and the code of commit "
                f"{commit[:12]} could print, keep or send them",
                "Once you trust this commit, say --lend-setup-secrets",
            )

    async def open(self, origin: str, *, lent: bool = False) -> Opened:
        """Return the secrets of a repository, opened; `lent` is a person's word for setup.

        Raises:
            SecretError: one of them does not open; then none is given.
        """
        rows = await self._database.read(lambda conn: secrets.of_origin(conn, origin))
        clients = tuple(self._clients()) if lent else ()
        if not rows:
            return Opened(others=self._others, clients=clients)
        master = await asyncio.to_thread(load_master_key, self._key_file)
        held = tuple((row.secret, unseal(master, row.secret, _sealed(row))) for row in rows)
        return Opened(held=held, others=self._others, clients=clients)


def _sealed(row: SecretRow) -> Sealed:
    return Sealed(key_id=row.key_id, wrapped=row.wrapped, ciphertext=row.ciphertext)
