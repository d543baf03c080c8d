"""What can be built, and out of what."""

from dataclasses import dataclass


class TargetError(Exception):
    """A build description that cannot be used."""


class UnknownTarget(TargetError):
    def __init__(self, name):
        super().__init__(f"no target {name!r}")
        self.name = name


class CycleError(TargetError):
    def __init__(self, path):
        super().__init__(" -> ".join(path))
        self.path = list(path)


@dataclass(frozen=True)
class Target:
    name: str
    needs: tuple = ()
    command: str = ""


def parse_targets(text):
    """Read lines of `name: need need ; command`."""
    targets = {}
    for line in text.splitlines():
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        head, _, command = line.partition(";")
        name, _, needs = head.partition(":")
        targets[name.strip()] = Target(name.strip(), tuple(needs.split()), command.strip())
    return targets
