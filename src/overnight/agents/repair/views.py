"""How a place is shown to the model: small prompts with the same front, for the model's cache."""

import re
import textwrap
from typing import Literal

from overnight.agents.repair.codebase import Codebase
from overnight.agents.repair.failures import Failure, Report
from overnight.agents.repair.functions import Function
from overnight.agents.repair.locate import Target, failing_function
from overnight.domain.conversation import Message

View = Literal["plain", "terse", "context", "values", "reason", "fresh", "again", "echo"]
"""`plain`: task, test, error, function. `terse`: without the task. `context`: what it calls and uses too.
`values`: what it was called with and gave. `reason`: one sentence first.
`fresh`: only its head, to be written anew.
`again`: after a failed try. `echo`: after the code came back as it was."""

SYSTEM = (
    "You repair code. You are shown a failing test and one function. "
    "Answer with the complete corrected function in one code block, nothing else."
)
TASK_LIMIT = 700
TEST_LINES = 24
MESSAGE_LINES = 8
CONTEXT_LINES = 60
_NOISE = re.compile(r"^\s*(?:Use -v|Omitting \d|Skipping \d|Full diff|\.\.\.)")


def prompt(
    codebase: Codebase, target: Target, view: View, task: str, report: Report, traced: Report | None
) -> tuple[Message, ...]:
    """Return the messages that ask for one function."""
    function = target.function
    failures = relevant(codebase, report, target, traced)
    parts: list[str] = []
    if view != "terse" and task.strip():
        parts.append(f"Task: {clip(task, TASK_LIMIT)}")
    if failures and function.kind == "missing":
        tests = [excerpt(codebase, f, whole=True) for f in _wanting(report, target)]
        code = "\n\n".join(t for t in dict.fromkeys(tests) if t)
        parts.append(
            f"These tests fail:\n{fence(function.language, code)}\nError:\n{short_message(failures[0])}"
        )
    elif failures:
        parts.append(_test_part(codebase, failures, function.language))
    if function.kind == "missing":
        parts.extend(_missing_parts(codebase, function))
        return _messages(parts)
    if view == "context":
        parts.extend(_context(codebase, function))
    head = _head(function) if view == "fresh" else ""
    if head:
        parts.extend(_context(codebase, function))
        parts.append(
            f"Write the function `{function.name}` of {function.path} so that the test passes:\n{head}"
        )
        return _messages(parts)
    kind = "definition" if function.kind == "constant" else "function"
    name = f"`{function.name}`" + (f" of class `{function.owner}`" if function.owner else "")
    parts.append(f"The {kind} {name} in {function.path} is wrong:\n{fence(function.language, function.code)}")
    if view == "values" and traced is not None:
        seen = _values(function, failures, traced)
        if seen:
            parts.append(f"In the failing test it was called like this:\n{seen}")
    if view == "reason":
        parts.append(f"Say in one sentence what is wrong. Then write the corrected {kind} `{function.name}`.")
    else:
        parts.append(f"Write the corrected {kind} `{function.name}`.")
    return _messages(parts)


def again(first: tuple[Message, ...], answer: str, failure: Failure | None, name: str) -> tuple[Message, ...]:
    """Return the conversation that goes on after a try that did not suffice."""
    what = "\n".join(short_message(failure).split("\n")[:4]) if failure else "the checks still fail"
    return (
        *first,
        Message(role="assistant", text=answer),
        Message(
            role="user", text=f"With this version the test still fails:\n{what}\nWrite a better `{name}`."
        ),
    )


def echo(first: tuple[Message, ...], answer: str, name: str) -> tuple[Message, ...]:
    """Return the conversation that goes on after the code came back unchanged."""
    return (
        *first,
        Message(role="assistant", text=answer),
        Message(
            role="user",
            text=f"This is the same code again, so the test still fails. Say which line is wrong and why. "
            f"Then write `{name}` with that line changed.",
        ),
    )


