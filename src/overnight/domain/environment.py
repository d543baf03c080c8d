"""The recipe for a repository: what to install, what the checks are, what the sandbox may reach."""

from typing import Literal

import msgspec

NetworkPolicy = Literal["none", "open"]


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """An environment, as detected or as written in `.overnight.toml`.

    Commands run by `bash -c` in the workspace.
    """

    languages: tuple[str, ...] = ()
    setup: tuple[str, ...] = ()
    """Run once per (environment, lock files), with `setup_network`; empty when nothing needs installing."""
    maintenance: tuple[str, ...] = ()
    """Run over what setup made when it is used again at another commit; like setup, but quicker."""
    checks: tuple[str, ...] = ()
    variables: dict[str, str] = {}
    path: tuple[str, ...] = ()
    """Directories put in front of PATH, as seen inside the sandbox."""
    tools: tuple[str, ...] = ()
    """Programs of the host that the sandbox must offer (python3, node, go, cargo …)."""
    lock_files: tuple[str, ...] = ()
    """Repository paths whose content decides whether setup must run again."""
    protected: tuple[str, ...] = ()
    """Glob patterns of further protected files, over the built-in ones."""
    setup_network: NetworkPolicy = "open"
    setup_seconds: float = 900.0
    sources: tuple[str, ...] = ()
    """Where each part came from, for `overnight env detect`: lines such as `pyproject.toml: pytest`."""
