"""Putting functions back into files: nothing else changes, and comments of untouched lines stay."""

import ast

from hypothesis import given
from hypothesis import strategies as st

from overnight.agents.repair.answers import Edit, Rejected, parse
from overnight.agents.repair.functions import Function, shape
from overnight.agents.repair.missing import at_end, in_class
from overnight.agents.repair.splice import graft, splice

FILE = '''"""A shop."""

# licence
import math


class Cart:
    """Holds items."""

    # the most
    limit = 3

    @property
    def size(self):
        """How many."""
        # count them
        text = """
  kept as it is
"""
        return 0  # nothing yet

    def add(self, item):
        self.items.append(item)


VALUE = 1
'''


def put(text: str, name: str, code: str) -> str:
    """Return the file with an answer in the function's place."""
    file = shape("shop/cart.py", text)
    target = file.find(name)
    assert target is not None
    edit = parse(f"```python\n{code}\n```", target, file)
    assert isinstance(edit, Edit), edit
    made = splice(text, target, edit)
    assert made is not None
    return made


def test_changes_only_the_line_that_differs() -> None:
    answer = 'def size(self):\n    text = """\n  kept as it is\n"""\n    return len(self.items)'
    assert put(FILE, "Cart.size", answer) == FILE.replace("return 0  # nothing yet", "return len(self.items)")


def test_keeps_windows_line_ends() -> None:
    text = "def f(x):\r\n    return x\r\n\r\n\r\ny = 1\r\n"
    assert put(text, "f", "def f(x):\n    return x + 1") == text.replace("return x", "return x + 1")


def test_puts_imports_at_the_top_and_helpers_before() -> None:
    made = put(
        FILE, "Cart.add", "import re\n\ndef clean(x):\n    return re.sub('a', '', x)\n\n"
        "def add(self, item):\n    self.items.append(clean(item))",
    )  # fmt: skip
    assert made.index("import math\nimport re\n") < made.index("def clean") < made.index("class Cart")
    ast.parse(made)
    bare = put("def f(x):\n    return x\n", "f", "import re\n\ndef f(x):\n    return re.sub('a', '', x)")
    assert bare.startswith("import re\n")


def test_refuses_what_is_no_code_any_more() -> None:
    file = shape("a.py", "def f():\n    return 1\n")
    target = file.functions[0]
    assert splice("def f():\n    return 1\n", target, Edit(code="def f(:\n", digest="x")) is None


def test_inserts_new_functions_and_methods() -> None:
    file = shape("shop/cart.py", FILE)
    new = at_end(file, FILE, "total")
    made = splice(FILE, new, Edit(code="def total(x):\n    return x", digest="x"))
    assert made == FILE + "\n\ndef total(x):\n    return x\n"
    member = in_class(file, FILE, "Cart", "clear")
    assert member is not None
    made = splice(FILE, member, Edit(code="def clear(self):\n    self.items = []", digest="x"))
    assert made is not None
    assert "append(item)\n\n    def clear(self):\n        self.items = []\n\n\nVALUE = 1\n" in made
    assert in_class(file, FILE, "Cart", "add") is None
    empty = Function(path="new.py", name="f", qualified="f", start=1, end=0, text="", kind="missing")
    assert splice("", empty, Edit(code="def f():\n    pass", digest="x")) == "def f():\n    pass\n"


def test_graft_falls_back_when_the_mixture_would_differ() -> None:
    old = "def f(x):\n    if x:\n        # why\n        return 'a'\n    return 1"
    new = 'def f(x):\n    if x:\n        return "a"\n    return 2'
    assert graft(old, new) == "def f(x):\n    if x:\n        # why\n        return 'a'\n    return 2"
    assert graft(old, "def f(x):\n    return 3") == "def f(x):\n    return 3"


LINES = st.lists(
    st.sampled_from(
        [
            "x = 1",
            "x = 'a'",
            'x = "a"',
            "# note",
            "",
            "if x:\n        y = 2",
            "for i in x:\n        pass",
            "return x",
        ]
    ),
    min_size=1,
    max_size=8,
)


@given(LINES, LINES)
def test_the_new_function_means_what_the_answer_said(old: list[str], new: list[str]) -> None:
    def function(lines: list[str]) -> str:
        return "def f(x):\n" + "\n".join(f"    {line}" if line else "" for line in lines) + "\n    return 0"

    text = f"a = 1\n\n\n{function(old)}\n\n\nb = 2\n"
    file = shape("a.py", text)
    edit = parse(f"```python\n{function(new)}\n```", file.functions[1], file)
    if isinstance(edit, Rejected):
        return
    made = splice(text, file.functions[1], edit)
    assert made is not None
    tree = ast.parse(made)
    assert ast.dump(tree.body[1]) == ast.dump(ast.parse(function(new)).body[0])
    assert made.startswith("a = 1\n\n\ndef f(x):\n")
    assert made.endswith("\n\n\nb = 2\n")
