"""Detecting how a repository is installed and checked: one small module a language, pure functions."""
