"""The editing tools over a real workspace, chosen by the model's profile; and pictures."""

import struct
import zlib
from pathlib import Path

import pytest

from overnight.agents.tools.catalog import tools_for
from overnight.agents.tools.edit import replace_text
from overnight.agents.tools.pictures import Picture, look_at
from overnight.domain.conversation import Completion
from overnight.domain.errors import PatchError
from overnight.domain.events import ArtifactKept, FileChanged, LimitHit
from overnight.domain.limits import Limits
from overnight.domain.patch import EXECUTABLE
from overnight.models.scripted import PROFILE
from tests.agents.repair.workplace import Workplace
from tests.agents.working import DONE, call, calls, edit, scripted, work

pytestmark = pytest.mark.anyio


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    return Workplace(
        tmp_path, {"a.txt": "one\ntwo\nthree\ntwo\n", "win.txt": "one\r\ntwo\r\n", "run.sh": "x\n"}
    )


def png(width: int, height: int) -> bytes:
    """Return the smallest picture of that size that anybody would open."""
    rows = b"".join(b"\0" + b"\0" * (3 * width) for _ in range(height))
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
    )
    parts = [b"\x89PNG\r\n\x1a\n"]
    for kind, data in (*chunks, (b"IEND", b"")):
        parts += [struct.pack(">I", len(data)), kind, data, struct.pack(">I", zlib.crc32(kind + data))]
    return b"".join(parts)


@pytest.mark.parametrize(
    ("form", "names"),
    [("patch", ["apply_patch"]), ("replace", ["edit", "write"]), ("whole", ["write"])],
)
def test_the_editing_tools_follow_the_profile(form: str, names: list[str]) -> None:
    profile = scripted(edit_format=form, images=False).profile
    editing = [
        tool.spec.name for tool in tools_for(profile) if tool.spec.name in ("apply_patch", "edit", "write")
    ]
    assert editing == names
    assert "view_image" not in [tool.spec.name for tool in tools_for(profile)]


async def test_search_and_replace(place: Workplace) -> None:
    model = scripted(
        calls(
            ("edit", {"path": "a.txt", "old": "one\ntwo", "new": "1\n2"}),
            ("edit", {"path": "a.txt", "old": "two", "new": "2"}),
            ("edit", {"path": "win.txt", "old": "one\ntwo", "new": "1\n2"}),
            ("edit", {"path": "a.txt", "old": "three", "new": "three"}),
            ("edit", {"path": "a.txt", "old": "zwei", "new": "2"}),
            ("edit", {"path": "gone.txt", "old": "a", "new": "b"}),
            ("edit", {"path": "../a.txt", "old": "a", "new": "b"}),
            ("edit", {"path": "a.txt", "old": "", "new": "b"}),
        ),
        call("edit", {"path": "a.txt", "old": "2", "new": "zwei", "all": True}),
        DONE,
        edit_format="replace",
    )
    worked = await work(place, model=model)
    assert worked.text("a.txt") == "1\nzwei\nthree\nzwei\n"
    assert worked.text("win.txt") == "1\r\n2\r\n"
    results = worked.results
    assert results[0] == "Done. Changed files:\nM a.txt"
    assert results[3].startswith("Nothing changes")
    assert "2: 2\n3: three" in results[4]
    assert "no such file" in results[5]
    assert "outside" in results[6]
    assert "must be strings" in results[7]
    first = worked.of(FileChanged)[0]
    assert (first.path, first.change, first.added, first.removed) == ("a.txt", "modified", 2, 2)


async def test_a_text_that_stands_there_twice_is_not_replaced(place: Workplace) -> None:
    twice = call("edit", {"path": "a.txt", "old": "two", "new": "2"})
    worked = await work(place, model=scripted(twice, DONE, edit_format="replace"))
    assert "2 times, at lines 2, 4" in worked.told
    with pytest.raises(PatchError, match="aa"):
        replace_text("aa", "aaa a aaa", "aaa", "b")


async def test_whole_files(place: Workplace) -> None:
    model = scripted(
        calls(
            ("write", {"path": "new/file.txt", "content": "hello\n"}),
            ("write", {"path": "a.txt", "content": "all new"}),
            ("write", {"path": "bad.txt", "content": 7}),
            ("write", {"path": "half.txt", "content": "\ud800"}),
        ),
        DONE,
        edit_format="whole",
    )
    worked = await work(place, model=model)
    assert worked.text("new/file.txt") == "hello\n"
    assert worked.text("a.txt") == "all new"
    assert worked.text("half.txt") == "?"
    assert [text.partition("\n")[2] for text in worked.results[:2]] == ["A new/file.txt", "M a.txt"]


