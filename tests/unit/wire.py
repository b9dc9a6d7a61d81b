# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A server made of a table: answers requests without a network, and keeps what was asked.

Tests state with it exactly which requests reach the wire.
"""

from __future__ import annotations

import json
import re
import threading
import typing as t
from urllib.parse import unquote, urlsplit

import responses
from ansible_collections.couchpy.couchdb.plugins.module_utils.client import Client

URL = "http://couch.example:5984/"
WELCOME = {"couchdb": "Welcome", "version": "3.4.3", "vendor": {"name": "The Apache Software Foundation"}}
ANYTHING = re.compile(r".*")
READING_POSTS = {"/_dbs_info", "/_bulk_get", "/_all_docs"}

Reply = t.Any


class InTurn(list[t.Any]):
    """Several answers, one for each time it is asked; the last one stays."""


class Wire:
    """What is answered to which request: ``wire["GET /db"] = 200, {...}``, and what was asked, in ``asked``.

    An answer is a JSON value (status 200; bytes are sent as they are), a pair of status and JSON value, these two and headers, a function of the request's JSON
    that gives such a pair, an exception to raise, or several InTurn. What
    is not in the table is answered with 404, as CouchDB answers for a missing database, and
    the list of databases is empty.
    """

    def __init__(self, mock: responses.RequestsMock, version: str = "3.4.3") -> None:
        self.answers: dict[str, Reply] = {"GET /": {**WELCOME, "version": version}}
        self.asked: list[str] = []
        self.bodies: list[t.Any] = []
        self.headers: list[dict[str, str]] = []
        self._lock = threading.Lock()
        for method in ("GET", "HEAD", "PUT", "POST", "DELETE"):
            mock.add_callback(method, ANYTHING, callback=self._answer)

    def __setitem__(self, request: str, answer: Reply) -> None:
        self.answers[request] = answer

    @property
    def written(self) -> list[str]:
        """What was asked that changes a server."""
        return [line for line in self.asked if not reads(line)]

    def _answer(self, request: t.Any) -> tuple[int, dict[str, str], bytes]:
        parts = urlsplit(request.url)
        line = f"{request.method} {parts.path}" + (f"?{parts.query}" if parts.query else "")
        sent = json.loads(request.body) if request.body else None
        # Requests that go out in parallel come from several threads.
        with self._lock:
            self.asked.append(line)
            self.bodies.append(sent)
            self.headers.append(dict(request.headers))
        unknown = (
            [] if parts.path == "/_all_dbs" else (404, {"error": "not_found", "reason": "Database does not exist."})
        )
        answer = self.answers.get(line, unknown)
        if isinstance(answer, InTurn):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if isinstance(answer, Exception):
            raise answer
        if callable(answer):
            answer = answer(sent)
        status, body, *more = answer if isinstance(answer, tuple) else (200, answer)
        content = b"" if request.method == "HEAD" else body if isinstance(body, bytes) else json.dumps(body).encode()
        return status, {"Content-Type": "application/json", **(more[0] if more else {})}, content


class Answers(dict[str, Reply]):
    """A table, with what a function answers to the request and its JSON, for requests that are not in the table."""

    def __init__(self, table: dict[str, Reply], answer: t.Callable[[str, t.Any], Reply]) -> None:
        super().__init__(table)
        self._answer = answer

    def get(self, line: str, default: Reply = None) -> Reply:
        if line in self:
            return self[line]

        def answer(sent: t.Any) -> tuple[int, t.Any]:
            found = self._answer(line, sent)
            return found if isinstance(found, tuple) else (200, found)

        return answer


def reads(line: str) -> bool:
    """Whether a request, as Wire keeps it, only reads."""
    method, target = line.split(" ", 1)
    name = "/" + unquote(urlsplit(target).path).rpartition("/")[2]
    return method in ("GET", "HEAD") or (method == "POST" and name in READING_POSTS)


def client(**config: t.Any) -> Client:
    """A client of the server made of a table."""
    return Client(URL, config={"username": "admin", "password": "secret", "retries": 0, **config})
