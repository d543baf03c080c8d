"""Services that other tools start as container images, as programs of this machine."""

import re
from collections.abc import Callable, Mapping

from overnight.domain.environment import Service
from overnight.environments.detect.found import Host

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,39}")
_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,62}")

_Start = Callable[[str, int, Mapping[str, str]], Service]


def local_service(
    name: str, image: str, environment: Mapping[str, str], port: int | None, host: Host
) -> Service | str:
    """Return how a program of this machine stands in for the image, or why none does.

    `port` is where it shall listen; None: where such a service usually does.
    """
    kind = image.split("@")[0].rsplit("/", 1)[-1].split(":")[0].lower()
    known = _KNOWN.get(kind)
    if known is None:
        kinds = ", ".join(sorted(_KNOWN))
        return f"the image {kind or '(none)'} is not run, and no program is known for it (known: {kinds})"
    programs, usual, start = known
    program = next((program for program in programs if program in host.programs), None)
    if program is None:
        return f"the image {kind} is not run, and {' or '.join(programs)} is not on this machine"
    if not _NAME.fullmatch(name):
        return "its name is no name for a service"
    return start(name, port or usual, {**environment, "": program})


def _redis(name: str, port: int, environment: Mapping[str, str]) -> Service:
    program = environment[""]
    client = program.replace("-server", "-cli")
    return Service(
        name=name,
        command=f"exec {program} --bind 127.0.0.1 --port {port} --save '' --appendonly no",
        ready=f"{client} -h 127.0.0.1 -p {port} ping",
    )


def _memcached(name: str, port: int, environment: Mapping[str, str]) -> Service:
    del environment
    return Service(
        name=name,
        command=f"exec memcached -l 127.0.0.1 -p {port}",
        ready=f"exec 3<>/dev/tcp/127.0.0.1/{port}",
    )


def _postgres(name: str, port: int, environment: Mapping[str, str]) -> Service:
    user = _word(environment.get("POSTGRES_USER"), "postgres")
    database = _word(environment.get("POSTGRES_DB"), user)
    folder = f'"$HOME/postgres-{port}"'
    create = ""
    if database != "postgres":
        create = (
            f"echo 'CREATE DATABASE \"{database}\"' | postgres --single -D {folder} postgres >/dev/null\n"
        )
    return Service(
        name=name,
        # `-A trust`: whoever can reach it lives in the same sandbox, with any password that is configured.
        command=(
            f"set -e\n{_POSTGRES_PATH}\n"
            f"if [ ! -s {folder}/PG_VERSION ]; then\n"
            f"initdb -D {folder} -U {user} -A trust -E UTF8 --locale=C --no-sync >/dev/null\n{create}fi\n"
            f"exec postgres -D {folder} -k '' -h 127.0.0.1 -p {port} -c fsync=off"
        ),
        ready=f"{_POSTGRES_PATH}\npg_isready -q -h 127.0.0.1 -p {port}",
        seconds=60.0,
    )


_POSTGRES_PATH = (
    "postgres=$(command -v postgres || ls /usr/lib/postgresql/*/bin/postgres | tail -n 1)\n"
    'PATH="$PATH:$(dirname "$(readlink -f "$postgres")")"'
)


def _word(text: str | None, default: str) -> str:
    return text if text and _WORD.fullmatch(text) else default


_KNOWN: Mapping[str, tuple[tuple[str, ...], int, _Start]] = {
    "redis": (("redis-server", "valkey-server"), 6379, _redis),
    "valkey": (("valkey-server", "redis-server"), 6379, _redis),
    "memcached": (("memcached",), 11211, _memcached),
    "postgres": (("postgres",), 5432, _postgres),
    "postgresql": (("postgres",), 5432, _postgres),
}
"""By an image's name: programs that can stand in, the usual port, and how they are started."""
