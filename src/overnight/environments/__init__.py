"""Recipes for repositories, the snapshots they make, and the workspaces over them."""
