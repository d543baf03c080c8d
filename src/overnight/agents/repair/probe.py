"""Runs inside the sandbox, within the tests' own Python: reports each test, its traceback and what it called.

It is copied there as text and stands alone, so it imports nothing of ours and keeps to old Python syntax.
What it reports is a hint for repair, never evidence: the code under test could forge it.
"""

# pyright: basic, reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# ruff: noqa: PTH109, PTH110, PTH118, SIM105, UP031

import json
import os
import signal
import sys
import threading
import time

ROOT = os.path.realpath(os.environ.get("OVERNIGHT_ROOT") or os.getcwd())
CONFIG = json.loads(os.environ.get("OVERNIGHT_PROBE") or "{}")
MARK = CONFIG.get("mark", "")
ONLY = frozenset(CONFIG.get("only") or ())
TRACE = bool(CONFIG.get("trace"))
SECONDS = float(CONFIG.get("test_seconds") or 0)
FD = int(CONFIG.get("fd") or 9)
CALLS_KEPT = 3
# A test may start a Python of its own: there the descriptor is something else, and nobody listens.
if os.environ.setdefault("OVERNIGHT_PROBE_PROCESS", str(os.getpid())) != str(os.getpid()):
    MARK = ""
FOREIGN = ("/site-packages/", "/.venv/", "/node_modules/", "/.tox/", "/dist-packages/")


class TestTooSlow(BaseException):
    """The test ran longer than it may; no `Exception`, so that broad handlers do not swallow it."""


def emit(record):
    """Write one record; when nobody listens any more there is nothing to do."""
    if not MARK:
        return
    try:
        os.write(FD, ("\n" + MARK + json.dumps(record) + "\n").encode("utf-8", "replace"))
    except OSError:
        pass


def inside(filename):
    """Return the path relative to the root, or an empty string for code that is not the repository's."""
    if filename.startswith("<"):
        return ""
    full = os.path.realpath(filename)
    if not full.startswith(ROOT + os.sep) or any(part in full for part in FOREIGN):
        return ""
    return full[len(ROOT) + 1 :]


def brief(value, limit=90):
    """Return a short `repr` that never raises."""
    try:
        text = repr(value)
    except BaseException:
        text = "<" + type(value).__name__ + ">"
    if " at 0x" in text:
        text = "<" + type(value).__name__ + ">"
    return text if len(text) <= limit else text[: limit - 3] + "..."


def frames(error):
    """Return the repository's frames of a traceback, outermost first, those of its causes first of all."""
    found = []
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None and cause is not error:
        found.extend(frames(cause)[:20])
    step = error.__traceback__
    while step is not None and len(found) < 60:
        code = step.tb_frame.f_code
        path = inside(code.co_filename)
        if path:
            values = dict(step.tb_frame.f_locals)
            shown = {k: brief(v) for k, v in list(values.items())[:8] if not k.startswith(("__", "@"))}
            found.append([path, step.tb_lineno, code.co_name, shown])
        step = step.tb_next
    return found


def report(test, status, error=None, message=""):
    """Tell how a test ended."""
    record = {"k": "test", "t": test, "s": status}
    if error is not None:
        record["e"] = type(error).__name__
        record["m"] = (message or "%s: %s" % (type(error).__name__, error))[:2000]
        try:
            record["f"] = frames(error)
        except BaseException:
            record["f"] = []
    emit(record)


class Tracer:
    """Notes which of the repository's functions a test runs, with the first calls' arguments and results."""

    def __init__(self):
        self.paths = {}
        self.codes = {}
        self.open = {}

    def clear(self):
        self.codes = {}
        self.open = {}

    def path(self, code):
        name = code.co_filename
        if name not in self.paths:
            self.paths[name] = inside(name)
        return self.paths[name]

    def __call__(self, frame, event, argument):
        if event == "call":
            code = frame.f_code
            path = self.path(code)
            if not path:
                return
            calls = self.codes.setdefault(code, [])
            if len(calls) < CALLS_KEPT and code.co_name[0] != "<":
                names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
                values = [
                    brief(frame.f_locals[n], 60)
                    for n in names
                    if n in frame.f_locals and n not in ("self", "cls")
                ]
                calls.append("(" + ", ".join(values) + ")")
                self.open[id(frame)] = (calls, len(calls) - 1)
        elif event == "return":
            place = self.open.pop(id(frame), None)
            if place is not None:
                place[0][place[1]] += " -> " + brief(argument, 60)

    def start(self):
        self.clear()
        threading.setprofile(self)
        sys.setprofile(self)

    def stop(self, test):
        sys.setprofile(None)
        threading.setprofile(None)
        ran = []
        for code, calls in list(self.codes.items())[:3000]:
            ran.append([self.path(code), code.co_firstlineno, code.co_name, calls])
        emit({"k": "trace", "t": test, "x": ran})
        self.clear()


