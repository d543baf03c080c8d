"""A small repository of real files in a real sandbox, and one call that verifies a change to it."""

import compileall
import importlib.metadata
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import msgspec
import pytest

from overnight.blobs.store import BlobStore
from overnight.domain.environment import Recipe
from overnight.domain.ids import new_id
from overnight.domain.limits import Limits
from overnight.domain.patch import REGULAR, FileChange
from overnight.domain.verdict import Verdict
from overnight.environments.beneath import chown_tree
from overnight.environments.protected import protected_patterns
from overnight.environments.snapshot import Snapshot
from overnight.environments.workspaces import Workspaces
from overnight.sandbox.choose import choose
from overnight.sandbox.interface import DEPENDENCIES, SandboxBackend
from overnight.verify.base_runs import BaseRuns
from overnight.verify.clean_room import CleanRoom
from overnight.verify.verifier import VerifyRequest, verify
from tests.sink import Sink

VARIABLES = {
    "PYTHONPATH": f"{DEPENDENCIES}/site",
    # Plugins that the host's Python happens to have would triple the time of each run.
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
}


@pytest.fixture(scope="session")
def site() -> Iterator[Path]:
    """The packages that pytest is made of, as setup would have installed them."""
    root = Path(tempfile.mkdtemp(prefix="overnight-verify-site-"))
    root.chmod(0o755)
    target = root / "site"
    for name in ("pytest", "pluggy", "iniconfig", "packaging", "pygments"):
        for file in importlib.metadata.files(name) or ():
            if ".." not in file.parts and file.suffix != ".pyc":
                place = target / file
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(str(file.locate()), place)
    compileall.compile_dir(target, quiet=2)
    yield root
    shutil.rmtree(root)


@pytest.fixture(scope="session")
def base_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs on the base, shared by all tests as attempts of one task share them."""
    return tmp_path_factory.mktemp("base-runs")


class Bench:
    """A place to verify patches in: `base` holds the repository's files by path."""

    def __init__(self, root: Path, site: Path, backend: SandboxBackend, base_runs: Path) -> None:
        self.root, self.site, self.backend = root, site, backend
        self.sink = Sink()
        self.base: dict[str, str] = {}
        self.limits = Limits(command_seconds=60.0)
        self.base_runs = BaseRuns(base_runs)

    def snapshot(self) -> Snapshot:
        """Lay the files down as a snapshot would."""
        key = f"snapshot-{abs(hash(tuple(sorted(self.base.items()))))}"
        checkout = self.root / key / "checkout"
        for path, text in self.base.items():
            place = checkout / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
        (self.root / key).chmod(0o755)
        listing = self.root / key / "listing"
        listing.write_text("".join(f"{path}\0" for path in sorted(self.base)))
        if self.backend.owner is not None:
            chown_tree(checkout, self.backend.owner)
        return Snapshot(
            key=key,
            commit="0" * 40,
            recipe=Recipe(variables=VARIABLES, tools=("python3", "node")),
            tree="0" * 40,
            checkout=(checkout,),
            dependencies=self.site,
            listing=listing,
            objects=None,
            owner=self.backend.owner,
        )

    async def verify(
        self,
        patch: Mapping[str, str | None],
        check: str | tuple[str, ...] = "python3 -m pytest -q",
        *,
        allow_test_changes: bool = False,
        reruns: int = 1,
    ) -> Verdict:
        """Verify the change to `base` that `patch` describes; None deletes."""
        snapshot = self.snapshot()
        workspaces = Workspaces(self.root / "workspaces", self.backend, BlobStore(self.root / "blobs"))
        scratch = self.root / "scratch"
        scratch.mkdir(exist_ok=True)
        changes = [
            FileChange(path=path, mode=0, content=None)
            if text is None
            else FileChange(path=path, mode=REGULAR, content=text.encode())
            for path, text in sorted(patch.items())
        ]
        room = CleanRoom(
            new_workspace=lambda: workspaces.create(snapshot, f"verify-{new_id()}"),
            backend=self.backend,
            scratch=scratch,
            limits=self.limits,
        )
        request = VerifyRequest(
            checks=(check,) if isinstance(check, str) else check,
            changes=tuple(changes),
            snapshot=snapshot.key,
            room=room,
            base_runs=self.base_runs,
            events=self.sink,
            protected=protected_patterns(snapshot.recipe),
            allow_test_changes=allow_test_changes,
            reruns=reruns,
        )
        verdict = await verify(request)
        assert list(scratch.iterdir()) == [], "a result channel was left behind"
        assert msgspec.json.decode(msgspec.json.encode(verdict), type=Verdict) == verdict
        return verdict


@pytest.fixture
async def bench(site: Path, base_runs: Path) -> AsyncIterator[Bench]:
    """An empty bench over the machine's real sandbox."""
    root = Path(tempfile.mkdtemp(prefix="overnight-verify-"))
    root.chmod(0o755)
    backend = await choose("namespaces", state=root / "state", search=os.environ["PATH"], home=Path.home())
    yield Bench(root, site, backend, base_runs)
    shutil.rmtree(root)
