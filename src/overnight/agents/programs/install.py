"""Installs agent programs at their pinned versions, each into a folder of its own, whole or not at all."""

import asyncio
import contextlib
import fcntl
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncGenerator, Callable, Mapping
from pathlib import Path

from overnight.agents.programs.table import Program
from overnight.domain.errors import OvernightError, UsageError

_TAIL_LINES = 12
_INSTALL_SECONDS = 1800.0
_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")
_PREFIXES = ("NPM_CONFIG_", "PIP_", "UV_", "SSL_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "NODE_EXTRA_CA")


class Installer:
    """The installed programs beneath one folder. Several processes may share it.

    Args:
        root: holds a folder for each program and version.
        environment: of the package managers; only what they need is handed on.
    """

    def __init__(self, root: Path, environment: Mapping[str, str]) -> None:
        self._root = root
        self._environment = {
            name: value
            for name, value in environment.items()
            if name in _KEPT or name.upper().startswith(_PREFIXES)
        }

    def folder(self, program: Program) -> Path:
        """Return where a program lies once it is installed."""
        return self._root / f"{program.name}-{program.version}"

    def installed(self, program: Program) -> bool:
        """Say whether a program can be used."""
        if program.registry == "host":
            return shutil.which(program.command, path=self._environment.get("PATH")) is not None
        return self.folder(program).is_dir()

    def require(self, program: Program) -> Path:
        """Return a program's folder.

        Raises:
            UsageError: it is not installed.
        """
        if not self.installed(program):
            hint = f"Install it: overnight agent install {program.name}"
            if program.registry == "host":
                hint = f"Put the program {program.command!r} into your PATH; no registry of packages has it."
            raise UsageError(f"The agent {program.name} is not installed", hint)
        return self.folder(program)

    async def install(self, program: Program, say: Callable[[str], None]) -> Path:
        """Install a program if it is not there yet, and return its folder.

        Scripts that a package would run at its installation are not run.

        Raises:
            UsageError: a person has to install it, or its package manager is missing.
            OvernightError: the package manager failed; nothing is left of it.
        """
        if program.registry == "host" or self.installed(program):
            return self.require(program)
        self._root.mkdir(parents=True, exist_ok=True)
        async with self._locked(program):
            if self.installed(program):  # by another process, while we waited
                return self.folder(program)
            place = Path(tempfile.mkdtemp(prefix=f".{program.name}-", dir=self._root))
            try:
                place.chmod(0o755)
                command = self._command(program, place)
                say(f"installing {program.pinned}")
                await self._run(program, command)
                _link(program, place)
                place.rename(self.folder(program))
            except BaseException:
                shutil.rmtree(place, ignore_errors=True)
                raise
        return self.folder(program)

    def remove(self, program: Program) -> bool:
        """Remove a program; say whether there was one."""
        if program.registry == "host" or not self.installed(program):
            return False
        shutil.rmtree(self.folder(program))
        return True

    def _command(self, program: Program, place: Path) -> list[str]:
        if program.registry == "npm":
            npm = self._find("npm", program)
            return [
                npm, "install", "--prefix", str(place), "--no-audit", "--no-fund", "--omit=dev",
                "--ignore-scripts", "--loglevel=error", program.pinned,
            ]  # fmt: skip
        python = self._find("python3", program)
        target = ["--target", str(place), program.pinned]
        if uv := shutil.which("uv", path=self._environment.get("PATH")):
            return [uv, "pip", "install", "--quiet", "--python", python, "--only-binary", ":all:", *target]
        return [python, "-m", "pip", "install", "--quiet", "--only-binary", ":all:", *target]

    def _find(self, command: str, program: Program) -> str:
        found = shutil.which(command, path=self._environment.get("PATH"))
        if found is None and command == "python3":
            found = sys.executable
        if found is None:
            raise UsageError(
                f"{program.name} needs {command}, which is not on this machine", f"Install {command} first."
            )
        return found

    async def _run(self, program: Program, command: list[str]) -> None:
        process = await asyncio.create_subprocess_exec(
            *command,
            env=self._environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(_INSTALL_SECONDS):
                output, _ = await process.communicate()
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            raise
        if process.returncode != 0:
            lines = [line for line in output.decode("utf-8", "replace").splitlines() if line.strip()]
            raise OvernightError(
                "\n".join([f"{program.pinned} could not be installed:", *lines[-_TAIL_LINES:]]),
                "Look whether this machine's package manager reaches its registry.",
            )

    @contextlib.asynccontextmanager
    async def _locked(self, program: Program) -> AsyncGenerator[None]:
        handle = os.open(self._root / f".{program.name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            await asyncio.to_thread(fcntl.flock, handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def _link(program: Program, place: Path) -> None:
    """Put the program itself where its package's script would have put it.

    Raises:
        OvernightError: the package has none for this machine.
    """
    if not program.native:
        return
    modules = place / "node_modules"
    flags = Path("/proc/cpuinfo").read_text()
    patterns = program.native if " avx2 " in flags or len(program.native) == 1 else program.native[::-1]
    found = next((path for pattern in patterns for path in sorted(modules.glob(pattern))), None)
    if found is None:
        raise OvernightError(f"{program.pinned} has no program for this kind of machine")
    link = modules / ".bin" / program.command
    link.unlink(missing_ok=True)
    link.symlink_to(os.path.relpath(found, link.parent))
