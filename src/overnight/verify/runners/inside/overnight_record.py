# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# ruff: noqa: PTH113, PTH100, PTH109, PTH112, PTH118, PTH108, PTH120, PTH123, PTH208
"""Inside the sandbox: writes test results as a chain of records, each sealed with a key used once.

Only the standard library, any Python from 3.7. The key lies in a file that is taken away before any
code of the repository runs; see `overnight.verify.runners.channel` for what this holds off and what not.
"""

import hmac
import json
import os
import sys
import types

_START = os.getcwd()
_RUNNERS = ("_pytest", "pytest", "unittest", "pluggy", "builtins", "overnight_record")
# What the runners find, read and compile tests with.
_LOADING = ("_frozen_importlib", "_frozen_importlib_external", "ast", "importlib", "inspect", "linecache")
_READING = (
    "contextlib",
    "functools",
    "io",
    "marshal",
    "os",
    "pathlib",
    "posix",
    "sys",
    "tokenize",
    "traceback",
)
_TRACKED = frozenset(_RUNNERS + _LOADING + _READING)
_MOVING = {"sys.exc_info", "sys.breakpointhook", "sys.displayhook", "sys.excepthook", "sys.unraisablehook"}
_FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, staticmethod, classmethod, property, type)


def claim():
    """Take the channel from the environment; return `(record, release)` or None where there is none.

    Keys that are left over for later processes are held in memory until `release`, so that checked code
    finds none on disk while it runs.
    """
    root = os.environ.pop("OVERNIGHT_CHANNEL", "")
    _scrub()
    folder = os.path.join(root, "keys")
    if not root or not os.path.isdir(folder):
        return None
    held = {}
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        try:
            with open(path, "rb") as file:
                held[name] = file.read()
            os.unlink(path)
        except OSError:
            continue
    if not held:
        return None
    first = sorted(held)[0]
    key = held.pop(first)
    fd = os.open(os.path.join(root, "out", first), os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND, 0o600)
    os.set_inheritable(fd, False)

    def release():
        while held:
            name, value = held.popitem()
            with open(os.path.join(folder, name), "wb") as file:
                file.write(value)

    return _recorder(fd, key), release


def _scrub():
    """Take our settings out of the environment, so that programs started by tests are left alone."""
    here = os.path.dirname(os.path.abspath(__file__))
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and path != here]
    os.environ.pop("PYTHONPATH", None)
    if paths:
        os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    options = os.environ.pop("PYTEST_ADDOPTS", "").replace("-p overnight_pytest", "").strip()
    if options:
        os.environ["PYTEST_ADDOPTS"] = options


def _recorder(fd, key):
    # Own references, taken before checked code can put others in place of the names.
    write, getpid, seal = os.write, os.getpid, hmac.digest
    encode = json.JSONEncoder(ensure_ascii=True).encode
    owner = getpid()
    last = [b""]

    def record(kind, **fields):
        if getpid() != owner:  # a fork of the test process must not write into the chain
            return
        fields["kind"] = kind
        text = encode(fields).encode("ascii")
        mac = seal(key, last[0] + text, "sha256").hex().encode("ascii")
        last[0] = mac
        data = mac + b" " + text + b"\n"
        while data:
            data = data[write(fd, data) :]

    return record


def watch():
    """Remember the functions of the test runner as they are now; return a function naming those replaced."""
    kept = []
    for name, module in sorted(sys.modules.items()):
        if name.split(".")[0] in _TRACKED and isinstance(module, types.ModuleType):
            _keep(kept, name, module)

    finders = list(sys.meta_path) + list(sys.path_hooks)
    tracing = sys.gettrace()

    def replaced():
        found = {
            "import hook " + type(finder).__module__ + "." + type(finder).__qualname__
            for finder in list(sys.meta_path) + list(sys.path_hooks)
            if not any(finder is known for known in finders) and _from_here(finder)
        }
        if sys.gettrace() is not tracing and _from_here(sys.gettrace()):
            found.add("sys.settrace")
        for label, namespace, attribute, value in kept:
            if namespace.get(attribute) is not value:
                found.add(label)
        return found

    return replaced


def genuine(rewrite=None):
    """Return a function that says what is wrong with a test's code: "", "code" or "borrowed code".

    A test's code must be what its file compiles to, plainly or by the runner's own `rewrite`: an import hook
    that steps aside after it has replaced a module leaves nothing else behind.
    """
    read, translate, known = open, compile, {}

    def compiled(path):
        if path not in known:
            with read(path, "rb") as file:
                source = file.read()
            known[path] = _codes(translate(source, path, "exec", dont_inherit=True))
            if rewrite is not None and path.startswith(_START):
                known[path] += _codes(rewrite(path))
        return known[path]

    def check(function, path):
        code = None
        for _ in range(20):
            code = getattr(getattr(function, "__func__", function), "__code__", None)
            if code is not None and os.path.abspath(code.co_filename) == path:
                return "" if code in compiled(path) else "code"
            inner = getattr(function, "__wrapped__", None)
            if inner is None:
                break
            function = inner
        if code is None:
            return ""
        if not code.co_filename.startswith(_START) and os.path.isfile(code.co_filename):
            # An installed library's wrapper, such as that of a mock.
            return "" if code in compiled(code.co_filename) else "code"
        return "borrowed code"

    return check


def _codes(code):
    """Return a code object and all that are nested in it."""
    found = [code]
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found += _codes(constant)
    return found


def loaded():
    """Return the functions of every module that is loaded by now, by their ids (and so kept alive)."""
    functions = {}
    for module in list(sys.modules.values()):
        if isinstance(module, types.ModuleType):
            for value in list(vars(module).values()):
                members = list(vars(value).values()) if isinstance(value, type) else [value]
                functions.update((id(one), one) for one in members if isinstance(one, types.FunctionType))
    return functions


def _from_here(thing):
    """Say whether an object's class or function was written in the repository and not installed."""
    if thing is None:
        return False
    kind = thing if isinstance(thing, (type, types.FunctionType)) else type(thing)
    module = sys.modules.get(kind.__module__)
    return str(getattr(module, "__file__", None) or _START).startswith(_START)


def _keep(kept, name, module):
    for attribute, value in list(vars(module).items()):
        if not isinstance(value, _FUNCTIONS):
            continue
        if name + "." + attribute in _MOVING:
            continue
        kept.append((name + "." + attribute, vars(module), attribute, value))
        if isinstance(value, type) and value.__module__ == name and name != "builtins":
            space = vars(value)
            for inner, member in list(space.items()):
                if isinstance(member, _FUNCTIONS):
                    kept.append((name + "." + attribute + "." + inner, space, inner, member))


def bytecode(files):
    """Name the test files that have bytecode beside them: Python was told to write none."""
    found = set()
    for file in files:
        folder, name = os.path.split(os.path.abspath(file))
        if not folder.startswith(_START):
            continue  # installed packages come with bytecode, and cannot be written to
        cache = os.path.join(folder, "__pycache__")
        stem = name.rpartition(".")[0] + "."
        names = os.listdir(cache) if os.path.isdir(cache) else []
        if any(entry.startswith(stem) for entry in names):
            found.add("bytecode of " + file)
    return found
