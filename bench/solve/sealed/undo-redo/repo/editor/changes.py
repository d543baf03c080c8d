"""Changes to a text, each with its opposite."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Insert:
    at: int
    text: str

    def apply(self, document):
        if not 0 <= self.at <= len(document):
            raise IndexError(f"no place {self.at}")
        return document[: self.at] + self.text + document[self.at :]

    def opposite(self, document):
        return Delete(self.at, len(self.text))


@dataclass(frozen=True)
class Delete:
    at: int
    count: int

    def apply(self, document):
        if self.at < 0 or self.at + self.count > len(document):
            raise IndexError(f"nothing to delete at {self.at}")
        return document[: self.at] + document[self.at + self.count :]

    def opposite(self, document):
        return Insert(self.at, document[self.at : self.at + self.count])
