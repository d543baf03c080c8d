"""Secrets: sealed at rest, lent for one purpose, taken out of everything that is kept."""
