"""Finds notes by their words."""

from collections import defaultdict

from notes.words import snippet, words


class Index:
    def __init__(self):
        self._texts = {}
        self._found_in = defaultdict(set)

    def add(self, name, text):
        if name in self._texts:
            self.remove(name)
        self._texts[name] = text
        for word in words(text):
            self._found_in[word].add(name)

    def remove(self, name):
        text = self._texts.pop(name)
        for word in words(text):
            self._found_in[word].discard(name)

    def find(self, query):
        """Return the names of the notes that answer a query, sorted."""
        wanted = words(query)
        if not wanted:
            return []
        names = set()
        for word in wanted:
            names |= self._found_in.get(word, set())
        return sorted(names)

    def results(self, query):
        """Return (name, piece of text) pairs."""
        first = next(iter(words(query)), "")
        return [(name, snippet(self._texts[name], first)) for name in self.find(query)]
