"""Folders as nested dicts: a number is a file's size, a dict is a folder."""


def size(node):
    """Return the bytes of a file or of everything in a folder."""
    if isinstance(node, int):
        return node
    total = 0
    for child in node.values():
        if isinstance(child, int):
            total += child
        else:
            total += sum(grandchild for grandchild in child.values() if isinstance(grandchild, int))
    return total


def walk(node, path=""):
    """Yield (path, size) of all files."""
    for name, child in sorted(node.items()):
        below = f"{path}/{name}"
        if isinstance(child, int):
            yield below, child
        else:
            yield from walk(child, below)


def depth(node):
    """Return how many folders lie within one another."""
    if isinstance(node, int):
        return 0
    return 1 + max((depth(child) for child in node.values()), default=0)


def find(node, path):
    """Return what lies at a path, None when nothing does."""
    for name in path.strip("/").split("/"):
        if not isinstance(node, dict) or name not in node:
            return None
        node = node[name]
    return node
