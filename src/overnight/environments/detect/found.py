"""What one language's detection contributes to a recipe."""

from collections.abc import Mapping

import msgspec


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """One language's part of the recipe; why is in `Looking.sources`.

    `runner_setup` is needed only to have the test runner itself: where the caller gives checks of its own
    that do not name `runner`, it is left out.
    """

    language: str
    setup: tuple[str, ...] = ()
    runner: str = ""
    runner_setup: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    variables: Mapping[str, str] = {}
    path: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    lock_files: tuple[str, ...] = ()


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """What the host can offer to a sandbox, as the edge found it."""

    programs: frozenset[str] = frozenset({"python3", "node", "npm", "go", "cargo"})
    python_modules: frozenset[str] = frozenset()
    """Modules that the host's python3 can import without any setup, such as `pytest`."""
