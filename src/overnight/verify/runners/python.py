"""pytest and unittest, also behind `make`, `tox` or a script: our files come in through the environment."""

import re
from collections.abc import Mapping

PLUGIN = "overnight_pytest"


def variables(inside: str, present: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that load our plugin into pytest and our hook into unittest.

    Nothing of them reaches a program that a test starts: the recorder takes them away.
    """
    paths = [inside, *filter(None, [present.get("PYTHONPATH", "")])]
    options = [present.get("PYTEST_ADDOPTS", ""), f"-p {PLUGIN}"]
    return {
        "PYTHONPATH": ":".join(paths),
        "PYTEST_ADDOPTS": " ".join(filter(None, options)),
        # So that bytecode next to a test can only be somebody's forgery, and is reported.
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def rewrite(script: str, inside: str) -> str:
    """Keep our directory in front where the command itself sets PYTHONPATH."""
    return re.sub(r"(^|[\s;&|(])PYTHONPATH=", rf"\1PYTHONPATH={inside}:", script)


def refused(output: str) -> bool:
    """Say whether pytest could not load our plugin (a wrapper replaced PYTHONPATH)."""
    return f'Error importing plugin "{PLUGIN}"' in output
