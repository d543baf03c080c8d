"""Sandboxes side by side: a fresh one, one from the pool, a further command, a thousand idle ones.

    python -m bench.sandbox [--only fresh|further|egress|idle] [--rounds N] [--idle N] [--publish]

Each variant of a round runs after the other, so that a busy moment of the machine hits all alike. What is not
installed is left out by name. `--publish` writes the tables into `bench/README.md`.
"""

import argparse
import asyncio
import contextlib
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncGenerator
from pathlib import Path

from bench.egress import measure as measure_egress
from bench.rivals import Spawner, find_rivals, plain_seconds, spawned
from bench.rounds import Goal, Variant, interleave, machine, publish, table
from overnight.domain.errors import OvernightError
from overnight.sandbox.bubblewrap.arguments import find_bubblewrap, mount_arguments, namespace_arguments
from overnight.sandbox.choose import SandboxKind, choose
from overnight.sandbox.interface import Command, Sandbox, SandboxBackend, SandboxSpec
from overnight.sandbox.native.backend import NamespacesBackend
from overnight.sandbox.room import Room
from overnight.sandbox.tools import HostTools
from overnight.sandbox.view import write_etc
from overnight.sandbox.watch import descendants

PARTS = ("fresh", "further", "egress", "idle")
TRUE = Command(argv=("true",), seconds=120)
COLD, POOL = "Overnight namespaces, cold", "Overnight namespaces, from the pool"
BWRAP = "bubblewrap, same namespaces and mounts, no filter"
CONTAINER = "Overnight container"
PLAIN = "subprocess.run on the host"
KINDS: dict[str, SandboxKind] = {"Overnight bubblewrap": "bubblewrap", CONTAINER: "container"}
_SETTLE = 0.05
"""Seconds that the pool gets to make the next sandbox, between two measurements."""


async def open_backend(kind: SandboxKind, folder: Path) -> SandboxBackend:
    """Return a backend, tried here."""
    return await choose(kind, state=folder / "state", search=os.environ["PATH"], home=Path.home())


def without_pool(folder: Path, *, bare: bool = False) -> NamespacesBackend:
    """Return the same kind of sandbox, each made when it is wanted.

    Args:
        folder: where its state may lie.
        bare: without control groups and without a user of its own for each.
    """
    tools = HostTools(os.environ["PATH"], Path.home(), Path(sys.base_prefix))
    if bare:
        return NamespacesBackend(tools, folder / "state", ahead=0, runtime=None, grouped=False)
    return NamespacesBackend(tools, folder / "state", ahead=0)


async def first_command(room: Room) -> float:
    """Return the seconds from the wish for a sandbox to the exit of `true` in it."""
    sandbox = room.open()
    began = time.perf_counter()
    result = await sandbox.run(TRUE)
    took = time.perf_counter() - began
    await sandbox.close()
    if result.exit_code != 0:
        raise RuntimeError(f"true ended with {result}")
    return took


async def fresh(folder: Path, rounds: int) -> tuple[str, list[Goal]]:
    """Measure start to exit of `true` in a fresh sandbox."""
    bwrap = find_bubblewrap(os.environ["PATH"])
    (folder / "programs").mkdir()
    (folder / "programs" / "bwrap").symlink_to(bwrap.program)  # some others want it on PATH
    spawner = Spawner(folder / "programs")
    apart = Spawner(folder / "programs", apart=os.geteuid() == 0)
    variants, absent = find_rivals(folder / "rivals", spawner, apart)
    by_name = {variant.name: variant for variant in variants}
    words = words_of(bwrap.program, folder)
    by_name[BWRAP] = Variant(BWRAP, spawned(spawner, lambda: words))
    ours = await open_backend("namespaces", folder)
    pool = Room(ours, folder)

    async def from_pool() -> float:
        await asyncio.sleep(_SETTLE)
        return await first_command(pool)

    cold = Room(without_pool(folder), folder)
    by_name[COLD] = Variant(COLD, lambda: first_command(cold))
    by_name[POOL] = Variant(POOL, from_pool)
    for name, kind in KINDS.items():
        try:
            room = Room(await open_backend(kind, folder), folder)
        except OvernightError as error:
            absent.append(f"{name}: {error.message}")
            continue
        every = 10 if kind == "container" else 1
        by_name[name] = Variant(name, lambda room=room: first_command(room), every)
    try:
        await interleave(list(by_name.values()), rounds)
    finally:
        spawner.close()
        apart.close()
    plain = by_name["plain fork + exec"]
    others = [one for name, one in by_name.items() if not name.startswith(("Overnight", "plain", "unshare"))]
    slower = [one for one in others if one.name != BWRAP]
    goals = [Goal("cold against bubblewrap", by_name[COLD].median / by_name[BWRAP].median, 1.2)]
    if slower:
        quickest = min(slower, key=lambda one: one.median)
        goals.append(Goal(f"cold against {quickest.name}", by_name[COLD].median / quickest.median, 1.0))
    quickest = min(others, key=lambda one: one.median)
    ratio = by_name[POOL].median / quickest.median
    goals.append(Goal(f"from the pool against {quickest.name}, the quickest other", ratio, 1 / 3))
    ordered = sorted(by_name.values(), key=lambda one: one.median)
    notes = [f"- left out: {line}" for line in absent]
    text = ["### Start to exit of `true` in a fresh sandbox", "", table(ordered, plain), "", *notes]
    return "\n".join(text), goals


