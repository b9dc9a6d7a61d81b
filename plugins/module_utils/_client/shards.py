# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Shards: the zones of the members, and the copies on each node."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .._rules import shards as rules
from .answers import is_ok
from .cluster import Members
from .parallel import in_parallel
from .sync import Sync
from .wait import wait_until


@dataclass(frozen=True)
class Sizes:
    """The average size of a copy of a range of a database: documents, and bytes in files."""

    documents: int
    bytes: int


class Shards(Sync, Members):
    """The part of Client for the placement of shards."""

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
