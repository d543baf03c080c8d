"""Detection on small repositories, and `.overnight.toml` over it."""

import json
from pathlib import Path

import pytest

from overnight.domain.environment import Recipe
from overnight.domain.errors import UsageError
from overnight.environments.detect.found import Host
from overnight.environments.recipe import load_recipe
from overnight.environments.repository import CommitFiles, read_commit
from tests.environments.environment_parts import commit_all, mirrored


def recipe(files: dict[str, str], checks: tuple[str, ...] = (), host: Host | None = None) -> Recipe:
    """Return the recipe of a repository with these files."""
    contents = {path: content.encode() for path, content in files.items()}
    return load_recipe(CommitFiles(tuple(sorted(files)), contents), checks, host)


UNITTEST = "import unittest\nclass T(unittest.TestCase):\n    def test_x(self): pass\n"
PYTEST = "def test_x():\n    assert True\n"


def test_plain_unittest_needs_no_setup() -> None:
    found = recipe({"a.py": "", "tests/__init__.py": "", "tests/test_a.py": UNITTEST})
    assert found.setup == ()
    assert found.checks == ("python3 -m unittest",)
    assert found.languages == ("python",)
    assert "tests/test_a.py: unittest" in found.sources


def test_unittest_folder_without_package() -> None:
    found = recipe({"a.py": "", "tests/test_a.py": UNITTEST})
    assert found.checks == ("python3 -m unittest discover -s tests",)


def test_pytest_without_dependencies_needs_only_pytest() -> None:
    files = {"a.py": "", "tests/test_a.py": PYTEST}
    found = recipe(files)
    assert found.checks == ("python3 -m pytest -q",)
    assert found.setup[0] == "python3 -m venv /dependencies/venv"
    assert found.setup[1].endswith("install -q pytest")
    assert found.path == ("/dependencies/venv/bin",)
    assert recipe(files, host=Host(python_modules=frozenset({"pytest"}))).setup == ()
    assert recipe(files, checks=("python3 a.py",)).setup == ()
    assert recipe(files, checks=("pytest tests",)).setup == found.setup


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("pyproject.toml", "[tool.pytest.ini_options]\n"),
        ("pytest.ini", "[pytest]\n"),
        ("tox.ini", "[pytest]\nx = 1\n"),
        ("setup.cfg", "[tool:pytest]\nx = 1\n"),
        ("tests/conftest.py", ""),
    ],
)
def test_pytest_by_configuration(name: str, content: str) -> None:
    content = "[tool.pytest.ini_options]\nx = 1\n" if name == "pyproject.toml" else content
    assert recipe({name: content, "tests/test_a.py": UNITTEST}).checks == ("python3 -m pytest -q",)


@pytest.mark.parametrize(
    "files",
    [
        {"setup.cfg": "[metadata]\nname = x\n[options.extras_require]\ntests =\n    freezegun\n    pytest\n"},
        {"pyproject.toml": '[project]\nname = "x"\n[project.optional-dependencies]\ntests = ["freezegun"]\n'},
    ],
)
def test_extras_of_the_tests_are_installed(files: dict[str, str]) -> None:
    """Also where the package itself needs nothing and can be imported from the root."""
    found = recipe({**files, "x.py": "", "tests/test_a.py": "import pytest\n"})
    assert "install -q -e '.[tests]' pytest" in found.setup[-1]


def test_declared_dependencies_are_installed_editable() -> None:
    pyproject = (
        '[project]\nname = "x"\ndependencies = ["requests>=2"]\n'
        '[project.optional-dependencies]\ntest = ["pytest-cov"]\ndocs = ["sphinx"]\n'
        '[dependency-groups]\ndev = ["hypothesis", {include-group = "lint"}]\nlint = ["ruff; rm -rf /"]\n'
    )
    found = recipe({"pyproject.toml": pyproject, "tests/test_a.py": PYTEST})
    assert (
        found.setup[1].endswith("install -q -e '.[test]' hypothesis pytest") or "hypothesis" in found.setup[1]
    )
    assert "-e '.[test]'" in found.setup[1]
    assert "docs" not in found.setup[1]
    assert "; rm" not in found.setup[1].replace("'ruff; rm -rf /'", "")
    assert "pyproject.toml" in found.lock_files
    assert found.variables["PYTHONDONTWRITEBYTECODE"] == "1"


