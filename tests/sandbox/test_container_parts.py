"""The parts of the container backend that need no engine: what engines say, what we say to them."""

import json
from pathlib import Path

import pytest

from overnight.domain.errors import SandboxUnavailableError, UsageError
from overnight.domain.task import Limits
from overnight.sandbox.container.arguments import Container, bind_arguments, run_arguments
from overnight.sandbox.container.engine import Engine, Way, engine_variables, find_engine, ways
from overnight.sandbox.container.image import read_image
from overnight.sandbox.container.live import check_confinement
from overnight.sandbox.container.orphans import lives, this_owner
from overnight.sandbox.container.profile import seccomp_profile
from overnight.sandbox.interface import Bind, SandboxSpec
from overnight.sandbox.seccomp import ARCHITECTURES, refused_names

ID = "sha256:" + "ab" * 32
STATUS = (
    "Name:\tbash\nNSpid:\t4711\t1\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\nGid:\t7\t7\t7\t7\n"
    "CapInh:\t{caps}\nCapPrm:\t{caps}\nCapEff:\t{caps}\nCapBnd:\t{caps}\nNoNewPrivs:\t{new}\nSeccomp:\t{filter}\n"
)
GOOD = {"uid": "200000", "caps": "0" * 16, "new": "1", "filter": "2"}


def engine(name: str, **values: object) -> Engine:
    """Return an engine that is never called."""
    base: dict[str, object] = {"name": name, "program": Path(f"/usr/bin/{name}"), "version": "4.3"}
    base |= {"variables": {}, "rootless": False, "user": "200000:200000", "owner": (200000, 200000)}
    return Engine(**{**base, **values})  # type: ignore[arg-type]


def container(tmp_path: Path, spec: SandboxSpec, hosted: bool = True) -> Container:
    """Return a container over existing folders."""
    for name in ("upper", "control"):
        (tmp_path / name).mkdir(exist_ok=True)
    return Container(
        name="overnight-1-2-abc",
        spec=spec,
        tools=(),
        control=tmp_path / "control",
        pid_file=tmp_path / "pid",
        profile=tmp_path / "profile.json",
        root="/root-of-it",
        hosted=hosted,
        labels={"overnight.owner": "me"},
    )


def test_an_image_is_named_by_its_id() -> None:
    told = {"Id": ID.removeprefix("sha256:"), "Config": {"Env": ["PATH=/opt/bin:/bin", "EMPTY="]}}
    image = read_image("python", json.dumps([told]))
    assert image.id == ID
    assert image.variables == {"PATH": "/opt/bin:/bin", "EMPTY": ""}


@pytest.mark.parametrize("where", ["Annotations", "Labels", "Config"])
@pytest.mark.parametrize(
    "mark", ["run.oci.seccomp_bpf_data", "Run.OCI.hooks.stdout", "io.podman.annotations.privileged"]
)
def test_an_image_that_steers_the_runtime_is_refused(where: str, mark: str) -> None:
    marks = {mark: "x", "maintainer": "somebody"}
    told = {"Id": ID, where: {"Labels": marks} if where == "Config" else marks}
    with pytest.raises(UsageError, match="how the runtime confines it"):
        read_image("evil", json.dumps([told]))


@pytest.mark.parametrize("text", ["", "[]", "{}", "[{}]", '[{"Id": "short"}]', '[{"Id": 3}]'])
def test_what_is_no_image_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        read_image("odd", text)


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_the_profile_refuses_what_the_filter_does(machine: str) -> None:
    profile = json.loads(seccomp_profile(machine))
    rules = profile["syscalls"]
    assert profile["defaultAction"] == "SCMP_ACT_ALLOW"
    assert set(rules[0]["names"]) == set(refused_names(machine))
    assert {rule["action"] for rule in rules} == {"SCMP_ACT_ERRNO"}
    sockets = [rule["args"][0] for rule in rules if rule["names"] == ["socket"]]
    families = {argument["value"] for argument in sockets if argument["op"] == "SCMP_CMP_EQ"}
    assert families == set(range(46)) - {1, 2, 10}, "netlink is refused with a protocol"
    flags = {rule["args"][0]["value"] for rule in rules if rule["names"] == ["clone"]}
    assert sum(flags) == 0x7E020000


