"""Setup secrets: lent to setup, and gone before the agent starts."""

import base64
import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.attacks.scripted import Villain, shell, told
from tests.house import git
from tests.secrets.test_redaction import spelled

VALUE = "npm_Zx81kQ0pw/Lmn+77"
LEND = ("--no-verify", "--lend-setup-secrets")

SEARCH = r"""
import base64, os, stat
value = os.environ["PARTS"].replace("_AND_", "")
forms = [value, value[::-1], base64.b64encode(value.encode()).decode().rstrip("="), value.encode().hex()]
for top in ("/", "/proc"):
    for folder, names, files in os.walk(top):
        if folder == "/": names[:] = set(names) - {"proc", "sys", "usr", "lib", "dev"}
        if top == "/proc" and folder.count("/") > 2: names[:] = []
        for file in files:
            path = f"{folder}/{file}"
            if top == "/proc" and file not in ("environ", "cmdline"): continue
            try:
                if stat.S_ISREG(os.stat(path).st_mode):
                    text = open(path, "rb").read().decode("latin-1")
                    if any(form in text for form in forms): print("FOUND in", path)
            except OSError: pass
print("FOUND in the environment" if any(value in held for held in os.environ.values()) else "searched")
"""


def setting(villain: Villain, *setup: str, **files: str) -> Villain:
    """Return the agent at a repository whose setup runs these commands, with a secret set for it."""
    recipe = f"setup = {json.dumps(list(setup))}\nsetup_network = 'none'\n"
    ready = replace(villain, files={".overnight.toml": recipe, "README.md": "x\n", **files})
    set_it = told(ready.house, "secret", "set", "NPM_TOKEN", "--repo", str(ready.repository), stdin=VALUE)
    assert set_it.code == 0, set_it
    return ready


USES = (
    'test "${#NPM_TOKEN}" = 20 && echo "using $NPM_TOKEN" && base64 <<< "$NPM_TOKEN" >&2',
    'echo "//registry/:_authToken=$NPM_TOKEN" > ~/.npmrc; echo "$NPM_TOKEN" >> ~/.bash_history; '
    'echo "$NPM_TOKEN" > /tmp/left; (exec -a "$NPM_TOKEN" sleep 300 > /dev/null 2>&1 &) ; '
    'printf %s "$NPM_TOKEN" | sha256sum > /dependencies/installed; mkdir n; echo ok > n/x',
)


@pytest.mark.attack(18)
def test_a_setup_secret_is_gone_when_the_agent_starts(villain: Villain) -> None:
    ready = setting(villain, *USES)
    # The value is put together inside, so that the search does not find its own text.
    parts = f"{VALUE[:7]}_AND_{VALUE[7:13]}_AND_{VALUE[13:]}"
    done = ready.attack(shell(f"export PARTS='{parts}'; python3 - <<'END'\n{SEARCH}\nEND"), options=LEND)
    assert "searched" in done.output, done.ended
    assert "FOUND" not in done.output, done.output
    assert "[secret:NPM_TOKEN]" in done.log, "setup printed it, and it was taken out"
    for form, text in spelled(VALUE).items():
        assert text not in done.log, form
    for needle in (
        VALUE,
        VALUE[::-1],
        VALUE.encode().hex(),
        base64.b64encode(VALUE.encode()).decode().rstrip("="),
    ):
        assert done.kept(needle.encode()) == [], "nothing on disk holds it"
    kept = list((ready.house.root / "data").rglob("installed"))
    assert kept, "what setup made of it is there"


HIDE = "python3 -c \"import os; os.setxattr('{path}', 'user.x', os.environb[b'NPM_TOKEN'])\""
LEAVES = {
    "a settings file": ("echo token=$NPM_TOKEN > .npmrc", ".npmrc"),
    "dependencies": (
        "mkdir /dependencies/etc && echo $NPM_TOKEN > /dependencies/etc/pip.conf",
        "/dependencies/etc/pip.conf",
    ),
    "base64": ("printf 'user:%s' $NPM_TOKEN | base64 > auth", "auth"),
    "hex in lines": ("printf %s $NPM_TOKEN | od -An -tx1 > dump", "dump"),
    "reversed": ("printf %s $NPM_TOKEN | rev > back", "back"),
    "a link": ("ln -s x-$NPM_TOKEN link", "link"),
    "an attribute": ("touch plain && " + HIDE.format(path="plain"), "plain"),
    "a folder's attribute": ("mkdir inner && " + HIDE.format(path="inner"), "inner"),
    "a name": ("mkdir names && touch names/$(printf %s $NPM_TOKEN | base64)", "names/"),
    "a closed file": ("echo $NPM_TOKEN > closed && chmod 0 closed", "closed"),
    "far into a file": ("(head -c 9000000 /dev/zero; printf %s $NPM_TOKEN) > far", "far"),
    "far apart": (
        "(printf %s ${NPM_TOKEN:0:8}; printf %20000000s; printf %s ${NPM_TOKEN:8}) > apart",
        "apart",
    ),
    "over an edge": ("(head -c 8388598 /dev/zero; printf %s $NPM_TOKEN) > edge", "edge"),
}


