"""Agents: which there are, and which of them works with which model."""

import tempfile
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from overnight.agents.catalog import BUILT_IN, agents
from overnight.agents.interface import Agent
from overnight.agents.programs.agent import ProgramAgent
from overnight.agents.programs.configured import configured
from overnight.agents.programs.install import Installer
from overnight.agents.programs.table import Program
from overnight.agents.programs.trial import Trial, try_out
from overnight.cli.configuration import read_configuration
from overnight.cli.settings import Settings
from overnight.cli.wire.models import Models
from overnight.cli.wire.sandboxes import Sandboxes
from overnight.domain.errors import UsageError


class AgentListing(msgspec.Struct, frozen=True, kw_only=True):
    """One agent, as `overnight agent list` shows it."""

    name: str
    title: str = ""
    version: str = ""
    licence: str = ""
    source: str = "built in"
    """`built in`, or the registry that its package comes from; `host`: a person's PATH."""
    installed: bool = True


class Agents:
    """The agents that a run may use, by the name that `--agent` takes."""

    def __init__(self, settings: Settings, models: Models, sandboxes: Sandboxes) -> None:
        self._models = models
        self._sandboxes = sandboxes
        self._installer = Installer(settings.cache / "agents", settings.environment)
        tables = read_configuration(settings.configuration, "agents")
        self._programs = {program.name: program for program in configured(tables, BUILT_IN)}
        self._known = agents(self._installer, self._programs.values())

    def known(self) -> Mapping[str, Agent]:
        """Return every agent by its name."""
        return self._known

    def listing(self) -> list[AgentListing]:
        """Return every agent, and whether it can be used."""
        built_in = [AgentListing(name=name) for name in BUILT_IN]
        return built_in + [
            AgentListing(
                name=program.name,
                title=program.title,
                version=program.version,
                licence=program.licence,
                source=program.registry,
                installed=self._installer.installed(program),
            )
            for program in self._programs.values()
        ]

    async def install(self, names: Sequence[str], say: Callable[[str], None]) -> None:
        """Install programs, one after the other.

        Raises:
            UsageError: one of them is none.
            OvernightError: its package manager failed.
        """
        for program in [self._program(name) for name in names]:
            if self._installer.installed(program):
                say(f"{program.name} {program.version} is there already")
                continue
            folder = await self._installer.install(program, say)
            say(f"{program.name} {program.version} lies in {folder}")

    def remove(self, names: Sequence[str]) -> list[str]:
        """Remove programs; return the names of those that were there."""
        return [program.name for program in map(self._program, names) if self._installer.remove(program)]

    async def trials(self, names: Sequence[str]) -> AsyncGenerator[Trial]:
        """Try programs in the sandbox, all installed ones where none is named; yield as they are done.

        Raises:
            UsageError: one of them is none, or is not installed.
        """
        programs = [self._program(name) for name in names]
        for program in programs:
            self._installer.require(program)
        programs = programs or [one for one in self._programs.values() if self._installer.installed(one)]
        backend = await self._sandboxes.open("auto")
        for program in programs:
            with tempfile.TemporaryDirectory(prefix="overnight-agent-") as folder:
                yield await try_out(ProgramAgent(program, self._installer), backend, Path(folder))

    def pair(
        self, wanted: Sequence[str], models: Sequence[str], attempts: int
    ) -> tuple[tuple[str, str], ...]:
        """Return (agent, model) for each of so many attempts, going round the matrix of both.

        Without an agent `wanted`, each model gets the one that suits it.

        Raises:
            UsageError: there is no such agent or model, or the agent is not installed.
            CredentialError: a model's key is not set.
        """
        names = self.known()
        for agent in wanted:
            if agent not in names:
                raise UsageError(f"There is no agent {agent!r}", f"Agents: {', '.join(names)}")
            _ = names[agent].equipment  # says so now if it is not installed
        matrix = [
            (agent, model) for model in models for agent in (wanted or (self._models.agent_for(model),))
        ]
        count = max(attempts, len(matrix))
        return tuple(matrix[index % len(matrix)] for index in range(count))

    def _program(self, name: str) -> Program:
        if name not in self._programs:
            known = ", ".join(self._programs)
            raise UsageError(f"There is no agent program {name!r}", f"Programs: {known}")
        return self._programs[name]
