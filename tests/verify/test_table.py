"""Every row of the verdict table, with real pytest in a real sandbox."""

from pathlib import Path

import pytest

from overnight.domain.events import CheckCompleted, VerdictReached
from overnight.domain.limits import Limits
from overnight.verify.base_runs import BaseRuns
from tests.verify.conftest import Bench

pytestmark = pytest.mark.anyio

CALC = "def add(a, b):\n    return a - b\n\n\ndef double(a):\n    return 2 * a\n"
FIXED = CALC.replace("a - b", "a + b")
TESTS = (
    "from calc import add, double\n\n\n"
    "def test_add():\n    assert add(2, 3) == 5\n\n\n"
    "def test_double():\n    assert double(4) == 8\n"
)


@pytest.fixture
def red(bench: Bench) -> Bench:
    bench.base = {"calc.py": CALC, "tests/test_calc.py": TESTS}
    return bench


@pytest.fixture
def green(bench: Bench) -> Bench:
    bench.base = {"calc.py": FIXED, "tests/test_calc.py": TESTS}
    return bench


async def test_red_to_green_is_verified(red: Bench, tmp_path: Path) -> None:
    red.base_runs = BaseRuns(tmp_path)
    verdict = await red.verify({"calc.py": FIXED}, reruns=2)
    assert verdict.finding == "verified", verdict.reason
    check = verdict.checks[0]
    assert (check.before, check.after, check.evidence) == ("red", "green", "per_test")
    assert check.fixed == ("tests/test_calc.py::test_add",)
    runs = [event for event in red.sink.events if isinstance(event, CheckCompleted)]
    assert [(run.side, run.run) for run in runs] == [("base", 1), ("candidate", 1), ("base", 2), ("base", 3)]
    assert (runs[0].tests_passed, runs[0].tests_failed) == (1, 1)
    assert isinstance(red.sink.events[-1], VerdictReached)


async def test_the_base_is_run_once_for_several_attempts(red: Bench) -> None:
    await red.verify({"calc.py": FIXED})
    red.sink.events.clear()
    verdict = await red.verify({"calc.py": FIXED + "# other\n"})
    assert verdict.verified
    runs = [event for event in red.sink.events if isinstance(event, CheckCompleted)]
    assert [(run.side, run.cached) for run in runs] == [("base", True), ("candidate", False)]


async def test_a_base_that_could_not_run_is_tried_anew(red: Bench, tmp_path: Path) -> None:
    """The program may have been installed since."""
    red.base_runs = BaseRuns(tmp_path)
    for _ in range(2):
        red.sink.events.clear()
        verdict = await red.verify({"calc.py": FIXED}, "no-such-program")
        assert verdict.finding == "not_verified"
        assert "no-such-program" in verdict.reason
        runs = [event for event in red.sink.events if isinstance(event, CheckCompleted)]
        assert [(run.side, run.cached) for run in runs] == [("base", False), ("candidate", False)]


def test_base_runs_of_another_machine_do_not_count(tmp_path: Path) -> None:
    keys = {BaseRuns(tmp_path, machine).key("snapshot", "check", Limits()) for machine in ("old", "new")}
    assert len(keys) == 2


async def test_part_of_the_targets_is_improved(red: Bench) -> None:
    red.base["tests/test_more.py"] = "from calc import add\n\n\ndef test_no():\n    assert add(1, 1) == 3\n"
    verdict = await red.verify({"calc.py": FIXED})
    assert verdict.finding == "improved", verdict.reason
    assert verdict.checks[0].still_failing == ("tests/test_more.py::test_no",)


async def test_no_target_fixed_is_not_verified(red: Bench) -> None:
    verdict = await red.verify({"calc.py": CALC + "# thought about it\n"})
    assert verdict.finding == "not_verified"
    assert "test_add" in verdict.reason


async def test_green_and_no_proof_is_checks_hold(green: Bench) -> None:
    verdict = await green.verify({"calc.py": FIXED + "\n\ndef half(a):\n    return a / 2\n"})
    assert verdict.finding == "checks_hold", verdict.reason


async def test_green_with_a_test_that_fails_on_the_base_is_verified(green: Bench) -> None:
    verdict = await green.verify(
        {
            "calc.py": FIXED + "\n\ndef half(a):\n    return a / 2\n",
            "tests/test_half.py": "import calc\n\n\ndef test_half():\n    assert calc.half(4) == 2\n",
        }
    )
    assert verdict.finding == "verified", verdict.reason
    assert verdict.checks[0].added == ("tests/test_half.py::test_half",)


async def test_green_with_a_test_that_cannot_be_imported_on_the_base_is_verified(green: Bench) -> None:
    verdict = await green.verify(
        {
            "half.py": "def half(a):\n    return a / 2\n",
            "tests/test_half.py": "from half import half\n\n\ndef test_half():\n    assert half(4) == 2\n",
        }
    )
    assert verdict.finding == "verified", verdict.reason


