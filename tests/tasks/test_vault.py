"""The vault over a real database: scopes, versions, and records that somebody changed."""

import sqlite3
from pathlib import Path

import pytest

from overnight.domain.errors import NotFoundError, SecretError
from overnight.domain.ports import SystemClock
from overnight.store.database import Database
from overnight.tasks.vault import Vault

pytestmark = pytest.mark.anyio
VALUE = "value-of-the-first-secret"


@pytest.fixture
def vault(database: Database, tmp_path: Path) -> Vault:
    """Return a vault with no secret and no key yet."""
    return Vault(database, tmp_path / "master.key", SystemClock())


async def test_a_repositorys_own_secret_wins(vault: Vault) -> None:
    await vault.set("TOKEN", VALUE, phase="setup", make_key=True)
    await vault.set("TOKEN", "value-for-one-alone", phase="setup", origin="/one", make_key=True)
    assert dict((await vault.open("/one")).lent().variables) == {"TOKEN": "value-for-one-alone"}
    assert dict((await vault.open("/two")).lent().variables) == {"TOKEN": VALUE}
    assert [secret.scope for secret in await vault.list()] == ["", "/one"]
    await vault.remove("TOKEN", "/one")
    assert dict((await vault.open("/one")).lent().variables) == {"TOKEN": VALUE}
    with pytest.raises(NotFoundError):
        await vault.remove("TOKEN", "/one")


async def test_phases_do_not_mix(vault: Vault) -> None:
    await vault.set("A", "value-for-setup", phase="setup", make_key=True)
    await vault.set("B", "value-for-agent", phase="agent", hosts=["API.example.com."], make_key=True)
    await vault.set("C", "value-for-publisher", phase="publisher", make_key=True)
    opened = await vault.open("/one")
    assert set(opened.lent().variables) == {"A"}
    assert set(opened.placeholders().variables) == {"B"}
    assert dict(opened.publisher()) == {"C": "value-for-publisher"}
    cleaned = opened.redactor().clean("value-for-setup value-for-agent value-for-publisher")
    assert cleaned == "[secret:A] [secret:B] [secret:C]"
    assert [one.name for one in await vault.of("/one") if one.phase == "setup"] == ["A"]


async def test_another_value_is_another_version(vault: Vault) -> None:
    first, replaced = await vault.set("A", VALUE, phase="setup", make_key=True)
    assert not replaced
    before = (await vault.open("/one")).lent().versions
    second, replaced = await vault.set("A", VALUE, phase="setup", make_key=True)
    assert replaced
    assert first.version != second.version
    assert (await vault.open("/one")).lent().versions != before


async def test_the_database_holds_no_value(vault: Vault, database: Database) -> None:
    await vault.set("A", VALUE, phase="setup", make_key=True)
    for file in database.path.parent.iterdir():
        assert VALUE.encode() not in file.read_bytes(), file


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE secrets SET phase = 'agent', hosts = '[\"evil.example.com\"]' WHERE name = 'A'",
        "UPDATE secrets SET scope = '/one' WHERE name = 'A'",
        "UPDATE secrets SET version = 'x' WHERE name = 'A'",
        "UPDATE secrets SET ciphertext = (SELECT ciphertext FROM secrets WHERE name = 'B') WHERE name = 'A'",
        "UPDATE secrets SET (ciphertext, wrapped) = "
        "(SELECT ciphertext, wrapped FROM secrets WHERE name = 'B') WHERE name = 'A'",
        "UPDATE secrets SET ciphertext = x'00' WHERE name = 'B'",
    ],
)
async def test_a_record_that_was_changed_opens_nothing(vault: Vault, database: Database, change: str) -> None:
    await vault.set("A", VALUE, phase="setup", make_key=True)
    await vault.set("B", "value-of-the-second", phase="setup", make_key=True)
    with sqlite3.connect(database.path) as connection:
        connection.execute(change)
    connection.close()
    with pytest.raises(SecretError, match="was changed") as caught:
        await vault.open("/one")
    assert VALUE not in caught.value.message


async def test_a_lost_or_another_key_is_told(vault: Vault, tmp_path: Path) -> None:
    await vault.set("A", VALUE, phase="setup", make_key=True)
    key = tmp_path / "master.key"
    key.write_text("ab" * 32)
    with pytest.raises(SecretError, match="Another master key"):
        await vault.open("/one")
    with pytest.raises(SecretError, match="Another master key"):
        await vault.set("B", VALUE, phase="setup", make_key=True)
    key.unlink()
    with pytest.raises(SecretError, match="is missing"):
        await vault.open("/one")
    with pytest.raises(SecretError, match="is missing"):
        await vault.set("B", VALUE, phase="setup", make_key=True)
    assert not key.exists(), "a new key would hide that the old one is gone"
    await vault.remove("A")
    await vault.set("B", VALUE, phase="setup", make_key=True)


async def test_without_secrets_no_key_is_needed(vault: Vault) -> None:
    opened = await vault.open("/one")
    assert opened.redactor().clean(VALUE) == VALUE
