"""What setup sees of this machine's package clients: where packages are, and nothing that proves who asks."""

import base64
from pathlib import Path

import pytest

from overnight.environments.client_settings import SETTINGS, find_client_settings
from overnight.environments.credentials import Divided, divide_settings

SECRETS = {name: f"{name}-Zx81kQ0pwLmn77" for name in ("pip", "uv", "npm", "go", "cargo", "proxy", "query")}
KEY = "-----BEGIN PRIVATE KEY-----\nMIIEsecret\n-----END PRIVATE KEY-----\n"
AUTHORITY = "-----BEGIN CERTIFICATE-----\nMIIEpublic\n-----END CERTIFICATE-----\n"
ENCODED = base64.b64encode(f"bot:{SECRETS['npm']}-both".encode()).decode()
PIP = f"""[global]
# the old one was https://bot:{SECRETS["pip"]}-comment@old.example/
index-url = https://bot:{SECRETS["pip"]}%21@pip.example/simple
extra-index-url =
    https://{SECRETS["pip"]}-alone@fury.example/simple/
    https://open.example:8443/simple
find-links = https://blob.example/links?sig={SECRETS["query"]}&v=1
proxy = bot:{SECRETS["proxy"]}@proxy.example:3128
timeout = 20
trusted-host = open.example
[install]
no-binary = lxml
[DEFAULT]
retries = 3
"""
UV = f"""
# {SECRETS["uv"]}-comment
index-strategy = "unsafe-best-match"
[[index]]
name = "own"
url = "https://bot:{SECRETS["uv"]}@uv.example/simple" # {SECRETS["uv"]}-behind
default = true
[[index]]
name = "named"
url = "https://named.example/simple"
username = "bot"
password = "{SECRETS["uv"]}-plain"
[pip]
extra-index-url = ["https://a.example/x", "https://{SECRETS["uv"]}-list@b.example/x"]
"""
NPM = f"""; {SECRETS["npm"]}-comment
registry=https://npm.example/
@own:registry = "https://own.example/npm/"
//npm.example/:_authToken={SECRETS["npm"]}
//own.example/npm/:_password={base64.b64encode(SECRETS["npm"].encode()).decode()}
//own.example/npm/:username=bot
//env.example/:_authToken=${{NPM_TOKEN}}
_auth={ENCODED}
key="-----BEGIN PRIVATE KEY-----\\nMIIEsecret\\n-----END PRIVATE KEY-----"
https-proxy=http://bot:{SECRETS["proxy"]}@proxy.example:3128/
legacy-peer-deps=true ; {SECRETS["npm"]}-behind
ca[]="{AUTHORITY.strip()}"
odd key \\u005f={SECRETS["npm"]}-odd
"""
VARIABLES = {
    "PIP_EXTRA_INDEX_URL": f"https://a.example/s https://bot:{SECRETS['pip']}@b.example/s",
    "UV_INDEX_OWN_PASSWORD": SECRETS["uv"],
    "UV_INDEX_OWN_USERNAME": "bot",
    "UV_PUBLISH_TOKEN": SECRETS["uv"],
    "UV_DEFAULT_INDEX": "https://uv.example/simple",
    "npm_config_//npm.example/:_authToken": SECRETS["npm"],
    "NPM_CONFIG__AUTH": ENCODED,
    "NPM_CONFIG_REGISTRY": "https://npm.example",
    "CARGO_REGISTRIES_OWN_TOKEN": SECRETS["cargo"],
    "CARGO_REGISTRIES_OWN_INDEX": f"sparse+https://bot:{SECRETS['cargo']}@cargo.example/index/",
    "GOPROXY": f"https://go.example,https://bot:{SECRETS['go']}@own-go.example|direct",
    "HTTPS_PROXY": f"http://bot:{SECRETS['proxy']}@proxy.example:3128",
    "NO_PROXY": "localhost,.example",
}


def divided(home: Path, **more: str) -> Divided:
    """Return the settings of a machine with real files of all clients."""
    (home / ".config/pip").mkdir(parents=True)
    (home / ".config/pip/pip.conf").write_text(PIP)
    (home / ".config/uv").mkdir()
    (home / ".config/uv/uv.toml").write_text(UV)
    (home / ".npmrc").write_text(NPM)
    (home / ".netrc").write_text(f"machine pip.example login bot password {SECRETS['pip']}\n")
    (home / ".pypirc").write_text(f"[pypi]\npassword = {SECRETS['pip']}\n")
    (home / "ca.pem").write_text(AUTHORITY + KEY)
    environ = {**VARIABLES, "SSL_CERT_FILE": str(home / "ca.pem"), **more}
    return divide_settings(find_client_settings(environ, home, etc=home / "etc"))


