"""The agents by name."""

from overnight.agents.interface import Agent


def agents() -> dict[str, Agent]:
    """Return every built-in agent."""
    from overnight.agents.loop import Loop
    from overnight.agents.repair.agent import Repair

    return {agent.name: agent for agent in (Repair(), Loop())}
