"""Which release is the newest, and which one a user should get."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Release:
    version: str
    channel: str = "stable"
    withdrawn: bool = False


def version_key(version):
    """Return what versions are sorted by."""
    return [int(part) for part in version.lstrip("v").split(".")]


def newest(releases, channel="stable"):
    """Return the newest release of a channel that was not withdrawn, or None."""
    candidates = [
        release for release in releases if release.channel == channel and not release.withdrawn
    ]
    if not candidates:
        return None
    return max(candidates, key=lambda release: version_key(release.version))


def is_upgrade(current, offered):
    """Whether the offered version is later than the current one."""
    return version_key(offered) > version_key(current)


def history(releases):
    """Return the versions, newest first."""
    ordered = sorted(releases, key=lambda release: version_key(release.version), reverse=True)
    return [release.version for release in ordered]
