# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Restarts: nodes asked to restart, taken out of service, and looked at."""

from __future__ import annotations

import typing as t

from .. import errors
from .._rules import restart as rules
from .._rules.dialect import LOCAL
from . import rolling
from .http import is_ok, side_by_side
from .server import Headers, Server

_CONNECTIONS = 6
"""On how many connections of their own a server is asked which node answers."""

_MAINTENANCE = ("couchdb", "maintenance_mode")
_IN_MEMORY = {"X-Couch-Persist": "false"}
"""The header with which a setting is kept in memory only: the next start of the node forgets it."""


class Restarts(Server):
    """The part of Client for restarts and maintenance mode."""

    def restart(self, node: str = LOCAL, hthdrs: Headers = None) -> bool:
        """Ask a node to restart. True when it took the request, not when it is back. For server admins.

        Raises Unsupported before CouchDB 2.3, which brought the call back, and on PouchDB Server.

        https://docs.couchdb.org/en/stable/api/server/common.html#node-node-name-restart
        """
        path = self.dialect.restart(node)
        try:
            answer = self.request("POST", path, body={}, hthdrs=hthdrs, repeatable=False, expect=is_ok)
        except errors.NotFound:
            if self.dialect.clustered:
                raise
            raise self.dialect.lacks("restart call") from None
        self._present = None
        return bool(answer.body and answer.body.get("ok"))

    def check_restart(self, maintenance_mode: bool = False) -> None:
        """Raise Unsupported when this server has no restart call, or no maintenance mode where that is wanted."""
        self.dialect.restart(LOCAL)
        if maintenance_mode and not self.dialect.clustered:
            raise self.dialect.lacks("maintenance mode")

    def restart_and_wait(
        self,
        node: str = LOCAL,
        wait_timeout: float = 120,
        drain_time: float | None = None,
        without: t.Collection[str] = (),
    ) -> dict[str, t.Any]:
        """Restart a node, and wait until it is proved to have restarted, serves again, and the cluster is whole.

        With ``drain_time`` the node is in maintenance mode for so many seconds first: its C(_up) answers 404, so that
        balancers take it out of service. That is kept in the node's memory only: its restart ends it, also when nobody is
        there any more to undo it. A node that was in maintenance mode before is so afterwards. ``without`` names
        members that may be missing.

        Gives C(name), C(uptime_before) and C(uptime_after) in seconds (None on CouchDB 1.x, which doesn't tell), and
        C(seconds_away), from asking until it served again. Raises RestartFailed when the cluster is not whole,
        so that nothing was asked; and when it is not back, or the cluster not whole again, after ``wait_timeout`` seconds.

        https://docs.couchdb.org/en/stable/api/server/common.html#node-node-name-restart
        """
        return rolling.Restart(self, node, wait_timeout, drain_time, without).run()

    def sighting(self, node: str = LOCAL, **limits: t.Any) -> rules.Sighting:
        """What a node tells of itself now. ``limits``: the C(timeout) and C(retries) of the request."""
        if self.dialect.clustered:
            return rules.of_system(self.request("GET", self.dialect.system(node), **limits).body)
        path = self.dialect.statistics(node, "httpd", "requests")
        return rules.of_statistics(self.request("GET", path, accept=(404,), **limits).body)

    def cluster_seen(self, **limits: t.Any) -> rules.Cluster:
        """The members, and what each that is connected tells of itself. Takes a request for each, side by side."""
        if not self.dialect.clustered:
            return rules.Cluster((LOCAL,), {LOCAL: self.sighting(**limits)})
        listed = self.request("GET", ("_membership",), **limits).body
        members = listed["cluster_nodes"]
        connected = [name for name in members if name in listed["all_nodes"]]

        def look(name: str) -> rules.Sighting | None:
            try:
                return self.sighting(name, **limits)
            except errors.NodeDown:
                # It has just gone, and is listed for a moment longer.
                return None

        seen = zip(connected, side_by_side(look, connected))
        return rules.Cluster(tuple(members), {name: sighting for name, sighting in seen if sighting is not None})

    def maintenance_mode(self, node: str = LOCAL) -> str | None:
        """The setting C(couchdb/maintenance_mode) of a node; None when it has none, as on CouchDB 1.x.

        https://docs.couchdb.org/en/stable/config/couchdb.html#couchdb/maintenance_mode
        """
        if not self.dialect.clustered:
            return None
        try:
            return t.cast(str, self.config(*_MAINTENANCE, node=node))
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
        self.config(*_MAINTENANCE, node=node, hthdrs=_IN_MEMORY, **change)

    def answering_node(self) -> str:
        """The name of the one node that answers at this address; C(_local) on CouchDB 1.x.

        It is asked on several connections of their own, as a balancer hands these to different nodes. Raises
        InvalidInput, naming C(nodes), when not one and the same answers all of them.
        """
        seen: dict[tuple[str, t.Any], None] = {}
        for _connection in range(_CONNECTIONS):
            self.close()
            seen[self.local_node(), self().get("uuid")] = None
        if len(seen) > 1:
            names = ", ".join(sorted({name for name, _uuid in seen}))
            raise errors.InvalidInput(
                "nodes",
                f"different nodes answer at {self.url} ({names}), so {LOCAL} could be any of them: "
                "name the nodes, or give the address of one",
            )
        return next(iter(seen))[0]
