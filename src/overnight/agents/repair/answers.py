"""What the model answered, read leniently: the code of one function, whatever prose or fences surround it."""

import ast
import hashlib
import re
import textwrap

import msgspec

from overnight.agents.repair.functions import Definition, FileShape, Function, inside_strings, outdented
from overnight.agents.repair.regions import regions

NO_CODE = "no code in the answer"


class Edit(msgspec.Struct, frozen=True, kw_only=True):
    """A replacement for one function. Code is at column 0; `helpers` go before it."""

    code: str
    imports: tuple[str, ...] = ()
    helpers: tuple[str, ...] = ()
    digest: str
    """Equal for edits that mean the same: formatting, comments and docstrings left out."""


class Rejected(msgspec.Struct, frozen=True, kw_only=True):
    """Why an answer is of no use."""

    reason: str
    undefined: bool = False
    """The code is fine but does not define the function that was asked for."""


def blocks(text: str) -> list[str]:
    """Return the code blocks of an answer; of one without fences, what looks like code."""
    text = text.replace("\r\n", "\n").replace("\0", "")
    found: list[str] = []
    current: list[str] | None = None
    for line in text.split("\n"):
        if re.match(r"\s*(```|~~~)", line):
            if current is None:
                current = []
            else:
                found.append("\n".join(current))
                # A fence that names a language opens a block even if the one before was not closed.
                current = [] if re.match(r"\s*```\s*[a-zA-Z]+", line) else None
        elif current is not None:
            current.append(line)
    if current:
        found.append("\n".join(current))
    if not any(block.strip() for block in found):
        start = re.search(
            r"(?m)^[ \t]*(?:@\w|async def |def |class |function |func |(?:pub )?fn |import |from \w+ imp)",
            text,
        )
        found = [text[start.start() :]] if start else []
    return [block.strip("\n") for block in found if block.strip()]


def parse(text: str, target: Function, file: FileShape) -> Edit | Rejected:
    """Return the edit that an answer means for `target`, which lies in `file`."""
    candidates = blocks(text)
    if not candidates:
        return Rejected(reason=NO_CODE)
    if target.language != "python":
        return _parse_other(candidates, target)
    rejected = Rejected(reason="the code does not parse")
    # The last block that defines the name is what the model settled on.
    order = sorted(candidates, key=lambda b: re.search(rf"\b{re.escape(target.name)}\b", b) is not None)
    for block in reversed(order):
        parsed = _python_tree(block)
        if parsed is None:
            continue
        made = _python_edit(*parsed, target, file)
        if isinstance(made, Edit):
            return made
        rejected = made
    if target.kind == "function" and target.text and not re.search(r"\b(?:def|class) ", candidates[0]):
        whole = _from_body(candidates[0], target)
        if whole is not None:
            made = _python_edit(*whole, target, file)
            if isinstance(made, Edit):
                return made
    return rejected


def _python_tree(block: str) -> tuple[str, ast.Module] | None:
    """Parse a block, trying the usual slips of indentation, then dropping what trails behind the code."""
    lines = block.split("\n")
    shifted = block
    if len(lines) > 1 and lines[0][:1] not in (" ", "\t"):
        # First line at column 0, the rest still indented as in its class.
        rest = textwrap.dedent("\n".join(lines[1:]))
        is_header = lines[0].rstrip().endswith(":")
        shifted = lines[0] + "\n" + (textwrap.indent(rest, "    ") if is_header else rest)
    for variant in (block, textwrap.dedent(block), shifted):
        tree = _try(variant)
        if tree is not None:
            return variant, tree
    kept = textwrap.dedent(block).split("\n")
    for _ in range(min(12, len(kept) - 1)):
        kept.pop()
        tree = _try("\n".join(kept))
        if tree is not None and tree.body:
            return "\n".join(kept), tree
    return None


