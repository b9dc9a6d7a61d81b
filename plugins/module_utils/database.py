# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Database and Document: one database of a server, and its documents. Public.

A Client returns a Database (C(client["orders"])) whether or not the server has it. Its calls
raise the errors of the module C(errors), such as NotFound for a missing database or document.

The API of CouchDB: https://docs.couchdb.org/en/stable/api/database/index.html
"""

from __future__ import annotations

from ._client.database import Document
from ._client.documents import DesignDatabase
from ._client.indexes import IndexedDatabase

__all__ = ["Database", "Document"]


class Database(DesignDatabase, IndexedDatabase):
    """One database of a server. Nothing is sent until one of its methods is called."""
