"""Whether sandboxes can have users of their own here: found by trying, and why not."""

from pathlib import Path

from overnight.sandbox.native.identities import Identities


class Apart:
    """What is known of it in this process.

    Args:
        runtime: where the workers of a machine agree on who has which user; None where all are the caller.
    """

    def __init__(self, runtime: Path | None) -> None:
        self.identities: Identities | None = None
        self._why: dict[int, str] = {}
        """Why not, for file systems by their device."""
        self.why = ""
        """Why in no case."""
        if runtime is None:
            self.why = "they are the user who started Overnight"
            return
        try:
            self.identities = Identities(runtime)
        except OSError as error:
            self.why = f"{error.filename or runtime}: {error.strerror}"

    def possible(self, upper: Path) -> bool:
        """Say whether a sandbox over this layer may have its own, as far as is known."""
        return self.identities is not None and not self.why_not(upper)

    def why_not(self, upper: Path) -> str:
        """Return the reason why not, as far as is known."""
        return self.why or self._why.get(_device(upper), "")

    def refused(self, upper: Path, error: OSError) -> None:
        """Remember that the kernel refused a map for a workspace with this layer."""
        where = f"{error.filename}: " if error.filename else ""
        self._why[_device(upper)] = f"{where}{error.strerror}"


def _device(path: Path) -> int:
    try:
        return path.stat().st_dev
    except OSError:
        return 0  # whoever mounts it says that it is missing
