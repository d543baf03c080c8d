"""A recipe for people: as lines, and as a `.overnight.toml` to start from."""

import json
from collections.abc import Sequence

from overnight.cli.lines import telling
from overnight.cli.text import one_line
from overnight.cli.units import show_seconds
from overnight.domain.environment import Recipe

WIDTH = 200


def recipe_lines(recipe: Recipe) -> list[str]:
    """Return what a person wants to know of a recipe, made safe for a terminal."""
    lines = [f"{'languages:':12}{', '.join(recipe.languages) or 'none recognised'}"]
    if recipe.base:
        lines.append(f"{'base:':12}{one_line(recipe.base, WIDTH)} (container backend only)")
    lines += _labelled("setup", recipe.setup, always=True)
    lines += _labelled("maintenance", recipe.maintenance)
    for service in recipe.services:
        ready = f", ready when: {service.ready.splitlines()[-1]}" if service.ready else ""
        lines += _labelled("service", [f"{service.name}: {service.command.splitlines()[-1]}{ready}"])
    lines += _labelled("start", recipe.start)
    lines += _labelled("checks", recipe.checks, always=True)
    lines += _labelled("lock files", recipe.lock_files, always=True)
    lines += _labelled("secrets", [f"{secret.name} ({secret.phase})" for secret in recipe.secrets])
    lines += _labelled("limits", [f"{name} = {value:g}" for name, value in recipe.limits.items()])
    lines += _labelled("variables", [f"{name}={value}" for name, value in recipe.variables.items()])
    if recipe.path:
        lines.append(f"{'path:':12}{one_line(':'.join(recipe.path), WIDTH)}")
    if recipe.setup:
        lines.append(f"{'setup time:':12}at most {show_seconds(recipe.setup_seconds)}")
    lines.append("because:")
    ignored = [source for source in recipe.sources if source.startswith("ignored: ")]
    lines += [f"  {one_line(source, WIDTH)}" for source in recipe.sources if source not in ignored]
    return [*lines, *(f"  {one_line(source, WIDTH)}" for source in ignored)]


def _labelled(label: str, entries: Sequence[str], *, always: bool = False) -> list[str]:
    if not entries and not always:
        return []
    lines: list[str] = []
    for entry in entries or ("(none)",):
        parts = [part for part in telling(entry).splitlines() if part.strip()]
        more = f" (and {len(parts) - 1} more lines)" if len(parts) > 1 else ""
        shown = one_line(parts[0] if parts else "", WIDTH) + more
        lines.append(f"{label + ':' if not lines else '':12}{shown}".rstrip())
    return lines


def recipe_toml(recipe: Recipe) -> str:
    """Return the recipe as a `.overnight.toml`, which says all that was detected or imported."""
    lines = ["# Written by `overnight env detect --write`. Every key is optional: see docs/reference.md."]
    if recipe.base:
        lines.append(f"base = {_value(recipe.base)}")
    for key in ("setup", "maintenance", "start", "checks", "path", "tools", "lock_files", "protected"):
        entries: tuple[str, ...] = getattr(recipe, key)
        if entries or key in ("setup", "checks"):
            lines.append(f"{key} = {_list(entries)}")
    if recipe.setup:
        lines.append(f"setup_network = {_value(recipe.setup_network)}")
        lines.append(f"setup_seconds = {recipe.setup_seconds:g}")
    lines += _table("variables", recipe.variables)
    for service in recipe.services:
        lines += ["", f"[services.{service.name}]", f"command = {_value(service.command)}"]
        lines += [f"ready = {_value(service.ready)}", f"seconds = {service.seconds:g}"]
        lines += _table(f"services.{service.name}.variables", service.variables)
    lines += _table("secrets", {secret.name: secret.phase for secret in recipe.secrets})
    if recipe.limits:
        lines += ["", "[limits]", *(f"{name} = {value:.15g}" for name, value in recipe.limits.items())]
    return "\n".join(lines) + "\n"


def _table(name: str, values: dict[str, str]) -> list[str]:
    if not values:
        return []
    return ["", f"[{name}]", *(f"{key} = {_value(value)}" for key, value in values.items())]


def _list(entries: Sequence[str]) -> str:
    if len(entries) < 2:
        return f"[{', '.join(_value(entry) for entry in entries)}]"
    return "[\n" + "".join(f"    {_value(entry)},\n" for entry in entries) + "]"


def _value(text: str) -> str:
    """Return a TOML string; JSON's escapes are TOML's as well, but for DEL and lone surrogates."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
