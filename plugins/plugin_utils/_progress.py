# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Progress of a module that runs on a host: reads there, while the module runs, what it waits for."""

from __future__ import annotations

import contextlib
import copy
import json
import secrets
import threading
import typing as t

from ansible.plugins.action import ActionBase
from ansible_collections.couchpy.couchdb.plugins.module_utils._engine.progress import FOLDER

PAUSE = 3.0
"""Seconds between two looks."""

_END = 10.0
"""Seconds for which a last look is waited for."""

_ABLE = frozenset(["local", "ssh", "podman", "docker", "nsenter", "chroot", "jail", "lxc", "lxd"])
"""Connection plugins that start a process for each command, so that one more can run beside that of the module."""


def new_name() -> str:
    """The name of a file that does not exist."""
    return f"couchpy-progress-{secrets.token_hex(16)}"


def can_show(connection: t.Any) -> bool:
    """Whether another command can run on the host while a module does."""
    return str(getattr(connection, "_load_name", "")).rpartition(".")[2] in _ABLE


@contextlib.contextmanager
def shown(action: ActionBase, name: str, progress: t.Callable[[str, str, float], None]) -> t.Iterator[None]:
    """Call ``progress`` with what the module waits for, from the file of this name on the action's host, every few seconds."""
    ended = threading.Event()
    beside = copy.copy(action)
    # The prompt and the success of becoming another user are kept in these objects, for one command at a time.
    beside._connection = copy.copy(action._connection)
    if beside._connection.become is not None:
        beside._connection.set_become_plugin(copy.copy(beside._connection.become))

    def look() -> None:
        while not ended.wait(PAUSE):
            # What is wrong with the host shows in the module's result.
            with contextlib.suppress(Exception):
                result = ActionBase._low_level_execute_command(beside, f"cat {FOLDER}/{name}")
                if result["rc"] == 0:
                    what, lacking, waited = json.loads(result["stdout"])
                    progress(str(what), str(lacking), float(waited))

    thread = threading.Thread(target=look, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(_END)
