"""Small systematic edits of a function: the slips people make, tried without asking the model.

A small model copies a function with one wrong sign back unchanged more often than not; the checks judge
these edits as they judge the model's.
"""

import ast
from collections.abc import Callable, Iterator

from overnight.agents.repair.answers import Edit, digest
from overnight.agents.repair.functions import Definition, Function

MOST = 40
"""Variants of one function."""

_COMPARE: dict[type[ast.cmpop], tuple[str, ...]] = {
    ast.Lt: ("<=", ">"), ast.LtE: ("<", ">="), ast.Gt: (">=", "<"), ast.GtE: (">", "<="),
    ast.Eq: ("!=",), ast.NotEq: ("==",), ast.Is: ("is not",), ast.IsNot: ("is",),
    ast.In: ("not in",), ast.NotIn: ("in",),
}  # fmt: skip
_BINARY: dict[type[ast.operator], tuple[str, ...]] = {
    ast.Add: ("-",), ast.Sub: ("+",), ast.Mult: ("/", "+"), ast.Div: ("*", "//"), ast.FloorDiv: ("/", "%"),
    ast.Mod: ("//",), ast.BitAnd: ("|",), ast.BitOr: ("&",),
}  # fmt: skip
_CROSSED: dict[type[ast.operator], str] = {ast.Sub: "-", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%"}
_NAMES = {
    "min": "max", "max": "min", "any": "all", "all": "any", "append": "extend", "extend": "append",
    "startswith": "endswith", "endswith": "startswith", "lstrip": "rstrip", "rstrip": "lstrip",
    "find": "rfind", "rfind": "find", "index": "rindex", "floor": "ceil", "ceil": "floor",
    "lower": "upper", "upper": "lower", "union": "intersection", "intersection": "union",
    "split": "rsplit", "partition": "rpartition", "popleft": "pop", "keys": "values", "values": "keys",
}  # fmt: skip

Swap = tuple[int, int, str]
"""Byte offsets into the code, and what goes there."""
_Span = Callable[[ast.expr], tuple[int, int]]
_Text = Callable[[ast.expr], str]


def variants(function: Function) -> list[Edit]:
    """Return edits of a Python function that differ from it in one small thing, at most `MOST`."""
    code = function.code.encode()
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    if not tree.body or not isinstance(tree.body[0], Definition):
        return []
    starts = [0]
    for line in code.split(b"\n"):
        starts.append(starts[-1] + len(line) + 1)
    seen = {digest([tree.body[0]])}
    found: list[Edit] = []
    for first, last, text in _swaps(tree.body[0], code, starts):
        made = (code[:first] + text.encode() + code[last:]).decode()
        try:
            parsed = ast.parse(made)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        key = digest([parsed.body[0]])
        if key not in seen:
            seen.add(key)
            found.append(Edit(code=made, digest=key))
        if len(found) >= MOST:
            break
    return found


def _swaps(tree: ast.AST, code: bytes, starts: list[int]) -> Iterator[Swap]:
    def span(node: ast.expr) -> tuple[int, int]:
        end_line, end_column = node.end_lineno or node.lineno, node.end_col_offset or node.col_offset
        return starts[node.lineno - 1] + node.col_offset, starts[end_line - 1] + end_column

    def text(node: ast.expr) -> str:
        first, last = span(node)
        return code[first:last].decode()

    def between(left: ast.expr, right: ast.expr, words: tuple[str, ...]) -> Iterator[Swap]:
        first, last = span(left)[1], span(right)[0]
        gap = code[first:last].decode()
        # Brackets around an operand lie in the gap too and must stay.
        front = len(gap) - len(gap.lstrip(" \t\n)"))
        back = len(gap) - len(gap.rstrip(" \t\n("))
        for word in words:
            yield first + len(gap[:front].encode()), last - len(gap[len(gap) - back :].encode()), word

    nodes = list(ast.walk(tree))
    for node in nodes:
        if isinstance(node, ast.Compare):
            operands = [node.left, *node.comparators]
            for index, operator in enumerate(node.ops):
                yield from between(operands[index], operands[index + 1], _COMPARE[type(operator)])
        elif isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
            yield from between(node.left, node.right, _BINARY[type(node.op)])
            if type(node.op) in _CROSSED:
                yield _crossed(node, span, text)
        elif isinstance(node, ast.BoolOp):
            word = "or" if isinstance(node.op, ast.And) else "and"
            for left, right in zip(node.values, node.values[1:], strict=False):
                yield from between(left, right, (word,))
        elif isinstance(node, ast.If | ast.While):
            yield (*span(node.test), f"not ({text(node.test)})")
    yield from _operands(nodes, span, text)


def _crossed(node: ast.BinOp, span: _Span, text: _Text) -> Swap:
    first, last = span(node)
    middle = _CROSSED[type(node.op)]
    return first, last, f"({text(node.right)}) {middle} ({text(node.left)})"


def _operands(nodes: list[ast.AST], span: _Span, text: _Text) -> Iterator[Swap]:
    """Numbers, bounds, arguments and names."""
    bounds = _bounds(nodes)
    for node in nodes:
        if isinstance(node, ast.Constant):
            value = node.value
            if isinstance(value, bool):
                yield (*span(node), str(not value))
            elif isinstance(value, int) and abs(value) < 10_000 and id(node) in bounds:
                yield (*span(node), str(value + 1))
                yield (*span(node), str(value - 1) if value > 0 else "-1")
        elif isinstance(node, ast.Slice):
            for bound in (node.lower, node.upper):
                if bound is not None and not isinstance(bound, ast.Constant):
                    yield (*span(bound), f"{text(bound)} + 1")
                    yield (*span(bound), f"{text(bound)} - 1")
        elif isinstance(node, ast.Call):
            called = node.func.id if isinstance(node.func, ast.Name) else ""
            if called == "range" and node.args:
                bound = node.args[min(1, len(node.args) - 1)]
                yield (*span(bound), f"{text(bound)} + 1")
                yield (*span(bound), f"{text(bound)} - 1")
            for left, right in zip(node.args, node.args[1:], strict=False):
                first, last = span(left)[0], span(right)[1]
                yield first, last, f"{text(right)}, {text(left)}"
            if called in _NAMES:
                yield (*span(node.func), _NAMES[called])
            elif isinstance(node.func, ast.Attribute) and node.func.attr in _NAMES:
                last = span(node.func)[1]
                yield last - len(node.func.attr.encode()), last, _NAMES[node.func.attr]
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
            yield (*span(node), text(node.operand))


def _bounds(nodes: list[ast.AST]) -> set[int]:
    """Return the ids of operands where being off by one is a slip and not a made-up number.

    A plain `total = 0` is left alone: changing it satisfies one example by chance too easily.
    """
    found: set[int] = set()
    for node in nodes:
        if isinstance(node, ast.Slice):
            found.update(id(bound) for bound in (node.lower, node.upper, node.step) if bound is not None)
        elif isinstance(node, ast.Subscript):
            found.add(id(node.slice))
        elif isinstance(node, ast.Compare):
            found.update(id(operand) for operand in (node.left, *node.comparators))
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub):
            found.update((id(node.left), id(node.right)))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range":
            found.update(id(argument) for argument in node.args)
    return found
