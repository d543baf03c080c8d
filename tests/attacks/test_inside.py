"""What a command can see of the host and of others, and what it can leave running."""

import pytest

from tests.attacks.hostile import Place


@pytest.mark.attack(19)
def test_no_descriptor_of_the_host_is_open(place: Place) -> None:
    result = place.run("exec python3 -c 'import os; print(sorted(os.listdir(\"/proc/self/fd\")))'")
    assert result.stdout.decode().strip() == "['0', '1', '2', '3']", "3 is the listing itself"


@pytest.mark.attack(17)
def test_the_init_gives_nothing_away(place: Place) -> None:
    result = place.run(
        "cat /proc/1/environ | tr '\\0' '\\n'; ls /proc/1/fd /proc/1/root/ 2>/dev/null | head -3"
    )
    assert b"=" not in result.stdout, result
    assert b"etc" not in result.stdout, result


@pytest.mark.attack(39)
def test_other_attempts_are_hidden(place: Place) -> None:
    with place.workspace() as other:
        place.run_in(other, "echo canary-of-another > /workspace/note; cp note /tmp; cp note ~")
        found = place.run(
            "find / -xdev -name note 2>/dev/null; find /tmp /home /overnight /workspace -name note; "
            f"ls {place.root} {place.root}/workspaces 2>&1"
        )
    assert b"note" not in found.stdout, found
    assert found.stdout.count(b"No such file") == 2, found


@pytest.mark.attack(35)
def test_shared_layers_are_read_only(place: Place) -> None:
    result = place.run(
        "for f in overnight/objects/x overnight/objects/pack/x etc/x usr/x opt/overnight/x x dev/x; do "
        "touch /$f 2>/dev/null && echo wrote $f; done; "
        "chmod u+w /overnight/objects 2>/dev/null && echo chmod; "
        "rm -f /overnight/objects/pack/* 2>/dev/null; ls /overnight/objects/pack | wc -l"
    )
    assert b"wrote" not in result.stdout, result
    assert b"chmod" not in result.stdout, result
    assert result.stdout.strip() != b"0"


@pytest.mark.attack(39)
def test_the_base_of_others_stays_as_it_is(place: Place) -> None:
    place.run("echo evil > calc.py; rm README.md; chmod 777 test_calc.py; rm -rf .git; echo evil > /tmp/x")
    assert place.changes("true") == []


@pytest.mark.attack(34)
def test_the_kernel_gives_nothing_to_write(place: Place) -> None:
    writable = place.run("find /proc/sys /proc/irq /proc/bus -type f -writable 2>/dev/null").stdout.split()
    # Only an id of the own pid namespace.
    assert set(writable) <= {b"/proc/sys/kernel/ns_last_pid"}
