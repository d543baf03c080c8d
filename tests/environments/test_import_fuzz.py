"""Any bytes in any of the files of other tools: never an error, and of our own file only ours."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from overnight.cli.recipe_lines import recipe_lines, recipe_toml
from overnight.domain.errors import OvernightError
from tests.environments.recipes import recipe_of

FOREIGN = (
    ".devcontainer/devcontainer.json",
    ".devcontainer.json",
    ".cursor/environment.json",
    ".github/workflows/copilot-setup-steps.yml",
    ".openhands/setup.sh",
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda children: (
        st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=10), children, max_size=4)
    ),
    max_leaves=12,
)
DEVCONTAINER = st.dictionaries(
    st.sampled_from(
        ("image", "features", "containerEnv", "remoteEnv", "postCreateCommand", "onCreateCommand", "mounts",
         "postStartCommand", "dockerComposeFile", "service", "runServices", "secrets", "workspaceFolder")
    ),
    JSON,
)  # fmt: skip
JOB = st.dictionaries(
    st.sampled_from(("steps", "services", "env", "timeout-minutes", "defaults", "container")),
    JSON
    | st.lists(st.dictionaries(st.sampled_from(("run", "uses", "if", "env", "shell", "with", "name")), JSON)),
)
TEXT = st.text(max_size=300).map(lambda text: text.encode("utf-8", "replace"))
TOML = st.text(alphabet="[]{}=\"'.,#\n 0123456789abclimtservcnx_", max_size=200).map(str.encode)
BOUNDS = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def harmless(files: dict[str, str | bytes]) -> None:
    """Read a recipe and show it, as every command does first."""
    recipe = recipe_of({"docker-compose.yml": "services: {db: {image: postgres}}", **files})
    for line in recipe_lines(recipe):
        assert "\n" not in line
        assert "\x1b" not in line
    assert all(isinstance(value, str) for value in recipe.variables.values())
    try:
        again = recipe_of({".overnight.toml": recipe_toml(recipe)})
    except UnicodeEncodeError:
        return  # lone surrogates, which no file can hold
    assert again.setup == recipe.setup


@pytest.mark.parametrize("path", FOREIGN)
@given(
    content=st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode("utf-8", "replace"))
)
@BOUNDS
def test_any_bytes(path: str, content: bytes) -> None:
    recipe_lines(recipe_of({path: content}))


@given(value=JSON | DEVCONTAINER)
@BOUNDS
def test_any_json(value: Any) -> None:
    text = json.dumps(value)
    harmless({".devcontainer.json": text, ".cursor/environment.json": text})


@given(job=JOB)
@BOUNDS
def test_any_workflow(job: Any) -> None:
    harmless({FOREIGN[3]: json.dumps({"jobs": {"copilot-setup-steps": job}})})


@given(content=st.binary(max_size=300) | TOML)
@BOUNDS
def test_any_bytes_in_our_own_file(content: bytes) -> None:
    said = ".overnight.toml"
    try:
        recipe_of({".overnight.toml": content})
    except OvernightError as error:
        said = error.message
    assert said.startswith(".overnight.toml")
