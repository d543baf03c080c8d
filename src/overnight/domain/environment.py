"""The recipe for a repository: what to install, what the checks are, what the sandbox may reach."""

import re
from typing import Literal

import msgspec

IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]{0,254}")
"""What the name of a container image may be: never an option of the program that fetches it."""

SecretPhase = Literal["setup", "agent", "publisher"]


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """A server that checks need, such as a database: it runs inside the sandbox, next to the agent."""

    name: str
    command: str
    """Runs by `bash -c` in the workspace and does not end by itself."""
    ready: str = ""
    """A command that ends with 0 once the service answers; empty: nothing is waited for."""
    seconds: float = 30.0
    """How long `ready` is asked again before the service counts as failed."""
    variables: dict[str, str] = {}
    """Environment of the command and of `ready`, over the recipe's."""


class SecretName(msgspec.Struct, frozen=True, kw_only=True):
    """A secret that the environment asks for. Only its name: values are never part of a recipe."""

    name: str
    phase: SecretPhase = "setup"


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """An environment, as detected or as written in `.overnight.toml`.

    Commands run by `bash -c` in the workspace.
    """

    languages: tuple[str, ...] = ()
    base: str = ""
    """A container image, for the container backend; empty and elsewhere: the host's programs."""
    setup: tuple[str, ...] = ()
    """Run once per (environment, lock files), with `setup_network`; empty when nothing needs installing."""
    maintenance: tuple[str, ...] = ()
    """Run over what setup made when it is used again at another commit; like setup, but quicker."""
    start: tuple[str, ...] = ()
    """Run in every fresh sandbox, after the services and before anything else; with its network."""
    services: tuple[Service, ...] = ()
    secrets: tuple[SecretName, ...] = ()
    limits: dict[str, float] = {}
    """Limits that the repository lowers, by their names in `Limits`; higher ones are not applied."""
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
    """Where each part came from, for `overnight env detect`: lines such as `pyproject.toml: pytest`.

    What could not be honoured is a line that begins with `ignored: `.
    """
