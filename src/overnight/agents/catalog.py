"""The agents by name."""

from overnight.agents.interface import Agent
from overnight.agents.programs.install import Installer


def agents(installer: Installer) -> dict[str, Agent]:
    """Return every agent: the built-in ones, and the programs that can be installed."""
    from overnight.agents.loop import Loop
    from overnight.agents.programs.agent import ProgramAgent
    from overnight.agents.programs.table import PROGRAMS
    from overnight.agents.repair.agent import Repair

    programs = [ProgramAgent(program, installer) for program in PROGRAMS]
    return {agent.name: agent for agent in (Repair(), Loop(), *programs)}
