"""`copilot-setup-steps.yml` of GitHub's coding agent: the steps of one job are setup.

Of the job only `steps`, `container`, `services`, `timeout-minutes` (up to 59), `env` and `defaults` mean
something here; `permissions` and `runs-on` speak of GitHub's machines.
"""

import re
import shlex
from collections.abc import Mapping
from typing import Any

from overnight.domain.environment import SecretName, Service
from overnight.environments.detect.found import Host
from overnight.environments.detect.reader import Looking, table
from overnight.environments.importers.commands import for_sandbox
from overnight.environments.importers.compose import MAX_SERVICES, image_service
from overnight.environments.importers.imported import MAX_VARIABLES, File, Imported, open_file, unreadable
from overnight.environments.importers.programs import offered
from overnight.environments.importers.texts import UnreadableError, read_yaml
from overnight.sandbox.interface import WORKSPACE

FILES = (".github/workflows/copilot-setup-steps.yml", ".github/workflows/copilot-setup-steps.yaml")
JOB = "copilot-setup-steps"
MAX_MINUTES = 59
MAX_STEPS = 100

_EXPRESSION = re.compile(r"\$\{\{([^{}]*)\}\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET = re.compile(r"secrets\.([A-Za-z_][A-Za-z0-9_]*)")
_KNOWN = {
    "github.workspace": WORKSPACE,
    "runner.temp": "/tmp",  # noqa: S108 (inside the sandbox, which has a /tmp of its own)
    "runner.os": "Linux",
    "runner.arch": "X64",
}
_ALWAYS = frozenset(("always()", "success()", "true", "!cancelled()", "runner.os == 'Linux'"))
_NO_FILES = dict.fromkeys(("GITHUB_ENV", "GITHUB_PATH", "GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"), "/dev/null")
_REFUSED_JOB = {
    "strategy": "one job is one environment",
    "needs": "other jobs are not run",
    "if": "conditions of a job are not decided here",
    "snapshot": "images of another service cannot be read",
    "uses": "workflows of others are not run",
}


def import_copilot(looking: Looking, host: Host) -> Imported | None:
    """Return what the repository's copilot-setup-steps.yml says, or None where there is none."""
    path = next((path for path in FILES if looking.has(path) or looking.refused(path)), None)
    opened = open_file(looking, host, path) if path else None
    if opened is None:
        return None
    file, content = opened
    try:
        values = read_yaml(content)
    except UnreadableError as error:
        return unreadable(file, "YAML", error)
    jobs = file.table(values, "jobs")
    if JOB not in jobs:
        file.wrong("jobs", f"a table with the job {JOB}: no other one is read")
        file.close()
        return Imported(file=file.path)
    job = file.table(jobs, JOB, "jobs.")
    for key in job:
        if key in _REFUSED_JOB:
            file.ignore(key, _REFUSED_JOB[key])
    reading = _Job(file, values, job)
    setup, services = reading.steps(), reading.services()
    imported = Imported(
        file=file.path,
        base=reading.image(),
        setup=setup or None,
        services=services or None,
        setup_seconds=reading.seconds(),
        secrets=tuple(SecretName(name=name) for name in sorted(reading.secrets)),
        variables=reading.variables,
    )
    file.close()
    return imported


class _Job:
    """The job while it is read: its variables, and the secrets that it names."""

    def __init__(self, file: File, workflow: Mapping[str, Any], job: Mapping[str, Any]) -> None:
        self.file = file
        self.job = job
        self.secrets: set[str] = set()
        self.variables: dict[str, str] = {}
        for where, values in (("env", workflow), (f"jobs.{JOB}.env", job)):
            self.variables |= self._environment(values, where)
        defaults = {
            **table(table(workflow.get("defaults")).get("run")),
            **table(table(job.get("defaults")).get("run")),
        }
        self.directory = file.text(defaults, "working-directory", "defaults.run.") or ""
        self.shell = file.text(defaults, "shell", "defaults.run.") or ""

    def seconds(self) -> float | None:
        text = self.file.text(self.job, "timeout-minutes")
        if text is None:
            return None
        if not re.fullmatch(r"[0-9]{1,4}", text) or int(text) == 0:
            self.file.wrong("timeout-minutes", f"a number of minutes from 1 to {MAX_MINUTES}")
            return None
        if int(text) > MAX_MINUTES:
            self.file.note("timeout-minutes", f"{MAX_MINUTES} is the most")
        return min(int(text), MAX_MINUTES) * 60.0

    def image(self) -> str | None:
        """Return the image that the job runs in."""
        given = self.job.get("container")
        container = {"image": given} if isinstance(given, str) else self.file.table(self.job, "container")
        for key in container:
            if key != "image":
                self.file.ignore(f"container.{key}", "only the image of a container is taken")
        return self.file.image("container.image", self.file.text(container, "image", "container."))

    def services(self) -> tuple[Service, ...]:
        found: list[Service] = []
        for name, entry in self.file.table(self.job, "services").items():
            if len(found) == MAX_SERVICES:
                self.file.ignore(f"services.{name}", f"there are more than {MAX_SERVICES}")
                break
            service = image_service(self.file, name, entry, f"services.{name}", published=True)
            if service is not None:
                found.append(service)
        return tuple(found)

    def steps(self) -> tuple[str, ...]:
        commands: list[str] = []
        steps = self.file.items(self.job, "steps")
        for number, entry in enumerate(steps[:MAX_STEPS], start=1):
            step = table(entry)
            label = f"step {number}"
            if not step:
                self.file.wrong(label, "a table with run or uses")
                continue
            label = self.file.text(step, "name") or label
            condition = self.file.text(step, "if")
            if condition is not None and _bare(condition) not in _ALWAYS:
                self.file.ignore(label, f"its condition cannot be decided here: {condition}")
            elif "uses" in step:
                self._uses(step, label)
            elif script := self.file.text(step, "run", f"{label}: "):
                commands += self._run(step, label, script)
        if len(steps) > MAX_STEPS:
            self.file.ignore("steps", f"only the first {MAX_STEPS} are read")
        return tuple(commands)

    def _uses(self, step: Mapping[str, Any], label: str) -> None:
        action = self.file.text(step, "uses", f"{label}: ") or ""
        short = action.split("@")[0].rstrip("/").rsplit("/", 1)[-1]
        given = table(step.get("with"))
        versions = [
            value for key, value in given.items() if key.endswith("version") and isinstance(value, str)
        ]
        # `actions/cache/restore` is the cache action as well.
        short = "cache" if action.startswith("actions/cache") else short
        offered(
            self.file,
            label if label.startswith("step ") else "uses",
            [(action, short, "".join(versions[:1]))],
        )

    def _run(self, step: Mapping[str, Any], label: str, script: str) -> list[str]:
        shell = (self.file.text(step, "shell", f"{label}: ") or self.shell or "bash").split()[0:1]
        if shell not in (["bash"], ["sh"]):
            self.file.ignore(label, f"the shell {' '.join(shell)} is not bash")
            return []
        text = self.resolve(script)
        directory = self.file.text(step, "working-directory", f"{label}: ") or self.directory
        resolved = self.resolve(directory)
        if text is None or resolved is None:
            self.file.ignore(label, "it uses an expression that only GitHub can answer")
            return []
        if any(name in text for name in ("GITHUB_ENV", "GITHUB_PATH")):
            self.file.note(label, "what it writes to GITHUB_ENV or GITHUB_PATH is not kept")
        text = for_sandbox(text, lambda part, why: self.file.ignore(f"{label}: {part}", why))
        if not text:
            return []
        variables = {**_no_files(text), **self._environment(step, f"{label}: env")}
        lines = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
        if resolved.rstrip("/") not in ("", ".", WORKSPACE):
            lines.append(f"cd {shlex.quote(resolved)}")
        if lines or "\n" in text:
            text = "\n".join(["set -e", *lines, text])
        if self.file.text(step, "continue-on-error") == "true":
            text = f"(\n{text}\n) || true"
        self.file.note(label, script)
        return [text]

    def _environment(self, values: Mapping[str, Any], where: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for name, value in self.file.table(values, "env").items():
            if not _NAME.fullmatch(name) or not isinstance(value, str) or "\0" in value:
                self.file.wrong(f"{where}.{name}", "a name with a text")
                continue
            resolved = self.resolve(value)
            if resolved is None:
                self.file.ignore(f"{where}.{name}", "it uses an expression that only GitHub can answer")
            elif len(found) < MAX_VARIABLES:
                found[name] = resolved
        return found

    def resolve(self, text: str) -> str | None:
        """Return a text with its `${{ … }}` put in; None where one of them cannot be."""
        unknown: list[str] = []

        def put(match: re.Match[str]) -> str:
            expression = match[1].strip()
            self.secrets.update(_SECRET.findall(expression))
            if expression in _KNOWN:
                return _KNOWN[expression]
            name = expression.removeprefix("env.")
            if name != expression and name in self.variables:
                return self.variables[name]
            unknown.append(expression)
            return ""

        made = _EXPRESSION.sub(put, text)
        return None if unknown or "${{" in made else made


def _bare(condition: str) -> str:
    found = _EXPRESSION.fullmatch(condition.strip())
    return found[1].strip() if found else condition.strip()


def _no_files(text: str) -> dict[str, str]:
    """Give steps a place for what they report to GitHub: without one, their redirections would fail."""
    return {name: place for name, place in _NO_FILES.items() if name in text}
