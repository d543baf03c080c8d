"""Credentials of this machine's package clients, and a setup (the repository's own code) that seeks them."""

import json
from dataclasses import replace

import pytest

from tests.attacks.scripted import Villain, has_egress, told

TOKEN = "npm_Qx7kT0pwLmn77Zu3"
PASSWORD = "Wq93-kT7mZx0-pLn"
LOOK = "env; find /overnight/settings -type f | xargs cat; cat ~/.netrc /root/.netrc; true"
LEND = ("--no-verify", "--lend-setup-secrets")


def at_home(villain: Villain, *setup: str) -> Villain:
    """Return the agent on a machine whose package clients have credentials."""
    # In one sandbox the setup goes by the proxy where it can, so that both ways are tried.
    network = "registries" if has_egress(villain.backend) else "open"
    recipe = f"setup = {json.dumps(list(setup))}\nsetup_network = '{network}'\n"
    home = villain.house.root
    (home / ".config/pip").mkdir(parents=True)
    (home / ".config/pip/pip.conf").write_text(
        f"[global]\nindex-url = https://bot:{PASSWORD}@127.0.0.9:4439/simple\n"
    )
    (home / ".npmrc").write_text(f"registry=https://127.0.0.9:4438/\n//127.0.0.9:4438/:_authToken={TOKEN}\n")
    (home / ".netrc").write_text(f"machine 127.0.0.9 login bot password {PASSWORD}\n")
    variables = {
        "UV_INDEX": f"https://{TOKEN}@127.0.0.9:4437/simple", "PIP_CONFIG_FILE": "", "XDG_CONFIG_HOME": ""
    }  # fmt: skip
    return replace(villain, files={".overnight.toml": recipe, "README.md": "x\n"}, variables=variables)


@pytest.mark.attack(18)
def test_setup_sees_addresses_and_no_credentials(villain: Villain) -> None:
    done = at_home(villain, f"({LOOK}) > /dependencies/seen").attack("cat /dependencies/seen")
    assert "registry=https://127.0.0.9:4438/" in done.output, done.ended
    assert "index-url = https://127.0.0.9:4439/simple" in done.output
    assert "UV_INDEX=https://127.0.0.9:4437/simple" in done.output
    for needle in (TOKEN, PASSWORD):
        assert needle not in done.log
        assert done.kept(needle.encode()) == []
    said = [line for line in done.ended.stderr.splitlines() if "--lend-setup-secrets" in line]
    assert len(said) == 1, done.ended.stderr
    assert "(127.0.0.9)" in said[0]


@pytest.mark.attack(18, 20)
def test_what_a_person_lends_is_used_and_never_kept(villain: Villain) -> None:
    lent = at_home(villain, LOOK, "grep -q _authToken /overnight/settings/npmrc && touch /dependencies/used")
    done = lent.attack("(ls /dependencies; cat /overnight/settings/npmrc; env) 2>&1", options=LEND)
    assert "used" in done.output, done.output + done.ended.stderr
    assert "//127.0.0.9:4438/:_authToken=" in done.log, "setup printed it"
    assert "[secret:127.0.0.9]" in done.log
    for needle in (TOKEN, PASSWORD):
        assert needle not in done.log
        assert done.kept(needle.encode()) == []
    assert "--lend-setup-secrets" not in done.ended.stderr
    without = lent.attack("ls /dependencies")
    assert without.attempt["state"] == "failed", "what was made with them serves nobody without the word"


@pytest.mark.attack(18)
def test_a_setup_that_keeps_a_lent_credential_is_refused(villain: Villain) -> None:
    done = at_home(villain, "cp /overnight/settings/npmrc /dependencies/kept").attack("true", options=LEND)
    assert "Setup left the value of the secret 127.0.0.9 in /dependencies/kept" in done.attempt["message"]
    assert done.kept(TOKEN.encode()) == []


def test_show_and_build_go_by_the_same_word(villain: Villain) -> None:
    ready = at_home(villain, f"{LOOK}; exit 3")
    repo = ("--repo", str(ready.repository), "--sandbox", ready.backend)
    built = told(ready.house, "env", "build", *repo, **ready.variables)
    assert built.code == 1
    assert TOKEN not in built.stderr
    lent = told(ready.house, "env", "build", "--lend-setup-secrets", *repo, **ready.variables)
    assert lent.code == 1
    assert "[secret:127.0.0.9]" in lent.stderr
    assert TOKEN not in lent.stderr
