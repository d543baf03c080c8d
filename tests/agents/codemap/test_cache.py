"""The cache of tags: many writers, damage, other versions, and its bound."""

import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

from overnight.agents.codemap.cache import STALE_SECONDS, Names, TagCache
from overnight.agents.codemap.tags import Definition, Tags

WRITER = """
import sys
from pathlib import Path
from overnight.agents.codemap.cache import TagCache
from overnight.agents.codemap.tags import Definition, Tags
cache = TagCache(Path(sys.argv[1]), "v")
for number in range(40):
    name = f"name_{number}"
    tags = Tags(definitions=(Definition(name, "function", 1, 1, -1, f"def {name}()"),))
    cache.keep({f"{number:040x}": tags})
    assert f"{number:040x}" in cache.names([f"{number:040x}"])
"""


def tags_of(name: str) -> Tags:
    definition = Definition(name, "function", 3, 5, -1, f"def {name}()")
    return Tags(definitions=(definition,), references=("one", "two"), counts=b"\x01\x02")


def test_what_is_kept_is_found(tmp_path: Path) -> None:
    cache = TagCache(tmp_path, "v")
    assert cache.names(["a" * 40]) == {}
    cache.keep({"a" * 40: tags_of("f"), "b" * 40: Tags(skipped="map_file_bytes=5")})
    found = TagCache(tmp_path, "v").names(["a" * 40, "b" * 40, "c" * 40])
    assert found["a" * 40] == Names("", "\nf\n", "\none\ntwo\n", b"\x01\x02")
    assert found["b" * 40].skipped == "map_file_bytes=5"
    assert set(found) == {"a" * 40, "b" * 40}
    assert cache.definitions(["a" * 40])["a" * 40] == tags_of("f").definitions
    assert TagCache(tmp_path, "other").names(["a" * 40]) == {}


def test_several_processes_write_at_once(tmp_path: Path) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for writer in writers:
        _, errors = writer.communicate(timeout=120)
        assert writer.returncode == 0, errors
    blobs = [f"{number:040x}" for number in range(40)]
    assert set(TagCache(tmp_path, "v").names(blobs)) == set(blobs)


def test_a_damaged_file_is_made_anew(tmp_path: Path) -> None:
    cache = TagCache(tmp_path, "v")
    cache.keep({"a" * 40: tags_of("f")})
    (tmp_path / "tags-v.db").write_bytes(b"no database" * 1000)
    for ending in ("-wal", "-shm"):
        (tmp_path / f"tags-v.db{ending}").unlink(missing_ok=True)
    assert cache.names(["a" * 40]) == {}
    cache.keep({"a" * 40: tags_of("f")})
    assert set(cache.names(["a" * 40])) == {"a" * 40}


def test_a_row_that_is_not_ours_counts_as_missing(tmp_path: Path) -> None:
    cache = TagCache(tmp_path, "v")
    cache.keep({"a" * 40: tags_of("f"), "b" * 40: tags_of("g")})
    with sqlite3.connect(tmp_path / "tags-v.db") as database:
        database.execute(
            "UPDATE tags SET counts = ?, definitions = ? WHERE blob = ?", (b"", b"\xc1", "a" * 40)
        )
    database.close()
    assert set(cache.names(["a" * 40, "b" * 40])) == {"b" * 40}
    assert set(cache.definitions(["a" * 40, "b" * 40])) == {"b" * 40}


def test_a_folder_that_cannot_be_made_costs_only_the_cache(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = TagCache(tmp_path / "file" / "below", "v")
    cache.keep({"a" * 40: tags_of("f")})
    assert cache.names(["a" * 40]) == {}


def test_it_stays_within_its_bound(tmp_path: Path) -> None:
    cache = TagCache(tmp_path, "v", max_bytes=200_000)
    for round_ in range(10):
        cache.keep({f"{round_:02}{number:038x}": tags_of("x" * 90) for number in range(200)})
    assert (tmp_path / "tags-v.db").stat().st_size < 400_000
    assert cache.names([f"09{number:038x}" for number in range(200)])


def test_files_of_other_versions_go_when_nobody_uses_them(tmp_path: Path) -> None:
    old, young = tmp_path / "tags-old.db", tmp_path / "tags-young.db"
    for path in (old, young):
        path.write_text("")
    before = time.time() - STALE_SECONDS - 10
    os.utime(old, (before, before))
    TagCache(tmp_path, "v").keep({"a" * 40: tags_of("f")})
    assert not old.exists()
    assert young.exists()
