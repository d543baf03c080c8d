"""What package clients need to reach their registries, for the setup phase only; agents get none of it.

As they are on this machine, credentials included: setup gets what `credentials.py` leaves of them.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

SETTINGS = "/overnight/settings"
"""Where the host's client settings are seen inside the setup sandbox."""
AUTHORITIES = f"{SETTINGS}/authorities/"
"""Where files with certificates lie."""

_PREFIXES = ("PIP_", "UV_", "NPM_CONFIG_", "CARGO_REGISTR", "CARGO_NET_", "CARGO_HTTP_")
_NAMES = frozenset(
    {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "GOPROXY", "GONOPROXY", "GOPRIVATE", "GOSUMDB"}
    | {"GONOSUMDB", "GOINSECURE"}
)
_AUTHORITIES = (
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS",
    "GIT_SSL_CAINFO", "PIP_CERT", "NPM_CONFIG_CAFILE", "CARGO_HTTP_CAINFO",
)  # fmt: skip
# Settings that name places of the host, or would send the installation elsewhere.
_PLACES = re.compile(
    r"(?i)(PIP|UV|NPM_CONFIG)_.*(TARGET|PREFIX|ROOT|USER$|CACHE|LOG|SRC|PYTHON|ENVIRONMENT|VENV|VIRTUALENV|"
    r"_DIR$|USERCONFIG|GLOBALCONFIG|CONFIG_FILE|EDITOR|SHELL|DRY_RUN|TOOL_|WORKING|ENV_FILE)"
)
_LOCAL = re.compile(r"file://(/[^\s\"'\],]+)|(?<![\w:/.~-])(/[^\s\"'\],:]+)")


class SettingsFile(msgspec.Struct, frozen=True):
    """A small host file that the setup sandbox sees as a copy at `target`."""

    source: Path
    target: str
    content: bytes | None = None
    """What the copy holds; None: what the source does."""

    def read(self) -> bytes | None:
        """Return what the copy holds, None where the source cannot be read."""
        if self.content is not None:
            return self.content
        try:
            return self.source.read_bytes()
        except OSError:
            return None


class ClientSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Variables, files and directories for the setup phase. Files may hold credentials: copies, mode 0400."""

    variables: dict[str, str] = {}
    files: tuple[SettingsFile, ...] = ()
    directories: tuple[Path, ...] = ()
    """Local indexes, visible inside at the same path, read-only."""
    withheld: tuple[str, ...] = ()
    """The hosts (or settings) whose credentials were left out."""


def find_client_settings(environ: Mapping[str, str], home: Path, etc: Path = Path("/etc")) -> ClientSettings:
    """Collect the settings of pip, uv, npm, cargo and go of the person who runs Overnight."""
    variables = {name: value for name, value in environ.items() if _allowed(name)}
    files = _config_files(environ, home, etc)
    texts = [*variables.values()]
    texts += [_read(file.source) for file in files]
    for number, name in enumerate(_AUTHORITIES):
        source = Path(environ.get(name, ""))
        if not environ.get(name) or not source.is_absolute() or _system(source):
            continue
        if source.is_file():
            files.append(SettingsFile(source, f"{AUTHORITIES}{number}-{source.name}"))
            variables[name] = files[-1].target
        else:
            variables.pop(name, None)
    if any(file.target.startswith(f"{SETTINGS}/xdg") for file in files):
        variables |= {"XDG_CONFIG_HOME": f"{SETTINGS}/xdg-home", "XDG_CONFIG_DIRS": f"{SETTINGS}/xdg-etc"}
    if any(file.target == f"{SETTINGS}/npmrc" for file in files):
        variables["NPM_CONFIG_USERCONFIG"] = f"{SETTINGS}/npmrc"
    return ClientSettings(variables=variables, files=tuple(files), directories=_directories(texts, home))


def _allowed(name: str) -> bool:
    upper = name.upper()
    known = upper.startswith(_PREFIXES) or upper in _NAMES or upper in _AUTHORITIES
    return known and not _PLACES.fullmatch(upper)


def _config_files(environ: Mapping[str, str], home: Path, etc: Path) -> list[SettingsFile]:
    config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    wanted = [
        (etc / "pip.conf", "xdg-etc/pip/pip.conf"),
        (home / ".pip/pip.conf", "xdg-home/pip/pip.conf"),
        (config / "pip/pip.conf", "xdg-home/pip/pip.conf"),
        (Path(environ.get("PIP_CONFIG_FILE") or "/dev/null"), "xdg-home/pip/pip.conf"),
        (etc / "uv/uv.toml", "xdg-etc/uv/uv.toml"),
        (config / "uv/uv.toml", "xdg-home/uv/uv.toml"),
        (Path(environ.get("UV_CONFIG_FILE") or "/dev/null"), "xdg-home/uv/uv.toml"),
        (Path(environ.get("NPM_CONFIG_USERCONFIG") or home / ".npmrc"), "npmrc"),
    ]
    # The later of two for the same place is the stronger one.
    chosen = {target: source for source, target in wanted if source.is_file()}
    return [SettingsFile(source, f"{SETTINGS}/{target}") for target, source in chosen.items()]


def _directories(texts: list[str], home: Path) -> tuple[Path, ...]:
    """Return the directories that settings name, less those that every sandbox sees anyway.

    A home is never one of them, nor what lies above it: keys and tokens are there. `prefix = /home/me` in a
    client's settings is common.
    """
    found: dict[Path, None] = {}
    for text in texts:
        for match in _LOCAL.finditer(text):
            path = Path(match.group(1) or match.group(2))
            # A "simple" index links to files beside it.
            path = path.parent if path.name == "simple" and len(path.parts) > 3 else path
            too_much = len(path.parts) < 2 or (len(path.parts) == 2 and path.name in _TOP)
            too_much = too_much or home.resolve().is_relative_to(path.resolve())
            if not too_much and ".." not in path.parts and path.is_dir() and not _system(path):
                found[path] = None
    paths = sorted(found)
    return tuple(path for path in paths if not any(other in path.parents for other in paths))


_TOP = frozenset(
    {"home", "root", "proc", "sys", "dev", "run", "tmp", "var", "boot", "mnt", "media", "srv", "opt"}
)


def _system(path: Path) -> bool:
    top = path.parts[1] if len(path.parts) > 1 else ""
    if path.is_relative_to("/etc/ssl") or path.is_relative_to("/usr"):
        return True
    return top in ("proc", "sys", "dev", "bin", "lib", "lib64", "sbin", "etc", "workspace", "dependencies")


def _read(path: Path) -> str:
    try:
        return path.read_bytes()[:65536].decode("utf-8", "replace")
    except OSError:
        return ""
