"""Cuts a list of results into pages and draws the links between them."""


class Pager:
    """Pages are counted from 1; an empty list has one empty page."""

    def __init__(self, items, size=20):
        if size < 1:
            raise ValueError("a page holds at least one item")
        self.items = list(items)
        self.size = size

    @property
    def page_count(self):
        return max(1, -(-len(self.items) // self.size))

    def page(self, number):
        """Return the items of a page."""
        if not 1 <= number <= self.page_count:
            raise IndexError(f"no page {number}")
        start = (number - 1) * self.size
        return self.items[start : start + self.size]

    def has_next(self, number):
        return number < self.page_count

    def has_previous(self, number):
        return number > 1

    def links(self, number, around=2):
        """Return the page numbers to show, None where some are left out."""
        wanted = {1, self.page_count}
        wanted.update(range(number - around, number + around + 1))
        shown = []
        last = 0
        for candidate in sorted(wanted):
            if not 1 <= candidate <= self.page_count:
                continue
            if candidate - last > 1:
                shown.append(None)
            shown.append(candidate)
            last = candidate
        return shown
