"""Starts a program of the table in a sandbox: its settings written into the home, its prompt in a file."""

import shlex

from overnight.agents.programs.table import INSTALLED, Launch, Program
from overnight.domain.errors import OvernightError
from overnight.sandbox.interface import Command, CommandResult, OnOutput, Running, Sandbox

_PROMPT = ".overnight-prompt"
_TAIL = 800


async def start(
    sandbox: Sandbox, program: Program, launch: Launch, prompt: str | None, on_output: OnOutput
) -> Running:
    """Start a program and return at once; without a prompt its input stays open.

    Raises:
        OvernightError: its settings cannot be written.
    """
    # From inside: the host follows no path in a home that a program can write.
    files = {**launch.files, _PROMPT: "" if launch.prompt_argument else prompt or ""}
    for path, content in files.items():
        place = shlex.quote(path)
        script = f'mkdir -p "$HOME"/"$(dirname {place})" && cat > "$HOME"/{place}'
        result = await sandbox.run(Command(script=script, stdin=content.encode()))
        if result.exit_code != 0:
            raise OvernightError(f"{program.title} could not be set up: {tail(result)}")
    argv = (*program_words(program), *launch.argv[1:])
    if prompt is None:
        return await sandbox.start(Command(argv=argv, variables=variables(program, launch)), on_output)
    if launch.prompt_argument:
        argv = tuple(word.replace("{prompt}", prompt) for word in argv)
    # A file ends, which the input of a command that is started does not: more could be written to it.
    argv = ("sh", "-c", f'exec "$@" < "$HOME"/{_PROMPT}', "sh", *argv)
    return await sandbox.start(Command(argv=argv, variables=variables(program, launch)), on_output)


def program_words(program: Program) -> tuple[str, ...]:
    """Return the words that start a program, without its arguments."""
    if program.registry == "pypi":
        # The script's first line names the interpreter of the machine that installed it.
        return ("python3", f"{INSTALLED}/bin/{program.command}")
    return (program.command,)


def variables(program: Program, launch: Launch) -> dict[str, str]:
    """Return the environment that a program needs."""
    own = {"PYTHONPATH": INSTALLED} if program.registry == "pypi" else {}
    return {**own, **launch.variables}


def tail(result: CommandResult) -> str:
    """Return the end of what a command printed, for an error's message."""
    printed = (result.stderr or result.stdout).decode("utf-8", "replace").strip()
    return printed[-_TAIL:] or f"exit code {result.exit_code}"
