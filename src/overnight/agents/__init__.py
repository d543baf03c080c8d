"""Agents: `repair` for small models, `loop` for capable ones."""
