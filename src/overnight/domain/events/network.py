"""What was asked for of the network, and whether it was let through."""

from overnight.domain.events.base import EventBase


class NetworkAllowed(EventBase, tag="network.allowed", frozen=True, kw_only=True):
    """A flow that the policy let through has ended; `flows` counts the like ones that it stands for.

    `method` is that of HTTP, `CONNECT` for a tunnel whose inside was not read.
    """

    host: str
    port: int
    method: str = ""
    bytes_up: int = 0
    bytes_down: int = 0
    command: str = ""
    """The command that ran while it was asked for."""
    flows: int = 1


class NetworkBlocked(EventBase, tag="network.blocked", frozen=True, kw_only=True):
    """Something was asked for that the policy does not allow; `flows` counts how often since the last one.

    `method` is `DNS` where only the name was asked for.
    """

    host: str
    port: int
    reason: str
    method: str = ""
    command: str = ""
    flows: int = 1
