"""The command line; `wire` alone reads the environment and builds objects."""
