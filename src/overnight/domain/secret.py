"""Secrets as everybody may see them: name, purpose, version; the value is never part of this."""

import re
from typing import Literal, get_args

import msgspec

from overnight.domain.errors import UsageError
from overnight.domain.hostnames import parse_host

SecretPhase = Literal["setup", "agent", "publisher"]
PHASES: tuple[SecretPhase, ...] = get_args(SecretPhase)

MIN_CHARACTERS = 6
"""A shorter value would be found everywhere, and hidden where it is not meant."""
MAX_BYTES = 32 * 1024

_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
_RESERVED = re.compile(
    r"PATH|HOME|SHELL|USER|IFS|ENV|BASH_ENV|"
    r"(?:OVERNIGHT_|LD_|GLIBC|GCONV|GETCONF|LANG|LC_|LOC|NLS|MALLOC|MUSL|RES_|RESOLV|NIS_|TZ|TMPDIR|POSIXLY).*"
)
"""Names that programs obey before their first line of code: some sandboxes set them on a command line, where
other users of the machine could read a value."""


class Secret(msgspec.Struct, frozen=True, kw_only=True):
    """A value that was handed over and can be used, but not be read back."""

    name: str
    phase: SecretPhase
    scope: str = ""
    """The origin of the one repository that it is for; empty: every repository of the data directory."""
    hosts: tuple[str, ...] = ()
    """Where the proxy puts the value in, for `agent`; `*.` in front stands for everything below."""
    version: str
    """Another one with every value that is set."""
    created_at: float

    @property
    def lent_as(self) -> str:
        """What stands for the value in the key of a setup that it is lent to."""
        return f"{self.name}={self.version}"


def check_secret(name: str, phase: str, hosts: tuple[str, ...], value: str) -> SecretPhase:
    """Return the phase if a secret may be kept so.

    Raises:
        UsageError: the name, the phase, a host or the value cannot be; the value is not in the message.
    """
    if not _NAME.fullmatch(name) or _RESERVED.fullmatch(name):
        raise UsageError(
            f"Not a name for a secret: {name[:80]!r}",
            "Use capitals as a variable has, such as NPM_TOKEN; none that programs obey (PATH, LD_…, LOC…)",
        )
    if phase not in PHASES:
        raise UsageError(f"There is no phase {phase[:80]!r}", f"Use one of: {', '.join(PHASES)}")
    if hosts and phase != "agent":
        raise UsageError(
            "Hosts are named for secrets of an agent only", "Add --phase agent, or leave --host out"
        )
    if phase == "agent" and not hosts:
        raise UsageError(
            "A secret for an agent needs the hosts that it is for", "Name each: --host api.example.com"
        )
    for host in hosts:
        if not _is_host(host):
            raise UsageError(
                f"Not the name of a host: {host[:80]!r}",
                "Such as api.example.com or an address, without a port",
            )
    if len("".join(value.split())) < MIN_CHARACTERS:
        raise UsageError(
            f"The value is too short: {MIN_CHARACTERS} characters at least, without spaces",
            "A shorter one could not be told from ordinary text when logs are searched for it",
        )
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise UsageError("The value is not text in UTF-8", "Encode it first, for example by base64") from None
    if size > MAX_BYTES:
        raise UsageError(f"The value is longer than {MAX_BYTES:,} bytes")
    if phase == "agent" and not value.isprintable():
        raise UsageError("A secret for an agent stands in a header: one line of printable characters")
    if "\0" in value:
        raise UsageError("The value holds a NUL, which no variable can")
    return next(known for known in PHASES if known == phase)


def _is_host(text: str) -> bool:
    """Say whether `text` is a name, a name with `*.` in front, or an address in its one usual notation."""
    name = text.removeprefix("*.")
    try:
        host = parse_host(name)
    except ValueError:
        return False
    return host.text == name and (host.address is None or name == text)
