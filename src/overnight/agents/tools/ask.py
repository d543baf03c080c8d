"""`ask`: a question to a person; the attempt waits for the answer, whoever works on it then."""

from collections.abc import Mapping
from typing import Any, cast

from overnight.agents.tools.interface import Toolbox, ToolResult
from overnight.domain.conversation import ToolSpec

MAX_CHARACTERS = 4_000
MAX_CHOICES = 10


class Ask:
    """Has no result of its own: the answer becomes it."""

    read_only = False
    spec = ToolSpec(
        name="ask",
        description=(
            "Ask the person who gave the task and wait for the answer, which may take hours; commands in the "
            "background end meanwhile. Only where the task cannot be done without it and neither the "
            "repository nor a sensible assumption can tell."
        ),
        parameters={
            "type": "object",
            "properties": {
                "question": {"type": "string"},
                "choices": {
                    "type": "array",
                    "items": {"type": "string"},
                    "description": "Answers to choose from; another one can always be given.",
                },
            },
            "required": ["question"],
            "additionalProperties": False,
        },
    )

    def summary(self, arguments: Mapping[str, Any]) -> str:
        """Return the question."""
        return " ".join(str(arguments.get("question", "")).split())[:200]

    async def run(self, arguments: Mapping[str, Any], toolbox: Toolbox) -> ToolResult:
        """Return the question, for the loop to hand back with."""
        question, choices = arguments.get("question"), arguments.get("choices", [])
        if not isinstance(question, str) or not question.strip():
            return ToolResult("`question` must be a non-empty string", ok=False)
        offered = cast("list[object]", choices) if isinstance(choices, list) else []
        texts = tuple(_plain(choice, 200) for choice in offered if isinstance(choice, str) and choice.strip())
        return ToolResult(
            "", question=_plain(question, MAX_CHARACTERS, lines=True), choices=texts[:MAX_CHOICES]
        )


def _plain(text: str, most: int, *, lines: bool = False) -> str:
    text = text.strip() if lines else " ".join(text.split())
    return text.encode("utf-8", "replace").decode()[:most]
