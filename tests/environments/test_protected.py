"""Which paths a patch may not touch."""

import pytest

from overnight.domain.environment import Recipe
from overnight.environments.protected import is_protected, protected_patterns

BASE = frozenset(
    {
        "src/a.py",
        "tests/test_a.py",
        "tests/data/x.json",
        "a_test.go",
        "ui/__tests__/b.js",
        "golden/1",
        "json.py",
    }
)
PATTERNS = protected_patterns(Recipe(protected=("golden/**",)))


@pytest.mark.parametrize(
    "path",
    [
        "tests/test_a.py",
        "tests/data/x.json",
        "a_test.go",
        "ui/__tests__/b.js",
        "golden/1",
        "conftest.py",
        "tests/conftest.py",
        "pytest.ini",
        "pyproject.toml",
        "sub/package.json",
        "Makefile",
        ".github/workflows/new.yml",
        ".overnight.toml",
        "sitecustomize.py",
        "x.pth",
        "pytest.py",
        "pytest/__init__.py",
        "unittest/__init__.py",
        "tests/unittest.py",
        "src/argparse.py",
        "re.so",
        "jest.config.ts",
        "go.mod",
        "tox.ini",
        "evil.egg-info/entry_points.txt",
        ".cargo/config.toml",
        "_pytest.cpython-311-x86_64-linux-gnu.so",
    ],
)
def test_protected(path: str) -> None:
    assert is_protected(path, PATTERNS, BASE)


@pytest.mark.parametrize(
    "path",
    [
        "src/a.py",
        "src/new.py",
        "tests/test_new.py",
        "b_test.go",
        "ui/__tests__/new.js",
        "golden/2",
        "json.py",
        "docs/json.py",
        "src/pkg/argparse.py",
        "site/index.html",
        "calendar/x.py",
        "README.md",
        "package.jsonx",
    ],
)
def test_free(path: str) -> None:
    assert not is_protected(path, PATTERNS, BASE)