def _try(code: str) -> ast.Module | None:
    try:
        tree = ast.parse(code)
        compile(code, "<answer>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return tree


def _python_edit(source: str, tree: ast.Module, target: Function, file: FileShape) -> Edit | Rejected:
    imports: list[str] = []
    helpers: list[ast.stmt] = []
    found: list[ast.stmt] = []
    for node, inside in _statements(tree):
        if _names(node, target):
            found.append(node)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            imports.append(ast.unparse(node))
        elif (isinstance(node, ast.ClassDef) and target.kind == "missing") or (
            isinstance(node, Definition) and not inside and not node.name.startswith("test")
        ):
            helpers.append(node)
    if not found:
        return Rejected(reason=f"the answer does not define {target.name}", undefined=True)
    node = found[-1]
    problem = _mismatch(node, target)
    if problem:
        return Rejected(reason=problem)
    used = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
    present = file.names | {f.name for f in file.functions if not f.owner}
    kept = [h for h in helpers if _name(h) not in present and _name(h) in used]
    known_imports = {_normal(i) for i in file.imports}
    return Edit(
        code=_source(source, node, target),
        imports=tuple(
            i for i in dict.fromkeys(imports) if _normal(i) not in known_imports and _needed(i, tree, target)
        ),
        helpers=tuple(ast.unparse(h) for h in kept),
        digest=digest([node, *kept]),
    )


def _statements(tree: ast.Module) -> list[tuple[ast.stmt, bool]]:
    """Return the top-level statements, and those of classes that wrap the answer."""
    found: list[tuple[ast.stmt, bool]] = []
    for node in tree.body:
        found.append((node, False))
        if isinstance(node, ast.ClassDef):
            found.extend((inner, True) for inner in node.body)
        elif isinstance(node, ast.If):
            found.extend((inner, False) for inner in node.body if isinstance(inner, Definition))
    return found


def _name(node: ast.stmt) -> str:
    return str(getattr(node, "name", ""))


def _names(node: ast.stmt, target: Function) -> bool:
    if target.kind == "constant":
        if isinstance(node, ast.Assign):
            return any(isinstance(t, ast.Name) and t.id == target.name for t in node.targets)
        return (
            isinstance(node, ast.AnnAssign)
            and isinstance(node.target, ast.Name)
            and node.target.id == target.name
        )
    if target.kind == "missing" and isinstance(node, ast.Assign):
        return any(isinstance(t, ast.Name) and t.id == target.name for t in node.targets)
    wanted = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef) if target.kind == "missing" else Definition
    return isinstance(node, wanted) and _name(node) == target.name


def _mismatch(node: ast.stmt, target: Function) -> str:
    if target.kind != "function":
        return ""
    original = _try(target.code)
    before = next((n for n in original.body if isinstance(n, Definition)), None) if original else None
    if before is None:
        return ""
    if isinstance(before, ast.AsyncFunctionDef) != isinstance(node, ast.AsyncFunctionDef):
        return "async and plain functions were mixed up"
    body = [s for s in getattr(node, "body", []) if not _is_docstring(s)]
    real = [s for s in before.body if not _is_docstring(s)]
    hollow = all(
        isinstance(s, ast.Pass) or (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))
        for s in body
    )
    if hollow and len(real) > 0 and not isinstance(real[0], ast.Pass):
        return "the function's body was left out"
    if digest([node]) == digest([before]):
        return "unchanged"
    return ""


