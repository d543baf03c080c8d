"""copilot-setup-steps.yml, `.cursor/environment.json` and `.openhands/setup.sh`, and who wins over whom."""

import json
from typing import Any

import pytest

from overnight.domain.environment import Recipe, SecretName
from tests.environments.recipes import ignored, recipe_of

STEPS = ".github/workflows/copilot-setup-steps.yml"
WORKFLOW = """
name: Copilot Setup Steps
on: {workflow_dispatch: {}}
env: {NODE_ENV: test}
defaults: {run: {shell: bash}}
jobs:
  lint: {runs-on: ubuntu-latest, steps: [{run: echo no}]}
  copilot-setup-steps:
    runs-on: ubuntu-latest
    permissions: {contents: read}
    timeout-minutes: 20
    strategy: {matrix: {node: [18, 20]}}
    services:
      redis: {image: "redis:7", ports: ["6380:6379"]}
      postgres:
        image: postgres:16
        env: {POSTGRES_PASSWORD: postgres, POSTGRES_DB: app}
        ports: ["5432:5432"]
      search: {image: "elasticsearch:8"}
    env:
      TOKEN: ${{ secrets.NPM_TOKEN }}
      ROOT: ${{ github.workspace }}/x
      BOTH: ${{ env.NODE_ENV }}-${{ runner.os }}
    steps:
      - uses: actions/checkout@v5
        with: {fetch-depth: 0}
      - name: Python
        uses: actions/setup-python@v6
        with: {python-version: 3.10}
      - uses: actions/cache@v4
      - uses: actions/setup-java@v4
      - uses: someone/else@main
      - name: Install
        run: npm ci
      - name: Sub
        working-directory: web app
        env: {A: "b c", B: "${{ secrets.OTHER }}"}
        run: |
          echo $A
          echo "X=1" >> $GITHUB_ENV
      - {name: Sometimes, if: "github.event_name == 'push'", run: exit 1}
      - {name: Always, if: "${{ always() }}", run: echo always, continue-on-error: true}
      - {name: Power, shell: pwsh, run: Get-Item}
      - {name: Sha, run: "echo ${{ github.sha }}"}
"""


def test_steps_of_the_job_are_setup() -> None:
    recipe = recipe_of({STEPS: WORKFLOW, "package.json": '{"scripts": {"test": "node --test"}}'})
    assert recipe.setup == (
        "npm ci",
        "set -e\nexport GITHUB_ENV=/dev/null\nexport A='b c'\ncd 'web app'\n"
        'echo $A\necho "X=1" >> $GITHUB_ENV',
        "(\necho always\n) || true",
    )
    assert recipe.setup_seconds == 1200
    assert recipe.variables["NODE_ENV"] == "test"
    assert recipe.variables["ROOT"] == "/workspace/x"
    assert recipe.variables["BOTH"] == "test-Linux"
    assert "TOKEN" not in recipe.variables
    assert recipe.secrets == (SecretName(name="NPM_TOKEN"), SecretName(name="OTHER"))
    assert recipe.checks == ("npm test",)
    assert any("asked for: 3.10" in line for line in recipe.sources)
    for part, why in (
        ("actions/setup-java", "java is not on this machine"),
        ("someone/else", "nothing here corresponds"),
        ("Sometimes", "condition"),
        ("Power", "pwsh"),
        ("Sha", "only GitHub"),
        ("services.search", "not startable"),
        ("strategy", "one job"),
    ):
        assert why in ignored(recipe, part)


