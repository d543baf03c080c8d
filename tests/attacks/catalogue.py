"""The numbered attacks that this suite answers for: what each one tries, in one line."""

CASES: dict[int, str] = {
    1: "Git settings of the workspace that name programs: hooks, monitors, filters, helpers, includes",
    2: "A repository within the repository, and a `.git` file that points elsewhere",
    3: "Submodule addresses that are commands or options, or hide a carriage return in a path",
    4: "Branch, tag, author and path names made of shell characters, line breaks and wide spaces",
    5: "Links, hard links, `..`, and names that some file system takes for `.git`",
    6: "Pipes, devices, sparse and huge files, compressed bombs, far too many files, endless lines",
    7: "Files that tools run by themselves, waiting to be run on the host",
    8: "Settings of agents in the repository, existing or made by the agent, that would change its powers",
    9: "Settings that change after a person agreed to them",
    10: "Large-file pointers to an internal address",
    17: "Looking for secrets in environments, memory, process lists and core dumps",
    18: "Setup secrets left in layers, caches, shell history, installers' settings or the log",
    19: "Metadata addresses, inherited descriptors, sockets of agents and daemons",
    20: "A secret printed raw, encoded, reversed or in pieces",
    21: "A secret in a commit, a branch, a file name, a message, a pull request or an artifact",
    22: "A secret in what is sent to a model",
    23: "Addresses in odd notations, other ports, UDP, ICMP",
    24: "Tunnels through name resolution",
    25: "Names that only look like an allowed one",
    26: "Three names of one connection that differ, or none",
    27: "A way on from an allowed host to a denied one",
    28: "Writing to a host that may only be read, overridden methods, upgraded connections",
    29: "The attacker's own account at an allowed service",
    30: "An allow list that is empty, missing or invalid",
    31: "A proxy that was ended",
    32: "A name whose address changes after it was checked",
    33: "Programs that ignore the proxy's variables",
    34: "Namespaces, mounts, kernel settings, control groups, bpf, keys, io_uring, set-user-id",
    35: "Sockets of container engines, privileges, the host's processes and network, writable mounts",
    36: "Fork bombs, memory, disk, inodes, floods of output, descriptors",
    37: "Processes that try to outlive the task",
    38: "The clock, and escape sequences that a terminal obeys",
    39: "Another task's workspace, cache, ports and predictable names",
    42: "Trees that no git should hold: `.git` entries, duplicate names, impossible modes",
}  # fmt: skip

ELSEWHERE: dict[int, str] = {
    **dict.fromkeys((10, *range(23, 34)), "comes with the egress proxy"),
}
"""Cases whose tests are still on their way, and where they come from. It goes when they are here."""
