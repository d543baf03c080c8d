"""How many attempts a machine bears at the same time."""

import os

MEMORY_PER_ATTEMPT = 1536 * 1024**2
"""What an attempt with its checks takes at a guess; a quarter of the machine's memory stays free."""


def capacity() -> int:
    """Return how many attempts this machine bears at the same time: one a core, as far as memory goes."""
    cores = len(os.sched_getaffinity(0))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(1, min(cores, int(memory * 0.75) // MEMORY_PER_ATTEMPT))