def test_services_listen_where_the_workflow_publishes_them() -> None:
    services = {service.name: service for service in recipe_of({STEPS: WORKFLOW}).services}
    assert "--port 6380" in services["redis"].command
    assert 'CREATE DATABASE "app"' in services["postgres"].command
    assert "-U postgres" in services["postgres"].command


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("jobs: {build: {steps: [{run: make}]}}", "copilot-setup-steps"),
        ("jobs: [", "line 1"),
        ("- jobs", "mapping"),
        ("jobs: {copilot-setup-steps: {timeout-minutes: soon}}", "timeout-minutes"),
        ("jobs: {copilot-setup-steps: {steps: {run: x}}}", "list"),
        ("a: &a [x,x,x,x,x,x,x,x,x]\n" + "\n".join(
            f"a{n}: &a{n} [{','.join([f'*a{n - 1 if n > 1 else str()}'] * 9)}]" for n in range(1, 9)
        ), "too much"),
        ("a: &a {x: 1}\n" + "\n".join(
            f"a{n}: &a{n} {{<<: [{','.join([f'*a{n - 1 if n > 1 else str()}'] * 9)}]}}" for n in range(1, 9)
        ), "too much"),
        ("a: &a [*a]", "itself"),
        ("a: !!python/object/apply:os.system [true]", "tag"),
    ],
)  # fmt: skip
def test_wrong_workflows_are_one_line(text: str, part: str) -> None:
    recipe = recipe_of({STEPS: text, "Makefile": "test:\n\ttrue\n"})
    assert part in ignored(recipe, STEPS)
    assert (recipe.setup, recipe.checks) == ((), ("make test",))


def test_the_image_of_the_job_is_the_base() -> None:
    def recipe(container: Any) -> Recipe:
        return recipe_of({STEPS: json.dumps({"jobs": {"copilot-setup-steps": {"container": container}}})})

    assert recipe("node:22").base == "node:22"
    table = recipe({"image": "node:22", "options": "--privileged"})
    assert table.base == "node:22"
    assert "only the image" in ignored(table, "container.options")
    for odd in ("${{ vars.IMAGE }}", {"image": "-v /:/host"}):
        assert recipe(odd).base == ""
        assert "name of an image" in ignored(recipe(odd), "container.image")


def test_no_more_than_59_minutes() -> None:
    job: dict[str, Any] = {"timeout-minutes": 90, "steps": [{"run": "make"}]}
    recipe = recipe_of({STEPS: json.dumps({"jobs": {"copilot-setup-steps": job}})})
    assert recipe.setup_seconds == 59 * 60


def test_cursor() -> None:
    text = """{
      "snapshot": "snap-1", "terminals": [{"name": "web", "command": "npm run dev"}],
      "install": "npm install", "start": "sudo service docker start && ./up.sh ${workspaceFolder}"
    }"""
    recipe = recipe_of({".cursor/environment.json": text})
    assert recipe.setup == ("npm install",)
    assert recipe.maintenance == ("npm install",)
    assert recipe.start == ("./up.sh /workspace",)
    assert "another service" in ignored(recipe, "snapshot")
    assert ".overnight.toml" in ignored(recipe, "terminals")
    assert "only root" in ignored(recipe, "service docker")


def test_openhands() -> None:
    recipe = recipe_of({".openhands/setup.sh": "#!/bin/bash\nnpm install\n"})
    assert recipe.setup == ("source .openhands/setup.sh",)
    assert recipe.setup_seconds == 600
    assert recipe.lock_files == (".openhands/setup.sh",)
    assert recipe_of({".openhands/setup.sh": "#!/bin/bash\n# nothing\n"}).setup == ()


def test_the_first_file_that_says_it_wins_key_by_key() -> None:
    files = {
        ".devcontainer.json": '{"image": "a", "containerEnv": {"A": "1"}, "postStartCommand": "one"}',
        ".cursor/environment.json": '{"install": "two", "start": "no"}',
        STEPS: "jobs: {copilot-setup-steps: {env: {A: '2', B: '2'}, steps: [{run: no}]}}",
        ".openhands/setup.sh": "no",
    }
    recipe = recipe_of(files)
    assert (recipe.base, recipe.setup, recipe.start) == ("a", ("two",), ("one",))
    assert recipe.variables["A"] == "1"
    assert recipe.variables["B"] == "2"
    assert "setup: as .cursor/environment.json says, not as detected" in recipe.sources
    own = recipe_of({**files, ".overnight.toml": 'setup = ["three"]\nstart = []\nbase = "mine"\n'})
    assert (own.base, own.setup, own.maintenance, own.start) == ("mine", ("three",), (), ())
    assert own.variables["A"] == "1"