TRACER = Tracer()


def too_slow(_number, _frame):
    raise TestTooSlow("the test took longer than %g seconds" % SECONDS)


class Guard:
    """Around one test: traces it and ends it when it takes too long."""

    def __init__(self, test):
        self.test = test

    def __enter__(self):
        self.began = time.monotonic()
        emit({"k": "start", "t": self.test})
        self.alarm = SECONDS > 0 and threading.current_thread() is threading.main_thread()
        if self.alarm:
            signal.signal(signal.SIGALRM, too_slow)
            signal.setitimer(signal.ITIMER_REAL, SECONDS, 1.0)
        if TRACE:
            TRACER.start()

    def __exit__(self, *_):
        if self.alarm:
            signal.setitimer(signal.ITIMER_REAL, 0)
        if TRACE:
            TRACER.stop(self.test)
        emit({"k": "time", "t": self.test, "n": round(time.monotonic() - self.began, 3)})


def hook_unittest():
    """Make `unittest` report; called from `sitecustomize` when the check looks like unittest."""
    import unittest

    plain_run = unittest.TestCase.run

    def run(self, result=None):
        if type(self).__name__ == "TestCaseFunction" or "pytest" in sys.modules:
            return plain_run(self, result)
        if ONLY and self.id() not in ONLY:
            return result
        with Guard(self.id()):
            return plain_run(self, result)

    unittest.TestCase.run = run
    base = unittest.TestResult

    def watch(name, status):
        plain = getattr(base, name)

        def add(self, test, *rest):
            error = rest[0][1] if rest and isinstance(rest[0], tuple) else None
            if "pytest" not in sys.modules:
                report(test.id(), status, error)
            return plain(self, test, *rest)

        setattr(base, name, add)

    watch("addSuccess", "passed")
    watch("addFailure", "failed")
    watch("addError", "error")
    watch("addSkip", "skipped")
    watch("addExpectedFailure", "passed")
    watch("addUnexpectedSuccess", "failed")
    plain_subtest = base.addSubTest

    def add_subtest(self, test, subtest, error):
        if error is not None and "pytest" not in sys.modules:
            report(test.id(), "failed", error[1])
        return plain_subtest(self, test, subtest, error)

    base.addSubTest = add_subtest


if CONFIG.get("runner") == "pytest":
    try:
        import pytest
    except ImportError:
        pytest = None

    if pytest is not None:

        def pytest_configure(config):
            files = sorted({name.split("::")[0] for name in ONLY})
            if files and not hasattr(config, "workerinput"):
                root = str(getattr(config, "rootpath", None) or config.rootdir)
                there = [os.path.join(root, f) for f in files]
                there = [f for f in there if os.path.exists(f)]
                if there:
                    config.args[:] = there

        def pytest_collection_modifyitems(config, items):
            if ONLY:
                kept = [i for i in items if i.nodeid in ONLY or i.nodeid.split("::")[0] in ONLY]
                if kept:
                    items[:] = kept

        @pytest.hookimpl(hookwrapper=True)
        def pytest_runtest_protocol(item, nextitem):
            with Guard(item.nodeid):
                yield

        @pytest.hookimpl(hookwrapper=True)
        def pytest_runtest_makereport(item, call):
            outcome = yield
            made = outcome.get_result()
            if made.when == "call" and made.passed:
                report(item.nodeid, "passed")
            elif made.skipped:
                report(item.nodeid, "skipped")
            elif made.failed:
                error = call.excinfo.value if call.excinfo is not None else None
                text = call.excinfo.exconly() if call.excinfo is not None else str(made.longrepr)
                if error is None:
                    error = AssertionError(text)
                report(item.nodeid, "failed" if made.when == "call" else "error", error, text)

        def pytest_exception_interact(node, call, report):
            if isinstance(node, pytest.Collector) and call.excinfo is not None:
                error = call.excinfo.value
                error = error.__cause__ or error
                globals()["report"](node.nodeid, "error", error)

        def pytest_sessionfinish(session, exitstatus):
            emit({"k": "end", "n": int(exitstatus)})
