"""The code map against another tool's, on a real repository."""
