"""The other runners for real: unittest, wrapped commands, node, plain scripts; and parsers of output."""

import shutil

import pytest

from overnight.verify.runners import cargo, go, junit
from tests.verify.conftest import Bench
from tests.verify.test_attacks import BROKEN, CASES, HONEST, TESTS, UNITTEST, refused

pytestmark = pytest.mark.anyio

SUM = "exports.add = (a, b) => a - b;\nexports.twice = (a) => 2 * a;\n"
SUM_TEST = """const { test, describe, it } = require("node:test");
const assert = require("node:assert");
const { add, twice } = require("../sum.js");
describe("sum", () => {
  it("adds", () => assert.strictEqual(add(2, 3), 5));
  it("doubles", () => assert.strictEqual(twice(2), 4));
});
test("top", () => {});
"""
node = pytest.mark.skipif(shutil.which("node") is None, reason="needs node")


async def test_unittest(bench: Bench) -> None:
    bench.base = {"calc.py": BROKEN, "tests/__init__.py": "", "tests/test_calc.py": CASES}
    verdict = await bench.verify({"calc.py": HONEST}, UNITTEST)
    assert verdict.finding == "verified", verdict
    assert verdict.checks[0].evidence == "per_test"
    assert verdict.checks[0].fixed == ("tests.test_calc.CalcTest.test_add",)
    broken = await bench.verify({"calc.py": "def add(:\n"}, UNITTEST)
    assert broken.finding == "regressed", broken


async def test_unittest_feature_that_cannot_be_imported_on_the_base(bench: Bench) -> None:
    bench.base = {"old.py": "", "tests/__init__.py": "", "tests/test_calc.py": CASES}
    verdict = await bench.verify({"calc.py": HONEST}, UNITTEST)
    assert verdict.finding == "verified", verdict


async def test_script_that_calls_unittest_main(bench: Bench) -> None:
    bench.base = {"calc.py": BROKEN, "test_calc.py": CASES + "\n\nunittest.main()\n"}
    verdict = await bench.verify({"calc.py": HONEST}, "python3 test_calc.py")
    assert verdict.finding == "verified", verdict
    assert verdict.checks[0].evidence == "per_test"


async def test_pytest_behind_a_script(bench: Bench) -> None:
    bench.base = {
        "calc.py": BROKEN,
        "tests/test_calc.py": TESTS,
        "run.sh": "set -e\necho starting\nexec python3 -m pytest -x -q tests\n",
    }
    verdict = await bench.verify({"calc.py": HONEST}, "bash run.sh")
    assert (verdict.finding, verdict.checks[0].evidence) == ("verified", "per_test"), verdict


async def test_command_that_sets_the_python_path(bench: Bench) -> None:
    bench.base = {"src/calc.py": BROKEN, "tests/test_calc.py": TESTS}
    check = 'PYTHONPATH="src:$PYTHONPATH" python3 -m pytest -q'
    verdict = await bench.verify({"src/calc.py": HONEST}, check)
    assert (verdict.finding, verdict.checks[0].evidence) == ("verified", "per_test"), verdict


async def test_script_that_hides_our_plugin_is_judged_by_exit_code(bench: Bench) -> None:
    bench.base = {
        "src/calc.py": BROKEN,
        "tests/test_calc.py": TESTS,
        "run.sh": "PYTHONPATH=src:/dependencies/site python3 -m pytest -q\n",
    }
    verdict = await bench.verify({"src/calc.py": HONEST}, "bash run.sh", reruns=0)
    assert (verdict.finding, verdict.checks[0].evidence) == ("verified", "exit_code"), verdict
    assert "xit code only" in verdict.reason


async def test_pytest_in_pytest_is_left_alone(bench: Bench) -> None:
    inner = (
        "import os, subprocess, sys\n\n\ndef test_inner(tmp_path):\n"
        "    (tmp_path / 'test_a.py').write_text('def test_a(): assert False')\n"
        "    done = subprocess.run([sys.executable, '-m', 'pytest', str(tmp_path)],\n"
        "        env={**os.environ, 'PYTHONPATH': '/dependencies/site'})\n"
        "    assert done.returncode == 1\n    assert 'PYTEST_ADDOPTS' not in os.environ\n"
    )
    bench.base = {"calc.py": BROKEN, "tests/test_calc.py": TESTS, "tests/test_inner.py": inner}
    verdict = await bench.verify({"calc.py": HONEST}, reruns=0)
    assert verdict.finding == "verified", verdict


