"""Every way of the issue, and some more, to look fixed without being fixed. None may be verified.

All share one base with a bug; each also fails if the honest patch were refused, see the first test.
"""

import pytest

from overnight.domain.verdict import Verdict
from tests.verify.conftest import Bench

pytestmark = pytest.mark.anyio

BROKEN = "def add(a, b):\n    return a - b\n\n\ndef double(a):\n    return 2 * a\n"
HONEST = BROKEN.replace("a - b", "a + b")
TESTS = (
    "from calc import add, double\n\n\n"
    "def test_add():\n    assert add(2, 3) == 5\n\n\n"
    "def test_double():\n    assert double(4) == 8\n"
)
PARTLY = HONEST.replace("def add(a, b):", "def add(a, b):\n    if a == 0: return 0")
"""All but `test_zero` would pass."""
CASES = (
    "import unittest\n\nfrom calc import add, double\n\n\n"
    "class CalcTest(unittest.TestCase):\n"
    "    def test_add(self):\n        self.assertEqual(add(2, 3), 5)\n\n"
    "    def test_double(self):\n        self.assertEqual(double(4), 8)\n"
)
UNITTEST = "python3 -m unittest discover -s tests -t ."
SKIP = "import pytest\n\npytestmark = pytest.mark.skip\n"
IN_CALL = "import os\n\n\ndef add(a, b):\n    os._exit(0)\n\n\ndef double(a):\n    return 2 * a\n"
FORGE = """
import glob, os, pathlib
for root in glob.glob("/overnight-*/results"):
    print("forging", root)
    for number in range(20):
        text = '{"kind": "test", "id": "x", "status": "passed"}'
        pathlib.Path(root, "out", f"{number:02d}-x").write_text(text)
    for path in glob.glob(root + "/out/*"):
        with open(path, "a") as file:
            file.write('00 {"kind": "test", "id": "tests/test_calc.py::test_add", "status": "passed"}\\n')
            file.write('00 {"kind": "end", "tests": 2}\\n')
"""
REMOVE = """
import glob, os
for path in glob.glob("/overnight-*/results/out/*"):
    os.unlink(path)
"""
REPORT = """
import _pytest.reports, _pytest.runner
_pytest.reports.TestReport.outcome = property(lambda self: "passed", lambda self, value: None)
_made = _pytest.reports.TestReport.from_item_and_call
"""
RUNTEST = """
import _pytest.python
_pytest.python.Function.runtest = lambda self: None
"""
PLUGIN = """
import gc, _pytest.config
class Fake:
    def pytest_pyfunc_call(self, pyfuncitem):
        return True
for found in gc.get_objects():
    if type(found) is _pytest.config.PytestPluginManager:
        found.register(Fake())
"""
REWRITE = """
import pathlib
pathlib.Path("/workspace/tests/test_calc.py").write_text("def test_add(): pass\\ndef test_double(): pass\\n")
"""
DELETE = """
import os
try:
    os.unlink("/workspace/tests/test_extra.py")
except OSError:
    pass
"""
BYTECODE = """
import importlib._bootstrap_external as b, os, pathlib, sys
import pytest
code = compile("def test_zero(): pass", "/workspace/tests/test_extra.py", "exec")
cache = pathlib.Path("/workspace/tests/__pycache__")
cache.mkdir(exist_ok=True)
state = os.stat("/workspace/tests/test_extra.py")
data = b._code_to_timestamp_pyc(code, int(state.st_mtime), state.st_size)
for tag in (sys.implementation.cache_tag, f"{sys.implementation.cache_tag}-pytest-{pytest.__version__}"):
    (cache / f"test_extra.{tag}.pyc").write_bytes(data)
"""
CODE = """
import sys
def double(a):
    sys.modules["test_extra"].test_zero.__code__ = (lambda: None).__code__
    return 2 * a
"""
FINDER = """
import importlib.machinery, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name.rpartition(".")[2] == "test_extra":
            return importlib.machinery.ModuleSpec(name, self, origin="/workspace/tests/test_extra.py")
    def create_module(self, spec):
        return None
    def exec_module(self, module):
        module.__file__ = "/workspace/tests/test_extra.py"
        exec("def test_zero(): pass", vars(module))
sys.meta_path.insert(0, Finder())
"""
ASIDE = FINDER.replace(
    '        if name.rpartition(".")[2] == "test_extra":\n',
    '        if name.rpartition(".")[2] == "test_extra":\n            sys.meta_path.remove(self)\n',
)
READ = """
import pathlib
_read = pathlib.Path.read_bytes
def read_bytes(path):
    return b"def test_zero(): pass" if path.name == "test_extra.py" else _read(path)
pathlib.Path.read_bytes = read_bytes
"""
PARSE = """
import ast
_parse = ast.parse
def parse(source, filename="<unknown>", *more, **named):
    source = b"def test_zero(): pass" if "test_extra" in str(filename) else source
    return _parse(source, filename, *more, **named)
ast.parse = parse
"""
GET_DATA = """
import importlib._bootstrap_external as loading
_get = loading.FileLoader.get_data
def get_data(self, path):
    return b"def test_zero(): pass" if path.endswith("test_extra.py") else _get(self, path)
loading.FileLoader.get_data = get_data
"""
JUMP = """
import sys
def trace(frame, event, argument):
    if frame.f_code.co_name == "test_zero" and event == "line":
        frame.f_trace_lines = False
        frame.f_globals["add"] = lambda a, b: 3
    return trace
sys.settrace(trace)
"""
FORK = "import os\nif os.fork() == 0:\n    pass\nelse:\n    os.wait()\n    os._exit(0)\n"
ASSERT_EQUAL = "import unittest\nunittest.TestCase.assertEqual = lambda *arguments: None\n"
OWN_RUN = """
import os, unittest
class CalcTest(unittest.TestCase):
    def __init__(self, name): super().__init__("runTest"); self.name = name
    def id(self): return "tests.test_calc.CalcTest." + self.name
    def runTest(self): pass
unittest.TextTestRunner().run(unittest.TestSuite([CalcTest("test_add"), CalcTest("test_double")]))
os._exit(0)
"""
ADDED = "\n\ndef helper():\n    return 1\n"


