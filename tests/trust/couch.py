# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

"""A server as the tests see it, without using the collection: its content, and the bystanders on it.

Bystanders are what no task names. Whatever a task meets, they must stay as they are.
"""

from __future__ import annotations

import base64
import http.client
import json
import threading
import time
from typing import Any
from urllib.parse import quote, urlsplit

PREFIX = "couchpy_trust"
BYSTANDER = f"{PREFIX}_bystander"
DOCUMENTS = 25

# Ten iterations are enough for passwords that are no secret, here and on the server.
ITERATIONS = "10"


class Couch:
    """A CouchDB 3: ``ask`` sends requests as its admin, ``snapshot`` returns its whole content."""

    def __init__(self, url: str, username: str, password: str) -> None:
        self.url = url
        self.username = username
        self.password = password
        self._parts = urlsplit(url)
        self._local = threading.local()
        self.nodes: list[str] = self.ask("GET", "_membership")[1]["cluster_nodes"]

    @property
    def login(self) -> dict[str, Any]:
        """The options to log in with, for all modules."""
        return {"login_user": self.username, "login_password": self.password}

    def ask(
        self, method: str, *path: str, query: str = "", body: Any = None, login: tuple[str, str] | None = None
    ) -> tuple[int, Any]:
        """Send one request, as the admin or another user. Returns the status and the JSON of the answer.

        ``path`` is a sequence of parts, not yet encoded.
        """
        target = self._parts.path.rstrip("/") + "/" + "/".join(quote(part, safe="@:") for part in path)
        target += f"?{query}" if query else ""
        pair = base64.b64encode(":".join(login or (self.username, self.password)).encode()).decode()
        headers = {"Authorization": f"Basic {pair}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body)
        for again in (True, False):
            try:
                connection = self._connection()
                connection.request(method, target, data, headers)
                response = connection.getresponse()
                content = response.read()
                return response.status, json.loads(content) if content else None
            except (http.client.HTTPException, OSError):
                # The server closed the idle connection, or restarted.
                self._local.connection.close()
                if not again:
                    raise
        raise AssertionError

    def _connection(self) -> http.client.HTTPConnection:
        if not hasattr(self._local, "connection"):
            kind = http.client.HTTPSConnection if self._parts.scheme == "https" else http.client.HTTPConnection
            self._local.connection = kind(self._parts.netloc.rpartition("@")[2], timeout=60)
        connection: http.client.HTTPConnection = self._local.connection
        return connection

    def wait(self, seconds: float = 30) -> None:
        """Wait until it answers."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                assert self.ask("GET", "_up")[0] == 200
                return
            except (AssertionError, OSError, http.client.HTTPException):
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.05)

    # Content

    def setting(self, section: str, key: str) -> str | None:
        """A setting of the first node, or None."""
        status, value = self.ask("GET", "_node", self.nodes[0], "_config", section, key)
        return value if status == 200 else None

    def set(self, section: str, key: str, value: str | None) -> None:
        """Set a setting on each node; None deletes it."""
        for node in self.nodes:
            if value is None:
                self.ask("DELETE", "_node", node, "_config", section, key)
            else:
                assert self.ask("PUT", "_node", node, "_config", section, key, body=value)[0] == 200

    def document(self, database: str, docid: str) -> dict[str, Any] | None:
        """A document, or None."""
        status, document = (
            self.ask("GET", database, *docid.split("/", 1)) if docid[0] == "_" else self.ask("GET", database, docid)
        )
        return document if status == 200 else None

    def put(self, database: str, docid: str, fields: dict[str, Any] | None) -> None:
        """Write a document, whatever it is now; None deletes it."""
        held = self.document(database, docid)
        if fields == (held and {name: value for name, value in held.items() if name not in ("_id", "_rev")}):
            return
        document = {**(fields or {"_deleted": True}), "_id": docid, **({"_rev": held["_rev"]} if held else {})}
        status, rows = self.ask("POST", database, "_bulk_docs", body={"docs": [document]})
        assert status in (201, 202), rows
        assert "error" not in rows[0], rows

    def create(self, database: str) -> None:
        """Create a database unless it exists."""
        assert self.ask("PUT", database)[0] in (201, 202, 412)

    def delete(self, database: str) -> None:
        """Delete a database if it exists."""
        assert self.ask("DELETE", database)[0] in (200, 202, 404)

    def snapshot(self) -> dict[str, Any]:
        """Its content: ``db/NAME``, ``db/NAME/_security``, ``db/NAME/_revs_limit``, ``db/NAME/DOCID``, ``config/SECTION/KEY/NODE``."""
        found: dict[str, Any] = {}
        for name in self.ask("GET", "_all_dbs")[1]:
            place = f"db/{name}"
            found[place] = True
            for part in ("_security", "_revs_limit"):
                found[f"{place}/{part}"] = self.ask("GET", name, part)[1]
            # CouchDB writes into it itself.
            documents = {"rows": []} if name == "_global_changes" else self._documents(name)
            for row in documents["rows"]:
                found[f"{place}/{row['id']}"] = row["doc"]
        for node in self.nodes:
            for section, keys in self.ask("GET", "_node", node, "_config")[1].items():
                found.update({f"config/{section}/{key}/{node}": value for key, value in keys.items()})
        return found

    def _documents(self, database: str) -> dict[str, Any]:
        rows: dict[str, Any] = self.ask("GET", database, "_all_docs", query="include_docs=true")[1]
        return rows

    # Bystanders

    def add_bystanders(self) -> None:
        """Add what no task names: a database with documents, a setting, an admin, a user."""
        for database in ("_users", "_replicator", BYSTANDER):
            self.create(database)
        self.set("chttpd_auth", "iterations", ITERATIONS)
        self.set(BYSTANDER, "setting", "as it was")
        self.set("admins", BYSTANDER, "-pbkdf2-" + "ab" * 20 + ",5a17,10")
        self.put("_users", f"org.couchdb.user:{BYSTANDER}", {"name": BYSTANDER, "type": "user", "roles": ["as it was"]})
        self.put(BYSTANDER, "_design/views", {"views": {"all": {"map": "function (doc) { emit(doc._id); }"}}})
        for number in range(DOCUMENTS):
            self.put(BYSTANDER, f"document {number}", {"number": number})
        security = {"admins": {"names": [BYSTANDER], "roles": []}, "members": {"names": [], "roles": ["as it was"]}}
        assert self.ask("PUT", BYSTANDER, "_security", body=security)[0] == 200
        assert self.ask("PUT", BYSTANDER, "_revs_limit", body=77)[0] == 200

    def remove_bystanders(self) -> None:
        """Remove everything that these tests added."""
        for name in self.ask("GET", "_all_dbs")[1]:
            if name.startswith(PREFIX):
                self.delete(name)
        for database in ("_users", "_replicator"):
            for row in self.ask("GET", database, "_all_docs")[1]["rows"]:
                if PREFIX in row["id"]:
                    self.put(database, row["id"], None)
        for section, keys in self.ask("GET", "_node", self.nodes[0], "_config")[1].items():
            for key in keys:
                if section.startswith(PREFIX) or (section == "admins" and key.startswith(PREFIX)):
                    self.set(section, key, None)
        self.set("chttpd_auth", "iterations", None)
