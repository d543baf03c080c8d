"""Agents: which there are, and which of them works with which model."""

from collections.abc import Mapping, Sequence

from overnight.agents.catalog import agents
from overnight.agents.interface import Agent
from overnight.agents.programs.install import Installer
from overnight.cli.settings import Settings
from overnight.cli.wire.models import Models
from overnight.cli.wire.sandboxes import Sandboxes
from overnight.domain.errors import UsageError


class Agents:
    """The agents that a run may use, by the name that `--agent` takes."""

    def __init__(self, settings: Settings, models: Models, sandboxes: Sandboxes) -> None:
        self._models = models
        self._sandboxes = sandboxes
        self.installer = Installer(settings.cache / "agents", settings.environment)
        self._known = agents(self.installer)

    def known(self) -> Mapping[str, Agent]:
        """Return every agent by its name."""
        return self._known

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
            (agent, model)
            for model in models
            for agent in (wanted or (self._models.open(model).profile.agent,))
        ]
        count = max(attempts, len(matrix))
        return tuple(matrix[index % len(matrix)] for index in range(count))
