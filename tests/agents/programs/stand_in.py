#!/usr/bin/env python3
"""Stands in for Codex where the real one would be too large: reads its settings, speaks Responses.

It keeps its session in a file as Codex does, and takes it up again when it is called with `resume`. Called
with `acp` it speaks the Agent Client Protocol, asks before each command, and shows a plan.
"""

import json
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

TOOL = {
    "type": "function",
    "name": "sh",
    "parameters": {"type": "object", "properties": {"cmd": {"type": "string"}}},
}
HOME = Path.home() / ".codex"
SESSIONS = HOME / "sessions"


def work(name: str, items: list[Any], may: Callable[[str], bool]) -> str:
    """Ask the model and do what it says until it says no more; return its last words."""
    settings = tomllib.loads((HOME / "config.toml").read_text())
    address = settings["model_providers"]["overnight"]["base_url"] + "/responses"
    SESSIONS.mkdir(parents=True, exist_ok=True)
    while True:
        (SESSIONS / name).write_text(json.dumps(items))
        body = json.dumps({"model": settings["model"], "input": items, "tools": [TOOL]}).encode()
        request = urllib.request.Request(address, body, {"content-type": "application/json"})
        with urllib.request.urlopen(request) as response:
            output = json.load(response)["output"]
        items += output
        calls = [item for item in output if item["type"] == "function_call"]
        for call in calls:
            command = json.loads(call["arguments"])["cmd"]
            printed = "not allowed"
            if may(command):
                done = subprocess.run(command, shell=True, capture_output=True, text=True)
                printed = done.stdout + done.stderr
            items.append({"type": "function_call_output", "call_id": call["call_id"], "output": printed})
        (SESSIONS / name).write_text(json.dumps(items))
        if not calls:
            return output[-1]["content"][0]["text"]


def say(**message: Any) -> None:
    """Write one message of the protocol."""
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def messages() -> Iterator[dict[str, Any]]:
    """Yield what the other end says."""
    for line in sys.stdin:
        yield json.loads(line)


def speak() -> None:
    """Speak the Agent Client Protocol until the input ends."""
    said = messages()
    items: list[Any] = []
    session = "one.json"

    def may(command: str) -> bool:
        entries = [{"content": command, "priority": "high", "status": "in_progress"}]
        update = {"sessionUpdate": "plan", "entries": entries}
        say(method="session/update", params={"sessionId": session, "update": update})
        options = [
            {"optionId": "no", "name": "No", "kind": "reject_once"},
            {"optionId": "yes", "name": "Yes", "kind": "allow_once"},
        ]
        call = {"toolCallId": "c", "title": command}
        params = {"sessionId": session, "toolCall": call, "options": options}
        say(id=f"p{len(items)}", method="session/request_permission", params=params)
        return next(said)["result"]["outcome"].get("optionId") == "yes"

    for message in said:
        answer: dict[str, Any] = {}
        match message.get("method"):
            case "initialize":
                assert not message["params"].get("clientCapabilities", {}).get("terminal")
                answer = {"protocolVersion": 1, "agentCapabilities": {"loadSession": True}}
            case "session/new":
                answer = {"sessionId": session}
            case "session/load":
                session = message["params"]["sessionId"]
                items = json.loads((SESSIONS / session).read_text())
            case "session/prompt":
                items.append({"role": "user", "content": message["params"]["prompt"][0]["text"]})
                work(session, items, may)
                answer = {"stopReason": "end_turn"}
            case _:
                continue
        say(id=message["id"], result=answer)


def main() -> None:
    """Do what the arguments say."""
    if "--version" in sys.argv:
        sys.stdout.write("stand-in 1.0\n")
        return
    if "acp" in sys.argv:
        speak()
        return
    items: list[Any] = json.loads((SESSIONS / "one.json").read_text()) if "resume" in sys.argv else []
    items.append({"role": "user", "content": sys.stdin.read()})
    try:
        sys.stdout.write(work("one.json", items, lambda _: True))
    except urllib.error.HTTPError as error:
        sys.stdout.write(f"{error.code} {error.read().decode()}\n")
        sys.exit(1)


main()
