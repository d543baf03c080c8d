"""Isolation by a container engine: docker or podman, driven by its command line."""