def words_of(program: Path, folder: Path) -> list[str]:
    """Return the words that run `true` by bubblewrap with our namespaces, mounts and overlay, and no more.

    Our own backend executes two programs more, to become somebody else and to say "not found" as a shell.
    """
    place = folder / "bwrap"
    for name in ("lower", "upper", "work"):
        (place / name).mkdir(parents=True, exist_ok=True)
    spec = SandboxSpec(lower=(place / "lower",), upper=place / "upper", work=place / "work")
    mounts = mount_arguments(spec, (), write_etc(folder / "bwrap-etc", os.geteuid(), os.getegid()))
    arguments = namespace_arguments("none", privileged=False)
    return [str(program), *arguments, *mounts, "--setenv", "PATH", "/usr/bin:/bin", "--", TRUE.argv[0]]


async def further(folder: Path, rounds: int) -> tuple[str, list[Goal]]:
    """Measure one more command in a live sandbox against `subprocess.run`."""

    async def plain() -> float:
        return plain_seconds()

    variants, sandboxes, absent = [Variant(PLAIN, plain)], list[Sandbox](), list[str]()
    kinds: dict[str, SandboxKind] = {"Overnight namespaces": "namespaces", **KINDS}
    for name, kind in kinds.items():
        try:
            sandbox = Room(await open_backend(kind, folder), folder).open()
        except OvernightError as error:
            absent.append(f"- left out: {name}: {error.message}")
            continue
        sandboxes.append(sandbox)

        async def measure(sandbox: Sandbox = sandbox) -> float:
            began = time.perf_counter()
            await sandbox.run(TRUE)
            return time.perf_counter() - began

        variants.append(Variant(name, measure))
    try:
        await interleave(variants, rounds)
    finally:
        for sandbox in sandboxes:
            await sandbox.close()
    goal = Goal("a further command against subprocess.run", variants[1].median / variants[0].median, 1.3)
    text = ["### One more command in a live sandbox", "", table(variants, variants[0]), "", *absent]
    return "\n".join(text), [goal]


@contextlib.asynccontextmanager
async def counted_memory() -> AsyncGenerator[Path | None]:
    """Put this process, and what it starts, into a control group that counts memory, if root may."""
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    own = {
        name: path for _, names, path in (line.split(":", 2) for line in lines) for name in names.split(",")
    }
    folder, usage = Path("/sys/fs/cgroup/memory") / own.get("memory", "").lstrip("/"), "memory.usage_in_bytes"
    if not (folder / usage).exists():
        folder, usage = Path("/sys/fs/cgroup") / own.get("", "").lstrip("/"), "memory.current"
    group = folder / f"bench-{os.getpid()}"
    try:
        group.mkdir()
        (group / "cgroup.procs").write_text(str(os.getpid()))
    except OSError:
        with contextlib.suppress(OSError):
            group.rmdir()
        yield None
        return
    try:
        yield group / usage
    finally:
        (folder / "cgroup.procs").write_text(str(os.getpid()))
        with contextlib.suppress(OSError):
            group.rmdir()


