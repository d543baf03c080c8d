"""Whole files of comma separated values."""

from importer.cells import CellError, split_line


def read_table(text):
    """Return a dict for every line below the header."""
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        return []
    header = [name.strip().lower() for name in split_line(lines[0])]
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        cells = split_line(line)
        if len(cells) != len(header):
            raise CellError(f"line {number}: {len(cells)} cells, {len(header)} expected")
        rows.append(dict(zip(header, cells)))
    return rows


def column(rows, name):
    return [row[name] for row in rows]
