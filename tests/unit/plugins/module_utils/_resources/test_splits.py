# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Splits of a cluster's shards: which node splits when, in maintenance mode or in service, and what is left after a failure."""

from __future__ import annotations

import typing as t
from urllib.parse import unquote

import pytest
from ansible_collections.couchpy.couchdb.plugins.module_utils._client.splits import Splitting
from ansible_collections.couchpy.couchdb.plugins.module_utils._engine import module
from ansible_collections.couchpy.couchdb.plugins.module_utils._engine.plan import diff
from ansible_collections.couchpy.couchdb.plugins.module_utils._resources import databases as resource
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules.shards import Map, Member
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules.splits import Split, turns
from ansible_collections.couchpy.couchdb.tests.unit.clock import Clock
from ansible_collections.couchpy.couchdb.tests.unit.wire import URL, Answers, Wire

WHOLE = "00000000-ffffffff"
HALVES = ["00000000-7fffffff", "80000000-ffffffff"]
NODES = ["a@h", "b@h", "c@h"]
MARK = "couchpy_maintenance_mode"

PARAMS: dict[str, t.Any] = {
    "name": ["orders"],
    "state": "present",
    "shards": 2,
    "replicas": None,
    "partitioned": None,
    "security": None,
    "revs_limit": None,
    "reshard": True,
    "databases": None,
    "wait_timeout": 3600,
}


class Killed(RuntimeError):
    """The task is killed before it sends a request."""


class Cluster:
    """Three nodes with databases of one shard, whose resharding jobs end by the time that they are listed again."""

    def __init__(self, wire: Wire, copies: t.Mapping[str, t.Sequence[str]]) -> None:
        self.modes: dict[str, dict[str, str]] = {name: {} for name in NODES}
        self.ranges: dict[str, dict[str, list[str]]] = {name: {WHOLE: list(nodes)} for name, nodes in copies.items()}
        self.jobs: dict[str, dict[str, t.Any]] = {}
        self.resharding = "running"
        self.filling: dict[str, tuple[str, ...]] = {}
        self.fails: list[str] = []
        self.down: list[str] = []
        #: The nodes that split a copy, as (database, node, whether in maintenance mode).
        self.split: list[tuple[str, str, bool]] = []
        #: Before which changing request the task is killed.
        self.kill_at = 0
        self.changing = 0
        wire.answers = Answers(wire.answers, self.answer)

    @property
    def resting(self) -> list[str]:
        return [node for node, settings in self.modes.items() if settings.get("maintenance_mode") == "true"]

    def answer(self, line: str, body: t.Any) -> t.Any:
        method, _space, rest = line.partition(" ")
        parts = [unquote(part) for part in rest.partition("?")[0].strip("/").split("/")]
        if method in ("PUT", "DELETE") or (method == "POST" and parts[-1] == "jobs"):
            self.changing += 1
            if self.changing == self.kill_at:
                raise Killed
        assert len(self.resting) < 2
        if parts == ["_membership"]:
            return {"all_nodes": [name for name in NODES if name not in self.down], "cluster_nodes": NODES}
        if parts == ["_dbs_info"]:
            rows = ((key, self.ranges[key]) for key in body["keys"])
            return [{"key": key, "info": {"cluster": {"q": len(ranges), "n": 3}}} for key, ranges in rows]
        if parts[0] == "_reshard":
            return self._reshard(method, parts[1:], body)
        if parts[0] == "_node":
            return self._of_node(method, parts[1], parts[2:], body)
        if parts[1] == "_shards":
            return {"shards": self.ranges[parts[0]]}
        assert parts[1] == "_sync_shards", line
        return {"ok": True}

    def _reshard(self, method: str, parts: list[str], body: t.Any) -> t.Any:
        if parts == ["state"]:
            return {"state": self.resharding, "reason": None}
        if len(parts) > 1:
            if method == "DELETE":
                del self.jobs[parts[1]]
            return {"ok": True}
        if method == "POST":
            nodes = [body["node"]] if "node" in body else self.ranges[body["db"]][body["range"]]
            for node in nodes:
                source = f"shards/{body['range']}/{body['db']}.1"
                job = {"id": f"{source}@{node}", "source": source, "node": node, "job_state": "running"}
                self.jobs[job["id"]] = job
            return 201, [{"ok": True, "node": node} for node in nodes]
        shown = [dict(job) for job in self.jobs.values()]
        for job in self.jobs.values():
            if job["node"] in self.fails:
                job["job_state"] = "failed"
            elif job["job_state"] == "running":
                self._end(job)
        return {"jobs": shown}

    def _end(self, job: dict[str, t.Any]) -> None:
        name, node = job["source"].split("/")[2][: -len(".1")], job["node"]
        ranges = self.ranges[name]
        ranges[WHOLE].remove(node)
        if not ranges[WHOLE]:
            del ranges[WHOLE]
        for half in HALVES:
            ranges.setdefault(half, []).append(node)
        job["job_state"] = "completed"
        self.split.append((name, node, node in self.resting))

    def _of_node(self, method: str, node: str, parts: list[str], body: t.Any) -> t.Any:
        if not parts:
            return {"name": "a@h"}
        if parts[0] == "_config":
            if len(parts) == 2:
                return self.modes[node]
            if method == "PUT":
                self.modes[node][parts[2]] = body
            else:
                self.modes[node].pop(parts[2], None)
            return ""
        if parts[:2] == ["_dbs", "_all_docs"]:
            return {"rows": [{"id": name, "doc": self._map(name)} for name in self.ranges]}
        if parts[0] == "_dbs":
            return self._map(parts[1])
        if parts[1:] == ["_changes"]:
            return {"results": [{"seq": 5}], "last_seq": 5}
        if parts[1:2] == ["_local"]:
            return {"seq": 5}
        return {"uuid": f"{parts[0]}@{node}", "doc_count": 5, "doc_del_count": 0}

    def _map(self, name: str) -> dict[str, t.Any]:
        mark = {"couchpy_move": {"copies": 3, "filling": self.filling}}
        return {"_id": name, "_rev": "1-a", "shard_suffix": [46, 49], "by_range": self.ranges[name], **mark}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr("time.sleep", clock.sleep)
    monkeypatch.setattr("time.monotonic", clock.monotonic)


