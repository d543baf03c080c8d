"""What features and set-up actions would install, as programs that this machine has or lacks."""

from collections.abc import Iterable

from overnight.environments.importers.imported import File

_PROGRAMS = {
    "python": "python3", "setup-python": "python3", "node": "node", "setup-node": "node", "go": "go",
    "setup-go": "go", "rust": "cargo", "rust-toolchain": "cargo", "rustup": "cargo", "toolchain": "cargo",
    "setup-rust-toolchain": "cargo", "uv": "uv", "setup-uv": "uv", "java": "java", "setup-java": "java",
    "ruby": "ruby", "setup-ruby": "ruby", "bun": "bun", "setup-bun": "bun", "setup-deno": "deno",
    "pnpm": "pnpm", "action-setup": "pnpm", "setup-pnpm": "pnpm", "yarn": "yarn",
    "php": "php", "setup-php": "php", "dotnet": "dotnet", "setup-dotnet": "dotnet", "make": "make",
}  # fmt: skip
"""By the last part of a feature's or an action's name."""
_QUIET = frozenset(("common-utils", "git", "git-lfs", "checkout"))
_REASONS = {
    "docker-in-docker": "a sandbox runs no containers",
    "docker-outside-of-docker": "the host's container engine would lead out of the sandbox",
    "docker-from-docker": "the host's container engine would lead out of the sandbox",
    "sshd": "nobody logs into a sandbox",
    "desktop-lite": "a sandbox has no desktop",
    "cache": "setup is kept as a whole",
    "setup-buildx-action": "a sandbox runs no containers",
    "login-action": "a sandbox holds no credentials",
}


def offered(file: File, key: str, wanted: Iterable[tuple[str, str, str]]) -> None:
    """Note for each (name, short name, version) whether the host's program stands in for it."""
    for name, short, version in wanted:
        program = _PROGRAMS.get(short)
        if short in _QUIET:
            continue
        if program is None:
            file.ignore(f"{key}: {name}", _REASONS.get(short, "nothing here corresponds to it"))
        elif program in file.host.programs:
            asked = f" (asked for: {version})" if version else ""
            file.note(key, f"{short}: the host's {program} is used{asked}")
        else:
            file.ignore(f"{key}: {name}", f"{program} is not on this machine")
