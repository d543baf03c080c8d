"""What takes the most room."""

from disk.trees import size, walk

_UNITS = ("B", "KB", "MB", "GB")


def human(count):
    """Return bytes in the largest unit that keeps the number above one."""
    value = float(count)
    for unit in _UNITS:
        if value < 1024 or unit == _UNITS[-1]:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError


def biggest(node, count=3):
    """Return the largest entries of a folder as (name, text)."""
    sizes = sorted(((size(child), name) for name, child in node.items()), reverse=True)
    return [(name, human(bytes_)) for bytes_, name in sizes[:count]]


def over(node, limit):
    """Return the files above a size."""
    return [path for path, bytes_ in walk(node) if bytes_ > limit]
