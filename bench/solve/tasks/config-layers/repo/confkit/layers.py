"""Settings from several layers, later ones first in line."""

import copy


def merge(base, over):
    """Return the base with the values of `over` put on top; neither is changed."""
    result = copy.deepcopy(base)
    for key, value in over.items():
        result[key] = copy.deepcopy(value)
    return result


def flatten(settings, prefix=""):
    """Return nested settings as {"a.b": value}."""
    flat = {}
    for key, value in settings.items():
        path = f"{prefix}.{key}" if prefix else key
        if isinstance(value, dict) and value:
            flat.update(flatten(value, path))
        else:
            flat[path] = value
    return flat


def unflatten(flat):
    """Return {"a.b": value} as nested settings."""
    settings = {}
    for path, value in flat.items():
        at = settings
        *parents, last = path.split(".")
        for parent in parents:
            at = at.setdefault(parent, {})
        at[last] = value
    return settings
