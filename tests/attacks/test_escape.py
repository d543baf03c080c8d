"""A malicious agent that tries the ways out of a sandbox: kernel interfaces, privileges, engines, mounts."""

import os
import re
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from overnight.sandbox.probe import REFUSED_CALLS
from tests.attacks.rooms import python
from tests.attacks.scripted import Villain

KERNEL = r"""
for name in core_pattern modprobe hotplug usermodehelper/bset ns_last_pid; do
    test $name = ns_last_pid && continue
    (echo '|/tmp/evil' > /proc/sys/kernel/$name) 2>/dev/null && echo wrote $name
done
for name in /proc/sysrq-trigger /proc/kcore /proc/kmsg /dev/mem /dev/kmsg /proc/1/mem /proc/1/environ; do
    # A file that is covered by the null device may be opened.
    (exec 3<> $name) 2>/dev/null && test "$(stat -L -c %t:%T $name)" != 1:3 && echo opened $name
done
find /proc/sys /proc/irq /proc/bus /proc/fs -type f -writable 2>/dev/null | grep -v ns_last_pid
find / -xdev -name release_agent 2>/dev/null
find /sys -name release_agent -writable 2>/dev/null
mkdir /tmp/cg && mount -t cgroup -o memory none /tmp/cg 2>/dev/null && echo mounted a cgroup
unshare --user --map-root-user true 2>/dev/null && echo a user namespace
unshare --mount true 2>/dev/null && echo a mount namespace
nsenter --target 1 --mount true 2>/dev/null && echo entered
chroot / true 2>/dev/null && echo chroot
mknod /tmp/disk b 8 0 2>/dev/null && echo a device
grep -E '^(NoNewPrivs|CapEff|CapPrm|CapBnd|Uid|Seccomp):' /proc/self/status
cp "$(command -v bash)" root-shell && chmod 6755 root-shell && ./root-shell -p -c 'id -u' && rm root-shell
echo tried
"""

OLD_CALLS = r"""
import ctypes, mmap
# int 0x80, the gate of 32-bit calls: eax = 20 (getpid there). A filter that looks only at numbers lets it by.
code = bytes.fromhex("b814000000cd80c3")
memory = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
memory.write(code)
address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
print("answered", ctypes.CFUNCTYPE(ctypes.c_int)(address)())
"""


@pytest.mark.attack(34)
def test_kernel_interfaces_are_closed(villain: Villain) -> None:
    watched = [Path("/proc/sys/kernel/core_pattern"), Path("/proc/sys/kernel/modprobe")]
    before = [path.read_text() for path in watched if path.exists()]
    done = villain.attack(KERNEL, python(REFUSED_CALLS) + " && echo all refused")
    lines = done.output.split("\n")
    status = {key: value.split() for key, _, value in (line.partition(":") for line in lines) if value}
    assert status["NoNewPrivs"] == ["1"]
    assert status["Seccomp"] == ["2"]
    assert {status[name][0] for name in ("CapEff", "CapPrm")} == {"0" * 16}
    assert "0" not in status["Uid"]
    rest = [line for line in lines if line and line.partition(":")[0] not in status]
    assert rest[1:] == ["tried", "all refused"], done.output
    assert rest[0] == status["Uid"][0], "a set-user-id shell gains nothing"
    assert [path.read_text() for path in watched if path.exists()] == before


@pytest.mark.attack(34)
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the gate exists on x86-64 only")
def test_the_other_gate_of_the_kernel_is_closed(villain: Villain) -> None:
    done = villain.attack(python(OLD_CALLS) + "; echo ended $?")
    assert re.search(r"answered \d", done.output) is None, done.output
    assert "ended 159" in done.output, "killed by SIGSYS (128 + 31)"


@pytest.mark.attack(34)
@pytest.mark.skipif(os.geteuid() != 0, reason="the control needs what root may do")
def test_control_the_same_calls_work_outside(tmp_path: Path) -> None:
    made = subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True)
    assert made.returncode == 0, "what the sandbox refuses, the host allows"
    opened = os.open("/proc/sys/kernel/core_pattern", os.O_WRONLY)  # nothing is written
    os.close(opened)


SEE = r"""
cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\0' ' ' | grep -c "$MARK" | sed 's/^/seen /'
"""
HOST = r"""
for name in /run/docker.sock /var/run/docker.sock /run/podman/podman.sock /run/containerd/containerd.sock; do
    test -e $name && echo socket $name
done
for name in docker podman nerdctl ctr; do $name ps 2>/dev/null && echo answered by $name; done
find / -xdev -type s 2>/dev/null | sed 's/^/socket /'
find /dev -type b 2>/dev/null | sed 's/^/device /'
tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' ' | sed 's/^/interface /'
while read -r source target kind options rest; do
    case $options in rw,*|rw) test -e "$target" && echo mount $target $kind ;; esac
done < /proc/self/mounts
ls -d /proc/[0-9]* | wc -l | sed 's/^/processes /'
"""
OWN_MOUNTS = ("/workspace", "/tmp", "/home/overnight", "/dependencies", "/proc", "/dev", "/overnight/pid")


@pytest.mark.attack(35)
def test_the_host_is_not_to_be_seen(villain: Villain) -> None:
    mark = f"marker-{uuid.uuid4().hex}"
    sleeper = [sys.executable, "-c", "import sys; sys.stdin.read()", mark]
    with subprocess.Popen(sleeper, stdin=subprocess.PIPE) as process:
        try:
            # As a pattern that does not match itself, so that the search does not find the search.
            search = f"MARK='[m]{mark[1:]}'\n{SEE}"
            done = villain.attack(search + HOST)
            control = villain.unprotected(search)
        finally:
            process.kill()
    found = [line.split() for line in done.output.split("\n") if line]
    told = {kind: [words[1] for words in found if words[0] == kind] for kind in {words[0] for words in found}}
    assert "socket" not in told, done.output
    assert "device" not in told, done.output
    assert "answered" not in told, done.output
    assert told["seen"] == ["0"], done.output
    assert set(told.get("interface", ["lo"])) == {"lo"}, done.output
    assert int(told["processes"][0]) < 20
    strange = [target for target in told["mount"] if not _is_own(target)]
    assert strange == [], "a mount of the host that can be written to"
    assert "seen 0" not in control.output, "without a sandbox the host's processes are seen"


def _is_own(target: str) -> bool:
    return any(target == own or target.startswith(f"{own}/") for own in OWN_MOUNTS)
