"""The network as a person grants it: refused by default, listed, granted for a retry in one command."""

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Answer
from tests.house import FIX, House, make_repository

CHECK = "python3 -m unittest -q"


class Canary(http.server.BaseHTTPRequestHandler):
    """A service of this machine that notes who asks."""

    asked: list[str] = []  # noqa: RUF012  shared by the handlers of this test's own server

    def do_GET(self) -> None:
        """Note the path and answer."""
        self.asked.append(self.path)
        self.send_response(200)
        self.send_header("Content-Length", "6")
        self.end_headers()
        self.wfile.write(b"canary")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the library's name
        """Say nothing."""


@pytest.fixture
def service() -> Iterator[str]:
    """Return HOST:PORT of a service on this machine's loopback."""
    Canary.asked.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Canary) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def asking(home: House, command: str) -> str:
    """Return a scripted model that runs a command and then fixes the bug."""
    return home.script(
        [
            {"text": "", "tool_calls": [{"name": "shell", "arguments": {"command": command}}]},
            {"text": "", "tool_calls": [{"name": "apply_patch", "arguments": {"patch": FIX}}]},
            {"text": "done"},
        ],
        name=f"asking-{abs(hash(command))}",
    )


@pytest.fixture(scope="module")
def repository(place: Path) -> Path:
    return make_repository(place / "asking")


def test_what_was_refused_is_listed_and_granted_for_a_retry(
    answer: Answer, home: House, repository: Path, service: str
) -> None:
    collect = "curl -sS http://stats.example.org/collect"
    command = f"{collect}; curl -sS -x http://127.0.0.1:3128 http://{service}/x; true"
    ended = answer(
        "run",
        "Fix add",
        "--repo",
        str(repository),
        "--model",
        asking(home, command),
        "--check",
        CHECK,
        "--json",
    )
    assert ended.code == 0, ended
    task = ended.json["task"]
    if not ended.json["attempts"][0]["blocked"]:
        pytest.skip("the sandbox of this machine has no egress, so nothing is recorded")
    assert Canary.asked == []
    assert "blocked: DNS stats.example.org (host not allowed)" in ended.stderr
    shown = answer("task", "view", task).stdout
    assert f"blocked: {service} (host not allowed)" in shown
    retry = next(line for line in shown.splitlines() if "overnight task retry" in line)
    assert f"--allow stats.example.org --allow {service}" in retry
    body = answer("pr", "view", str(ended.json["pull_request"]["number"])).stdout
    assert "## Network" in body
    assert "| `stats.example.org` | – | `host not allowed` |" in body
    assert f"overnight task retry {task[:8]} --allow stats.example.org --allow {service}" in body

    again = answer("task", "retry", task[:8], "--allow", service, "--json")
    assert again.code == 0, again
    assert again.json["task"] != task
    assert again.json["network"] == service
    assert Canary.asked == ["/x"], "what was granted was reached"
    assert [one["host"] for one in again.json["attempts"][0]["blocked"]] == ["stats.example.org"]
    log = answer("task", "logs", again.json["task"]).stdout
    assert f"network: GET {service}, 1 flows" in log


def test_exec_says_what_was_blocked(answer: Answer, repository: Path, service: str) -> None:
    fetch = ("bash", "-c", f"curl -sS http://{service}/y || curl -sS http://a.example.org/")
    ended = answer("env", "exec", "--repo", str(repository), "--allow", service, "--", *fetch)
    if ended.code == 64:
        assert "cannot hold the network policy" in ended.stderr
        pytest.skip("the sandbox of this machine has no egress")
    assert (ended.code, ended.stdout) == (0, "canary")
    assert Canary.asked == ["/y"]
    ended = answer("env", "exec", "--repo", str(repository), "--", *fetch)
    assert ended.code != 0
    assert "blocked: a.example.org (host not allowed" in ended.stderr
    assert Canary.asked == ["/y"]