def spelled_out(first: tuple[Message, ...], answer: str, name: str) -> tuple[Message, ...]:
    """Return the conversation that goes on after an answer that only said what is wrong."""
    return (
        *first,
        Message(role="assistant", text=answer),
        Message(role="user", text=f"Now write the corrected function `{name}` in one code block."),
    )


def relevant(
    codebase: Codebase, report: Report, target: Target, traced: Report | None = None
) -> list[Failure]:
    """Return the failures to show: first tests that name the target, run little else, say little."""
    own = [f for f in report.failures if f.test in target.tests] or list(report.failures)
    name = target.function.name

    def cost(failure: Failure) -> tuple[bool, int, int]:
        found = failing_function(codebase, failure)
        calls = len(traced.calls.get(failure.test, ())) if traced is not None else 0
        named = found is not None and (name in found[0].uses or target.function.owner in found[0].uses)
        return (not named, calls, len(failure.message))

    distinct: list[Failure] = []
    for failure in sorted(own, key=cost):
        if all(failure.message != other.message for other in distinct):
            distinct.append(failure)
    return distinct[:3]


def fence(language: str, code: str) -> str:
    """Return code in a fenced block."""
    return f"```{language}\n{code.rstrip()}\n```"


def clip(text: str, limit: int) -> str:
    """Return the beginning of a text, at most `limit` characters, cut at a word."""
    text = text.strip()
    return text if len(text) <= limit else text[:limit].rsplit(" ", 1)[0] + " …"


def short_message(failure: Failure | None) -> str:
    """Return the failure's message in a few lines, long ones clipped."""
    if failure is None:
        return ""
    lines = [line for line in failure.message.split("\n") if line.strip() and not _NOISE.search(line)]
    kept = [line if len(line) <= 160 else line[:157] + "..." for line in lines[:MESSAGE_LINES]]
    return "\n".join(kept)


def _wanting(report: Report, target: Target) -> list[Failure]:
    """Return up to three failures that ask for what is missing."""
    wanting = [f for f in report.failures if target.function.name in f.message or f.test in target.tests]
    return wanting[:3]


def excerpt(codebase: Codebase, failure: Failure, whole: bool = False) -> str:
    """Return the failing test's code, up to the line that failed and marked there; empty if not found.

    With `whole`, all of it and unmarked.
    """
    found = failing_function(codebase, failure)
    if found is None:
        return ""
    function, line = found
    lines = function.text.split("\n")
    if whole and len(lines) <= TEST_LINES:
        return function.code or function.text
    if function.start <= line <= function.end:
        at = line - function.start
        lines[at] += "  # <-- fails here"
        # A statement over several lines is shown to its end.
        end = at + 1
        while end < len(lines) and end < at + 6 and lines[end].strip() and _depth(lines[at:end]) > 0:
            end += 1
        lines = lines[:end]
    if len(lines) > TEST_LINES:
        lines = [lines[0], "    ...", *lines[-TEST_LINES:]]
    return textwrap.dedent("\n".join(lines))


def _depth(lines: list[str]) -> int:
    text = re.sub(r"""(["'])(?:\\.|(?!\1).)*\1""", "", "\n".join(lines))
    return sum(text.count(c) for c in "([{") - sum(text.count(c) for c in ")]}")


def _messages(parts: list[str]) -> tuple[Message, ...]:
    return (Message(role="system", text=SYSTEM), Message(role="user", text="\n\n".join(parts)))


def _test_part(codebase: Codebase, failures: list[Failure], language: str) -> str:
    first = failures[0]
    code = excerpt(codebase, first)
    shown = f"This test fails:\n{fence(language, code)}\n" if code else f"This fails: {first.test}\n"
    message = short_message(first)
    text = f"{shown}Error:\n{message}" if message else shown.rstrip()
    others = [short_message(f).split("\n")[0] for f in failures[1:]]
    extra = [o for o in others if o and o not in message]
    if extra:
        text += "\nOther tests fail with:\n" + "\n".join(extra)
    return text


