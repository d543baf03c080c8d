"""What is sealed opens for what it was sealed for, with its key, unchanged; else not at all."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from overnight.domain.errors import SecretError, UsageError
from overnight.domain.secret import Secret, check_secret
from overnight.secrets.envelope import Sealed, seal, unseal
from overnight.secrets.master_key import load_master_key

KEY, OTHER = bytes(range(32)), bytes(32)
SECRET = Secret(
    name="TOKEN", phase="agent", scope="/a", hosts=("api.example.com",), version="1" * 32, created_at=0.0
)
VALUE = "value-é-of-the-secret"


def test_what_is_sealed_opens() -> None:
    sealed = seal(KEY, SECRET, VALUE)
    assert unseal(KEY, SECRET, sealed) == VALUE
    assert VALUE.encode() not in msgspec.msgpack.encode(sealed)
    again = seal(KEY, SECRET, VALUE)
    assert again.ciphertext != sealed.ciphertext
    assert again.wrapped != sealed.wrapped


def test_another_key_is_told() -> None:
    with pytest.raises(SecretError, match="Another master key"):
        unseal(OTHER, SECRET, seal(KEY, SECRET, VALUE))


@pytest.mark.parametrize(
    "change",
    [
        {"name": "OTHER"},
        {"phase": "setup"},
        {"scope": ""},
        {"hosts": ("evil.example.com",)},
        {"hosts": ("api.example.com", "evil.example.com")},
        {"version": "2" * 32},
    ],
)
def test_a_record_that_says_something_else_does_not_open(change: dict[str, object]) -> None:
    sealed = seal(KEY, SECRET, VALUE)
    with pytest.raises(SecretError, match="was changed"):
        unseal(KEY, msgspec.structs.replace(SECRET, **change), sealed)


@pytest.mark.parametrize("field", ["wrapped", "ciphertext"])
def test_no_bit_can_be_changed(field: str) -> None:
    sealed = seal(KEY, SECRET, VALUE)
    content: bytes = getattr(sealed, field)
    for at in range(len(content)):
        changed = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
        with pytest.raises(SecretError, match="was changed"):
            unseal(KEY, SECRET, msgspec.structs.replace(sealed, **{field: changed}))
    for short in (b"", content[:5], content[:20]):
        with pytest.raises(SecretError, match="was changed"):
            unseal(KEY, SECRET, msgspec.structs.replace(sealed, **{field: short}))


def test_parts_of_two_secrets_do_not_mix() -> None:
    one, other = seal(KEY, SECRET, VALUE), seal(KEY, SECRET, "another value")
    with pytest.raises(SecretError, match="was changed"):
        unseal(KEY, SECRET, Sealed(key_id=one.key_id, wrapped=one.wrapped, ciphertext=other.ciphertext))


def test_a_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "data" / "master.key"
    with ThreadPoolExecutor(8) as pool:
        started = [pool.submit(load_master_key, path, make=True) for _ in range(16)]
    keys = {one.result() for one in started}
    assert len(keys) == 1
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_master_key(path) in keys
    assert [file.name for file in path.parent.iterdir()] == ["master.key"]


def test_a_key_that_cannot_be_trusted_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    with pytest.raises(SecretError, match="is missing"):
        load_master_key(path)
    path.write_text("ab" * 32)
    path.chmod(0o644)
    with pytest.raises(SecretError, match="Others may read"):
        load_master_key(path)
    path.chmod(0o600)
    assert load_master_key(path) == b"\xab" * 32
    for wrong in ("", "ab" * 31, "xy" * 32, "ab" * 33):
        path.write_text(wrong)
        with pytest.raises(SecretError, match="holds no master key"):
            load_master_key(path)
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(SecretError, match="cannot be read"):
        load_master_key(tmp_path / "link")


@pytest.mark.parametrize(
    ("name", "phase", "hosts", "value"),
    [
        ("token", "setup", (), VALUE),
        ("PATH", "setup", (), VALUE),
        ("LD_PRELOAD", "setup", (), VALUE),
        ("OVERNIGHT_X", "setup", (), VALUE),
        ("A=B", "setup", (), VALUE),
        ("A", "other", (), VALUE),
        ("A", "setup", ("example.com",), VALUE),
        ("A", "agent", (), VALUE),
        ("A", "agent", ("*",), VALUE),
        ("A", "agent", ("*.",), VALUE),
        ("A", "agent", ("example.com:443",), VALUE),
        ("A", "agent", ("https://example.com",), VALUE),
        ("A", "agent", ("1.2.3",), VALUE),
        ("A", "agent", ("01.2.3.4",), VALUE),
        ("A", "agent", ("*.1.2.3.4",), VALUE),
        ("A", "agent", ("exam ple.com",), VALUE),
        ("A", "agent", ("example.com\0.evil.test",), VALUE),
        ("A", "agent", ("example.com",), "two\r\nlines: of a header"),
        ("A", "setup", (), "ab12!"),
        ("A", "setup", (), "s h o r t \n\n\n"),
        ("A", "setup", (), "has a \0 inside"),
        ("A", "setup", (), "x" * 40_000),
        ("A", "setup", (), "\udcff not text at all"),
    ],
)
def test_what_cannot_be_a_secret_is_refused(
    name: str, phase: str, hosts: tuple[str, ...], value: str
) -> None:
    with pytest.raises(UsageError) as caught:
        check_secret(name, phase, hosts, value)
    assert value not in caught.value.message + caught.value.hint
