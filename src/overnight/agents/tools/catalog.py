"""Which tools a model is given: those that suit it, always in the same order."""

from overnight.agents.tools.apply_patch import ApplyPatch
from overnight.agents.tools.ask import Ask
from overnight.agents.tools.edit import Edit
from overnight.agents.tools.interface import Tool
from overnight.agents.tools.plan import Plan
from overnight.agents.tools.process import Process
from overnight.agents.tools.read import Read
from overnight.agents.tools.search import Search
from overnight.agents.tools.shell import Shell
from overnight.agents.tools.view_image import ViewImage
from overnight.agents.tools.write import Write
from overnight.models.interface import ModelProfile


def tools_for(profile: ModelProfile) -> tuple[Tool, ...]:
    """Return the tools for a model. More may be put behind them: of other servers, of skills."""
    return (
        Shell(),
        Process(),
        *_editors(profile),
        Read(),
        Search(),
        *((ViewImage(),) if profile.images else ()),
        Plan(),
        Ask(),
    )


def _editors(profile: ModelProfile) -> tuple[Tool, ...]:
    match profile.edit_format:
        case "patch":
            return (ApplyPatch(),)
        case "replace":
            return (Edit(), Write())
        case "whole":
            return (Write(),)
