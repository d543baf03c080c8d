"""Commands made for a machine of their own, as they can run in a sandbox: no root, nothing global."""

import re
from collections.abc import Callable, Iterable

from overnight.environments.detect.found import Host
from overnight.environments.detect.python import VENV
from overnight.sandbox.interface import DEPENDENCIES

Say = Callable[[str, str], None]
"""Called with what was left out and why."""

NPM_PREFIX = f"{DEPENDENCIES}/npm"

_ROOT_ONLY = frozenset((
    "apt", "apt-get", "aptitude", "apk", "yum", "dnf", "microdnf", "zypper", "pacman", "brew", "dpkg", "snap",
    "systemctl", "service", "useradd", "usermod", "groupadd", "adduser", "addgroup", "update-ca-certificates",
    "locale-gen", "ldconfig", "sysctl", "mount", "dockerd",
))  # fmt: skip
_WITH_ROOT = frozenset(("chown", "chgrp", "chmod", "rm", "mkdir", "ln", "tee", "cp", "mv", "install"))
"""Left out only behind `sudo`: what they change is not ours, or is ours already."""
_CONTROL = frozenset((
    "if", "then", "else", "elif", "fi", "for", "while", "until", "do", "done", "case", "esac", "select",
    "function", "{", "}", "(", "((", "[[", "!",
))  # fmt: skip
_SUDO = re.compile(r"sudo(?:\s+(?:-[AEHnSkK]+|-u\s+\S+|--preserve-env(?:=\S+)?|--))*\s+")
_USER = re.compile(r"(\bpip3?\s+install\b[^\n;&|]{0,500}?)\s--user\b")
_ASSIGNED = re.compile(r"(?:[A-Za-z_]\w*=\S*\s+)+")
_PYTHON = re.compile(
    r"(?<![\w./-])(pip3?|python3?|pytest|poetry|pipenv|pdm|tox|nox|hatch|pre-commit|uv)(?![\w-])"
)
_NODE = re.compile(r"(?<![\w./-])(npm|npx|pnpm|yarn|corepack)(?![\w-])")
_PROGRAM = re.compile(r"(?<![\w./-])[A-Za-z][\w+-]*(?![\w/-])")
_PATH = re.compile(r"[\w.@+-]+(?:/[\w.@+-]+)*")


def for_sandbox(script: str, say: Say) -> str:
    """Return the script without `sudo` and without what only root can do; empty if nothing is left.

    Scripts with control structures are left as they are: what cannot work in them says so itself.
    """
    # Inside a virtual environment, which stands in for the user's own packages, pip refuses `--user`.
    script = _USER.sub(r"\1", script)
    pieces = _pieces(script)
    if pieces is None:
        return script.strip()
    kept: list[tuple[str, str]] = []
    for piece, separator in pieces:
        changed = _without_root(piece, say)
        if changed:
            kept.append((changed, separator))
    while kept and kept[-1][0].lstrip().startswith("#"):
        kept.pop()
    text = "".join(piece + separator for piece, separator in kept)
    return text.strip().removesuffix("&&").removesuffix(";").strip()


def _without_root(piece: str, say: Say) -> str:
    stripped = piece.strip()
    assigned = _ASSIGNED.match(stripped)
    bare = stripped[assigned.end() :] if assigned else stripped
    sudo = _SUDO.match(bare)
    rest = bare[sudo.end() :] if sudo else bare
    again = _ASSIGNED.match(rest) if sudo else None
    words = rest[again.end() if again else 0 :].split(maxsplit=1)
    first = words[0] if words else ""
    if first in _ROOT_ONLY:
        say(stripped, "only root can do that, and nothing in a sandbox is root")
        return ""
    if sudo and first in _WITH_ROOT:
        say(stripped, "it changes what belongs to root, and nothing in a sandbox is root")
        return ""
    return (assigned.group() if assigned else "") + rest if sudo else piece


def _pieces(script: str) -> list[tuple[str, str]] | None:
    """Cut a script at its top-level `&&`, `;` and line ends; None where it has more structure than that."""
    pieces: list[tuple[str, str]] = []
    begin = index = 0
    quote = ""
    while index < len(script):
        character = script[index]
        if quote:
            if character == "\\" and quote == '"':
                index += 1
            elif character == quote:
                quote = ""
        elif character in "'\"":
            quote = character
        elif character == "\\":
            index += 1
        elif character in "(){}`" or script.startswith("<<", index):
            # Braces of `${x}` are none of these, but a script that is left alone does no harm.
            if not (character == "{" and index and script[index - 1] == "$") and character != "}":
                return None
        elif script.startswith("&&", index) or character in ";\n":
            width = 2 if character == "&" else 1
            pieces.append((script[begin:index], script[index : index + width]))
            begin = index + width
            index += width - 1
        elif character == "#" and (index == begin or script[index - 1].isspace()):
            end = script.find("\n", index)
            index = (len(script) if end < 0 else end) - 1
        index += 1
    if quote:
        return None
    pieces.append((script[begin:], ""))
    if any((piece.split(maxsplit=1) or [""])[0] in _CONTROL for piece, _ in pieces):
        return None
    return pieces


def prepared_for(
    commands: Iterable[str], host: Host
) -> tuple[tuple[str, ...], dict[str, str], tuple[str, ...]]:
    """Return what must be so that such commands find a place to install into: setup, variables, path.

    On a machine of their own they would write into the system's directories.
    """
    text = "\n".join(commands)
    setup: list[str] = []
    variables: dict[str, str] = {}
    path: list[str] = []
    if _PYTHON.search(text) and "python3" in host.programs:
        setup.append(f"test -x {VENV}/bin/python3 || python3 -m venv {VENV}")
        variables["VIRTUAL_ENV"] = VENV
        path.append(f"{VENV}/bin")
    if _NODE.search(text) and "node" in host.programs:
        variables["NPM_CONFIG_PREFIX"] = NPM_PREFIX
        path.append(f"{NPM_PREFIX}/bin")
    return tuple(setup), variables, tuple(path)


def programs_in(commands: Iterable[str], host: Host) -> tuple[str, ...]:
    """Return which of the host's programs the commands name."""
    names = {name for command in commands for name in _PROGRAM.findall(command)}
    if names & {"pip", "pip3", "python"}:
        names.add("python3")
    return tuple(sorted(names & host.programs))


def files_in(commands: Iterable[str], paths: frozenset[str]) -> tuple[str, ...]:
    """Return which of the repository's files the commands name: their content decides what setup makes."""
    words = {word.removeprefix("./") for command in commands for word in _PATH.findall(command)}
    words |= {word.removeprefix("workspace/") for word in words}
    found = {word for word in words if word in paths and "." in word.rsplit("/", 1)[-1]}
    # `cd backend && pip install -r requirements.txt` names the two parts of one path.
    parts = ((path, *path.rpartition("/")) for path in paths if path.count("/") in (1, 2, 3))
    found |= {path for path, folder, _, name in parts if name in words and folder in words}
    return tuple(sorted(found))[:50]
