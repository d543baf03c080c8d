"""The objects of one process: the data directory opened, and the parts built over it."""

import contextlib
import functools
import platform
import sys
from collections.abc import AsyncGenerator, Callable, Mapping

import msgspec

from overnight.blobs.store import BlobStore
from overnight.cli.settings import Settings
from overnight.cli.units import show_bytes
from overnight.cli.wire.agents import Agents
from overnight.cli.wire.environment import read_settings
from overnight.cli.wire.models import Models
from overnight.cli.wire.repositories import Repositories
from overnight.cli.wire.results import Results
from overnight.cli.wire.sandboxes import Sandboxes
from overnight.cli.wire.work import Work
from overnight.domain.errors import OvernightError
from overnight.domain.limits import Limits
from overnight.domain.ports import SystemClock
from overnight.environments.client_settings import find_client_settings
from overnight.environments.credentials import Divided, divide_settings
from overnight.environments.programs import find_programs, name_programs
from overnight.environments.volumes import enter_own_mounts
from overnight.events.log import EventLog
from overnight.models.open import key_names
from overnight.store.database import Database
from overnight.tasks.recordings import Recordings
from overnight.tasks.vault import Vault
from overnight.verify.base_runs import BaseRuns
from overnight.worker.capacity import capacity
from overnight.worker.engine import Engine
from overnight.worker.owner import is_alive, this_process
from overnight.worker.storage import Storage


@contextlib.asynccontextmanager
async def opened(settings: Settings | None = None) -> AsyncGenerator["Application"]:
    """Open the data directory, and close it however the body ends."""
    bounded = enter_own_mounts()  # before the first thread
    application = await Application.open(settings or read_settings(), bounded=bounded)
    try:
        yield application
    finally:
        await application.close()


class Application:
    """What commands get to work with. Each part speaks for the layers that `cli` may not import."""

    def __init__(self, settings: Settings, database: Database, *, bounded: bool = False) -> None:
        """`bounded`: the mounts of this process are its own and end with it."""
        self.settings = settings
        self.database = database
        self.clock = SystemClock()
        self.log = EventLog(database, self.clock)
        self.blobs = BlobStore(settings.data / "blobs")
        keys = settings.values(key_names())
        self.vault = Vault(database, settings.key_file, self.clock, keys, lambda: self._clients().values)
        self.storage = Storage(database, self.log, self.blobs, settings.data)
        self.repositories = Repositories(settings, database, self.clock)
        self.recordings = Recordings(database, self.log)
        self.models = Models(settings, self.recordings)
        self.sandboxes = Sandboxes(settings)
        self.agents = Agents(settings, self.models, self.sandboxes)
        self.results = Results(settings, database, self.clock, self.vault, self.repositories)
        self.is_alive: Callable[[str], bool] = is_alive
        self._bounded = bounded

    @classmethod
    async def open(cls, settings: Settings, *, bounded: bool = False) -> "Application":
        """Make the data directory if need be and open what lies in it."""
        try:
            settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
            # Prompts, outputs and patches lie here; a directory that was there may be open to others.
            settings.data.chmod(0o700)
        except OSError as error:
            raise OvernightError(
                f"The data directory {settings.data} cannot be made: {error.strerror}.",
                "Choose another one by OVERNIGHT_DATA_DIR.",
            ) from error
        return cls(settings, await Database.open(settings.data / "overnight.db"), bounded=bounded)

    async def close(self) -> None:
        """Close models, then the database."""
        await self.models.close()
        await self.database.close()

    def limits(self, wanted: Mapping[str, float]) -> Limits:
        """Return the settings' limits with those that a person set for this command."""
        return msgspec.structs.replace(self.settings.limits, **wanted)

    async def make_room(self, say: Callable[[str], None]) -> None:
        """Bring the data directory below its limit, saying so, before something new is written."""
        freed = await self.storage.make_room(self.settings.disk_bytes)
        if freed:
            say(f"Freed {show_bytes(freed)}: the data directory was over its limit (OVERNIGHT_DISK_LIMIT).")

    @functools.cached_property
    def work(self) -> Work:
        """What this process carries out; its engine is built when a command first asks for it."""
        return Work(self._engine())

    def _clients(self) -> Divided:
        """Return the settings of this machine's package clients, without and with credentials."""
        return divide_settings(find_client_settings(self.settings.environment, self.settings.home))

    def _engine(self) -> Engine:
        """Return this process's objects as a worker takes them."""
        search = self.settings.environment.get("PATH")
        machine = f"python {platform.python_version()} at {sys.base_prefix}, {name_programs(search)}"
        return Engine(
            database=self.database,
            log=self.log,
            blobs=self.blobs,
            clock=self.clock,
            data=self.settings.data,
            owner=this_process(),
            capacity=self.settings.at_once or capacity(),
            agents=self.agents.known(),
            open_mirror=self.repositories.mirror,
            open_model=self.models.open,
            open_backend=self.sandboxes.open,
            clients=self._clients(),
            base_runs=BaseRuns(self.settings.data / "base-runs", machine),
            host=find_programs(search),
            vault=self.vault,
            machine=machine,
            bounded=self._bounded,
        )
