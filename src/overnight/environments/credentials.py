"""Takes the credentials out of the settings of package clients; what is left still says where packages are.

Whatever cannot be read as its client would read it is left out whole.
"""

import base64
import binascii
import configparser
import io
import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast
from urllib.parse import unquote

import msgspec

from overnight.domain.secret import MIN_CHARACTERS
from overnight.environments.client_settings import AUTHORITIES, ClientSettings, SettingsFile

LONG = 20
"""From so many characters on a user's name is taken for a credential too: tokens stand in its place."""

_WORDS = frozenset(
    {"apikey", "auth", "authtoken", "cookie", "credential", "credentials", "email", "header", "headers"}
    | {"key", "keyfile", "certfile", "login", "otp", "pass", "passwd", "password", "passphrase", "secret"}
    | {"sessiontoken", "token", "tokens", "user", "username"}
)
_USERS = frozenset({"user", "username", "login", "email"})
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_USERINFO = re.compile(r"(?i)((?:[a-z][\w+.-]*:)?//)([^/?#\s\"'<>]*)@([^/?#\s\"',;|@\]}>:]*)")
_BARE_USERINFO = re.compile(r"(?<![\w/@.%:-])([^\s/@\"'=,:]+:[^\s/@\"']+)@([\w.-]+)")
_QUERY = re.compile(r"(//([^\s\"'?#/:]*)[^\s\"'?#]*)\?([^\s\"'|]*)")
_STILL = re.compile(r"//[^/]*@")
_SHAPES = re.compile(r"(?:npm_|pypi-|gh[pousr]_|github_pat_|glpat-|xox[a-z]-|eyJ)[\w.-]{16,}|PRIVATE KEY")
_BLOCK = re.compile(
    rb"-----BEGIN [^-]*PRIVATE KEY-----.*?(?:-----END [^-]*PRIVATE KEY-----|\Z)\s*", re.DOTALL
)
_NPM_KEY = re.compile(r"[\w@./-]+(?::registry)?(?:\[\])?")


class Credential(msgspec.Struct, frozen=True):
    """What proves somebody to a registry; `place` is its host, or the setting where no host stands by it."""

    place: str
    value: str


class Divided(msgspec.Struct, frozen=True, kw_only=True):
    """Settings without credentials, and what was taken out."""

    settings: ClientSettings
    lent: ClientSettings
    """With credentials, but without the files that could not be read: nobody could search for theirs."""
    credentials: tuple[Credential, ...]

    @property
    def values(self) -> tuple[tuple[str, str], ...]:
        """Return (name, value) of what is long enough to be searched for."""
        found = {one.value: one.place for one in self.credentials if len(one.value) >= MIN_CHARACTERS}
        return tuple((place, value) for value, place in found.items())


def divide_settings(settings: ClientSettings) -> Divided:
    """Take every credential out: user names and queries of addresses, settings named for one, private keys.

    A token that is part of an address's path cannot be told from the address, and stays, unless it has the
    form of a known kind.
    """
    found: list[Credential] = []
    variables: dict[str, str] = {}
    for name, value in settings.variables.items():
        if (kept := _setting(name, value, found)) is not None:
            variables[name] = kept
    pairs = [(file, bare) for file in settings.files if (bare := _file(file, found)) is not None]
    places = tuple(sorted({one.place for one in found}))
    bare = msgspec.structs.replace(settings, variables=variables, withheld=places)
    return Divided(
        settings=_with_files(bare, [bare for _, bare in pairs]),
        lent=_with_files(settings, [file for file, _ in pairs]),
        credentials=tuple(found),
    )


def _with_files(settings: ClientSettings, files: Sequence[SettingsFile]) -> ClientSettings:
    # A variable that names a file which is left out would only be an error to its client.
    left_out = {file.target for file in settings.files} - {file.target for file in files}
    variables = {name: value for name, value in settings.variables.items() if value not in left_out}
    return msgspec.structs.replace(settings, variables=variables, files=tuple(files))


def _file(file: SettingsFile, found: list[Credential]) -> SettingsFile | None:
    content = file.read()
    if content is None:
        return None
    if file.target.startswith(AUTHORITIES):
        if b"PRIVATE KEY" in content:
            found.append(Credential(file.source.name, ""))
            content = _BLOCK.sub(b"", content)
        return None if b"PRIVATE KEY" in content else msgspec.structs.replace(file, content=content)
    read = _npmrc if file.target.endswith("npmrc") else _toml if file.target.endswith(".toml") else _ini
    try:
        text = read(content.decode(), found)
    except (ValueError, configparser.Error, RecursionError):
        found.append(Credential(file.source.name, ""))
        return None
    return msgspec.structs.replace(file, content=text.encode())


