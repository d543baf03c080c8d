"""A malicious agent that leaves processes behind which try to outlive the task."""

import contextlib
import os
import signal
import time
import uuid
from pathlib import Path

import pytest

from tests.attacks.rooms import python
from tests.attacks.scripted import Villain
from tests.processes import gone, running

DAEMON = r"""
import os, signal, sys, time
for number in range(1, 32):
    if number not in (signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD):
        try: signal.signal(number, signal.SIG_IGN)
        except OSError: pass
def leave(how):
    if os.fork(): return
    os.setsid()
    if os.fork(): os._exit(0)
    null = os.open("/dev/null", os.O_RDWR)
    for descriptor in range(3): os.dup2(null, descriptor)
    if how == "bare": os.execve("/usr/bin/sleep", ["sleep", "3600." + sys.argv[1]], {})
    while True: time.sleep(3600)
for how in ("bare", "stubborn"): leave(how)
for _ in range(2): os.wait()
print("left")
"""
SHELLS = """
trap '' TERM HUP INT
(setsid bash -c 'exec sleep 3600.{0}' >/dev/null 2>&1 &)
nohup setsid sleep 3600.{0} >/dev/null 2>&1 &
disown -a
echo left
"""


@pytest.mark.attack(37)
def test_nothing_outlives_the_task(villain: Villain) -> None:
    mark = str(uuid.uuid4().int)[:18]
    done = villain.attack(python(DAEMON, mark), SHELLS.format(mark), "sleep 0.1; echo next")
    assert done.output.count("left") == 2, done.output
    assert "next" in done.output
    assert gone(mark), running(mark)


@pytest.mark.attack(37)
def test_control_a_daemon_outlives_its_parent_outside() -> None:
    mark = str(uuid.uuid4().int)[:18]
    child = os.posix_spawn("/bin/bash", ["bash", "-c", f"(setsid sleep 60.{mark} >/dev/null 2>&1 &)"], {})
    os.waitpid(child, 0)
    try:
        until = time.monotonic() + 60
        while not running(f"60.{mark}") and time.monotonic() < until:
            time.sleep(0.01)
        assert running(f"60.{mark}")
    finally:
        for process in running(f"60.{mark}"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
    assert not Path(f"/proc/{child}").exists()
