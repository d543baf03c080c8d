from site_tools.slugs import plain, slug_path, slugify, unique_slug


def test_words():
    assert slugify("Hello World") == "hello-world"


def test_accents():
    assert plain("Crème brûlée") == "Creme brulee"


def test_dashes_do_not_pile_up():
    assert slugify("Rock & Roll!") == "rock-roll"


def test_no_dash_at_the_edges():
    assert slugify("  (draft) News ") == "draft-news"


def test_other_separator():
    assert slugify("a  b, c", "_") == "a_b_c"


def test_path():
    assert slug_path("Blog", "Year 2026") == "/blog/year-2026"


def test_taken():
    assert unique_slug("News", {"news", "news-2"}) == "news-3"
