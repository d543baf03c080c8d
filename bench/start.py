"""What Overnight itself costs: start of the command line against a bare Typer program, and a whole run.

`python -m bench.start [RUNS]`: medians; the commands of one round run one after the other, so that a busy
moment of the machine hits all of them alike.
"""

import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.house import CLEAN_GIT, House, make_repository

BARE = """
import typer
app = typer.Typer()
@app.command()
def one(name: str, loud: bool = False) -> None:
    "Say a name."
@app.command()
def two(name: str) -> None:
    "Say another."
app()
"""
FILES = {f"part_{number}.py": f"VALUE = {number}\n" for number in range(9)} | {"README.md": "Ten files.\n"}
PATCH = "*** Begin Patch\n*** Update File: part_1.py\n-VALUE = 1\n+VALUE = 2\n*** End Patch"


def seconds(command: list[str], environment: dict[str, str]) -> tuple[float, str]:
    """Return wall seconds of a command and what it printed."""
    started = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return time.perf_counter() - started, done.stdout


def main() -> None:
    """Measure and print the table."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    folder = Path(tempfile.mkdtemp(prefix="overnight-bench-"))
    try:
        measure(folder, runs)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def measure(folder: Path, runs: int) -> None:
    """Run every variant `runs` times, in turns."""
    root = folder / "house"
    root.mkdir()
    house = House(root)
    repository = make_repository(folder / "repository", FILES)
    bare = folder / "bare.py"
    bare.write_text(BARE)
    answers = [
        {"text": "", "tool_calls": [{"name": "apply_patch", "arguments": {"patch": PATCH}}]},
        {"text": "Done."},
    ]
    script = house.script(answers)
    python = sys.executable
    run = house.command(
        "run", "Set it to two", "--repo", str(repository), "--check", "true", "--model", script, "--json"
    )
    variants = {
        "python -c pass": [python, "-c", "pass"],
        "bare Typer --help": [python, str(bare), "--help"],
        "overnight --help": house.command("--help"),
        "imports of a run": [python, "-c", "import overnight.cli.submission"],
        "overnight run": run,
    }
    environment = {**house.environment, **CLEAN_GIT}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    times: dict[str, list[float]] = {name: [] for name in variants}
    phases: dict[str, list[float]] = {"prepare": [], "work": [], "verify": []}
    for command in variants.values():
        seconds(command, environment)
    for _ in range(runs):
        for name, command in variants.items():
            took, printed = seconds(command, environment)
            times[name].append(took)
            if name == "overnight run":
                for phase, found in phases.items():
                    found.append(float(json.loads(printed)["attempts"][0]["seconds"][phase]))
    report(times, phases, runs)


def report(times: dict[str, list[float]], phases: dict[str, list[float]], runs: int) -> None:
    """Print the table."""
    median = {name: statistics.median(found) for name, found in times.items()}
    load = os.getloadavg()[0]
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(f"{machine}, load {load:.1f}")
    print(f"medians of {runs} rounds, seconds\n")
    for name, found in times.items():
        print(f"{name:22} {median[name]:7.3f}   (min {min(found):.3f}, max {max(found):.3f})")
    ratio = median["overnight --help"] / median["bare Typer --help"]
    print(f"\novernight --help / bare Typer --help: {ratio:.2f}")
    overhead = median["overnight run"] - median["python -c pass"]
    print(f"overnight run beyond Python's start: {overhead:.3f} s, of which")
    imports = median["imports of a run"] - median["python -c pass"]
    print(f"  {'imports':12} {imports:.3f}")
    rest = overhead - imports
    for phase, found in phases.items():
        print(f"  {phase:12} {statistics.median(found):.3f}")
        rest -= statistics.median(found)
    print(f"  {'the rest':12} {rest:.3f}   (database, mirror, sandbox probe, commit, pull request, display)")


if __name__ == "__main__":
    main()