def test_src_layout_is_installed_and_flat_layout_is_not() -> None:
    pyproject = '[project]\nname = "x"\nversion = "1"\n'
    src = recipe({"pyproject.toml": pyproject, "src/x/__init__.py": "", "tests/test_a.py": UNITTEST})
    assert any("-e ." in command for command in src.setup)
    flat = recipe(
        {
            "pyproject.toml": pyproject,
            "x/__init__.py": "",
            "tests/__init__.py": "",
            "tests/test_a.py": UNITTEST,
        }
    )
    assert flat.setup == ()


def test_requirements_setup_py_poetry_and_uv() -> None:
    found = recipe({"requirements.txt": "flask\n", "requirements-dev.txt": "pytest\n", "test_a.py": PYTEST})
    assert "-r requirements.txt -r requirements-dev.txt" in found.setup[1]
    found = recipe({"setup.py": "setup(install_requires=['six'])", "test_a.py": UNITTEST})
    assert "-e ." in found.setup[1]
    poetry = (
        '[tool.poetry]\nname = "x"\n[tool.poetry.dependencies]\npython = "^3.9"\nflask = "^2.1"\n'
        '[tool.poetry.group.dev.dependencies]\npytest-mock = "~3.1.2"\n'
    )
    found = recipe({"pyproject.toml": poetry, "tests/test_a.py": PYTEST})
    assert "-e . 'pytest-mock>=3.1.2,<3.2' pytest" in found.setup[1]
    locked = {
        "pyproject.toml": '[project]\nname = "x"\ndependencies = ["a"]\n',
        "uv.lock": "",
        "test_a.py": PYTEST,
    }
    assert recipe(locked, host=Host(programs=frozenset({"uv"}))).setup[0].startswith("uv sync --frozen")
    assert recipe(locked).setup[0] == "python3 -m venv /dependencies/venv"


def test_node() -> None:
    package = {"scripts": {"test": "vitest run"}, "devDependencies": {"vitest": "1"}}
    found = recipe({"package.json": json.dumps(package), "package-lock.json": "{}"})
    assert found.setup == ("npm ci --no-audit --no-fund",)
    assert found.checks == ("npm test",)
    assert found.lock_files == ("package.json", "package-lock.json")
    assert recipe({"package.json": json.dumps(package), "pnpm-lock.yaml": ""}).checks == ("pnpm test",)
    assert recipe({"package.json": json.dumps(package), "yarn.lock": ""}).tools == ("node", "npm", "yarn")
    plain = recipe({"package.json": '{"scripts": {"test": "node --test"}}', "a.test.js": ""})
    assert plain.setup == ()
    assert plain.checks == ("npm test",)


def test_go_rust_make_and_scripts() -> None:
    found = recipe({"go.mod": "module x\n", "a.go": ""})
    assert (found.setup, found.checks, found.tools) == ((), ("go test ./...",), ("go",))
    assert recipe({"go.mod": "module x\nrequire y v1\n"}).setup == ("go mod download",)
    found = recipe({"Cargo.toml": "[package]\nname='x'\n[dependencies]\nserde='1'\n", "Cargo.lock": ""})
    assert (found.setup, found.checks) == (("cargo fetch --locked",), ("cargo test --offline",))
    assert recipe({"Makefile": "all:\n\ntest: all\n\t./t\n"}).checks == ("make test",)
    assert recipe({"Makefile": "test := 1\n"}).checks == ()
    assert recipe({"test.sh": "true\n"}).checks == ("bash test.sh",)
    assert recipe({"tests/a b.sh": "", "tests/c.sh": ""}).checks == ("bash 'tests/a b.sh'", "bash tests/c.sh")
    nothing = recipe({"README": ""})
    assert (nothing.checks, nothing.languages, nothing.setup) == ((), (), ())


