"""Running the git binary, hardened: no hooks, no helpers, no prompts, bounded time and output.

A repository's own config can name programs (hooks, fsmonitor, filters, ssh commands). What we run on a
mirror reads our config only. What must read a person's repository runs with the flags below, and the
callers use only those git commands that start no filter, diff driver or pager (safety notes, §1.3).
"""

import asyncio
import contextlib
import functools
import math
import os
import re
import resource
import shutil
import signal
import unicodedata
from collections.abc import Callable, Collection, Coroutine, Mapping
from pathlib import Path

import msgspec

from overnight.domain.errors import GitError

MIB = 1024 * 1024
OUTPUT_BYTES = 256 * MIB
"""Default bound on what one git command may print."""
SECONDS = 300.0
"""Default time limit of one git command."""
ERROR_BYTES = MIB
MEMORY_BYTES = 2048 * MIB
"""What one git command may allocate; mapped packs do not count. A tree of a few kilobytes can unfold to
billions of files, and some commands list them in memory before they print the first."""

HARDENING = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.alternateRefsCommand=true",
    "protocol.ext.allow=never",
    "gc.auto=0",
    "maintenance.auto=false",
    "submodule.recurse=false",
    "advice.detachedHead=false",
)
"""Given by `-c`, so they win over every config file."""

# `git fetch` hides our `-c` values from the upload-pack it starts, so that one gets its own. The string is
# constant: it goes through a shell. It reads a repository that may belong to somebody else.
UPLOAD_PACK = (
    "git -c safe.directory='*' -c core.hooksPath=/dev/null -c core.fsmonitor=false "
    "-c core.alternateRefsCommand=true -c protocol.allow=never -c core.sshCommand=false "
    "-c uploadpack.allowAnySHA1InWant=true upload-pack"
)

_REMOTE = frozenset({"fetch", "ls-remote"})
"""The commands that may talk to another repository."""

_KEPT_GIT_VARIABLES = frozenset(
    {
        "GIT_ASKPASS",
        "GIT_CONFIG_GLOBAL",
        "GIT_CONFIG_SYSTEM",
        "GIT_CONFIG_NOSYSTEM",
        "GIT_SSH",
        "GIT_SSH_COMMAND",
        "GIT_SSH_VARIANT",
        "GIT_SSL_CAINFO",
        "GIT_SSL_CAPATH",
        "GIT_SSL_NO_VERIFY",
        "GIT_AUTHOR_NAME",
        "GIT_AUTHOR_EMAIL",
        "GIT_COMMITTER_NAME",
        "GIT_COMMITTER_EMAIL",
    }
)


class GitOutput(msgspec.Struct, frozen=True):
    """What a git command left."""

    code: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """Standard output as text (see `decode`), without the last newline."""
        return decode(self.stdout).removesuffix("\n")


def decode(raw: bytes) -> str:
    """Return `raw` as text; bytes that are no UTF-8 become surrogates, so `encode` gets them back."""
    return raw.decode("utf-8", "surrogateescape")


def encode(text: str) -> bytes:
    """Return the bytes that `decode` made `text` of."""
    return text.encode("utf-8", "surrogateescape")


def clean(text: str, limit: int = 300) -> str:
    """Return `text` as one safe line: no control, format or surrogate characters, at most `limit` long."""
    kept = "".join(
        " " if c in "\n\t\r" else c for c in text if c in "\n\t\r" or unicodedata.category(c)[0] != "C"
    )
    return kept.strip()[:limit]


_OUT_OF_MEMORY = re.compile(rb"(?m)^fatal: (?:inflate: )?[Oo]ut of memory")
_FSCK = re.compile(r"error: object [0-9a-f]+: \w+: ")


def complaint(stderr: bytes) -> str:
    """Return the line of git's messages that says most.

    An object that git's own check refuses, else the last `fatal:` or `error:`, else the last.
    """
    lines = [line for line in (clean(x) for x in decode(stderr).replace("\r", "\n").split("\n")) if line]
    told = [line for line in lines if line.startswith(("fatal:", "error:"))]
    refused = [line for line in told if _FSCK.match(line)]
    best = (refused or told or lines or ["no message"])[-1]
    return best.removeprefix("fatal:").removeprefix("error:").strip() or "no message"


@functools.cache
def git_binary() -> str:
    """Return the absolute path of git.

    Raises:
        GitError: there is no git on this machine.
    """
    found = shutil.which("git")
    if found is None:
        raise GitError("git is not installed", "install git 2.36 or newer")
    return str(Path(found).absolute())


def trusted_environment(variables: Mapping[str, str], protocols: str = "none") -> dict[str, str]:
    """Return an environment in which git reads no config of a person or of the machine."""
    return {
        "PATH": os.pathsep.join((str(Path(git_binary()).parent), "/usr/local/bin", "/usr/bin", "/bin")),
        "HOME": "/nonexistent",
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": protocols,
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_LITERAL_PATHSPECS": "1",
        "GIT_PAGER": "cat",
        "GIT_EDITOR": "false",
        **variables,
    }


def personal_environment(user: Mapping[str, str], variables: Mapping[str, str]) -> dict[str, str]:
    """Return the person's own environment, in which their credentials and config work.

    Variables that would redirect git to another repository (`GIT_DIR` and its like) are dropped.
    """
    kept = {k: v for k, v in user.items() if not k.startswith("GIT_") or k in _KEPT_GIT_VARIABLES}
    return {
        **kept,
        "LC_ALL": "C",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": "https:ssh:file",
        "GIT_LITERAL_PATHSPECS": "1",
        "GIT_PAGER": "cat",
        "GIT_EDITOR": "false",
        **variables,
    }


