"""`.openhands/setup.sh` of OpenHands: a script that is sourced, and may take ten minutes."""

from overnight.environments.detect.found import Host
from overnight.environments.detect.reader import Looking
from overnight.environments.importers.imported import Imported, open_file, unreadable
from overnight.environments.importers.texts import UnreadableError, decode

FILE = ".openhands/setup.sh"
SECONDS = 600.0


def import_openhands(looking: Looking, host: Host) -> Imported | None:
    """Return what the repository's `.openhands/setup.sh` means, or None where there is none."""
    opened = open_file(looking, host, FILE)
    if opened is None:
        return None
    file, content = opened
    try:
        script = decode(content)
    except UnreadableError as error:
        return unreadable(file, "script", error)
    lines = [line for line in script.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if not lines:
        return None
    if any(line.lstrip().startswith(("sudo ", "apt-get ", "apt ")) for line in lines):
        file.note("setup", "it calls sudo or apt, and nothing in a sandbox is root: it may fail")
    file.note("setup", "it is sourced by bash, for at most 10 minutes")
    file.close()
    # Sourced, so that it runs without being executable, as it does there.
    return Imported(file=FILE, setup=(f"source {FILE}",), setup_seconds=SECONDS, lock_files=(FILE,))
