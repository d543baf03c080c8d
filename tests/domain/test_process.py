"""What tells a process apart from a later one with its number."""

import os
import subprocess
import sys

from overnight.domain.process import process_started


def test_a_process_is_known_by_when_it_began_until_it_ended() -> None:
    assert process_started(os.getpid()).isdigit()
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert child.stdin is not None
    try:
        started = process_started(child.pid)
        assert started.isdigit()
        assert process_started(child.pid) == started
        child.stdin.close()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # a zombie now
        assert process_started(child.pid) == ""
    finally:
        child.kill()
        child.wait()
    assert process_started(child.pid) == ""