@pytest.mark.attack(18)
@pytest.mark.parametrize("way", LEAVES)
def test_a_setup_that_leaves_a_secret_is_refused(villain: Villain, way: str) -> None:
    command, where = LEAVES[way]
    done = setting(villain, command).attack("echo started", options=LEND)
    assert done.attempt["state"] == "failed"
    message = done.attempt["message"]
    assert "Setup left the value of the secret NPM_TOKEN in" in message, message
    assert where in message
    assert VALUE not in message
    assert "started" not in done.output, "the agent never began"
    assert done.kept(VALUE.encode()) == [], "what setup made is not kept"


@pytest.mark.attack(18)
def test_setup_that_fails_tells_no_value(villain: Villain) -> None:
    done = setting(villain, 'echo "bad token: $NPM_TOKEN"; exit 7').attack("true", options=LEND)
    assert "exit code 7" in done.attempt["message"]
    assert "[secret:NPM_TOKEN]" in done.attempt["message"]
    assert done.kept(VALUE.encode()) == []


@pytest.mark.attack(9, 18)
def test_another_commit_needs_another_word(villain: Villain) -> None:
    ready = setting(villain, 'echo quiet $(printf %s "$NPM_TOKEN" | wc -c)')
    done = ready.attack("true", options=LEND)
    assert "quiet 20" in done.log
    hostile = 'setup = ["printf %s $NPM_TOKEN | tr a-z A-Z > /dependencies/stolen"]\nsetup_network = "none"\n'
    (ready.repository / ".overnight.toml").write_text(hostile)
    git(ready.repository, "commit", "-qam", "hostile")
    refused = told(
        ready.house,
        *("run", "Again", "--repo", str(ready.repository), "--sandbox", ready.backend, "--no-verify"),
        *("--model", ready.house.script([{"text": "x"}], "again")),
    )
    assert refused.code == 64, refused
    assert "--lend-setup-secrets" in refused.stderr
    assert len(told(ready.house, "task", "list", "--json").json) == 1, "no task was made"
    assert not list((ready.house.root / "data").rglob("stolen"))
    # What goes on with the first task goes on with the commit that the word was given for.
    assert done.shown["base"]["commit"] == git(ready.repository, "rev-parse", "HEAD~1")


@pytest.mark.attack(18)
def test_another_version_of_a_secret_is_another_snapshot(villain: Villain) -> None:
    ready = setting(villain, "echo ran; printf %s $NPM_TOKEN | md5sum > /dependencies/sum")
    show = "cat /dependencies/sum"
    first = ready.attack(show, options=LEND)
    assert "ran" in first.output
    again = ready.attack(show, options=LEND)
    assert "ran" not in again.output, "the snapshot was used again"
    told(
        ready.house,
        "secret",
        "set",
        "NPM_TOKEN",
        "--repo",
        str(ready.repository),
        stdin="another-value-of-it",
    )
    rotated = ready.attack(show, options=LEND)
    assert "ran" in rotated.output
    assert rotated.output.splitlines()[-1] != first.output.splitlines()[-1]


@pytest.mark.attack(18)
def test_agents_and_publishers_secrets_never_enter(villain: Villain) -> None:
    ready = setting(villain, "env | sort > /dependencies/variables")
    told(
        ready.house,
        "secret",
        "set",
        "AGENT_KEY",
        "--phase",
        "agent",
        "--host",
        "api.example.com",
        stdin="agents-own-value",
    )
    told(ready.house, "secret", "set", "FORGE_KEY", "--phase", "publisher", stdin="publishers-value")
    told(ready.house, "secret", "remove", "NPM_TOKEN", "--repo", str(ready.repository))
    done = ready.attack("env; cat /dependencies/variables", options=LEND)
    assert "AGENT_KEY=OVERNIGHT_SECRET_" in done.output
    assert "FORGE_KEY" not in done.output
    for needle in (b"agents-own-value", b"publishers-value"):
        assert done.kept(needle) == []


def test_the_search_is_worth_its_name(tmp_path: Path) -> None:
    """Show that what the agent searches with would find the value, were it there."""
    import subprocess
    import sys

    (tmp_path / "here").write_text(VALUE)
    script = SEARCH.replace('("/", "/proc")', f"({str(tmp_path)!r},)")
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"PARTS": f"{VALUE[:5]}_AND_{VALUE[5:]}"},
        capture_output=True,
        text=True,
    )
    assert f"FOUND in {tmp_path}/here" in done.stdout, done
