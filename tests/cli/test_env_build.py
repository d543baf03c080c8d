"""`overnight env show|build|prune` and `detect --write`, through the real command line."""

import json
import signal
from pathlib import Path

import pytest

from tests.cli.conftest import Answer, calling
from tests.house import House, git, make_repository
from tests.processes import SECONDS, wait_for

OWN = """
setup = ["echo building $((40 + 2)) > /dependencies/built; echo to stdout", "echo to stderr >&2"]
start = ["cat /dependencies/built"]
checks = ["true"]
"""
SERVER = """
import http.server, os
class Greeter(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello from the service")
server = http.server.HTTPServer(("127.0.0.1", 0), Greeter)
with open("port.new", "w") as file:
    file.write(str(server.server_port))
os.rename("port.new", "port")
server.serve_forever()
"""
ASK = """
import http.client
connection = http.client.HTTPConnection("127.0.0.1", int(open("port").read()))
connection.request("GET", "/")
print(connection.getresponse().read().decode())
"""


@pytest.fixture
def house(tmp_path: Path) -> House:
    """Return an empty house: what is built and pruned must be this test's own."""
    root = tmp_path / "house"
    root.mkdir()
    return House(root)


@pytest.fixture
def answer(house: House, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Answer:
    """Call the command line of the test's house."""
    return calling(house, monkeypatch, capfd)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return a repository with an environment of its own."""
    return make_repository(tmp_path / "repository", {".overnight.toml": OWN, "a.txt": "a\n"})


def kinds(answer: Answer, repository: Path) -> set[str]:
    """Return which kinds of layers lie ready."""
    standing = answer("env", "show", "--repo", str(repository), "--json").json
    return {layer["key"].split("-", 1)[0] for layer in standing["layers"]}


def test_a_build_is_live_and_says_what_is_kept(answer: Answer, repository: Path) -> None:
    repo = ("--repo", str(repository))
    assert kinds(answer, repository) == set()
    assert "setup has not run yet" in answer("env", "show", *repo).stdout
    built = answer("env", "build", *repo)
    assert built.code == 0, built.stderr
    for line in ("to stdout\n", "to stderr\n", "building 42\n", "setup 1 of 2", "exit 0 after"):
        assert line in built.stderr
    assert built.stdout.count(" s  ") == 3
    assert "cached: checkouts-" in built.stdout
    assert "cached: setups-" in built.stdout
    assert kinds(answer, repository) >= {"checkouts", "setups"}
    again = answer("env", "build", *repo)
    assert "setup 1 of 2" not in again.stderr
    assert "building 42" in again.stderr
    anew = answer("env", "build", "--no-cache", *repo)
    assert anew.code == 0, anew.stderr
    assert "setup 1 of 2" in anew.stderr


def test_setup_network_is_a_persons_word_for_build_and_show(
    answer: Answer, house: House, repository: Path
) -> None:
    repo, closed = ("--repo", str(repository)), ("--setup-network", "none")
    # Settings of package clients are there wherever setup has any network.
    (house.root / ".npmrc").write_text("registry=https://npm.example/\n")
    own = 'setup = ["ls /overnight/settings > /dependencies/seen || echo closed"]\n'
    (repository / ".overnight.toml").write_text(own)
    git(repository, "commit", "-qam", "look")
    built = answer("env", "build", *repo, *closed)
    assert built.code == 0, built.stderr
    assert "\nclosed\n" in built.stderr
    setups = [line for line in built.stdout.splitlines() if line.startswith("cached: setups-")]
    shown = answer("env", "show", *repo, *closed, "--json").json
    assert shown["recipe"]["setup_network"] == "none"
    assert len(setups) == 1
    assert any(layer["key"] in setups[0] for layer in shown["layers"])
    assert "setups" not in kinds(answer, repository), "another network is another setup"
    opened = answer("env", "build", *repo)
    assert opened.code == 0
    assert "\nclosed\n" not in opened.stderr
    for command in ("build", "show"):
        refused = answer("env", command, *repo, "--setup-network", "nowhere")
        assert refused.code == 64
        assert "There is no network policy 'nowhere'" in refused.stderr


def test_show_says_size_age_and_use(answer: Answer, repository: Path) -> None:
    assert answer("env", "build", "--repo", str(repository)).code == 0
    (setup,) = [
        layer
        for layer in answer("env", "show", "--repo", str(repository), "--json").json["layers"]
        if layer["key"].startswith("setups-")
    ]
    assert setup["bytes"] > 0
    assert setup["unused_seconds"] >= 0
    assert setup["pinned"] is False
    assert ", used " in answer("env", "show", "--repo", str(repository)).stdout


def test_what_is_in_use_is_neither_evicted_nor_made_anew(
    answer: Answer, house: House, repository: Path
) -> None:
    process = house.start(
        "env",
        "exec",
        "--repo",
        str(repository),
        "--",
        "bash",
        "-c",
        "echo up; read -t 600 < /dev/zero; sleep 600",
    )
    try:
        assert process.stdout is not None
        wait_for(process.stdout, "up")
        layers = answer("env", "show", "--repo", str(repository), "--json").json["layers"]
        assert layers
        assert all(layer["pinned"] for layer in layers)
        assert ", in use" in answer("env", "show", "--repo", str(repository)).stdout
        assert answer("env", "prune", "--all", "--json").json["removed"] == []
        anew = answer("env", "build", "--no-cache", "--repo", str(repository))
        assert anew.code == 1
        assert "in use" in anew.stderr
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=SECONDS)


def test_a_failing_setup_leaves_nothing(answer: Answer, house: House, tmp_path: Path) -> None:
    own = 'setup = ["echo half > half", "echo it broke >&2; exit 9"]\n'
    repository = make_repository(tmp_path / "broken", {".overnight.toml": own})
    ended = answer("env", "build", "--repo", str(repository))
    assert (ended.code, ended.stdout) == (1, "")
    assert "exit 9" in ended.stderr
    assert "it broke" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "setups" not in kinds(answer, repository)
    assert list((house.root / "data" / "snapshots" / "building").iterdir()) == []


def test_ctrl_c_leaves_nothing_half_built(answer: Answer, house: House, tmp_path: Path) -> None:
    own = 'setup = ["echo half > /dependencies/half; echo now; exec sleep 1000"]\n'
    repository = make_repository(tmp_path / "long", {".overnight.toml": own})
    process = house.start("env", "build", "--repo", str(repository))
    assert process.stderr is not None
    wait_for(process.stderr, "now")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert "setups" not in kinds(answer, repository)
    assert list((house.root / "data" / "snapshots" / "building").iterdir()) == []


def test_what_is_damaged_is_named_and_removed(answer: Answer, house: House, repository: Path) -> None:
    assert answer("env", "build", "--repo", str(repository)).code == 0
    whole = answer("env", "prune", "--verify", "--json").json
    assert whole["verified"] >= 2
    assert (whole["damaged"], whole["removed"]) == ({}, [])
    (made,) = (house.root / "data" / "snapshots" / "setups").rglob("built")
    made.write_text("building 43\n")
    said = answer("env", "prune", "--verify")
    assert said.code == 0, said
    assert "damaged: setups-" in said.stdout
    assert "built" in said.stdout
    assert "1 damaged" in said.stdout
    assert not made.exists()
    assert "building 42" in answer("env", "build", "--repo", str(repository)).stderr
    assert answer("env", "prune", "--verify", "--dry-run").code == 64


def test_prune_by_size_age_and_all(answer: Answer, repository: Path) -> None:
    assert answer("env", "build", "--repo", str(repository)).code == 0
    assert answer("env", "prune").code == 64
    looked = answer("env", "prune", "--all", "--dry-run", "--json").json
    assert looked["dry_run"] is True
    assert {layer["key"].split("-", 1)[0] for layer in looked["removed"]} >= {"checkouts", "setups"}
    assert looked["bytes"] == sum(layer["bytes"] for layer in looked["removed"]) > 0
    assert answer("env", "prune", "--older-than", "9d", "--json").json["removed"] == []
    assert answer("env", "prune", "--keep", "9g", "--json").json["removed"] == []
    text = answer("env", "prune", "--all", "--dry-run").stdout
    assert f"would remove: {len(looked['removed'])} layers" in text
    assert kinds(answer, repository) >= {"checkouts", "setups"}
    gone = answer("env", "prune", "--all", "--json").json
    assert gone["removed"] == looked["removed"]
    assert gone["left_bytes"] == 0
    assert kinds(answer, repository) == set()
    assert "removed: 0 layers" in answer("env", "prune", "--older-than", "1s").stdout


def test_detect_writes_a_file_that_says_the_same(answer: Answer, tmp_path: Path) -> None:
    container = '{"postCreateCommand": "sudo apt-get update; npm install", "containerEnv": {"A": "b"},}'
    files = {
        ".devcontainer.json": container,
        "package.json": '{"scripts": {"test": "node --test"}}',
    }
    repository = make_repository(tmp_path / "node", files)
    before = answer("env", "detect", "--repo", str(repository), "--json").json
    written = answer("env", "detect", "--repo", str(repository), "--write")
    assert written.code == 0
    assert "commit it" in written.stderr
    again = answer("env", "detect", "--repo", str(repository), "--write")
    assert (again.code, again.stderr.count("error: ")) == (1, 1)
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "own")
    after = answer("env", "detect", "--repo", str(repository), "--json").json
    for key in ("setup", "start", "checks", "variables", "path", "tools", "lock_files", "services"):
        assert after[key] == before[key], key


def test_ignored_parts_come_with_reasons_and_no_escape_reaches_the_terminal(
    answer: Answer, tmp_path: Path
) -> None:
    text = json.dumps(
        {"initializeCommand": "x", "run\x1b]0;owned\x07Args": 1, "postCreateCommand": "a\x1b[2Jb"}
    )
    repository = make_repository(tmp_path / "hostile", {".devcontainer.json": text})
    shown = answer("env", "detect", "--repo", str(repository))
    assert "ignored: .devcontainer.json: initializeCommand, it would run on the host" in shown.stdout
    assert "\x1b" not in shown.stdout


def test_a_linked_file_of_ours_refuses_the_task(answer: Answer, house: House, tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "linked", {"real.toml": "checks = ['true']\n"})
    (repository / ".overnight.toml").symlink_to("real.toml")
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "link")
    ended = answer("run", "x", "--repo", str(repository), "--model", house.fixing_script())
    assert ended.code == 64
    assert "symbolic link" in ended.stderr


def test_a_command_reaches_the_services(answer: Answer, tmp_path: Path) -> None:
    own = '[services.web]\ncommand = "python3 server.py"\nready = "python3 ask.py"\nseconds = 120\n'
    files = {".overnight.toml": own, "server.py": SERVER, "ask.py": ASK, ".gitignore": "port\n"}
    repository = make_repository(tmp_path / "served", files)
    ended = answer("env", "exec", "--sandbox", "none", "--repo", str(repository), "--", "python3", "ask.py")
    assert ended.code == 0, ended.stderr
    assert ended.stdout == "hello from the service\n"
    assert "service web: python3 server.py" in ended.stderr
    own = '[services.web]\ncommand = "echo no such database >&2; exit 5"\nready = "false"\nseconds = 120\n'
    broken = make_repository(tmp_path / "broken", {".overnight.toml": own})
    ended = answer("env", "exec", "--sandbox", "none", "--repo", str(broken), "--", "true")
    assert (ended.code, ended.stdout) == (1, "")
    assert "no such database" in ended.stderr
    assert "Traceback" not in ended.stderr
