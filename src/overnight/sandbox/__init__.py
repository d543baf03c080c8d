"""Isolation in which commands run: Linux namespaces, or none when asked for by name."""