def run(check_mode: bool = False, **options: t.Any) -> module.Outcome:
    server = Splitting(URL, {"username": "admin", "password": "secret", "retries": 0})
    desired = resource.desire({**PARAMS, **options})
    return module.carry_out(resource.RESOURCE, desired, server, check_mode=check_mode)


def calls(cluster: Cluster) -> list[tuple[str, t.Any]]:
    server = Splitting(URL, {"username": "admin", "password": "secret", "retries": 0})
    desired = resource.desire({**PARAMS, "name": list(cluster.ranges)})
    plan = resource.plan(desired, resource.observe(server, desired))
    return [
        (change.call.__name__, change.arguments.get("name") or change.arguments["node"])
        for stage in plan.stages()
        for change in stage
    ]


def test_each_node_splits_its_copies_in_maintenance_mode(wire: Wire) -> None:
    cluster = Cluster(wire, {"orders": NODES, "stock": NODES})
    # The databases of one node are split at the same time, and the nodes one after the other.
    one = [("split_shards", "orders"), ("split_shards", "stock")]
    expected = [[("begin_splits", node), *one, ("end_splits", node)] for node in NODES]
    assert calls(cluster) == [call for calls in expected for call in calls]
    checked = run(check_mode=True, name=["orders", "stock"])
    assert cluster.split == []
    shown = {name: {"cluster": {"q": 1, "n": 3}} for name in cluster.ranges}
    assert diff(checked.changes)["before"] == shown
    outcome = run(name=["orders", "stock"])
    assert diff(outcome.changes) == diff(checked.changes)
    assert sorted(cluster.split) == [(name, node, True) for name in ("orders", "stock") for node in NODES]
    assert [node for _name, node, _resting in cluster.split[::2]] == NODES
    assert (cluster.modes, cluster.jobs) == ({node: {} for node in NODES}, {})
    assert run(name=["orders", "stock"]).changes == []


@pytest.mark.parametrize("copies", [["a@h", "b@h"], ["a@h"]])
def test_a_node_that_the_others_cannot_do_without_splits_in_service(wire: Wire, copies: list[str]) -> None:
    cluster = Cluster(wire, {"orders": NODES, "small": copies})
    outcome = run(name=["orders", "small"])
    for name, node, resting in cluster.split:
        assert resting == (name == "orders" and node not in copies)
    reason = f"too few copies of small {WHOLE} are in service: {len(copies) - 1} of {len(copies)}"
    assert outcome.warnings == [
        f"{name} is split in service, as {reason}. Until CouchDB has copied the last writes, reads can lack them"
        for name in ("orders", "small")
    ]
    assert (cluster.resting, cluster.jobs) == ([], {})