@pytest.mark.parametrize(
    "files",
    [
        {"pyproject.toml": "[broken"},
        {"package.json": "{broken"},
        {"Cargo.toml": "= ="},
        {"setup.cfg": "no section\n"},
        {"package.json": "[" * 100_000},
        {"pyproject.toml": "x = " + "[" * 100_000},
    ],
)
def test_broken_files_are_ignored_and_said(files: dict[str, str]) -> None:
    found = recipe(files)
    assert any("ignored" in line for line in found.sources)


@pytest.mark.parametrize(
    "files",
    [
        {"pyproject.toml": 'project = 3\ntool = []\n"dependency-groups" = "x"\n'},
        {
            "pyproject.toml": "[project]\ndependencies = {a = 1}\n"
            '[dependency-groups]\ndev = [1, {include-group = "dev"}]\n'
        },
        {"package.json": '{"scripts": [], "dependencies": 3}'},
        {"package.json": "3"},
        {
            "pyproject.toml": "[tool.poetry]\ngroup = 3\n"
            '[tool.poetry.dependencies]\na = [1]\nb = "$(reboot)"\n'
        },
    ],
)
def test_odd_values_do_no_harm(files: dict[str, str]) -> None:
    found = recipe({**files, "test_a.py": PYTEST})
    assert "reboot" not in " ".join(found.setup).replace("'b$(reboot)'", "")


def test_own_recipe_wins_key_by_key() -> None:
    own = 'checks = ["make it"]\nvariables = { A = "1" }\nsetup_seconds = 60\nprotected = ["golden/**"]\n'
    found = recipe({"test_a.py": PYTEST, ".overnight.toml": own})
    assert found.checks == ("make it",)
    assert found.setup_seconds == 60.0
    assert found.variables["A"] == "1"
    assert found.variables["PYTHONDONTWRITEBYTECODE"] == "1"
    assert found.setup
    assert recipe({"test_a.py": PYTEST, ".overnight.toml": "setup = []"}).setup == ()
    assert recipe({"a": "", ".overnight.toml": own}, checks=("mine",)).checks == ("mine",)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("cheks = []", "checks"),
        ("network = 'none'", "setup_network"),
        ("[network]\nagents = 'open'", "setup, agent or allow"),
        ("[network]\nallow = ['http://a.example.com']", "network.allow"),
        ("[network]\nagent = 'wifi'", "wifi"),
        ("[network]\nsetup = 3", "network.setup"),
        ("checks = 'make'", "list of strings"),
        ("checks = [1]", "list of strings"),
        ("setup_network = 'all'", "setup_network"),
        ("setup_seconds = -1", "setup_seconds"),
        ("path = ['bin']", "absolute"),
        ("lock_files = ['../x']", "inside"),
        ("[variables]\n'A B' = 'x'", "variables"),
        ("= broken", "TOML"),
    ],
)
def test_wrong_own_recipe_is_a_usage_error(content: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        recipe({".overnight.toml": content})
    assert said in f"{caught.value.message} {caught.value.hint}"


@pytest.mark.anyio
async def test_reading_a_commit(tmp_path: Path, repository: Path) -> None:
    (repository / "pytest.ini").symlink_to("/etc/passwd")
    commit = commit_all(
        repository,
        {"tests/test_a.py": UNITTEST, "large/x.bin": b"\0" * 10, "pyproject.toml": "#" * 600_000},
    )
    files = await read_commit(await mirrored(tmp_path, repository), commit)
    assert files.paths() == ("large/x.bin", "pyproject.toml", "pytest.ini", "tests/test_a.py")
    assert files.read("tests/test_a.py") == UNITTEST.encode()
    assert files.read("pyproject.toml") is None
    assert files.read("pytest.ini") is None
    assert load_recipe(files).checks
