import unittest

from league.table import Table, parse_match


def table_of(*matches):
    table = Table()
    for match in matches:
        table.add(*parse_match(match))
    return table


class LeagueTest(unittest.TestCase):
    def test_points(self):
        table = table_of("A 2:1 B", "B 0:0 C")
        self.assertEqual([row.points for row in map(table.row, "ABC")], [3, 1, 1])

    def test_points_decide(self):
        table = table_of("A 1:0 B", "C 2:2 B")
        self.assertEqual(table.ranking()[0].team, "A")

    def test_difference_decides_between_equal_points(self):
        table = table_of("A 1:0 C", "B 5:0 D")
        self.assertEqual([row.team for row in table.ranking()], ["B", "A", "C", "D"])

    def test_name_decides_last(self):
        table = table_of("B 1:0 C", "A 1:0 D")
        self.assertEqual(table.lines(), ["1. A 3 (+1)", "2. B 3 (+1)", "3. C 0 (-1)", "4. D 0 (-1)"])

    def test_no_match_yet(self):
        self.assertEqual(Table(["X"]).lines(), ["1. X 0 (+0)"])


if __name__ == "__main__":
    unittest.main()
