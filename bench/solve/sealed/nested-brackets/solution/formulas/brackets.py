"""Checks brackets before a formula is read."""

PAIRS = {")": "(", "]": "[", "}": "{"}


def first_problem(text):
    """Return the position of the first bracket that is wrong, None when all are fine.

    A bracket that is never closed is wrong too.
    """
    opened = []
    for position, character in enumerate(text):
        if character in PAIRS.values():
            opened.append(position)
        elif character in PAIRS:
            if not opened or text[opened[-1]] != PAIRS[character]:
                return position
            opened.pop()
    return opened[-1] if opened else None


def balanced(text):
    return first_problem(text) is None


def depth(text):
    """Return how deep the brackets lie within one another."""
    level = deepest = 0
    for character in text:
        if character in PAIRS.values():
            level += 1
            deepest = max(deepest, level)
        elif character in PAIRS:
            level -= 1
    return deepest
