"""A stand-in for Codex at work in a real sandbox, without a worker: what it is given is the test's."""

import shutil
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from overnight.agents.interface import Outcome
from overnight.agents.programs.agent import ProgramAgent
from overnight.agents.programs.install import Installer
from overnight.agents.programs.table import Program, find
from overnight.domain.conversation import Completion, ToolCall
from overnight.domain.events import Event
from overnight.domain.ids import new_id
from overnight.domain.limits import Limits
from overnight.domain.network import Policy
from overnight.domain.ports import Inbox
from overnight.environments.interface import Workspace
from overnight.models.gateway.door import HOST, Door
from overnight.models.scripted import ScriptedModel
from overnight.sandbox.egress.gate import Inner
from overnight.sandbox.egress.opening import open_egress
from overnight.sandbox.native.backend import NamespacesBackend
from tests.agents.repair.workplace import Workplace

STAND_IN = Path(__file__).with_name("stand_in.py")


def codex() -> Program:
    """Return the row that the stand-in has in the table."""
    program = find("codex")
    assert program is not None
    return program


def put_in_place(agents: Path, source: Path = STAND_IN) -> None:
    """Put a stand-in where an installed Codex would be."""
    folder = agents / f"codex-{codex().version}" / "node_modules" / ".bin"
    folder.mkdir(parents=True)
    shutil.copy(source, folder / "codex")
    (folder / "codex").chmod(0o755)


def shell(command: str, identifier: str) -> Completion:
    """Return an answer that calls the stand-in's one tool."""
    call = ToolCall(id=identifier, name="sh", arguments=msgspec.json.encode({"cmd": command}).decode())
    return Completion(text=f"I do {identifier}.", tool_calls=(call,))


class Desk:
    """Lets the stand-in work; every call is a worker of its own, with a sandbox and a home of its own."""

    def __init__(self, root: Path) -> None:
        (root / "place").mkdir()
        self.place = Workplace(root / "place", {"a.txt": "a\n"}, NamespacesBackend)
        put_in_place(root / "agents")
        self._installer = Installer(root / "agents", {})
        self._root = root

    async def work(
        self,
        model: ScriptedModel,
        *,
        history: Sequence[Event] = (),
        inbox: Inbox | None = None,
        limits: Limits | None = None,
        workspace: Workspace | None = None,
        program: Program | None = None,
    ) -> tuple[Outcome, list[Event]]:
        """Return what came of it, and its events."""
        begin = len(self.place.sink.events)
        agent = ProgramAgent(program or codex(), self._installer)
        given = self.place.assignment(
            model, "Write b.txt.", workspace=workspace or self.place.workspace(new_id()),
            limits=limits, history=history, inbox=inbox,
        )  # fmt: skip
        async with self._door(model) as door:
            equipment = agent.equipment
            folder = self._root / f"egress-{new_id()}"
            egress = open_egress(
                Policy(), given.limits, self.place.sink.emit, folder, inner=Inner(HOST, door.connect)
            )
            spec = msgspec.structs.replace(
                given.workspace.spec(), binds=equipment.binds, path=equipment.path, tools=equipment.tools,
                network="egress", egress=egress, limits=given.limits,
            )  # fmt: skip
            sandbox = self.place.open(spec)
            try:
                outcome = await agent.work(msgspec.structs.replace(given, sandbox=sandbox, door=door))
            finally:
                await sandbox.close()
        return outcome, self.place.sink.events[begin:]

    @asynccontextmanager
    async def _door(self, model: ScriptedModel) -> AsyncGenerator[Door]:
        door = Door(model.name)
        try:
            yield door
        finally:
            await door.close()
