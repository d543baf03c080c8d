"""Recipes from files of other tools: one small module a format, pure functions over the commit's files."""
