"""Programs of the host that live outside the system directories, and how the sandbox offers them.

Nothing is run to find them: version managers' shims would obey files of whatever folder they start in.
"""

import os
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec

from overnight.sandbox.interface import Bind

OFFERED = "/opt/overnight"
"""Where such programs appear inside."""
STANDARD_PATH = ("/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin")
"""The PATH of every sandbox, after what is put in front of it."""

_SYSTEM = ("/usr/", "/bin/", "/sbin/", "/lib/", "/lib64/")


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """Binds that make programs visible inside, and the directories to put on PATH for them."""

    binds: tuple[Bind, ...] = ()
    path: tuple[str, ...] = ()


class _Family(msgspec.Struct, frozen=True, kw_only=True):
    """Programs that come together under one prefix, whose parts find each other relative to it."""

    folder: str
    names: re.Pattern[str]
    installs: tuple[str, ...]
    """What version managers call it."""
    proof: Callable[[Path], bool]
    """Says whether a directory is such a prefix."""


def _is_python(prefix: Path) -> bool:
    return any(prefix.glob("lib/python3.*/os.py")) and any(prefix.glob("bin/python3*"))


def _is_node(prefix: Path) -> bool:
    return (prefix / "bin/node").is_file() and (prefix / "lib/node_modules").is_dir()


def _is_go(prefix: Path) -> bool:
    return (prefix / "bin/go").is_file() and (prefix / "src/runtime").is_dir()


def _is_rust(prefix: Path) -> bool:
    return (prefix / "bin/rustc").is_file() and (prefix / "lib/rustlib").is_dir()


_FAMILIES = (
    _Family(
        folder="python3",
        names=re.compile(r"python(3(\.\d+)?)?"),
        installs=("python",),
        proof=_is_python,
    ),
    _Family(
        folder="node",
        names=re.compile(r"node|npm|npx|corepack|yarn|pnpm"),
        installs=("node", "nodejs"),
        proof=_is_node,
    ),
    _Family(folder="go", names=re.compile(r"go|gofmt"), installs=("go", "golang"), proof=_is_go),
    _Family(
        folder="rust",
        names=re.compile(r"cargo|rustc|rustdoc|rustfmt|cargo-fmt|cargo-clippy|clippy-driver"),
        installs=("rust",),
        proof=_is_rust,
    ),
)


def _is_system(path: Path) -> bool:
    return str(path).startswith(_SYSTEM)


def _is_binary(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4) == b"\x7fELF"
    except OSError:
        return False


def _by_version(folders: Iterable[Path]) -> list[Path]:
    """Return the folders with the highest version number first."""

    def key(folder: Path) -> list[int]:
        return [int(number) for number in re.findall(r"\d+", folder.name)]

    return sorted((folder for folder in folders if folder.is_dir()), key=key, reverse=True)


