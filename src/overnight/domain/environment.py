"""The recipe for a repository: what to install, what the checks are, what the sandbox may reach."""

import msgspec


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """An environment, as detected or as written in `.overnight.toml`.

    Commands run by `bash -c` in the workspace.
    """

    languages: tuple[str, ...] = ()
    setup: tuple[str, ...] = ()
    """Run once per (environment, lock files), with `setup_network`; empty when nothing needs installing."""
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
    setup_network: str = "open"
    """What setup may reach: `none`, `registries`, `open` (the machine's own network), or hosts by comma."""
    network_asked: tuple[str, ...] = ()
    """What the repository would like the agent to reach: presets and rules. Asking gives it nothing."""
    setup_seconds: float = 900.0
    sources: tuple[str, ...] = ()
    """Where each part came from, for `overnight env detect`: lines such as `pyproject.toml: pytest`."""
