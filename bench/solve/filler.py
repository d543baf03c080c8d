"""Grows a repository to a given number of files that look like a package at work.

The same seed gives the same bytes, so that a large task needs no large folder here.
"""

import random
from collections.abc import Iterator
from pathlib import Path
from string import Template

_TEMPLATES = Path(__file__).parent / "filler"
_ROLES = ("records", "totals", "index", "rules", "report", "test")
_BLOCK_END = "\n# ----\n"
_DOMAINS: dict[str, tuple[str, ...]] = {
    "warehouse": ("pallet", "crate", "shelf_slot", "transfer", "recount"),
    "payroll": ("payslip", "bonus", "deduction", "timesheet", "allowance"),
    "shipping": ("parcel", "container", "route", "manifest", "waybill"),
    "support": ("ticket", "callback", "escalation", "survey", "macro"),
    "fleet": ("vehicle", "trip", "refuel", "repair", "permit"),
    "kitchen": ("recipe", "ingredient", "batch", "menu", "supplier"),
    "library": ("loan", "reservation", "volume", "fine", "reader"),
    "energy": ("meter", "reading", "tariff", "outage", "feeder"),
}
_AMOUNTS = ("units", "weight", "minutes", "points", "cents")
_LABELS = ("region", "owner", "group", "stage", "origin")
_WORDS = ("north", "south", "east", "west", "early", "late", "open", "closed", "spare")


def write_filler(destination: Path, count: int, seed: str) -> None:
    """Write `count` files beside what is there; files that exist are kept."""
    written = 0
    for path, text in _files(random.Random(seed)):
        if written == count:
            return
        target = destination / path
        if target.exists():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        written += 1
    if written < count:
        raise ValueError(f"the filler has only {written} files, {count} were asked for")


def _files(rng: random.Random) -> Iterator[tuple[str, str]]:
    yield "services/__init__.py", ""
    domains = sorted(_DOMAINS)
    rng.shuffle(domains)
    for domain in domains:
        yield f"services/{domain}/__init__.py", f'"""The {domain} side of the business."""\n'
        for noun in _DOMAINS[domain]:
            values = _values(rng, domain, noun)
            for role in _ROLES:
                yield _path(domain, noun, role), _module(rng, role, values)


def _path(domain: str, noun: str, role: str) -> str:
    if role == "test":
        return f"tests/test_{domain}_{noun}.py"
    return f"services/{domain}/{noun}_{role}.py"


def _values(rng: random.Random, domain: str, noun: str) -> dict[str, str]:
    words = rng.sample(_WORDS, 3)
    return {
        "domain": domain,
        "noun": noun,
        "Noun": "".join(part.capitalize() for part in noun.split("_")),
        "plural": noun + ("es" if noun.endswith("ch") else "s"),
        "amount": rng.choice(_AMOUNTS),
        "label": rng.choice(_LABELS),
        "default": str(rng.choice((0, 1))),
        "width": str(rng.choice((12, 16, 20, 24))),
        "small": str(rng.randint(2, 9)),
        "limit": str(rng.choice((100, 250, 400, 1000, 5000))),
        "word1": words[0],
        "word2": words[1],
        "word3": words[2],
    }


def _module(rng: random.Random, role: str, values: dict[str, str]) -> str:
    head, *functions = (_TEMPLATES / f"{role}.txt").read_text(encoding="utf-8").split(_BLOCK_END)
    # The head is what other modules import; the rest differs from one module to the next.
    chosen = [head, *(function for function in functions if rng.random() < 0.8)]
    text = "\n\n\n".join(block.strip("\n") for block in chosen) + "\n"
    return Template(text).substitute(values)
