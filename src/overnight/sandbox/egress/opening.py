"""Makes the proxy of one sandbox from a policy: with what it needs, and nothing that it does not."""

import ssl
from collections.abc import Callable
from pathlib import Path

import msgspec

from overnight.domain.events import Event
from overnight.domain.hostnames import parse_host
from overnight.domain.network import Policy, Rule
from overnight.domain.task import Limits
from overnight.sandbox.egress.dialing import Dialer, NoDialer, PinningDialer
from overnight.sandbox.egress.gate import Gate, Inner
from overnight.sandbox.egress.ledger import Ledger
from overnight.sandbox.egress.proxy import EgressProxy, system_roots
from overnight.sandbox.egress.substitution import NoSubstitution, Substitution
from overnight.sandbox.interface import Bind

CERTIFICATES = "/overnight/certificates.pem"
"""Where programs inside find the roots that they may trust."""
_PROXY = "http://127.0.0.1:3128"
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
_AUTHORITIES = (
    "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "GIT_SSL_CAINFO",
    "PIP_CERT", "CARGO_HTTP_CAINFO", "NPM_CONFIG_CAFILE", "AWS_CA_BUNDLE", "NIX_SSL_CERT_FILE",
)  # fmt: skip
_LOCAL = ("localhost", "127.0.0.1", "::1")


def open_egress(
    policy: Policy,
    limits: Limits,
    emit: Callable[[Event], None],
    folder: Path,
    *,
    substitution: Substitution | None = None,
    dialer: Dialer | None = None,
    upstream: ssl.SSLContext | None = None,
    inner: Inner | None = None,
) -> EgressProxy:
    """Return the way out of one sandbox; with an empty policy one that refuses and records everything.

    Args:
        policy: what is let through.
        limits: its fields that begin with `egress`.
        emit: takes the events of flows, in the event loop.
        folder: a directory of the host that lasts as long as the sandbox, for the bundle of certificates.
        substitution: puts secrets into requests.
        dialer: makes the connections; tests hand in one that looks names up for them.
        upstream: how hosts prove who they are; by this machine's roots when None.
        inner: a name for a part of this process, reached by plain HTTP whatever the policy says.
    """
    closed = not policy.allow
    if inner is not None:
        policy = msgspec.structs.replace(policy, allow=(*policy.allow, Rule(host=inner.host, ports=(80,))))
    substitution = substitution or NoSubstitution()
    reading = not closed and (
        any(rule.looks_inside for rule in (*policy.allow, *policy.deny))
        or not isinstance(substitution, NoSubstitution)
    )
    authority, binds = None, ()
    variables: dict[str, str] = {} if closed else _proxy_variables(policy)
    if reading:
        # Loaded only here: most sandboxes need none.
        from overnight.sandbox.egress.certificates import Authority, bundle

        authority = Authority()
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "certificates.pem"
        file.write_text(bundle(authority))
        file.chmod(0o644)
        binds = (Bind(source=file, target=CERTIFICATES),)
        variables |= dict.fromkeys(_AUTHORITIES, CERTIFICATES)
    gate = Gate(
        policy=policy,
        limits=limits,
        ledger=Ledger(limits, emit),
        dialer=NoDialer() if closed else dialer or PinningDialer(),
        substitution=substitution,
        authority=authority,
        upstream=(lambda: upstream) if upstream is not None else system_roots,
        inner=inner,
    )
    return EgressProxy(gate, variables, binds)


def _proxy_variables(policy: Policy) -> dict[str, str]:
    """Return the variables that clients look at; the sandbox's own loopback goes past the proxy."""
    variables = {name: _PROXY for upper in _PROXIES for name in (upper, upper.lower())}
    # Where this machine's loopback was granted, programs must ask the proxy for it.
    granted = any(rule.private and _loopback(rule.host) for rule in policy.allow)
    local = "" if granted else ",".join(_LOCAL)
    return variables | {"NO_PROXY": local, "no_proxy": local, "NODE_USE_ENV_PROXY": "1"}


def _loopback(host: str) -> bool:
    try:
        address = parse_host(host).address
    except ValueError:
        return False
    return host == "localhost" or (address is not None and address.is_loopback)
