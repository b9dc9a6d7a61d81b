# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Client: a CouchDB server. Public.

Serves every module of this collection, and plain Python as well::

    from ansible_collections.couchpy.couchdb.plugins.module_utils.client import Client

    couch = Client("http://localhost:5984/", config={"username": "admin", "password": "secret"})
    couch.put("orders")
    couch.config("log", "level", value="debug")

CouchDB 1.x (and PouchDB Server, which speaks like it), 2.x and 3.x are served alike. Every call that
talks to the server raises the errors of the module C(errors): Unreachable when there is no answer,
Unauthorized (401), Forbidden (403), NotFound (404) and so on. Only what a call raises beyond these is
said with it.

Its parts are in C(_client), so that a module of this collection is sent with those alone that it needs.

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
from ._client.server import DEFAULT_URL, Headers
from .database import Database as _Database

__all__ = ["DEFAULT_URL", "Client"]


class Client(Documents, Indexes, Declaration, Health, Moving, Restarts):
    """A CouchDB server.

    ``url``: its address, http or https, with a path where a proxy puts it there. Without it the
    environment's C(COUCHDB_URL), else C(http://localhost:5984/). Credentials in it are used, and never
    shown. ``config``: a mapping of connection options: ``username``, ``password``, ``validate_certs``,
    ``ca_path``, ``client_cert``, ``client_key``, ``client_key_passphrase``, ``timeout`` (seconds for one request, 30), ``retries``
    (3). ``hthdrs``: HTTP headers for every request; those given to a call are added and win.
    ``cookie``: the C(AuthSession) cookie of an earlier login, as a text or a SimpleCookie.

    Nothing is sent yet. Raises InvalidInput for options that can't work, ImportError when the Python
    library C(requests) is missing.
    """

    _KIND = _Database

    def Database(self, name: str, hthdrs: Headers = None) -> _Database:
        """The database of this name, whether or not the server has it. The same object for the same name.

        ``hthdrs`` are HTTP headers for each of its requests. Raises InvalidInput for an illegal name.
        """
        return t.cast(_Database, super().Database(name, hthdrs))

    def __getitem__(self, name: str) -> _Database:
        return self.Database(name)
