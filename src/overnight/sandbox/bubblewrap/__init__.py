"""The sandbox that bubblewrap builds: the second way, for machines where our own does not work."""
