"""What a program needs to take its session up again, kept step by step and put back into a new sandbox."""

import hashlib
import shlex

from overnight.agents.interface import Assignment
from overnight.agents.programs.start import tail
from overnight.agents.programs.table import Program
from overnight.agents.record import last_of
from overnight.domain.errors import OvernightError
from overnight.domain.events import HomeKept, LimitHit, Noted
from overnight.sandbox.interface import Command

_ARCHIVE = "/tmp/.overnight-home.tar"  # noqa: S108 (inside the sandbox, where everything is the program's)


class Home:
    """The home of one program in one sandbox.

    The archive is written and read inside the sandbox: the host follows no path that a program made, and
    holds its bytes for what they are, bytes.
    """

    def __init__(self, program: Program, assignment: Assignment) -> None:
        self._program = program
        self._assignment = assignment
        kept = last_of(HomeKept, assignment.history)
        self._digest = kept.digest if kept is not None else ""
        self._given_up = not (program.keeps and (program.resume or program.by_protocol))

    async def restore(self) -> bool:
        """Unpack what was kept last; say whether the program can go on from there by itself."""
        if not self._digest or self._given_up:
            return False
        try:
            content = self._assignment.artifacts.get(self._digest)
        except OvernightError:
            return False  # it was pruned
        unpack = Command(script='tar -C "$HOME" -xf -', stdin=content)
        result = await self._assignment.sandbox.run(unpack)
        if result.exit_code != 0:
            self._assignment.events.emit(Noted(text=f"the session could not be put back: {tail(result)}"))
            return False
        return True

    async def keep(self, step: int) -> None:
        """Keep the session as it is after `step`, if it changed. What goes wrong is recorded, once."""
        if self._given_up:
            return
        bound = self._assignment.limits.home_bytes
        try:
            content = await self._archive(bound)
            if content is None:
                self._assignment.events.emit(LimitHit(limit="home_bytes", detail=f"{bound} bytes"))
                self._give_up(step, "it is too large")
                return
            digest = self._assignment.artifacts.put(content) if content else self._digest
        except OvernightError as error:
            self._give_up(step, error.message)
            return
        if content and digest != hashlib.sha256(content).hexdigest():
            self._give_up(step, "it holds values of secrets")  # without them it is no archive any more
        elif digest != self._digest:
            self._digest = digest
            self._assignment.events.emit(HomeKept(step=step, digest=digest, bytes=len(content)))

    def _give_up(self, step: int, why: str) -> None:
        """From here on the program's session stands no longer for the conversation."""
        self._given_up = True
        self._assignment.events.emit(Noted(text=f"the program's session is not kept any more: {why}"))
        if self._digest:
            self._assignment.events.emit(HomeKept(step=step, digest=""))

    async def _archive(self, bound: int) -> bytes | None:
        """Return the paths that the program keeps as a tar file; None where it is larger than `bound`.

        Raises:
            OvernightError: it could not be made.
        """
        # What a command prints is kept up to `output_bytes`, half of it for each stream: hence in pieces.
        piece = max(self._assignment.limits.output_bytes // 4, 4096)
        patterns = " ".join(_pattern(path) for path in self._program.keeps)
        script = (
            f'cd "$HOME" && shopt -s nullglob && set -- {patterns} && found=() && '
            'for path; do [ -e "$path" ] && found+=("$path"); done; '
            "[ ${#found[@]} -gt 0 ] || { echo 0 >&2; exit 0; }; "
            # A file that changes while it is read is the next step's affair.
            f'tar -cf - --sort=name --warning=no-file-changed --ignore-failed-read -- "${{found[@]}}" '
            f"2>/dev/null | head -c {int(bound) + 1} > {_ARCHIVE}; "
            f"wc -c < {_ARCHIVE} >&2; head -c {piece} {_ARCHIVE}"
        )
        result = await self._assignment.sandbox.run(Command(script=script))
        size = result.stderr.decode("ascii", "replace").strip()
        if result.exit_code != 0 or not size.isdecimal():
            raise OvernightError(tail(result))
        if int(size) > bound:
            return None
        pieces = [result.stdout]
        for place in range(piece, int(size), piece):
            rest = Command(script=f"tail -c +{place + 1} {_ARCHIVE} | head -c {piece}")
            pieces.append((await self._assignment.sandbox.run(rest)).stdout)
        content = b"".join(pieces)
        if len(content) != int(size):
            raise OvernightError("the archive changed while it was read")
        return content


def _pattern(path: str) -> str:
    """Return a pattern as the shell takes it: all of it literal but `*`."""
    return "*".join(shlex.quote(part) if part else "" for part in path.split("*"))