async def test_green_with_a_test_that_always_passed_is_no_proof(green: Bench) -> None:
    verdict = await green.verify(
        {"calc.py": FIXED + "# more\n", "tests/test_new.py": "def test_nothing():\n    assert True\n"}
    )
    assert verdict.finding == "checks_hold", verdict.reason


async def test_something_broken_is_regressed(red: Bench) -> None:
    verdict = await red.verify({"calc.py": FIXED.replace("2 * a", "3 * a")})
    assert verdict.finding == "regressed", verdict.reason
    assert verdict.checks[0].regressed == ("tests/test_calc.py::test_double",)


async def test_a_module_that_no_longer_parses_is_regressed(red: Bench) -> None:
    verdict = await red.verify({"calc.py": "def add(:\n"})
    assert verdict.finding == "regressed", verdict.reason


async def test_no_checks_and_no_changes(red: Bench) -> None:
    assert "--check" in (await red.verify({"calc.py": FIXED}, ())).reason
    assert (await red.verify({})).finding == "not_verified"


async def test_a_check_that_finds_nothing_proves_nothing(red: Bench) -> None:
    verdict = await red.verify({"calc.py": FIXED}, "python3 -m pytest -q -k nothing_of_that_name")
    assert verdict.finding == "not_verified"
    assert "No check ran" in verdict.reason
    missing = await red.verify({"calc.py": FIXED}, "no-such-program --test")
    assert "No check ran" in missing.reason


async def test_feature_whose_test_cannot_be_collected_on_the_base(bench: Bench) -> None:
    bench.base = {
        "calc.py": FIXED,
        "tests/test_calc.py": TESTS,
        "tests/test_cube.py": "from calc import cube\n\n\ndef test_cube():\n    assert cube(2) == 8\n",
    }
    verdict = await bench.verify({"calc.py": FIXED + "\n\ndef cube(a):\n    return a**3\n"})
    assert verdict.finding == "verified", verdict.reason
    assert verdict.checks[0].fixed == ("tests/test_cube.py (collection)",)
    wrong = await bench.verify({"calc.py": FIXED + "\n\ndef cube(a):\n    return a**2\n"})
    assert wrong.finding == "not_verified", wrong


async def test_conftest_that_cannot_be_imported_on_the_base(bench: Bench) -> None:
    bench.base = {"calc.py": CALC, "conftest.py": "from calc import special\n", "tests/test_calc.py": TESTS}
    verdict = await bench.verify({"calc.py": FIXED + "\n\nspecial = 1\n"})
    assert verdict.finding == "verified", verdict.reason


async def test_a_crash_and_an_endless_loop_on_the_base_are_red(bench: Bench) -> None:
    bench.base = {"calc.py": "import os\nos.abort()\n", "tests/test_calc.py": TESTS}
    verdict = await bench.verify({"calc.py": FIXED})
    assert verdict.finding == "verified", verdict.reason
    bench.base = {"calc.py": CALC.replace("return a - b", "while True: pass"), "tests/test_calc.py": TESTS}
    bench.limits = type(bench.limits)(command_seconds=10.0)
    verdict = await bench.verify({"calc.py": FIXED}, reruns=0)
    assert verdict.finding == "verified", verdict.reason


async def test_flaky_on_the_base_is_no_target(bench: Bench) -> None:
    flaky = "import os\n\n\ndef test_coin():\n    assert os.urandom(1)[0] < 128\n"
    bench.base = {"calc.py": CALC, "tests/test_coin.py": flaky}
    verdict = await bench.verify({"calc.py": FIXED}, reruns=30)
    assert verdict.finding in ("checks_hold", "not_verified"), verdict


async def test_flaky_with_the_patch_is_no_regression(green: Bench) -> None:
    flaky = "import os\n\n\ndef test_coin():\n    assert os.urandom(1)[0] < 128\n"
    green.base["tests/test_coin.py"] = flaky
    verdict = await green.verify({"calc.py": FIXED + "# harmless\n"}, reruns=30)
    assert verdict.finding in ("checks_hold", "not_verified"), verdict
    assert verdict.checks[0].regressed == ()


async def test_several_checks_must_all_hold(red: Bench) -> None:
    lint = "! grep -n TODO calc.py"
    verdict = await red.verify({"calc.py": FIXED + "# TODO\n"}, ("python3 -m pytest -q", lint))
    assert verdict.finding == "regressed", verdict.reason
    assert verdict.checks[1].regressed == (lint,)
    verdict = await red.verify({"calc.py": FIXED}, ("python3 -m pytest -q", lint))
    assert verdict.finding == "verified", verdict.reason
