"""Results of matches and the table that follows from them."""

from dataclasses import dataclass


@dataclass
class Row:
    team: str
    played: int = 0
    points: int = 0
    scored: int = 0
    conceded: int = 0

    @property
    def difference(self):
        return self.scored - self.conceded


class Table:
    def __init__(self, teams=()):
        self._rows = {team: Row(team) for team in teams}

    def row(self, team):
        if team not in self._rows:
            self._rows[team] = Row(team)
        return self._rows[team]

    def add(self, home, away, home_goals, away_goals):
        """Count a match: three points for a win, one each for a draw."""
        for team, scored, conceded in (
            (home, home_goals, away_goals),
            (away, away_goals, home_goals),
        ):
            row = self.row(team)
            row.played += 1
            row.scored += scored
            row.conceded += conceded
            if scored > conceded:
                row.points += 3
            elif scored == conceded:
                row.points += 1

    def ranking(self):
        """Return the rows, best first."""
        return sorted(self._rows.values(), key=lambda row: (-row.points, -row.difference, row.team))

    def lines(self):
        """Return the table as text."""
        return [
            f"{place}. {row.team} {row.points} ({row.difference:+d})"
            for place, row in enumerate(self.ranking(), start=1)
        ]


def parse_match(text):
    """Read `Home 2:1 Away`."""
    home, goals, away = text.split()
    home_goals, _, away_goals = goals.partition(":")
    return home, away, int(home_goals), int(away_goals)
