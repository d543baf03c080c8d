"""Values go to the hosts they are for, in headers, over TLS; everywhere else the placeholder stays."""

import base64

import msgspec
import pytest

from overnight.domain.secret import Secret
from overnight.secrets.placeholders import Placeholders


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """A request as the proxy hands it over."""

    method: bytes = b"GET"
    target: bytes = b"/"
    headers: tuple[tuple[bytes, bytes], ...] = ()


def secret(name: str, *hosts: str) -> Secret:
    """Return an agent's secret."""
    return Secret(name=name, phase="agent", hosts=hosts, version="1", created_at=0.0)


@pytest.fixture
def known() -> Placeholders:
    """Return placeholders for two secrets, and one without hosts."""
    return Placeholders(
        [
            (secret("API", "api.example.com", "*.cdn.example.com"), "real-value-of-api"),
            (secret("OTHER", "other.example.com"), "real-value-of-other"),
            (secret("HOMELESS"), "real-value-of-nobody"),
        ]
    )


def sent(
    known: Placeholders, host: str, value: bytes, *, name: bytes = b"authorization", secure: bool = True
) -> bytes:
    """Return the header as it goes out."""
    head = known.put_in(host, 443, Head(headers=((name, value),)), secure=secure)
    return head.headers[0][1]


def test_the_sandbox_sees_placeholders_alone(known: Placeholders) -> None:
    assert set(known.variables) == {"API", "OTHER"}
    assert len(set(known.variables.values())) == 2
    assert all(value.startswith("OVERNIGHT_SECRET_") for value in known.variables.values())
    again = Placeholders([(secret("API", "api.example.com"), "real-value-of-api")])
    assert again.variables["API"] != known.variables["API"], "another attempt, another placeholder"


@pytest.mark.parametrize("host", ["api.example.com", "x.cdn.example.com", "a.b.cdn.example.com"])
def test_the_named_hosts_get_the_value(known: Placeholders, host: str) -> None:
    assert known.wants(host, 443)
    token = known.variables["API"].encode()
    assert sent(known, host, b"Bearer " + token) == b"Bearer real-value-of-api"
    assert (
        sent(known, host, token + b" " + token, name=b"x-api-key") == b"real-value-of-api real-value-of-api"
    )


@pytest.mark.parametrize(
    "host",
    [
        "example.com", "cdn.example.com", "evil-api.example.com", "api.example.com.evil.test", "evil.test",
        "xcdn.example.com", "API.example.com.", "",
    ],
)  # fmt: skip
def test_others_get_the_placeholder(known: Placeholders, host: str) -> None:
    token = known.variables["API"].encode()
    assert sent(known, host, token) == token
    assert not known.wants(host, 443)


def test_one_secrets_host_does_not_get_another_secret(known: Placeholders) -> None:
    both = " ".join(known.variables[name] for name in ("API", "OTHER")).encode()
    out = sent(known, "other.example.com", both)
    assert out == known.variables["API"].encode() + b" real-value-of-other"


def test_nothing_goes_out_in_the_clear(known: Placeholders) -> None:
    token = known.variables["API"].encode()
    assert sent(known, "api.example.com", token, secure=False) == token


def test_credentials_in_base64_are_looked_into(known: Placeholders) -> None:
    token = known.variables["API"]
    basic = b"Basic " + base64.b64encode(f"user:{token}".encode())
    assert sent(known, "api.example.com", basic) == b"Basic " + base64.b64encode(b"user:real-value-of-api")
    assert sent(known, "evil.test", basic) == basic
    assert sent(known, "api.example.com", b"Basic no=base64") == b"Basic no=base64"


def test_addresses_and_the_frame_of_a_request_stay(known: Placeholders) -> None:
    token = known.variables["API"].encode()
    head = Head(target=b"/?key=" + token, headers=((b"host", token), (b"content-length", token)))
    assert known.put_in("api.example.com", 443, head, secure=True) == head
