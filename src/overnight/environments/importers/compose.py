"""The services of a Compose file that stand beside a development container."""

import re
from collections.abc import Mapping, Set
from typing import Any, cast

from overnight.domain.environment import Service
from overnight.environments.detect.reader import table as as_table
from overnight.environments.importers.images import local_service
from overnight.environments.importers.imported import File, open_file
from overnight.environments.importers.texts import UnreadableError, read_yaml

_PORT = re.compile(r"(?:\d+(?:\.\d+){3}:)?(?:(\d{1,5}):)?(\d{1,5})(?:/tcp)?")


def read_compose(
    file: File, path: str, own: str, wanted: Set[str]
) -> tuple[list[Service], Mapping[str, str]]:
    """Return the services of a Compose file that can run here, and the environment of `own`.

    `own` is the development container itself.

    `wanted` names those to start; empty means all. What cannot be started is noted on `file`.
    """
    opened = open_file(file.looking, file.host, path)
    if opened is None:
        file.ignore(f"dockerComposeFile: {path}", "it cannot be read")
        return [], {}
    try:
        values = read_yaml(opened[1])
    except UnreadableError as error:
        file.ignore(path, f"no valid YAML: {error}")
        return [], {}
    environment: Mapping[str, str] = {}
    services: list[Service] = []
    for name, entry in file.table(values, "services", f"{path}: ").items():
        if name == own:
            environment = _environment(as_table(entry).get("environment"))
        if name == own or (wanted and name not in wanted):
            continue
        service = image_service(file, name, entry, f"{path}: services.{name}", published=False)
        if service is not None:
            services.append(service)
    return services, environment


def image_service(file: File, name: str, entry: object, where: str, *, published: bool) -> Service | None:
    """Return the local stand-in for a service that is given as an image; None, noted, where there is none.

    `published`: whether its users reach it at the port that the host would publish.
    """
    values = as_table(entry)
    image = file.text(values, "image", f"{where}.")
    if not image:
        file.ignore(where, "it names no image, and images are not built here")
        return None
    environment = _environment(values.get("environment", values.get("env")))
    port = _port(values.get("ports"), published)
    made = local_service(name, image, environment, port, file.host)
    if isinstance(made, str):
        file.ignore(where, f"not startable: {made}")
        return None
    file.note(where, f"{image}: a program of this machine stands in, at 127.0.0.1")
    return made


def _environment(value: object) -> Mapping[str, str]:
    if isinstance(value, dict):
        return {str(k): v for k, v in cast("dict[object, Any]", value).items() if isinstance(v, str)}
    if isinstance(value, list):
        pairs = [item.partition("=") for item in cast("list[object]", value) if isinstance(item, str)]
        return {name: text for name, _, text in pairs}
    return {}


def _port(value: object, published: bool) -> int | None:
    """Return the port of the first published one, as the users of the service see it."""
    items = cast("list[object]", value) if isinstance(value, list) else []
    found = _PORT.fullmatch(items[0]) if items and isinstance(items[0], str) else None
    if found is None:
        return None
    port = int((found[1] if published else None) or found[2])
    return port if 1024 <= port <= 65535 else None
