"""The map over a real mirror and a real workspace: what is parsed when, and what an agent changed."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from overnight.agents.codemap.code_map import CodeMap
from overnight.agents.codemap.focus import Focus, read_focus
from overnight.agents.codemap.symbols import find_symbol
from overnight.domain.limits import Limits
from overnight.git.mirror import Mirror
from overnight.worker.code import code_map
from tests.agents.repair.workplace import Workplace
from tests.git.git_repo import Repo

pytestmark = pytest.mark.anyio

FILES = {
    "shop/cart.py": (
        "from shop.price import total\n\n\nclass Cart:\n    def pay(self):\n        return total(self)\n"
    ),
    "shop/price.py": "def total(cart):\n    return 1\n",
    "web/view.ts": "export function show(): number { return total(1); }\n",
    "README.md": "total\n",
}


class Counted:
    """A code map that counts the blobs it reads."""

    def __init__(self, code: CodeMap) -> None:
        self.code = code
        self.read: list[str] = []
        inner = code._read  # pyright: ignore[reportPrivateUsage]

        async def read(blobs: Sequence[str]) -> Sequence[bytes | None]:
            self.read += blobs
            return await inner(blobs)

        code._read = read  # pyright: ignore[reportPrivateUsage]


async def mirror_of(folder: Path, repo: Repo) -> tuple[Mirror, str]:
    mirror = await Mirror.open(folder, str(repo.path))
    await mirror.fetch()
    return mirror, await mirror.resolve()


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return Repo.make(tmp_path / "origin", dict(FILES))


async def counted(tmp_path: Path, repo: Repo, limits: Limits | None = None) -> Counted:
    mirror, commit = await mirror_of(tmp_path / "mirrors", repo)
    return Counted(code_map(tmp_path / "data", mirror, commit, limits or Limits()))


async def test_a_new_commit_costs_only_its_changed_files(tmp_path: Path, repo: Repo) -> None:
    first = await counted(tmp_path, repo)
    drawn, left_out = await first.code.draw(Focus(), 500)
    assert len(first.read) == 3
    assert left_out == {}
    assert {shown.path for shown in drawn.files} == {"shop/cart.py", "shop/price.py", "web/view.ts"}
    assert "    1  def total(cart)\n" in drawn.text

    repo.commit("more", {"shop/price.py": "def total(cart, tax=0):\n    return 2\n"})
    second = await counted(tmp_path, repo)
    changed, _ = await second.code.draw(Focus(), 500)
    assert len(second.read) == 1
    assert "def total(cart, tax=0)" in changed.text

    again = await counted(tmp_path, repo)
    assert (await again.code.draw(Focus(), 500))[0] == changed
    assert again.read == []


async def test_repositories_share_what_they_have_in_common(tmp_path: Path, repo: Repo) -> None:
    await (await counted(tmp_path, repo)).code.draw(Focus(), 500)
    other = Repo.make(tmp_path / "other", {"lib/same.py": FILES["shop/price.py"], "own.go": "package p\n"})
    code = await counted(tmp_path, other)
    drawn, _ = await code.code.draw(Focus(), 500)
    assert len(code.read) == 1
    assert "lib/same.py:\n    1  def total(cart)\n" in drawn.text


async def test_what_the_workspace_changed_is_in_the_map_and_not_in_the_cache(
    tmp_path: Path, repo: Repo
) -> None:
    folder = tmp_path / "place"
    folder.mkdir()
    workspace = Workplace(folder, FILES).workspace()
    code = await counted(tmp_path, repo)
    workspace.write("shop/price.py", b"def total_of(cart):\n    return 1\n")
    workspace.write("shop/added.rb", b"def fresh\nend\n")
    workspace.delete("web/view.ts")
    drawn, _ = await code.code.draw(Focus(), 500, workspace)
    assert "total_of" in drawn.text
    assert "fresh" in drawn.text
    assert "web/view.ts" not in drawn.text
    found = await find_symbol(code.code, "total_of", workspace)
    assert [(place.path, place.line) for place in found.definitions] == [("shop/price.py", 1)]

    plain, _ = await code.code.draw(Focus(), 500)
    assert "total_of" not in plain.text
    assert "def total(cart)" in plain.text


async def test_names_are_looked_up_with_their_scopes(tmp_path: Path, repo: Repo) -> None:
    code = (await counted(tmp_path, repo)).code
    total = await find_symbol(code, "total")
    assert [(place.path, place.line, place.text) for place in total.definitions] == [
        ("shop/price.py", 1, "def total(cart)")
    ]
    assert {(place.path, place.line) for place in total.references} == {
        ("shop/cart.py", 1), ("shop/cart.py", 6), ("web/view.ts", 1),
    }  # fmt: skip
    assert total.files == 2
    assert [place.line for place in (await find_symbol(code, "Cart.pay()")).definitions] == [5]
    assert (await find_symbol(code, "total", None, "web")).definitions == ()
    assert (await find_symbol(code, "tot")).near == ("total",)
    assert (await find_symbol(code, "")).definitions == ()


async def test_limits_keep_files_out_and_say_so(tmp_path: Path, repo: Repo) -> None:
    repo.commit("big", {"big.py": "def big(): pass\n" + "#" * 5000})
    bounded = await counted(tmp_path, repo, Limits(map_file_bytes=1000, map_files=3))
    drawn, left_out = await bounded.code.draw(Focus(), 500)
    assert left_out == {"map_file_bytes": 1, "map_files": 1}
    assert "big" not in drawn.text
    # What was given up under a lower limit is not given up for ever.
    drawn, left_out = await (await counted(tmp_path, repo)).code.draw(Focus(), 500)
    assert left_out == {}
    assert "def big()" in drawn.text


async def test_without_time_the_map_is_empty_and_made_the_next_time(tmp_path: Path, repo: Repo) -> None:
    hurried = await counted(tmp_path, repo, Limits(map_seconds=-1.0))
    drawn, left_out = await hurried.code.draw(Focus(), 500)
    assert (drawn.text, left_out) == ("", {"map_seconds": 3})
    drawn, left_out = await (await counted(tmp_path, repo)).code.draw(Focus(), 500)
    assert len(drawn.files) == 3
    assert left_out == {}


async def test_a_file_without_a_byte_may_be_the_first_one(tmp_path: Path) -> None:
    repo = Repo.make(tmp_path / "origin", {"a/__init__.py": "", "a/cart.py": FILES["shop/price.py"]})
    drawn, _ = await (await counted(tmp_path, repo)).code.draw(Focus(), 500)
    assert "total" in str(drawn)


async def test_links_binaries_and_forged_names_are_left_out(tmp_path: Path, repo: Repo) -> None:
    (repo.path / "link.py").symlink_to("/etc/passwd")
    repo.commit(
        "odd",
        {
            "binary.py": b"\0\1\2def hidden(): pass\n",
            "x.py:\n    1  def forged().py": "def forged(): pass\n",
            "latin.py": b"# \xe9\ndef visible(): pass\n",
        },
    )
    drawn, _ = await (await counted(tmp_path, repo)).code.draw(read_focus("hidden forged visible"), 500)
    assert "visible" in drawn.text
    assert "hidden" not in drawn.text
    assert "forged" not in drawn.text
    assert "link.py" not in drawn.text


async def test_maps_that_are_made_at_once_parse_a_file_once(tmp_path: Path, repo: Repo) -> None:
    mirror, commit = await mirror_of(tmp_path / "mirrors", repo)
    maps = [Counted(code_map(tmp_path / "data", mirror, commit, Limits())) for _ in range(3)]
    drawn = await asyncio.gather(*(one.code.draw(Focus(), 500) for one in maps))
    assert len({shown.text for shown, _ in drawn}) == 1
    assert sorted(len(one.read) for one in maps) == [0, 0, 3]
    assert not list((tmp_path / "data" / "codemap").glob("*.lock"))
