# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Progress of a module that was sent to a host: a file there, which the action plugin reads while the module runs."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import re

VARIABLE = "ANSIBLE_COUCHDB_PROGRESS_FILE"
"""The environment variable with the name of the file. The action plugin sets it."""

FOLDER = "/tmp"  # The action plugin can't know another one, and the file is never one that exists.

_NAME = re.compile(r"couchpy-progress-[0-9a-f]{32}\Z")


class ProgressFile:
    """A file with the last state of what a module waits for, which only its user can read. It ends with the module."""

    def __init__(self, name: str) -> None:
        self._path = os.path.join(FOLDER, name)
        self._descriptor: int | None = None

    def progress(self, what: str, lacking: str, waited: float) -> None:
        """Write down that the module waits for ``what``, unless nothing is lacking. Without a file, nothing is shown."""
        if not lacking:
            return
        content = json.dumps([what, lacking, waited]).encode() + b"\n"
        with contextlib.suppress(OSError):
            if self._descriptor is None:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
                self._descriptor = os.open(self._path, flags, 0o600)
                atexit.register(self._remove)
            os.pwrite(self._descriptor, content, 0)
            os.truncate(self._descriptor, len(content))

    def _remove(self) -> None:
        with contextlib.suppress(OSError):
            os.unlink(self._path)


def requested() -> ProgressFile | None:
    """The file that the action plugin will read; None if it reads none."""
    name = os.environ.get(VARIABLE, "")
    return ProgressFile(name) if _NAME.match(name) else None
