"""The toolbox of an attempt, as it was when its last finished step ended."""

from overnight.agents.interface import Assignment
from overnight.agents.record import StepRecorder, base_paths, last_of
from overnight.agents.tools.interface import DIGITS, Toolbox
from overnight.domain.events import ArtifactKept, PlanUpdated, WentToBackground


def toolbox_for(assignment: Assignment, steps: StepRecorder) -> Toolbox:
    """Return what tools work with: the plan and the artifacts of earlier steps are in it."""
    limits = assignment.limits
    plan = last_of(PlanUpdated, assignment.history)
    toolbox = Toolbox(
        workspace=assignment.workspace,
        sandbox=assignment.sandbox,
        events=assignment.events,
        artifacts=assignment.artifacts,
        limits=limits,
        protected=assignment.protected,
        base_paths=base_paths(assignment.workspace),
        seconds_left=lambda: min(limits.command_seconds, steps.seconds_left()),
        turn_seconds_left=steps.seconds_left,
        step=lambda: steps.step,
        looks_at_images=assignment.model.profile.images,
        code=assignment.code,
        plan=plan.steps if plan is not None else (),
    )
    named = 0
    for event in assignment.history:
        if isinstance(event, ArtifactKept):
            toolbox.kept[event.digest[:DIGITS]] = event.digest
        elif isinstance(event, WentToBackground):
            named += 1
    toolbox.background.count_on(named)
    return toolbox
