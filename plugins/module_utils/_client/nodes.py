# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Nodes: their uptime and connections, seen from the node that answers, and their maintenance mode."""

from __future__ import annotations

import typing as t

from .. import errors
from .._rules import restart as rules
from .._rules.dialect import LOCAL
from .._rules.restart import Sighting
from .._rules.shards import RESTS
from .parallel import in_parallel
from .server import IN_MEMORY, Server

MODE = ("couchdb", "maintenance_mode")
MARK = ("couchdb", "couchpy_maintenance_mode")
"""The setting that says that a task put the node in maintenance mode; its value is the mode that the node had before."""


class Nodes(Server):
    """The part of Client for the state of nodes."""

    def sighting(self, node: str = LOCAL, **limits: t.Any) -> Sighting:
        """The current state of a node. ``limits``: the C(timeout) and C(retries) of the request."""
        if self.dialect.clustered:
            return rules.of_system(self.request("GET", self.dialect.system(node), **limits).body)
        path = self.dialect.statistics(node, "httpd", "requests")
        return rules.of_statistics(self.request("GET", path, accept=(404,), **limits).body)

    def cluster_seen(self, **limits: t.Any) -> rules.Cluster:
        """The members, and the state of each connected one. Takes a request for each, in parallel."""
        if not self.dialect.clustered:
            return rules.Cluster((LOCAL,), {LOCAL: self.sighting(**limits)})
        listed = self.request("GET", ("_membership",), **limits).body
        members = listed["cluster_nodes"]
        connected = [name for name in members if name in listed["all_nodes"]]

        def look(name: str) -> Sighting | None:
            try:
                return self.sighting(name, **limits)
            except errors.NodeDown:
                # It has just gone down, and is listed for a moment longer.
                return None

        seen = zip(connected, in_parallel(look, connected))
        return rules.Cluster(tuple(members), {name: sighting for name, sighting in seen if sighting is not None})

    def maintenance_mode(self, node: str = LOCAL) -> str | None:
        """The setting C(couchdb/maintenance_mode) of a node; None if it has none, as on CouchDB 1.x.

        https://docs.couchdb.org/en/stable/config/couchdb.html#couchdb/maintenance_mode
        """
        if not self.dialect.clustered:
            return None
        try:
            return t.cast(str, self.config(*MODE, node=node))
        except errors.NodeDown:
            raise
        except errors.NotFound:
            return None

    def set_maintenance_mode(self, node: str, mode: str | None) -> None:
        """Set C(couchdb/maintenance_mode) of a node, or delete it, in its memory only: its next start forgets it.

        Raises Unsupported on CouchDB 1.x.

        https://docs.couchdb.org/en/stable/config/couchdb.html#couchdb/maintenance_mode
        """
        if not self.dialect.clustered:
            raise self.dialect.lacks("maintenance mode")
        change: dict[str, t.Any] = {"delete": True} if mode is None else {"value": mode}
        self.config(*MODE, node=node, hthdrs=IN_MEMORY, **change)

    def maintenance(self, node: str = LOCAL) -> tuple[str, str | None]:
        """The maintenance mode of a node, and if a task put it there, the mode that it had before.

        https://docs.couchdb.org/en/stable/config/couchdb.html#couchdb/maintenance_mode
        """
        if not self.dialect.clustered:
            return "false", None
        settings = self.config(MODE[0], node=node)
        return settings.get(MODE[1]) or "false", settings.get(MARK[1])

    def mark(self, node: str, before: str) -> None:
        """Write to a node's files that a task puts it in maintenance mode, and the mode that it had before, for the task that ends it.

        Raises Unsupported on CouchDB 1.x.
        """
        if not self.dialect.clustered:
            raise self.dialect.lacks("maintenance mode")
        self.config(*MARK, node=node, value=before)

    def unmark(self, node: str) -> None:
        """Remove the mark of a node that is in service again."""
        self.config(*MARK, node=node, delete=True)

    def hold(self, node: str) -> None:
        """Put a node in maintenance mode, in its files, so that it also starts in it."""
        self.config(*MODE, node=node, value=RESTS)

    def release(self, node: str, mode: str) -> None:
        """Give a node the maintenance mode that it had before hold(), in its files."""
        if mode == "false":
            self.config(*MODE, node=node, delete=True)
            # From CouchDB 3.4 on, what its files hold shows through.
            if self.config(MODE[0], node=node).get(MODE[1], "false") != RESTS:
                return
        self.config(*MODE, node=node, value=mode)
