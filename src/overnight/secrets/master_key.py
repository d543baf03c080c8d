"""The one key that opens all others: a file for its owner alone."""

import hashlib
import os
import secrets
import stat
from pathlib import Path

from overnight.domain.errors import SecretError

KEY_BYTES = 32
_HINT = "It holds 64 hexadecimal digits; make one by `openssl rand -hex 32`, readable for you alone."


def load_master_key(path: Path, *, make: bool = False) -> bytes:
    """Return the key in the file at `path`; with `make`, write a new one where there is no file.

    Raises:
        SecretError: there is no file, others may read it, or it holds no key.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        if make:
            return _made(path)
        raise SecretError(
            f"The master key {path} is missing; without it no secret can be opened.",
            "Put it back, or remove the secrets and set them again.",
        ) from None
    except OSError as error:
        raise SecretError(f"The master key {path} cannot be read: {error.strerror}.", _HINT) from error
    with os.fdopen(handle, "rb") as file:
        state = os.fstat(handle)
        if not stat.S_ISREG(state.st_mode):
            raise SecretError(f"The master key {path} is no file.", _HINT)
        if state.st_mode & 0o077:
            raise SecretError(f"Others may read the master key {path}.", f"chmod 600 {path}")
        return _parsed(path, file.read(1024))


def key_id(key: bytes) -> str:
    """Return what tells one key from another and gives nothing of it away."""
    return hashlib.sha256(b"overnight master key\0" + key).hexdigest()[:16]


def _parsed(path: Path, content: bytes) -> bytes:
    try:
        key = bytes.fromhex(content.decode("ascii").strip())
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise SecretError(f"{path} holds no master key.", _HINT)
    return key


def _made(path: Path) -> bytes:
    """Write a new key, whole or not at all; another process may do the same."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = secrets.token_bytes(KEY_BYTES)
    temporary = path.with_name(f".{path.name}-{os.getpid()}-{secrets.token_hex(4)}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(key.hex() + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)
        except FileExistsError:
            return load_master_key(path)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return key