class HostTools:
    """Finds programs on the host; what was found is remembered.

    Args:
        search: directories to look in, as in PATH; relative ones are left out.
        home: the caller's home, where version managers keep what they installed.
        prefix: the running interpreter's base prefix, which stands in when no other Python is found.
        rustup: where rustup keeps its toolchains; `.rustup` in `home` when None.
    """

    def __init__(self, search: str, home: Path, prefix: Path, rustup: Path | None = None) -> None:
        self._search = tuple(Path(entry) for entry in search.split(":") if entry.startswith("/"))
        self._home = home
        self._prefix = prefix
        self._rustup = rustup or home / ".rustup"
        self._found: dict[str, Offer] = {}

    def find(self, names: Iterable[str]) -> Offer:
        """Return how to offer those of `names` that the host has; system programs need nothing."""
        binds: dict[str, Bind] = {}
        path: dict[str, None] = {}
        for name in names:
            if name not in self._found:
                self._found[name] = self._find(name) if re.fullmatch(r"[\w.+-]+", name) else Offer()
            binds |= {bind.target: bind for bind in self._found[name].binds}
            path |= dict.fromkeys(self._found[name].path)
        return Offer(binds=tuple(binds.values()), path=tuple(path))

    def _find(self, name: str) -> Offer:
        family = next((family for family in _FAMILIES if family.names.fullmatch(name)), None)
        for candidate in self._candidates(name):
            real = candidate.resolve()
            # Inside, rustup's shim would look for its toolchains in a home that has none.
            if _is_system(real) and real.name != "rustup":
                folder = str(candidate.parent if _is_system(candidate) else real.parent)
                return Offer(path=() if folder in STANDARD_PATH else (folder,))
            if family is None:
                if _is_binary(real):
                    target = f"{OFFERED}/bin/{name}"
                    return Offer(binds=(Bind(source=real, target=target),), path=(f"{OFFERED}/bin",))
                continue
            for prefix in (*list(real.parents)[:6], *self._managed(family, candidate)):
                if self._may_offer(prefix) and family.proof(prefix):
                    return _offer_prefix(family, prefix)
        if family is not None:
            for prefix in self._elsewhere(family):
                if self._may_offer(prefix) and family.proof(prefix):
                    return _offer_prefix(family, prefix)
        return Offer()

    def _candidates(self, name: str) -> Iterator[Path]:
        for folder in self._search:
            candidate = folder / name
            if candidate.is_file() and os.access(candidate, os.X_OK):
                yield candidate

    def _may_offer(self, prefix: Path) -> bool:
        """Never show a home, or anything above it."""
        return not self._home.is_relative_to(prefix) and len(prefix.parts) > 2

    def _managed(self, family: _Family, shim: Path) -> Iterator[Path]:
        """Yield the installed versions behind a shim, the chosen one first."""
        root = shim.parent.parent
        if shim.parent.name == "shims":  # pyenv, asdf, mise
            chosen = root / "version"
            if chosen.is_file():
                for version in chosen.read_text(errors="replace").split():
                    if "/" not in version:
                        yield root / "versions" / version
            yield from _by_version((root / "versions").glob("*"))
            for name in family.installs:
                yield from _by_version((root / "installs" / name).glob("*"))
        if family.folder == "rust":
            yield from self._rust_toolchains()

    def _rust_toolchains(self) -> Iterator[Path]:
        rustup = self._rustup
        try:
            settings = tomllib.loads((rustup / "settings.toml").read_text())
        except (OSError, ValueError):
            settings = {}
        chosen = settings.get("default_toolchain")
        if isinstance(chosen, str) and "/" not in chosen:
            yield rustup / "toolchains" / chosen
        yield from sorted((rustup / "toolchains").glob("stable*"))

    def _elsewhere(self, family: _Family) -> Iterator[Path]:
        """Yield prefixes that are on no PATH."""
        if family.folder == "python3":
            yield self._prefix
        elif family.folder == "node":
            yield from _by_version((self._home / ".nvm/versions/node").glob("*"))
        elif family.folder == "go":
            yield Path("/usr/local/go")
        elif family.folder == "rust":
            yield from self._rust_toolchains()


def _looks_for_its_library_at(prefix: Path) -> bool:
    """Say whether a shared interpreter finds its library only by the path that it was built for."""
    if not any(prefix.glob("lib/libpython3*.so*")):
        return False
    program = (prefix / "bin/python3").read_bytes()
    return str(prefix / "lib").encode() in program and b"$ORIGIN" not in program


def _offer_prefix(family: _Family, prefix: Path) -> Offer:
    if _is_system(prefix):
        folder = str(prefix / "bin")
        return Offer(path=() if folder in STANDARD_PATH else (folder,))
    target = f"{OFFERED}/{family.folder}"
    binds = [Bind(source=prefix, target=target)]
    if family.folder == "python3" and _looks_for_its_library_at(prefix):
        binds.append(Bind(source=prefix, target=str(prefix)))
    return Offer(binds=tuple(binds), path=(f"{target}/bin",))
