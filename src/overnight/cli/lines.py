"""One event as one line for people. Pure, so that live display and `task logs` read alike."""

from collections.abc import Sequence

from overnight.cli.text import one_line, plain
from overnight.cli.units import show_seconds
from overnight.domain.events import (
    SERVICE,
    AttemptEnded,
    AttemptFailed,
    AttemptForked,
    AttemptStarted,
    AttemptWaiting,
    CheckCompleted,
    CheckpointCreated,
    CheckStarted,
    CommandAccepted,
    CommandEnded,
    CommandOutput,
    CommandRefused,
    CommandStarted,
    ContextCompacted,
    Event,
    FileChanged,
    Heartbeat,
    LimitHit,
    MessageAdded,
    MessageDelta,
    ModelWaiting,
    NetworkAllowed,
    NetworkBlocked,
    Noted,
    PatchReady,
    PhaseChanged,
    PlanStep,
    PlanUpdated,
    PolicyBlocked,
    ProposalChecked,
    ProposalMade,
    PullRequestOpened,
    PullRequestUpdated,
    SessionResumed,
    StepEnded,
    StepStarted,
    StuckNoticed,
    ToolCallEnded,
    ToolCallStarted,
    TurnStarted,
    UsageUpdated,
    VerdictReached,
    WentToBackground,
)
from overnight.domain.ids import short
from overnight.domain.task import PatchStats, Usage

STEP_MARKS = {"pending": "[ ]", "doing": "[>]", "done": "[x]"}
MARKS = {"added": "A", "modified": "M", "deleted": "D"}


def brief(event: Event) -> str | None:
    """Return the line that a live display prints for `event`; None when only the status line changes."""
    match event:
        case AttemptStarted():
            again = f", taken up again (epoch {event.epoch})" if event.epoch > 1 else ""
            again = f", turn {event.turn}" if event.turn > 1 else again
            return f"started: {event.agent} with {event.model}{again}"
        case TurnStarted() | AttemptForked() | AttemptWaiting() | CommandAccepted() | CommandRefused():
            return _of_people(event)
        case PhaseChanged():
            return f"{event.phase}{': ' + one_line(event.detail) if event.detail else ''}"
        case StepStarted():
            return f"step {event.step}: {one_line(event.title)}"
        case CommandEnded() if event.limit or event.exit_code:
            stopped = f", stopped by the limit {event.limit}" if event.limit else ""
            return f"  exit {event.exit_code} after {show_seconds(event.seconds)}{stopped}"
        case CommandStarted() if event.purpose == "service":
            name = event.command_id.removeprefix(SERVICE).rpartition("-")[0]
            return f"  service {name}: {one_line(event.command.strip().splitlines()[-1])}"
        case CommandStarted():
            return f"  $ {one_line(telling(event.command))}"
        case ToolCallStarted() if event.name != "shell":
            return f"  {event.name} {one_line(event.summary)}"
        case ToolCallEnded() if not event.ok:
            return f"  failed: {one_line(event.summary)}"
        case SessionResumed():
            how = "with its own session" if event.how == "native" else "from the conversation as text"
            return f"  goes on after step {event.step}, {how} ({event.how})"
        case FileChanged():
            return f"  {MARKS[event.change]} {one_line(event.path)} (+{event.added} -{event.removed})"
        case ProposalMade() if event.rejected:
            return f"  rejected {one_line(event.target)}: {one_line(event.rejected)}"
        case ProposalChecked():
            kept = "kept" if event.kept else "put back"
            return f"  tried {one_line(event.target)}: {event.passed} pass, {event.failed} fail, {kept}"
        case _:
            return _rest(event)


def _of_people(
    event: TurnStarted | AttemptForked | AttemptWaiting | CommandAccepted | CommandRefused,
) -> str:
    match event:
        case TurnStarted():
            conflicts = f", {len(event.conflicts)} files conflict with the base" if event.conflicts else ""
            return f"turn {event.turn}: {one_line(event.prompt)}{conflicts}"
        case AttemptForked():
            return f"forked from {short(event.origin)} {at_step(event.step)}"
        case AttemptWaiting() if event.question:
            choices = f" [{' | '.join(one_line(choice, 40) for choice in event.choices)}]"
            return f"asks: {one_line(event.question, 300)}{choices if event.choices else ''}"
        case AttemptWaiting():
            return f"paused{f' at the limit {event.limit}' if event.limit else ''}"
        case CommandAccepted():
            return f"accepted: {event.kind} {one_line(event.text)}".rstrip()
        case CommandRefused():
            return f"refused: {event.kind} ({one_line(event.reason)})"


def _of_loop(event: PlanUpdated | StuckNoticed | ContextCompacted | WentToBackground) -> str:
    match event:
        case PlanUpdated():
            return "\n".join(["  plan:", *(f"    {line}" for line in plan_lines(event.steps))])
        case StuckNoticed():
            return f"  stuck: {one_line(event.what)}, {event.times} times"
        case ContextCompacted():
            how = "older results cut" if event.kind == "aged" else "older messages summed up"
            return f"  context: {how}, {event.tokens_before} → {event.tokens_after} tokens"
        case WentToBackground():
            return f"  goes on in the background as {event.name}"


