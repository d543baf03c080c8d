"""The scripted model: order, matching, repetition, files, and clear ends."""

from pathlib import Path

import pytest

from overnight.domain.conversation import Completion, Message, Request, ToolCall
from overnight.domain.errors import ModelError, UsageError
from overnight.models.scripted import Answer, ScriptedModel, load_script

pytestmark = pytest.mark.anyio


def ask(text: str) -> Request:
    return Request(messages=(Message(role="user", text=text),))


async def test_answers_come_in_order_and_run_out_clearly() -> None:
    model = ScriptedModel(["one", Completion(text="two")])
    deltas: list[str] = []
    assert (await model.complete(ask("a"), deltas.append)).text == "one"
    assert (await model.complete(ask("b"))).text == "two"
    assert deltas == ["one"]
    with pytest.raises(ModelError, match="request 3") as caught:
        await model.complete(ask("the third"))
    assert "the third" in caught.value.hint
    assert [request.messages[0].text for request in model.requests] == ["a", "b", "the third"]


async def test_the_last_may_be_repeated() -> None:
    model = ScriptedModel(["one", "two"], repeat_last=True)
    assert [(await model.complete(ask("x"))).text for _ in range(4)] == ["one", "two", "two", "two"]


async def test_answers_are_matched_on_the_request() -> None:
    model = ScriptedModel(
        [
            Answer(completion=Completion(text="tests"), match="FAILED"),
            Answer(completion=Completion(text="number"), match_regex=r"line \d+", repeat=True),
        ]
    )
    assert (await model.complete(ask("see line 12"))).text == "number"
    assert (await model.complete(ask("FAILED at line 3"))).text == "tests"
    assert (await model.complete(ask("FAILED at line 3"))).text == "number"
    with pytest.raises(ModelError, match="none fits"):
        await model.complete(ask("something else"))


async def test_a_function_may_answer() -> None:
    model = ScriptedModel(lambda request: request.messages[-1].text.upper())
    completion = await model.complete(ask("abcdefgh"))
    assert completion.text == "ABCDEFGH"
    assert completion.usage.model_calls == 1
    assert completion.usage.input_tokens == 3
    assert completion.usage.cost_usd == 0.0


async def test_tool_calls_end_the_completion() -> None:
    call = ToolCall(id="c", name="shell", arguments="{}")
    completion = await ScriptedModel([Completion(tool_calls=(call,))]).complete(ask("x"))
    assert completion.finish == "tool_calls"


async def test_a_toml_file(tmp_path: Path) -> None:
    path = tmp_path / "script.toml"
    path.write_text(
        'agent = "repair"\nrepeat_last = true\n'
        '[[answers]]\nmatch = "fix"\ntool_calls = [{ name = "shell", arguments = { command = "ls" } }]\n'
        '[[answers]]\ntext = "Done."\n'
    )
    model = load_script(path)
    assert model.profile.agent == "repair"
    first = await model.complete(ask("fix it"))
    assert first.tool_calls[0].arguments == '{"command": "ls"}'
    assert [(await model.complete(ask("go"))).text for _ in range(2)] == ["Done.", "Done."]


async def test_a_json_file_of_texts(tmp_path: Path) -> None:
    path = tmp_path / "script.json"
    path.write_text('{"answers": ["one"]}')
    assert (await load_script(path).complete(ask("x"))).text == "one"


@pytest.mark.parametrize(
    "text", ["answers = 3", "nothing = 1", "answers = [{ txt = 'a' }]", "[[", "agent = 'x'\nanswers = []"]
)
def test_what_is_no_script_is_said_so(tmp_path: Path, text: str) -> None:
    path = tmp_path / "script.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match="no script"):
        load_script(path)


def test_a_missing_file_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        load_script(tmp_path / "none.toml")
