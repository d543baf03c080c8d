"""The argument list that makes an engine build our sandbox."""

import resource
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from overnight.domain.errors import SandboxUnavailableError
from overnight.sandbox.container.engine import Engine
from overnight.sandbox.container.inside import CONTROL, SCRIPT
from overnight.sandbox.container.skeleton import INIT, host_binds
from overnight.sandbox.interface import WORKSPACE, Bind, SandboxSpec
from overnight.sandbox.processes import SANDBOXES_AT_ONCE, resource_limits, within_reach
from overnight.sandbox.view import HOME, memory_folder_bytes

_ULIMITS = {
    resource.RLIMIT_CORE: "core",
    resource.RLIMIT_FSIZE: "fsize",
    resource.RLIMIT_NOFILE: "nofile",
    resource.RLIMIT_CPU: "cpu",
}
"""What engines call them."""


class Container(msgspec.Struct, frozen=True, kw_only=True):
    """One container before it starts.

    `root` is a directory (podman) or an image; `hosted` says that the host's programs are bound into it.
    """

    name: str
    spec: SandboxSpec
    tools: tuple[Bind, ...]
    control: Path
    pid_file: Path
    profile: Path
    root: str
    hosted: bool
    labels: Mapping[str, str]


def bind_arguments(bind: Bind) -> list[str]:
    """Return the words that make `bind` visible inside.

    Raises:
        SandboxUnavailableError: a path cannot be written in the engine's language.
    """
    source = str(bind.source)
    if not bind.source.exists():
        raise SandboxUnavailableError(f"{source} is not there to be bound into the container")
    if ":" not in source + bind.target:
        return ["--volume", f"{source}:{bind.target}:{'rw' if bind.writable else 'ro'}"]
    if not any(letter in source + bind.target for letter in ',"\n'):
        readonly = "" if bind.writable else ",readonly"
        return ["--mount", f"type=bind,source={source},target={bind.target}{readonly}"]
    raise SandboxUnavailableError(
        f"A container engine cannot bind the path {source!r}", "Use a path without colon, comma and quotes."
    )


def run_arguments(engine: Engine, container: Container) -> list[str]:
    """Return the arguments of `run` that start the container, with our PID 1 in it."""
    spec = container.spec
    arguments = ["run", "--detach", "--rm", "--pull", "never", "--name", container.name]
    for key, value in container.labels.items():
        arguments += ["--label", f"{key}={value}"]
    arguments += _confinement(engine, container)
    arguments += _bounds(engine, spec)
    for bind in _binds(container):
        arguments += bind_arguments(bind)
    arguments += _memory_files(engine, spec)
    arguments += ["--entrypoint", INIT if container.hosted else "/bin/bash"]
    if engine.name == "podman" and container.hosted:
        arguments.append("--rootfs")
    return [*arguments, container.root, "-c", SCRIPT, "bash", CONTROL]


def _confinement(engine: Engine, container: Container) -> list[str]:
    arguments = ["--network", "host" if container.spec.network == "host" else "none"]
    arguments += ["--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
    arguments += ["--security-opt", f"seccomp={container.profile}", "--security-opt", "label=disable"]
    arguments += ["--read-only", "--user", engine.user, "--workdir", "/", "--hostname", "overnight"]
    arguments += ["--ipc", "private", "--no-healthcheck", "--log-driver", "none", "--stop-timeout", "0"]
    if container.spec.network == "host":
        # A name cannot be set in the host's own namespace of names, which some engines share with it.
        del arguments[arguments.index("--hostname") : arguments.index("--hostname") + 2]
    if engine.name == "podman":
        arguments += ["--read-only-tmpfs=false", "--no-hosts", "--http-proxy=false", "--sdnotify=ignore"]
        arguments += ["--image-volume=ignore", "--pidfile", str(container.pid_file)]
        # The kernel's and the hardware's own files say much about the host, and tests need none of them.
        arguments += ["--security-opt", "mask=/sys"]
        if engine.keeps_id:
            arguments.append("--userns=keep-id")
    elif not engine.rootless:
        arguments.append("--userns=host")  # files belong to the uid that we say, not to a mapped one
    return arguments


def _bounds(engine: Engine, spec: SandboxSpec) -> list[str]:
    limits = spec.limits
    arguments: list[str] = []
    if engine.way.cgroups:
        memory = str(limits.memory_bytes)
        arguments += ["--memory", memory, "--memory-swap", memory, "--pids-limit", str(limits.processes)]
    else:
        arguments.append("--cgroups=disabled")
    bounds = {_ULIMITS[kind]: value for kind, value in resource_limits(limits).items()}
    if engine.owner is not None:
        # Counted over all sandboxes of that user; the caller's own processes would count too.
        hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
        bounds["nproc"] = within_reach(limits.processes * SANDBOXES_AT_ONCE, hard)
    for name, bound in bounds.items():
        arguments += ["--ulimit", f"{name}={bound}:{bound}"]
    return arguments


def _memory_files(engine: Engine, spec: SandboxSpec) -> list[str]:
    size = memory_folder_bytes(spec.limits)
    arguments = ["--shm-size", str(size)]
    empty = ",notmpcopyup" if engine.name == "podman" else ""
    if spec.scratch is None:
        for target in ("/tmp", HOME):  # noqa: S108
            arguments += ["--tmpfs", f"{target}:rw,exec,nosuid,nodev,size={size},mode=1777{empty}"]
    return arguments


def _binds(container: Container) -> Iterable[Bind]:
    spec = container.spec
    if container.hosted:
        for source, target in host_binds():
            yield Bind(source=Path(source), target=target)
        if spec.network == "host":
            for name in ("/etc/resolv.conf", "/etc/hosts"):
                # Often a link into /run, which stays hidden: bind what it points to.
                if Path(name).exists():
                    yield Bind(source=Path(name).resolve(), target=name)
        yield from container.tools
    yield Bind(source=spec.upper, target=WORKSPACE, writable=True)
    if spec.scratch is not None:
        yield Bind(source=spec.scratch / "tmp", target="/tmp", writable=True)  # noqa: S108
        yield Bind(source=spec.scratch / "home", target=HOME, writable=True)
    yield from spec.binds
    yield Bind(source=container.control, target=CONTROL)
