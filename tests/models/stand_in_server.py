"""Stands in for the model engine: the real server process and its life, with answers instead of a model.

The answer names the process, so that a test sees which server gave it. A prompt with `die` ends the
process in the middle of the answer, once; one with `hang` stops answering, once.
"""

import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from overnight.models.server_files import ServerParameters
from overnight.models.server_process import main


def start_stand_in(parameters: ServerParameters, token: str) -> tuple[str, object]:
    """Serve the chat format on loopback; a file `NAME.starts` beside the model counts the starts."""
    model = Path(parameters.model_path)
    with model.with_suffix(".starts").open("a") as starts:
        starts.write(f"{os.getpid()}\n")
    if model.with_suffix(".broken").exists():
        raise OSError("not enough memory")

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.headers["Authorization"] != f"Bearer {token}":
                self.send_error(401)
                return
            prompt = body["messages"][-1]["content"]
            if prompt == "too long":
                self._refuse()
                return
            self.send_response(200)
            self.end_headers()
            self._chunk({"choices": [{"delta": {"content": f"{os.getpid()}:"}}]})
            marker = model.with_suffix(".died")
            if prompt == "hang" and not marker.exists():
                marker.touch()
                threading.Event().wait()
            if prompt == "die" and not marker.exists():
                marker.touch()
                os._exit(9)
            usage = {
                "prompt_tokens": 7,
                "completion_tokens": 2,
                "prompt_tokens_details": {"cached_tokens": 3},
            }
            choice: dict[str, object] = {"delta": {"content": prompt}, "finish_reason": "stop"}
            if body.get("logprobs"):
                choice["logprobs"] = {"content": [{"id": 42, "token": prompt, "logprob": -0.5}]}
            self._chunk({"choices": [choice], "usage": usage})
            self.wfile.write(b"data: [DONE]\n\n")

        def _chunk(self, chunk: object) -> None:
            self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
            self.wfile.flush()

        def _refuse(self) -> None:
            error = {"message": "9000 tokens", "type": "exceed_context_size_error", "code": 400}
            text = json.dumps({"error": error}).encode()
            self.send_response(400)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

    server = ThreadingHTTPServer(("127.0.0.1", parameters.port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}", server


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], start_stand_in))