def _context(codebase: Codebase, function: Function) -> list[str]:
    """What the function uses: constants and direct callees, its class's shape."""
    file = codebase.shape(function.path)
    pieces: list[str] = []
    holder = next((c for c in file.classes if c.name == function.owner), None)
    if holder is not None:
        init = file.find(f"{holder.name}.__init__")
        pieces.append(holder.header)
        if init is not None and init.key != function.key and init.lines <= 25:
            pieces.append(init.text)
    files = [file, *(codebase.shape(p) for p in codebase.imported(function.path)[:20])]
    for other in files:
        for callee in other.functions:
            if callee.key == function.key or callee.name not in function.uses or callee.name.startswith("__"):
                continue
            if other is not file and callee.owner:
                continue
            pieces.append(callee.text if callee.lines <= 25 else f"{callee.signature}\n    ...")
    kept: list[str] = []
    for piece in dict.fromkeys(textwrap.dedent(p) for p in pieces):
        if sum(k.count("\n") + 1 for k in kept) + piece.count("\n") + 1 <= CONTEXT_LINES:
            kept.append(piece)
    return [f"It uses:\n{fence(function.language, chr(10).join(kept))}"] if kept else []


def _head(function: Function) -> str:
    """Return a function's signature and docstring in a fence; empty where there is nothing to go by."""
    if function.language != "python" or function.kind != "function" or not function.docstring:
        return ""
    quoted = textwrap.indent(f'"""{function.docstring}"""', "    ")
    return fence("python", f"{textwrap.dedent(function.signature)}\n{quoted}\n    ...")


def _values(function: Function, failures: list[Failure], traced: Report) -> str:
    seen: list[str] = []
    for failure in failures:
        for call in traced.calls.get(failure.test, ()):
            if (
                call.path == function.path
                and function.start <= call.line <= function.end
                and call.name == function.name
            ):
                seen.extend(f"{function.name}{sample}" for sample in call.samples)
        for frame in failure.frames:
            if frame.path == function.path and function.start <= frame.line <= function.end and frame.values:
                inner = ", ".join(f"{k} = {v}" for k, v in frame.values.items())
                seen.append(f"at the error: {inner}")
    return "\n".join(list(dict.fromkeys(seen))[:5])


def _missing_parts(codebase: Codebase, function: Function) -> list[str]:
    file = codebase.shape(function.path)
    siblings = [f for f in file.functions if f.owner == function.owner and f.kind == "function"]
    shown: list[str] = []
    if function.owner:
        holder = next((c for c in file.classes if c.name == function.owner), None)
        shown.extend([holder.header] if holder else [])
    total = 0
    for sibling in siblings:
        total += sibling.lines
        shown.append(sibling.code if total <= 45 else sibling.signature + "\n    ...")
    names = [*file.imports, *shown] if not function.owner else shown
    parts: list[str] = []
    where = f"class `{function.owner}` in {function.path}" if function.owner else function.path
    if names:
        parts.append(f"{where} has this:\n{fence(function.language, chr(10).join(names))}")
    what = "method" if function.owner else ("class" if function.name[:1].isupper() else "function")
    parts.append(
        f"The {what} `{function.name}` does not exist yet. Write only the new {what} `{function.name}`."
    )
    return parts


def wish(codebase: Codebase, target: Target, task: str, view: View) -> tuple[Message, ...]:
    """Return the messages that ask for a change which no failing test describes."""
    function = target.function
    parts = [f"Task: {clip(task, 2 * TASK_LIMIT)}"]
    if function.kind == "missing":
        return _messages([*parts, *_missing_parts(codebase, function)])
    if view == "context":
        parts.extend(_context(codebase, function))
    parts.append(
        f"This is `{function.qualified}` in {function.path}:\n{fence(function.language, function.code)}"
    )
    parts.append(
        f"Change `{function.name}` so that the task is done. Write the complete changed `{function.name}`."
    )
    return _messages(parts)
