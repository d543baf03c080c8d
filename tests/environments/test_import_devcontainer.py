"""devcontainer.json as it is found in the wild: what is honoured, and what is refused by name."""

import json

import pytest

from overnight.domain.environment import Recipe, SecretName
from overnight.environments.detect.found import Host
from tests.environments.recipes import ignored, recipe_of

FILE = ".devcontainer/devcontainer.json"
VENV = "test -x /dependencies/venv/bin/python3 || python3 -m venv /dependencies/venv"
WILD = """// For format details, see https://aka.ms/devcontainer.json.
{
  "name": "Shop",
  /* the database lives beside it */
  "dockerComposeFile": ["../docker-compose.yml", "docker-compose.dev.yml"],
  "service": "app",
  "workspaceFolder": "/workspaces/${localWorkspaceFolderBasename}",
  "features": {
    "ghcr.io/devcontainers/features/node:1": {"version": "lts"},
    "ghcr.io/devcontainers/features/docker-in-docker:2": {},
    "ghcr.io/devcontainers/features/go:1": {},
  },
  "forwardPorts": [5000],
  "containerEnv": {"MODE": "test", "HOME_OF": "${localEnv:HOME}", "USER_OF": "${localEnv:USER:nobody}"},
  "remoteEnv": {"GREETING": "hello ${containerEnv:MODE}",
                "PATH": "${containerEnv:PATH}:/workspace/bin", "X": null},
  "initializeCommand": "touch /etc/owned",
  "onCreateCommand": "sudo apt-get update && sudo apt-get install -y libpq-dev; sudo npm install -g pnpm",
  "updateContentCommand": ["pip", "install", "-r", "requirements dev.txt"],
  "postCreateCommand": {"web": "npm install", "api": ["pip3", "install", "--user", "-e", "."]},
  "postStartCommand": "git config --global --add safe.directory ${containerWorkspaceFolder}",
  "postAttachCommand": "cowsay hi",
  "remoteUser": "vscode",
  "runArgs": ["--privileged", "--network=host"],
  "mounts": ["source=/var/run/docker.sock,target=/var/run/docker.sock,type=bind"],
  "privileged": true,
  "capAdd": ["SYS_PTRACE"],
  "securityOpt": ["seccomp=unconfined"],
  "secrets": {"API_KEY": {"description": "for the tests"}},
  "customizations": {"vscode": {"extensions": ["ms-python.python"]}},
  "whatIsThis": 1,
}
"""
COMPOSE = """
x-common: &common {restart: unless-stopped}
services:
  app:
    build: .
    environment: {DATABASE_URL: "postgresql://shop:secret@db:5432/shop", CACHE: "redis://cache:6379/0",
                  HOST: db}
  db:
    <<: *common
    image: docker.io/library/postgres:15-alpine
    environment: ["POSTGRES_USER=shop", "POSTGRES_DB=shop"]
  cache: {image: "redis:7", ports: ["6379"]}
  broker: {image: "rabbitmq:3"}
  built: {build: ./built}
"""
FILES = {FILE: WILD, "docker-compose.yml": COMPOSE, "requirements dev.txt": "humanize\n", "a.py": ""}


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return recipe_of(FILES)


def test_commands_go_where_they_belong(recipe: Recipe) -> None:
    assert recipe.setup == (
        VENV,
        "npm install -g pnpm",
        "pip install -r 'requirements dev.txt'",
        "npm install",
        "pip3 install -e .",
    )
    assert recipe.maintenance == ("pip install -r 'requirements dev.txt'",)
    assert recipe.start == ("git config --global --add safe.directory /workspace",)
    assert {"/workspace/bin", "/dependencies/venv/bin", "/dependencies/npm/bin"} <= set(recipe.path)


