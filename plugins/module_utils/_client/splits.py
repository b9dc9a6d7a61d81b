# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Splits: has CouchDB split the shards of databases, on one node after the other, while the others serve."""

from __future__ import annotations

import contextlib
import json
import typing as t

from .. import errors
from .._rules.names import shard_database
from .._rules.shards import Map, Member
from .._rules.splits import Split, split_problem, unsplit
from .databases import Databases
from .maintenance import Maintenance
from .parallel import in_parallel
from .wait import wait_until

_RETURN = 60.0
"""Seconds without progress for which a node that could not split its copies is given the last writes, before it stays in maintenance mode."""


class Splitting(Maintenance, Databases):
    """The part of Client that splits shards."""

    def splits(self, names: t.Sequence[str]) -> dict[str, Split]:
        """The ranges of these databases by name, with the nodes that have them and those that have resharding jobs.

        Takes a request for each, and one more. Raises Unsupported before CouchDB 3.0.

        https://docs.couchdb.org/en/stable/api/server/common.html#get--_reshard-jobs
        """
        self.dialect.check_cluster()
        jobs = self._jobs()

        def split(name: str) -> Split:
            mine = [job for job in jobs if shard_database(job["source"]) == name]
            busy = {job["node"] for job in mine if job["job_state"] != "completed"}
            return Split(self._shard_nodes(name), busy, {job["node"] for job in mine} - busy)

        return dict(zip(names, in_parallel(split, names)))

    def split_service(self, splits: t.Iterable[Split], shards: t.Iterable[int]) -> tuple[dict[str, Map], list[Member]]:
        """The shard maps of all databases and the members of the cluster, as far as they matter for these splits.

        Takes a request and one for each member, then another for each thousand databases if there is something to split; none if
        one node has all copies.
        """
        found = list(zip(splits, shards))
        if len({node for split, _number in found for node in split.nodes}) < 2:
            return {}, []
        members = self.members_seen()
        marked = {member.name for member in members if member.marked}
        needed = any(split.work(number) or marked.intersection(split.ended) for split, number in found)
        return self.shard_maps() if needed else {}, members

    def begin_splits(self, node: str, databases: t.Sequence[str]) -> None:
        """Put a node in maintenance mode, so that it can split its copies: see enter_maintenance().

        Raises ReshardFailed if resharding is stopped on the cluster.
        """
        self._check_resharding()
        self.enter_maintenance(node, databases)

    def end_splits(
        self, node: str, databases: t.Sequence[str], split: t.Sequence[str], wait_timeout: float = 3600
    ) -> None:
        """Put a node back into service that has split its copies of the databases C(split): see leave_maintenance()."""
        self.leave_maintenance(node, databases, split, wait_timeout)
        # Until now, its jobs say that the node is to be put back into service if this process ends. Those of other nodes are left over.
        for job in self._jobs():
            if shard_database(job["source"]) in split and job["job_state"] == "completed":
                self.request("DELETE", ("_reshard", "jobs", job["id"]), accept=(404,))

    def split_shards(
        self,
        name: str,
        shards: int,
        wait_timeout: float = 3600,
        node: str | None = None,
        databases: t.Sequence[str] = (),
    ) -> dict[str, t.Any]:
        """Split the shards of a database until it has so many, wait until that is done, and remove the jobs.

        With C(node), only the copies on that node, which begin_splits() has put in maintenance mode; C(databases) are those with
        copies there. Its completed jobs stay until end_splits(). If the split fails, the node goes back into service.

        Running jobs are waited for, stopped ones resumed, and a failed one is retried once. Raises ReshardFailed, with
        CouchDB's reason, if it fails again, if resharding is stopped on the cluster, if its ranges can't become so many, and after
        C(wait_timeout) seconds without progress.

        https://docs.couchdb.org/en/stable/cluster/sharding.html#splitting-shards
        """
        try:
            self._split(name, shards, wait_timeout, node)
        except errors.CouchDBError:
            if node is not None:
                with contextlib.suppress(errors.CouchDBError):
                    self.leave_maintenance(node, databases, [name], min(wait_timeout, _RETURN))
            raise
        return {"ok": True}

    def _split(self, name: str, shards: int, wait_timeout: float, node: str | None) -> None:
        failures: dict[str, str] = {}
        begun = False

        def look() -> str:
            nonlocal begun
            jobs = [
                job
                for job in self._jobs()
                if shard_database(job["source"]) == name
                and (node is None or (job["node"] == node and job["job_state"] != "completed"))
            ]
            begun = begun or bool(jobs)
            for job in jobs:
                self._advance(job, failures)
            if jobs:
                return ", ".join(sorted(_state(job) for job in jobs))
            ranges = self._shard_nodes(name)
            problem = split_problem(ranges, shards)
            if problem:
                # A split is final, so none is begun that would lead to another number.
                raise errors.ReshardFailed(f"{name} can't be split to {shards} shards. {problem}")
            left = [range_ for range_ in unsplit(ranges, shards) if node is None or node in ranges[range_]]
            if left:
                self._check_resharding()
                begun = True
                self._begin_split(name, left, node)
            return ", ".join(left)

        try:
            lacking = wait_until(look, wait_timeout, f"the shards of {name} to be split", self.progress, stalled=True)
        except errors.Unreachable as error:
            # Without a job, there were reads only.
            error.sent = error.sent and begun
            raise
        if lacking:
            raise errors.ReshardFailed(f"splitting {name} makes no progress for {wait_timeout:g} s: {lacking}")

    def _jobs(self) -> list[dict[str, t.Any]]:
        return t.cast("list[dict[str, t.Any]]", self.request("GET", ("_reshard", "jobs")).body["jobs"])

    def _shard_nodes(self, name: str) -> dict[str, list[str]]:
        """The ranges of a database, with the nodes that have copies."""
        return t.cast("dict[str, list[str]]", self.request("GET", (name, "_shards")).body["shards"])

    def _check_resharding(self) -> None:
        """Raise ReshardFailed if resharding is stopped on the cluster."""
        state = self.request("GET", ("_reshard", "state")).body
        if state["state"] != "running":
            raise errors.ReshardFailed(
                f"resharding is {state['state']} on the cluster: {state.get('reason')}. Set it to running with PUT /_reshard/state"
            )

    def _begin_split(self, name: str, ranges: t.Sequence[str], node: str | None) -> None:
        for range_ in ranges:
            body = {"type": "split", "db": name, "range": range_, **({"node": node} if node else {})}
            rows = self.request("POST", ("_reshard", "jobs"), body=body, accept=(500,)).body
            refused = [row for row in rows if "error" in row] if isinstance(rows, list) else [rows]
            if refused:
                raise errors.ReshardFailed(
                    f"CouchDB refuses to split {name} {range_} on {refused[0].get('node')}: {refused[0].get('error')}"
                )

    def _advance(self, job: dict[str, t.Any], failures: dict[str, str]) -> None:
        """Handle a job of a split: remove a finished one, resume a stopped one."""
        path = ("_reshard", "jobs", job["id"])
        state = job["job_state"]
        if state == "completed":
            self.request("DELETE", path, accept=(404,))
        elif state == "stopped":
            self.request("PUT", (*path, "state"), body={"state": "running"}, accept=(404,))
        elif state == "failed":
            reason = str((job.get("state_info") or {}).get("reason"))
            place = f"{job['source']} on {job['node']}"
            if place in failures:
                raise errors.ReshardFailed(f"splitting {place} failed twice: {reason}")
            failures[place] = reason
            self.request("DELETE", path, accept=(404,))


def _state(job: t.Mapping[str, t.Any]) -> str:
    """How far a job of a split is."""
    info = f" {json.dumps(job['state_info'], sort_keys=True)}" if job.get("state_info") else ""
    return f"{job['job_state']}/{job.get('split_state')} on {job['node']}{info}"
