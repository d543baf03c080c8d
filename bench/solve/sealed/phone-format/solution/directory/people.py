"""People and how to call them."""

from directory.phones import normalise, pretty


class Directory:
    def __init__(self):
        self._numbers = {}

    def add(self, name, phone):
        self._numbers.setdefault(name.strip(), []).append(normalise(phone))

    def numbers(self, name):
        return list(self._numbers.get(name, ()))

    def who(self, phone):
        """Return everybody who has a number."""
        wanted = normalise(phone)
        return [name for name, numbers in self._numbers.items() if wanted in numbers]

    def names(self):
        """Return all names in alphabetical order."""
        return sorted(self._numbers, key=str.casefold)

    def lines(self):
        return [f"{name}: {', '.join(map(pretty, self.numbers(name)))}" for name in self.names()]