def _setting(name: str, value: str, found: list[Credential], place: str = "") -> str | None:
    """Return the value of a setting without credentials; None where nothing of it may stay."""
    words = [word.lower() for word in _WORD.findall(name)]
    if _WORDS.isdisjoint(words):
        return _address(value, name, found)
    is_user = bool(_USERS.intersection(words)) and "password" not in words
    if value.lower() in ("", "true", "false") or "${" in value or (is_user and len(value) < LONG):
        return None
    found += [Credential(place or name, one) for one in _spelled(value)]
    return None


def _address(value: str, name: str, found: list[Credential]) -> str | None:
    """Return a value without the user information and queries of its addresses."""

    def without_user(match: re.Match[str]) -> str:
        found.extend(Credential(match[3], one) for one in _of_user(match[2]))
        return match[1] + match[3]

    def without_bare_user(match: re.Match[str]) -> str:
        found.extend(Credential(match[2], one) for one in _of_user(match[1]))
        return match[2]

    def without_query(match: re.Match[str]) -> str:
        found.extend(Credential(match[2], part.partition("=")[2] or part) for part in match[3].split("&"))
        return match[1]

    bare = _BARE_USERINFO.sub(without_bare_user, _USERINFO.sub(without_user, value))
    bare = _QUERY.sub(without_query, bare)
    if _STILL.search(bare) or _SHAPES.search(bare):
        found.append(Credential(name, bare))
        return None
    return bare


def _of_user(text: str) -> Iterator[str]:
    """Yield what of `user:password` is secret, as it stands and decoded."""
    user, _, password = text.partition(":")
    if password:
        yield from dict.fromkeys((password, unquote(password)))
    if not password or len(user) >= LONG:
        yield from dict.fromkeys((user, unquote(user)))


def _spelled(value: str) -> Iterator[str]:
    """Yield a value, and what it is the base64 of: npm keeps passwords, and `user:password`, so."""
    yield value
    try:
        text = base64.b64decode(value, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return
    if text.isprintable():
        yield text
        if (password := text.partition(":")[2]) != "":
            yield password


def _npmrc(text: str, found: list[Credential]) -> str:
    lines: list[str] = []
    for line in text.splitlines():
        key, _, value = (part.strip() for part in line.partition("="))
        if not key or key[0] in "#;[":
            continue
        name = key.strip("\"'")
        value = value if value[:1] in ("'", '"') else re.split(r"(?<!\\)[;#]", value)[0].strip()
        if name.startswith("//"):
            place = name[2:].split("/")[0].split(":")[0]
            _setting(f"auth {name.rpartition(':')[2]}", value.strip("\"'"), found, place)
        elif not _NPM_KEY.fullmatch(name):
            found.append(Credential(".npmrc", ""))
        elif (kept := _setting(name, value, found)) is not None:
            lines.append(f"{name}={kept}" if "=" in line else name)
    return "\n".join([*lines, ""])


def _ini(text: str, found: list[Credential]) -> str:
    # No section holds for the others here: each is written back as it was.
    parser = configparser.RawConfigParser(default_section="")
    parser.read_string(text)
    for section in parser.sections():
        for key, value in parser.items(section):
            if (bare := _setting(key, value, found)) is None:
                parser.remove_option(section, key)
            else:
                parser.set(section, key, bare)
    written = io.StringIO()
    parser.write(written)
    return written.getvalue()


def _toml(text: str, found: list[Credential]) -> str:
    table = cast(dict[str, Any], _walked("", tomllib.loads(text), found, ""))
    return "".join(f"{_quoted(key)} = {_value(value)}\n" for key, value in table.items())


def _walked(name: str, value: object, found: list[Credential], place: str) -> object:
    """Return a value of a TOML file without credentials, None where nothing may stay."""
    if isinstance(value, str):
        return _setting(name, value, found, place)
    if isinstance(value, list):
        items = (_walked(name, item, found, place) for item in cast(list[object], value))
        return [item for item in items if item is not None]
    if isinstance(value, dict):
        table = cast(Mapping[str, object], value)
        host = re.search(r"//(?:[^/?#]*@)?([^/?#:]+)", str(table.get("url", "")))
        pairs = ((key, _walked(key, item, found, host[1] if host else place)) for key, item in table.items())
        return {key: item for key, item in pairs if item is not None}
    return value if isinstance(value, int | float) else None


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_value, cast(Iterable[object], value)))}]"
    if isinstance(value, dict):
        pairs = cast(Mapping[str, object], value).items()
        return f"{{{', '.join(f'{_quoted(key)} = {_value(item)}' for key, item in pairs)}}}"
    return str(value)


def _quoted(text: str) -> str:
    # JSON's escapes are those of a basic string, but for DEL.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
