"""Workspaces against what git and cp offer, side by side in one run."""
