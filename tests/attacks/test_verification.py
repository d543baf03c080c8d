"""Patches that try to pass verification by files that change how tests are found or started."""

import pytest

from tests.verify.conftest import Bench, base_runs, bench, site

__all__ = ["base_runs", "bench", "site"]

pytestmark = pytest.mark.anyio

BROKEN = "def add(a, b):\n    return a - b\n"
TESTS = "from calc import add\n\n\ndef test_add():\n    assert add(2, 3) == 5\n"
EMPTY = "def test_add():\n    pass\n"
EXIT = "import os\n\nos._exit(0)\n"
HOOK = "def pytest_pyfunc_call(pyfuncitem):\n    return True\n"

PATCHES: dict[str, dict[str, str | None]] = {
    "plugin by setup.cfg": {"setup.cfg": "[tool:pytest]\naddopts = -p evil\n", "evil.py": HOOK},
    "plugin by entry point": {
        "evil-1.dist-info/entry_points.txt": "[pytest11]\nevil = evil\n",
        "evil-1.dist-info/METADATA": "Name: evil\nVersion: 1\n",
        "evil.py": HOOK,
    },
    "start of Python, one folder down": {"src/sitecustomize.py": EXIT, "calc.py": BROKEN + "#\n"},
    "path file": {"x.pth": "import os; os._exit(0)\n", "calc.py": BROKEN + "#\n"},
    "tests become a package": {"tests/__init__.py": EXIT},
    "a file in place of the tests": {"tests": "x", "tests/test_b.py": None, "calc.py": BROKEN + "#\n"},
    "other case": {"Tests/test_b.py": EMPTY, "tests/Test_B.py": EMPTY, "ConfTest.py": HOOK},
    "variables": {".env": "PYTEST_ADDOPTS=--co\n", ".envrc": "export PYTEST_ADDOPTS=--co\n"},
    "our own modules": {"overnight_record.py": EXIT, "overnight_pytest.py": "", "overnight_unittest.py": ""},
}


@pytest.mark.parametrize("attack", PATCHES)
async def test_a_patch_of_tricks_is_not_verified(bench: Bench, attack: str) -> None:
    bench.base = {"calc.py": BROKEN, "tests/test_b.py": TESTS}
    verdict = await bench.verify(PATCHES[attack])
    assert verdict.finding in ("not_verified", "regressed"), verdict
