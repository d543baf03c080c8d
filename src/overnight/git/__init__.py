"""Git, run by the host only in repositories that no agent can write."""
