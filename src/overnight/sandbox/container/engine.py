"""The command line of docker or podman: found, asked what it is, and spoken to."""

import asyncio
import contextlib
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from overnight.domain.errors import SandboxUnavailableError

EngineName = Literal["podman", "docker"]
SECONDS = 120.0
"""How long one call may take; a busy machine is slow, and engines wait for each other's locks."""


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """One way to call an engine, of which some do not work everywhere."""

    runtime: str = ""
    """The OCI runtime; the engine's own choice when empty."""
    cgroup_manager: str = ""
    """`cgroupfs` where no systemd runs that the engine could ask."""
    cgroups: bool = True
    """Whether the engine can bound memory, processes and CPU."""


class Engine(msgspec.Struct, frozen=True, kw_only=True):
    """A container engine that answered.

    `user` is who commands are inside, `owner` who files must belong to on the host: None is the caller.
    """

    name: EngineName
    program: Path
    version: str
    variables: Mapping[str, str]
    rootless: bool
    user: str
    owner: tuple[int, int] | None
    keeps_id: bool = False
    """Whether the caller's uid must be mapped to itself, which rootless podman does on request."""
    way: Way = Way()

    def words(self, *arguments: str) -> list[str]:
        """Return the argument list of a call."""
        words = [str(self.program)]
        if self.name == "podman":
            if self.way.cgroup_manager:
                words.append(f"--cgroup-manager={self.way.cgroup_manager}")
            if self.way.runtime:
                words += ["--runtime", self.way.runtime]
        return [*words, *arguments]

    async def call(self, *arguments: str, stdin: bytes = b"") -> str:
        """Run the engine and return what it printed.

        Raises:
            EngineError: it failed; the message is what it said.
        """
        return await _call(self.words(*arguments), self.variables, stdin)


class EngineError(SandboxUnavailableError):
    """The container engine refused."""


async def _call(words: Sequence[str], variables: Mapping[str, str], stdin: bytes = b"") -> str:
    try:
        process = await asyncio.create_subprocess_exec(
            *words,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=dict(variables),
            cwd="/",
            start_new_session=True,  # Ctrl-C in the terminal is ours to handle
        )
    except OSError as error:
        raise EngineError(f"{words[0]} cannot be started: {error.strerror}") from error
    try:
        async with asyncio.timeout(SECONDS):
            out, err = await process.communicate(stdin)
    except TimeoutError as error:
        raise EngineError(f"{Path(words[0]).name} did not answer within {SECONDS:g} seconds") from error
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode != 0:
        lines = [line.strip() for line in err.decode(errors="replace").splitlines() if line.strip()]
        raise EngineError(" ".join(lines[-2:])[:500] or f"{words[0]} ended with {process.returncode}")
    return out.decode(errors="replace").strip()


def engine_variables(search: str, home: Path) -> dict[str, str]:
    """Return the environment of the engine's command line: nothing that a repository could steer."""
    variables = {"PATH": search, "HOME": str(home), "LANG": "C.UTF-8"}
    runtime = Path(f"/run/user/{os.geteuid()}")
    if runtime.is_dir():
        variables["XDG_RUNTIME_DIR"] = str(runtime)
    return variables


async def find_engine(search: str, home: Path, other: tuple[int, int]) -> Engine:
    """Return podman or docker, whichever answers first.

    Args:
        search: directories to look in, as in PATH.
        home: the caller's home, where engines keep what is the caller's.
        other: uid and gid of commands where the caller is root.

    Raises:
        SandboxUnavailableError: there is none, or none answers.
    """
    said: list[str] = []
    for name in ("podman", "docker"):
        found = shutil.which(name, path=":".join(one for one in search.split(":") if one.startswith("/")))
        if found is None:
            continue
        variables = engine_variables(search, home)
        try:
            info = msgspec.json.decode(await _call([found, "info", "--format", "{{json .}}"], variables))
            return _engine(name, Path(found), variables, info, other)
        except (EngineError, msgspec.DecodeError, KeyError, TypeError) as error:
            said.append(f"{name} does not answer: {getattr(error, 'message', error)}")
    raise SandboxUnavailableError(
        "; ".join(said) if said else "neither podman nor docker is installed",
        "Install podman, start docker, or use `--sandbox auto`, which needs neither.",
    )


def _engine(
    name: EngineName,
    program: Path,
    variables: Mapping[str, str],
    info: dict[str, Any],
    other: tuple[int, int],
) -> Engine:
    uid, gid = os.geteuid(), os.getegid()
    root = uid == 0
    if name == "podman":
        rootless = bool(info["host"]["security"]["rootless"])
        version = str(info["version"]["Version"])
    else:
        if not info.get("ServerVersion"):
            raise EngineError(str((info.get("ServerErrors") or ["the daemon does not answer"])[0]))
        rootless = any("rootless" in str(option) for option in info.get("SecurityOptions") or ())
        version = str(info["ServerVersion"])
    uid, gid = other if root else (uid, gid)
    # Root of a rootless daemon's user namespace is the caller to the kernel.
    user = "0:0" if rootless and name == "docker" else f"{uid}:{gid}"
    return Engine(
        name=name,
        program=program,
        version=version,
        variables=variables,
        rootless=rootless,
        user=user,
        owner=other if root else None,
        keeps_id=rootless and name == "podman",
    )


def ways(engine: Engine, search: str) -> list[Way]:
    """Return the ways to call it that are worth a try, the strongest first."""
    if engine.name == "docker":
        return [Way()]
    runtimes = [name for name in ("crun", "runc") if shutil.which(name, path=f"{search}:/usr/sbin:/sbin")]
    bounded = [Way(runtime=runtime, cgroup_manager="cgroupfs") for runtime in ("", *runtimes)]
    return [Way(), *bounded, *(msgspec.structs.replace(way, cgroups=False) for way in bounded)]
