"""The services of a Compose file that stand beside a development container."""

import re
from collections.abc import Mapping, Set
from typing import Any, cast

import msgspec

from overnight.domain.environment import Service
from overnight.environments.detect.reader import table as as_table
from overnight.environments.importers.images import local_service
from overnight.environments.importers.imported import File, open_file
from overnight.environments.importers.texts import UnreadableError, read_yaml

MAX_SERVICES = 20

_PORT = re.compile(r"(?:\d+(?:\.\d+){3}:)?(?:(\d{1,5}):)?(\d{1,5})(?:/tcp)?")


class Composed(msgspec.Struct, frozen=True, kw_only=True):
    """What a Compose file says: of the services beside the development container, and of that itself."""

    services: tuple[Service, ...] = ()
    variables: Mapping[str, str] = {}
    """Environment of the development container."""
    image: str | None = None
    """Its image; None where it is built or not named."""


def read_compose(file: File, path: str, own: str, wanted: Set[str]) -> Composed:
    """Return what a Compose file says. What cannot be honoured is noted on `file`.

    Args:
        file: the file that names it.
        path: where it lies in the repository.
        own: the name of the development container's own service.
        wanted: names of the services to start; empty means all.
    """
    opened = open_file(file.looking, file.host, path)
    if opened is None:
        file.ignore(f"dockerComposeFile: {path}", "it cannot be read")
        return Composed()
    try:
        values = read_yaml(opened[1])
    except UnreadableError as error:
        file.ignore(path, f"no valid YAML: {error}")
        return Composed()
    variables: Mapping[str, str] = {}
    image: str | None = None
    services: list[Service] = []
    for name, entry in file.table(values, "services", f"{path}: ").items():
        if name == own:
            variables = _environment(as_table(entry).get("environment"))
            image = _image(file, f"{path}: services.{name}.", as_table(entry))
        if name == own or (wanted and name not in wanted):
            continue
        if len(services) == MAX_SERVICES:
            file.ignore(f"{path}: services.{name}", f"there are more than {MAX_SERVICES}")
            break
        service = image_service(file, name, entry, f"{path}: services.{name}", published=False)
        if service is not None:
            services.append(service)
    return Composed(services=tuple(services), variables=variables, image=image)


def _image(file: File, where: str, values: Mapping[str, Any]) -> str | None:
    """Return the image of a service, unless it is only what a built one shall be called."""
    if "build" in values:
        file.ignore(f"{where}build", "images are not built here; the host's programs are used")
        return None
    return file.image(f"{where}image", file.text(values, "image", where))


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
