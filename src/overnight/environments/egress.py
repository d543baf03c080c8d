"""From what was granted to the network of a sandbox: none, none that records, or a proxy with rules."""

from pathlib import Path
from typing import Literal

from overnight.domain.errors import UsageError
from overnight.domain.events import Noted
from overnight.domain.network import Network, Rule, parse_network, policy_of
from overnight.domain.ports import EventSink
from overnight.domain.task import Limits
from overnight.environments.client_settings import ClientSettings
from overnight.environments.registries import registry_rules
from overnight.sandbox.egress.gate import Inner
from overnight.sandbox.egress.opening import open_egress
from overnight.sandbox.egress.proxy import EgressProxy
from overnight.sandbox.egress.substitution import Substitution
from overnight.sandbox.interface import SandboxBackend

NO_REGISTRIES = (
    "no setting of pip, npm, uv, cargo or go names a registry on this machine, so that `registries` grants "
    "nothing: name the hosts (--allow HOST)"
)
Reach = Literal["none", "host", "egress"]


def check_reach(network: Network, backend: SandboxBackend) -> None:
    """Say at once when a backend cannot hold a policy, or the one that a person gave for setup.

    Raises:
        UsageError: it cannot.
    """
    setup = parse_network(network.setup or "open")
    if setup.preset != "open":
        check_reach(setup, backend)
    unconfined = backend.name == "none" and network.preset == "open" and not network.deny
    if network.closed or unconfined or "egress" in backend.networks:
        return
    raise UsageError(
        f"The sandbox `{backend.name}` cannot hold the network policy `{network}`",
        "Use `--network none`, or a machine where `overnight doctor` shows a sandbox with egress.",
    )


def registries_for(network: Network, settings: ClientSettings, events: EventSink) -> tuple[Rule, ...]:
    """Return what `registries` grants on this machine; a note says so where that is nothing."""
    if network.preset != "registries":
        return ()
    rules = registry_rules(settings)
    if not rules:
        events.emit(Noted(text=NO_REGISTRIES))
    return rules


def way_out(
    network: Network,
    backend: SandboxBackend,
    settings: ClientSettings,
    limits: Limits,
    events: EventSink,
    folder: Path,
    substitution: Substitution | None = None,
    inner: Inner | None = None,
) -> tuple[Reach, EgressProxy | None]:
    """Return the network of a sandbox's spec, and who answers there; the sandbox closes it.

    Without any grant the answer is always no, but what was asked for is recorded where the backend can.
    `folder` is the host's and lasts as long as the sandbox.

    Raises:
        UsageError: the backend cannot hold the policy, or gives no way to `inner`.
    """
    check_reach(network, backend)
    if inner is not None and "egress" not in backend.networks:
        raise UsageError(
            f"In the sandbox `{backend.name}` an agent's program cannot reach the model",
            "Use a machine where `overnight doctor` shows a sandbox with egress, or the agent `loop`.",
        )
    if "egress" not in backend.networks:
        return ("none" if network.closed else "host"), None
    policy = policy_of(network, registries_for(network, settings, events))
    return "egress", open_egress(policy, limits, events.emit, folder, substitution=substitution, inner=inner)
