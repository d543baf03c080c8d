"""Which files a patch must not change: the tests that were there, and whatever decides how checks run.

Patterns are those of gitignore(5), matched by the same code. Two kinds:

* tests that existed on the base are protected; a new test file is welcome;
* names that change how checks run (`conftest.py`, `pytest.ini`, `*.pth`, a module that shadows the
  runner …) are protected even where the base has no such file: making one is as good as editing it.

Manifests that also list dependencies (`pyproject.toml`, `package.json`, `Cargo.toml`, `go.mod`) are
protected as whole files: setup ran with the base's, so a patch that needs others cannot be verified.
"""

import sys
from collections.abc import Collection
from functools import lru_cache

from overnight.domain.environment import Recipe
from overnight.environments.ignore import Rule, as_bytes, matches, parse_rules

TESTS = (
    "tests/", "test/", "__tests__/", "spec/", "specs/", "testdata/", "__snapshots__/",
    "test_*.py", "*_test.py", "tests.py", "test.py", "*_test.go", "*_test.rs",
    "*.test.[jt]s", "*.test.[jt]sx", "*.test.[cm][jt]s", "*.spec.[jt]s", "*.spec.[jt]sx", "*.spec.[cm][jt]s",
    "*_spec.rb", "*_test.rb", "*Test.java", "*Tests.java", "*Test.kt", "*Tests.cs",
    "test.sh", "run_tests.sh", "run-tests.sh", "runtests.sh", "tests.sh", "check.sh", "run_tests.py",
    "runtests.py", "/scripts/test", "/script/test", "/bin/test", "/scripts/test.sh",
)  # fmt: skip
"""Protected where the base has them."""

RUNNERS = (
    "conftest.py", "pytest.ini", ".pytest.ini", "pytest.toml", ".pytest.toml", "tox.ini", "setup.cfg",
    "pyproject.toml", "noxfile.py",
    ".coveragerc", "sitecustomize.py", "usercustomize.py", "*.pth", "*.egg-info/", "*.dist-info/",
    "package.json", "package-lock.json", "npm-shrinkwrap.json", "pnpm-lock.yaml", "yarn.lock", ".npmrc",
    ".yarnrc", ".yarnrc.yml", ".mocharc.*", "jest.config.*", "jest.setup.*", "vitest.config.*",
    "vitest.workspace.*", "vite.config.*", "karma.conf.*", "babel.config.*", ".babelrc*", "tsconfig*.json",
    "go.mod", "go.sum", "go.work", "go.work.sum", "Cargo.toml", "Cargo.lock", "rust-toolchain",
    "rust-toolchain.toml", ".cargo/", "build.rs", "[Mm]akefile", "GNUmakefile", "*.mk",
    "/.github/", "/.gitlab-ci.yml", "/.overnight.toml", "/.pre-commit-config.yaml", ".gitattributes",
    ".python-version", ".nvmrc", ".node-version", ".tool-versions", ".envrc", "uv.toml",
    "uv.lock", "poetry.lock", "requirements*.txt", "setup.py",
)  # fmt: skip
"""Protected whether the base has them or not."""

RUNNER_MODULES = frozenset({"pytest", "_pytest", "pluggy", "iniconfig", "coverage", "nose", "xdist"})
"""Python finds these, and the standard library's modules, in a folder of tests before the real ones."""

_IMPORT_FOLDERS = frozenset({"src", "lib", "tests", "test"})
_ALWAYS = "!"


def protected_patterns(recipe: Recipe) -> tuple[str, ...]:
    """Return all patterns; those that hold for new files too begin with `!`."""
    always = [f"{_ALWAYS}{pattern}" for pattern in RUNNERS]
    further = [pattern.lstrip(_ALWAYS) for pattern in recipe.protected]
    return (*TESTS, *always, *(pattern for pattern in further if pattern))


def is_protected(path: str, patterns: Collection[str], base_paths: Collection[str]) -> bool:
    """Say whether a patch must leave `path` alone. `base_paths` are the files of the base commit."""
    existed = path in base_paths
    parts = as_bytes(tuple(path.split("/")))
    if not existed and shadows_a_module(parts):
        return True
    return any(
        _matches(pattern.removeprefix(_ALWAYS), parts)
        for pattern in patterns
        if existed or pattern.startswith(_ALWAYS)
    )


def shadows_a_module(parts: tuple[str, ...]) -> bool:
    """Say whether Python would import a file instead of the standard library's or the runner's module."""
    for folders in range(min(2, len(parts))):
        if folders and parts[0] not in _IMPORT_FOLDERS:
            break
        rest = parts[folders:]
        name, _, form = rest[0].partition(".")
        known = name in RUNNER_MODULES or (name in sys.stdlib_module_names and name != "test")
        # A directory without __init__.py never wins over a module further down the path.
        if known and (rest[1:] == ("__init__.py",) if len(rest) > 1 else form.endswith(("py", "pyc", "so"))):
            return True
    return False


def _matches(pattern: str, parts: tuple[str, ...]) -> bool:
    """Match a path, or any directory above it."""
    for rule in _rules(pattern):
        for depth in range(1, len(parts) + 1):
            is_directory = depth < len(parts)
            if (is_directory or not rule.directories_only) and matches(rule.segments, parts[:depth]):
                return True
    return False


@lru_cache(maxsize=4096)
def _rules(pattern: str) -> tuple[Rule, ...]:
    return parse_rules(pattern.encode("utf-8", "surrogateescape"))
