"""Texts that look like patches, drawn at random: `python -m tests.agents.patch_fuzz COUNT [SEED]`.

Whatever a model writes, reading and applying it ends with a text or with a refusal, never otherwise.
"""

import random
import sys
import time

from overnight.agents.tools.interface import parse_arguments
from overnight.agents.tools.patch_apply import update_text
from overnight.agents.tools.patch_format import UpdateFile, from_shell, parse_patch
from overnight.domain.errors import PatchError

MARKERS = (
    "*** Begin Patch", "*** End Patch", "*** Add File: a", "*** Delete File: b", "*** Update File: c",
    "*** Move to: d", "*** End of File", "*** Update File:", "***", "@@", "@@ def f():", "@@ a", "@@@", "@",
    "<<'EOF'", "EOF", "apply_patch <<'EOF'", "cd x && apply_patch <<EOF", "",
)  # fmt: skip
WORDS = (
    "a", "b", "x = 1", "  x = 1", "\tx", "def f():", "return", "“quoted”", "–", "\u00a0", "\ufeff", "\r",
    "\x0c", "\u2028", "\x85", "\ud800", "\0", "é", "日本", " ", "",
)  # fmt: skip


def line(draw: random.Random) -> str:
    """Return a line as a patch may hold it, more or less."""
    kind = draw.random()
    if kind < 0.3:
        return draw.choice(MARKERS)
    text = "".join(draw.choice(WORDS) for _ in range(draw.randrange(3)))
    return (draw.choice(" -+ -+ -+*@") if kind < 0.9 else "") + text


def patch(draw: random.Random) -> str:
    """Return something like a patch."""
    body = [line(draw) for _ in range(draw.randrange(9))]
    if draw.random() < 0.9:
        body = ["*** Begin Patch", draw.choice(MARKERS[2:6]), *body, "*** End Patch"]
    if draw.random() < 0.05:
        body = ["apply_patch <<'EOF'", *body, "EOF"]
    text = draw.choice(("\n", "\n", "\n", "\r\n")).join(body)
    if draw.random() < 0.1 and text:
        at = draw.randrange(len(text))
        text = text[:at] + draw.choice(WORDS) + text[at + draw.randrange(3) :]
    return text


def target(draw: random.Random) -> str:
    """Return a file's text."""
    lines = ["".join(draw.choice(WORDS) for _ in range(draw.randrange(3))) for _ in range(draw.randrange(7))]
    return draw.choice(("\n", "\n", "\r\n")).join(lines) + draw.choice(("", "\n"))


def try_one(draw: random.Random) -> bool:
    """Read and apply one text; return whether it was a patch that applied."""
    text = patch(draw)
    parse_arguments(text, "patch")
    shell = from_shell(text)
    applied = False
    try:
        for section in parse_patch(shell.patch if shell is not None else text):
            if isinstance(section, UpdateFile) and section.chunks:
                changed = update_text(section.path, target(draw), section.chunks)
                assert changed == "" or changed.endswith("\n")
                applied = True
    except PatchError:
        return False
    return applied


def main() -> int:
    """Try as many as asked for."""
    count, seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    draw, started = random.Random(seed), time.monotonic()
    applied = sum(try_one(draw) for _ in range(count))
    seconds = time.monotonic() - started
    said = f"{count} texts in {seconds:.0f} s, seed {seed}: {applied} applied, the others refused"
    sys.stdout.write(f"{said}, none crashed\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
