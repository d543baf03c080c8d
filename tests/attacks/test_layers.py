"""What setup leaves for others: a hostile repository must not install for another one."""

import asyncio
from pathlib import Path

from overnight.domain.environment import Recipe
from overnight.environments.client_settings import find_client_settings
from overnight.environments.snapshots import Snapshots
from overnight.git.mirror import Mirror
from tests.attacks.hostile import Place
from tests.house import make_repository
from tests.sink import Sink

INSTALL = Recipe(
    setup=("cp library.py /dependencies/library.py",), lock_files=("lock",), setup_network="none"
)


async def _installed(place: Place, snapshots: Snapshots, repository: Path) -> str:
    mirror = await Mirror.open(place.root / "mirrors", str(repository))
    await mirror.fetch()
    snapshot = await snapshots.prepare(mirror, await mirror.resolve("main"), INSTALL, Sink())
    assert snapshot.dependencies is not None
    return (snapshot.dependencies / "library.py").read_text()


def test_a_repository_does_not_install_for_another(place: Place, tmp_path: Path) -> None:
    evil = make_repository(tmp_path / "evil", {"lock": "same\n", "library.py": "evil\n"})
    good = make_repository(tmp_path / "good", {"lock": "same\n", "library.py": "good\n"})
    snapshots = Snapshots(place.root / "layers", place.backend)
    assert asyncio.run(_installed(place, snapshots, evil)) == "evil\n"
    assert asyncio.run(_installed(place, snapshots, good)) == "good\n"


def test_settings_never_show_a_home(tmp_path: Path) -> None:
    home = tmp_path / "homes" / "me"
    index = home / "wheels"
    index.mkdir(parents=True)
    (home / ".npmrc").write_text(f"prefix={home}\n")
    (home / ".config/pip").mkdir(parents=True)
    (home / ".config/pip/pip.conf").write_text(f"# mine: {home.parent}\n[install]\nfind-links = {index}\n")
    assert find_client_settings({}, home).directories == (index,)
