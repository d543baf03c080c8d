"""The agents by name."""

from collections.abc import Iterable

from overnight.agents.interface import Agent
from overnight.agents.programs.install import Installer
from overnight.agents.programs.table import Program

BUILT_IN = ("repair", "loop")


def agents(installer: Installer, programs: Iterable[Program]) -> dict[str, Agent]:
    """Return every agent: the built-in ones, and programs of others."""
    from overnight.agents.loop import Loop
    from overnight.agents.programs.agent import ProgramAgent
    from overnight.agents.repair.agent import Repair

    others = [ProgramAgent(program, installer) for program in programs]
    return {agent.name: agent for agent in (Repair(), Loop(), *others)}
