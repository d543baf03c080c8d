"""Tools are found without running anything: version managers, shims, virtual environments."""

from pathlib import Path

import pytest

from overnight.sandbox.tools import HostTools, Offer

ELF = b"\x7fELF" + bytes(16)


def program(path: Path, content: bytes = ELF) -> Path:
    """Write an executable file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o755)
    return path


def python(prefix: Path) -> Path:
    """Lay out what proves a Python prefix."""
    program(prefix / "lib/python3.12/os.py", b"")
    return program(prefix / "bin/python3")


def test_a_pyenv_shim_is_resolved_to_the_chosen_version(tmp_path: Path) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "fallback"
    root = home / ".pyenv"
    for version in ("3.9.1", "3.12.1", "3.11.7"):
        python(root / "versions" / version)
    program(root / "shims/python3", b"#!/bin/sh\nexit 1\n")
    (root / "version").write_text("3.11.7\n")
    offer = HostTools(f"{root}/shims", home, elsewhere).find(["python3"])
    assert [bind.source for bind in offer.binds] == [root / "versions/3.11.7"]
    assert offer.binds[0].target == "/opt/overnight/python3"
    assert offer.path == ("/opt/overnight/python3/bin",)
    (root / "version").write_text("../../..\nsystem\n")
    offer = HostTools(f"{root}/shims", home, elsewhere).find(["python3"])
    assert [bind.source for bind in offer.binds] == [root / "versions/3.12.1"]


def test_a_virtual_environment_leads_to_its_base(tmp_path: Path) -> None:
    base = tmp_path / "home/opt/python"
    python(base)
    (tmp_path / "repo/.venv/bin").mkdir(parents=True)
    (tmp_path / "repo/.venv/bin/python3").symlink_to(base / "bin/python3")
    offer = HostTools(f"{tmp_path}/repo/.venv/bin", tmp_path / "home", tmp_path).find(["python3"])
    assert [bind.source for bind in offer.binds] == [base]


def test_without_any_python_the_running_one_stands_in(tmp_path: Path) -> None:
    fallback = tmp_path / "deep/fallback"
    python(fallback)
    offer = HostTools("relative:", tmp_path / "home", fallback).find(["python3"])
    assert [bind.source for bind in offer.binds] == [fallback]


def test_rustup_and_nvm(tmp_path: Path) -> None:
    home = tmp_path / "home"
    toolchain = home / ".rustup/toolchains/stable-x"
    program(toolchain / "bin/rustc")
    program(toolchain / "bin/cargo")
    (toolchain / "lib/rustlib").mkdir(parents=True)
    (home / ".rustup/settings.toml").write_text('default_toolchain = "stable-x"\n')
    program(home / ".cargo/bin/cargo")
    node = home / ".nvm/versions/node"
    for version in ("v9.0.0", "v22.1.0"):
        program(node / version / "bin/node")
        (node / version / "lib/node_modules").mkdir(parents=True)
    offer = HostTools(f"{home}/.cargo/bin", home, tmp_path).find(["cargo", "npm"])
    assert [bind.source for bind in offer.binds] == [toolchain, node / "v22.1.0"]


def test_a_rustup_beside_the_system_is_passed_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the usual container images of Rust: RUSTUP_HOME lies outside of the home."""
    rustup, shims = tmp_path / "rustup", tmp_path / "cargo/bin"
    toolchain = rustup / "toolchains/stable-x"
    program(toolchain / "bin/rustc")
    (toolchain / "lib/rustlib").mkdir(parents=True)
    program(shims / "rustup")
    (shims / "cargo").symlink_to("rustup")
    tools = HostTools(str(shims), tmp_path / "home", tmp_path, rustup)
    assert [bind.source for bind in tools.find(["cargo"]).binds] == [toolchain]
    monkeypatch.setattr("overnight.sandbox.tools._SYSTEM", (f"{tmp_path}/",))
    tools = HostTools(str(shims), tmp_path / "home", tmp_path, rustup)
    assert tools.find(["cargo"]) == Offer(path=(str(toolchain / "bin"),))


def test_system_programs_need_nothing_and_scripts_are_not_offered(tmp_path: Path) -> None:
    program(tmp_path / "bin/tool", b"#!/bin/sh\n")
    program(tmp_path / "bin/other")
    tools = HostTools(f"/usr/bin:{tmp_path}/bin", tmp_path / "home", tmp_path)
    assert tools.find(["env"]).binds == ()
    assert tools.find(["tool", "../bin/other", "missing"]).binds == ()
    assert [bind.target for bind in tools.find(["other"]).binds] == ["/opt/overnight/bin/other"]


@pytest.mark.parametrize("prefix", ["home", "."])
def test_a_home_is_never_offered(tmp_path: Path, prefix: str) -> None:
    home = tmp_path / "home"
    home.mkdir()
    python(tmp_path / prefix)
    offer = HostTools(str(tmp_path / prefix / "bin"), home, tmp_path / "none").find(["python3"])
    assert offer.binds == ()
