"""JSON with comments, and YAML, from files that may be hostile: bounded, and no value is ever an object."""

import json
import re
from collections.abc import Callable
from typing import Any, cast

import yaml

MAX_BYTES = 64 * 1024
"""A larger file is refused: none of these formats needs it, and reading YAML takes long."""
MAX_NODES = 20_000
"""What a YAML file may grow to once its aliases are written out."""
MAX_DEPTH = 40

_PIECES = re.compile(r'"(?:[^"\\]|\\.)*"?|//[^\n]*|/\*.*?(?:\*/|\Z)|[^"/]+|/', re.DOTALL)


class UnreadableError(Exception):
    """The text is not of its format; the message is one line that says where and why."""


def decode(content: bytes) -> str:
    """Return a file's text.

    Raises:
        UnreadableError: it is larger than allowed, or not UTF-8.
    """
    if len(content) > MAX_BYTES:
        raise UnreadableError(f"it is larger than {MAX_BYTES // 1024} KiB")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableError(f"it is not UTF-8 text (byte {error.start})") from None


def read_jsonc(content: bytes) -> dict[str, Any]:
    """Return the object of a JSON file that may hold comments and trailing commas.

    Raises:
        UnreadableError: it is no such file.
    """
    try:
        value: object = json.loads(_plain_json(decode(content)))
    except json.JSONDecodeError as error:
        raise UnreadableError(f"line {error.lineno}, column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise UnreadableError("it is nested too deeply") from None
    except ValueError as error:
        raise UnreadableError(str(error)[:100]) from None
    if not isinstance(value, dict):
        raise UnreadableError("it must hold one object, {…}")
    return cast("dict[str, Any]", value)


def _plain_json(text: str) -> str:
    """Blank comments and trailing commas out; lines and columns stay what they were."""
    made: list[str] = []
    closing = False
    # Backwards, since a comma is one too many only by what follows it.
    for piece in reversed(_PIECES.findall(text)):
        if piece.startswith('"'):
            closing = False
            made.append(piece)
        elif piece.startswith(("//", "/*")):
            made.append(re.sub(r"[^\n]", " ", piece))
        else:
            made.append(_without_commas(piece, closing))
            if stripped := piece.strip():
                closing = stripped[0] in "}]"
    return "".join(reversed(made))


def _without_commas(piece: str, closing: bool) -> str:
    """Blank commas out that a bracket follows; `closing` says that one follows the piece."""
    characters = list(piece)
    for index in range(len(characters) - 1, -1, -1):
        if characters[index] == "," and closing:
            characters[index] = " "
        if not characters[index].isspace():
            closing = characters[index] in "}]"
    return "".join(characters)


class _Strings(yaml.SafeLoader):
    """Reads every plain scalar as a string, so that 3.10 stays 3.10 and `on` stays `on`."""


_Strings.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag == "tag:yaml.org,2002:merge"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_yaml(content: bytes) -> dict[str, Any]:
    """Return the mapping of a YAML file, all its scalars as strings.

    Raises:
        UnreadableError: it is no such file, or its aliases would write out to more than allowed.
    """
    text = decode(content)
    try:
        loader = _Strings(text)
        node = loader.get_single_node()
        if node is not None:
            _bound(node)
        value = _constructed(loader, node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise UnreadableError(f"{where}{error.problem or 'no YAML'}"[:160]) from None
    except RecursionError:
        raise UnreadableError("it is nested too deeply") from None
    except (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
        raise UnreadableError(f"no YAML: {error}".splitlines()[0][:120]) from None
    if not isinstance(value, dict):
        raise UnreadableError("it must hold a mapping, key: value")
    return {str(key): item for key, item in cast("dict[object, Any]", value).items()}


def _constructed(loader: yaml.SafeLoader, node: yaml.Node | None) -> object:
    construct = cast("Callable[[yaml.Node], object]", getattr(loader, "construct_document"))  # noqa: B009
    return None if node is None else construct(node)


def _bound(root: yaml.Node) -> None:
    """Refuse what would grow beyond all bounds, before anything is made of it."""
    sizes: dict[int, int] = {}

    def size(node: yaml.Node, depth: int, above: frozenset[int]) -> int:
        if id(node) in above:
            raise UnreadableError("an alias refers to itself")
        if depth > MAX_DEPTH:
            raise UnreadableError("it is nested too deeply")
        if id(node) not in sizes:
            total = 1
            for child in _children(node):
                total += size(child, depth + 1, above | {id(node)})
                if total > MAX_NODES:
                    raise UnreadableError("its aliases write out to too much")
            sizes[id(node)] = total
        return sizes[id(node)]

    size(root, 0, frozenset())


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.SequenceNode):
        return list(node.value)
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return []