@pytest.mark.parametrize("command", [("run", "x"), ("env", "exec", "--")])
@pytest.mark.parametrize("policy", ["registries", "a.example.org"])
@pytest.mark.parametrize("option", ["--network", "--setup-network"])
def test_a_sandbox_that_cannot_hold_a_policy_does_not_start(
    answer: Answer, repository: Path, policy: str, command: tuple[str, ...], option: str
) -> None:
    options = ("--repo", str(repository), "--sandbox", "none", option, policy)
    rest = ("touch", "started") if command[0] == "env" else ("--model", "scripted:/nonexistent")
    arguments = (*command[:2], *options, *command[2:], *rest)
    ended = answer(*arguments)
    assert ended.code == 64
    assert "cannot hold the network policy" in ended.stderr
    assert "→" in ended.stderr


def test_a_build_whose_setup_network_cannot_be_held_does_not_start(answer: Answer, repository: Path) -> None:
    options = ("--sandbox", "none", "--setup-network", "registries")
    ended = answer("env", "build", "--repo", str(repository), *options)
    assert ended.code == 64
    assert "cannot hold the network policy `registries`" in ended.stderr


def test_wrong_rules_are_told_in_one_line(answer: Answer, repository: Path) -> None:
    for option, value in (
        ("--allow", "http://a.example"),
        ("--deny", "*"),
        ("--network", "wifi"),
        ("--setup-network", "x"),
    ):
        ended = answer("run", "x", "--repo", str(repository), option, value)
        assert ended.code == 64, ended
        assert value in ended.stderr
        assert "Traceback" not in ended.stderr


def test_a_repository_only_asks(answer: Answer, home: House, tmp_path: Path) -> None:
    own = '[network]\nagent = "open"\nallow = ["api.example.org/v1 GET"]\n'
    files = {"a.txt": "x\n", ".overnight.toml": own}
    repository = make_repository(tmp_path / "wishes", files)
    model = home.script([{"text": "nothing to do"}], name="idle")
    ended = answer("run", "x", "--repo", str(repository), "--model", model, "--json")
    assert ended.json["network"] == "none"
    assert "asks for network that is not granted: open, api.example.org/v1 GET" in ended.stderr
    (wish,) = ended.json["attempts"][0]["blocked"]
    assert (wish["host"], wish["reason"]) == ("api.example.org", "asked for in .overnight.toml")


def test_setup_reads_the_registries_of_this_machine_and_no_more(
    answer: Answer, tmp_path: Path, service: str
) -> None:
    index = f"http://{service}/simple"
    fetch = "curl -fsS $PIP_INDEX_URL/package -o /dependencies/package || exit 9; "
    write = "curl -sS -X POST -d stolen $PIP_INDEX_URL/upload; curl -sS http://evil.example.org/; true"
    own = f'setup = ["{fetch}{write}"]\n[network]\nsetup = "registries"\n'
    repository = make_repository(tmp_path / "registries", {"a.txt": "x\n", ".overnight.toml": own})
    show = ("--", "bash", "-c", "cat /dependencies/package; env | grep -c PIP_INDEX_URL")
    arguments = ("env", "exec", "--repo", str(repository))
    ended = answer(*arguments, *show, PIP_INDEX_URL=index)
    if "cannot hold the network policy" in ended.stderr:
        pytest.skip("the sandbox of this machine has no egress")
    assert ended.stdout == "canary0\n", "installed, and nothing of the settings is left for the agent"
    assert Canary.asked == ["/simple/package"], "read, and not written to"
    assert f"blocked: {service} (method POST not allowed)" in ended.stderr
    assert "blocked: evil.example.org" in ended.stderr
    # A person's word wins over the repository's.
    ended = answer(*arguments, "--setup-network", "none", *show, PIP_INDEX_URL=index)
    assert ended.code == 1
    assert "Setup ran without network" in ended.stderr
    assert Canary.asked == ["/simple/package"]
