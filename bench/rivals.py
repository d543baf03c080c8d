"""Other programs that confine a command, as argument lists that run `true` in the way closest to ours."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from bench.rounds import Variant

TRUE = "/bin/true"

_INSIDE = r"""
import os, sys, time
null = [(os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0), (os.POSIX_SPAWN_OPEN, 1, "/dev/null", 1, 0)]
for line in sys.stdin:
    words = line.rstrip("\n").split("\0")
    began = time.perf_counter()
    pid = os.posix_spawn(words[0], words, os.environ, file_actions=null)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    print(time.perf_counter() - began, code, flush=True)
"""


class Spawner:
    """A small process that starts programs and takes the time, so that our own size counts for nobody.

    With `apart` it runs in a mount namespace without the second version's control groups, which some
    versions of crun refuse beside the first's.
    """

    def __init__(self, programs: Path, apart: bool = False) -> None:
        words = [sys.executable, "-I", "-c", _INSIDE]
        if apart:
            script = 'umount /sys/fs/cgroup/unified 2>/dev/null; exec "$@"'
            words = ["unshare", "--mount", "--propagation", "private", "bash", "-c", script, "bash", *words]
        self._process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=self._environment(programs)
        )

    @staticmethod
    def _environment(programs: Path) -> dict[str, str]:
        return {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}

    def seconds(self, words: Sequence[str]) -> float:
        """Run a program to its end and return the seconds; it must succeed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\0".join(words) + "\n")
        self._process.stdin.flush()
        took, code = self._process.stdout.readline().split()
        if code != "0":
            raise RuntimeError(f"{words[0]} ended with {code}")
        return float(took)

    def close(self) -> None:
        """End it."""
        self._process.communicate()


def spawned(spawner: Spawner, words: Callable[[], Sequence[str]]) -> Callable[[], Awaitable[float]]:
    """Return a measurement of a program's start to its exit."""

    async def measure() -> float:
        return await asyncio.to_thread(spawner.seconds, words())

    return measure


def find_rivals(folder: Path, spawner: Spawner, apart: Spawner) -> tuple[list[Variant], list[str]]:
    """Return those that are installed and work here, and a line for each other one."""
    variants, absent = [Variant("plain fork + exec", spawned(spawner, lambda: [TRUE]))], list[str]()
    codex, srt = shutil.which("codex"), shutil.which("srt")
    podman, unshare = shutil.which("podman"), shutil.which("unshare")
    apart_words = [unshare, "-mpfnuiC", "--mount-proc", TRUE] if unshare else None
    rivals: dict[str, tuple[Spawner, list[str] | None, int]] = {
        "unshare(1), 7 namespaces": (spawner, apart_words, 1),
        **{
            f"{name} run": (apart, _runtime(name, folder / name), 1) for name in ("crun", "runc")
        },
        "podman run --rootfs": (spawner, (podman and _podman(podman, folder / "podman")) or None, 10),
        "codex sandbox": (spawner, (codex and [codex, "sandbox", "--", TRUE]) or None, 5),
        "srt (Anthropic sandbox-runtime)": (spawner, (srt and [srt, TRUE]) or None, 10),
    }  # fmt: skip
    for name, (where, words, every) in rivals.items():
        if not words:
            absent.append(f"{name}: not installed")
            continue
        try:
            where.seconds(words)
        except (RuntimeError, OSError) as error:
            absent.append(f"{name}: does not run here ({error})")
        else:
            variants.append(Variant(name, spawned(where, lambda words=words: words), every))
    return variants, absent


def _runtime(name: str, folder: Path) -> list[str] | None:
    """Return the words that run `true` by an OCI runtime, without a control group where it can."""
    program = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if program is None:
        return None
    root = folder / "rootfs"
    root.mkdir(parents=True)
    subprocess.run([program, "spec"], cwd=folder, check=True, capture_output=True)
    config = json.loads((folder / "config.json").read_text())
    config["process"] |= {"terminal": False, "args": [TRUE], "user": {"uid": 200000, "gid": 200000}}
    config["root"] = {"path": str(root), "readonly": True}
    for name_of in ("usr", "bin", "lib", "lib64", "proc", "dev", "sys"):
        (root / name_of).mkdir()
    bound = [path for path in ("/usr", "/bin", "/lib", "/lib64") if Path(path).is_dir()]
    config["mounts"] = [mount for mount in config["mounts"] if mount["type"] not in ("cgroup", "cgroup2")]
    config["mounts"] += [
        {"destination": path, "source": path, "type": "bind", "options": ["bind", "ro"]} for path in bound
    ]
    (folder / "config.json").write_text(json.dumps(config))
    options = ["--cgroup-manager=disabled"] if name == "crun" else []
    return [program, *options, "run", "--bundle", str(folder), f"bench-{os.getpid()}-{name}"]


def _podman(program: str, folder: Path) -> list[str]:
    root = folder / "rootfs"
    for name in ("usr", "bin", "lib", "lib64", "etc", "run", "proc", "dev", "sys", "tmp", "var"):
        (root / name).mkdir(parents=True)
    runc = ["--runtime", "runc"] if shutil.which("runc", path=f"{os.environ['PATH']}:/usr/sbin") else []
    binds = [
        f"--volume={path}:{path}:ro" for path in ("/usr", "/bin", "/lib", "/lib64") if Path(path).is_dir()
    ]
    limits = ["--ulimit=nofile=8192:8192", "--ulimit=nproc=4096:4096"]
    return [
        program, "--cgroup-manager=cgroupfs", *runc, "run", "--rm", "--network=none", "--read-only",
        "--cap-drop=ALL", "--user=200000:200000", "--log-driver=none", *limits, *binds, "--rootfs", str(root),
        TRUE,
    ]  # fmt: skip


def plain_seconds() -> float:
    """Run `true` by `subprocess.run` from this process and return the seconds."""
    began = time.perf_counter()
    subprocess.run([TRUE], check=True, capture_output=True)
    return time.perf_counter() - began
