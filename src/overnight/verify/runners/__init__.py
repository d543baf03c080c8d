"""How each known test runner is watched and read: one file a runner; the rest is judged by exit code.

| runner | how it is watched | can the checked code forge it? |
|---|---|---|
| pytest, unittest | our code in the same interpreter, sealed records | see `channel` |
| node --test | our reporter in the runner's process, sealed records; test files are child processes | by speaking node's own message format on its output, or by printing TAP-like messages of another test |
| go test, cargo test, JUnit XML | their output or file | yes, by printing or writing; so their evidence stays `exit_code` |
"""

from overnight.verify.runners.watch import Equipment, Watched, equip, observe

__all__ = ["Equipment", "Watched", "equip", "observe"]
