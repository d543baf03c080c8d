"""How many of each article each store has."""

from collections import Counter, defaultdict


class NotEnough(Exception):
    """A store has less than was asked for."""


class Ledger:
    def __init__(self):
        self._stock = defaultdict(Counter)
        self.moves = []

    def receive(self, store, article, amount):
        self._stock[store][article] += amount

    def amount(self, store, article):
        return self._stock[store][article]

    def move(self, source, target, article, amount):
        """Move an amount of an article from one store to another."""
        if amount <= 0:
            raise ValueError("amount must be positive")
        if self._stock[source][article] < amount:
            raise NotEnough(f"{source} has {self._stock[source][article]} {article}")
        self._stock[source][article] -= amount
        self._stock[target][article] += amount
        self.moves.append((source, target, article, amount))

    def total(self, article):
        return sum(stock[article] for stock in self._stock.values())
