"""`overnight secret` as a person uses it: values go in, and nothing brings one out."""

from pathlib import Path

import pytest

from tests.attacks.scripted import told
from tests.house import Ended, House

VALUE = "value-of-a-token-4711"


@pytest.fixture
def sealed(house: House) -> House:
    """Return a house with one secret."""
    done = told(house, "secret", "set", "TOKEN", stdin=VALUE + "\n")
    assert done.code == 0, done
    return house


def shown(ended: Ended) -> str:
    """Return all that a command printed, and see that no value is in it."""
    text = ended.stdout + ended.stderr
    assert VALUE not in text
    return text


def test_a_value_goes_in_and_stays_there(sealed: House) -> None:
    assert "TOKEN  setup  all repositories" in shown(told(sealed, "secret", "list"))
    (one,) = told(sealed, "secret", "list", "--json").json
    assert (one["name"], one["phase"], one["hosts"], one["repository"]) == ("TOKEN", "setup", [], None)
    assert set(one) == {"name", "phase", "hosts", "repository", "version", "created_at"}
    assert (sealed.root / "data" / "master.key").stat().st_mode & 0o777 == 0o600
    for file in (sealed.root / "data").iterdir():
        assert not file.is_file() or VALUE.encode() not in file.read_bytes(), file


def test_for_one_repository_and_its_hosts(sealed: House, buggy: Path) -> None:
    set_it = ("secret", "set", "TOKEN", "--repo", str(buggy), "--phase", "agent", "--host", "API.example.com")
    assert told(sealed, *set_it, stdin="another-value-of-it").code == 0
    found = told(sealed, "secret", "list", "--json").json
    assert [(one["repository"], one["hosts"]) for one in found] == [
        (None, []),
        (str(buggy), ["api.example.com"]),
    ]
    assert told(sealed, "secret", "remove", "TOKEN", "--repo", str(buggy)).code == 0
    assert [one["repository"] for one in told(sealed, "secret", "list", "--json").json] == [None]


def test_set_again_is_another_version(sealed: House) -> None:
    (before,) = told(sealed, "secret", "list", "--json").json
    again = told(sealed, "secret", "set", "TOKEN", stdin=VALUE)
    assert "Replaced" in shown(again)
    (after,) = told(sealed, "secret", "list", "--json").json
    assert after["version"] != before["version"]


def test_removed_is_gone(sealed: House) -> None:
    assert told(sealed, "secret", "remove", "TOKEN").code == 0
    assert told(sealed, "secret", "list", "--json").json == []
    again = told(sealed, "secret", "remove", "TOKEN")
    assert again.code == 64
    assert "There is no secret TOKEN" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "value", "says"),
    [
        (("TOKEN",), "short", "too short"),
        (("token",), VALUE, "Not a name"),
        (("TOKEN", "--phase", "later"), VALUE, "no phase"),
        (("TOKEN", "--phase", "agent"), VALUE, "needs the hosts"),
        (("TOKEN", "--host", "example.com"), VALUE, "for secrets of an agent only"),
        (("TOKEN", "--phase", "agent", "--host", "*"), VALUE, "Not the name of a host"),
        (("TOKEN", "--repo", "/nonexistent/path"), VALUE, "/nonexistent/path"),
        (("TOKEN", VALUE), "", "Got unexpected extra argument"),
    ],
)
def test_what_cannot_be_is_one_line(house: House, arguments: tuple[str, ...], value: str, says: str) -> None:
    done = told(house, "secret", "set", *arguments, stdin=value)
    assert done.code == 64, done
    assert says in done.stderr, done
    assert "Traceback" not in done.stderr


def test_a_key_from_elsewhere(house: House, tmp_path: Path) -> None:
    key = tmp_path / "key"
    missing = told(house, "secret", "set", "TOKEN", stdin=VALUE, OVERNIGHT_MASTER_KEY_FILE=str(key))
    assert missing.code == 1
    assert "is missing" in missing.stderr
    key.write_text("ab" * 32 + "\n")
    key.chmod(0o600)
    assert told(house, "secret", "set", "TOKEN", stdin=VALUE, OVERNIGHT_MASTER_KEY_FILE=str(key)).code == 0
    assert not (house.root / "data" / "master.key").exists()
    other = told(house, "secret", "set", "MORE", stdin=VALUE)
    assert other.code == 1
    assert "master key" in other.stderr


def test_a_task_needs_secrets_that_open(sealed: House, buggy: Path) -> None:
    (sealed.root / "data" / "master.key").write_text("cd" * 32)
    run = ("run", "Fix it", "--repo", str(buggy), "--model", sealed.fixing_script(), "--no-verify")
    done = told(sealed, *run)
    assert done.code == 1, done
    assert "Another master key" in done.stderr
    assert told(sealed, "task", "list", "--json").json == []


def test_a_task_must_not_hold_a_value(sealed: House, buggy: Path) -> None:
    done = told(
        sealed, "run", f"Log in with {VALUE}", "--repo", str(buggy), "--model", sealed.fixing_script()
    )
    assert done.code == 64, done
    assert "holds the value of the secret TOKEN" in done.stderr
