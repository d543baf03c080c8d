"""Real parts around the agent: a workspace over files, the sandbox of this machine, a sink for events."""

import importlib.util
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from overnight.agents.interface import Assignment
from overnight.blobs.store import BlobStore
from overnight.domain.environment import Recipe
from overnight.domain.events import Event
from overnight.domain.limits import Limits
from overnight.domain.ports import Inbox, Silence, SystemClock
from overnight.environments.interface import Workspace
from overnight.environments.snapshot import Snapshot
from overnight.environments.workspaces import Workspaces
from overnight.models.interface import Model
from overnight.sandbox.bubblewrap.arguments import find_bubblewrap
from overnight.sandbox.bubblewrap.backend import BubblewrapBackend
from overnight.sandbox.interface import Sandbox, SandboxBackend, SandboxSpec
from overnight.sandbox.tools import HostTools
from tests.sink import Sink


class Workplace:
    """A folder with a snapshot of some files, over which workspaces are made."""

    def __init__(
        self,
        root: Path,
        files: Mapping[str, str],
        backend: Callable[[HostTools, Path], SandboxBackend] | None = None,
    ) -> None:
        self.sink = Sink()
        self._root = root
        root.chmod(0o711)
        search = os.environ["PATH"]
        state = root / "state"
        state.mkdir()
        tools = HostTools(search, Path.home(), Path(sys.base_prefix))
        self._backend: SandboxBackend = (
            backend(tools, state)
            if backend is not None
            else BubblewrapBackend(find_bubblewrap(search), tools, state)
        )
        self.blobs = BlobStore(root / "blobs")
        self._workspaces = Workspaces(root / "workspaces", self._backend, self.blobs)
        checkout = root / "checkout"
        for name, text in files.items():
            path = checkout / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self._give(checkout)
        listing = root / "listing"
        listing.write_text("".join(f"{name}\0" for name in sorted(files)))
        pytest = importlib.util.find_spec("pytest")
        assert pytest is not None
        assert pytest.origin is not None
        self._snapshot = Snapshot(
            key="snapshot",
            commit="0" * 40,
            recipe=Recipe(tools=("python3",), variables={"PYTHONPATH": "/dependencies"}),
            tree="0" * 40,
            checkout=(checkout,),
            dependencies=Path(pytest.origin).parent.parent,
            listing=listing,
            objects=None,
            owner=self._backend.owner,
        )

    def workspace(self, name: str = "one") -> Workspace:
        """Return a fresh workspace."""
        return self._workspaces.create(self._snapshot, name)

    def open(self, spec: SandboxSpec) -> Sandbox:
        """Return a sandbox of this machine."""
        return self._backend.open(spec)

    def assignment(
        self,
        model: Model,
        prompt: str = "Make the failing test pass.",
        *,
        workspace: Workspace | None = None,
        checks: tuple[str, ...] = ("python3 -m pytest -q",),
        protected: tuple[str, ...] = ("tests/**", "test_*.py"),
        limits: Limits | None = None,
        number: int = 1,
        history: Sequence[Event] = (),
        inbox: Inbox | None = None,
    ) -> Assignment:
        """Return an assignment over a fresh workspace, or over the one given."""
        space = workspace or self.workspace()
        return Assignment(
            prompt=prompt,
            checks=checks,
            protected=protected,
            model=model,
            workspace=space,
            sandbox=self._backend.open(space.spec()),
            events=self.sink,
            artifacts=self.blobs,
            clock=SystemClock(),
            limits=limits or Limits(command_seconds=60),
            number=number,
            history=history,
            inbox=inbox or Silence(),
        )

    def _give(self, root: Path) -> None:
        owner = self._backend.owner
        if owner is not None:
            for path in (root, *root.rglob("*")):
                os.chown(path, *owner)
