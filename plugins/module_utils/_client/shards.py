# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Shards: the shard maps of all databases, the copies on each node, and whether the cluster is in sync."""

from __future__ import annotations

import json
import typing as t
from dataclasses import dataclass

from .. import errors
from .._rules import shards as rules
from .._rules.names import shard_database
from .answers import is_ok
from .cluster import Members
from .nodes import Nodes
from .parallel import in_parallel
from .wait import wait_until

_PAGE = 1000
"""The number of shard maps that one request reads."""

MODE = ("couchdb", "maintenance_mode")
MARK = ("couchdb", "couchpy_maintenance_mode")
"""The setting that says that a move put the node in maintenance mode; its value is the mode that the node had before."""

_SYNC_HOLDS = 1.0
"""Seconds for which a cluster must be in sync."""


@dataclass(frozen=True)
class Sizes:
    """The average size of a copy of a range of a database: documents, and bytes in files."""

    documents: int
    bytes: int


class Shards(Members, Nodes):
    """The part of Client for the placement of shards."""

    def __init__(self, *arguments: t.Any, **options: t.Any) -> None:
        super().__init__(*arguments, **options)
        self._own = ""

    def shard_maps(self) -> dict[str, rules.Map]:
        """The shard maps of all databases by name, as the node that answers has them. For server admins.

        Takes a request for each thousand databases. Raises Unsupported before CouchDB 3.0.

        https://docs.couchdb.org/en/stable/cluster/sharding.html#updating-cluster-metadata-to-reflect-the-new-target-shard-s
        """
        path = self.dialect.shard_map(self._own_node())
        found: dict[str, rules.Map] = {}
        after: dict[str, t.Any] = {}
        while True:
            query = {"include_docs": True, "limit": _PAGE, **after}
            rows = self.request("GET", path, query=query).body["rows"]
            for row in rows:
                if not row["id"].startswith("_design/"):
                    found[row["id"]] = rules.shard_map({"_id": row["id"], **row["doc"]})
            if len(rows) < _PAGE:
                return found
            after = {"start_key": json.dumps(rows[-1]["id"]), "skip": 1}

    def shard_members(self) -> list[rules.Member]:
        """The members of the cluster with their zones and maintenance modes. Takes two requests, and one for each member.

        https://docs.couchdb.org/en/stable/cluster/sharding.html#specifying-database-placement
        """
        membership = self.membership()
        zones = self.zones()

        def ask(name: str) -> rules.Member:
            if name not in membership["all_nodes"]:
                return rules.Member(name, zones.get(name), up=False)
            try:
                settings = self.config(MODE[0], node=name)
            except errors.NodeDown:
                return rules.Member(name, zones.get(name), up=False)
            mode = settings.get(MODE[1], "false")
            return rules.Member(name, zones.get(name), mode=mode, marked=MARK[1] in settings)

        return in_parallel(ask, membership["cluster_nodes"])

    def zones(self) -> dict[str, str]:
        """The zones of the members that have one, by name.

        https://docs.couchdb.org/en/stable/cluster/sharding.html#specifying-database-placement
        """
        path = (*self.dialect.member(self._own_node(), "_all_docs"),)
        answer = self.request("GET", path, query={"include_docs": True}, accept=(404,))
        rows = answer.body["rows"] if answer.status == 200 else []
        return {row["id"]: str(row["doc"]["zone"]) for row in rows if row["doc"].get("zone") is not None}

    def set_zone(self, name: str, zone: str) -> None:
        """Set the zone of a member. Raises NotFound if it is not a member, Conflict if its document was changed at the same time.

        https://docs.couchdb.org/en/stable/cluster/sharding.html#specifying-database-placement
        """
        path = self.dialect.member(self._own_node(), name)
        document = self.request("GET", path).body
        self.request("PUT", path, body={**document, "zone": zone}, expect=is_ok)
        what = f"the zone of {name}"
        wait_until(lambda: "" if self.zones().get(name) == zone else "it is not listed", 5, what, self.progress)

    def leftovers(
        self, maps: t.Mapping[str, rules.Map], members: t.Sequence[rules.Member]
    ) -> list[tuple[str, str, str]]:
        """The copies that a move took out of a map and that are still on their node, as (database, range, node).

        Takes a request for each node that is up and had such a copy.
        """
        up = {member.name for member in members if member.up}
        removed: dict[str, dict[str, tuple[str, str, str]]] = {}
        for name, map_ in maps.items():
            for range_, node in map_.removed:
                if node in up:
                    removed.setdefault(node, {})[map_.shard(range_)] = (name, range_, node)
        nodes = sorted(removed)
        existing = in_parallel(lambda node: self.request("GET", ("_node", node, "_all_dbs")).body, nodes)
        return sorted(
            removed[node][shard] for node, shards in zip(nodes, existing) for shard in shards if shard in removed[node]
        )

    def copy_sizes(self, names: t.Sequence[str]) -> dict[str, Sizes]:
        """The average sizes of a copy of a range of these databases. Takes a request for each hundred."""
        found = {}
        for name, info in self.dbs_info(list(names)).items():
            if info is not None:
                q = max(info.get("cluster", {}).get("q", 1), 1)
                found[name] = Sizes(-(-info["doc_count"] // q), -(-info.get("sizes", {}).get("file", 0) // q))
        return found

    def resharding(self) -> dict[str, str]:
        """The databases with a resharding job that has not ended, by name, each with the job's state."""
        return {name: state for name, state in self.reshard_states().items() if state not in ("completed", "failed")}

    def reshard_states(self) -> dict[str, str]:
        """The databases with a resharding job, by name, each with the state of a job, one that has not ended if there is one.

        https://docs.couchdb.org/en/stable/api/server/common.html#get--_reshard-jobs
        """
        jobs = self.request("GET", ("_reshard", "jobs"), accept=(404,)).body.get("jobs", [])
        ended = ("completed", "failed")
        jobs.sort(key=lambda job: (job["job_state"] not in ended, job["job_state"] == "failed"))
        return {shard_database(job["source"]): job["job_state"] for job in jobs}

    def sync_gaps(self) -> list[str]:
        """What keeps the cluster from being in sync, a sentence each; nothing if it is.

        In sync is a cluster whose members are all up, connected with each other and out of maintenance mode, with no internal
        replication waiting, no shard on a node that is not a member, no copy that a move has not filled, and no resharding job
        that is not at its end. Takes two requests for each member, and five and one for each thousand databases.
        """
        gaps = self.cluster_seen().gaps()
        stuck = {name: state for name, state in self.reshard_states().items() if state != "completed"}
        return [*gaps, *rules.sync_gaps(self.shard_maps(), self.shard_members(), stuck)]

    def await_sync(self, wait_timeout: float = 60) -> None:
        """Wait until the cluster is in sync, and is so a second later too. Raises NotInSync, saying what is missing.

        CouchDB counts an internal replication only once it has begun, up to a second after a write.
        """

        def look() -> str:
            try:
                return "; ".join(self.sync_gaps())
            except (errors.Unreachable, errors.ServerError, errors.NodeDown) as error:
                return str(error)

        lacking = wait_until(look, wait_timeout, "the cluster to be in sync", self.progress, holds=_SYNC_HOLDS)
        if lacking:
            raise errors.NotInSync(f"the cluster is not in sync after {wait_timeout:g} s: {lacking}")

    def _own_node(self) -> str:
        """The node that answered first: all maps are written there, as writes on two nodes would conflict."""
        if not self._own:
            self._own = self.local_node()
        return self._own
