"""What the `overnight pr` commands do."""

import json
from typing import Any

import typer

from overnight.cli.report import pull_request_object
from overnight.cli.text import one_line, plain
from overnight.cli.wire import Application, opened
from overnight.domain.errors import UsageError
from overnight.domain.ids import short
from overnight.domain.task import PullRequest
from overnight.store import attempts, pull_requests
from overnight.tasks.views import find


async def list_pull_requests(json_output: bool) -> None:
    """Print pull requests, newest first."""
    async with opened() as application:
        requests = await application.database.read(pull_requests.listing)
    if json_output:
        typer.echo(json.dumps([pull_request_object(request) for request in requests]))
        return
    if not requests:
        typer.echo("No pull requests yet.", err=True)
    for request in requests:
        typer.echo(
            f"#{request.number:<4} {request.state:7} {one_line(request.title, 60):60} {request.branch}"
        )


async def view(number: int, patch: bool, json_output: bool) -> None:
    """Print one pull request."""
    async with opened() as application:
        request = await _get(application, number)
        attempt = await application.database.read(lambda conn: attempts.get(conn, request.attempt_id))
        content = application.blobs.get(attempt.patch.digest) if patch and attempt.patch else b""
    if json_output:
        shown: dict[str, Any] = {**(pull_request_object(request) or {}), "body": request.body}
        typer.echo(json.dumps({**shown, "patch": content.decode("utf-8", "replace")} if patch else shown))
        return
    typer.echo(f"#{request.number} {one_line(request.title)} ({request.state})")
    typer.echo(f"{request.branch} → {request.base_ref} at {request.base_commit[:12]}")
    typer.echo("")
    typer.echo(plain(request.body))
    if patch:
        typer.echo("")
        typer.echo(plain(content.decode("utf-8", "replace")))


async def create(identifier: str, json_output: bool) -> None:
    """Open a pull request by a person's decision."""
    async with opened() as application:
        shown, attempt = await find(application.database, identifier)
        if attempt is None:
            with_patch = [one for one in shown.attempts if one.patch is not None]
            if len(with_patch) != 1:
                names = ", ".join(short(one.id) for one in with_patch) or "none has a patch"
                raise UsageError("Say which attempt to publish", f"Attempts of this task: {names}")
            attempt = with_patch[0]
        request = await application.results.publish(shown.task, attempt)
    if json_output:
        typer.echo(json.dumps(pull_request_object(request)))
        return
    typer.echo(f"Pull request #{request.number}: {one_line(request.title)} ({request.branch})")


async def merge(number: int, json_output: bool) -> None:
    """Merge into the repository that the task came from."""
    async with opened() as application:
        request = await _get(application, number)
        if request.state != "open":
            raise UsageError(f"Pull request #{number} is {request.state} already")
        merged = await application.results.merge(request)
    if json_output:
        typer.echo(json.dumps(pull_request_object(merged)))
        return
    typer.echo(f"Merged #{number} into {merged.base_ref}: {(merged.merged_commit or '')[:12]}", err=True)


async def _get(application: Application, number: int) -> PullRequest:
    return await application.database.read(lambda conn: pull_requests.get(conn, number))