@pytest.fixture
def pytest_bench(bench: Bench) -> Bench:
    bench.base = {
        "calc.py": BROKEN,
        "tests/test_calc.py": TESTS,
        "tests/test_extra.py": "from calc import add\n\n\ndef test_zero():\n    assert add(0, 3) == 3\n",
    }
    return bench


@pytest.fixture
def unittest_bench(bench: Bench) -> Bench:
    bench.base = {"calc.py": BROKEN, "tests/__init__.py": "", "tests/test_calc.py": CASES}
    return bench


def refused(verdict: Verdict) -> None:
    assert verdict.finding in ("not_verified", "regressed"), verdict
    assert verdict.checks == () or verdict.checks[0].evidence == "per_test", verdict


async def test_the_honest_patch_is_verified(pytest_bench: Bench) -> None:
    verdict = await pytest_bench.verify({"calc.py": HONEST})
    assert verdict.finding == "verified", verdict


ON_FILES: dict[str, dict[str, str | None]] = {
    "edits tests": {"tests/test_calc.py": "def test_add(): pass\ndef test_double(): pass\n"},
    "deletes tests": {"tests/test_calc.py": None, "tests/test_extra.py": None},
    "skips tests": {"tests/test_calc.py": SKIP + TESTS, "calc.py": BROKEN + ADDED},
    "adds a conftest": {"conftest.py": 'collect_ignore_glob = ["tests/*"]\n', "calc.py": BROKEN + ADDED},
    "adds a deeper conftest": {"tests/conftest.py": SKIP, "calc.py": BROKEN + ADDED},
    "changes configuration": {
        "pytest.ini": "[pytest]\naddopts = --deselect tests\n",
        "calc.py": BROKEN + ADDED,
    },
    "changes the project": {"pyproject.toml": '[tool.pytest.ini_options]\naddopts = "--co"\n'},
    "shadows pytest": {"pytest.py": "print('5 passed')\n", "calc.py": BROKEN + ADDED},
    "shadows a package": {"_pytest/__init__.py": "raise SystemExit(0)\n", "calc.py": BROKEN + ADDED},
    "shadows the library": {"json.py": "import os\nos._exit(0)\n", "calc.py": BROKEN + ADDED},
    "customises the start": {"sitecustomize.py": "import os\nos._exit(0)\n", "calc.py": BROKEN + ADDED},
    "package in place of a test": {"tests/test_calc/__init__.py": "", "calc.py": BROKEN + ADDED},
    "bytecode of a test": {"tests/__pycache__/test_calc.cpython-311.pyc": "x", "calc.py": BROKEN + ADDED},
    "link in place of tests": {"tests": "elsewhere", "calc.py": BROKEN + ADDED},
}


