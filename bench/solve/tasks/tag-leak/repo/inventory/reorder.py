"""What to order again, and how much of it."""


def to_reorder(articles, minimum=5, target=20):
    """Return {number: amount} for all articles below the minimum."""
    return {
        article.number: target - article.stock for article in articles if article.stock < minimum
    }


def order_text(amounts):
    """Return the order as text, one article a line."""
    return "\n".join(f"{number}: {amount}" for number, amount in sorted(amounts.items()))
