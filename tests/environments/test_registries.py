"""Registries are those that this machine's clients are set up for: to be read, at their port, and no more."""

from pathlib import Path

from overnight.domain.events import Event, Noted
from overnight.domain.hostnames import parse_host
from overnight.domain.network import parse_network, policy_of
from overnight.environments.client_settings import find_client_settings
from overnight.environments.egress import NO_REGISTRIES, registries_for
from overnight.environments.registries import registry_rules


def test_registries_come_from_the_settings_of_clients(tmp_path: Path) -> None:
    (tmp_path / ".config/pip").mkdir(parents=True)
    (tmp_path / ".config/pip/pip.conf").write_text(
        "[global]\n# index-url = https://commented.example/\nindex-url = https://me:secret@pip.example/simple\n"
        "extra-index-url = file:///opt/simple http://10.0.0.9:3141/root/pypi\n"
    )
    (tmp_path / ".npmrc").write_text(
        "registry=https://npm.example/\n//npm.example/:_authToken=x\n@own:registry=https://own.example:8443/npm/\n"
    )
    environ = {
        "UV_INDEX": "https://uv.example/simple",
        "GOPROXY": "https://go.example|direct",
        "CARGO_REGISTRIES_OWN_INDEX": "sparse+https://cargo.example/index/",
        "HTTPS_PROXY": "http://proxy.example:3128",
        "OPENAI_BASE_URL": "https://model.example",
    }
    rules = registry_rules(find_client_settings(environ, tmp_path, etc=tmp_path / "etc"))
    assert {(rule.host, rule.ports[0]) for rule in rules} == {
        ("pip.example", 443), ("10.0.0.9", 3141), ("npm.example", 443), ("own.example", 8443),
        ("uv.example", 443), ("go.example", 443), ("cargo.example", 443),
    }  # fmt: skip
    policy = policy_of(parse_network("registries"), rules)
    for method, allowed in (("GET", True), ("HEAD", True), ("POST", False), ("PUT", False)):
        assert policy.request(parse_host("10.0.0.9"), 3141, method, "/x").allowed is allowed
    assert policy.connection(parse_host("10.0.0.9"), 3141).private
    assert not policy.connection(parse_host("10.0.0.9"), 22).allowed


class Kept:
    """Keeps events."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def emit(self, event: Event) -> None:
        self.events.append(event)

    async def flush(self) -> None:
        return None


def test_a_machine_without_settings_has_no_registries(tmp_path: Path) -> None:
    settings = find_client_settings({}, tmp_path, etc=tmp_path / "etc")
    rules = registry_rules(settings)
    assert rules == ()
    sink = Kept()
    assert registries_for(parse_network("registries"), settings, sink) == ()
    assert sink.events == [Noted(text=NO_REGISTRIES)], "a person is told that the word grants nothing here"
    assert registries_for(parse_network("open"), settings, sink) == ()
    assert len(sink.events) == 1
    assert not policy_of(parse_network("registries"), rules).names(parse_host("pip.example"))
