"""Ranking of places, from reports as the checks give them; the files lie in memory."""

import time
from collections.abc import Mapping, Sequence

import pytest

from overnight.agents.repair.codebase import Codebase, is_protected, is_test
from overnight.agents.repair.failures import Call, Failure, Frame, Report
from overnight.agents.repair.locate import locate
from overnight.domain.patch import FileChange
from overnight.environments.interface import Change
from overnight.sandbox.interface import SandboxSpec


class Files:
    """A workspace that is only a dictionary, for code that reads and nothing else."""

    def __init__(self, files: Mapping[str, str | bytes]) -> None:
        self._files = {path: c.encode() if isinstance(c, str) else c for path, c in files.items()}

    def read(self, path: str) -> bytes | None:
        return self._files.get(path)

    def mode(self, path: str) -> int | None:
        return 0o100644 if path in self._files else None

    def write(self, path: str, content: bytes, executable: bool | None = None) -> None:
        self._files[path] = content

    def delete(self, path: str) -> None:
        self._files.pop(path, None)

    def files(self) -> list[str]:
        return sorted(self._files)

    def changes(self) -> list[Change]:
        return []

    def export(self) -> list[FileChange]:
        return []

    def apply(self, changes: Sequence[FileChange]) -> None:
        raise NotImplementedError

    async def checkpoint(self, ignored: bool = False) -> str:
        return ""

    async def restore(self, digest: str) -> None:
        raise NotImplementedError

    def spec(self) -> SandboxSpec:
        raise NotImplementedError

    def close(self) -> None:
        """Nothing to remove."""


SHOP = {
    "shop/__init__.py": "",
    "shop/cart.py": (
        "from shop.price import price_of\n\nRATES = {'a': 1}\n\n\nclass Cart:\n    def __init__(self):\n"
        "        self.items = []\n\n"
        "    def total(self):\n        return sum(price_of(i) for i in self.items)\n\n"
        "    def clear(self):\n        self.items = []\n"
    ),
    "shop/price.py": (
        "RATES = {\n    'x': 2,\n}\n\n\ndef price_of(item):\n    return RATES[item]\n\n\n"
        "def other():\n    return 1\n"
    ),
    "shop/report.py": "def monthly_report(year):\n    '''Write the summary of a month.'''\n    return year\n",
    "tests/test_cart.py": (
        "from shop.cart import Cart\n\n\ndef test_total():\n    cart = Cart()\n    cart.items.append('x')\n"
        "    assert cart.total() == 3\n"
    ),
}
FAILED = Report(
    exit_codes=(1,),
    tests={"tests/test_cart.py::test_total": "failed", "tests/test_cart.py::test_clear": "passed"},
    failures=(
        Failure(
            test="tests/test_cart.py::test_total",
            exception="AssertionError",
            message="AssertionError: assert 2 == 3",
            frames=(Frame("tests/test_cart.py", 7, "test_total"),),
        ),
    ),
    probed=True,
)


def keys(
    files: Mapping[str, str | bytes], report: Report, traced: Report | None = None, prompt: str = ""
) -> list[str]:
    """Return the ranked places as text."""
    codebase = Codebase(Files(files), ("tests/**",))
    return [t.function.key for t in locate(codebase, report, traced, prompt)]


def test_follows_calls_from_the_failing_test_without_a_trace() -> None:
    ranked = keys(SHOP, FAILED)
    assert ranked[0] == "shop/cart.py::Cart.total"
    assert "shop/price.py::price_of" in ranked
    assert "shop/price.py::RATES" in ranked
    assert ranked.index("shop/price.py::price_of") < 4


def test_prefers_what_only_failing_tests_ran() -> None:
    calls = {
        "tests/test_cart.py::test_total": (
            Call("shop/price.py", 6, "price_of"),
            Call("shop/cart.py", 7, "__init__"),
        ),
        "tests/test_cart.py::test_clear": (Call("shop/cart.py", 7, "__init__"),),
    }
    traced = Report(exit_codes=(1,), tests=FAILED.tests, failures=FAILED.failures, calls=calls, probed=True)
    ranked = keys(SHOP, FAILED, traced)
    assert ranked.index("shop/price.py::price_of") < ranked.index("shop/cart.py::Cart.__init__")


def test_prefers_the_innermost_frame() -> None:
    failure = Failure(
        test="tests/test_cart.py::test_total",
        exception="KeyError",
        message="KeyError: 'y'",
        frames=(
            Frame("tests/test_cart.py", 7, "test_total"),
            Frame("shop/cart.py", 11, "total"),
            Frame("shop/price.py", 7, "price_of"),
        ),
    )
    report = Report(exit_codes=(1,), tests=FAILED.tests, failures=(failure,))
    assert keys(SHOP, report)[0] == "shop/price.py::price_of"


