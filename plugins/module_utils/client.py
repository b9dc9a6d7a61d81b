# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Client: a CouchDB server. Public.

For every module of this collection, and for other Python programs::

    from ansible_collections.couchpy.couchdb.plugins.module_utils.client import Client

    couch = Client("http://localhost:5984/", config={"username": "admin", "password": "secret"})
    couch.put("orders")
    couch.config("log", "level", value="debug")

The calls are the same for CouchDB 1.x (and PouchDB Server, which has the same API), 2.x and 3.x. Every call that
sends a request raises the errors of the module C(errors): Unreachable without an answer,
Unauthorized (401), Forbidden (403), NotFound (404) and so on. The documentation of a call names only the errors
that it raises beyond these.

Its parts are in C(_client), so that a module of this collection is sent only with those that it needs.

The API of CouchDB: https://docs.couchdb.org/en/stable/api/index.html
"""

from __future__ import annotations

import typing as t

from ._client.declaration import Declaration
from ._client.documents import Documents
from ._client.health import Health
from ._client.indexes import Indexes
from ._client.moves import Moving
from ._client.restart import Restarts
from ._client.server import DEFAULT_URL
from ._client.splits import Splitting
from .database import Database as _Database

__all__ = ["DEFAULT_URL", "Client"]


class Client(Documents, Indexes, Declaration, Health, Splitting, Moving, Restarts):
    """A CouchDB server.

    ``url``: its URL, http or https, with a path if a proxy adds one. Without it the
    environment's C(COUCHDB_URL), else C(http://localhost:5984/). Credentials in it are used, and never
    shown. ``config``: a mapping of connection options: ``username``, ``password``, ``validate_certs``,
    ``ca_path``, ``client_cert``, ``client_key``, ``client_key_passphrase``, ``timeout`` (seconds for one request, 30), ``retries``
    (3). ``hthdrs``: HTTP headers for every request; those of a call are added and win.
    ``cookie``: the C(AuthSession) cookie of an earlier login, as a string or a SimpleCookie.

    Nothing is sent yet. Raises InvalidInput for options that can't work, ImportError if the Python
    library C(requests) is missing.
    """

    _KIND = _Database

    def Database(self, name: str, *args: t.Any, **kwargs: t.Any) -> _Database:
        """The database of this name, whether or not the server has it. The same object for the same name.

        Passes on all other arguments to the Database: C(hthdrs) are HTTP headers for each of its requests. Raises
        InvalidInput for an illegal name.
        """
        return t.cast(_Database, super().Database(name, *args, **kwargs))

    def __getitem__(self, name: str) -> _Database:
        return self.Database(name)
