"""The command line; `wire.py` alone reads the environment and builds objects."""
