"""The documents point to what is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "bench").glob("*.md")], key=str
)


def headings(text: str) -> set[str]:
    """Return the anchors that a forge makes of a document's headings."""
    outside = re.sub(r"(?ms)^(`{3,})\w*$.*?^\1$", "", text)
    titles: list[str] = re.findall(r"(?m)^#+ (.+)$", outside)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    text = document.read_text()
    lost: list[str] = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        name, _, anchor = target.partition("#")
        if "://" in name:
            continue
        other = document.parent / name if name else document
        if not other.exists() or (anchor and anchor not in headings(other.read_text())):
            lost.append(target)
    assert lost == []