def test_the_confinement_is_asked_for(tmp_path: Path) -> None:
    spec = SandboxSpec(lower=(), upper=tmp_path / "upper", limits=Limits(memory_bytes=1024**3, processes=77))
    words = run_arguments(engine("podman"), container(tmp_path, spec))
    line = " ".join(words)
    for wanted in (
        "--network none", "--cap-drop ALL", "--security-opt no-new-privileges", "--read-only", "--pull never",
        f"--security-opt seccomp={tmp_path / 'profile.json'}", "--user 200000:200000",
        f"--memory {1024**3} --memory-swap {1024**3}", "--http-proxy=false", "--image-volume=ignore",
        f"--volume {tmp_path / 'upper'}:/workspace:rw", "--label overnight.owner=me", "--pids-limit 77",
        f"--volume {tmp_path / 'control'}:/overnight/control:ro",
    ):  # fmt: skip
        assert wanted in line, wanted
    for never in ("--privileged", "--pid", "--cap-add", "docker.sock", "--device", "--env", "annotation"):
        assert not any(
            word.startswith(never) for word in words if word != "--pids-limit" and word != "--pidfile"
        )
    rootless = engine("podman", rootless=True, owner=None, user="1000:1000", keeps_id=True)
    words = run_arguments(rootless, container(tmp_path, spec))
    assert "--userns=keep-id" in words
    assert not any(word.startswith("nproc=") for word in words), "the caller's own processes would count"


def test_docker_gets_what_docker_knows(tmp_path: Path) -> None:
    spec = SandboxSpec(lower=(), upper=tmp_path / "upper", network="host")
    words = run_arguments(engine("docker"), container(tmp_path, spec, hosted=False))
    assert "--userns=host" in words
    assert "--network host" in " ".join(words)
    assert not {"--rootfs", "--no-hosts", "--read-only-tmpfs=false", "--sdnotify=ignore"} & set(words)
    assert words[words.index("--entrypoint") + 1] == "/bin/bash"
    assert engine("docker", way=Way(runtime="runc")).words("ps") == ["/usr/bin/docker", "ps"]
    assert ways(engine("docker"), "/usr/bin") == [Way()]


def test_odd_paths_are_bound_or_refused(tmp_path: Path) -> None:
    odd = tmp_path / "a:b"
    odd.mkdir()
    assert bind_arguments(Bind(source=odd, target="/x"))[0] == "--mount"
    (tmp_path / "a:b,c").mkdir()
    with pytest.raises(SandboxUnavailableError, match="cannot bind"):
        bind_arguments(Bind(source=tmp_path / "a:b,c", target="/x"))
    with pytest.raises(SandboxUnavailableError, match="is not there"):
        bind_arguments(Bind(source=tmp_path / "missing", target="/x"))


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("uid", "0", "runs as root"),
        ("caps", "0" * 15 + "1", "holds capabilities"),
        ("new", "0", "could gain privileges"),
        ("filter", "0", "no system-call filter"),
    ],
)
def test_an_engine_that_ignores_options_is_not_trusted(name: str, value: str, why: str) -> None:
    check_confinement(STATUS.format(**GOOD))
    with pytest.raises(SandboxUnavailableError, match=why):
        check_confinement(STATUS.format(**{**GOOD, name: value}))
    with pytest.raises(SandboxUnavailableError):
        check_confinement("")


def test_a_worker_is_told_apart_from_a_later_one() -> None:
    name, pid, start = this_owner().split("-")
    assert lives(this_owner())
    assert not lives(f"{name}-{pid}-{int(start) + 1}")
    assert not lives(f"{name}-{2**22 + 1}-{start}")


@pytest.mark.anyio
async def test_no_engine_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(SandboxUnavailableError, match="neither podman nor docker is installed"):
        await find_engine(str(tmp_path), tmp_path, (1, 1))
    broken = tmp_path / "podman"
    broken.write_text("#!/bin/sh\necho cannot reach the moon >&2\nexit 3\n")
    broken.chmod(0o755)
    with pytest.raises(SandboxUnavailableError, match="podman does not answer: cannot reach the moon"):
        await find_engine(str(tmp_path), tmp_path, (1, 1))
    assert set(engine_variables("/bin", tmp_path)) <= {"PATH", "HOME", "LANG", "XDG_RUNTIME_DIR"}
