"""Half-open ranges (start, end) of seconds."""


def checked(start, end):
    """Return the range, or raise when it runs backwards."""
    if end < start:
        raise ValueError(f"range runs backwards: {start}..{end}")
    return (start, end)


def merge(ranges):
    """Return the ranges sorted, those that overlap or touch joined into one."""
    merged = []
    for start, end in sorted(ranges):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def clip(ranges, low, high):
    """Return the parts of the ranges between low and high."""
    result = []
    for start, end in ranges:
        start, end = max(start, low), min(end, high)
        if start < end:
            result.append((start, end))
    return result


def covered(ranges):
    """Return how many seconds at least one range covers."""
    return sum(end - start for start, end in merge(ranges))
