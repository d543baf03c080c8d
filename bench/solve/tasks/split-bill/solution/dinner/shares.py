"""Who pays how much of a bill, in cents."""


def split_evenly(cents, people):
    """Return one share for each person."""
    if people < 1:
        raise ValueError("nobody to pay")
    share, rest = divmod(cents, people)
    return [share + 1] * rest + [share] * (people - rest)


def split_by_weight(cents, weights):
    """Return shares in proportion to the weights; the last one takes the rest."""
    whole = sum(weights)
    if whole <= 0:
        raise ValueError("weights must add up to something")
    shares = [cents * weight // whole for weight in weights[:-1]]
    return [*shares, cents - sum(shares)]


def with_tip(cents, percent):
    return cents + round(cents * percent / 100)
