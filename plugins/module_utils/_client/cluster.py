# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Members: the nodes of a cluster, how they join and leave, and the shards on them."""

from __future__ import annotations

import json
import typing as t
from dataclasses import replace

from .. import errors
from .._rules import cluster as rules
from .._rules.dialect import LOCAL
from .answers import is_ok
from .database import Database as _Database
from .databases import Databases
from .parallel import in_parallel
from .server import Headers, Server
from .wait import wait_until, within

LOOK_AT = (
    "Check these: does its name resolve on the other nodes to the IP address that it listens at, do all have the same "
    "Erlang cookie, and are port 4369 and those of Erlang's distribution (inet_dist_listen_min to _max) open between them"
)
"""The causes that keep a node from connecting, which are the same over HTTP."""

_SHARDS_PAGE = 1000

_SETTLING = 5
"""The most seconds until a server's list of members shows a change."""


class Members(Databases):
    """The part of Client for the members of a cluster."""

    def shards(self, node: str = LOCAL, hthdrs: Headers = None) -> dict[str, rules.Placement]:
        """The placement of the shards of every database, by the database's name, as a node has it. For server admins.

        Takes a request for each thousand databases. Raises Unsupported before CouchDB 3.0.

        https://docs.couchdb.org/en/stable/cluster/sharding.html#updating-cluster-metadata-to-reflect-the-new-target-shard-s
        """
        path = self.dialect.shard_map(node)
        found: dict[str, rules.Placement] = {}
        after: dict[str, t.Any] = {}
        while True:
            query = {"include_docs": True, "limit": _SHARDS_PAGE, **after}
            rows = self.request("GET", path, query=query, hthdrs=hthdrs).body["rows"]
            found.update(
                (row["id"], rules.placement(row["doc"])) for row in rows if not row["id"].startswith("_design/")
            )
            if len(rows) < _SHARDS_PAGE:
                return found
            after = {"start_key": json.dumps(rows[-1]["id"]), "skip": 1}

    def cluster_nodes(self, hthdrs: Headers = None) -> tuple[list[rules.Node], dict[str, rules.Placement]]:
        """The members and other connected nodes, and the placement of the shards of every database.

        The maintenance mode of each connected node is read through this one, in parallel. Before CouchDB 3.0,
        shards are unknown, and 1.x is one node. For server admins.

        https://docs.couchdb.org/en/stable/config/couchdb.html#couchdb/maintenance_mode
        """
        membership = self.membership(hthdrs)
        members, connected = membership["cluster_nodes"], membership["all_nodes"]
        knows_shards = self.dialect.has_shard_map
        shards = self.shards(hthdrs=hthdrs) if knows_shards else {}
        counts = rules.copies(shards)

        def ask(name: str) -> rules.Node:
            node = rules.Node(name, name in members, name in connected, counts.get(name, 0) if knows_shards else None)
            if not node.connected or not self.dialect.clustered:
                return node
            try:
                mode = self.config("couchdb", node=name, hthdrs=hthdrs).get("maintenance_mode", "false")
            except (errors.Unreachable, errors.ServerError, errors.NodeDown) as error:
                return replace(node, problem=error.reason or str(error))
            return replace(node, maintenance_mode=mode)

        names = [*members, *(name for name in connected if name not in members)]
        return in_parallel(ask, names), shards

    def server(self, closely: bool = False) -> rules.Server:
        """The state of the node that answers: its name, version and the section C(cluster) of its settings.

        ``closely``: also all its settings, members and shards, which takes two more requests. For server admins.
        """
        node, version = self.local_node(), self.version()
        if not closely or not self.dialect.clustered:
            return rules.Server(node, version, {"cluster": self.config("cluster")})
        return rules.Server(node, version, self.config(), self.membership()["cluster_nodes"], self.shards())

    def servers(
        self, urls: t.Mapping[str, str], closely: t.Collection[str] = (), timeout: float | None = None
    ) -> dict[str, rules.Server | errors.CouchDBError]:
        """The servers at these URLs (name → URL), read in parallel with the credentials of this client.

        ``closely`` has the names of those to read in full. If a server returns no valid answer, its error is in the result.
        All answers together may take ``timeout`` seconds; without it, each request has the client's timeout.
        """

        def ask(name: str) -> rules.Server | errors.CouchDBError:
            try:
                return self.at(urls[name]).server(closely=name in closely)
            except errors.CouchDBError as error:
                return error

        names = list(urls)
        with within(float("inf") if timeout is None else timeout):
            return dict(zip(names, in_parallel(ask, names)))

    def join_node(
        self, name: str, node: str = LOCAL, wait_timeout: float | None = None, hthdrs: Headers = None
    ) -> dict[str, t.Any]:
        """Add a node to the members of the cluster, in the list of ``node``, and wait until it is connected.

        If it is not connected within ``wait_timeout`` seconds, it is removed again and NotConnected is raised: CouchDB would
        place shards on the name. Without a timeout, this returns as soon as the node is listed as a member. Raises Conflict
        if it is a member already.

        https://docs.couchdb.org/en/stable/cluster/nodes.html#adding-a-node
        """

        def apart(listed: dict[str, list[str]]) -> str:
            return "" if all(name in listed[kind] for kind in ("all_nodes", "cluster_nodes")) else "it is not connected"

        answer = self.request("PUT", self.dialect.member(node, name), body={}, hthdrs=hthdrs, expect=is_ok)
        # The list of members follows a moment later. A node that it lacks does not connect.
        self._await_member(name, hthdrs)
        if wait_timeout is None or not self._await_list(apart, wait_timeout, f"{name} to connect", hthdrs):
            return t.cast("dict[str, t.Any]", answer.body)
        outcome = "was removed again"
        try:
            # Databases of the meantime may have shards on it.
            self.leave_node(name, node, hthdrs, empty=True)
        except errors.NotFound:
            pass
        except errors.CouchDBError as error:
            outcome = f"could not be removed again ({error})"
        raise errors.NotConnected(f"{name} did not connect within {wait_timeout:g} s and {outcome}. {LOOK_AT}")

    def _await_member(self, name: str, hthdrs: Headers) -> None:
        self._await_list(
            lambda listed: "" if name in listed["cluster_nodes"] else "it is not listed",
            _SETTLING,
            f"{name} to become a member",
            hthdrs,
        )

    def _await_list(
        self, look: t.Callable[[dict[str, list[str]]], str], seconds: float, what: str, hthdrs: Headers
    ) -> str:
        """Wait until the list of members lacks nothing, and return what it lacks."""
        return wait_until(lambda: look(self.membership(hthdrs)), seconds, what, self.progress)

    def leave_node(self, name: str, node: str = LOCAL, hthdrs: Headers = None, empty: bool = False) -> bool:
        """Remove a node from the cluster, in the list of ``node``, which spreads. True when it is done.

        Its shards are not moved. It keeps listing the members itself. Raises NotFound if it is not a member. With ``empty``, a node
        that has shards, or gets some now, stays, and Conflict is raised.

        https://docs.couchdb.org/en/stable/cluster/nodes.html#removing-a-node
        """
        path = self.dialect.member(node, name)
        member = self.request("GET", path, hthdrs=hthdrs).body
        rev = member.pop("_rev")
        if empty:
            self._check_empty(name, node)
        left = bool(self.request("DELETE", path, query={"rev": rev}, hthdrs=hthdrs, expect=is_ok).body)
        # The list of members follows a moment later; the next request would still find the node in it.
        self._await_list(
            lambda listed: "it is still listed" if name in listed["cluster_nodes"] else "",
            _SETTLING,
            f"{name} to leave",
            hthdrs,
        )
        if empty:
            try:
                self._check_empty(name, node)
            except errors.Conflict:
                self.request("PUT", path, body=member, hthdrs=hthdrs, expect=is_ok)
                self._await_member(name, hthdrs)
                raise
        return left

    def _check_empty(self, name: str, node: str) -> None:
        databases = rules.databases_on(self.shards(node), name)
        if databases:
            raise errors.Conflict(f"{name} stays a member: it has new shards of {errors.listed(databases)}")

    def await_members(
        self, names: t.Sequence[str], urls: t.Sequence[str] = (), wait_timeout: float = 60, exclusive: bool = False
    ) -> dict[str, list[str]]:
        """Wait until these nodes are members and connected, and with ``exclusive`` no other node is a member.

        This server and each of ``urls`` are read, with the same credentials, until all agree. Returns this server's
        membership. Raises NotConnected, with the last answer of each, after ``wait_timeout`` seconds.
        """
        clients = list({client.url: client for client in [*(self.at(url) for url in urls), self]}.values())
        answers: dict[str, dict[str, list[str]] | str] = {}

        def look() -> str:
            answers.update((client.url, answer) for client, answer in zip(clients, in_parallel(_membership, clients)))
            return "; ".join(rules.disagreements(names, answers, exclusive=exclusive))

        lacking = wait_until(look, wait_timeout, "the nodes to agree on the members", self.progress)
        if lacking:
            raise errors.NotConnected(f"the nodes did not agree on the members within {wait_timeout:g} s: {lacking}")
        return t.cast("dict[str, list[str]]", answers[self.url])

    def put_system_database(
        self, name: str, members: t.Sequence[str], urls: t.Sequence[str] = (), wait_timeout: float = 60
    ) -> _Database:
        """Create one of CouchDB's own databases once its members agree, so that each can get a copy.

        Raises NotConnected if they don't in time, AlreadyExists if the database exists.

        https://docs.couchdb.org/en/stable/setup/cluster.html#cluster-setup-api
        """
        self.await_members(members, urls, wait_timeout)
        return self.put(name)


def _membership(client: Server) -> dict[str, list[str]] | str:
    """The membership that a server returns, or why it returns none now. Raises if it refuses the login."""
    try:
        return client.membership()
    except (errors.Unreachable, errors.ServerError, errors.NotFound) as error:
        return str(error)
