"""Secrets: spellings, seals, placeholders."""
