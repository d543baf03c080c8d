"""`shell`: one command in the sandbox; a patch given as a shell command is taken as a patch."""

from collections.abc import Mapping
from typing import Any

from overnight.agents.tools.apply_patch import apply_patch
from overnight.agents.tools.interface import Toolbox, ToolResult, cut_middle
from overnight.agents.tools.patch_format import from_shell
from overnight.domain.conversation import ToolSpec
from overnight.sandbox.interface import Command

MAX_SECONDS = 600.0


class Shell:
    """Runs `bash -c` in the workspace. There is no network; the sandbox says what survives the call."""

    spec = ToolSpec(
        name="shell",
        description=(
            "Run a bash command in the repository's root and return its output and exit code. "
            "There is no network. Each call is a fresh shell; what it leaves in the background may live on."
        ),
        parameters={
            "type": "object",
            "properties": {
                "command": {"type": "string", "description": "The bash command."},
                "timeout_seconds": {"type": "number", "description": "Default 120, at most 600."},
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
        if not isinstance(script, str) or not script.strip():
            return ToolResult("`command` must be a non-empty string", ok=False)
        patch = from_shell(script)
        if patch is not None:
            return apply_patch(patch.patch, toolbox, patch.directory)
        wanted = arguments.get("timeout_seconds", 120)
        # The smaller one first: a model may write a number that no float holds.
        seconds = float(min(wanted, MAX_SECONDS)) if isinstance(wanted, int | float) and wanted > 0 else 120.0
        result = await toolbox.run(Command(script=script, seconds=seconds))
        output = result.stdout.decode("utf-8", "replace")
        errors = result.stderr.decode("utf-8", "replace")
        text = output + (f"\n[stderr]\n{errors}" if errors.strip() else "")
        note = f" (stopped: {result.limit})" if result.limit else ""
        return ToolResult(
            f"{cut_middle(text).rstrip()}\n[exit code {result.exit_code}{note}]".lstrip("\n"),
            ok=result.exit_code == 0,
            summary=f"exit {result.exit_code}{note}",
        )
