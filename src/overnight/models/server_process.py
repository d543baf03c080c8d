"""The model server's own process: `python -m overnight.models.server_process DIRECTORY PARAMETERS`.

It leaves its starter's session at once, so that Ctrl-C there does not end it for others, and ends by
itself when nobody uses it.
"""

import contextlib
import importlib
import os
import secrets
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from overnight.domain.process import process_started
from overnight.models.locks import take_lock
from overnight.models.server_files import (
    LOG_BYTES,
    ServerFiles,
    ServerParameters,
    ServerState,
)

Engine = Callable[[ServerParameters, str], tuple[str, object]]
"""Starts serving: (parameters, token) to (base URL, what must be kept alive). Raises OSError."""

WATCH_SECONDS = 0.5
LOCK_TRIES = 40


def start_llama(parameters: ServerParameters, token: str) -> tuple[str, object]:
    """Load the model in this process and serve it on loopback (llama.cpp's OpenAI-compatible server)."""
    # Read when the OpenMP library loads: threads that spin while they wait cost ten times the speed on
    # a machine that does anything else.
    os.environ["OMP_WAIT_POLICY"] = "passive"
    os.environ["GOMP_SPINCOUNT"] = "0"
    xllamacpp: Any = importlib.import_module("xllamacpp")
    params: Any = xllamacpp.CommonParams()
    params.model.path = parameters.model_path
    params.model_alias = {"embedded"}
    params.hostnames = ["127.0.0.1"]
    params.port = parameters.port
    params.api_keys = [token]
    params.ui = False
    params.n_parallel = parameters.parallel
    params.n_ctx = parameters.context_tokens * parameters.parallel
    params.n_ubatch = parameters.micro_batch
    params.verbosity = 1
    # Prompts of other attempts are kept in memory while one has the slot, so that turns cost nothing.
    params.cache_ram_mib = parameters.cache_mib
    if parameters.cache_type == "q8_0":
        params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_Q8_0
        params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_ENABLED
    for threads in (params.cpuparams, params.cpuparams_batch):
        threads.n_threads = parameters.threads
        threads.poll = 0
    server = xllamacpp.Server(params)
    return server.listening_address, server


class _Watch:
    """Ends the process when nobody uses it."""

    def __init__(self, files: ServerFiles, parameters: ServerParameters) -> None:
        self._files = files
        self._parameters = parameters
        self._last_client = time.monotonic()
        self.ready = False

    def run(self) -> None:
        while True:
            time.sleep(WATCH_SECONDS)
            self._bound_log()
            if self._unused():
                self._end()

    def _unused(self) -> bool:
        lock = take_lock(self._files.clients_lock)
        if lock is None:
            self._last_client = time.monotonic()
        else:
            lock.close()
        if time.monotonic() - self._last_client > self._parameters.orphan_seconds:
            return True
        return self.ready and self._files.unused_seconds() > self._parameters.idle_seconds

    def _end(self) -> None:
        lock = take_lock(self._files.start_lock)
        if lock is None or not self._unused():
            # A client is about to use this server; look again later.
            if lock is not None:
                lock.close()
            return
        _stop(self._files)

    def _bound_log(self) -> None:
        with contextlib.suppress(OSError):
            if os.fstat(2).st_size > LOG_BYTES:
                os.ftruncate(2, 0)


def serve(
    files: ServerFiles, parameters: ServerParameters, engine: Engine, on_locked: Callable[[], None]
) -> int:
    """Serve until nobody uses the server; returns the exit status, 0 also when another one serves."""
    lock = None
    for _ in range(LOCK_TRIES):
        # A client that asks whether a server lives holds this lock for an instant.
        if (lock := take_lock(files.server_lock)) is not None:
            break
        time.sleep(0.025)
    on_locked()
    if lock is None:
        return 0
    me = ServerState(pid=os.getpid(), process_started=process_started(os.getpid()), started_at=time.time())
    files.write_state(me)
    files.used.touch()
    watch = _Watch(files, parameters)
    thread = threading.Thread(target=watch.run, daemon=True)
    thread.start()
    signal.signal(signal.SIGTERM, lambda _number, _frame: _stop(files))
    token = secrets.token_urlsafe(24)
    url, engine_object = engine(parameters, token)
    files.used.touch()
    files.write_state(msgspec.structs.replace(me, url=url, token=token))
    watch.ready = True
    thread.join()
    del engine_object
    return 0


def _stop(files: ServerFiles) -> None:
    """End at once: nothing is worth saving, and a request under way is asked again by its client."""
    files.state.unlink(missing_ok=True)
    os._exit(0)


def detach(work: Callable[[Callable[[], None]], int]) -> int:
    """Run `work` in a grandchild without a terminal; return once it calls its argument, or is over."""
    read, write = os.pipe()
    if os.fork():
        os.close(write)
        with os.fdopen(read, "rb") as pipe:
            return 0 if pipe.read(1) else 1
    os.close(read)
    os.setsid()

    def tell() -> None:
        os.write(write, b"1")
        os.close(write)

    status = 1
    try:
        status = work(tell)
    except Exception as error:
        sys.stderr.write(f"model server: {error.__class__.__name__}: {error}\n")
    sys.stderr.flush()
    os._exit(status)


def main(arguments: list[str], engine: Engine = start_llama) -> int:
    """Start the server of the folder and parameters (JSON) given, detached."""
    files = ServerFiles(Path(arguments[0]))
    parameters = msgspec.json.decode(arguments[1], type=ServerParameters)
    files.prepare()
    return detach(lambda tell: serve(files, parameters, engine, tell))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
