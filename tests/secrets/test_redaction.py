"""Every spelling is found, in one piece or in many; ordinary text is left alone."""

import base64
import html
import json
import random
import re
import time
from collections.abc import Iterable
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.domain.conversation import Message, ToolCall
from overnight.domain.events import (
    CommandEnded,
    CommandOutput,
    Event,
    MessageAdded,
    MessageDelta,
    Noted,
    StepEnded,
)
from overnight.secrets.redaction import MAX_HELD, Redactor

VALUE = "tok_Zq8!x/\"y'&<>é+9Kd"
NAMED = "[secret:TOKEN]"


def spelled(value: str = VALUE) -> dict[str, str]:
    """Return the value in every form that must be found, by name, written here anew."""
    raw = value.encode()
    return {
        "raw": value,
        "reversed": value[::-1],
        "base64": base64.b64encode(raw).decode().rstrip("="),
        "base64 one later": base64.b64encode(b"x" + raw + b"y").decode(),
        "base64 two later": base64.b64encode(b"xx" + raw + b"yy").decode(),
        "base64 for addresses": base64.urlsafe_b64encode(b"xx" + raw).decode(),
        "base64 in lines": base64.encodebytes(b"some text before it " + raw + b" and after it" * 9).decode(),
        "hex": raw.hex(),
        "HEX": raw.hex().upper(),
        "hex in groups": raw.hex(" ", 2),
        "hex with colons": raw.hex(":"),
        "escaped bytes": "".join(f"\\x{byte:02x}" for byte in raw),
        "address": quote(value, safe=""),
        "address in small letters": re.sub("%..", lambda m: m[0].lower(), quote(value, safe="")),
        "JSON": json.dumps(value),
        "JSON with letters": json.dumps(value, ensure_ascii=False),
        "JSON in JSON": json.dumps(json.dumps({"a": value})),
        "HTML": html.escape(value),
        "in lines": "\n".join(value[at : at + 3] for at in range(0, len(value), 3)),
        "a letter a line": "\r\n".join(value),
        "spread": " ".join(value),
        "in lines, as JSON": json.dumps("\n".join(value[at : at + 5] for at in range(0, len(value), 5))),
    }


REDACTOR = Redactor([("TOKEN", VALUE), ("OTHER", "second-value-of-another")])
FORMS = spelled()


@pytest.mark.parametrize("form", FORMS)
def test_every_spelling_is_taken_out(form: str) -> None:
    text = f"before {FORMS[form]} after"
    cleaned = REDACTOR.clean(text)
    assert NAMED in cleaned
    assert Redactor([("TOKEN", VALUE)]).clean(cleaned) == cleaned
    assert cleaned.startswith("before ")
    assert cleaned.endswith(" after")
    assert REDACTOR.found_in(text.encode()) == "TOKEN"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [1, 2, 7])
def test_a_value_in_pieces_is_taken_out(form: str, size: int) -> None:
    redactor = Redactor([("TOKEN", VALUE), ("OTHER", "second-value-of-another")])
    whole = f"one\n{FORMS[form]}\ntwo {FORMS[form]}"
    pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
    kept = through(redactor, pieces)
    assert kept == REDACTOR.clean(whole)
    assert NAMED in kept


def through(redactor: Redactor, pieces: Iterable[str]) -> str:
    """Return what is kept of an output that comes in pieces."""
    events: list[Event] = [
        *(CommandOutput(command_id="c", stream="stdout", text=piece) for piece in pieces),
        CommandEnded(command_id="c", exit_code=0, seconds=0.0),
    ]
    kept = [one for event in events for one in redactor.event(event)]
    assert isinstance(kept[-1], CommandEnded)
    return "".join(one.text for one in kept if isinstance(one, CommandOutput))


@given(st.lists(st.text(alphabet="tok_Zq8!x \n\\n9", max_size=12), max_size=12), st.integers(0, 11))
def test_pieces_say_what_the_whole_says(pieces: list[str], place: int) -> None:
    pieces.insert(min(place, len(pieces)), VALUE)
    redactor = Redactor([("TOKEN", VALUE)])
    kept = through(redactor, pieces)
    assert VALUE not in kept
    assert kept == Redactor([("TOKEN", VALUE)]).clean("".join(pieces))


@given(st.text(max_size=200))
def test_other_text_stays_as_it_is(text: str) -> None:
    assert REDACTOR.clean(text) == text
    assert through(Redactor([("TOKEN", VALUE)]), list(text)) == text


