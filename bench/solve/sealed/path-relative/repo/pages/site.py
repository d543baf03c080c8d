"""All pages of a site and the links between them."""

from pages.links import LinkError, absolute, is_outside, relative


class Site:
    def __init__(self):
        self.pages = {}

    def add(self, address, links=()):
        self.pages[address] = list(links)

    def broken(self):
        """Return (page, link) for each link that leads nowhere."""
        found = []
        for page, links in sorted(self.pages.items()):
            for link in links:
                if is_outside(link):
                    continue
                try:
                    known = absolute(page, link) in self.pages
                except LinkError:
                    known = False
                if not known:
                    found.append((page, link))
        return found

    def menu(self, page):
        """Return the links from a page to all others."""
        return [relative(page, other) for other in sorted(self.pages) if other != page]
