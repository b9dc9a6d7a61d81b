# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

"""The servers that these tests run on: the embedded one in each dialect, and the one that COUCHDB_URL names."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import embedded
from ansible_collections.couchpy.couchdb.plugins.module_utils.client import Client

ADMIN = "admin:secret"
DIALECTS = {"couchdb-3": "3", "couchdb-3.3": "3.3", "couchdb-1": "1"}
ENVIRONMENT = "environment"

# Read once: tests change the environment.
_GIVEN = {name: os.environ.get(f"COUCHDB_{name.upper()}") for name in ("url", "username", "password")}

NAMES = [*DIALECTS, *([ENVIRONMENT] if _GIVEN["url"] else [])]


@dataclass(frozen=True)
class Server:
    """A running server, its admin, and what it is."""

    url: str
    username: str | None
    password: str | None
    number: tuple[int, ...]
    """The version of CouchDB; ``(1,)`` for all that speak like 1.x."""

    @property
    def credentials(self) -> dict[str, str]:
        """The admin's, as options of a Client."""
        given = {"username": self.username, "password": self.password}
        return {name: value for name, value in given.items() if value is not None}

    @property
    def clustered(self) -> bool:
        """Whether settings, statistics and restart belong to a node."""
        return self.number >= (2,)


def described(url: str, username: str | None, password: str | None) -> Server:
    """Ask a server what it is."""
    given = {"username": username, "password": password}
    couch = Client(url, config={name: value for name, value in given.items() if value})
    welcome = couch()
    couch.close()
    found = [int(part) for part in welcome["version"].split(".")[:2]] if "couchdb" in welcome else [1]
    return Server(couch.url, username, password, tuple(found) if found[0] >= 2 else (1,))


@contextlib.contextmanager
def running(name: str) -> Iterator[Server]:
    """The server of one of the NAMES, for the length of a ``with`` block."""
    with contextlib.ExitStack() as stack:
        if name == ENVIRONMENT:
            yield described(_GIVEN["url"] or "", _GIVEN["username"], _GIVEN["password"])
        else:
            server = stack.enter_context(embedded.server(dialect=DIALECTS[name], admin=ADMIN))
            yield described(server.url, server.username, server.password)


def unique(suffix: Any = "") -> str:
    """A name that nothing on a server has."""
    return f"couchpy_ct_{uuid.uuid4().hex}{suffix}"
