"""`view_image`: shows a picture of the workspace to a model that looks at pictures."""

from collections.abc import Mapping
from typing import Any

from overnight.agents.tools.interface import Toolbox, ToolResult, refusal
from overnight.agents.tools.pictures import look_at
from overnight.domain.conversation import Image, ToolSpec
from overnight.domain.errors import OvernightError
from overnight.domain.events import LimitHit


class ViewImage:
    """Adds a picture to the conversation; what it is is read from its bytes, not from its name."""

    read_only = True
    spec = ToolSpec(
        name="view_image",
        description="Look at a picture of the repository (PNG, JPEG, GIF or WebP).",
        parameters={
            "type": "object",
            "properties": {
                "path": {"type": "string", "description": "Relative to the repository's root."},
            },
            "required": ["path"],
            "additionalProperties": False,
        },
    )

    def summary(self, arguments: Mapping[str, Any]) -> str:
        """Return the file's name."""
        return str(arguments.get("path", ""))[:120]

    async def run(self, arguments: Mapping[str, Any], toolbox: Toolbox) -> ToolResult:
        """Keep the picture and return it, if it is one and the model may see it."""
        path = arguments.get("path")
        if not isinstance(path, str):
            return ToolResult("`path` must be a string", ok=False)
        if not toolbox.looks_at_images:
            return ToolResult("This model does not look at pictures; use commands to examine it.", ok=False)
        try:
            content = toolbox.workspace.read(path)
            if content is None:
                return ToolResult(f"{path}: no such file", ok=False)
            picture = look_at(content)
            if picture is None:
                return ToolResult(f"{path}: not a PNG, JPEG, GIF or WebP picture", ok=False)
            pixels = picture.width * picture.height
            for limit, value, bound in (
                ("image_bytes", len(content), toolbox.limits.image_bytes),
                ("image_pixels", pixels, toolbox.limits.image_pixels),
            ):
                if value > bound:
                    toolbox.events.emit(LimitHit(limit=limit, detail=f"{path}: {value} of {bound}"))
                    return ToolResult(f"{path}: too large, {limit} is {value} of {bound}", ok=False)
            name = toolbox.keep(content, path)
        except OvernightError as error:
            return refusal(error)
        except (OSError, ValueError) as error:
            return ToolResult(f"{path!r:.200} cannot be read: {error!s:.200}", ok=False)
        image = Image(
            media_type=picture.media_type,
            digest=toolbox.kept[name.partition(":")[2]],
            width=picture.width,
            height=picture.height,
            size=len(content),
        )
        said = f"{path}: {picture.media_type}, {picture.width} × {picture.height}; it follows."
        return ToolResult(said, images=(image,))
