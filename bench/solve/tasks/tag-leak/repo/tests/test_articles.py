from inventory.articles import Article, tagged
from inventory.reorder import order_text, to_reorder


def test_tags_stay_with_their_article():
    vase = Article("A1", "vase")
    brick = Article("A2", "brick")
    vase.add_tag("Fragile")
    assert vase.tags == ["fragile"]
    assert brick.tags == []


def test_given_list_is_not_changed():
    shared = ["garden"]
    rake = Article("A3", "rake", tags=shared)
    rake.add_tag("tool")
    assert rake.tags == ["garden", "tool"]
    assert shared == ["garden"]


def test_find_by_tag():
    pots = [Article("B2", "pot", tags=["garden"]), Article("B1", "hoe", tags=["garden"])]
    assert [article.number for article in tagged(pots, "garden")] == ["B1", "B2"]


def test_take_no_more_than_there_is():
    article = Article("C1", "nail", 3)
    assert article.take(5) == 3
    assert article.stock == 0


def test_reorder():
    amounts = to_reorder([Article("D2", "x", 2), Article("D1", "y", 4), Article("D3", "z", 9)])
    assert order_text(amounts) == "D1: 16\nD2: 18"
