# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
"""Inside the sandbox: a pytest plugin that records what was collected and how each test ended.

It is loaded by `-p` before any conftest or test is imported. A test passes only if no phase raised,
seen by a wrapper around the phase itself, and pytest's own report says passed as well.
"""

import pathlib
import sys

import overnight_record
import pytest

_HOOKS = (
    "pytest_pyfunc_call",
    "pytest_runtest_protocol",
    "pytest_runtest_setup",
    "pytest_runtest_call",
    "pytest_runtest_teardown",
    "pytest_runtest_makereport",
    "pytest_runtestloop",
    "pytest_collection_modifyitems",
    "pytest_pycollect_makeitem",
    "pytest_pycollect_makemodule",
    "pytest_collect_file",
    "pytest_ignore_collect",
    "pytest_sessionfinish",
    "pytest_exception_interact",
)
_OPTIONS = (
    ("maxfail", 0),
    ("continue_on_collection_errors", True),
    ("numprocesses", None),
    ("dist", "no"),
    ("tx", []),
)
_BY_PYTEST = {"_pytest.config.Config._getini_unknown_type"}
"""What pytest's own plugin `legacypath` replaces."""
_claimed = overnight_record.claim()
if _claimed is not None:
    _claimed[0]("begin", runner="pytest")


@pytest.hookimpl(hookwrapper=True)
def pytest_load_initial_conftests(early_config):
    """Register the recorder after the installed plugins and before any conftest."""
    claimed, globals()["_claimed"] = _claimed, None
    if claimed is not None:
        import unittest.case  # noqa: F401  so that it is among the watched modules

        import _pytest.unittest  # noqa: F401

        early_config.pluginmanager.register(_Recorder(early_config, *claimed), "overnight-recorder")
        for name in ("overnight_record", "overnight_pytest", "overnight_unittest", "sitecustomize"):
            sys.modules.pop(name, None)
    yield


class _Recorder:
    def __init__(self, config, record, release):
        self._record, self._release = record, release
        self._manager = config.pluginmanager
        self._replaced = overnight_record.watch()
        self._trusted = overnight_record.loaded()
        self._known = set()
        self._tampered = set()
        self._raised = {}
        self._phases = {}
        self._codes = {}
        self._tests = 0
        self._files = set()
        self._bytecode = overnight_record.bytecode
        self._wrong = overnight_record.genuine(_rewriting(config))
        self._known = self._implementations()

    def _implementations(self):
        found = set()
        for name in _HOOKS:
            caller = getattr(self._manager.hook, name, None)
            for implementation in caller.get_hookimpls() if caller else ():
                function = implementation.function
                if id(getattr(function, "__func__", function)) in self._trusted:
                    continue  # a plugin that was installed, registered when pytest was configured
                found.add((name, function.__module__, function.__qualname__))
        return found

    def _inspect(self):
        self._tampered.update(self._replaced() - _BY_PYTEST)

    def _inspect_hooks(self):
        for name, module, function in self._implementations() - self._known:
            if module != __name__:
                self._tampered.add("hook " + name + " by " + module + "." + function)

    @pytest.hookimpl(hookwrapper=True)
    def pytest_cmdline_main(self, config):
        # Every test must report, and in this process: workers of xdist would report through the network.
        for option, value in _OPTIONS:
            if hasattr(config.option, option):
                setattr(config.option, option, value)
        yield

    def pytest_collectreport(self, report):
        if report.failed:
            self._record("test", id=report.nodeid + " (collection)", status="error")
            self._tests += 1
        elif report.skipped and "::" not in report.nodeid:
            self._record("test", id=report.nodeid + " (collection)", status="skipped")
            self._tests += 1

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session):
        self._codes = {item.nodeid: _code(item) for item in session.items}
        self._files = {str(item.fspath) for item in session.items}
        for item in session.items:
            wrong = self._wrong(getattr(item, "obj", None), str(item.fspath))
            if wrong:
                self._tampered.add(wrong + " of " + item.nodeid)
        self._record("collected", ids=[item.nodeid for item in session.items])
        self._inspect()
        self._inspect_hooks()

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item):
        self._raised[item.nodeid] = {}
        self._phases[item.nodeid] = {}
        outcome = yield
        status = self._status(item.nodeid)
        if outcome.excinfo is not None and status == "passed":
            status = "error"
        self._record("test", id=item.nodeid, status=status)
        self._tests += 1
        self._inspect()

    def _status(self, name):
        raised, phases = self._raised.pop(name, {}), self._phases.pop(name, {})
        if "call" not in raised and "setup" not in raised:
            return "missing"
        for phase in ("setup", "call", "teardown"):
            if phases.get(phase, "") == "skipped":
                return "skipped"
            if raised.get(phase) or phases.get(phase) == "failed":
                return "failed" if phase == "call" else "error"
        done = all(raised.get(phase) is False for phase in ("setup", "call", "teardown"))
        return "passed" if done and phases.get("call") == "passed" else "error"

    @pytest.hookimpl(hookwrapper=True, trylast=True)
    def pytest_runtest_setup(self, item):
        self._raised[item.nodeid], self._phases[item.nodeid] = {}, {}  # a plugin may run a test again
        outcome = yield
        self._raised.setdefault(item.nodeid, {})["setup"] = outcome.excinfo is not None

    @pytest.hookimpl(hookwrapper=True, trylast=True)
    def pytest_runtest_call(self, item):
        if self._codes.get(item.nodeid) is not _code(item):
            self._tampered.add("code of " + item.nodeid)
        outcome = yield
        self._raised.setdefault(item.nodeid, {})["call"] = outcome.excinfo is not None

    @pytest.hookimpl(hookwrapper=True, trylast=True)
    def pytest_runtest_teardown(self, item):
        outcome = yield
        self._raised.setdefault(item.nodeid, {})["teardown"] = outcome.excinfo is not None

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self, item, call):
        outcome = yield
        report = outcome.get_result()
        phases = self._phases.setdefault(item.nodeid, {})
        if phases.get(report.when) != "failed":  # reports of subtests come here too
            phases[report.when] = report.outcome

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session, exitstatus):
        yield
        self._inspect()
        self._inspect_hooks()
        self._tampered.update(self._bytecode(self._files))
        self._record("tampered", names=sorted(self._tampered))
        self._record("end", tests=self._tests, exit=int(exitstatus))
        self._release()


def _rewriting(config):
    """Return how this pytest compiles a test file when it rewrites its asserts; None where it does not."""
    from _pytest.assertion import rewrite

    one = getattr(rewrite, "_rewrite_test", None)
    if one is None or config.getoption("assertmode", "plain") != "rewrite":
        return None
    return lambda path: one(pathlib.Path(path), config)[1]


def _code(item):
    function = getattr(item, "obj", None)
    function = getattr(function, "__func__", function)
    return getattr(function, "__code__", None)
