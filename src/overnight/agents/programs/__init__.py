"""Agents that are programs of others: run in the sandbox, with the gateway as their model."""
