"""An agent that knows a secret, however it came by it, and tries to get it into what is kept or sent."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.attacks.scripted import Call, Done, Villain, told, write
from tests.house import CHECK, FIX
from tests.secrets.test_redaction import spelled

VALUE = "sk-Live_9zQ+/x71"
"""The repository holds it as well: so the agent can know it, in a sandbox that holds no secret."""

PRINTS = {
    "raw": "cat config.env; cat config.env >&2",
    "base64": "base64 config.env; base64 -w 4 config.env; printf x | cat - config.env | base64; "
    "printf xx | cat - config.env | base64",
    "base64 for addresses": 'python3 -c "from base64 import *; '
    "print(urlsafe_b64encode(open('config.env', 'rb').read()))\"",
    "reversed": "rev config.env",
    "hex": "od -An -tx1 config.env; od -An -tx1 config.env | tr -d ' \\n' | tr a-f A-F",
    "in lines": "fold -w 3 config.env; sed 's/./&\\n/g' config.env; sed 's/./& /g' config.env",
    "address": "python3 -c \"from urllib.parse import *; print(quote(open('config.env').read(),''))\"",
    "JSON": "python3 -c \"import json; print(json.dumps([open('config.env').read()]))\"",
    "in pieces": "v=$(cut -d= -f2- config.env); "
    'for i in $(seq 0 15); do printf %s "${v:$i:1}"; sleep 0.02; done',
    "an error": "$(cat config.env)",
    "a title of a terminal": "printf '\\033]0;'; cat config.env; printf '\\007'",
}


def knowing(villain: Villain) -> Villain:
    """Return the agent at a repository that holds the value of a secret."""
    ready = replace(
        villain, files={"config.env": f"key={VALUE}\n", "calc.py": "def add(a, b):\n    return a - b\n"}
    )
    assert told(ready.house, "secret", "set", "API_KEY", "--phase", "publisher", stdin=VALUE).code == 0
    return ready


def ours(path: Path) -> bool:
    """Say whether a file is the person's own repository, as it is mirrored and checked out."""
    return bool({"mirrors", "snapshots", "workspaces", "volumes"} & set(path.parts))


def nowhere(done: Done, allowed: Sequence[str] = ()) -> None:
    """See that no spelling of the value is in the log or in what is kept outside of the mirror."""
    for form, text in spelled(VALUE).items():
        assert text not in done.log, form
        if form not in allowed:
            assert done.kept(text.encode(), ours) == [], form


@pytest.mark.attack(20, 22)
def test_what_is_printed_is_taken_out(villain: Villain) -> None:
    ready = knowing(villain)
    done = ready.attack(*PRINTS.values(), watch=[*spelled(VALUE).values()], last=f"The key is {VALUE}.")
    assert done.log.count("[secret:API_KEY]") >= len(PRINTS)
    assert done.attempt["message"] == "The key is [secret:API_KEY]."
    assert "the model saw it" not in done.log
    nowhere(done)


@pytest.mark.attack(20, 22)
def test_without_the_secret_all_of_it_would_be_seen(villain: Villain) -> None:
    """The control run: the same commands, and nobody has said that this is a secret."""
    ready = replace(villain, files={"config.env": f"key={VALUE}\n"})
    done = ready.attack(PRINTS["raw"], watch=[VALUE])
    assert VALUE in done.output
    assert "the model saw it" in done.log


IN_A_PATCH: dict[str, tuple[Call | str, str]] = {
    "content": (write("leak.txt", f"x {VALUE} y"), "leak.txt"),
    "base64 in a file": ("base64 config.env > data.b64", "data.b64"),
    "in lines": ("sed 's/./&\\n/g' config.env > lines.txt", "lines.txt"),
    "a file's name": ("touch $(cut -d= -f2- config.env | od -An -tx1 | tr -d ' \\n')", "the name of"),
    "a link": ("ln -s $(cut -d= -f2- config.env) link", "link"),
    "a binary": (
        "(head -c 5000 /dev/urandom; cat config.env; head -c 5000 /dev/urandom) > blob.bin",
        "blob.bin",
    ),
}


@pytest.mark.attack(21)
@pytest.mark.parametrize("way", IN_A_PATCH)
def test_a_patch_with_a_secret_is_refused(villain: Villain, way: str) -> None:
    call, where = IN_A_PATCH[way]
    done = knowing(villain).attack(call)
    assert done.attempt["state"] == "failed"
    assert done.attempt["patch"] is None
    message = done.attempt["message"]
    assert "The patch is refused: the value of the secret API_KEY stands in" in message, message
    assert where in message
    assert VALUE not in message
    assert "policy.blocked" in done.log
    branches = told(done.house, "task", "diff", done.task)
    assert VALUE not in branches.stdout


@pytest.mark.attack(21)
def test_a_secret_may_be_taken_out_of_a_file(villain: Villain) -> None:
    done = knowing(villain).attack("echo 'key=from the environment' > config.env")
    assert done.attempt["patch"]["files"] == ["config.env"]


@pytest.mark.attack(21)
def test_a_pull_request_tells_no_secret(villain: Villain) -> None:
    ready = knowing(villain)
    done = ready.attack(
        {"name": "apply_patch", "arguments": {"patch": FIX}},
        last=f"Done with {VALUE[::-1]} and {VALUE.encode().hex()}",
        options=("--check", f"{CHECK} || cat config.env"),
    )
    created = told(done.house, "pr", "create", done.task)
    assert created.code == 0, created
    for text in (created.stdout, told(done.house, "pr", "view", "1").stdout, json.dumps(done.shown)):
        for form, needle in spelled(VALUE).items():
            assert needle not in text, form
    nowhere(done)
    branch = done.attempt["patch"]["branch"]
    assert shlex.quote(branch) == branch
