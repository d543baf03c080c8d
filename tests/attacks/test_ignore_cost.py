"""Ignore files that would keep the host busy for hours."""

import pytest

from overnight.domain.errors import PatchError
from overnight.environments.ignore import Budget, IgnoreRules
from tests.attacks.hostile import Place

COSTLY = """
rules = "\\n".join("**/" + "*a" * 100 + str(number) for number in range(1000))
open(".gitignore", "w").write(rules)
for number in range(200):
    open("a" * 200 + str(number), "w").close()
"""


def test_costly_rules_are_given_up(place: Place) -> None:
    with place.workspace() as workspace:
        assert place.run_in(workspace, f"python3 -c '{COSTLY}'").exit_code == 0
        with pytest.raises(PatchError, match="ignore files"):
            workspace.export()


@pytest.mark.parametrize("rule", [b"*a*a*a*a*b", b"[a-z][a-z]*[a-z]b", b"a/**/a/**/b", b"**/*[[:alpha:]]b"])
def test_every_way_to_be_costly_is_counted(rule: bytes) -> None:
    rules = IgnoreRules(budget=Budget(5_000)).below(0, b"\n".join([rule] * 50))
    path = ("a", "a", "a" * 200)
    with pytest.raises(PatchError, match="ignore files"):
        any(rules.ignores(path, is_directory=False) for _ in range(1_000))


def test_honest_rules_are_cheap() -> None:
    rules = IgnoreRules().below(
        0, b"*.pyc\n/build/\n.venv/\n*.egg-info/\nnode_modules/\n*.log\n!keep.log\n" * 10
    )
    for number in range(3_000):
        path = ("src", "package", f"module_{number}.py")
        assert not rules.ignores(path, is_directory=False)
