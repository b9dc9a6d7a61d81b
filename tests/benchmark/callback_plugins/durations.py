# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A callback that writes how long each task took, and how many requests: a JSON line each, to the file that DURATIONS names.

Requests are the lines that a task added to the embedded server's journal, which JOURNAL names; without it they are None.
"""

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
description:
  - Writes a JSON line for each task to the file that the environment variable DURATIONS names.
  - The lines that the file JOURNAL got meanwhile are counted as requests.
"""


def requests() -> int | None:
    """How many requests the server has had, when that is known."""
    journal = os.environ.get("JOURNAL")
    if not journal:
        return None
    with open(journal, "rb") as file:
        return sum(1 for line in file)


class CallbackModule(CallbackBase):
    """Times tasks from their start to their end on all hosts."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "durations"

    def v2_playbook_on_task_start(self, task: t.Any, is_conditional: bool) -> None:
        """Note the time, and how many requests there were."""
        self.requests = requests()
        self.started = time.monotonic()

    def v2_runner_on_ok(self, result: t.Any) -> None:
        """Write how long the task took, how many requests, and whether it changed something."""
        seconds, sent = time.monotonic() - self.started, requests()
        row = {
            "task": result._task.get_name(),
            "seconds": seconds,
            "requests": None if sent is None or self.requests is None else sent - self.requests,
            "changed": bool(result._result.get("changed")),
        }
        with open(os.environ["DURATIONS"], "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