async def test_a_moved_program_stays_a_program(place: Workplace) -> None:
    worked = await work(
        place,
        call("shell", {"command": "chmod +x run.sh"}),
        edit("*** Update File: run.sh", "*** Move to: bin/go.sh", "@@", "-x", "+y"),
        DONE,
    )
    assert worked.told == "Done. Changed files:\nD run.sh\nA bin/go.sh"
    assert worked.workspace.mode("bin/go.sh") == EXECUTABLE
    assert worked.text("run.sh") is None


async def test_a_link_is_not_edited_as_if_it_were_a_file(place: Workplace) -> None:
    worked = await work(
        place,
        call("shell", {"command": "ln -s a.txt link"}),
        edit("*** Update File: link", "@@", "-a.txt", "+b.txt"),
        DONE,
    )
    assert "symbolic link" in worked.told
    assert worked.workspace.read("link") == b"a.txt"


async def test_a_patch_may_come_as_bare_text(place: Workplace) -> None:
    bare = "*** Begin Patch\n*** Update File: a.txt\n@@\n-one\n+1\n*** End Patch"
    worked = await work(place, call("apply_patch", bare), DONE)
    assert worked.text("a.txt") == "1\ntwo\nthree\ntwo\n"


async def test_a_picture_is_shown(place: Workplace) -> None:
    workspace = place.workspace()
    workspace.write("shot.dat", png(3, 2))
    worked = await work(place, call("view_image", {"path": "shot.dat"}), DONE, workspace=workspace)
    assert "image/png, 3 × 2" in worked.told
    request = worked.model.requests[-1]
    (image,) = request.messages[-1].images
    assert (image.media_type, image.width, image.height) == ("image/png", 3, 2)
    assert request.images == {image.digest: png(3, 2)}
    assert worked.of(ArtifactKept)[0].digest == image.digest


@pytest.mark.parametrize(
    ("name", "limits", "says", "hit"),
    [
        ("a.txt", Limits(), "not a PNG", []),
        ("gone.png", Limits(), "no such file", []),
        ("shot.png", Limits(image_bytes=10), "too large", ["image_bytes"]),
        ("shot.png", Limits(image_pixels=5), "too large", ["image_pixels"]),
    ],
)
async def test_what_is_no_picture_or_too_large_is_refused(
    place: Workplace, name: str, limits: Limits, says: str, hit: list[str]
) -> None:
    workspace = place.workspace()
    workspace.write("shot.png", png(3, 2))
    worked = await work(place, call("view_image", {"path": name}), DONE, workspace=workspace, limits=limits)
    assert says in worked.told
    assert [event.limit for event in worked.of(LimitHit)] == hit


async def test_a_model_that_does_not_look_is_told_so(place: Workplace) -> None:
    from overnight.agents.loop import Loop

    model = scripted(call("view_image", {"path": "a.txt"}), DONE, images=False)
    await Loop(tools_for(PROFILE)).work(place.assignment(model))
    assert "does not look at pictures" in model.requests[-1].messages[-1].text
    assert isinstance(DONE, Completion)


JPEG = bytes.fromhex("ffd8ffe000104a46494600010100000100010000ffc0000b080010002001011100")


@pytest.mark.parametrize(
    ("content", "picture"),
    [
        (png(7, 9), Picture("image/png", 7, 9)),
        (b"GIF89a" + struct.pack("<HH", 5, 6), Picture("image/gif", 5, 6)),
        (JPEG, Picture("image/jpeg", 32, 16)),
        (b"RIFF\0\0\0\0WEBPVP8 \0\0\0\0\0\0\0\x9d\x01\x2a\x05\0\x06\0", Picture("image/webp", 5, 6)),
        (b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f\x04\x40\x01\0" + b"\0" * 6, Picture("image/webp", 5, 6)),
        (b"RIFF\0\0\0\0WEBPVP8X\0\0\0\0\0\0\0\0\x04\0\0\x05\0\0", Picture("image/webp", 5, 6)),
        (b"RIFF\0\0\0\0WAVEfmt " + b"\0" * 20, None),
        (png(7, 9)[:20], None),
        (b"\xff\xd8\xff", None),
        (b"<svg/>", None),
        (b"", None),
    ],
)
def test_a_picture_is_known_by_its_bytes(content: bytes, picture: Picture | None) -> None:
    assert look_at(content) == picture