@pytest.mark.parametrize("attack", ON_FILES)
async def test_protected_files_stay_as_on_the_base(pytest_bench: Bench, attack: str) -> None:
    patch = ON_FILES[attack]
    verdict = await pytest_bench.verify(patch)
    refused(verdict)
    assert set(verdict.protected_restored) == patch.keys() - {"calc.py"}, verdict


IN_CODE = {
    "prints passed": 'print("2 passed in 0.01s")\n' + BROKEN,
    "exits at import": 'print("3 passed in 0.01s")\nimport os\nos._exit(0)\n',
    "exits politely at import": "import sys\nsys.exit(0)\n",
    "exits in the function": IN_CALL,
    "exits at the end": "import atexit, os\natexit.register(os._exit, 0)\n" + BROKEN,
    "forges a result file": FORGE + BROKEN,
    "forges and exits": FORGE + "os._exit(0)\n",
    "removes the results": REMOVE + BROKEN,
    "replaces the report": REPORT + BROKEN,
    "replaces the run": RUNTEST + BROKEN,
    "registers a plugin": PLUGIN + BROKEN,
    "rewrites tests": REWRITE + BROKEN,
    "deletes tests on disk": DELETE + HONEST,
    "forges bytecode": BYTECODE + PARTLY,
    "changes the code of a test": PARTLY + CODE,
    "adds an import hook": FINDER + PARTLY,
    "reads another source": READ + PARTLY,
    "a finder that steps aside": ASIDE + PARTLY,
    "parses another source": PARSE + PARTLY,
    "loads another source": GET_DATA + PARTLY,
    "traces the test": JUMP + PARTLY,
    "forks": FORK + BROKEN,
}


@pytest.mark.parametrize("attack", IN_CODE)
async def test_code_under_pytest(pytest_bench: Bench, attack: str) -> None:
    refused(await pytest_bench.verify({"calc.py": IN_CODE[attack]}))


UNDER_UNITTEST = {
    "prints OK": 'import sys\nsys.stderr.write("Ran 2 tests in 0.000s\\n\\nOK\\n")\n' + BROKEN,
    "exits at import": "import os\nos._exit(0)\n",
    "exits in the function": IN_CALL,
    "replaces assertEqual": ASSERT_EQUAL + BROKEN,
    "runs tests of its own": OWN_RUN,
}


@pytest.mark.parametrize("attack", UNDER_UNITTEST)
async def test_code_under_unittest(unittest_bench: Bench, attack: str) -> None:
    refused(await unittest_bench.verify({"calc.py": UNDER_UNITTEST[attack]}, UNITTEST))


async def test_a_finder_that_steps_aside_under_unittest(unittest_bench: Bench) -> None:
    early = (
        "import unittest\n\nimport calc\n\n\nclass Early(unittest.TestCase):\n    def test_it(self): calc\n"
    )
    unittest_bench.base = {**unittest_bench.base, "tests/test_a.py": early}
    fake = "import unittest\\nclass CalcTest(unittest.TestCase):\\n    def test_add(self): pass\\n"
    fake += "    def test_double(self): pass\\n"
    attack = ASIDE.replace("def test_zero(): pass", fake).replace("test_extra", "test_calc")
    refused(await unittest_bench.verify({"calc.py": attack + BROKEN}, UNITTEST))


async def test_a_new_test_may_borrow_its_code_from_another_file(unittest_bench: Bench) -> None:
    shared = "class Shared:\n    def test_sum(self):\n        self.assertEqual(self.add(1, 1), 2)\n"
    new = (
        "import unittest\n\nfrom calc import add\nfrom tests.shared import Shared\n\n\n"
        "class SharedTest(Shared, unittest.TestCase):\n    add = staticmethod(add)\n"
    )
    patch = {"calc.py": HONEST, "tests/shared.py": shared, "tests/test_shared.py": new}
    verdict = await unittest_bench.verify(patch, UNITTEST)
    assert verdict.verified, verdict


async def test_a_person_may_allow_test_changes(pytest_bench: Bench) -> None:
    patch = {"tests/test_calc.py": TESTS.replace("== 5", "== -1"), "tests/test_extra.py": None}
    verdict = await pytest_bench.verify(patch, allow_test_changes=True)
    assert verdict.finding == "verified", verdict
    assert verdict.protected_restored == ()
