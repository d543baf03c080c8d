"""The languages that the map reads: their file endings, grammars and queries.

A query names a definition's whole node by its kind and its name by `@name`; `@ref` is a reference. The
grammars come as compiled wheels, so nothing is fetched or built at run time.
"""

import hashlib
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final

import msgspec

QUERIES: Final = Path(__file__).parent / "queries"
FORMAT: Final = "1"
"""Part of the cache's name: raise it when what is kept of a file changes."""


class Language(msgspec.Struct, frozen=True):
    """A grammar: its module, the function in it, and the query files that are read one after the other."""

    module: str
    function: str
    queries: tuple[str, ...]
    endings: tuple[str, ...]


LANGUAGES: Final[dict[str, Language]] = {
    "python": Language("tree_sitter_python", "language", ("python",), (".py", ".pyi", ".pyw")),
    "javascript": Language(
        "tree_sitter_javascript", "language", ("javascript",), (".js", ".mjs", ".cjs", ".jsx")
    ),
    "typescript": Language(
        "tree_sitter_typescript", "language_typescript", ("typescript",), (".ts", ".mts", ".cts")
    ),
    "tsx": Language("tree_sitter_typescript", "language_tsx", ("typescript", "jsx"), (".tsx",)),
    "go": Language("tree_sitter_go", "language", ("go",), (".go",)),
    "rust": Language("tree_sitter_rust", "language", ("rust",), (".rs",)),
    "java": Language("tree_sitter_java", "language", ("java",), (".java",)),
    "c": Language("tree_sitter_c", "language", ("c",), (".c",)),
    "cpp": Language(
        "tree_sitter_cpp",
        "language",
        ("c", "cpp"),
        (".cc", ".cpp", ".cxx", ".c++", ".h", ".hh", ".hpp", ".hxx", ".h++", ".inl", ".ipp"),
    ),
    "ruby": Language("tree_sitter_ruby", "language", ("ruby",), (".rb", ".rake", ".gemspec")),
}
KINDS: Final = (
    "function", "class", "method", "constant", "type", "interface", "struct", "enum", "module", "macro",
    "prototype", "scope",
)  # fmt: skip
"""Kinds of definitions. `scope` only holds others (an `impl`, a namespace) and is no definition itself."""

_BY_ENDING: Final = {ending: name for name, language in LANGUAGES.items() for ending in language.endings}


def language_of(path: str) -> str:
    """Return the language of a file by its ending, or an empty string."""
    dot = path.rfind(".")
    return _BY_ENDING.get(path[dot:].lower(), "") if dot > path.rfind("/") else ""


def query_text(name: str) -> str:
    """Return the query of a language."""
    return "\n".join((QUERIES / f"{part}.scm").read_text() for part in LANGUAGES[name].queries)


def fingerprint(more: Sequence[str] = ()) -> str:
    """Return what stands for all that decides a file's tags: grammars, queries, format, and `more`."""
    parts = [FORMAT, "tree-sitter", version("tree-sitter"), *KINDS, *more]
    for name, language in sorted(LANGUAGES.items()):
        parts += [name, version(language.module.replace("_", "-")), query_text(name)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
