"""Where pull requests live; so far the local forge."""
