"""Which files of a repository detection may ask for: configuration, and enough tests to know the runner."""

import posixpath
import re

_CONFIGURATION = re.compile(
    r"pyproject\.toml|setup\.(py|cfg)|tox\.ini|pytest\.ini|\.pytest\.ini|noxfile\.py|[\w.-]*requirements[\w.-]*\.txt|"
    r"uv\.lock|poetry\.lock|Pipfile|package\.json|go\.mod|Cargo\.toml|(GNU)?[Mm]akefile|\.overnight\.toml|"
    r"conftest\.py|\.nvmrc|\.python-version|.*\.gemspec"
)
_IMPORTED = re.compile(
    r"\.devcontainer/([^/]+/)?devcontainer\.json|\.devcontainer\.json|\.cursor/environment\.json|"
    r"\.github/workflows/copilot-setup-steps\.ya?ml|\.openhands/setup\.sh|"
    r"(\.devcontainer/)?(docker-)?compose[\w.-]*\.ya?ml"
)
_PYTHON_TEST = re.compile(r"(test_.*|.*_test|tests?)\.py")
_TEST_FOLDERS = frozenset({"test", "tests", "testing"})
_MOST_TESTS = 60


def is_python_test(path: str) -> bool:
    """Say whether pytest or unittest would take the file for a test."""
    return _PYTHON_TEST.fullmatch(posixpath.basename(path)) is not None


def wanted(paths: tuple[str, ...]) -> list[str]:
    """Return the paths to read, the most telling first."""
    root = [path for path in paths if "/" not in path and _CONFIGURATION.fullmatch(path)]
    below = [
        path
        for path in paths
        if path.count("/") in (1, 2)
        and (path.startswith("requirements/") or posixpath.basename(path) == "conftest.py")
    ]
    tests = [path for path in paths if is_python_test(path) and _near(path)]
    imported = [path for path in paths if _IMPORTED.fullmatch(path)]
    return [*root, *imported[:40], *below[:40], *tests[:_MOST_TESTS]]


def _near(path: str) -> bool:
    parts = path.split("/")[:-1]
    return not parts or len(parts) <= 4 or bool(_TEST_FOLDERS & set(parts))
