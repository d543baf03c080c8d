"""One measurement of aider's repository map in a fresh process, run by the Python that aider lives in.

It gets what ours gets: the source files, the words of the task, the same budget, counted the same way.
"""
# pyright: basic, reportMissingImports=false

import contextlib
import json
import os
import re
import sys
import time
from pathlib import Path


class Quiet:
    """What aider's map wants of its terminal."""

    def tool_output(self, *_: object, **__: object) -> None:
        """Say nothing."""

    tool_warning = tool_error = tool_output

    def read_text(self, name: str, silent: bool = False) -> str | None:
        """Return a file's text, or None."""
        with contextlib.suppress(OSError, UnicodeDecodeError):
            return Path(name).read_text("utf-8")
        return None


class Counter:
    """Counts tokens as our map does."""

    def token_count(self, text: str) -> int:
        """Return about how many tokens `text` is."""
        return (len(text.encode("utf-8", "replace")) * 10 + 32) // 33


def main() -> None:
    """Draw the map and print what it took."""
    task = json.loads(sys.argv[1])
    os.chdir(task["repository"])
    from aider.repomap import RepoMap

    files = [str(Path(task["repository"]) / path) for path in json.loads(Path(task["files"]).read_text())]
    mentioned = set(re.split(r"\W+", task["focus"])) - {""}
    started = time.perf_counter()
    drawn = RepoMap(
        map_tokens=int(task["tokens"]), root=task["repository"], main_model=Counter(), io=Quiet()
    ).get_repo_map([], files, set(), mentioned)
    print(json.dumps({"seconds": time.perf_counter() - started, "text": drawn or ""}))


if __name__ == "__main__":
    main()
