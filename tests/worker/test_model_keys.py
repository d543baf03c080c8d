"""The key of a provider is used in the worker and found nowhere else, whatever provider and agent do."""

import json
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import zstandard

from tests.house import Ended, House, make_repository
from tests.models import streams
from tests.models.loopback import Reply, loopback

KEY = "sk-test-7fQ2mZ9xKd"
LOOK = "env; cat /proc/*/environ /proc/*/cmdline 2>/dev/null | tr '\\0' '\\n'; true"


def calling(command: str) -> Reply:
    """Return an answer that runs a command in the sandbox, and repeats the key in all its parts."""
    function = {"name": "shell", "arguments": json.dumps({"command": command})}
    call = {"index": 0, "id": "call_1", "type": "function", "function": function}
    delta: dict[str, Any] = {"content": f"Your key is {KEY}.", "reasoning_content": f"I saw {KEY}"}
    body = streams.sse(
        streams.chat_chunk({"role": "assistant", **delta}),
        streams.chat_chunk({"tool_calls": [call]}),
        streams.chat_chunk({}, "tool_calls", usage=streams.CHAT_USAGE),
        end="data: [DONE]\n\n",
    )
    return Reply(body, headers=streams.STREAM)


def everything(folder: Path) -> bytes:
    """Return all bytes that are kept below a folder, and the events as they were before compression."""
    found: list[bytes] = []
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            found += written(path)
    with sqlite3.connect(folder / "data" / "overnight.db") as database:
        found += [zstandard.decompress(data) for (data,) in database.execute("select data from chunks")]
    return b"\n".join(found)


def written(path: Path) -> Iterator[bytes]:
    """Yield what was written to a file: the volumes of workspaces are gigabytes of holes."""
    with path.open("rb") as file:
        start, size = 0, path.stat().st_size
        while start < size:
            try:
                start = os.lseek(file.fileno(), start, os.SEEK_DATA)
            except OSError:
                return  # nothing but a hole is left
            end = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            yield os.pread(file.fileno(), end - start, start)
            start = end


def test_a_key_is_found_nowhere(house: House, tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "repository")
    refused = Reply(
        json.dumps({"error": {"message": f"Slow down, {KEY}", "type": "server_error"}}).encode(),
        500,
        streams.JSON,
    )
    replies = [refused, calling(LOOK), Reply(streams.chat_text(f"Done with {KEY}."), headers=streams.STREAM)]
    with loopback(replies) as server:

        def run(*arguments: str) -> Ended:
            url = f"{server.url}/v1"
            return house.run(*arguments, OPENAI_COMPATIBLE_API_KEY=KEY, OPENAI_COMPATIBLE_BASE_URL=url)

        arguments = ("run", "Look around", "--repo", str(repository), "--no-verify", "--json")
        ran = run(*arguments, "--model", "openai-compatible:m")
        assert ran.code in (0, 3), ran
        attempt = ran.json["attempts"][0]
        assert attempt["usage"]["model_calls"] == 2, ran
        log = run("task", "logs", attempt["id"], "--json")
        exported = [
            run("task", "export", attempt["id"], "--format", form).stdout
            for form in ("atif", "mini-swe-agent", "recording")
        ]
    assert server.headers[0]["authorization"] == f"Bearer {KEY}", "it was used"
    assert all(KEY not in body.decode() for body in server.bodies), "and sent in no conversation"
    shown = "\n".join([ran.stdout, ran.stderr, log.stdout, log.stderr, *exported])
    assert "Your key is" in shown
    assert "model.called" in shown
    assert "PATH=" in shown, "the command saw an environment"
    assert KEY not in shown
    kept = everything(house.root)
    assert b"Your key is" in kept, "the search sees what is kept"
    assert KEY.encode() not in kept


def test_the_price_that_nobody_knows_is_not_shown_as_none(house: House, tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "repository")
    file = house.root / "config.toml"
    file.touch()
    with loopback([Reply(streams.chat_text(), headers=streams.STREAM)]) as server:

        def run(*more: str) -> Ended:
            arguments = ("run", "Do nothing", "--repo", str(repository), "--no-verify", *more)
            url, model = f"{server.url}/v1", ("--model", "openai-compatible:m")
            return house.run(*arguments, *model, OPENAI_COMPATIBLE_BASE_URL=url, OVERNIGHT_CONFIG=str(file))

        ran = run()
        assert "cost unknown" in ran.stdout, ran
        usage = run("--json").json["attempts"][0]["usage"]
        assert (usage["cost_usd"], usage["input_tokens"]) == (None, 20)
        file.write_text('[models."openai-compatible:*"]\ninput_price = 1\noutput_price = 10\n')
        assert run("--json").json["attempts"][0]["usage"]["cost_usd"] == (20 * 1 + 9 * 10) / 1e6
