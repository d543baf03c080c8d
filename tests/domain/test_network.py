"""Names, rules and policies: one reading of each, and no reading that lets more through."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.domain.hostnames import Host, parse_host, split_port
from overnight.domain.network import (
    ASKED,
    Blocked,
    Network,
    Policy,
    parse_network,
    parse_rule,
    policy_of,
    segments,
)


def host(name: str) -> Host:
    return parse_host(name)


@given(st.text(alphabet=st.characters(max_codepoint=0x250), max_size=40))
def test_a_name_has_one_reading(text: str) -> None:
    try:
        found = parse_host(text)
    except ValueError:
        return
    assert parse_host(found.text) == found
    assert found.text == found.text.lower()
    assert set(found.text) <= set("abcdefghijklmnopqrstuvwxyz0123456789-.:")


@given(st.text(alphabet="ab./%\\;?#2fe5c ", max_size=24))
def test_a_path_has_one_reading(text: str) -> None:
    found = segments("/" + text)
    if found is not None:
        assert not {".", ".."} & set(found)
        assert "" not in found[:-1]
        assert not any(mark in part for part in found for mark in "/\\%;")


def test_hosts_and_ports() -> None:
    assert split_port("A.Example.:8443") == (Host("a.example"), 8443)
    assert split_port("[2606:2800::0001]:443")[0].text == "2606:2800::1"
    assert split_port("a.example", 80)[1] == 80
    for wrong in ("a.example", "a.example:", "a.example:0", "a.example:65536", ":80", "a:b:80", "[::1"):
        with pytest.raises(ValueError):
            split_port(wrong)


def test_rules_cover_what_they_say() -> None:
    rule = parse_rule("*.Example.com:8443")
    assert rule.covers("a.example.com", 8443)
    assert rule.covers("b.a.example.com", 8443)
    for name, port in (
        ("example.com", 8443),
        ("notexample.com", 8443),
        ("a.example.com", 443),
        ("1.2.3.4", 8443),
    ):
        assert not rule.covers(name, port)
    assert parse_rule("a.example").ports == (80, 443)
    assert parse_rule("a.example", deny=True).ports == ()
    assert parse_rule("10.0.0.1:81").private
    assert not parse_rule("a.example").private


def test_a_policy_judges_connections_and_requests() -> None:
    policy = policy_of(parse_network("none", ["a.example/v1 GET max=2k", "a.example/up POST", "b.example"]))
    assert policy.connection(host("b.example"), 443).inspect is False
    assert policy.connection(host("a.example"), 443).inspect is True
    assert policy.connection(host("c.example"), 443).reason == "host not allowed"
    assert policy.connection(host("a.example"), 22).reason == "port not allowed"
    assert policy.request(host("a.example"), 443, "GET", "/v1/x?q=..").max_bytes == 2048
    assert policy.request(host("a.example"), 443, "POST", "/up").max_bytes is None
    assert policy.request(host("a.example"), 443, "POST", "/v1").reason == "method POST not allowed"
    assert policy.request(host("a.example"), 443, "GET", "/v10").reason == "path not allowed"
    assert policy.request(host("a.example"), 443, "GET", "/v1/%2e%2e/up").reason == "path with two readings"
    assert policy.reads_only(host("a.example"), 443)
    assert not policy.reads_only(host("b.example"), 443)


def test_a_denial_wins() -> None:
    policy = policy_of(parse_network("open", ["a.example"], ["a.example:443", "b.example/x POST"]))
    assert policy.connection(host("a.example"), 443).reason == "denied by a rule"
    assert policy.connection(host("a.example"), 80).allowed
    assert policy.connection(host("b.example"), 80).inspect
    assert policy.request(host("b.example"), 80, "POST", "/x/y").reason == "denied by a rule"
    assert policy.request(host("b.example"), 80, "GET", "/x/y").allowed
    assert not policy_of(parse_network("open", (), ["*.c.example"])).names(host("a.c.example"))
    assert not Policy().names(host("a.example"))


def test_presets_and_what_a_repository_lacks() -> None:
    assert Network().closed
    assert str(parse_network("registries", ["a.example"])) == "registries and a.example"
    assert parse_network("a.example,b.example:8080") == parse_network("none", ["a.example", "b.example:8080"])
    asked = ("registries", "a.example GET", "open")
    assert Network().lacks(asked) == asked
    assert parse_network("registries", ["a.example GET"]).lacks(asked) == ("open",)
    assert parse_network("open").lacks(asked) == ()
    granted = parse_network("none", (), ["a.example"]).granting([parse_rule("a.example")])
    assert policy_of(granted).connection(host("a.example"), 443).allowed


def test_what_can_be_granted_and_what_not() -> None:
    assert Blocked(host="a.example", port=0, reason="host not allowed").rule == "a.example"
    assert Blocked(host="a.example", port=8080, reason="port not allowed").rule == "a.example:8080"
    assert Blocked(host="a.example", port=443, reason=ASKED).rule == "a.example"
    assert Blocked(host="a.example", port=443, reason="private address").rule == ""
    assert Blocked(host="a.example/x", port=0, reason="malformed host: x").rule == ""
