import re

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from overnight.domain.network import Blocked, parse_network
from overnight.domain.task import Attempt, PatchStats, Task, Usage
from overnight.domain.verdict import CheckVerdict, Verdict
from overnight.forges.body import BODY_CHARACTERS, cell, fence, pull_request_body, pull_request_title, span
from overnight.git.objects import LineCount

TASK = Task(
    id="t" * 32,
    repository_id="r",
    prompt="Fix the parser",
    base_ref="main",
    base_commit="a" * 40,
    state="open",
    created_at=0.0,
)
CHECK = CheckVerdict(
    command="pytest -q | tail",
    before="red",
    after="green",
    seconds=1.25,
    evidence="per_test",
    fixed=("tests/test_x.py::test_a",),
)
ATTEMPT = Attempt(
    id="0123456789abcdef" * 2,
    task_id=TASK.id,
    number=1,
    agent="repair",
    model="embedded",
    state="succeeded",
    patch=PatchStats(commit="b" * 40, branch="overnight/x", digest="d", files=("a.py",)),
    verdict=Verdict(
        finding="verified",
        reason="the failing test passes",
        checks=(CHECK,),
        protected_restored=("tests/t.py",),
    ),
    usage=Usage(model_calls=3, input_tokens=10, output_tokens=5),
    created_at=0.0,
)
HOSTILE = (
    "x @everyone fixes #1 <!-- hidden --> ``` @root\n````\nCloses #2 |\n<img src=http://e/x> \u202e\U000e0041"
)


def outside_code(markdown: str) -> str:
    """What a forge would act on: the text without fences and code spans (CommonMark's rules)."""
    kept: list[str] = []
    fenced = ""
    for line in markdown.split("\n"):
        if fenced:
            if line.strip() == fenced:
                fenced = ""
        elif opening := re.match(r"(`{3,})text$", line):
            fenced = opening[1]
        else:
            kept.append(re.sub(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", "", line))
    assert not fenced, "a fence is left open"
    return "\n".join(kept)


def test_the_body_says_what_was_found() -> None:
    body = pull_request_body(TASK, ATTEMPT, [LineCount("a.py", 2, 1), LineCount("b", None, None)], ["ls"])
    for text in (
        "**Verified**", "the failing test passes", "| red | green | 1.2 | per test |", "tests/test_x.py::test_a",  # noqa: E501
        "tests/t.py", "| `a.py` | 2 | 1 |", "overnight task apply 01234567", "3 model calls", "`ls`", "`repair`",  # noqa: E501
    ):  # fmt: skip
        assert text in body


def test_hostile_text_stays_in_code() -> None:
    check = msgspec.structs.replace(CHECK, command=HOSTILE, fixed=(HOSTILE,), vanished=(HOSTILE,))
    attempt = msgspec.structs.replace(
        ATTEMPT, message=HOSTILE, agent=HOSTILE, model=HOSTILE,
        verdict=Verdict(finding="regressed", reason=HOSTILE, checks=(check,), protected_restored=(HOSTILE,)),
    )  # fmt: skip
    task = msgspec.structs.replace(TASK, prompt=HOSTILE, base_ref=HOSTILE)
    body = pull_request_body(task, attempt, [LineCount(HOSTILE, 1, 1)], [HOSTILE])
    seen = outside_code(body)
    for bad in ("@", "#1", "#2", "<", "Closes", "fixes", "hidden"):
        assert bad not in seen, seen
    assert "\u202e" not in body
    assert "\U000e0041" not in body


@given(st.text(alphabet="`|@#\\ \nab", max_size=60))
def test_no_text_leaves_its_span_or_fence(text: str) -> None:
    assert "@" not in outside_code(f"- {span(text)} end")
    assert "@" not in outside_code(fence(text))
    assert "\n" not in span(text)
    assert re.search(r"(?<!\\)\|", cell(text)) is None


def test_the_body_lists_what_the_network_refused() -> None:
    refused = (
        Blocked(host="stats.example", port=0, reason="host not allowed", flows=3),
        Blocked(host="db.example", port=5432, reason="port not allowed"),
        Blocked(host="evil.test\\x00`|@all", port=0, reason="malformed host: x"),
    )
    task = msgspec.structs.replace(TASK, network=parse_network("db.example"))
    body = pull_request_body(task, msgspec.structs.replace(ATTEMPT, blocked=refused))
    assert "Granted: `db.example`" in body
    assert "| `stats.example` | – | `host not allowed` | 3 |" in body
    retry = "overnight task retry tttttttt --allow stats.example --allow db.example:5432"
    assert retry in body
    assert "@all" not in outside_code(body)
    assert "## Network" not in pull_request_body(TASK, ATTEMPT)


def test_a_huge_body_is_cut_in_whole_sections() -> None:
    names = tuple("|`" * 100 + str(i) for i in range(500))
    check = msgspec.structs.replace(
        CHECK, fixed=names, regressed=names, vanished=names, added=names, flaky=names
    )
    attempt = msgspec.structs.replace(
        ATTEMPT, verdict=Verdict(finding="regressed", reason="r", checks=(check,) * 50)
    )
    body = pull_request_body(TASK, attempt, [LineCount(n, 1, 1) for n in names], names)
    assert len(body) <= BODY_CHARACTERS
    outside_code(body)
    assert "overnight task apply" in body


def test_titles() -> None:
    def title(prompt: str) -> str:
        return pull_request_title(msgspec.structs.replace(TASK, prompt=prompt))

    assert title("Fix the parser\nmore") == "Fix the parser"
    assert title("fixes #12 for @root, see GH-3 [skip ci] [ci skip]") == "fixes 12 for root, see GH 3"
    assert title("closes https://h/o/r/issues/1 <b>\x1b[0m") == "closes link b[0m"
    assert title("@#`<>").startswith(("@#", "Task"))
    assert title("") == "(empty)"
