"""The blob store: what goes in comes out, damage is noticed, many processes may write."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.blobs.store import BlobStore
from overnight.domain.errors import ConflictError, NotFoundError


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "blobs")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> BlobStore:
    return BlobStore(tmp_path_factory.mktemp("shared"))


@given(content=st.binary(max_size=5000))
def test_what_goes_in_comes_out(shared: BlobStore, content: bytes) -> None:
    digest = shared.put(content)
    assert digest == hashlib.sha256(content).hexdigest()
    assert shared.has(digest)
    assert shared.get(digest) == content
    assert shared.put(content) == digest


def test_it_is_compressed_and_private(blobs: BlobStore) -> None:
    digest = blobs.put(b"spam" * 100_000)
    path = blobs.root / digest[:2] / digest[2:]
    assert path.stat().st_size == blobs.size() < 1000
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert list(path.parent.iterdir()) == [path]


def test_listing_and_deleting(blobs: BlobStore) -> None:
    assert list(blobs.digests()) == []
    assert blobs.size() == 0
    digests = {blobs.put(bytes([number])) for number in range(20)}
    assert set(blobs.digests()) == digests
    gone = digests.pop()
    blobs.delete(gone)
    blobs.delete(gone)
    assert set(blobs.digests()) == digests
    assert not blobs.has(gone)
    with pytest.raises(NotFoundError):
        blobs.get(gone)


def test_half_written_files_are_no_objects(blobs: BlobStore) -> None:
    digest = blobs.put(b"whole")
    (blobs.root / digest[:2] / ".new-abc").write_bytes(b"half")
    assert list(blobs.digests()) == [digest]


@pytest.mark.parametrize("damage", ["other", "cut", "empty", "noise"])
def test_damage_is_noticed(blobs: BlobStore, damage: str) -> None:
    digest = blobs.put(b"content" * 50)
    path = blobs.root / digest[:2] / digest[2:]
    other = blobs.put(b"something else")
    stored = path.read_bytes()
    path.write_bytes(
        {
            "other": (blobs.root / other[:2] / other[2:]).read_bytes(),
            "cut": stored[:-3],
            "empty": b"",
            "noise": b"\x00" * len(stored),
        }[damage]
    )
    with pytest.raises(ConflictError, match="damaged"):
        blobs.get(digest)


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "A" * 64, "a" * 63, "a" * 64 + "\n"])
def test_only_a_digest_names_a_file(blobs: BlobStore, name: str) -> None:
    for act in (blobs.get, blobs.has, blobs.delete):
        with pytest.raises(NotFoundError):
            act(name)


PUTTER = """
import pathlib, sys
from overnight.blobs.store import BlobStore
blobs = BlobStore(pathlib.Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
for number in range(100):
    content = str(number).encode() * 1000
    assert blobs.get(blobs.put(content)) == content
"""


def test_processes_may_put_the_same(blobs: BlobStore) -> None:
    children = [
        subprocess.Popen(
            [sys.executable, "-c", PUTTER, str(blobs.root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children:
        child.communicate("go\n", timeout=180)
        assert child.returncode == 0
    assert len(list(blobs.digests())) == 100
    assert not list(blobs.root.rglob(".new-*"))
