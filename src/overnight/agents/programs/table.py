"""The agents that are programs of others, in one table: package, version, and how each is run.

Sources: each program's own documentation and `--help` at the pinned version. They run without asking, and
without a sandbox of their own: ours is the boundary.
"""

import json
from collections.abc import Callable, Mapping
from typing import Literal

import msgspec

INSTALLED = "/overnight/agent"
"""Where the package lies inside the sandbox."""
SESSION = ".overnight-session"
"""The file beneath the home that names the session of a program that is run by the protocol."""


class Wiring(msgspec.Struct, frozen=True, kw_only=True):
    """What a program needs to know to find its model."""

    url: str
    """The gateway's, without a path."""
    model: str
    context_tokens: int
    output_tokens: int


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """How a program is started: its prompt comes by standard input, or as `{prompt}` in its arguments."""

    argv: tuple[str, ...]
    variables: Mapping[str, str] = {}
    files: Mapping[str, str] = {}
    """Contents by path beneath the home, written before the first start."""
    prompt_argument: bool = False


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table."""

    name: str
    title: str
    registry: Literal["npm", "pypi", "host"]
    """Where the package comes from; `host`: a person installs it, and it is taken from their PATH."""
    package: str
    version: str
    """The one that is installed, and for which this row was tried; empty for `host`."""
    licence: str
    command: str
    """The program's name in the package's `bin` folder."""
    launch: Callable[[Wiring], Launch]
    native: tuple[str, ...] = ()
    """Where in `node_modules` the program itself lies, as patterns, if a script would have to put it into
    `bin`: scripts of packages are not run. The second is for processors without AVX2."""
    keeps: tuple[str, ...] = ()
    """Paths beneath the home, as patterns of the shell, that hold its sessions."""
    resume: tuple[str, ...] = ()
    """Arguments that, put behind `argv`, go on with the last session of this home; empty if it cannot."""
    tools: tuple[str, ...] = ()
    """Programs of the host that it needs."""
    asides: bool = True
    """Whether requests without tools are on the side (titles, summaries): not where it never sends any."""
    protocol: tuple[str, ...] = ()
    """Its arguments for the Agent Client Protocol; empty where it does not speak it."""
    by_protocol: bool = False
    """Whether it is run by that protocol; otherwise once, from a prompt to its end."""

    @property
    def pinned(self) -> str:
        """Package and version as the registry's client takes them."""
        return f"{self.package}{'@' if self.registry == 'npm' else '=='}{self.version}"


_KEY = "none"
"""What programs get as a key: they insist on one, and the gateway asks for none."""


def _codex(wiring: Wiring) -> Launch:
    settings = f"""\
model = {json.dumps(wiring.model)}
model_provider = "overnight"
model_context_window = {wiring.context_tokens}
approval_policy = "never"
sandbox_mode = "danger-full-access"
check_for_update_on_startup = false
[analytics]
enabled = false
[model_providers.overnight]
name = "overnight"
base_url = "{wiring.url}/v1"
wire_api = "responses"
request_max_retries = 2
stream_max_retries = 2
"""
    argv = (
        "codex",
        "exec",
        "--dangerously-bypass-approvals-and-sandbox",
        "--skip-git-repo-check",
        "--json",
        "-",
    )
    return Launch(argv=argv, files={".codex/config.toml": settings})


def _claude(wiring: Wiring) -> Launch:
    return Launch(
        argv=(
            "claude",
            "-p",
            "--verbose",
            "--dangerously-skip-permissions",
            "--output-format",
            "stream-json",
        ),
        variables={
            "ANTHROPIC_BASE_URL": wiring.url,
            "ANTHROPIC_API_KEY": _KEY,
            "ANTHROPIC_MODEL": wiring.model,
            "ANTHROPIC_SMALL_FAST_MODEL": wiring.model,
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "CLAUDE_CODE_MAX_OUTPUT_TOKENS": str(wiring.output_tokens),
            "DISABLE_AUTOUPDATER": "1",
            "IS_SANDBOX": "1",
        },
    )


def _opencode(wiring: Wiring) -> Launch:
    limit = {"context": wiring.context_tokens, "output": wiring.output_tokens}
    models = {wiring.model: {"name": wiring.model, "tool_call": True, "limit": limit}}
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": "overnight",
        "options": {"baseURL": f"{wiring.url}/v1", "apiKey": _KEY},
        "models": models,
    }
    model = f"overnight/{wiring.model}"
    settings = {
        "autoupdate": False, "share": "disabled", "model": model, "small_model": model,
        "enabled_providers": ["overnight"], "provider": {"overnight": provider},
    }  # fmt: skip
    return Launch(
        argv=("opencode", "run", "--format", "json"),
        variables={"OPENCODE_DISABLE_AUTOUPDATE": "1", "OPENCODE_DISABLE_MODELS_FETCH": "1"},
        files={".config/opencode/opencode.json": json.dumps(settings, indent=1)},
    )


