"""Sealing one value: under a key of its own, which lies beside it, sealed under the master key.

Both seals (AES-256-GCM) are bound to everything that says what the value may be used for, so that a record
that was changed, or swapped with another one, does not open.
"""

import os
import secrets

import msgspec

from overnight.domain.errors import SecretError
from overnight.domain.secret import Secret
from overnight.secrets.master_key import KEY_BYTES, key_id

_FORMAT = "overnight secret 1"
_NONCE_BYTES = 12


class Sealed(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a value."""

    key_id: str
    """Which master key sealed it."""
    wrapped: bytes
    """The value's own key, sealed."""
    ciphertext: bytes


def seal(master: bytes, secret: Secret, value: str) -> Sealed:
    """Return `value` sealed for `secret` and nothing else."""
    own = secrets.token_bytes(KEY_BYTES)
    bound = _bound(secret)
    return Sealed(
        key_id=key_id(master),
        wrapped=_encrypted(master, own, bound),
        ciphertext=_encrypted(own, value.encode(), bound),
    )


def unseal(master: bytes, secret: Secret, sealed: Sealed) -> str:
    """Return the value.

    Raises:
        SecretError: another master key sealed it, or the record was changed.
    """
    from cryptography.exceptions import InvalidTag

    if sealed.key_id != key_id(master):
        raise SecretError(
            f"Another master key sealed the secret {secret.name}.",
            "Use the key file that it was set with (OVERNIGHT_MASTER_KEY_FILE), or set it again.",
        )
    bound = _bound(secret)
    try:
        return _decrypted(_decrypted(master, sealed.wrapped, bound), sealed.ciphertext, bound).decode()
    except (InvalidTag, ValueError) as error:
        raise SecretError(
            f"The record of the secret {secret.name} was changed; it does not open.",
            f"Find out who wrote to the database, then set it again: overnight secret set {secret.name}",
        ) from error


def _bound(secret: Secret) -> bytes:
    """Return what a seal holds for: any other scope, name, version, phase or host breaks it."""
    return msgspec.json.encode(
        (_FORMAT, secret.scope, secret.name, secret.version, secret.phase, secret.hosts)
    )


def _encrypted(key: bytes, plain: bytes, bound: bytes) -> bytes:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, plain, bound)


def _decrypted(key: bytes, sealed: bytes, bound: bytes) -> bytes:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], bound)
