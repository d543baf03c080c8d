from desk.routing import Router, Rule
from desk.tickets import Ticket

RULES = [
    Rule("billing", word="invoice"),
    Rule("partners", host="partner.example"),
    Rule("urgent", tag="down"),
]


def test_word():
    assert Router(RULES).queue_for(Ticket("My Invoice", "a@x.example")) == "billing"


def test_host():
    assert Router(RULES).queue_for(Ticket("Hi", "a@Partner.example")) == "partners"


def test_tag():
    assert Router(RULES).queue_for(Ticket("Help", "a@x.example", tags={"down"})) == "urgent"


def test_no_rule_matches():
    assert Router(RULES, "misc").queue_for(Ticket("Hello", "a@x.example")) == "misc"


def test_sort_uses_default():
    tickets = [Ticket("Hello", "a@x.example"), Ticket("invoice", "b@x.example")]
    assert list(Router(RULES).sort(tickets)) == ["general", "billing"]


def test_conditions_together():
    rule = Rule("x", word="tax", host="h.example")
    assert not rule.matches(Ticket("tax", "a@other.example"))
