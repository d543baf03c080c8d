"""Chooses how a check is watched, and makes one set of results of all that its runners reported."""

import re
from collections.abc import Callable, Mapping, Sequence

import msgspec

from overnight.domain.verdict import Evidence, TestStatus
from overnight.verify.runners import cargo, go, junit, node, python
from overnight.verify.runners.channel import Channel, Session, worse

Read = Callable[[str], bytes | None]
VERSION = 3
"""Part of the key of kept base runs; raised when results would read differently."""


class Equipment(msgspec.Struct, frozen=True, kw_only=True):
    """A check as it is run: the command, changed where its runner needs it, and variables."""

    script: str
    variables: dict[str, str]


class Watched(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a run besides its exit code."""

    evidence: Evidence
    tests: dict[str, TestStatus]
    finished: bool
    tampered: tuple[str, ...]
    output: str


def equip(check: str, channel: Channel, present: Mapping[str, str], read: Read) -> Equipment:
    """Return how to run `check` so that its results can be seen. `present` are the workspace's variables."""
    script = python.rewrite(check, channel.inside)
    variables = {"OVERNIGHT_CHANNEL": channel.results, **python.variables(channel.inside, present)}
    if node.recognise(check, read):
        variables |= node.variables(channel.inside, present)
    if re.search(r"\bgo test\b", check):
        script = go.rewrite(script)
    return Equipment(script=script, variables=variables)


def observe(check: str, output: str, sessions: Sequence[Session], read: Read) -> Watched:
    """Join the reports; only those of sealed sessions are evidence per test."""
    if sessions:
        tests: dict[str, TestStatus] = {}
        for session in sessions:
            for name, status in session.tests.items():
                tests[name] = worse(tests[name], status) if name in tests else status
        return Watched(
            evidence="per_test",
            tests=tests,
            finished=all(session.finished for session in sessions),
            tampered=tuple(sorted({name for session in sessions for name in session.tampered})),
            output=output,
        )
    tests, shown = _unsealed(check, output, read)
    return Watched(evidence="exit_code", tests=tests, finished=True, tampered=(), output=shown)


def _unsealed(check: str, output: str, read: Read) -> tuple[dict[str, TestStatus], str]:
    if re.search(r"\bgo test\b", check):
        parsed = go.parse(output)
        if parsed is not None:
            return parsed
    if cargo.recognise(check):
        return cargo.parse(output) or {}, output
    tests: dict[str, TestStatus] = {}
    for path in junit.recognise(check):
        tests |= junit.parse(read(path) or b"") or {}
    return tests, output
