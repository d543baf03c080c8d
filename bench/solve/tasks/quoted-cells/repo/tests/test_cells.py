import pytest

from importer.cells import CellError, join_cells, split_line
from importer.tables import column, read_table


def test_plain():
    assert split_line("a,b,,d") == ["a", "b", "", "d"]


def test_quoted_separator():
    assert split_line('a,"b,c",d') == ["a", "b,c", "d"]


def test_doubled_quote():
    assert split_line('1,"a 5"" pipe",x') == ["1", 'a 5" pipe', "x"]


def test_there_and_back():
    cells = ['say "hi"', "plain", "x,y", '"']
    assert split_line(join_cells(cells)) == cells


def test_empty_quoted_cell():
    assert split_line('"",b') == ["", "b"]


def test_open_quote():
    with pytest.raises(CellError):
        split_line('a,"b')


def test_table():
    rows = read_table('Name,Note\nAnn,"x, y"\n\nBob,z\n')
    assert column(rows, "note") == ["x, y", "z"]


def test_ragged_table():
    with pytest.raises(CellError, match="line 3"):
        read_table("a,b\n1,2\n3\n")
