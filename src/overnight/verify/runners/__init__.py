"""How each known test runner is watched and read: one file a runner; the rest is judged by exit code.

* pytest, unittest: our code in the same interpreter, sealed records. What that holds off: see `channel`.
* node --test: our reporter in the runner's own process, sealed records; test files are child processes,
  which can forge results only by speaking node's own message format on their output.
* go test, cargo test, JUnit XML: output or files that the checked code can write, so they only name the
  tests; their evidence stays `exit_code`.
"""

from overnight.verify.runners.watch import Equipment, Watched, equip, observe

__all__ = ["Equipment", "Watched", "equip", "observe"]
