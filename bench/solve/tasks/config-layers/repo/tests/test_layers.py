import pytest

from confkit.layers import flatten, merge, unflatten
from confkit.settings import Settings

DEFAULTS = {"db": {"host": "localhost", "port": 5432, "pool": {"size": 4}}, "debug": False}


def test_later_layer_wins():
    assert merge({"a": 1, "b": 2}, {"b": 3}) == {"a": 1, "b": 3}


def test_nested_values_survive():
    settings = Settings(DEFAULTS, {"db": {"port": 6543}})
    assert settings["db.port"] == 6543
    assert settings["db.host"] == "localhost"


def test_three_levels_deep():
    settings = Settings(DEFAULTS).with_overrides(["db.pool.timeout=9"])
    assert settings["db.pool"] == {"size": 4, "timeout": "9"}


def test_plain_value_replaces_section():
    assert merge({"db": {"host": "x"}}, {"db": None}) == {"db": None}
    assert merge({"db": None}, {"db": {"host": "x"}}) == {"db": {"host": "x"}}


def test_layers_are_not_changed():
    base = {"a": {"b": [1]}}
    merge(base, {"a": {"b": [2], "c": 1}})
    assert base == {"a": {"b": [1]}}


def test_flatten_there_and_back():
    assert unflatten(flatten(DEFAULTS)) == DEFAULTS


def test_missing():
    settings = Settings(DEFAULTS)
    assert settings.get("db.nothing", 1) == 1
    with pytest.raises(KeyError):
        settings["nothing"]
