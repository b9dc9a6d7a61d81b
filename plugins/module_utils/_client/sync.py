# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a cluster is in sync: the gate for whatever takes a node out of service."""

from __future__ import annotations

import contextlib
import json
import typing as t

from .. import errors
from .._rules import shards as rules
from .._rules.dialect import LOCAL
from .._rules.names import shard_database
from .answers import is_ok
from .nodes import Nodes
from .parallel import in_parallel
from .wait import wait_until

_PAGE = 1000
"""The number of shard maps that one request reads."""

_HOLDS = 1.0
"""Seconds for which a cluster must be in sync."""

_KEYS = 100
"""The most databases in one POST to _dbs_info; CouchDB's own limit, max_db_number_for_dbs_info_req."""


class Sync(Nodes):
    """The part of Client for the state of a cluster as a whole: its nodes, shard maps and resharding jobs."""

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

    def reshard_states(self) -> dict[str, str]:
        """The databases with a resharding job, by name, each with the state of a job, one that has not ended if there is one.

        https://docs.couchdb.org/en/stable/api/server/common.html#get--_reshard-jobs
        """
        jobs = self.request("GET", ("_reshard", "jobs"), accept=(404,)).body.get("jobs", [])
        ended = ("completed", "failed")
        jobs.sort(key=lambda job: (job["job_state"] not in ended, job["job_state"] == "failed"))
        return {shard_database(job["source"]): job["job_state"] for job in jobs}

    def sync_gaps(
        self, without: t.Collection[str] = (), resting: t.Collection[str] = (), shards: bool = True, **limits: t.Any
    ) -> list[str]:
        """What keeps the cluster from being in sync, a sentence each; nothing if it is.

        In sync is a cluster whose members are all up, connected with each other and out of maintenance mode, with no internal
        replication waiting, no shard on a node that is not a member, no copy that a move has not filled, and no resharding job
        that is not at its end. Members in C(without) may be down or in maintenance mode, those in C(resting) in maintenance mode.
        Without C(shards), and before CouchDB 3.0, only the members count. C(limits) are those of the requests for the members.

        Takes two requests for each member, and three and one for each thousand databases.
        """
        seen = self.cluster_seen(**limits)
        excused = {*without, *(self._own_node() if name == LOCAL else name for name in resting)}
        asked = [name for name in seen.members if name in seen.sightings and name not in excused]
        found = [*seen.gaps(without), *rules.maintenance_gaps(dict(zip(asked, in_parallel(self._mode, asked))))]
        if not shards or not self.dialect.has_shard_map:
            return found
        stuck = {name: state for name, state in self.reshard_states().items() if state != "completed"}
        return [*found, *rules.shard_gaps(self.shard_maps(), seen.members, stuck)]

    def _mode(self, node: str) -> str | None:
        try:
            return self.maintenance_mode(node)
        except errors.NodeDown:
            # It has just gone down: the next look says so.
            return None

    def await_sync(self, wait_timeout: float = 60, resting: t.Collection[str] = ()) -> None:
        """Wait until the cluster is in sync, and is so a second later too. Raises NotInSync, saying what is missing.

        Members in C(resting) may be in maintenance mode. CouchDB counts an internal replication only once it has begun, up to a
        second after a write.
        """

        def look() -> str:
            try:
                return "; ".join(self.sync_gaps(resting=resting))
            except (errors.Unreachable, errors.ServerError, errors.NodeDown) as error:
                return str(error)

        lacking = wait_until(look, wait_timeout, "the cluster to be in sync", self.progress, holds=_HOLDS)
        if lacking:
            raise errors.NotInSync(f"the cluster is not in sync after {wait_timeout:g} s: {lacking}")

    def push(self, databases: t.Iterable[str]) -> None:
        """Start the internal replication between all copies of these databases. Those that are deleted in the meantime are left out.

        https://docs.couchdb.org/en/stable/api/database/shard.html#db-sync-shards
        """

        def push(name: str) -> None:
            with contextlib.suppress(errors.NotFound):
                self.request("POST", (name, "_sync_shards"), body={}, expect=is_ok, repeatable=True)

        in_parallel(push, list(databases))

    def database_states(self, names: t.Sequence[str]) -> dict[str, t.Any]:
        """What changes with each write to these databases, by name. Takes a request for each hundred."""
        pages = [names[start : start + _KEYS] for start in range(0, len(names), _KEYS)]
        answers = in_parallel(lambda page: self.request("POST", ("_dbs_info",), body={"keys": page}).body, pages)
        return {row["key"]: (row.get("info") or {}).get("update_seq") for rows in answers for row in rows}

    def _own_node(self) -> str:
        """The node that answered first: all maps are written there, as writes on two nodes would conflict."""
        if not self._own:
            self._own = self.local_node()
        return self._own