def test_variables_never_come_from_this_machine(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    again = recipe_of(FILES)
    assert again.variables == recipe.variables
    assert recipe.variables["HOME_OF"] == ""
    assert recipe.variables["USER_OF"] == "nobody"
    assert recipe.variables["GREETING"] == "hello test"
    assert "X" not in recipe.variables
    assert "PATH" not in recipe.variables
    assert recipe.secrets == (SecretName(name="API_KEY", phase="setup"),)


def test_services_of_compose_files_become_programs_of_this_machine(recipe: Recipe) -> None:
    by_name = {service.name: service for service in recipe.services}
    assert set(by_name) == {"db", "cache"}
    assert "initdb" in by_name["db"].command
    assert 'CREATE DATABASE "shop"' in by_name["db"].command
    assert "redis-server" in by_name["cache"].command
    assert by_name["cache"].ready == "redis-cli -h 127.0.0.1 -p 6379 ping"
    assert recipe.variables["DATABASE_URL"] == "postgresql://shop:secret@127.0.0.1:5432/shop"
    assert recipe.variables["CACHE"] == "redis://127.0.0.1:6379/0"
    assert recipe.variables["HOST"] == "127.0.0.1"
    assert "not startable" in ignored(recipe, "services.broker")
    assert "names no image" in ignored(recipe, "services.built")


@pytest.mark.parametrize(
    ("part", "why"),
    [
        ("initializeCommand", "on the host"),
        ("runArgs", "out of the sandbox"),
        ("mounts", "nothing of the host"),
        (": privileged", "privileged"),
        ("capAdd", "capabilities"),
        ("securityOpt", "protection"),
        ("postAttachCommand", "nobody attaches"),
        ("remoteUser", "never as root"),
        ("docker-in-docker", "no containers"),
        ("features/go", "not on this machine"),
        ("apt-get install", "root"),
        ("whatIsThis", "no such key"),
        ("docker-compose.dev.yml", "cannot be read"),
    ],
)
def test_what_cannot_be_honoured_is_named(recipe: Recipe, part: str, why: str) -> None:
    assert why in ignored(recipe, part)


def test_nothing_of_the_host_is_left_in_the_recipe(recipe: Recipe) -> None:
    text = repr(recipe.setup) + repr(recipe.start) + repr(recipe.services)
    for part in ("/etc/owned", "docker.sock", "--privileged", "sudo", "apt-get"):
        assert part not in text


def test_an_image_is_the_base_and_detection_fills_in_the_rest() -> None:
    files = {
        ".devcontainer.json": '{"image": "mcr.microsoft.com/devcontainers/python:3.12"}',
        "test_a.py": "import unittest\nclass T(unittest.TestCase): pass\n",
    }
    recipe = recipe_of(files)
    assert recipe.base == "mcr.microsoft.com/devcontainers/python:3.12"
    assert recipe.checks == ("python3 -m unittest",)
    assert recipe.setup == ()


def test_the_image_of_the_compose_service_is_the_base_unless_it_is_built() -> None:
    text = '{"dockerComposeFile": "c.yml", "service": "app"%s}'
    compose = "services: {app: {image: 'python:3.12'%s}}"
    assert recipe_of({".devcontainer.json": text % "", "c.yml": compose % ""}).base == "python:3.12"
    own = text % ', "image": "debian:13"'
    assert recipe_of({".devcontainer.json": own, "c.yml": compose % ""}).base == "debian:13"
    built = recipe_of({".devcontainer.json": text % "", "c.yml": compose % ", build: ."})
    assert built.base == ""
    assert "not built here" in ignored(built, "services.app.build")
    odd = recipe_of({".devcontainer.json": text % "", "c.yml": "services: {app: {image: '--all'}}"})
    assert odd.base == ""
    assert "name of an image" in ignored(odd, "services.app.image")


def test_a_folder_below_is_found_and_the_usual_place_wins() -> None:
    below = {".devcontainer/web/devcontainer.json": '{"postCreateCommand": "make web"}'}
    assert recipe_of(below).setup == ("make web",)
    assert recipe_of({**below, ".devcontainer.json": '{"postCreateCommand": "make it"}'}).setup == (
        "make it",
    )


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"{", "line 1, column 2"),
        (b"[]", "one object"),
        (b"\xff\xfe{}", "not UTF-8"),
        (b"{" + b'"a":{' * 30_000, "larger"),
        (b'{"a":' * 5_000, "nested too deeply"),
    ],
)
def test_a_broken_file_is_one_line_and_detection_goes_on(content: bytes, part: str) -> None:
    recipe = recipe_of({FILE: content, "package.json": '{"scripts": {"test": "node --test"}}'})
    assert part in ignored(recipe, FILE)
    assert "\n" not in ignored(recipe, FILE)
    assert recipe.checks == ("npm test",)


@pytest.mark.parametrize(
    ("text", "key", "expected"),
    [
        ('{"postCreateCommand": 5}', "postCreateCommand", "text"),
        ('{"postCreateCommand": ["a", 5]}', "postCreateCommand", "list of texts"),
        ('{"containerEnv": []}', "containerEnv", "table"),
        ('{"containerEnv": {"A": 5}}', "containerEnv.A", "text"),
        ('{"features": "x"}', "features", "table"),
        ('{"dockerComposeFile": {"a": 1}}', "dockerComposeFile", "path"),
        ('{"image": {}}', "image", "text"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_expected(text: str, key: str, expected: str) -> None:
    recipe = recipe_of({FILE: text})
    line = ignored(recipe, key)
    assert FILE in line
    assert expected in line


@pytest.mark.parametrize("place", [FILE, ".devcontainer"])
def test_a_link_is_not_followed(place: str) -> None:
    recipe = recipe_of({"a.py": ""}, refused={place: "it is a symbolic link"})
    assert "symbolic link" in ignored(recipe, FILE)


def test_scripts_with_structure_are_left_alone() -> None:
    script = "if [ -f x ]; then sudo apt-get update; fi"
    assert recipe_of({FILE: json.dumps({"postCreateCommand": script})}).setup == (script,)
    quoted = "echo 'sudo apt-get x && y'; make"
    assert recipe_of({FILE: json.dumps({"postCreateCommand": quoted})}).setup == (quoted,)


def test_pytest_is_installed_where_the_setup_forgets_it() -> None:
    files = {FILE: '{"postCreateCommand": "npm ci"}', "test_a.py": "def test_a(): pass\n"}
    assert "import pytest" in recipe_of(files).setup[-1]
    assert recipe_of(files).setup[0] == VENV
    assert recipe_of(files, checks=("npm test",)).setup == ("npm ci",)
    has = Host(programs=frozenset({"python3", "npm"}), python_modules=frozenset({"pytest"}))
    assert recipe_of(files, host=has).setup == ("npm ci",)


def test_scripts_and_lock_files_that_commands_name_decide_when_setup_runs_again() -> None:
    files = {
        FILE: json.dumps(
            {
                "onCreateCommand": "bash .devcontainer/setup.sh",
                "postCreateCommand": "cd api && pip install -r lock.txt",
            }
        ),
        ".devcontainer/setup.sh": "true\n",
        "api/lock.txt": "x\n",
        "other.txt": "",
    }
    assert {".devcontainer/setup.sh", "api/lock.txt"} <= set(recipe_of(files).lock_files)
    assert "other.txt" not in recipe_of(files).lock_files