def test_a_node_alone_splits_in_service_without_a_word(wire: Wire) -> None:
    cluster = Cluster(wire, {"orders": ["a@h"]})
    assert run().warnings == []
    assert cluster.split == [("orders", "a@h", False)]
    assert not any("_membership" in line or "maintenance" in line for line in wire.asked)


@pytest.mark.parametrize(
    ("node", "settings", "filling", "reason"),
    [
        ("c@h", {"maintenance_mode": "true"}, (), "c@h is in maintenance mode, which another user set"),
        ("b@h", {"maintenance_mode": "true", MARK: "false"}, ("b@h",), "copies on b@h are not full"),
    ],
)
def test_the_maintenance_mode_of_others_stays(
    wire: Wire, node: str, settings: dict[str, str], filling: tuple[str, ...], reason: str
) -> None:
    cluster = Cluster(wire, {"orders": NODES})
    cluster.modes[node] = dict(settings)
    cluster.filling = {WHOLE: filling}
    (warning,) = run().warnings
    assert reason in warning
    assert cluster.modes[node] == settings
    assert sorted(cluster.ranges["orders"]) == HALVES


def test_a_node_returns_into_service_when_its_split_fails(wire: Wire) -> None:
    cluster = Cluster(wire, {"orders": NODES})
    cluster.fails = ["b@h"]
    with pytest.raises(module.Interrupted, match=f"splitting shards/{WHOLE}/orders.1 on b@h failed twice"):
        run()
    assert cluster.modes == {node: {} for node in NODES}
    assert cluster.split == [("orders", "a@h", True)]
    cluster.fails = []
    run()
    assert sorted(cluster.split) == [("orders", node, True) for node in NODES]
    assert cluster.jobs == {}


def test_no_node_rests_where_resharding_is_stopped(wire: Wire) -> None:
    cluster = Cluster(wire, {"orders": NODES})
    cluster.resharding = "stopped"
    with pytest.raises(module.Interrupted, match="resharding is stopped on the cluster"):
        run()
    assert cluster.changing == 0


def test_a_split_that_was_killed_is_carried_on(wire: Wire) -> None:
    """Wherever that was: no node stays in maintenance mode, and none splits in service."""
    number, left = 1, []
    while True:
        cluster = Cluster(wire, {"orders": NODES})
        cluster.kill_at = number
        try:
            run()
            break
        except Killed:
            cluster.kill_at = 0
        outcome = run()
        assert outcome.warnings == []
        assert sorted(cluster.split) == [("orders", node, True) for node in NODES], number
        assert cluster.modes == {node: {} for node in NODES}, number
        assert run().changes == []
        left.append(len(cluster.jobs))
        number += 1
    # Only a task that was killed before its last request leaves a job, which is completed.
    assert left == [0] * (number - 2) + [1]
    assert number == 19


def test_what_is_left_of_a_killed_split_is_a_change(wire: Wire) -> None:
    cluster = Cluster(wire, {"orders": NODES})
    run()
    cluster.modes["c@h"] = {"maintenance_mode": "true", MARK: "false"}
    assert run().changes == [], "another task may have put it there"
    source = f"shards/{WHOLE}/orders.1"
    cluster.jobs["j"] = {"id": "j", "source": source, "node": "c@h", "job_state": "completed"}
    outcome = run()
    assert diff(outcome.changes) == {
        "before": {"c@h": {"maintenance_mode": "true"}},
        "after": {"c@h": {"maintenance_mode": "false"}},
    }
    assert (cluster.modes["c@h"], cluster.jobs) == ({}, {})


def test_the_node_that_rests_already_is_the_first() -> None:
    members = [Member("a@h"), Member("b@h", mode="true", marked=True), Member("c@h")]
    maps = {"orders": Map("orders", {WHOLE: tuple(NODES)}, 3)}
    found = turns({"orders": Split({WHOLE: NODES})}, {"orders": 2}, maps, members)
    assert list(found.nodes) == ["b@h", "a@h", "c@h"]
    assert found.serving == {}
