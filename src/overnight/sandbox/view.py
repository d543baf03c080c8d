"""What every sandbox shows of the host, however it is built: the system, a small `/etc`, a home."""

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from overnight.domain.limits import Limits

HOME = "/home/overnight"
"""The home directory inside."""
SYSTEM_FOLDERS = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
"""The system's programs and libraries, shown read-only; links such as `/bin -> usr/bin` stay links."""
_ETC_FILES = (
    "ld.so.cache",
    "ld.so.conf",
    "localtime",
    "mime.types",
    "protocols",
    "services",
    "ssl/openssl.cnf",
    "ssl/cert.pem",
    "pki/tls/cert.pem",
    "pki/tls/openssl.cnf",
)
"""Copied: every mount costs a command a third of a millisecond."""
ETC_FOLDERS = ("alternatives", "ssl/certs", "pki/tls/certs", "pki/ca-trust/extracted")
_MEMORY_FILES = 512 * 1024**2


def memory_folder_bytes(limits: Limits) -> int:
    """Return the bound in bytes of each file system that lives in memory (`/tmp`, home, `/dev/shm`)."""
    return min(_MEMORY_FILES, max(limits.memory_bytes // 4, 1024**2))


def shell_variables(path: str) -> dict[str, str]:
    """Return the variables of every command, before those of the workspace and its own."""
    return {
        "LANG": "C.UTF-8",
        "PATH": path,
        "HOME": HOME,
        "USER": "overnight",
        "LOGNAME": "overnight",
        "SHELL": "/bin/bash",
        "TERM": "dumb",
    }


def make_scratch(scratch: Path, owner: tuple[int, int] | None) -> None:
    """Make the folders behind `/tmp` and the home, if they are not there, and give them to `owner`."""
    for name in ("tmp", "home"):
        folder = scratch / name
        try:
            state = folder.lstat()
        except FileNotFoundError:
            folder.mkdir(parents=True, mode=0o700)
            state = folder.lstat()
        if owner is not None and (state.st_uid, state.st_gid) != owner:
            os.chown(folder, *owner, follow_symlinks=False)


def write_etc(directory: Path, uid: int, gid: int) -> Path:
    """Write the `/etc` of sandboxes below `directory` and return it; one that is there is used again.

    It holds users, name lookup, and copies of a few harmless files of the host, named by their state so
    that a changed host gets a new one.
    """
    own = {
        "passwd": f"root:x:0:0:root:/:/usr/sbin/nologin\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n"
        f"overnight:x:{uid}:{gid}:Overnight:{HOME}:/bin/bash\n",
        "group": f"root:x:0:\nnogroup:x:65534:\novernight:x:{gid}:\n",
        "nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n"
        "networks: files\nprotocols: files\nservices: files\n",
        "hosts": "127.0.0.1 localhost overnight\n::1 localhost\n",
        "resolv.conf": "nameserver 127.0.0.1\n",
    }
    copied = [name for name in _ETC_FILES if Path("/etc", name).is_file()]
    folders = [name for name in ETC_FOLDERS if Path("/etc", name).is_dir()]
    states = [(name, (state := Path("/etc", name).stat()).st_mtime_ns, state.st_size) for name in copied]
    key = hashlib.sha256(repr((own, states, folders)).encode()).hexdigest()[:16]
    etc = directory / f"etc-{key}"
    if etc.is_dir():
        return etc
    directory.mkdir(parents=True, exist_ok=True)
    making = Path(tempfile.mkdtemp(prefix="etc-making-", dir=directory))
    for name in folders:
        (making / name).mkdir(parents=True)
    for name, text in own.items():
        (making / name).write_text(text)
    for name in copied:
        (making / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(Path("/etc", name), making / name)
    for path in (making, *making.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    try:
        making.rename(etc)
    except OSError:  # another process was first
        shutil.rmtree(making)
    return etc
