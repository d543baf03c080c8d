"""Addresses of pages, as `folder/folder/page`."""


class LinkError(ValueError):
    """An address that leads nowhere."""


def parts(address):
    return [part for part in address.split("/") if part]


def folder(address):
    """Return the folders a page lies in."""
    return parts(address)[:-1]


def absolute(source, link):
    """Return the address that a link on a page means."""
    at = [] if link.startswith("/") else folder(source)
    for part in parts(link):
        if part == "..":
            if not at:
                raise LinkError(f"{link} on {source} leads outside")
            at.pop()
        elif part != ".":
            at.append(part)
    return "/".join(at)


def relative(source, target):
    """Return the link to put on a page so that it leads to another."""
    here = folder(source)
    there = parts(target)
    if there[: len(here)] == here:
        return "/".join(there[len(here) :])
    return "/".join(there)


def is_outside(link):
    """Whether a link leads to another site."""
    return "://" in link or link.startswith("mailto:")
