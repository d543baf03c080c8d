"""A document whose changes can be taken back and done again."""


class History:
    def __init__(self, document="", limit=100):
        self.document = document
        self.limit = limit
        self._undo = []
        self._redo = []

    def do(self, change):
        """Carry out a change."""
        opposite = change.opposite(self.document)
        self.document = change.apply(self.document)
        self._undo.append((change, opposite))
        if len(self._undo) > self.limit:
            del self._undo[0]

    def undo(self):
        """Take back the last change; returns whether there was one."""
        if not self._undo:
            return False
        change, opposite = self._undo.pop()
        self.document = opposite.apply(self.document)
        self._redo.append((change, opposite))
        return True

    def redo(self):
        """Do again what was taken back last; returns whether there was something."""
        if not self._redo:
            return False
        change, opposite = self._redo.pop()
        self.document = change.apply(self.document)
        self._undo.append((change, opposite))
        return True

    @property
    def can_undo(self):
        return bool(self._undo)

    @property
    def can_redo(self):
        return bool(self._redo)