def proportional_bytes(processes: list[int]) -> int:
    """Return the memory of processes, shared pages divided among those that share them."""
    total = 0
    for process in processes:
        with contextlib.suppress(OSError, ValueError, IndexError):
            for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    return total


async def idle(folder: Path, count: int) -> tuple[str, list[Goal]]:
    """Keep so many sandboxes alive, each with its first command done; then end all."""
    async with counted_memory() as usage:
        backend = await open_backend("namespaces", folder)
        room = Room(backend, folder)
        before = 0 if usage is None else int(usage.read_text())
        sandboxes: list[Sandbox] = []
        began = time.perf_counter()
        for _ in range(count):
            sandbox = room.open()
            await (sandbox.run(TRUE) if backend.lasting else sandbox.start(Command(argv=("sleep", "3600"))))
            sandboxes.append(sandbox)
        making = time.perf_counter() - began
        processes = list(descendants(os.getpid()))
        counted = 0 if usage is None else int(usage.read_text()) - before
        shared = proportional_bytes(processes)
        began = time.perf_counter()
        await asyncio.gather(*(sandbox.close() for sandbox in sandboxes))
        ending = time.perf_counter() - began
    memory = counted or shared
    text = (
        f"### {count} idle sandboxes alive at once\n\n"
        "| | |\n|---|---:|\n"
        f"| made one after the other, first command done | {count / making:.0f} a second |\n"
        f"| processes | {len(processes)} |\n"
        f"| memory by control group, the kernel's too | {counted / 1024**2:.0f} MiB |\n"
        f"| memory of the processes (PSS) | {shared / 1024**2:.0f} MiB |\n"
        f"| each | {memory / count / 1024:.0f} KiB |\n| all gone after | {ending:.2f} s |\n"
    )
    scale = 1000 / count
    goals = [
        Goal(f"memory of {count} sandboxes, counted up to 1,000", memory * scale / 1024**3, 2.0, "GiB"),
        Goal(f"all {count} gone", ending, 2.0, "s"),
    ]
    return text, goals


async def egress(folder: Path, rounds: int) -> tuple[str, list[Goal]]:
    """Measure a request through the egress proxy from a sandbox and from the host; see `bench.egress`."""
    medians = await measure_egress(max(5, rounds // 2))
    text = (
        f"### A connection and a small request through the egress proxy, medians of {medians.requests}\n\n"
        "| way | ms |\n|---|---:|\n"
        f"| host, without a proxy | {medians.direct:.2f} |\n"
        f"| host, by the proxy | {medians.host:.2f} |\n"
        f"| sandbox, by the same proxy | {medians.sandbox:.2f} |\n"
    )
    return text, [Goal("a request from a sandbox against the same proxy from the host", medians.ratio, 2.0)]


async def measure(only: tuple[str, ...], rounds: int, count: int) -> str:
    """Run the parts and return their report."""
    folder = Path(tempfile.mkdtemp(prefix="overnight-bench-"))
    folder.chmod(0o755)
    texts, goals = list[str](), list[Goal]()
    try:
        for part in only:
            print(f"{part} …", file=sys.stderr)
            parts = {"fresh": fresh, "further": further, "egress": egress, "idle": idle}
            text, found = await parts[part](folder, count if part == "idle" else rounds)
            texts.append(text.strip())
            goals += found
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    goal_lines = "\n".join(goal.line() for goal in goals)
    return "\n\n".join([machine(), *texts, "### Goals", goal_lines]) + "\n"


def main() -> None:
    """Read the arguments, measure, print and perhaps publish."""
    parser = argparse.ArgumentParser(description="Sandboxes side by side.")
    parser.add_argument("--only", choices=PARTS, action="append")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--idle", type=int, default=1000)
    parser.add_argument("--publish", action="store_true")
    given = parser.parse_args()
    if platform.system() != "Linux":
        parser.error("sandboxes need Linux")
    text = asyncio.run(measure(tuple(given.only or PARTS), given.rounds, given.idle))
    print(text)
    if given.publish:
        publish("sandbox", text)


if __name__ == "__main__":
    main()
