"""What a sandbox may reach: rules by host, port, method, path and size, and the policy that they make up.

Nothing is allowed but what a rule allows; a rule of `deny` wins over every rule of `allow`.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Literal, get_args
from urllib.parse import unquote_to_bytes

import msgspec

from overnight.domain.errors import UsageError
from overnight.domain.hostnames import Host, parse_host

Preset = Literal["none", "registries", "open"]
PRESETS: tuple[Preset, ...] = get_args(Preset)

READING = ("GET", "HEAD")
USUAL_PORTS = (80, 443)
NOT_ALLOWED = "host not allowed"
PORT_NOT_ALLOWED = "port not allowed"
ASKED = "asked for in .overnight.toml"
"""Why something is listed that nothing in the sandbox asked for yet."""
GRANTABLE = (NOT_ALLOWED, PORT_NOT_ALLOWED, ASKED)
ANY = "*"
"""The host of a rule for every public host; no person writes it, `open` stands for it."""

_METHODS = re.compile(r"[A-Za-z]{1,20}(?:,[A-Za-z]{1,20})*")
_SIZE = re.compile(r"max=([1-9][0-9]{0,11})([kmg]?)")
MOST_BYTES = 2**50
"""No store keeps a number without end."""
_UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}
_TARGET = re.compile(r"(?P<host>\[[^\]/]*\]|[^:/\[\]]+)(?::(?P<port>[0-9]{1,5}|\*))?(?P<path>/.*)?")
_HINT = "Write HOST[:PORT][/PATH][ METHODS][ max=SIZE], for example `api.example.com/v1 GET,HEAD`."


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """A host, and what of it is meant. Empty `ports`, `methods` and `path` mean every one."""

    host: str
    """A name, `*.` and a name for all below it, or an address."""
    ports: tuple[int, ...] = ()
    methods: tuple[str, ...] = ()
    path: str = ""
    """A prefix that ends with a segment of the path."""
    max_bytes: int | None = None
    """What one request may carry."""
    private: bool = False
    """Whether the host may lie on a private or loopback address."""

    def covers(self, host: str, port: int | None = None) -> bool:
        """Tell whether the rule speaks of `host`, a name or address in its one form, at `port` if given."""
        if port is not None and self.ports and port not in self.ports:
            return False
        if self.host == ANY:
            return not _is_address(host)
        if self.host.startswith("*."):
            return host.endswith(self.host[1:]) and not _is_address(host)
        return host == self.host

    def meets(self, pattern: str) -> bool:
        """Tell whether some host of `pattern`, a name or `*.` and a name, is one of the rule's."""
        return self.covers(pattern.removeprefix("*.")) or Rule(host=pattern).covers(
            self.host.removeprefix("*.")
        )

    @property
    def looks_inside(self) -> bool:
        """Whether requests must be read to hold this rule."""
        return bool(self.methods or self.path or self.max_bytes is not None)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = ":*" if not self.ports else "" if self.ports == USUAL_PORTS else f":{self.ports[0]}"
        methods = f" {','.join(self.methods)}" if self.methods else ""
        size = f" max={self.max_bytes}" if self.max_bytes is not None else ""
        return f"{host}{port}{self.path}{methods}{size}"


def parse_rule(text: str, *, deny: bool = False) -> Rule:
    """Return the rule that a person wrote; without a port, 80 and 443 are meant, and every one in a denial.

    Raises:
        UsageError: it is none.
    """
    try:
        return _rule(text, deny)
    except ValueError as error:
        raise UsageError(f"Not a rule of the network: {text!r}: {error}", _HINT) from None


def _rule(text: str, deny: bool) -> Rule:
    target, *rest = text.split()
    found = _TARGET.fullmatch(target)
    if found is None:
        raise ValueError("no host")
    wild = found["host"].startswith("*.")
    host = parse_host(found["host"][2:] if wild else found["host"])
    if wild and host.address is not None:
        raise ValueError("an address has no names below it")
    if found["port"] == "*":
        ports: tuple[int, ...] = ()
    elif found["port"] is None:
        ports = () if deny else USUAL_PORTS
    elif 0 < int(found["port"]) < 65536:
        ports = (int(found["port"]),)
    else:
        raise ValueError("a port is a number from 1 to 65535")
    methods, size = _conditions(rest)
    path = found["path"] or ""
    if host.address is not None and path[1:].isdigit():
        raise ValueError("single addresses are granted, not networks")
    if path and segments(path) is None:
        raise ValueError("a path without `..`, `//`, escapes of `/` or a query")
    return Rule(
        host=f"*.{host.text}" if wild else host.text,
        ports=ports,
        methods=methods,
        path=path if path != "/" else "",
        max_bytes=size,
        # Whoever names an address means that very one, wherever it lies.
        private=host.address is not None and not deny,
    )


