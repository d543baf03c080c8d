"""The articles we keep, with stock and tags."""


class Article:
    """Something with a number that lies on a shelf."""

    def __init__(self, number, name, stock=0, tags=[]):
        self.number = number
        self.name = name.strip()
        self.stock = stock
        self.tags = tags

    def __repr__(self):
        return f"Article({self.number!r}, {self.name!r}, {self.stock})"

    def add_tag(self, tag):
        tag = tag.strip().lower()
        if tag and tag not in self.tags:
            self.tags.append(tag)

    def remove_tag(self, tag):
        tag = tag.strip().lower()
        if tag in self.tags:
            self.tags.remove(tag)

    def take(self, amount):
        """Take some from the shelf; returns what could be taken."""
        if amount < 0:
            raise ValueError("cannot take a negative amount")
        taken = min(amount, self.stock)
        self.stock -= taken
        return taken


def tagged(articles, tag):
    """Return the articles with a tag, by number."""
    found = [article for article in articles if tag in article.tags]
    return sorted(found, key=lambda article: article.number)
