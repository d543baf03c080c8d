"""Overnight: send a task, come back to a verified pull request."""

__version__ = "0.1.0"