@node
async def test_node(bench: Bench) -> None:
    bench.base = {
        "package.json": '{"scripts": {"test": "node --test"}}',
        "sum.js": SUM,
        "test/sum.test.js": SUM_TEST,
    }
    verdict = await bench.verify({"sum.js": SUM.replace("a - b", "a + b")}, "node --test")
    assert (verdict.finding, verdict.checks[0].evidence) == ("verified", "per_test"), verdict
    assert verdict.checks[0].fixed == ("test/sum.test.js > sum > adds",)
    refused(await bench.verify({"sum.js": "process.exit(0);\n"}, "node --test", reruns=0))
    forged = "console.log('ok 1 - adds');\nfor (const m of ['a']) setImmediate(() => process.exit(0));\n"
    refused(await bench.verify({"sum.js": forged + SUM}, "node --test", reruns=0))


async def test_plain_script_is_exit_code_only(bench: Bench) -> None:
    bench.base = {"answer.txt": "41\n", "check.sh": "test $(cat answer.txt) = 42\n"}
    verdict = await bench.verify({"answer.txt": "42\n"}, "bash check.sh")
    assert (verdict.finding, verdict.checks[0].evidence) == ("verified", "exit_code"), verdict
    assert "Exit code only" in verdict.reason


async def test_junit_file_names_tests_and_is_no_proof(bench: Bench) -> None:
    script = (
        'if [ "$(cat answer.txt)" = 42 ]; then F=""; else F="<failure/>"; fi\n'
        "echo \"<testsuite><testcase classname='a' name='answer'>$F</testcase></testsuite>\" > report.xml\n"
        '[ -z "$F" ]\n'
    )
    bench.base = {"answer.txt": "41\n", "check.sh": script}
    verdict = await bench.verify({"answer.txt": "42\n"}, "bash check.sh report.xml")
    assert (verdict.finding, verdict.checks[0].evidence) == ("verified", "exit_code"), verdict
    assert verdict.checks[0].fixed == ("a.answer",)


async def test_limit_with_the_patch_is_a_regression(bench: Bench) -> None:
    bench.base = {"answer.txt": "42\n"}
    bench.limits = type(bench.limits)(command_seconds=2.0)
    check = "test $(cat answer.txt) = 42 || sleep 60"
    verdict = await bench.verify({"answer.txt": "43\n"}, check, reruns=0)
    assert verdict.finding == "regressed", verdict


def test_go_events() -> None:
    output = (
        'building\n{"Action":"run","Package":"x/a","Test":"TestOne"}\n'
        '{"Action":"output","Package":"x/a","Test":"TestOne","Output":"--- FAIL: TestOne\\n"}\n'
        '{"Action":"fail","Package":"x/a","Test":"TestOne","Elapsed":0}\n'
        '{"Action":"run","Package":"x/a","Test":"TestTwo"}\n'
        '{"Action":"pass","Package":"x/a","Test":"TestTwo","Elapsed":0}\n'
        '{"Action":"fail","Package":"x/a","Elapsed":0.1}\n{"Action":"fail","Package":"x/b","Elapsed":0}\n'
    )
    parsed = go.parse(output)
    assert parsed is not None
    assert parsed[0] == {
        "x/a.TestOne": "failed",
        "x/a.TestTwo": "passed",
        "x/b (collection)": "error",
    }
    assert parsed[1] == "building\n--- FAIL: TestOne\n"
    assert go.parse("ok  \tx\t0.1s\n") is None
    assert go.rewrite("go test ./... && go test -json x") == "go test -json ./... && go test -json x"


def test_cargo_lines() -> None:
    output = (
        "running 3 tests\ntest tests::adds ... FAILED\ntest tests::panics - should panic ... ok\n"
        "test tests::slow ... ignored\n\ntest result: FAILED. 1 passed; 1 failed; 1 ignored\n"
    )
    assert cargo.parse(output) == {
        "tests::adds": "failed",
        "tests::panics": "passed",
        "tests::slow": "skipped",
    }
    assert cargo.parse("error[E0425]: cannot find value") is None


def test_junit_refuses_what_is_not_plain_results() -> None:
    assert junit.recognise("pytest --junitxml=out/r.xml && cat ../x.xml /etc/y.xml") == ("out/r.xml",)
    assert junit.parse(b"<!DOCTYPE x [<!ENTITY a 'b'>]><testsuite/>") is None
    assert junit.parse(b"<other/>") is None
    assert junit.parse(b"<testsuite") is None
