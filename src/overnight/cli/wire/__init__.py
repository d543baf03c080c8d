"""Reads the environment, builds the objects, hands them over: the only place that knows all layers.

`environment.py` alone reads variables; each other module wires one part of the process, and `application.py`
puts the parts together.
"""

from overnight.cli.wire.agents import Trial as Trial
from overnight.cli.wire.application import Application as Application
from overnight.cli.wire.application import opened as opened
from overnight.cli.wire.environment import read_settings as read_settings
from overnight.cli.wire.sandboxes import SANDBOXES as SANDBOXES
