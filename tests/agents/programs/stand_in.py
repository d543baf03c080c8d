#!/usr/bin/env python3
"""Stands in for Codex where the real one would be too large: reads its settings, speaks Responses.

It keeps its session in a file as Codex does, and takes it up again when it is called with `resume`.
"""

import json
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
from pathlib import Path

TOOL = {
    "type": "function",
    "name": "sh",
    "parameters": {"type": "object", "properties": {"cmd": {"type": "string"}}},
}

if "--version" in sys.argv:
    sys.stdout.write("stand-in 1.0\n")
    sys.exit()
home = Path.home() / ".codex"
settings = tomllib.loads((home / "config.toml").read_text())
address = settings["model_providers"]["overnight"]["base_url"] + "/responses"
session = home / "sessions" / "one.json"
items = []
if "resume" in sys.argv:
    items = json.loads(session.read_text())
session.parent.mkdir(parents=True, exist_ok=True)
items.append({"role": "user", "content": sys.stdin.read()})
while True:
    session.write_text(json.dumps(items))
    body = json.dumps({"model": settings["model"], "input": items, "tools": [TOOL]}).encode()
    request = urllib.request.Request(address, body, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request) as response:
            output = json.load(response)["output"]
    except urllib.error.HTTPError as error:
        sys.stdout.write(f"{error.code} {error.read().decode()}\n")
        sys.exit(1)
    items += output
    calls = [item for item in output if item["type"] == "function_call"]
    for call in calls:
        done = subprocess.run(
            json.loads(call["arguments"])["cmd"], shell=True, capture_output=True, text=True
        )
        items.append(
            {"type": "function_call_output", "call_id": call["call_id"], "output": done.stdout + done.stderr}
        )
    session.write_text(json.dumps(items))
    if not calls:
        sys.stdout.write(output[-1]["content"][0]["text"])
        break