def plan_lines(steps: Sequence[PlanStep]) -> list[str]:
    """Return an agent's plan, one line a step."""
    return [f"{STEP_MARKS[step.state]} {one_line(step.text, 160)}" for step in steps]


def cached_words(usage: Usage) -> str:
    """Return how much of the input the provider had read before."""
    share = f", {usage.cached_tokens / usage.input_tokens:.0%}" if usage.cached_tokens else ""
    return f"{usage.cached_tokens} cached{share}"


def at_step(step: int) -> str:
    """Return where a fork begins, in words."""
    return f"after step {step}" if step else "at the start"


def _rest(event: Event) -> str | None:
    match event:
        case CheckStarted():
            side = "without the patch" if event.side == "base" else "with the patch"
            again = f" (run {event.run})" if event.run > 1 else ""
            return f"  check in a clean workspace, {side}{again}: {one_line(event.command)}"
        case CheckCompleted():
            tests = (
                f", {event.tests_passed} pass, {event.tests_failed} fail"
                if event.tests_passed or event.tests_failed
                else ""
            )
            cached = ", from an earlier run" if event.cached else f" in {show_seconds(event.seconds)}"
            return f"  → {'green' if event.passed else 'red'}{tests}{cached}"
        case PatchReady():
            return f"patch: {patch_line(event.patch)}"
        case VerdictReached():
            return (
                f"verdict: {event.verdict.finding.replace('_', ' ')}. {one_line(event.verdict.reason, 200)}"
            )
        case PullRequestUpdated():
            return f"pull request #{event.number} is at {event.commit[:12]} now"
        case PullRequestOpened():
            return f"pull request #{event.number}: {one_line(event.title)}"
        case AttemptFailed():
            hint = f" ({one_line(event.hint, 200)})" if event.hint else ""
            return f"failed: {one_line(event.message, 300)}{hint}"
        case AttemptEnded():
            return f"ended: {event.state}"
        case PlanUpdated() | StuckNoticed() | ContextCompacted() | WentToBackground():
            return _of_loop(event)
        case LimitHit() if event.limit == "result_characters":
            return None  # it happens with every long output, of which nothing is lost
        case LimitHit():
            return f"limit reached: {event.limit} {one_line(event.detail)}"
        case PolicyBlocked():
            return f"blocked: {one_line(event.what)} {one_line(event.detail)}"
        case NetworkBlocked():
            port = f":{event.port}" if event.port else ""
            times = f", {event.flows} times" if event.flows > 1 else ""
            what = f"{one_line(event.method, 20)} " if event.method else ""
            return f"  blocked: {what}{one_line(event.host)}{port} ({one_line(event.reason)}{times})"
        case Noted():
            return f"  {one_line(event.text, 200)}"
        case ModelWaiting():
            return f"  waiting: {one_line(event.reason)}"
        case _:
            return None


def full(event: Event) -> str | None:
    """Return what `task logs` prints for `event`: like `brief`, with outputs, messages and usage."""
    match event:
        case CommandOutput():
            return "\n".join(f"    │ {line}" for line in plain(event.text).splitlines() if line.strip())
        case MessageAdded():
            lines = plain(event.message.text).splitlines()
            calls = [f"    → {call.name} {one_line(call.arguments)}" for call in event.message.tool_calls]
            return "\n".join([f"  {event.message.role}:", *(f"    ┃ {line}" for line in lines), *calls])
        case UsageUpdated():
            usage = event.usage
            return (
                f"  usage: {usage.model_calls} calls, {usage.input_tokens} tokens in "
                f"({cached_words(usage)}), {usage.output_tokens} out"
            )
        case CheckpointCreated():
            return f"  checkpoint {event.digest[:12] or 'of the base'} after step {event.step}"
        case ProposalMade() if not event.rejected:
            return (
                f"  proposal for {one_line(event.target)} in {one_line(event.path)} "
                f"(view {event.view}, temperature {event.temperature:g})"
            )
        case CommandEnded():
            return f"  exit {event.exit_code} after {show_seconds(event.seconds)}"
        case NetworkAllowed():
            return (
                f"  network: {one_line(event.method, 20)} {one_line(event.host)}:{event.port}, {event.flows} "
                f"flows, {event.bytes_up} bytes up, {event.bytes_down} down"
            )
        case Heartbeat():
            return (
                f"  still {(event.waiting_for and 'waiting for ' + one_line(event.waiting_for)) or 'working'}"
            )
        case StepEnded():
            return f"── step {event.step} ends here"
        case MessageDelta():
            return None
        case _:
            return brief(event)


def telling(script: str) -> str:
    """Return a script without the lines at its beginning that only prepare: it is shown by its first line."""
    lines = script.strip().splitlines()
    while len(lines) > 1 and lines[0].split(" ", 1)[0] in ("set", "export", "cd", "#!/bin/bash", "("):
        lines.pop(0)
    return "\n".join(lines)


def patch_line(patch: PatchStats) -> str:
    """Return a patch as one line that names its files."""
    names = ", ".join(one_line(name, 60) for name in patch.files[:8])
    more = f" and {len(patch.files) - 8} more" if len(patch.files) > 8 else ""
    return f"{names}{more} (+{patch.added} -{patch.removed})"
