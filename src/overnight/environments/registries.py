"""The package registries that this machine's own clients are set up for, as rules to read them."""

import re

from overnight.domain.hostnames import split_port
from overnight.domain.network import READING, Rule
from overnight.environments.client_settings import AUTHORITIES, ClientSettings

_URL = re.compile(r"(?i)(?:sparse\+)?(https?)://(?:[^\s\"'/@]*@)?([^\s\"'/?#,|\]}]+)")
_ELSEWHERE = frozenset({"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"})
_READ = 65536


def registry_rules(settings: ClientSettings) -> tuple[Rule, ...]:
    """Return a rule for every host that the settings name: to be read only, at that port, private or not.

    A registry may lie on a private address or on loopback because the machine's own configuration says so;
    nothing else does by that.
    """
    texts = [value for name, value in settings.variables.items() if name.upper() not in _ELSEWHERE]
    # Authorities' certificates lie among the files too; they name no registries.
    files = [file for file in settings.files if not file.target.startswith(AUTHORITIES)]
    texts += [(file.read() or b"")[:_READ].decode("utf-8", "replace") for file in files]
    rules: dict[Rule, None] = {}
    for text in texts:
        for line in text.splitlines():
            if line.lstrip().startswith(("#", ";")):
                continue
            for scheme, authority in _URL.findall(line):
                try:
                    host, port = split_port(authority, 443 if scheme.lower() == "https" else 80)
                except ValueError:
                    continue
                rule = Rule(host=host.text, ports=(port,), methods=READING, max_bytes=0, private=True)
                rules[rule] = None
    return tuple(rules)
