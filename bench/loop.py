"""What the loop itself costs: time a step at a long history, memory of an attempt that waits for its model.

Everything is real but the model, which is scripted, and the actions, which read a file of the workspace: the
workspace, its checkpoint each step, the sandbox, the event log on disk, the redaction of secrets.

    python -m bench.loop [--steps 200] [--attempts 100] [--publish]
"""

import argparse
import asyncio
import gc
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

from bench.publish import publish
from overnight.agents.interface import Assignment
from overnight.agents.loop import Loop
from overnight.blobs.store import BlobStore
from overnight.domain.conversation import Completion, Request, ToolCall
from overnight.domain.limits import Limits
from overnight.domain.ports import SystemClock
from overnight.domain.task import Usage
from overnight.events.log import EventLog
from overnight.models.interface import OnDelta, OnLimit, OnWaiting
from overnight.models.scripted import PROFILE
from overnight.secrets.redaction import Redactor
from overnight.store.database import Database
from overnight.worker.discreet import DiscreetArtifacts, DiscreetModel

STEP_GOAL_MS = 5.0
MEMORY_GOAL_MB = 3.0