def _conditions(words: Sequence[str]) -> tuple[tuple[str, ...], int | None]:
    methods: tuple[str, ...] = ()
    size: int | None = None
    for word in words:
        if (found := _SIZE.fullmatch(word)) is not None and size is None:
            size = int(found[1]) * _UNITS[found[2]]
            if size > MOST_BYTES:
                raise ValueError("no body is so large")
        elif _METHODS.fullmatch(word) and not methods:
            methods = tuple(dict.fromkeys(word.upper().split(",")))
        else:
            raise ValueError(f"{word!r} is neither a list of methods nor a size")
    return methods, size


class Blocked(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for and refused, all like ones together. `port` is 0 where only a name was asked for."""

    host: str
    port: int
    reason: str
    flows: int = 1

    @property
    def rule(self) -> str:
        """What to grant so that it is let through, empty where no grant could."""
        if self.reason not in GRANTABLE:
            return ""
        return self.host if self.port in (0, *USUAL_PORTS) else f"{self.host}:{self.port}"


class Network(msgspec.Struct, frozen=True, kw_only=True):
    """What a person granted, as it is kept with a task; what `registries` are, each machine knows."""

    preset: Preset = "none"
    allow: tuple[Rule, ...] = ()
    deny: tuple[Rule, ...] = ()
    setup: str = ""
    """What setup may reach, in the words of `--network`; empty: what the repository's recipe says."""

    @property
    def closed(self) -> bool:
        """Whether nothing at all is granted."""
        return self.preset == "none" and not self.allow

    def granting(self, rules: Iterable[Rule]) -> "Network":
        """Return this with `rules` allowed as well; a denial that one of them names exactly is lifted."""
        added = tuple(rules)
        hosts = {rule.host for rule in added}
        return msgspec.structs.replace(
            self,
            allow=tuple(dict.fromkeys((*self.allow, *added))),
            deny=tuple(rule for rule in self.deny if rule.host not in hosts),
        )

    def lacks(self, asked: Iterable[str]) -> tuple[str, ...]:
        """Return what of a repository's wishes, presets and rules, is not granted."""
        order = {"none": 0, "registries": 1, "open": 2}
        lacking: list[str] = []
        for wish in asked:
            if wish in order:
                granted = order[wish] <= order[self.preset]
            else:
                granted = self.preset == "open" or parse_rule(wish) in self.allow
            if not granted:
                lacking.append(wish)
        return tuple(lacking)

    def __str__(self) -> str:
        allowed = ", ".join(map(str, self.allow))
        named = self.preset if self.preset != "none" or not allowed else ""
        denied = f", without {', '.join(map(str, self.deny))}" if self.deny else ""
        return f"{named}{' and ' if named and allowed else ''}{allowed}{denied}"


def parse_network(text: str, allow: Iterable[str] = (), deny: Iterable[str] = (), setup: str = "") -> Network:
    """Return what `--network`, `--allow` and `--deny` say together; `text` is a preset or a list of hosts.

    `setup` is for setup what `text` is for the agent; empty, the repository says it.

    Raises:
        UsageError: one of them says nothing that can be.
    """
    if setup:
        parse_network(setup)
    rules = tuple(parse_rule(item) for item in allow)
    denied = tuple(parse_rule(item, deny=True) for item in deny)
    for preset in PRESETS:
        if text == preset:
            return Network(preset=preset, allow=rules, deny=denied, setup=setup)
    if not re.search(r"[.:]", text):
        raise UsageError(
            f"There is no network policy {text!r}", f"Use one of: {', '.join(PRESETS)}, or HOST[,HOST…]."
        )
    hosts = tuple(parse_rule(item) for item in text.split(","))
    return Network(allow=(*hosts, *rules), deny=denied, setup=setup)


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy says. `reason` is empty where it allows."""

    reason: str = ""
    inspect: bool = False
    """Whether requests must be read one by one."""
    private: bool = False
    max_bytes: int | None = None

    @property
    def allowed(self) -> bool:
        """Whether it may go on."""
        return not self.reason


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """Rules in force on one machine; the empty one refuses everything."""

    allow: tuple[Rule, ...] = ()
    deny: tuple[Rule, ...] = ()

    def names(self, host: Host) -> bool:
        """Tell whether anything of a host is allowed, so that its name may be known."""
        return any(rule.covers(host.text) for rule in self.allow) and not any(
            rule.covers(host.text) and not rule.ports and not rule.looks_inside for rule in self.deny
        )

    def connection(self, host: Host, port: int) -> Verdict:
        """Judge a connection, before any request of it was seen."""
        denied = [rule for rule in self.deny if rule.covers(host.text, port)]
        if any(not rule.looks_inside for rule in denied):
            return Verdict(reason="denied by a rule")
        rules = [rule for rule in self.allow if rule.covers(host.text, port)]
        if not rules:
            known = any(rule.covers(host.text) for rule in self.allow)
            return Verdict(reason=PORT_NOT_ALLOWED if known else NOT_ALLOWED)
        return Verdict(
            inspect=bool(denied) or all(rule.looks_inside for rule in rules),
            private=any(rule.private for rule in rules),
        )

    def request(self, host: Host, port: int, method: str, target: str) -> Verdict:
        """Judge one request; `target` is its path with the query."""
        first = self.connection(host, port)
        if not first.allowed:
            return first
        rules = [rule for rule in self.allow if rule.covers(host.text, port)]
        denied = [rule for rule in self.deny if rule.covers(host.text, port)]
        path = segments(target.partition("?")[0])
        if path is None and any(rule.path for rule in (*rules, *denied)):
            return Verdict(reason="path with two readings")
        if any(_method(rule, method) and _beneath(rule, path) for rule in denied):
            return Verdict(reason="denied by a rule")
        rules = [rule for rule in rules if _beneath(rule, path)]
        if not rules:
            return Verdict(reason="path not allowed")
        rules = [rule for rule in rules if _method(rule, method)]
        if not rules:
            return Verdict(reason=f"method {method[:20]} not allowed")
        bounds = [rule.max_bytes for rule in rules]
        bound = None if None in bounds else max(size for size in bounds if size is not None)
        return Verdict(private=first.private, inspect=first.inspect, max_bytes=bound)

    def reads_only(self, host: Host, port: int) -> bool:
        """Tell whether every rule for the host restricts what may be asked, so that no upgrade may pass."""
        rules = [rule for rule in self.allow if rule.covers(host.text, port)]
        return all(rule.looks_inside for rule in rules)


def policy_of(network: Network, registries: Iterable[Rule] = ()) -> Policy:
    """Return the rules that a grant means on a machine whose registries are these."""
    rules = network.allow
    if network.preset == "registries":
        rules += tuple(registries)
    elif network.preset == "open":
        rules += (Rule(host=ANY),)
    return Policy(allow=rules, deny=network.deny)


def segments(path: str) -> tuple[str, ...] | None:
    """Return the decoded segments of a path, or None where two servers could read two things in it."""
    if not path.startswith("/") or "?" in path or "#" in path:
        return None
    decoded: list[str] = []
    *inner, last = path[1:].split("/")
    for part in (*inner, last):
        raw = unquote_to_bytes(part)
        if any(byte < 0x20 or byte in b"/\\%;\x7f" for byte in raw) or raw in (b".", b".."):
            return None
        decoded.append(raw.decode("utf-8", "surrogateescape"))
    if any(not part for part in decoded[:-1]):
        return None
    return tuple(decoded)


def _beneath(rule: Rule, path: tuple[str, ...] | None) -> bool:
    if not rule.path:
        return True
    wanted = segments(rule.path)
    if wanted is None or path is None:
        return False
    if wanted[-1] == "":
        wanted = wanted[:-1]
    return path[: len(wanted)] == wanted


def _method(rule: Rule, method: str) -> bool:
    return not rule.methods or method in rule.methods


def _is_address(host: str) -> bool:
    return ":" in host or host.rpartition(".")[2].isdigit()
