"""Tries a program in a sandbox, against a model that only says hello: does it start, and find its model?"""

import asyncio
import os
import time
from pathlib import Path

import msgspec

from overnight.agents.programs.agent import ProgramAgent
from overnight.agents.programs.start import program_words, start, tail, variables
from overnight.agents.programs.table import Program, Wiring
from overnight.domain.conversation import Completion
from overnight.domain.errors import OvernightError
from overnight.domain.events import Event
from overnight.domain.limits import Limits
from overnight.domain.network import Policy
from overnight.domain.task import Usage
from overnight.models.gateway.dialect import Asked
from overnight.models.gateway.door import HOST, URL, Door
from overnight.models.interface import OnDelta
from overnight.sandbox.egress.gate import Inner
from overnight.sandbox.egress.opening import open_egress
from overnight.sandbox.interface import Command, Sandbox, SandboxBackend, SandboxSpec

_SECONDS = 180.0
_WORDS = "Hello."


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """How a program did."""

    name: str
    works: bool
    version: str = ""
    """What it says of itself."""
    seconds: float = 0.0
    """From its start to its first request."""
    problem: str = ""


async def try_out(agent: ProgramAgent, backend: SandboxBackend, folder: Path) -> Trial:
    """Run an installed program once over an empty workspace; a failure is part of the answer.

    `folder` is an empty directory of the caller's, removed by the caller.

    Raises:
        UsageError: it is not installed.
    """
    program, equipment = agent.program, agent.equipment
    if "egress" not in backend.networks:
        problem = f"in the sandbox {backend.name!r} it cannot reach its model"
        return Trial(name=program.name, works=False, problem=problem)
    door = Door("hello")
    lower, upper, work = (folder / name for name in ("lower", "upper", "work"))
    for path in (lower, upper, work):
        path.mkdir()
        if backend.owner is not None:
            os.chown(path, *backend.owner)
    limits = Limits()
    spec = SandboxSpec(
        lower=(lower,) if backend.overlay else (),
        upper=upper,
        work=work if backend.overlay else None,
        binds=equipment.binds,
        path=equipment.path,
        tools=equipment.tools,
        scratch=folder / "scratch",
        network="egress",
        egress=open_egress(Policy(), limits, _ignore, folder / "egress", inner=Inner(HOST, door.connect)),
        limits=limits,
    )
    sandbox = backend.open(spec)
    try:
        return await _greet(program, sandbox, door)
    except OvernightError as error:
        return Trial(name=program.name, works=False, problem=error.message)
    finally:
        await sandbox.close()
        await door.close()


async def _greet(program: Program, sandbox: Sandbox, door: Door) -> Trial:
    wiring = Wiring(url=URL, model=door.model, context_tokens=128_000, output_tokens=8_192)
    launch = program.launch(wiring)
    asked = asyncio.Event()
    began = time.monotonic()
    first = 0.0

    async def answer(request: Asked, on_delta: OnDelta) -> Completion:
        nonlocal first
        del request
        if not asked.is_set():
            first = time.monotonic() - began
            asked.set()
        on_delta(_WORDS)
        return Completion(text=_WORDS, usage=Usage(model_calls=1, input_tokens=1, output_tokens=1))

    argv = (*program_words(program), "--version")
    said = await sandbox.run(Command(argv=argv, variables=variables(program, launch)))
    lines = said.stdout.decode("utf-8", "replace").strip().splitlines()
    # Not every program can say it.
    version = lines[-1][:100] if lines and said.exit_code == 0 else program.version
    began = time.monotonic()
    with door.answering(answer):
        running = await start(sandbox, program, launch, "Say hello.", lambda stream, piece: None)
        ending, asking = asyncio.ensure_future(running.wait()), asyncio.ensure_future(asked.wait())
        await asyncio.wait((ending, asking), timeout=_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        asking.cancel()
        result = await running.stop()
        await asyncio.gather(ending, asking, return_exceptions=True)
    if asked.is_set():
        return Trial(name=program.name, works=True, version=version, seconds=round(first, 1))
    return Trial(name=program.name, works=False, version=version, problem=f"it never asked: {tail(result)}")


def _ignore(event: Event) -> None:
    del event
