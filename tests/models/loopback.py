"""A small HTTP server on loopback that gives prepared answers in order, and keeps what it was asked."""

import contextlib
import threading
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Reply:
    """One prepared answer.

    With `cut`, the connection breaks after the body without a proper end; with `drop`, before any answer;
    with `hang`, nothing more comes after the body, and the connection stays.
    """

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    cut: bool = False
    drop: bool = False
    hang: bool = False


@dataclass
class Loopback:
    """The server as a test sees it; `paths`, `bodies` and `headers` are those of the requests so far."""

    url: str
    replies: list[Reply]
    paths: list[str] = field(default_factory=list[str])
    bodies: list[bytes] = field(default_factory=list[bytes])
    headers: list[dict[str, str]] = field(default_factory=list[dict[str, str]])


@contextlib.contextmanager
def loopback(replies: list[Reply]) -> Generator[Loopback]:
    """Serve `replies` in order; the last one is repeated."""

    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            seen.bodies.append(self.rfile.read(length))
            seen.paths.append(self.path)
            seen.headers.append({name.lower(): value for name, value in self.headers.items()})
            reply = replies.pop(0) if len(replies) > 1 else replies[0]
            if reply.drop:
                self.close_connection = True
                return
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            if "Content-Length" not in reply.headers:
                self.send_header(
                    "Content-Length", str(len(reply.body) + (1000 if reply.cut or reply.hang else 0))
                )
            self.end_headers()
            self.wfile.write(reply.body)
            if reply.hang:
                over.wait()
            if reply.cut or reply.hang:
                self.close_connection = True

        do_GET = _answer  # noqa: N815
        do_POST = _answer  # noqa: N815

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    seen = Loopback(f"http://127.0.0.1:{server.server_address[1]}", replies)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        server.shutdown()
        server.server_close()
        thread.join()
