"""Finds out, by running it, whether a container engine can give our sandbox here, and in which way."""

import hashlib
import os
import platform
import shutil
import tempfile
from pathlib import Path

import msgspec

from overnight.domain.errors import SandboxUnavailableError
from overnight.sandbox.container.backend import ContainerBackend
from overnight.sandbox.container.engine import Engine, Way, find_engine, ways
from overnight.sandbox.container.orphans import sweep
from overnight.sandbox.interface import Command, SandboxSpec
from overnight.sandbox.tools import HostTools

_SCRIPT = "cat base && echo written > new && test ! -w /proc/sys/kernel/core_pattern && echo fine"


async def open_containers(
    tools: HostTools, *, state: Path, search: str, home: Path, other: tuple[int, int]
) -> ContainerBackend:
    """Return the backend, after one container ran here; what a dead worker left is removed first.

    The way that worked is remembered in `state`, for this kernel, user and engine.

    Raises:
        SandboxUnavailableError: there is no engine, or no container of it holds; the message says why.
    """
    engine = await find_engine(search, home, other)
    proof = state / f"container-works-{_key(engine)}.json"
    try:
        engine = msgspec.structs.replace(engine, way=msgspec.json.decode(proof.read_bytes(), type=Way))
    except (OSError, msgspec.MsgspecError):
        engine = await _try_ways(engine, tools, state, search)
        proof.write_bytes(msgspec.json.encode(engine.way))
    await sweep(engine, state)
    return ContainerBackend(engine, tools, state)


def _key(engine: Engine) -> str:
    boot = Path("/proc/sys/kernel/random/boot_id")
    parts = (
        platform.release(),
        boot.read_text() if boot.is_file() else "",
        str(os.geteuid()),
        str(engine.program),
        engine.version,
    )
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


async def _try_ways(engine: Engine, tools: HostTools, state: Path, search: str) -> Engine:
    said: list[str] = []
    for way in ways(engine, search):
        candidate = msgspec.structs.replace(engine, way=way)
        try:
            await _try(ContainerBackend(candidate, tools, state), state)
        except SandboxUnavailableError as error:
            if error.message not in said:
                said.append(error.message)
        else:
            return candidate
    raise SandboxUnavailableError(
        f"{engine.name} {engine.version} cannot give a sandbox here: {'; '.join(said)}",
        "Run a container by hand to see what it lacks, or use `--sandbox auto`.",
    )


async def _try(backend: ContainerBackend, state: Path) -> None:
    """Run one command in a container over a copied workspace."""
    folder = Path(tempfile.mkdtemp(prefix="self-test-", dir=state))
    try:
        upper = folder / "upper"
        upper.mkdir()
        (upper / "base").write_text("base\n")
        if backend.owner is not None:
            os.chown(upper, *backend.owner)
        sandbox = backend.open(SandboxSpec(lower=(), upper=upper))
        try:
            result = await sandbox.run(Command(script=_SCRIPT, seconds=60))
        finally:
            await sandbox.close()
        said = (result.stdout + result.stderr).decode(errors="replace").strip()
        new = upper / "new"
        if result.exit_code != 0 or not new.is_file() or new.read_text() != "written\n":
            raise SandboxUnavailableError(f"the self-test failed: {said or result.exit_code}")
        if new.stat().st_uid == 0:
            raise SandboxUnavailableError("the self-test ran as root")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
