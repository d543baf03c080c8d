"""Header fields of a message; names are compared without case."""


class Headers:
    """Keeps the order and the spelling of names; a name may come several times."""

    def __init__(self, pairs=()):
        self._pairs = [(name.strip(), value.strip()) for name, value in pairs]

    def __len__(self):
        return len(self._pairs)

    def __iter__(self):
        return iter(self._pairs)

    def __contains__(self, name):
        return any(own.lower() == name.lower() for own, _ in self._pairs)

    def __getitem__(self, name):
        for own, value in self._pairs:
            if own.lower() == name.lower():
                return value
        raise KeyError(name)

    def get(self, name, default=None):
        try:
            return self[name]
        except KeyError:
            return default

    def all(self, name):
        """Return every value of a name, in order."""
        return [value for own, value in self._pairs if own.lower() == name.lower()]

    def set(self, name, value):
        """Replace all values of a name by one."""
        self._pairs = [pair for pair in self._pairs if pair[0].lower() != name.lower()]
        self._pairs.append((name, value))


def parse_headers(text):
    """Read `Name: value` lines up to the first empty one."""
    pairs = []
    for line in text.splitlines():
        if not line.strip():
            break
        name, colon, value = line.partition(":")
        if not colon:
            raise ValueError(f"not a header: {line!r}")
        pairs.append((name, value))
    return Headers(pairs)


def wants_json(headers):
    """Whether the sender asks for JSON."""
    if "accept" not in headers:
        return False
    return "application/json" in headers["accept"]
