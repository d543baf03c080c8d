# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# ruff: noqa: PTH100, PTH119, PTH120
"""Inside the sandbox: records what `unittest`'s own runner runs.

For `python -m unittest` the channel is taken at the interpreter's start. For a script that calls
`unittest.main()` it is taken when the runner starts, after the script's imports.
"""

import importlib.abc
import importlib.machinery
import os
import sys

_FAILED = "unittest.loader._FailedTest."


class _Waiter(importlib.abc.MetaPathFinder):
    """Watches for the import of `unittest.runner` and hooks it once it is there."""

    def find_spec(self, name, path=None, target=None):
        if name != "unittest.runner":
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def load_and_hook(module):
            load(module)
            _hook(module, None, None)

        spec.loader.exec_module = load_and_hook
        return spec


def await_import():
    """Hook the runner when, and only if, this process imports it."""
    sys.meta_path.insert(0, _Waiter())


def begin():
    """Take the channel now and hook the runner."""
    import overnight_record

    claimed = overnight_record.claim()
    if claimed is None:
        return
    import unittest.main
    import unittest.runner

    claimed[0]("begin", runner="unittest")
    _hook(unittest.runner, claimed, overnight_record)
    _hide()


def _hide():
    for name in ("overnight_record", "overnight_unittest", "sitecustomize"):
        sys.modules.pop(name, None)


def _hook(runner, claimed, module):
    original = runner.TextTestRunner.run
    trusted = os.path.dirname(os.path.abspath(runner.__file__))
    state = {"claimed": claimed, "busy": False, "module": module, "replaced": None}

    def run(self, test):
        if state["busy"] or (claimed is not None and not _from_program(trusted)):
            return original(self, test)
        if state["claimed"] is None:
            import overnight_record

            state["claimed"], state["module"] = overnight_record.claim(), overnight_record
            if state["claimed"] is None:
                return original(self, test)
            state["claimed"][0]("begin", runner="unittest")
        state["busy"] = True
        try:
            return _recorded(self, test, original, state)
        finally:
            state["busy"] = False

    runner.TextTestRunner.run = run
    if module is not None:
        state["replaced"] = module.watch()


def _from_program(trusted):
    """Say whether `unittest`'s main program is the caller, with no frame of checked code in between."""
    frame = sys._getframe(2)
    while frame is not None:
        path = frame.f_code.co_filename
        if not path.startswith((trusted, "<frozen")) and os.path.basename(path) != "runpy.py":
            return False
        frame = frame.f_back
    return True


def _recorded(runner, test, original, state):
    record, release = state["claimed"]
    replaced = state["replaced"] or state["module"].watch()
    cases = _flatten(test)
    record("collected", ids=[_name(case) for case in cases])
    modules = [sys.modules.get(type(case).__module__) for case in cases]
    files = {module.__file__ for module in modules if getattr(module, "__file__", None)}
    wrong = _wrong(cases, state["module"].genuine())
    runner.failfast = False
    make = runner._makeResult
    counts = {"tests": 0}

    def make_recording():
        result = make()
        base = result.__class__
        result.__class__ = type("Result", (base,), _methods(record, counts, base))
        return result

    runner._makeResult = make_recording
    outcome = original(runner, test)
    record("tampered", names=sorted(wrong | replaced() | state["module"].bytecode(files)))
    record("end", tests=counts["tests"])
    release()
    return outcome


def _wrong(cases, genuine):
    """Name the tests whose code is not what their file says."""
    found = set()
    for case in cases:
        module = sys.modules.get(type(case).__module__)
        path = getattr(module, "__file__", None)
        function = getattr(type(case), getattr(case, "_testMethodName", ""), None)
        if path and function is not None and not _name(case).endswith(")"):
            wrong = genuine(function, os.path.abspath(path))
            if wrong:
                found.add(wrong + " of " + _name(case))
    return found


def _flatten(test):
    try:
        inner = list(test)
    except TypeError:
        return [test]
    return [case for part in inner for case in _flatten(part)]


def _name(case):
    """Return the test's name; a module that could not be imported is a collection target."""
    name = case.id()
    if name.startswith(_FAILED):
        return name[len(_FAILED) :] + " (collection)"
    if type(case).__name__ == "_ErrorHolder":
        return name + " (set-up)"
    return name


def _methods(record, counts, base):
    def reporting(method, status):
        def report(self, test, *rest):
            counts["tests"] += 1
            record("test", id=_name(test), status=status)
            return getattr(base, method)(self, test, *rest)

        return report

    def add_sub_test(self, test, subtest, error):
        if error is not None:
            counts["tests"] += 1
            record("test", id=_name(test), status="failed")
        return base.addSubTest(self, test, subtest, error)

    return {
        "addSuccess": reporting("addSuccess", "passed"),
        "addFailure": reporting("addFailure", "failed"),
        "addError": reporting("addError", "error"),
        "addSkip": reporting("addSkip", "skipped"),
        "addExpectedFailure": reporting("addExpectedFailure", "skipped"),
        "addUnexpectedSuccess": reporting("addUnexpectedSuccess", "failed"),
        "addSubTest": add_sub_test,
    }
