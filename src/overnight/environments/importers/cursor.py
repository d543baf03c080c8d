"""`.cursor/environment.json` of Cursor: `install` is setup and maintenance, `start` is start."""

from overnight.environments.detect.found import Host
from overnight.environments.detect.reader import Looking
from overnight.environments.importers.commands import for_sandbox
from overnight.environments.importers.imported import File, Imported, expand, open_file, unreadable
from overnight.environments.importers.texts import UnreadableError, read_jsonc

FILE = ".cursor/environment.json"

_REFUSED = {
    "build": "images are not built here; the host's programs are used",
    "snapshot": "snapshots of another service cannot be read",
    "terminals": "they are for people; a server that checks need belongs into [services] of .overnight.toml",
    "ports": "no port leads out of a sandbox",
    "user": "commands run as one user, never as root",
    "repositoryDependencies": "a sandbox sees one repository",
}
_SILENT = frozenset(("$schema", "name", "install", "start", "agentCanUpdateSnapshot", "persistedDirectories"))


def import_cursor(looking: Looking, host: Host) -> Imported | None:
    """Return what the repository's `.cursor/environment.json` says, or None where there is none."""
    opened = open_file(looking, host, FILE)
    if opened is None:
        return None
    file, content = opened
    try:
        values = read_jsonc(content)
    except UnreadableError as error:
        return unreadable(file, "JSON", error)
    for key in values:
        if key in _REFUSED:
            file.ignore(key, _REFUSED[key])
        elif key not in _SILENT:
            file.ignore(key, "no such key is known")
    install, start = (_command(file, key, file.text(values, key)) for key in ("install", "start"))
    file.close()
    return Imported(file=file.path, setup=install, maintenance=install, start=start)


def _command(file: File, key: str, text: str | None) -> tuple[str, ...] | None:
    if not text:
        return None
    script = for_sandbox(expand(text), lambda part, why: file.ignore(f"{key}: {part}", why))
    if not script:
        return None
    file.note(key, script)
    return (script,)
