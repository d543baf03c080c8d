"""The command line's root: groups, one way to report errors, and the exit codes."""

import sys
from errno import ENOSPC
from typing import Annotated

import typer
from typer.exceptions import TyperException

from overnight.cli import agent, env, model, pr, secret, task
from overnight.cli.doctor import doctor
from overnight.cli.map import map_
from overnight.cli.prune import prune
from overnight.cli.run import run

app = typer.Typer(
    name="overnight",
    help="Send a task, come back to a verified pull request.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(run)
app.add_typer(task.app, name="task")
app.add_typer(pr.app, name="pr")
app.add_typer(env.app, name="env")
app.add_typer(agent.app, name="agent")
app.add_typer(model.app, name="model")
app.add_typer(secret.app, name="secret")
app.command("map")(map_)
app.command()(prune)
app.command()(doctor)


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Send a task, come back to a verified pull request."""
    if version:
        from overnight import __version__

        typer.echo(__version__)
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with one of the codes of `domain.errors.ExitCode`."""
    sys.exit(execute(arguments))


def execute(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code; errors are one line on stderr, never a traceback."""
    from overnight.domain.errors import ExitCode, OvernightError

    try:
        result: object = app(arguments, standalone_mode=False)
    except OvernightError as error:
        _report(error.message, error.hint)
        return int(error.exit_code)
    except TyperException as error:
        context: typer.Context | None = getattr(error, "ctx", None)
        hint = f"Try '{context.command_path} --help'" if context is not None else ""
        _report(error.format_message(), hint)
        # The library ends wrong usage with 2, which means `canceled` here.
        return int(ExitCode.USAGE if error.exit_code == 2 else ExitCode.FAILURE)
    except (typer.Abort, KeyboardInterrupt):
        _report("Interrupted")
        return int(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output went away (`overnight task logs | head`): that is its right.
        sys.stderr.close()
        return int(ExitCode.DONE)
    except OSError as error:
        # A copy names two files, and it is the second that could not be written.
        place = error.filename2 or error.filename
        hint = "Make room there: `overnight prune` removes what nobody needs" if error.errno == ENOSPC else ""
        _report(f"{error.strerror}: {place}" if place else error.strerror or str(error), hint)
        return int(ExitCode.FAILURE)
    return result if isinstance(result, int) else int(ExitCode.DONE)


def _report(message: str, hint: str = "") -> None:
    """Print an error for people; colour only where a terminal shows it."""
    typer.secho("error: ", fg="red", bold=True, nl=False, err=True)
    typer.echo(message.rstrip(), err=True)
    if hint:
        typer.echo(f"  → {hint.rstrip()}", err=True)
