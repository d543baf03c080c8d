"""Rust: crates are fetched once into `/dependencies`, tests run offline."""

from overnight.environments.detect.found import Found, Host
from overnight.environments.detect.reader import Looking, table
from overnight.sandbox.interface import DEPENDENCIES

_TABLES = ("dependencies", "dev-dependencies", "build-dependencies", "workspace", "target")


def detect_rust(looking: Looking, host: Host) -> Found | None:
    """Return what a Cargo package needs, or None where there is no Cargo.toml."""
    del host
    if not looking.has("Cargo.toml"):
        return None
    manifest = looking.toml("Cargo.toml")
    locked = looking.has("Cargo.lock")
    needs = any(table(manifest.get(name)) for name in _TABLES)
    fetch = "cargo fetch --locked" if locked else "cargo fetch"
    if needs:
        looking.note("Cargo.toml", fetch)
    looking.note("Cargo.toml", "cargo test")
    return Found(
        language="rust",
        setup=(fetch,) if needs else (),
        checks=("cargo test --offline",),
        variables={"CARGO_HOME": f"{DEPENDENCIES}/cargo", "CARGO_TARGET_DIR": "/tmp/target"},  # noqa: S108
        tools=("cargo", "rustc"),
        lock_files=tuple(path for path in ("Cargo.toml", "Cargo.lock") if looking.has(path)),
    )
