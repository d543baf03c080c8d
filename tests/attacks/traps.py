"""One script that fills a workspace with programs that git would start: for agent and control alike."""

import os
import subprocess
from pathlib import Path

from tests.house import CLEAN_GIT, GIT

SCRIPT = r"""
trap_in() {  # a directory with a .git
  cd "$1"
  trap_file() { printf '#!/bin/sh\ntouch "%s/%s"\ncat 2>/dev/null\n' "$SPRUNG" "$2" > "$1"; chmod +x "$1"; }
  mkdir -p .git/traps .git/hooks
  for name in fsmonitor external clean smudge textconv gpg credential include pager editor ssh askpass; do
    trap_file ".git/traps/$name" "$2$name"
  done
  for hook in post-index-change post-checkout post-commit pre-commit pre-push post-merge post-rewrite \
      reference-transaction pre-auto-gc commit-msg prepare-commit-msg applypatch-msg; do
    trap_file ".git/hooks/$hook" "$2$hook"
  done
  at="$PWD/.git/traps"
  git config core.fsmonitor "$at/fsmonitor"
  git config diff.external "$at/external"
  git config filter.evil.clean "$at/clean"
  git config filter.evil.smudge "$at/smudge"
  git config diff.evil.textconv "$at/textconv"
  git config gpg.program "$at/gpg"
  git config commit.gpgSign true
  git config credential.helper "$at/credential"
  git config core.pager "$at/pager"
  git config core.editor "$at/editor"
  git config core.sshCommand "$at/ssh"
  git config core.askPass "$at/askpass"
  printf '[core]\n\tfsmonitor = %s\n' "$at/include" > .git/traps/more
  git config include.path "$at/more"
  git config user.name x; git config user.email x@example.org
  printf '* filter=evil diff=evil\n' > .gitattributes
  echo changed >> README.md
  echo new > new.txt
  cd - > /dev/null
}
trap_in . ""
mkdir -p nested
(cd nested && git init -q && git -c user.name=x -c user.email=x@example.org commit -q --allow-empty -m x)
trap_in nested nested-
mkdir -p elsewhere redirected
(cd elsewhere && git init -q)
trap_in elsewhere elsewhere-
echo "gitdir: $PWD/elsewhere/.git" > redirected/.git
echo x > redirected/file
"""
"""Wants SPRUNG, a directory: each program that runs leaves its name there."""


def spring(tree: Path, sprung: Path) -> None:
    """Fill a repository of the host with traps, by the very script that the agent runs."""
    environment = {**os.environ, **CLEAN_GIT, "SPRUNG": str(sprung), "GIT_CONFIG_GLOBAL": "/dev/null"}
    subprocess.run(["bash", "-c", SCRIPT], cwd=tree, env=environment, check=True, capture_output=True)
    # What git ran while the traps were set says nothing.
    for name in sprung.iterdir():
        name.unlink()


def careless(tree: Path, *arguments: str) -> None:
    """Run git as a program would that knows nothing of hostile trees; how it ends does not matter."""
    subprocess.run(
        [*GIT[:1], *arguments],
        cwd=tree,
        env={**os.environ, **CLEAN_GIT, "GIT_PAGER": "cat", "GIT_TERMINAL_PROMPT": "0"},
        capture_output=True,
        check=False,
        timeout=120,
    )