def everything(found: Divided, *, lent: bool = False) -> str:
    """Return all that setup would see."""
    settings = found.lent if lent else found.settings
    parts = [f"{name}={value}" for name, value in settings.variables.items()]
    return "\n".join([*parts, *((file.read() or b"").decode() for file in settings.files)])


def test_no_credential_is_left(tmp_path: Path) -> None:
    found = divided(tmp_path)
    seen = everything(found)
    for needle in (*SECRETS.values(), ENCODED, "bot", "MIIEsecret", "_auth", "sig="):
        assert needle not in seen, seen


def test_addresses_and_choices_stay(tmp_path: Path) -> None:
    found = divided(tmp_path)
    files = {file.target: (file.read() or b"").decode() for file in found.settings.files}
    pip = files[f"{SETTINGS}/xdg-home/pip/pip.conf"]
    for line in (
        "index-url = https://pip.example/simple", "https://fury.example/simple/",
        "proxy = proxy.example:3128",
        "https://open.example:8443/simple", "find-links = https://blob.example/links\n", "timeout = 20",
        "trusted-host = open.example", "no-binary = lxml", "[DEFAULT]\nretries = 3",
    ):  # fmt: skip
        assert line in pip
    npm = files[f"{SETTINGS}/npmrc"].splitlines()
    assert npm[:2] == ["registry=https://npm.example/", '@own:registry="https://own.example/npm/"']
    assert "legacy-peer-deps=true" in npm
    assert "https-proxy=http://proxy.example:3128/" in npm
    assert files[f"{SETTINGS}/authorities/0-ca.pem"] == AUTHORITY
    variables = found.settings.variables
    assert variables["PIP_EXTRA_INDEX_URL"] == "https://a.example/s https://b.example/s"
    assert variables["GOPROXY"] == "https://go.example,https://own-go.example|direct"
    assert variables["CARGO_REGISTRIES_OWN_INDEX"] == "sparse+https://cargo.example/index/"
    assert variables["HTTPS_PROXY"] == "http://proxy.example:3128"
    assert variables["NO_PROXY"] == "localhost,.example"
    assert variables["UV_DEFAULT_INDEX"] == "https://uv.example/simple"


def test_what_is_left_of_a_toml_file_means_the_same(tmp_path: Path) -> None:
    import tomllib

    found = divided(tmp_path)
    (text,) = [(file.read() or b"").decode() for file in found.settings.files if file.target.endswith("toml")]
    assert tomllib.loads(text) == {
        "index-strategy": "unsafe-best-match",
        "index": [
            {"name": "own", "url": "https://uv.example/simple", "default": True},
            {"name": "named", "url": "https://named.example/simple"},
        ],
        "pip": {"extra-index-url": ["https://a.example/x", "https://b.example/x"]},
    }


def test_hosts_are_named_and_values_can_be_searched_for(tmp_path: Path) -> None:
    found = divided(tmp_path)
    hosts = {"pip.example", "fury.example", "blob.example", "proxy.example", "uv.example", "named.example"}
    hosts |= {"b.example", "npm.example", "own.example", "cargo.example", "own-go.example"}
    assert hosts <= set(found.settings.withheld)
    assert "CARGO_REGISTRIES_OWN_TOKEN" in found.settings.withheld
    assert not {"env.example", "open.example", "go.example"} & set(found.settings.withheld)
    values = {value for _, value in found.values}
    for secret in (*SECRETS.values(), f"{SECRETS['pip']}!", f"{SECRETS['npm']}-both", ENCODED):
        assert secret in values
    assert "bot" not in values
    assert all(secret in everything(found, lent=True) for secret in SECRETS.values())


@pytest.mark.parametrize("name", [".npmrc", ".config/pip/pip.conf", ".config/uv/uv.toml"])
def test_a_file_that_cannot_be_read_as_its_client_does_is_left_out(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\xff\xfe[broken\n = \xc3\x28 password-in-here\n")
    raw = find_client_settings({}, tmp_path, etc=tmp_path / "etc")
    assert len(raw.files) == 1
    found = divide_settings(raw)
    assert (found.settings.files, found.lent.files) == ((), ())
    assert found.settings.withheld == (path.name,)
    assert "NPM_CONFIG_USERCONFIG" not in found.settings.variables


def test_a_machine_without_credentials_keeps_its_settings(tmp_path: Path) -> None:
    (tmp_path / ".npmrc").write_text("registry=https://npm.example/\n")
    environ = {"PIP_INDEX_URL": "https://pip.example/simple"}
    found = divide_settings(find_client_settings(environ, tmp_path, etc=tmp_path / "etc"))
    assert found.settings.variables["PIP_INDEX_URL"] == "https://pip.example/simple"
    assert found.settings.files[0].read() == b"registry=https://npm.example/\n"
    assert (found.credentials, found.settings.withheld) == ((), ())
