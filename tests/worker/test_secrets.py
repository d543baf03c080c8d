"""Secrets with `overnight env` as with a run: the same word, the same setup, and no value shown."""

from pathlib import Path

import pytest

from tests.attacks.scripted import told
from tests.house import House, git, make_repository

VALUE = "npm_4Tq0/zz+81Kd"
OWN = """
setup = ['echo "has $NPM_TOKEN"; printf %s "$NPM_TOKEN" | sha256sum > /dependencies/made']
setup_network = "none"
[secrets]
NPM_TOKEN = "setup"
DEPLOY = "publisher"
API_KEY = "agent"
"""
LEND = "--lend-setup-secrets"


@pytest.fixture
def repository(house: House, tmp_path: Path) -> Path:
    """Return a repository whose setup uses a secret that is set."""
    path = make_repository(tmp_path / "repository", {".overnight.toml": OWN, "a.txt": "x\n"})
    assert told(house, "secret", "set", "NPM_TOKEN", "--repo", str(path), stdin=VALUE).code == 0
    return path


def keys(house: House, repository: Path) -> set[str]:
    """Return the layers that lie ready for the next attempt."""
    shown = told(house, "env", "show", "--repo", str(repository), "--json").json
    return {layer["key"] for layer in shown["layers"]}


def test_nothing_is_lent_without_a_word(house: House, repository: Path) -> None:
    for command, rest in (("build", ()), ("exec", ("--", "true"))):
        ended = told(house, "env", command, "--repo", str(repository), *rest)
        assert ended.code == 64, ended
        assert LEND in ended.stderr
    assert not list((house.root / "data").rglob("made")), "setup did not run"


def test_a_build_makes_the_setup_that_a_run_uses(house: House, repository: Path) -> None:
    built = told(house, "env", "build", "--repo", str(repository), LEND)
    assert built.code == 0, built
    assert "has [secret:NPM_TOKEN]" in built.stderr
    assert VALUE not in built.stdout + built.stderr
    assert "overnight secret set DEPLOY --repo . --phase publisher" in built.stderr, "missing ones are named"
    assert "overnight secret set API_KEY --repo . --phase agent --host HOST" in built.stderr
    assert "NPM_TOKEN is asked for" not in built.stderr
    before = keys(house, repository)
    assert any(key.startswith("setups-") for key in before), "what the build made is found again"

    model = house.script([{"text": "nothing to do"}])
    ran = told(house, "run", "x", "--repo", str(repository), "--model", model, "--no-verify", LEND)
    assert "reusing snapshot" in ran.stderr, ran
    assert "secret DEPLOY is asked for and not set" in ran.stderr
    shown = told(house, "env", "exec", "--repo", str(repository), LEND, "--", "cat", "/dependencies/made")
    assert (shown.code, len(shown.stdout)) == (0, 68), shown
    assert "echo" not in shown.stderr, "setup did not run again"
    assert keys(house, repository) == before

    again = told(house, "env", "build", "--repo", str(repository), LEND, "--no-cache")
    assert "setup 1 of 1" in again.stderr, "the right setup was forgotten"
    # Another version of the secret is another setup.
    assert told(house, "secret", "set", "NPM_TOKEN", "--repo", str(repository), stdin=VALUE + "x").code == 0
    assert not any(key.startswith("setups-") for key in keys(house, repository))


def test_a_setup_that_fails_shows_no_value(house: House, repository: Path) -> None:
    (repository / ".overnight.toml").write_text(
        "setup = ['echo \"bad $NPM_TOKEN\"; exit 3']\nsetup_network = 'none'\n"
    )
    git(repository, "commit", "-qam", "fail")
    for command, rest in (("build", ()), ("exec", ("--", "true"))):
        ended = told(house, "env", command, "--repo", str(repository), LEND, *rest)
        assert ended.code == 1, ended
        assert "[secret:NPM_TOKEN]" in ended.stderr
        assert VALUE not in ended.stdout + ended.stderr


def test_a_command_has_the_agents_secrets_as_placeholders(house: House, tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "plain", {"a.txt": "x\n"})
    setting = ("secret", "set", "API_KEY", "--phase", "agent", "--host", "api.example.org")
    assert told(house, *setting, stdin=VALUE).code == 0
    shown = told(house, "env", "exec", "--repo", str(repository), "--", "bash", "-c", "echo $API_KEY")
    assert shown.stdout.startswith("OVERNIGHT_SECRET_"), shown
    model = house.script([{"text": "nothing to do"}])
    ran = told(house, "run", "x", "--repo", str(repository), "--model", model, "--no-verify")
    assert "secret API_KEY goes nowhere without network: --allow api.example.org" in ran.stderr