def _source(source: str, node: ast.stmt, target: Function) -> str:
    """Return the new source at column 0, with the decorators and docstring of the original if dropped."""
    lines = source.split("\n")
    start = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
    code = outdented(lines, start, node.end_lineno or start, inside_strings(node))
    original = target.code
    tree = _try(original) if target.text else None
    before = next((n for n in tree.body if isinstance(n, Definition)), None) if tree else None
    if before is None or not isinstance(node, Definition) or not node.body:
        return code
    old = original.split("\n")
    made = code.split("\n")
    if (
        _is_docstring(before.body[0])
        and not _is_docstring(node.body[0])
        and node.body[0].lineno > node.lineno
    ):
        at = node.body[0].lineno - start
        indent = made[at][: len(made[at]) - len(made[at].lstrip())]
        docstring = textwrap.dedent("\n".join(old[before.body[0].lineno - 1 : before.body[0].end_lineno]))
        made[at:at] = textwrap.indent(docstring, indent).split("\n")
    if before.decorator_list and not node.decorator_list:
        made[:0] = old[before.decorator_list[0].lineno - 1 : before.lineno - 1]
    repaired = "\n".join(made)
    return repaired if _try(repaired) is not None else code


def _is_docstring(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def digest(nodes: list[ast.stmt]) -> str:
    """Return a text that is equal for code that differs in formatting, comments and docstrings only."""
    made = hashlib.sha256()
    for node in nodes:
        copy = ast.parse(ast.unparse(node))
        for part in ast.walk(copy):
            if isinstance(part, Definition | ast.ClassDef):
                part.body = [s for s in part.body if not _is_docstring(s)] or [ast.Pass()]
                part.decorator_list = []
        made.update(ast.dump(copy).encode())
    return made.hexdigest()[:16]


def _normal(statement: str) -> str:
    tree = _try(statement)
    return ast.unparse(tree) if tree else statement


def _needed(statement: str, tree: ast.Module, target: Function) -> bool:
    """Say whether an import of the answer is used, and is none of a test's."""
    parsed = ast.parse(statement).body[0]
    if not isinstance(parsed, ast.Import | ast.ImportFrom):
        return False
    module = getattr(parsed, "module", None) or parsed.names[0].name
    if (
        module.split(".")[0] in ("pytest", "unittest")
        or module.split(".")[-1] == target.path.split("/")[-1][:-3]
    ):
        return False
    names = {(alias.asname or alias.name).split(".")[0] for alias in parsed.names}
    used = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
    return bool(names & used)


def _from_body(block: str, target: Function) -> tuple[str, ast.Module] | None:
    """Take an answer that is only the function's body."""
    header = target.code.split("\n")
    tree = _try(target.code)
    if tree is None or not tree.body or not isinstance(tree.body[0], Definition):
        return None
    definition = tree.body[0]
    head = "\n".join(header[: definition.body[0].lineno - 1])
    old = {line.strip() for line in header if line.strip()}
    lines = [line.strip() for line in block.split("\n") if line.strip()]
    if not head.rstrip().endswith(":") or not any(
        line in old or line.startswith(("return", "yield", "raise")) for line in lines
    ):
        return None
    whole = head + "\n" + textwrap.indent(textwrap.dedent(block), "    ")
    made = _try(whole)
    return (whole, made) if made is not None else None


def _parse_other(candidates: list[str], target: Function) -> Edit | Rejected:
    """Take an answer in another language: the last region of that name."""
    for block in reversed(candidates):
        lines = textwrap.dedent(block).split("\n")
        same = [r for r in regions(target.language, lines) if r.name == target.name]
        if not same and not target.text:
            continue
        code = "\n".join(lines[same[-1].start - 1 : same[-1].end]) if same else ""
        if not code:
            continue
        code = textwrap.dedent(code)
        if squeezed(code) == squeezed(target.text):
            return Rejected(reason="unchanged")
        if any(balance(code, pair) != 0 and balance(target.text, pair) == 0 for pair in ("{}", "()", "[]")):
            return Rejected(reason="the brackets do not balance")
        return Edit(code=code, digest=squeezed(code))
    return Rejected(reason=f"the answer does not define {target.name}", undefined=True)


def balance(text: str, pair: str) -> int:
    """Return how many more brackets are opened than closed, by count."""
    return text.count(pair[0]) - text.count(pair[1])


def squeezed(code: str) -> str:
    """Return code without white space, to compare."""
    return re.sub(r"\s+", "", code)
