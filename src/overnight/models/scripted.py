"""A scripted model: answers from a list, a file or a function. Drives agents without any model.

File format (TOML or JSON): a list `answers` of tables with `text` (string), optional `match` (text that
must occur in the request) or `match_regex`, optional `tool_calls` (list of {name, arguments}), and an
optional `repeat` (true: may be used again). At the top, `repeat_last = true` repeats the last answer and
`agent = "repair"` says which agent suits the script.
"""

import asyncio
import json
import re
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from overnight.domain.conversation import Completion, Request, ToolCall
from overnight.domain.errors import ModelError, UsageError
from overnight.domain.task import Usage
from overnight.models.interface import ModelProfile, OnDelta, OnLimit, OnWaiting

PROFILE = ModelProfile(
    name="scripted",
    context_tokens=128_000,
    agent="loop",
    parallel=4,
    images=True,
    input_price=0.0,
    output_price=0.0,
)
CHARACTERS_PER_TOKEN = 4


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """One answer of a script. Without `match` and `match_regex` it fits every request."""

    completion: Completion
    match: str = ""
    match_regex: str = ""
    repeat: bool = False

    def fits(self, request: str) -> bool:
        """Tell whether this answer is meant for the text of a request."""
        if self.match and self.match not in request:
            return False
        return not self.match_regex or re.search(self.match_regex, request) is not None


Script = Sequence[Completion | Answer | str] | Callable[[Request], Completion | str]


class ScriptedModel:
    """Answers from a script: the first unused answer that fits the request, in order.

    An answer is used once unless it says `repeat`. With `repeat_last`, the last answer that fits is given
    again when the script has run out.
    """

    def __init__(
        self,
        script: Script,
        *,
        name: str = "scripted",
        repeat_last: bool = False,
        profile: ModelProfile = PROFILE,
    ) -> None:
        self.name = name
        self.profile = profile
        self.requests: list[Request] = []
        """Every request so far, for tests to look at."""
        self._function = script if callable(script) else None
        self._answers = [] if callable(script) else [_answer(item) for item in script]
        self._used: set[int] = set()
        self._repeat_last = repeat_last

    async def complete(
        self,
        request: Request,
        on_delta: OnDelta | None = None,
        on_waiting: OnWaiting | None = None,
        on_reasoning: OnDelta | None = None,
        on_limit: OnLimit | None = None,
    ) -> Completion:
        """Return the next answer of the script.

        Raises:
            ModelError: no answer is left that fits.
        """
        del on_waiting, on_limit
        self.requests.append(request)
        await asyncio.sleep(0)
        if self._function is not None:
            found = self._function(request)
            completion = Completion(text=found) if isinstance(found, str) else found
        else:
            completion = self._next(request)
        if on_reasoning is not None and completion.reasoning:
            on_reasoning(completion.reasoning)
        if on_delta is not None:
            for piece in re.findall(r".+\n?|\n", completion.text):
                on_delta(piece)
        return msgspec.structs.replace(
            completion,
            usage=completion.usage if completion.usage.model_calls else _usage(request, completion),
            finish="tool_calls" if completion.tool_calls else completion.finish,
            model=self.name,
        )

    async def close(self) -> None:
        """Nothing to give back."""

    def _next(self, request: Request) -> Completion:
        text = request_text(request)
        fitting = [index for index, answer in enumerate(self._answers) if answer.fits(text)]
        for index in fitting:
            if index not in self._used or self._answers[index].repeat:
                self._used.add(index)
                return self._answers[index].completion
        if fitting and self._repeat_last:
            return self._answers[fitting[-1]].completion
        why = "all that fit are used" if fitting else "none fits"
        raise ModelError(
            f"The script of {self.name} has no answer for request {len(self.requests)}: {why}.",
            f"The request ends with: {text[-200:]!r}",
        )


def load_script(path: Path, name: str = "") -> ScriptedModel:
    """Read a script from a TOML or JSON file.

    Raises:
        UsageError: the file cannot be read or is no script.
    """
    try:
        text = path.read_text()
        data: Any = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
        answers = [_read_answer(item) for item in data["answers"]]
        repeat_last = bool(data.get("repeat_last", False))
        agent = msgspec.convert(data, _Head).agent
    except OSError as error:
        raise UsageError(
            f"The script {path} cannot be read: {error.strerror}.", "Check the path after `scripted:`."
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError, re.error) as error:
        raise UsageError(
            f"{path} is no script of answers: {error}.",
            'Example: answers = [{ text = "Done." }]',
        ) from error
    profile = msgspec.structs.replace(PROFILE, agent=agent, tool_calls=agent == "loop")
    return ScriptedModel(answers, name=name or f"scripted:{path}", repeat_last=repeat_last, profile=profile)


class _Head(msgspec.Struct):
    agent: Literal["loop", "repair"] = "loop"


class _ReadCall(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    arguments: Any = None


class _ReadAnswer(msgspec.Struct, forbid_unknown_fields=True):
    text: str = ""
    match: str = ""
    match_regex: str = ""
    tool_calls: list[_ReadCall] = msgspec.field(default_factory=list[_ReadCall])
    repeat: bool = False
    finish: Literal["stop", "length"] = "stop"


def _read_answer(item: Any) -> Answer:
    read = msgspec.convert({"text": item} if isinstance(item, str) else item, _ReadAnswer)
    re.compile(read.match_regex)
    calls = tuple(
        ToolCall(
            id=f"call_{number}",
            name=call.name,
            arguments=call.arguments if isinstance(call.arguments, str) else json.dumps(call.arguments or {}),
        )
        for number, call in enumerate(read.tool_calls, 1)
    )
    completion = Completion(text=read.text, tool_calls=calls, finish=read.finish)
    return Answer(completion=completion, match=read.match, match_regex=read.match_regex, repeat=read.repeat)


def _answer(item: Completion | Answer | str) -> Answer:
    if isinstance(item, Answer):
        return item
    return Answer(completion=Completion(text=item) if isinstance(item, str) else item)


def request_text(request: Request) -> str:
    """Return all text of a request, in order."""
    return "\n".join(message.text for message in request.messages)


def _usage(request: Request, completion: Completion) -> Usage:
    calls = sum(len(call.arguments) + len(call.name) for call in completion.tool_calls)
    return Usage(
        model_calls=1,
        input_tokens=len(request_text(request)) // CHARACTERS_PER_TOKEN + 1,
        output_tokens=(len(completion.text) + calls) // CHARACTERS_PER_TOKEN + 1,
    )
