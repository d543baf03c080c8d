"""A map of a repository: what is defined where, who refers to it, and what matters for a task."""
