"""The settings a program sees."""

from functools import reduce

from confkit.layers import flatten, merge, unflatten


class Settings:
    def __init__(self, *layers):
        self._values = reduce(merge, layers, {})

    def __getitem__(self, path):
        at = self._values
        for part in path.split("."):
            at = at[part]
        return at

    def get(self, path, default=None):
        try:
            return self[path]
        except (KeyError, TypeError):
            return default

    def with_overrides(self, pairs):
        """Return new settings with `a.b=value` texts on top."""
        flat = dict(pair.split("=", 1) for pair in pairs)
        return Settings(self._values, unflatten(flat))

    def lines(self):
        return [f"{path} = {value}" for path, value in sorted(flatten(self._values).items())]
