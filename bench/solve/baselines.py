"""Two baselines: the same model asked once, for the whole corrected file or for the one function.

Both are told the file (the second one the function too): what `repair` has to find, they are given.
"""

import ast
import re
import textwrap

from overnight.domain.conversation import Message, Request
from overnight.models.interface import Model

TEMPERATURE = 0.2
FILE_PROMPT = """\
Task: {task}

The failing checks say:
{output}

The file {path}:
```python
{code}
```

Write the whole corrected file in one ```python block."""
FUNCTION_PROMPT = """\
Task: {task}

The failing checks say:
{output}

The function:
```python
{code}
```

Write the corrected function in one ```python block."""


async def whole_file(model: Model, task: str, path: str, code: str, output: str, seed: int) -> str | None:
    """Return the file as the model would have it, or None when the answer holds no code."""
    prompt = FILE_PROMPT.format(task=task, output=output, path=path, code=code)
    return code_block(await ask(model, prompt, seed))


async def one_function(
    model: Model, task: str, code: str, function: str, output: str, seed: int
) -> str | None:
    """Return the file with the one function as the model would have it, or None without code."""
    found = locate(code, function)
    lines = code.splitlines()
    body = textwrap.dedent("\n".join(lines[found[0] : found[1]]))
    answer = code_block(await ask(model, FUNCTION_PROMPT.format(task=task, output=output, code=body), seed))
    if answer is None:
        return None
    indent = len(lines[found[0]]) - len(lines[found[0]].lstrip())
    replaced = textwrap.indent(textwrap.dedent(answer).strip("\n"), " " * indent)
    return "\n".join([*lines[: found[0]], replaced, *lines[found[1] :]]) + "\n"


async def ask(model: Model, prompt: str, seed: int) -> str:
    """Return the answer to one prompt."""
    request = Request(
        messages=(Message(role="user", text=prompt),),
        temperature=TEMPERATURE,
        max_output_tokens=1024,
        seed=seed,
    )
    return (await model.complete(request)).text


def code_block(text: str) -> str | None:
    """Return the first code block, closed or not."""
    found = re.search(r"```[a-zA-Z]*\n(.*?)(?:\n```|\Z)", text, re.DOTALL)
    return found[1] + "\n" if found else None


def locate(code: str, qualified: str) -> tuple[int, int]:
    """Return the lines (from 0, end exclusive) of a function such as `Pager.page_count`."""
    body: list[ast.stmt] = ast.parse(code).body
    node: ast.stmt | None = None
    for name in qualified.split("."):
        node = next(
            item
            for item in body
            if isinstance(item, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and item.name == name
        )
        body = node.body
    assert node is not None
    assert node.end_lineno is not None
    decorators = getattr(node, "decorator_list", [])
    first = min([node.lineno, *(decorator.lineno for decorator in decorators)])
    return first - 1, node.end_lineno
