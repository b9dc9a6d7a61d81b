# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A whole server, made of the other resources: which couchdb_server carries out, in which order, with which of its options."""

from __future__ import annotations

import typing as t

from .._client.documents import Documents
from .._client.indexes import Indexes
from .._client.replications import Replications
from .._client.users import Users
from .._engine.composition import Composition, Part
from ..database import Database as _Database
from . import admins, config, databases, documents, indexes, replications, users


class Declarer(Documents, Indexes, Replications, Users):
    """The client of all parts."""

    _KIND = _Database

    def Database(self, name: str, hthdrs: t.Any = None) -> _Database:
        """The database of this name: see Client.Database."""
        return t.cast(_Database, super().Database(name, hthdrs))


_LIST: dict[str, t.Any] = {"type": "list", "elements": "dict"}

ARGUMENT_SPEC: dict[str, t.Any] = {
    "settings": {"type": "dict"},
    "admins": _LIST,
    "databases": _LIST,
    "users": _LIST,
    "documents": _LIST,
    "indexes": _LIST,
    "replications": _LIST,
    "nodes": {"type": "list", "elements": "str", "default": ["all"]},
    "local_url": {"type": "str"},
    "remote_src": {"type": "bool", "default": False},
    "wait_timeout": {"type": "int"},
}

# What a part needs of another is made by one before it: settings say what a server takes, databases hold documents.
RESOURCE = Composition(
    {
        "settings": Part(config.RESOURCE, {"settings": "settings", "nodes": "nodes"}),
        "admins": Part(admins.RESOURCE, {"admins": "admins"}),
        "databases": Part(databases.RESOURCE, {"databases": "databases"}),
        "users": Part(users.RESOURCE, {"users": "users"}),
        "documents": Part(
            documents.RESOURCE,
            {"documents": "databases", "remote_src": "remote_src", "wait_timeout": "wait_timeout"},
        ),
        "indexes": Part(indexes.RESOURCE, {"indexes": "indexes"}),
        "replications": Part(
            replications.RESOURCE,
            {"replications": "replications", "local_url": "local_url", "wait_timeout": "wait_timeout"},
        ),
    },
    Declarer,
    ARGUMENT_SPEC,
)
