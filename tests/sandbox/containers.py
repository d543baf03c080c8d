"""Container engines for tests: one that works here, tried once, and images made without a registry."""

import io
import os
import re
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path

from overnight.sandbox.choose import choose
from overnight.sandbox.container.backend import ContainerBackend


async def containers(state: Path, home: Path | None = None) -> ContainerBackend:
    """Return the backend itself, tried; `home` is the caller's, where rootless engines keep images."""
    home = home or Path.home()
    backend = await choose("container", state=state, search=os.environ["PATH"], home=home)
    assert isinstance(backend, ContainerBackend)
    return backend


def packed(programs: Sequence[str]) -> bytes:
    """Return an archive with those programs of the host, and the libraries that they load."""
    found = {str(Path(program).resolve()): program for program in programs}
    for program in programs:
        told = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
        for library in re.findall(r"(/\S+) \(0x", told):
            found[str(Path(library).resolve())] = library
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for source, name in found.items():
            archive.add(source, arcname=name.lstrip("/"))
        for folder in ("tmp", "proc", "dev", "sys", "etc", "run", "workspace"):
            made = tarfile.TarInfo(folder)
            made.type, made.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(made)
    return content.getvalue()
