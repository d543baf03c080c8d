"""What a task is about, and which files come first for it."""

from overnight.agents.codemap.cache import Names
from overnight.agents.codemap.focus import Focus, read_focus, subwords
from overnight.agents.codemap.graph import Graph
from overnight.agents.codemap.render import draw, estimate_tokens
from overnight.agents.codemap.tags import Definition, Tags


def tags(defined: str, referred: str = "") -> Tags:
    definitions = [
        Definition(name, "function", number, number, -1, f"def {name}()")
        for number, name in enumerate(defined.split(), start=1)
    ]
    names = tuple(referred.split())
    return Tags(definitions=tuple(definitions), references=names, counts=bytes([1] * len(names)))


FILES = {
    "app/billing.py": tags("charge refund_order", "load_settings connect"),
    "app/mail.py": tags("send_letter render_letter", "load_settings connect"),
    "app/settings.py": tags("load_settings"),
    "app/storage.py": tags("connect disconnect", "load_settings"),
    "app/unused.py": tags("lonely"),
    "tests/test_mail.py": tags("test_letter", "send_letter load_settings"),
}
NAMES = {path: Names.of(one) for path, one in FILES.items()}


def order(focus: Focus) -> list[str]:
    return [one.path for one in Graph(NAMES).rank(focus)]


def test_without_a_task_what_most_refer_to_comes_first() -> None:
    assert order(Focus())[:2] == ["app/settings.py", "app/storage.py"]


def test_a_task_moves_its_files_to_the_front() -> None:
    assert order(read_focus("refund_order() charges twice"))[0] == "app/billing.py"
    assert order(read_focus("the letter is rendered with a wrong date"))[0] == "app/mail.py"
    trace = '  File "/home/someone/checkout/app/unused.py", line 1, in lonely'
    assert order(read_focus(trace))[0] == "app/unused.py"
    assert order(read_focus("", touched=["app/storage.py"]))[0] == "app/storage.py"


def test_the_order_does_not_depend_on_how_files_are_listed() -> None:
    focus = read_focus("the letter is rendered with a wrong date")
    backwards = dict(reversed(NAMES.items()))
    assert Graph(backwards).rank(focus) == Graph(NAMES).rank(focus)


def test_ranks_of_files_add_up_to_one_at_most() -> None:
    ranked = Graph(NAMES).rank(Focus())
    assert 0.5 < sum(one.score for one in ranked) <= 1.0 + 1e-6
    assert Graph({}).rank(Focus()) == []


def test_focus_tells_code_from_words() -> None:
    focus = read_focus("Please fix `parse` and HTTPServer.do_GET in src/server.py; the cache is stale")
    assert {"parse", "HTTPServer", "do_GET"} <= focus.coded
    assert "cache" not in focus.coded
    assert focus.paths == ("src/server.py",)
    assert {"cache", "stale", "server"} <= set(focus.words)
    assert not {"the", "fix", "please"} & (set(focus.words) - {"please"})


def test_names_are_taken_apart() -> None:
    assert subwords("parseHTTPBody") == ["parse", "http", "body"]
    assert subwords("render_letters/class.py") == ["render", "letter", "class"]


def test_a_map_keeps_to_its_budget_and_shows_scopes() -> None:
    definitions = {
        "a.py": [
            Definition("Outer", "class", 1, 9, -1, "class Outer"),
            Definition("inner", "function", 2, 4, 0, "def inner(self)"),
        ],
        "b.py": [Definition(f"f{n}", "function", n, n, -1, f"def f{n}()") for n in range(1, 200)],
    }
    names = {path: Names.of(Tags(definitions=tuple(found))) for path, found in definitions.items()}
    ranked = Graph(names).rank(read_focus("`inner` is wrong"))
    for tokens in (5, 20, 60, 400):
        drawn = draw(ranked, lambda _: definitions, tokens)
        assert drawn.tokens <= tokens
        assert drawn.tokens == estimate_tokens(drawn.text)
    assert draw(ranked, lambda _: definitions, 20).text == (
        "a.py:\n    1  class Outer\n    2    def inner(self)\n"
    )
    assert draw(ranked, lambda _: definitions, 5).text == ""
