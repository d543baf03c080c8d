# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
"""Inside the sandbox: Python loads this at its start; it watches `unittest` before any checked code runs."""

import os
import sys

if os.environ.get("OVERNIGHT_CHANNEL"):
    _arguments = list(getattr(sys, "orig_argv", []))
    _module = ""
    for _index, _word in enumerate(_arguments[1:], 1):
        if _word == "-m" and _index + 1 < len(_arguments):
            _module = _arguments[_index + 1]
            break
        if not _word.startswith("-"):
            break
    import overnight_unittest

    if _module == "unittest":
        overnight_unittest.begin()
    elif _module not in ("pytest", "pip", "venv", "tox", "nox"):
        overnight_unittest.await_import()
