"""Keeps results that are costly to make."""
