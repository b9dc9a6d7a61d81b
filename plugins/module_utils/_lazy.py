# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rooms that few modules need, imported when they are first used.

Ansible sends the source of what a module imports along with it, and each task compiles it anew; so a room that is not
used should cost nothing. Where it is used, C(if TYPE_CHECKING) imports it as well: that is how Ansible finds it.
"""

from __future__ import annotations

import importlib
import typing as t


class Lazy:
    """Stands for a room: whatever is asked of it is asked of the room."""

    def __init__(self, room: str) -> None:
        self._room = room

    def __getattr__(self, name: str) -> t.Any:
        return getattr(importlib.import_module("." + self._room, __package__), name)
