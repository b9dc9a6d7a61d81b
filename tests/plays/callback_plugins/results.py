# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes the result of each task, as callbacks get it, to the file that COUCHPY_RESULTS names, one line of JSON each."""

from __future__ import annotations

import json
import os

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: results
type: notification
short_description: Writes the results of tasks to a file
description: Writes the results of tasks to a file.
"""


class CallbackModule(CallbackBase):
    """Keeps results."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "results"
    CALLBACK_NEEDS_ENABLED = True

    def _keep(self, result, failed):
        task, host = getattr(result, "task", None) or result._task, getattr(result, "host", None) or result._host
        # Ansible leaves the status out, as the event says it.
        shown = {**(getattr(result, "result", None) or result._result), "failed": failed}
        with open(os.environ["COUCHPY_RESULTS"], "a", encoding="utf-8") as kept:
            line = {"task": task.get_name(), "action": task.action, "host": host.get_name(), "result": shown}
            kept.write(json.dumps(line, default=str) + "\n")

    def v2_runner_on_ok(self, result, **_options):
        self._keep(result, failed=False)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self._keep(result, failed=True)

    def v2_runner_on_unreachable(self, result):
        self._keep(result, failed=True)
