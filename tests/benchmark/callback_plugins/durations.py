# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A callback that writes how long each task took: a JSON line each, to the file that DURATIONS names."""

from __future__ import annotations

import json
import os
import time
import typing as t

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: durations
type: aggregate
short_description: Write how long each task took
description: Writes a JSON line for each task to the file that the environment variable DURATIONS names.
"""


class CallbackModule(CallbackBase):
    """Times tasks from their start to their end on all hosts."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "durations"

    def v2_playbook_on_task_start(self, task: t.Any, is_conditional: bool) -> None:
        """Note the time."""
        self.started = time.monotonic()

    def v2_runner_on_ok(self, result: t.Any) -> None:
        """Write how long the task took, and whether it changed something."""
        row = {
            "task": result._task.get_name(),
            "seconds": time.monotonic() - self.started,
            "changed": bool(result._result.get("changed")),
        }
        with open(os.environ["DURATIONS"], "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
