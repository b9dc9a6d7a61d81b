# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Monitoring: active tasks, statistics, versions, UUIDs and the log of a server."""

from __future__ import annotations

import os
import typing as t

from .. import errors
from .._rules.dialect import LOCAL
from .._rules.names import check_type
from .server import Headers, Server

_UUIDS_AT_ONCE = 1000


class Monitoring(Server):
    """The part of Client for tasks, statistics and the log."""

    def active_tasks(self, hthdrs: Headers = None, node: str | None = None) -> list[dict[str, t.Any]]:
        """The active tasks: compactions, indexers, replications, a dict each. For server admins.

        CouchDB 2 and 3 list the tasks of all connected nodes, each with its C(node). With ``node``: only those of this node.
        CouchDB 1.x is one node, C(_local).

        https://docs.couchdb.org/en/stable/api/server/common.html#active-tasks
        """
        tasks = t.cast("list[dict[str, t.Any]]", self.request("GET", ("_active_tasks",), hthdrs=hthdrs).body)
        if node is None:
            return tasks
        name = self.local_node(hthdrs) if node == LOCAL else node
        return [task for task in tasks if task.get("node", LOCAL) == name]

    def stats(self, *paths: str, hthdrs: Headers = None, node: str = LOCAL) -> dict[str, t.Any]:
        """The statistics of a node, all of them or those below a path of names.

        C(stats("couchdb", "request_time")) returns C({"couchdb": {"request_time": {...}}}). Raises
        NotFound for a statistic that the server lacks.

        https://docs.couchdb.org/en/stable/api/server/common.html#node-node-name-stats
        """
        body = self.request("GET", self.dialect.statistics(node, *paths), hthdrs=hthdrs).body
        if not self.dialect.clustered and isinstance(body, dict):
            found: t.Any = body
            for name in paths:
                found = found.get(name) if isinstance(found, dict) else None
            body = found
        if body is None:
            raise errors.NotFound(
                f"{self.url} has no statistic {'/'.join(paths)}", status=404, error="not_found", reason="missing"
            )
        for name in reversed(paths):
            body = {name: body}
        return t.cast("dict[str, t.Any]", body)

    def system(self, node: str = LOCAL, hthdrs: Headers = None) -> dict[str, t.Any]:
        """The state of the Erlang virtual machine of a node: C(uptime) in seconds, memory in bytes, queues.

        Raises Unsupported on CouchDB 1.x.

        https://docs.couchdb.org/en/stable/api/server/common.html#node-node-name-system
        """
        return t.cast("dict[str, t.Any]", self.request("GET", self.dialect.system(node), hthdrs=hthdrs).body)

    def versions(self, node: str = LOCAL, hthdrs: Headers = None) -> dict[str, t.Any]:
        """The versions of a node's components: Erlang, the JavaScript engine, the collation library.

        Raises Unsupported before CouchDB 3.3.

        https://docs.couchdb.org/en/stable/api/server/common.html#node-node-name-versions
        """
        return t.cast("dict[str, t.Any]", self.request("GET", self.dialect.versions(node), hthdrs=hthdrs).body)

    def smoosh(self, node: str = LOCAL, hthdrs: Headers = None) -> dict[str, t.Any]:
        """The queues of automatic compaction of a node, by channel: the numbers of waiting, starting and active ones.

        Raises Unsupported before CouchDB 3.4.

        https://docs.couchdb.org/en/stable/api/server/common.html#node-node-name-smoosh-status
        """
        return t.cast("dict[str, t.Any]", self.request("GET", self.dialect.smoosh(node), hthdrs=hthdrs).body)

    def uuids(self, count: int | None = None, hthdrs: Headers = None) -> list[str]:
        """New UUIDs made by the server, C(count) of them, 1 by default.

        CouchDB returns 1000 at most for one request; more take several requests. Raises
        InvalidInput if count is below 1.

        https://docs.couchdb.org/en/stable/api/server/common.html#uuids
        """
        wanted = 1 if count is None else count
        check_type(wanted, int, "count", "a number")
        if wanted < 1:
            raise errors.InvalidInput("count", f"is {wanted}. Set 1 or more")
        found: list[str] = []
        while len(found) < wanted:
            portion = min(_UUIDS_AT_ONCE, wanted - len(found))
            found += self.request("GET", ("_uuids",), query={"count": portion}, hthdrs=hthdrs).body["uuids"]
        return found

    def log(self, bytes: int | None = None, offset: int | None = None, hthdrs: Headers = None) -> str:
        """The end of the server's log as a string: C(bytes) of it (1000), ending C(offset) bytes before its end (0).

        CouchDB 1.x has a call for it. CouchDB 2 and 3 have none: for them, this reads the log file in the
        server's settings (C([log] writer = file), C(file)), if the server is on this machine.
        Raises Unsupported otherwise.

        https://docs.couchdb.org/en/stable/config/logging.html
        """
        size, skip = 1000 if bytes is None else bytes, 0 if offset is None else offset
        check_type(size, int, "bytes", "a number")
        check_type(skip, int, "offset", "a number")
        if size < 0 or skip < 0:
            raise errors.InvalidInput("bytes" if size < 0 else "offset", "must be 0 or more")
        if not self.dialect.clustered:
            query = {"bytes": size, "offset": skip}
            text = self.request("GET", self.dialect.log(), query=query, text=True, hthdrs=hthdrs).body
            return t.cast(str, text or "")
        return _tail(self._log_file(hthdrs), size, skip)

    def _log_file(self, hthdrs: Headers) -> str:
        settings = self.config("log", hthdrs=hthdrs)
        lacks = f"{self.dialect.product} {self.dialect.version} has no log over HTTP"
        if settings.get("writer") != "file" or not settings.get("file"):
            raise errors.Unsupported(f"{lacks}, and its settings don't say that it logs to a file ([log] writer, file)")
        if not self.is_local:
            raise errors.Unsupported(f"{lacks}, and its log file is on the server's host, not on this one")
        if not os.access(settings["file"], os.R_OK):
            raise errors.Unsupported(f"{lacks}, and its log file {settings['file']} can't be read here")
        return t.cast(str, settings["file"])


def _tail(path: str, size: int, skip: int) -> str:
    """The ``size`` bytes of a file that end ``skip`` bytes before its end, as a string."""
    with open(path, "rb") as log:
        end = max(log.seek(0, os.SEEK_END) - skip, 0)
        start = max(end - size, 0)
        log.seek(start)
        return log.read(end - start).decode("utf-8", "replace")
