"""Reading the model's answers: whatever surrounds the code, one function comes out, or a reason."""

import ast

import pytest

from overnight.agents.repair.answers import Edit, Rejected, blocks, parse
from overnight.agents.repair.functions import Function, shape

FILE = '''"""A shop."""

import math
from shop.tax import rate


def area(width, height):
    """Return the area."""
    return width + height  # wrong


class Cart:
    limit = 3

    @property
    def size(self):
        return 0

    def add(self, item):
        self.items.append(item)

    async def fetch(self, key):
        return await self.source(key)
'''
SHAPE = shape("shop/area.py", FILE)


def target(name: str) -> Function:
    """Return a function of the file above."""
    found = SHAPE.find(name)
    assert found is not None
    return found


GOOD = 'def area(width, height):\n    """Return the area."""\n    return width * height'


@pytest.mark.parametrize(
    "answer",
    [
        f"```python\n{GOOD}\n```",
        f"```\n{GOOD}\n```",
        f"```py\n{GOOD}",
        f"Sure! The bug is the plus.\n\n```python\n{GOOD}\n```\nThis fixes it.",
        f"{GOOD}\n",
        f"Here it is:\n{GOOD}\n\nThis multiplies now.",
        f"~~~python\n{GOOD}\n~~~",
        f"```python\nassert area(2, 3) == 6\n```\n```python\n{GOOD}\n```",
        f"```python\n{GOOD}\n```\nUsage:\n```python\nprint(area(2, 3))\n```",
        f"```python\n{GOOD}\n\nprint(area(2, 3))\nassert area(1, 1) == 1\n```",
        "```python\n    def area(width, height):\n        return width * height\n```",
        "```python\ndef area(width, height):\n        return width * height\n```",
        "```python\nclass Shop:\n    def area(width, height):\n        return width * height\n```",
        "```python\nreturn width * height\n```",
        "```python\n    return width * height\n```",
        "```python\r\ndef area(width, height):\r\n    return width * height\r\n```",
        "```python\ndef area(width, height):\n    return width * height\n\nThis is now a product.\n```",
        "```python\ndef area(width, height):\n    return width + height\n```\nBetter:\n```python\n"
        "def area(width, height):\n    return width * height\n```",
    ],
)
def test_finds_the_function(answer: str) -> None:
    edit = parse(answer, target("area"), SHAPE)
    assert isinstance(edit, Edit), edit
    assert "width * height" in edit.code
    assert "Return the area." in edit.code
    assert "assert" not in edit.code
    assert edit.digest == parse(f"```python\n{GOOD}\n```", target("area"), SHAPE).digest  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("", "no code"),
        ("I am not sure.", "no code"),
        ("```python\ndef area(width, height:\n    return\n```", "parse"),
        ("```python\ndef volume(a):\n    return a\n```", "does not define area"),
        (
            "```python\ndef area(width, height):\n    '''New words.'''\n    return (width + height)\n```",
            "unchanged",
        ),
        ("```python\ndef area(width, height):\n    ...\n```", "left out"),
        ("```python\nasync def area(width, height):\n    return 1\n```", "async"),
        ("```python\nwidth * height\n```", "does not define"),
        ("\x00```python\n\x00def area(\n```", "parse"),
    ],
)
def test_says_why_an_answer_is_of_no_use(answer: str, reason: str) -> None:
    made = parse(answer, target("area"), SHAPE)
    assert isinstance(made, Rejected)
    assert reason in made.reason


@pytest.mark.parametrize(
    "answer",
    [
        "```python\ndef size(self):\n    return len(self.items)\n```",
        "```python\n    @property\n    def size(self):\n        return len(self.items)\n```",
        "```python\n@property\n    def size(self):\n        return len(self.items)\n```",
        "```python\ndef size(self):\n        return len(self.items)\n```",
        "```python\nclass Cart:\n    limit = 3\n\n    def size(self):\n        return len(self.items)\n```",
    ],
)
def test_takes_a_method_at_any_indentation_and_keeps_its_decorator(answer: str) -> None:
    edit = parse(answer, target("Cart.size"), SHAPE)
    assert isinstance(edit, Edit), edit
    assert edit.code.startswith("@property\ndef size(self):\n")
    ast.parse(edit.code)


def test_takes_new_imports_and_helpers_along() -> None:
    answer = (
        "```python\nimport math\nimport os\nimport re\nimport pytest\nfrom shop.area import area\n\n"
        "def double(x):\n    return 2 * x\n\ndef unused(x):\n    return x\n\n"
        "def area(width, height):\n    return double(re.sub('a', '', width)) * height\n```"
    )
    edit = parse(answer, target("area"), SHAPE)
    assert isinstance(edit, Edit)
    assert edit.imports == ("import re",)
    assert len(edit.helpers) == 1
    assert edit.helpers[0].startswith("def double")


def test_digests_ignore_formatting_only() -> None:
    def digest(body: str) -> str:
        edit = parse(f"```python\ndef area(width, height):\n{body}\n```", target("area"), SHAPE)
        assert isinstance(edit, Edit)
        return edit.digest

    assert digest("    return width*height") == digest("    # product\n    return (width * height)")
    assert digest("    return width * height") != digest("    return height * width")


def test_takes_a_constant() -> None:
    file = shape("a.py", "RATES = {\n    'a': 1,\n}\n\n\ndef f():\n    return RATES\n")
    constant = file.find("RATES")
    assert constant is not None
    edit = parse("```python\nRATES = {'a': 2}\n```", constant, file)
    assert isinstance(edit, Edit)
    assert edit.code == "RATES = {'a': 2}"


JS = "export function add(a, b) {\n  return a - b; // {\n}\n\nconst twice = (x) => {\n  return x + 1;\n};\n"


def test_takes_another_language() -> None:
    file = shape("src/sum.js", JS)
    assert [f.name for f in file.functions] == ["add", "twice"]
    edit = parse("```js\nexport function add(a, b) {\n  return a + b;\n}\n```", file.functions[0], file)
    assert isinstance(edit, Edit)
    assert "a + b" in edit.code
    unbalanced = parse(
        "```js\nexport function add(a, b) {\n  return (a + b;\n}\n```", file.functions[0], file
    )
    assert isinstance(unbalanced, Rejected)
    same = parse(f"```js\n{file.functions[0].text}\n```", file.functions[0], file)
    assert isinstance(same, Rejected)


def test_many_fences_do_not_confuse() -> None:
    assert blocks("```python\na = 1\n```python\nb = 2\n```") == ["a = 1", "b = 2"]
    assert blocks("```\n```\n") == []