def _gemini(wiring: Wiring) -> Launch:
    settings = {
        "security": {"auth": {"selectedType": "gemini-api-key"}, "folderTrust": {"enabled": False}},
        "privacy": {"usageStatisticsEnabled": False},
        "general": {"disableAutoUpdate": True},
    }
    return Launch(
        files={".gemini/settings.json": json.dumps(settings)},
        argv=("gemini", "--yolo", "--output-format", "stream-json", "--model", wiring.model),
        variables={"GEMINI_API_KEY": _KEY, "GOOGLE_GEMINI_BASE_URL": wiring.url, "GEMINI_SANDBOX": "false"},
    )


def _qwen(wiring: Wiring) -> Launch:
    return Launch(
        argv=("qwen", "--yolo", "--output-format", "stream-json"),
        variables=_openai(wiring) | {"OPENAI_MODEL": wiring.model, "GEMINI_SANDBOX": "false"},
    )


def _goose(wiring: Wiring) -> Launch:
    return Launch(
        argv=("goose", "run", "--no-session", "-i", "-"),
        variables={
            "GOOSE_PROVIDER": "openai", "GOOSE_MODEL": wiring.model, "OPENAI_API_KEY": _KEY,
            "OPENAI_HOST": wiring.url, "GOOSE_MODE": "auto", "GOOSE_DISABLE_KEYRING": "1",
        },
    )  # fmt: skip


def _mini(wiring: Wiring) -> Launch:
    return Launch(
        argv=(
            "mini",
            "-m",
            f"openai/{wiring.model}",
            "-y",
            "--exit-immediately",
            "-l",
            "0",
            "-o",
            "/dev/null",
            "-t",
            "{prompt}",
        ),
        variables=_openai(wiring)
        | {
            "MSWEA_CONFIGURED": "true",
            "MSWEA_COST_TRACKING": "ignore_errors",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        prompt_argument=True,
    )


def _aider(wiring: Wiring) -> Launch:
    return Launch(
        argv=(
            "aider",
            "--model",
            f"openai/{wiring.model}",
            "--yes-always",
            "--no-git",
            "--no-check-update",
            "--no-show-release-notes",
            "--no-analytics",
            "--no-show-model-warnings",
            "--no-pretty",
            "--chat-history-file",
            "/dev/null",
            "--input-history-file",
            "/dev/null",
            "--no-fancy-input",
            "--no-detect-urls",
            "--no-suggest-shell-commands",
            "--message",
            "{prompt}",
        ),
        variables=_openai(wiring)
        | {
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        prompt_argument=True,
    )


def _openai(wiring: Wiring) -> dict[str, str]:
    address = f"{wiring.url}/v1"
    return {"OPENAI_API_KEY": _KEY, "OPENAI_BASE_URL": address, "OPENAI_API_BASE": address}


PROGRAMS: tuple[Program, ...] = (
    Program(
        name="codex", title="Codex", registry="npm", package="@openai/codex", version="0.171.0",
        licence="Apache-2.0", command="codex", launch=_codex, resume=("resume", "--last", "-"),
        tools=("node",), keeps=(".codex/sessions",),
    ),
    Program(
        name="claude-code", title="Claude Code", registry="npm", package="@anthropic-ai/claude-code",
        version="2.1.332", licence="proprietary", command="claude", launch=_claude, resume=("--continue",),
        native=("@anthropic-ai/claude-code-linux-*64/claude",),
        keeps=(".claude/projects", ".claude/todos", ".claude/tasks", ".claude.json"),
    ),
    Program(
        name="opencode", title="opencode", registry="npm", package="opencode-ai", version="1.18.33",
        licence="MIT", command="opencode", launch=_opencode, resume=("--continue",), protocol=("acp",),
        native=("opencode-linux-*64/bin/opencode", "opencode-linux-*64-baseline/bin/opencode"),
        keeps=(".local/share/opencode/storage", ".local/share/opencode/*.db*", SESSION),
        by_protocol=True,
    ),
    Program(
        name="gemini-cli", title="Gemini CLI", registry="npm", package="@google/gemini-cli",
        version="0.61.0", licence="Apache-2.0", command="gemini", launch=_gemini, tools=("node",),
        protocol=("--acp",),
    ),
    Program(
        name="qwen-code", title="Qwen Code", registry="npm", package="@qwen-code/qwen-code",
        version="0.24.4", licence="Apache-2.0", command="qwen", launch=_qwen, tools=("node",),
        resume=("--continue",), protocol=("--acp",), keeps=(".qwen/projects", ".qwen/tmp"),
    ),
    Program(
        name="goose", title="goose", registry="host", package="goose", version="", licence="Apache-2.0",
        command="goose", launch=_goose, tools=("goose",), protocol=("acp",),
    ),
    Program(
        name="mini-swe-agent", title="mini-swe-agent", registry="pypi", package="mini-swe-agent",
        version="2.4.6", licence="MIT", command="mini", launch=_mini, tools=("python3",),
    ),
    Program(
        name="aider", title="aider", registry="pypi", package="aider-chat", version="0.86.2",
        licence="Apache-2.0", command="aider", launch=_aider, tools=("python3",), asides=False,
    ),
)  # fmt: skip
"""In the order in which they are listed."""


def find(name: str) -> Program | None:
    """Return the program of that name."""
    return next((program for program in PROGRAMS if program.name == name), None)