def test_finds_by_the_words_of_the_task_when_nothing_fails() -> None:
    green = Report(exit_codes=(0,))
    assert keys(SHOP, green, prompt="The `monthly_report` is empty")[0] == "shop/report.py::monthly_report"
    assert (
        keys(SHOP, green, prompt="the summary of each month has no title")[0]
        == "shop/report.py::monthly_report"
    )


@pytest.mark.parametrize(
    ("message", "key"),
    [
        (
            "ImportError: cannot import name 'Basket' from 'shop.cart' (/workspace/shop/cart.py)",
            "shop/cart.py::Basket",
        ),
        ("AttributeError: module 'shop.price' has no attribute 'tax_of'", "shop/price.py::tax_of"),
        ("AttributeError: 'Cart' object has no attribute 'count'", "shop/cart.py::Cart.count"),
        ("AttributeError: type object 'Cart' has no attribute 'of'", "shop/cart.py::Cart.of"),
        ("TypeError: object of type 'Cart' has no len()", "shop/cart.py::Cart.__len__"),
        ("ModuleNotFoundError: No module named 'shop.returns'", "shop/returns.py::returns"),
    ],
)
def test_sees_what_is_missing(message: str, key: str) -> None:
    failure = Failure(
        test="tests/test_cart.py::test_total",
        exception=message.split(":")[0],
        message=message,
        frames=(Frame("tests/test_cart.py", 7, "test_total"),),
    )
    codebase = Codebase(Files(SHOP), ())
    best = locate(codebase, Report(exit_codes=(1,), failures=(failure,)), None, "")[0]
    assert best.function.key == key
    assert best.function.kind == "missing"


def test_never_ranks_tests_or_protected_files() -> None:
    codebase = Codebase(Files(SHOP), ("shop/price.py",))
    places = {t.function.path for t in locate(codebase, FAILED, None, "price_of total")}
    assert places == {"shop/cart.py"}


def test_survives_nasty_files() -> None:
    files: dict[str, str | bytes] = {
        **SHOP,
        "shop/broken.py": "def f(:\n    return\n\n\ndef g(x):\n    return x\n",
        "shop/binary.py": b"\x00\xff\xfe",
        "shop/latin.py": "x = 'é'".encode("latin-1"),
        "shop/deep.py": "x = " + "(" * 3000 + ")" * 3000,
        "shop/empty.py": "",
        "shop/feed.py": "def a():\n    return '\x0c'\n\n\x0c\ndef b():\n    return 2\n",
        "web/app.js": "function a() { return '}'; }\n" * 50,
        "web/cut.ts": "export function open(a: string {\n",
    }
    codebase = Codebase(Files(files), ())
    assert [f.name for f in codebase.shape("shop/feed.py").functions] == ["a", "b"]
    assert codebase.shape("shop/feed.py").functions[1].text.startswith("def b")
    assert [f.name for f in codebase.shape("shop/broken.py").functions] == ["f", "g"]
    assert locate(codebase, FAILED, None, "broken binary latin deep open")[0].function.key


def test_is_quick_among_thousands_of_files_and_parses_once() -> None:
    files: dict[str, str | bytes] = {
        f"big/m{n}.py": f"def work_{n}(x):\n    return x + {n}\n" * 20 for n in range(3000)
    }
    files.update(SHOP)
    codebase = Codebase(Files(files), ())
    started = time.process_time()
    first = locate(codebase, FAILED, None, "the total of a cart is wrong")
    assert first[0].function.key == "shop/cart.py::Cart.total"
    assert time.process_time() - started < 3
    shape = codebase.shape("shop/cart.py")
    codebase.changed("shop/price.py")
    assert codebase.shape("shop/cart.py") is shape


@pytest.mark.parametrize(
    ("path", "pattern", "expected"),
    [
        ("tests/a/b.py", "tests/**", True),
        ("src/tests/b.py", "**/tests/**", True),
        ("tests/b.py", "**/tests/**", True),
        ("src/a.py", "tests/**", False),
        ("a/conftest.py", "conftest.py", True),
        ("pyproject.toml", "pyproject.toml", True),
        ("a/x.py", "*.toml", False),
        ("tests/a.py", "tests/", True),
    ],
)
def test_knows_what_is_protected(path: str, pattern: str, expected: bool) -> None:
    assert is_protected(path, (pattern,)) is expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("tests/x.py", True), ("pkg/test_a.py", True), ("a_test.go", True), ("src/a.test.ts", True),
        ("conftest.py", True), ("src/contest.py", False), ("src/latest.py", False), ("src/testing.py", False),
    ],
)  # fmt: skip
def test_knows_tests_by_their_path(path: str, expected: bool) -> None:
    assert is_test(path) is expected