def test_what_is_held_back_comes_at_the_end() -> None:
    redactor = Redactor([("TOKEN", VALUE)])
    assert redactor.event(CommandOutput(command_id="c", stream="stdout", text="x " + VALUE[:5])) == (
        CommandOutput(command_id="c", stream="stdout", text="x "),
    )
    assert redactor.event(Noted(text="meanwhile")) == (Noted(text="meanwhile"),)
    assert redactor.rest() == (CommandOutput(command_id="c", stream="stdout", text=VALUE[:5]),)
    assert redactor.rest() == ()


def test_streams_and_commands_do_not_mix() -> None:
    redactor = Redactor([("TOKEN", VALUE)])
    redactor.event(CommandOutput(command_id="a", stream="stdout", text=VALUE[:9]))
    redactor.event(CommandOutput(command_id="a", stream="stderr", text=VALUE[:9]))
    redactor.event(CommandOutput(command_id="b", stream="stdout", text=VALUE[:9]))
    kept = redactor.event(CommandOutput(command_id="a", stream="stderr", text=VALUE[9:] + "."))
    assert kept == (CommandOutput(command_id="a", stream="stderr", text=f"{NAMED}."),)


def test_a_models_answer_is_searched_as_it_comes() -> None:
    redactor = Redactor([("TOKEN", VALUE)])
    kept = [*redactor.event(MessageDelta(step=1, text=VALUE[:8]))]
    kept += redactor.event(MessageDelta(step=1, text=VALUE[8:12]))
    message = Message(
        role="assistant",
        text=f"It is {VALUE}",
        tool_calls=(ToolCall(id="1", name="shell", arguments=json.dumps({"command": f"echo {VALUE}"})),),
    )
    kept += redactor.event(MessageAdded(step=1, message=message))
    assert [type(one) for one in kept] == [MessageDelta, MessageAdded]
    assert VALUE[:12] in str(kept[0]), "half a value that went no further"
    last = kept[-1]
    assert isinstance(last, MessageAdded)
    assert last.message.text == f"It is {NAMED}"
    assert json.loads(last.message.tool_calls[0].arguments) == {"command": f"echo {NAMED}"}


def test_an_agents_state_stays_json() -> None:
    state = json.dumps({"text": VALUE, "lines": "\n".join(VALUE), "rest": 1})
    (kept,) = Redactor([("TOKEN", VALUE)]).event(StepEnded(step=1, state=state))
    assert isinstance(kept, StepEnded)
    assert json.loads(kept.state) == {"text": NAMED, "lines": NAMED, "rest": 1}


def test_words_of_a_fixed_choice_stay() -> None:
    redactor = Redactor([("TOKEN", "stdout")])
    kept = redactor.event(CommandOutput(command_id="c", stream="stdout", text="x stdout!\n"))
    assert kept == (CommandOutput(command_id="c", stream="stdout", text="x [secret:TOKEN]!\n"),)


def test_lines_of_a_key_count_by_themselves() -> None:
    lines = [base64.b64encode(random.Random(n).randbytes(48)).decode() for n in range(20)]
    key = "\n".join(["-----BEGIN PRIVATE KEY-----", *lines, "-----END PRIVATE KEY-----"])
    redactor = Redactor([("KEY", key)])
    assert redactor.clean(f"x {lines[7]} y") == "x [secret:KEY] y"
    assert redactor.clean("-----BEGIN PRIVATE KEY-----") == "-----BEGIN PRIVATE KEY-----"


def test_a_flood_costs_what_its_size_says() -> None:
    redactor = Redactor([(f"N{n}", f"{random.Random(n).getrandbits(160):040x}") for n in range(10)])
    text = "".join(random.Random(1).choices("0123456789abcdef \n", k=64 * 1024))

    def cost(pieces: list[str]) -> float:
        started = time.process_time()
        through(redactor, pieces)
        return time.process_time() - started

    once = min(cost([text]) for _ in range(3))
    many = min(cost([text] * 16) for _ in range(3))
    # CPU time of this process; sixteen times as much may cost at most four times its share.
    assert many < 64 * once + 0.5


def test_endless_spaces_hide_nothing_and_are_not_held_for_ever() -> None:
    redactor = Redactor([("TOKEN", VALUE)])
    spaces = " " * 300_000
    shown = ""
    for letter in VALUE:
        for event in redactor.event(CommandOutput(command_id="c", stream="stdout", text=letter + spaces)):
            assert isinstance(event, CommandOutput)
            shown += event.text
        assert sum(map(len, redactor._held.values())) <= MAX_HELD  # pyright: ignore[reportPrivateUsage]
    for event in redactor.event(CommandEnded(command_id="c", exit_code=0, seconds=0.0)):
        shown += event.text if isinstance(event, CommandOutput) else ""
    assert shown.strip() == NAMED
    other = "".join(f"x{spaces}" for _ in range(3))
    assert through(Redactor([("TOKEN", VALUE)]), [other]) == other, "what is no part of a value stays"
