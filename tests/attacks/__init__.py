"""Attacks on the host by commands, repositories and texts that we did not write, with the real parts."""
