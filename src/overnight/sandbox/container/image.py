"""Images: pinned by id, never pulled, and refused where they would speak to the runtime."""

import io
import re
import tarfile
from collections.abc import Mapping
from pathlib import Path

import msgspec

from overnight.domain.environment import IMAGE
from overnight.domain.errors import SandboxUnavailableError, UsageError
from overnight.sandbox.container.engine import Engine, EngineError

_ID = re.compile(r"(sha256:)?([0-9a-f]{64})")
_STEERING = (
    "run.oci.",
    "io.podman.annotations.",
    "io.crun.",
    "io.katacontainers.",
    "io.kubernetes.cri",
    "io.containers.",
    "dev.gvisor.",
    "org.systemd.",
    "com.docker.runtime",
)
"""Annotations (beginnings of) that runtimes obey: podman hands those of an image to crun, which lets one of
them replace the system-call filter (`run.oci.seccomp_bpf_data`; see crun(1), podman-run(1))."""


class _Config(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    env: list[str] | None = None
    labels: dict[str, str] | None = None


class _Inspected(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """What of `image inspect` is looked at, the same for podman and docker."""

    id: str
    annotations: dict[str, str] | None = None
    labels: dict[str, str] | None = None
    config: _Config | None = None


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """A local image: its id, and the variables that it brings along."""

    id: str
    variables: Mapping[str, str] = {}


async def resolve_image(engine: Engine, name: str) -> Image:
    """Return the local image that `name` means now.

    Raises:
        UsageError: `name` is no image name, there is no such image here, or it carries annotations that
            would steer the runtime.
    """
    if not IMAGE.fullmatch(name):
        raise UsageError(f"{name[:80]!r} is no name of an image", "Write it as `registry/name:tag`.")
    try:
        text = await engine.call("image", "inspect", "--", name)
    except EngineError as error:
        if "no such image" not in error.message.lower() and "not known" not in error.message.lower():
            raise
        raise UsageError(
            f"The image {name} is not on this machine, and Overnight pulls none by itself.",
            f"If you trust it: {engine.name} pull {name}",
        ) from error
    return read_image(name, text)


def read_image(name: str, inspected: str) -> Image:
    """Return the image that `image inspect` told about; raises like `resolve_image`."""
    try:
        (told,) = msgspec.json.decode(inspected, type=list[_Inspected])
    except (msgspec.MsgspecError, ValueError) as error:
        raise UsageError(f"What the engine tells about the image {name} cannot be read: {error}") from error
    config = told.config or _Config()
    marks = {*(told.annotations or {}), *(told.labels or {}), *(config.labels or {})}
    steering = sorted(mark for mark in marks if mark.lower().startswith(_STEERING))
    if steering:
        raise UsageError(
            f"The image {name} carries {steering[0][:80]!r}, which changes how the runtime confines it.",
            "Build it without such annotations and labels.",
        )
    found = _ID.fullmatch(told.id)
    if found is None:
        raise UsageError(f"The image {name} has no id.")
    pairs = (entry.partition("=") for entry in config.env or ())
    return Image(id=f"sha256:{found[2]}", variables={key: value for key, _, value in pairs})


async def import_skeleton(engine: Engine, skeleton: Path, name: str) -> Image:
    """Return an image of the bare folders in `skeleton`, for an engine that takes no root directory."""
    try:
        return await resolve_image(engine, name)
    except UsageError:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            archive.add(skeleton, arcname=".", filter=_of_root)
        try:
            await engine.call("import", "-", name, stdin=packed.getvalue())
            return await resolve_image(engine, name)
        except UsageError as error:
            raise SandboxUnavailableError(f"{engine.name} did not keep the image of the host") from error


def _of_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry
