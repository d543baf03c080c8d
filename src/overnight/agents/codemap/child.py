"""The process that parses: source bytes in, positions out, and nothing else it could do.

Grammars are C code over hostile input. So it runs apart, with an empty environment, bounded memory and time,
and a system-call filter that leaves it the pipes that it holds. It answers with positions only: the parent
cuts the text out itself, so that not even a parser that was taken over can put words into a map.
"""

import importlib
import platform
import resource
import signal
import struct
import sys
from os import read, write
from typing import TYPE_CHECKING, Final

import msgspec

from overnight.agents.codemap.languages import KINDS, LANGUAGES, query_text

if TYPE_CHECKING:
    from tree_sitter import Node

MEMORY_BYTES: Final = 1024**3
MAX_DEFINITIONS: Final = 5_000
"""Of one file; more are left out."""
MAX_REFERENCES: Final = 5_000
"""Different names that one file refers to; more are left out."""
MATCHES_AT_ONCE: Final = 65_536
"""How many matches of a query may be open at the same time."""

Definition = tuple[int, int, int, int, int, int]
"""Kind, first and last byte of the name, of the whole, and where the signature ends. Ends are exclusive."""
Answer = tuple[list[Definition], list[tuple[int, int, int]]]
"""Definitions, and for each name that is referred to the bytes of its first mention and how often."""


class Request(msgspec.Struct, array_like=True):
    """Files of one language to parse. `seconds` is the CPU time for each."""

    language: str
    seconds: float
    contents: list[bytes]


def receive(descriptor: int) -> bytes:
    """Return the next message; empty when the other side is gone."""
    head = _exactly(descriptor, 4)
    return _exactly(descriptor, struct.unpack("=I", head)[0]) if head else b""


def _exactly(descriptor: int, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = read(descriptor, min(size - len(parts), 1 << 20))
        if not part:
            return b""
        parts += part
    return bytes(parts)


def send(descriptor: int, message: bytes) -> None:
    """Write a message whole."""
    rest = memoryview(struct.pack("=I", len(message)) + message)
    while rest:
        rest = rest[write(descriptor, rest) :]


class Grammar:
    """A language's parser and query, ready."""

    def __init__(self, name: str) -> None:
        from tree_sitter import Language, Parser, Query, QueryCursor

        module = importlib.import_module(LANGUAGES[name].module)
        pointer: object = getattr(module, LANGUAGES[name].function)()
        language = Language(pointer)
        self._parser = Parser(language)
        self._query = Query(language, query_text(name))
        self._cursor = QueryCursor(self._query, match_limit=MATCHES_AT_ONCE)

    def positions(self, content: bytes) -> Answer:
        """Return where the definitions and references of a file are."""
        definitions: dict[int, Definition] = {}
        references: dict[bytes, list[int]] = {}
        mentioned: list[tuple[int, int]] = []
        tree = self._parser.parse(content)
        for _, captures in self._cursor.matches(tree.root_node):
            if "ref" in captures:
                mentioned += [(node.start_byte, node.end_byte) for node in captures["ref"]]
                continue
            name = captures["name"][0]
            known = definitions.get(name.start_byte)
            if name.is_missing:
                continue  # the parser made it up, to get on after an error
            if known is None and len(definitions) >= MAX_DEFINITIONS:
                continue
            word = next(word for word in captures if word != "name")
            kind, whole = KINDS.index(word), captures[word][0]
            # A constant that holds a function matches twice: the kind that comes first says more.
            if known is None or kind < known[0]:
                definitions[name.start_byte] = (
                    kind, name.start_byte, name.end_byte, whole.start_byte, whole.end_byte, _head(whole),
                )  # fmt: skip
        for start, end in mentioned:
            if start in definitions or start == end:
                continue
            mention = references.get(content[start:end])
            if mention is not None:
                mention[2] += 1
            elif len(references) < MAX_REFERENCES:
                references[content[start:end]] = [start, end, 1]
        return list(definitions.values()), [(one[0], one[1], one[2]) for one in references.values()]


def _head(whole: "Node") -> int:
    """Return where the signature of a definition ends: before the body, its own or its value's."""
    held = whole.child_by_field_name("value") or whole.child_by_field_name("right") or whole
    body = whole.child_by_field_name("body") or held.child_by_field_name("body")
    return whole.end_byte if body is None else body.start_byte


def main() -> None:
    """Answer requests on standard input until it ends. The arguments are the languages to make ready."""
    grammars = {name: Grammar(name) for name in sys.argv[1:]}
    confine()
    decoder, encoder = msgspec.msgpack.Decoder(Request), msgspec.msgpack.Encoder()
    while message := receive(0):
        request = decoder.decode(message)
        answers: list[Answer] = []
        for content in request.contents:
            # The default action ends the process, in the middle of C code too.
            signal.setitimer(signal.ITIMER_PROF, request.seconds)
            answers.append(grammars[request.language].positions(content))
        signal.setitimer(signal.ITIMER_PROF, 0)
        send(1, encoder.encode(answers))


def confine() -> None:
    """Give up all but computing and the pipes that are open.

    Raises:
        OSError: the kernel has no system-call filters.
        KeyError: there is no filter for this machine's architecture.
    """
    from overnight.sandbox.computing import computing_filter
    from overnight.sandbox.native.syscalls import PR_SET_NO_NEW_PRIVS, filter_calls, prctl

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    filter_calls(computing_filter(platform.machine()))
