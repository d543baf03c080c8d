"""Go: modules are fetched once into `/dependencies`, tests run offline."""

from overnight.environments.detect.found import Found, Host
from overnight.environments.detect.reader import Looking
from overnight.sandbox.interface import DEPENDENCIES


def detect_go(looking: Looking, host: Host) -> Found | None:
    """Return what a Go module needs, or None where there is no go.mod."""
    del host
    if not looking.has("go.mod"):
        return None
    lines = [line.strip() for line in looking.text("go.mod").splitlines()]
    required = any(line.startswith("require") for line in lines)
    vendored = looking.has("vendor/modules.txt")
    if required and not vendored:
        looking.note("go.mod", "go mod download")
    looking.note("go.mod", "go test ./...")
    return Found(
        language="go",
        setup=("go mod download",) if required and not vendored else (),
        checks=("go test ./...",),
        variables={"GOMODCACHE": f"{DEPENDENCIES}/go", "GOTOOLCHAIN": "local"},
        tools=("go",),
        lock_files=tuple(path for path in ("go.mod", "go.sum") if looking.has(path)),
    )