async def run_git(
    *args: str,
    git_dir: Path | None = None,
    directory: Path | None = None,
    config: Collection[str] = (),
    variables: Mapping[str, str] | None = None,
    user: Mapping[str, str] | None = None,
    stdin: bytes = b"",
    accept: Collection[int] = (0,),
    seconds: float = SECONDS,
    limit: int | None = None,
    on_message: Callable[[str], None] | None = None,
) -> GitOutput:
    """Run `git args` and return what it printed.

    `git_dir` names the repository outright; `directory` is where git starts. `config` are further
    `name=value` settings. `user` is a person's environment: give it only for a fetch from a URL that the
    person named, and for commands in the person's own checkout that they asked for. Without it git sees
    none of their config. `on_message` gets the lines of standard error as they come, cleaned.

    Raises:
        GitError: git is missing, ended with a code that is not in `accept`, took longer than `seconds`, or
            printed more than `limit` bytes (`OUTPUT_BYTES` where none are given).
    """
    command = [git_binary(), "--no-pager"]
    for setting in (*HARDENING, *config):
        command += ["-c", setting]
    if git_dir is not None:
        command.append(f"--git-dir={git_dir}")
    extra = dict(variables or {})
    name = next((a for a in args if not a.startswith("-")), "")
    # A missing object makes git fetch by itself, with a program that the repository's config names.
    protocols = "file" if name in _REMOTE else "none"
    environment = trusted_environment(extra, protocols) if user is None else personal_environment(user, extra)
    process = await _start(
        [*command, *args], name, directory or git_dir or Path("/"), environment, bool(stdin)
    )
    if name not in _REMOTE:
        _bound(process.pid, seconds)
    try:
        async with asyncio.timeout(seconds):
            stdout, stderr, _ = await _gather(
                _read(process.stdout, limit or OUTPUT_BYTES, name),
                _read_messages(process.stderr, on_message),
                _feed(process.stdin, stdin),
            )
            code = await process.wait()
    except TimeoutError:
        raise GitError(
            f"git {name} did not end within {seconds:.0f} s", "see whether the repository is reachable"
        ) from None
    finally:
        await _end(process)
    if code and _OUT_OF_MEMORY.search(stderr):
        what = f"git {name} needed more than {MEMORY_BYTES // MIB} MiB"
        raise GitError(what, "the repository is too large")
    if code not in accept:
        raise GitError(f"git {name} failed: {complaint(stderr)}")
    return GitOutput(code, stdout, stderr)


async def _start(
    command: list[str], name: str, start: Path, environment: dict[str, str], fed: bool
) -> asyncio.subprocess.Process:
    """Start git in its own session: no terminal to ask on, and the whole group can be ended at once."""
    try:
        return await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE if fed else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=start if start.is_dir() else start.parent,  # a linked checkout's `.git` is a file
            env=environment,
            start_new_session=True,
            umask=0o022,
        )
    except OSError as error:
        raise GitError(f"git {name} cannot start in {start}: {error.strerror}") from None


def _bound(process: int, seconds: float) -> None:
    """Bound git's memory, and its processor time: if we are killed, nobody else would end it."""
    with contextlib.suppress(ProcessLookupError):
        resource.prlimit(process, resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
        resource.prlimit(process, resource.RLIMIT_CPU, (math.ceil(seconds), math.ceil(seconds)))


async def _gather(
    stdout: Coroutine[None, None, bytes],
    stderr: Coroutine[None, None, bytes],
    stdin: Coroutine[None, None, None],
) -> tuple[bytes, bytes, None]:
    """Await all three; on the first error cancel the rest and raise that error itself."""
    tasks = (asyncio.create_task(stdout), asyncio.create_task(stderr), asyncio.create_task(stdin))
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _read(stream: asyncio.StreamReader | None, limit: int, name: str) -> bytes:
    assert stream is not None
    parts: list[bytes] = []
    size = 0
    while part := await stream.read(256 * 1024):
        size += len(part)
        if size > limit:
            raise GitError(f"git {name} printed more than {limit // MIB} MiB", "the repository is too large")
        parts.append(part)
    return b"".join(parts)


async def _read_messages(
    stream: asyncio.StreamReader | None, on_message: Callable[[str], None] | None
) -> bytes:
    """Keep the end of standard error, and pass complete lines (`\\r` ends one too) on."""
    assert stream is not None
    kept = bytearray()
    pending = b""
    while part := await stream.read(64 * 1024):
        kept += part
        del kept[: max(0, len(kept) - ERROR_BYTES)]
        if on_message is not None:
            *lines, pending = (pending + part).replace(b"\r", b"\n").split(b"\n")
            for line in lines:
                if text := clean(decode(line)):
                    on_message(text)
    return bytes(kept)


async def _feed(stream: asyncio.StreamWriter | None, data: bytes) -> None:
    if stream is None:
        return
    try:
        stream.write(data)
        await stream.drain()
        stream.close()
        await stream.wait_closed()
    except (BrokenPipeError, ConnectionResetError):
        pass  # git ended early; its exit code says why


async def _end(process: asyncio.subprocess.Process) -> None:
    """Leave no child behind, whatever happened."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await asyncio.shield(process.wait())
