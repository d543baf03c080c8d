"""The demo: a real bug in a real package, from an old release to a verified local pull request.

humanize 4.15.0 (MIT) crashes on an empty list; its release 4.16.0 fixed that. The old release is fetched by
pip, a failing test is added, and the rest is what anybody would type: `overnight run`, `overnight pr view`.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / ".demo"
PACKAGE, VERSION, FIXED = "humanize", "4.15.0", "4.16.0"
PROMPT = "natural_list crashes with an IndexError when the list is empty. It should return an empty string."
TEST = "tests/test_natural_list_empty.py"
TEST_TEXT = """\
from __future__ import annotations

import humanize


def test_natural_list_of_nothing() -> None:
    assert humanize.natural_list([]) == ""
"""
CHECK = f"python -m pytest -q {TEST} tests/test_lists.py"


def say(text: str) -> None:
    """Print a headline."""
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}", flush=True)


def fail(text: str) -> None:
    """End with one line that says what to do."""
    raise SystemExit(f"demo: {text}")


def fetch() -> Path:
    """Fetch the old release by the ordinary client, and return its unpacked folder."""
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
        "--no-binary", PACKAGE, "--dest", str(FOLDER), f"{PACKAGE}=={VERSION}",
    ]  # fmt: skip
    if subprocess.run(command, check=False).returncode != 0:
        fail(f"pip could not fetch {PACKAGE} {VERSION}; is the network there?")
    (archive,) = FOLDER.glob(f"{PACKAGE}-*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(FOLDER, filter="data")
    archive.unlink()
    (folder,) = FOLDER.glob(f"{PACKAGE}-*/")
    return folder.rename(FOLDER / PACKAGE)


def commit(repository: Path) -> None:
    """Make a repository of it, with the failing test as its last commit."""

    def git(*arguments: str) -> None:
        identity = ("-c", "user.name=Demo", "-c", "user.email=demo@example.org", "-c", "commit.gpgsign=false")
        done = subprocess.run(
            ["git", *identity, "-c", "init.defaultBranch=main", *arguments], cwd=repository, check=False
        )
        if done.returncode != 0:
            fail(f"git {arguments[0]} failed")

    git("init", "--quiet")
    git("add", "--all", "--force")
    git("commit", "--quiet", "--message", f"{PACKAGE} {VERSION}")
    (repository / TEST).write_text(TEST_TEXT)
    git("add", "--all")
    git("commit", "--quiet", "--message", "Add a test for an empty list")


def overnight(*arguments: str) -> int:
    """Run `overnight` in a data directory of the demo's own, its output on this terminal."""
    environment = {**os.environ, "OVERNIGHT_DATA_DIR": str(FOLDER / "data")}
    return subprocess.run(
        [sys.executable, "-m", "overnight", *arguments], env=environment, check=False
    ).returncode


def main() -> int:
    """Run the demo; returns the exit code of `overnight run`."""
    started = time.monotonic()
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    say(f"Fetching {PACKAGE} {VERSION}, which has a bug that {FIXED} fixed")
    repository = fetch()
    commit(repository)
    shown = repository.relative_to(Path.cwd()) if repository.is_relative_to(Path.cwd()) else repository
    say(f'$ overnight run "{PROMPT}" \\\n    --repo {shown} --check "{CHECK}" --model embedded')
    code = overnight("run", PROMPT, "--repo", str(repository), "--check", CHECK, "--model", "embedded")
    if code == 0:
        say("$ overnight pr view 1 --patch")
        code = overnight("pr", "view", "1", "--patch")
    seconds = time.monotonic() - started
    if code == 0:
        say(f"A verified pull request stands, after {seconds:.0f} seconds.")
        print(f"Merge it: OVERNIGHT_DATA_DIR={FOLDER.name}/data overnight pr merge 1")
    else:
        say(f"The demo ended with exit code {code} after {seconds:.0f} seconds; see the lines above.")
    return code


if __name__ == "__main__":
    raise SystemExit(main())
