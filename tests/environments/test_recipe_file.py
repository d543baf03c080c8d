"""The further keys of `.overnight.toml`; whatever is wrong in it refuses the task with one clear line."""

import pytest

from overnight.cli.recipe_lines import recipe_toml
from overnight.domain.environment import SecretName, Service
from overnight.domain.errors import UsageError
from tests.environments.recipes import recipe_of

NAME = ".overnight.toml"
WHOLE = """
base = "python:3.12"
setup = ["make deps"]
maintenance = ["make update"]
start = ["make migrate"]

[services.redis]
command = "redis-server --port 6379"
ready = "redis-cli ping"
seconds = 5
variables = { A = "b" }

[services.web]
command = "python3 -m http.server"

[secrets]
NPM_TOKEN = "setup"
KEY = "agent"

[limits]
memory_bytes = "2g"
command_seconds = "90s"
processes = 100
"""


def test_every_key_is_read() -> None:
    recipe = recipe_of({NAME: WHOLE})
    assert recipe.base == "python:3.12"
    assert (recipe.setup, recipe.maintenance, recipe.start) == (
        ("make deps",), ("make update",), ("make migrate",),
    )  # fmt: skip
    assert recipe.services == (
        Service(
            name="redis", command="redis-server --port 6379", ready="redis-cli ping", seconds=5.0,
            variables={"A": "b"},
        ),
        Service(name="web", command="python3 -m http.server"),
    )  # fmt: skip
    assert recipe.secrets == (SecretName(name="NPM_TOKEN"), SecretName(name="KEY", phase="agent"))
    assert recipe.limits == {"memory_bytes": 2 * 1024**3, "command_seconds": 90.0, "processes": 100}


def test_what_is_written_out_reads_back_the_same() -> None:
    recipe = recipe_of({NAME: WHOLE, "requirements.txt": "x\n", "test_a.py": "def test(): pass\n"})
    again = recipe_of({NAME: recipe_toml(recipe)})
    for key in ("base", "setup", "maintenance", "start", "services", "secrets", "limits", "checks", "path"):
        assert getattr(again, key) == getattr(recipe, key), key
    assert again.variables == recipe.variables


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("services = 5", ("services", "table")),
        ("[services.redis]\nready = 'x'", ("services.redis.command",)),
        ("[services.redis]\ncommand = 'x'\nport = 5", ("'port'", "services.redis", "command, ready")),
        ("[services.redis]\ncommand = 'x'\nseconds = 0", ("services.redis.seconds", "600")),
        ("[services.redis]\ncommand = 'x'\nvariables = {'a b' = 'c'}", ("services.redis.variables",)),
        ("[services.'a b']\ncommand = 'x'", ("'a b'", "name")),
        ("secrets = ['A']", ("secrets", "table")),
        ("secrets = {A = 'always'}", ("secrets", "setup, agent, publisher")),
        ("secrets = {A = 's3cr3t-value'}", ("Values never stand in a repository",)),
        ("limits = {memory = '2g'}", ("'memory'", "memory_bytes")),
        ("limits = {memory_bytes = 'lots'}", ("memory_bytes", "512m")),
        ("limits = {processes = true}", ("processes",)),
        ("limits = {steps = 1.5}", ("steps",)),
        (f"limits = {{steps = 0x{'f' * 6000}}}", ("steps", "larger")),
        ("base = 'a b'", ("base", "image")),
        ("base = 1", ("base", "image")),
        ("start = 'x'", ("start", "list of strings")),
        ("maintenance = [1]", ("maintenance", "list of strings")),
        (f"setup_seconds = {'9' * 5000}", ("TOML",)),
        (f"setup_seconds = 0x{'f' * 6000}", ("setup_seconds",)),
        (f"setup = [{'[' * 5000}", ("TOML",)),
    ],
)
def test_a_wrong_file_refuses_with_one_line(text: str, parts: tuple[str, ...]) -> None:
    with pytest.raises(UsageError) as caught:
        recipe_of({NAME: text})
    line = f"{caught.value.message} {caught.value.hint}"
    assert line.startswith(NAME)
    assert "\n" not in line
    assert len(line) < 600
    assert [part for part in parts if part not in line] == []


@pytest.mark.parametrize("why", ["it is a symbolic link", "it is too large"])
def test_a_file_that_must_not_be_read_refuses_the_task(why: str) -> None:
    with pytest.raises(UsageError, match=why):
        recipe_of({"a.py": ""}, refused={NAME: why})


def test_pip_of_an_own_setup_has_somewhere_to_install() -> None:
    recipe = recipe_of({NAME: "setup = ['pip install -e .']\n"})
    assert recipe.setup[0].endswith("python3 -m venv /dependencies/venv")
    assert "/dependencies/venv/bin" in recipe.path
    own = ["python3 -m venv /dependencies/mine", "/dependencies/mine/bin/pip install x"]
    assert recipe_of({NAME: f"setup = {own}\n"}).setup == tuple(own)
