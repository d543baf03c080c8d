"""Splits lines of comma separated values, and writes them."""


class CellError(ValueError):
    """A line that cannot be split."""


def split_line(line, separator=","):
    """Return the cells of one line; quoted cells may hold separators."""
    cells = []
    cell = ""
    quoted = False
    position = 0
    while position < len(line):
        character = line[position]
        if quoted:
            if character == '"':
                quoted = False
            else:
                cell += character
        elif character == '"':
            quoted = True
        elif character == separator:
            cells.append(cell)
            cell = ""
        else:
            cell += character
        position += 1
    if quoted:
        raise CellError("a quote is not closed")
    cells.append(cell)
    return cells


def join_cells(cells, separator=","):
    """Return one line that `split_line` reads back."""
    written = []
    for cell in cells:
        if separator in cell or '"' in cell:
            cell = '"' + cell.replace('"', '""') + '"'
        written.append(cell)
    return separator.join(written)
