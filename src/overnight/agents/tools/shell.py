"""`shell`: one command in the sandbox, which may go on in the background; patches are taken as patches."""

import re
from collections.abc import Mapping
from typing import Any

from overnight.agents.tools.apply_patch import apply_patch
from overnight.agents.tools.background import Ongoing
from overnight.agents.tools.interface import Toolbox, ToolResult
from overnight.agents.tools.patch_format import from_shell
from overnight.domain.conversation import ToolSpec
from overnight.sandbox.interface import Command, CommandResult

MAX_SECONDS = 600.0
DEFAULT_SECONDS = 120.0
_PATCH_COMMAND = re.compile(r"(?:^|[;&|\n])\s*apply_?patch\s*<<")


class Shell:
    """Runs `bash -c` in the workspace; the sandbox says what survives the call."""

    read_only = False
    spec = ToolSpec(
        name="shell",
        description=(
            "Run a bash command in the repository's root and return its output and exit code. Each call is "
            "a fresh shell. For servers, watchers and long builds set `yield_seconds`: the command then goes "
            "on in the background under a name, which `process` polls, writes to and stops."
        ),
        parameters={
            "type": "object",
            "properties": {
                "command": {"type": "string", "description": "The bash command."},
                "timeout_seconds": {
                    "type": "number",
                    "description": "The command is killed after this time. Default 120, at most 600; "
                    "with yield_seconds without a bound unless given.",
                },
                "yield_seconds": {
                    "type": "number",
                    "description": "Return after this time with the output so far and let the command go on.",
                },
            },
            "required": ["command"],
            "additionalProperties": False,
        },
    )

    def summary(self, arguments: Mapping[str, Any]) -> str:
        """Return the command's first line."""
        return str(arguments.get("command", "")).strip().split("\n")[0][:120]

    async def run(self, arguments: Mapping[str, Any], toolbox: Toolbox) -> ToolResult:
        """Run the command and return what it printed."""
        script = arguments.get("command")
        if not isinstance(script, str) or not script.strip() or "\0" in script:
            return ToolResult("`command` must be a non-empty string", ok=False)
        patch = from_shell(script)
        if patch is not None:
            return apply_patch(patch.patch, toolbox, patch.directory)
        if _PATCH_COMMAND.search(script):
            return ToolResult(
                "apply_patch must be the whole command (a `cd DIR &&` before it is fine): "
                "nothing was run. Send the patch and the other commands one by one.",
                ok=False,
            )
        wanted = seconds_of(arguments.get("timeout_seconds"))
        patience = seconds_of(arguments.get("yield_seconds"), least=0.0)
        if patience is None:
            command = Command(script=script, seconds=min(wanted or DEFAULT_SECONDS, MAX_SECONDS))
            return _told(await toolbox.run(command), script, toolbox)
        return await _started(script, wanted, patience, toolbox)


async def _started(script: str, seconds: float | None, patience: float, toolbox: Toolbox) -> ToolResult:
    if toolbox.background.full:
        most = toolbox.limits.background_commands
        return ToolResult(f"{most} commands are running already: stop one with `process` first.", ok=False)
    one = await toolbox.background.start(
        toolbox.bounded(Command(script=script, seconds=seconds), background=True)
    )
    await one.wait(min(patience, MAX_SECONDS, toolbox.seconds_left()))
    if one.result is None:
        name = toolbox.background.name(one)
        return standing(one, toolbox, f"[goes on in the background as {name}]")
    return ended(one, one.result, toolbox)


def standing(one: Ongoing, toolbox: Toolbox, note: str) -> ToolResult:
    """Return the new output of a command that runs on."""
    output = toolbox.shown(one.take(), one.command.text).rstrip()
    return ToolResult(f"{output}\n{note}".lstrip("\n"), summary=note.strip("[]"))


def ended(one: Ongoing, result: CommandResult, toolbox: Toolbox) -> ToolResult:
    """Return the last output of a command and its exit code, and forget it."""
    toolbox.background.forget(one)
    return _result(one.take(), result, one.command.text, toolbox)


def _told(result: CommandResult, script: str, toolbox: Toolbox) -> ToolResult:
    output = result.stdout.decode("utf-8", "replace")
    errors = result.stderr.decode("utf-8", "replace")
    text = output + (f"\n[stderr]\n{errors}" if errors.strip() else "")
    return _result(text, result, script, toolbox)


def _result(text: str, result: CommandResult, script: str, toolbox: Toolbox) -> ToolResult:
    note = f" (stopped: {result.limit})" if result.limit else ""
    if result.limit == "command_seconds":
        note = " (stopped: command_seconds; with yield_seconds it could go on in the background)"
    return ToolResult(
        f"{toolbox.shown(text, script).rstrip()}\n[exit code {result.exit_code}{note}]".lstrip("\n"),
        ok=result.exit_code == 0,
        summary=f"exit {result.exit_code}{f' (stopped: {result.limit})' if result.limit else ''}",
    )


def seconds_of(value: object, least: float = 0.001) -> float | None:
    """Return a time that the model gave, None if it gave none that makes sense."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= least:
        return None
    return float(min(value, 1e6))
