"""Texts with placeholders in braces: `Dear {name}`."""

import re

from mailer.errors import TemplateError

_PLACEHOLDER = re.compile(r"\{(\w+)(?::(\w+))?\}")
_FILTERS = {"upper": str.upper, "lower": str.lower, "title": str.title}


def placeholders(template):
    """Return the names a template uses, each once, in order."""
    names = []
    for match in _PLACEHOLDER.finditer(template):
        if match[1] not in names:
            names.append(match[1])
    return names


def render(template, values):
    """Return the template with all placeholders replaced."""

    def replace(match):
        name, filter_name = match[1], match[2]
        if name not in values:
            raise TemplateError(f"no value for {name!r}")
        text = str(values[name])
        if filter_name is None:
            return text
        if filter_name not in _FILTERS:
            raise TemplateError(f"unknown filter {filter_name!r}")
        return _FILTERS[filter_name](text)

    return _PLACEHOLDER.sub(replace, template)
