"""Which queue a ticket goes to."""

from collections import defaultdict
from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """All given conditions must hold."""

    queue: str
    word: str = ""
    host: str = ""
    tag: str = ""

    def matches(self, ticket):
        if self.word and not ticket.mentions(self.word):
            return False
        if self.host and ticket.host != self.host:
            return False
        return not self.tag or self.tag in ticket.tags


class Router:
    def __init__(self, rules, default="general"):
        self.rules = list(rules)
        self.default = default

    def queue_for(self, ticket):
        """Return the queue of the first rule that matches."""
        for rule in self.rules:
            if rule.matches(ticket):
                return rule.queue

    def sort(self, tickets):
        """Return {queue: tickets}, the tickets in the order they came."""
        queues = defaultdict(list)
        for ticket in tickets:
            queues[self.queue_for(ticket)].append(ticket)
        return dict(queues)
