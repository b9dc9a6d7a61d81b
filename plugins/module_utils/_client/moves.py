# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Moves: fills copies of shards on other nodes, and deletes those that left the map, while the cluster serves."""

from __future__ import annotations

import contextlib
import time
import typing as t
from dataclasses import replace

from .. import errors
from .._rules import moves as rules
from .._rules.names import shard_database
from .._rules.shards import Document, Map, Member
from .answers import is_ok
from .maintenance import Copy, Maintenance, Marks
from .parallel import in_parallel
from .shards import Shards
from .wait import wait_until

_REVISIONS = 500
"""How many documents of a copy are compared with one request, where they are compared one by one."""

_PUSH_EVERY = 5.0
"""Seconds until the internal replication of a database is started again, if a copy is not full by then."""

_SOON = 2.0
"""Seconds for which a copy that may be full is looked at, by a task that does not wait."""

_INDEX_HOLDS = 1.0
"""Seconds for which a node must run no indexer until its indexes count as built."""

_LINGER = 10.0
"""Seconds from when a copy leaves the map until it is deleted: requests that began before read it to their end."""

_PURGED_INFOS_LIMIT = 1000
"""The value of C(_purged_infos_limit) of a new copy."""


class Moving(Shards, Maintenance):
    """The part of Client that moves copies of shards."""

    def __init__(self, *arguments: t.Any, **options: t.Any) -> None:
        super().__init__(*arguments, **options)
        #: database → the revision of its map that this client wrote.
        self._revs: dict[str, str] = {}
        #: database → when a copy left its map.
        self._left: dict[str, float] = {}
        self._limits: dict[str, int] = {}

    def shard_members(self) -> list[Member]:
        """The members of the cluster with their zones and maintenance modes. Takes two requests, and one for each member.

        https://docs.couchdb.org/en/stable/cluster/sharding.html#specifying-database-placement
        """
        zones = self.zones()
        return [replace(member, zone=zones.get(member.name)) for member in self.members_seen()]

    def fill_copies(
        self,
        database: str,
        rev: str,
        number: int,
        add: t.Sequence[Copy],
        remove: t.Sequence[Copy] = (),
        wait_timeout: float = 3600,
        wait: bool = True,
    ) -> dict[str, t.Any]:
        """Add copies to the map of a database, each given as (range, node), and wait until each is as full as the others.

        Without C(wait), their filling begins, and nothing is waited for but the map.

        Copies in C(remove), on nodes that are gone, leave the map with the same write. The nodes of new copies must be in maintenance
        mode. C(rev) is the map's revision, C(number) how many copies each range should keep. Raises Conflict if another client changed the
        map, NotInSync if a copy isn't full after C(wait_timeout) seconds without any progress.

        https://docs.couchdb.org/en/stable/cluster/sharding.html#moving-a-shard
        """
        self._write_map(database, rev, lambda document: rules.changed_map(document, number, add, remove))
        if not wait:
            self.push([database])
            return {"copies": []}
        self._limits.setdefault(database, self.request("GET", (database, "_purged_infos_limit")).body)
        self._await_full(database, add, wait_timeout, self._lack_or_differ)
        self._await_indexes(database, sorted({node for _range, node in add}), wait_timeout)
        return {"copies": in_parallel(lambda copy: self._held(database, *copy), list(add))}

    def unfilled(self, maps: t.Mapping[str, Map]) -> dict[str, str]:
        """The databases with copies that a move began to fill and that are not full yet, by name, each with what they lack.

        Takes a few seconds if there are any, as a copy of a database that is written to is always a little behind.
        """
        moving = {
            name: [
                (range_, node)
                for range_, nodes in map_.filling.items()
                for node in nodes
                if node in map_.ranges[range_]
            ]
            for name, map_ in maps.items()
            if map_.filling
        }
        up = self.membership()["all_nodes"] if moving else []

        def look(name: str) -> str:
            down = sorted({node for _range, node in moving[name] if node not in up})
            if down:
                return f"{errors.listed(down)} is down"
            try:
                lacking = self._await_copies(name, moving[name], _SOON, self._lack, stalled=False)
            except (errors.NodeDown, errors.NotFound) as error:
                return str(error)
            building = self._building(name, {node for _range, node in moving[name]})
            return lacking or (f"indexes are being built on {building}" if building else "")

        names = sorted(moving)
        return {name: lacking for name, lacking in zip(names, in_parallel(look, names)) if lacking}

    def _in_service(self, databases: t.Sequence[str]) -> None:
        for name in databases:
            if self._limits.get(name, _PURGED_INFOS_LIMIT) != _PURGED_INFOS_LIMIT:
                self.request("PUT", (name, "_purged_infos_limit"), body=self._limits[name])

    def settle_map(
        self, database: str, rev: str, number: int, full: t.Sequence[Copy] = (), remove: t.Sequence[Copy] = ()
    ) -> dict[str, t.Any]:
        """Write to the map of a database that copies are full, and take others out of it, each given as (range, node).

        Raises Conflict if another client changed the map since C(rev), or since this client wrote it.

        https://docs.couchdb.org/en/stable/cluster/sharding.html#update-cluster-metadata-again-to-remove-the-source-shard
        """

        def changed(document: Document) -> Document:
            left = rules.changed_map(document, number, (), remove) if remove else document
            return rules.settled_map(left, full)

        self._write_map(database, rev, changed)
        if remove:
            self._left[database] = time.monotonic()
        return {"ok": True}

    def delete_copy(self, database: str, range_: str, node: str, wait_timeout: float = 3600) -> dict[str, t.Any]:
        """Delete a copy that is in no map any more from its node, once all that is in it is in the copies of the map.

        Raises NotInSync if it holds something that they don't, and Conflict if it is in the map again.
        """
        time.sleep(max(0.0, self._left.get(database, 0.0) + _LINGER - time.monotonic()))
        pushed = float("-inf")
        shard = ""

        def look() -> str:
            nonlocal pushed, shard
            map_ = self._map(database)
            if node in map_.ranges.get(range_, ()):
                raise errors.Conflict(f"{node} has a copy of {database} {range_} in the map again", status=409)
            shard = map_.shard(range_)
            members = self.membership()["all_nodes"]
            others = [name for name in map_.ranges[range_] if name in members]
            try:
                lacks = [other for other in others if self._missing(shard, node, other)]
            except errors.NodeDown:
                raise
            except errors.NotFound:
                # It is gone already, which the DELETE accepts.
                return ""
            if others and not lacks:
                return ""
            if time.monotonic() - pushed >= _PUSH_EVERY:
                # A change of the copy makes its node replicate it to those that are in the map.
                limit = self.request("GET", ("_node", node, shard, "_revs_limit")).body
                self.request("PUT", ("_node", node, shard, "_revs_limit"), body=limit, expect=is_ok)
                pushed = time.monotonic()
            return ", ".join(lacks) or "no other copy"

        what = f"the copy of {database} {range_} on {node}"
        lacking = wait_until(look, wait_timeout, f"{what} to be in the others", self.progress, stalled=True)
        if lacking:
            raise errors.NotInSync(f"{what} holds what {lacking} lacks, and was not deleted")
        self.request("DELETE", ("_node", node, shard), accept=(404,))
        return {"ok": True}

    # What they are made of

    def _write_map(self, database: str, rev: str, change: t.Callable[[Document], Document]) -> None:
        """Change the map of a database, if it is still the one that was planned for, and wait until each node has it.

        It is written to each node. CouchDB itself passes it on from node to node, and until it has reached them all, a node
        without it reads a copy that left the map, to which a node with it writes no more.
        """
        document = self.request("GET", self._map_path(database), query={"revs": True}).body
        known = document.pop("_revisions", {}).get("ids", [])
        if document["_rev"] != self._revs.get(database, rev):
            raise errors.Conflict(f"the shard map of {database} was changed meanwhile", status=409)
        changed = change(document)
        # A node that has left may still be connected, and gets no maps any more.
        there = self.membership()
        nodes = [node for node in there["cluster_nodes"] if node in there["all_nodes"] and node != self._own_node()]
        if changed != document:
            answer = self.request("PUT", self._map_path(database), body=changed, expect=is_ok).body
            self._revs[database] = answer["rev"]
            same = rules.same_revision(changed, answer["rev"], known)
            in_parallel(lambda node: self._give_map(node, same), nodes)
        else:
            self._revs[database] = document["_rev"]

        def lacks_it(node: str) -> str:
            try:
                found = self.request("GET", self._map_path(database, node), accept=(404,)).body
            except errors.CouchDBError:
                # It has just gone down, and gets the map when it is up again.
                return node if node in self.membership()["all_nodes"] else ""
            return "" if found.get("_rev") == self._revs[database] else node

        what = f"the shard map of {database}"
        lacking = wait_until(
            lambda: ", ".join(filter(None, in_parallel(lacks_it, nodes))), self.timeout, what, self.progress
        )
        if lacking:
            raise errors.NotInSync(f"{what} did not reach {lacking} within {self.timeout:g} s")

    def _give_map(self, node: str, document: Document) -> None:
        """Write this revision of a map to a node. What comes of it shows when the node is asked for it."""
        with contextlib.suppress(errors.CouchDBError):
            path = (*self.dialect.shard_map(node)[:-1], "_bulk_docs")
            self.request("POST", path, body={"new_edits": False, "docs": [document]}, repeatable=True)

    def _lack_or_differ(self, map_: Map, copy: Copy, up: t.Collection[str], marks: Marks) -> str:
        """What a copy lacks as for _lack(), and of documents; gives one that lacks nothing what CouchDB doesn't copy, or later."""
        lacking = self._lack(map_, copy, up, marks)
        if lacking:
            return lacking
        range_, node = copy
        shard = map_.shard(range_)
        sources = [source for each, source in marks if each == copy and source[0] == range_]
        info = self.request("GET", ("_node", node, shard)).body
        documents = info["doc_count"] + info["doc_del_count"]
        for source in sources:
            state = marks[copy, source]
            if documents < state.documents:
                # Counted again: documents may have been purged.
                marks[copy, source] = self._state(shard, source[1])
                return f"it has {documents} of {state.documents} documents of {source[1]}"
        for _range, source_node in sources[:1]:
            self._match_settings(shard, source_node, node)
        for _range, source_node in sources:
            self._copy_local_documents(shard, source_node, node)
        return ""

    def _held(self, database: str, range_: str, node: str) -> dict[str, t.Any]:
        """How much a copy holds."""
        info = self.request("GET", ("_node", node, self._map(database).shard(range_))).body
        return {"range": range_, "node": node, "documents": info["doc_count"], "bytes": info["sizes"]["file"]}

    def _match_settings(self, shard: str, source: str, node: str) -> None:
        """Give a copy the settings of another that the internal replication doesn't bring, or brings later."""
        for name in ("_revs_limit", "_security"):
            desired = self.request("GET", ("_node", source, shard, name)).body
            if self.request("GET", ("_node", node, shard, name)).body != desired:
                self.request("PUT", ("_node", node, shard, name), body=desired, expect=is_ok)

    def _copy_local_documents(self, shard: str, source: str, node: str) -> None:
        """Copy local documents, such as the checkpoints of replications, which the internal replication leaves out."""
        ours, theirs = self._local_documents(shard, source), self._local_documents(shard, node)
        for name, document in ours.items():
            current = theirs.get(name)
            if current is None or _number(current) < _number(document):
                body = {key: value for key, value in document.items() if key != "_rev"}
                if _number(document) > 1:
                    # The copy gets the number after this one.
                    body["_rev"] = f"0-{_number(document) - 1}"
                path = ("_node", node, shard, "_local", name[len("_local/") :])
                self.request("PUT", path, body=body, expect=is_ok)

    def _local_documents(self, shard: str, node: str) -> dict[str, dict[str, t.Any]]:
        path = ("_node", node, shard, "_local_docs")
        rows = self.request("GET", path, query={"include_docs": True}).body["rows"]
        return {row["id"]: row["doc"] for row in rows if not rules.is_internal(row["id"])}

    def _missing(self, shard: str, node: str, other: str) -> bool:
        """Whether a copy has revisions that another lacks. They are compared from the last checkpoint between the two on."""
        uuid = self.request("GET", ("_node", node, shard)).body["uuid"]
        try:
            since = self._checkpoint(shard, uuid, other, self.request("GET", ("_node", other, shard)).body["uuid"])
        except errors.NodeDown:
            raise
        except errors.NotFound:
            return True
        while True:
            query = {"since": since, "limit": _REVISIONS, "style": "all_docs"}
            changes = self.request("GET", ("_node", node, shard, "_changes"), query=query).body
            revs = {row["id"]: [change["rev"] for change in row["changes"]] for row in changes["results"]}
            if not revs:
                return False
            lacks = self.request("POST", ("_node", other, shard, "_revs_diff"), body=revs, repeatable=True).body
            if any(entry.get("missing") for entry in lacks.values()):
                return True
            since = changes["last_seq"]

    def _await_indexes(self, database: str, nodes: t.Sequence[str], wait_timeout: float) -> None:
        """Wait until nodes build no index of a database any more; CouchDB builds those of a new copy by itself."""
        wait_until(
            lambda: self._building(database, nodes),
            wait_timeout,
            f"the indexes of {database}",
            self.progress,
            holds=_INDEX_HOLDS,
        )

    def _building(self, database: str, nodes: t.Collection[str]) -> str:
        """Which of these nodes build indexes of a database."""
        tasks = self.request("GET", ("_active_tasks",)).body
        return errors.listed(
            sorted(
                str(task["node"])
                for task in tasks
                if task.get("type") == "indexer"
                and task.get("node") in nodes
                and shard_database(str(task.get("database"))) == database
            )
        )


def _number(document: t.Mapping[str, t.Any]) -> int:
    """How often a local document was written."""
    return int(str(document["_rev"]).rpartition("-")[2])
