# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""couchdb_shards: its plans as tables, and the requests that reach the wire."""

from __future__ import annotations

import copy
import json
import typing as t
from urllib.parse import unquote

import pytest
from ansible_collections.couchpy.couchdb.plugins.module_utils import errors
from ansible_collections.couchpy.couchdb.plugins.module_utils._client import wait
from ansible_collections.couchpy.couchdb.plugins.module_utils._client.moves import Moving
from ansible_collections.couchpy.couchdb.plugins.module_utils._client.shards import Sizes
from ansible_collections.couchpy.couchdb.plugins.module_utils._engine import module
from ansible_collections.couchpy.couchdb.plugins.module_utils._engine.plan import diff
from ansible_collections.couchpy.couchdb.plugins.module_utils._resources import _moves
from ansible_collections.couchpy.couchdb.plugins.module_utils._resources import shards as resource
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules import moves as rules
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules.shards import Map, Member, shard_gaps
from ansible_collections.couchpy.couchdb.plugins.module_utils.errors import InvalidInput
from ansible_collections.couchpy.couchdb.tests.unit.clock import Clock
from ansible_collections.couchpy.couchdb.tests.unit.wire import URL, Answers, Wire

PARAMS: dict[str, t.Any] = {
    "databases": None,
    "members": None,
    "copies": None,
    "placement": None,
    "state": "balanced",
    "max_parallel": 4,
    "wait": True,
    "wait_timeout": 60,
}
RANGE = "00000000-ffffffff"
NODES = ["a@h", "b@h", "c@h", "d@h"]
MEMBERS = [Member(name) for name in NODES]


def observed(**nodes: t.Sequence[str]) -> _moves.Observed:
    maps = {name: Map(name, {RANGE: tuple(held)}, len(held), rev="1-a", suffix=".1") for name, held in nodes.items()}
    return _moves.Observed(maps, MEMBERS, sizes=dict.fromkeys(maps, Sizes(10, 1000)))


def told(plan: t.Any) -> list[tuple[int, str, t.Any]]:
    shown = {"enter_maintenance": "node", "leave_maintenance": "node", "delete_copy": "node"}
    rows = []
    for change in plan.changes:
        name = change.call.__name__
        rows.append((change.stage, name, change.arguments[shown.get(name, "database")]))
    return rows


def test_a_copy_is_filled_in_maintenance_mode_before_another_leaves() -> None:
    plan = resource.plan(
        resource.desire({**PARAMS, "members": ["a@h", "b@h", "d@h"]}), observed(orders=["a@h", "b@h", "c@h"])
    )
    assert [row[1:] for row in told(plan)] == [
        ("enter_maintenance", "d@h"),
        ("fill_copies", "orders"),
        ("leave_maintenance", "d@h"),
        ("settle_map", "orders"),
        ("delete_copy", "c@h"),
    ]
    stages = [row[0] for row in told(plan)]
    assert stages == sorted(set(stages)), "each waits for the one before"
    fill, settle = plan.changes[1].arguments, plan.changes[3].arguments
    assert (fill["add"], fill["remove"], fill["number"]) == ([(RANGE, "d@h")], [], 3)
    assert (settle["full"], settle["remove"]) == ([(RANGE, "d@h")], [(RANGE, "c@h")])
    assert diff(plan.changes)["before"]["orders"] == {RANGE: ["a@h", "b@h", "c@h"]}
    assert diff(plan.changes)["after"]["orders"] == {RANGE: ["a@h", "b@h", "d@h"]}
    report = resource.report(resource.desire(PARAMS), plan.predicted, list(plan.changes))
    assert (report["documents"], report["bytes"]) == (10, 1000)
    assert [(row["database"], row["node"]) for row in report["moved"]] == [("orders", "d@h")]
    assert report["databases"] == [{"name": "orders", "copies": 3, "ranges": {RANGE: ["a@h", "b@h", "d@h"]}}]


def test_so_many_databases_are_copied_at_the_same_time() -> None:
    desired = resource.desire({**PARAMS, "members": ["d@h"], "max_parallel": 2})
    plan = resource.plan(desired, observed(**{f"db{number}": ["a@h"] for number in range(5)}))
    stages = [stage for stage, name, _what in told(plan) if name == "fill_copies"]
    assert [stages.count(stage) for stage in sorted(set(stages))] == [2, 2, 1]


def test_nothing_is_to_do() -> None:
    assert resource.plan(resource.desire(PARAMS), observed(orders=["a@h", "b@h", "c@h"])).changes == ()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"copies": 0}, "copies: is 0. Set 1 or more"),
        ({"max_parallel": 0}, "max_parallel: is 0"),
        ({"wait_timeout": 0}, "wait_timeout: is 0"),
        ({"databases": []}, "databases: is empty"),
        ({"databases": ["Orders"]}, "databases: "),
        ({"databases": ["orders", "_dbs"]}, "databases: _dbs is on every node, without a shard map. Remove it"),
        ({"databases": ["_nodes"]}, "databases: _nodes is on every node"),
        ({"members": []}, "members: is empty"),
        ({"members": ["nobody"]}, "members: "),
        ({"placement": {"x": 1}, "copies": 2}, "placement: places 1 copies and copies is 2"),
        ({"copies": 5}, "copies: is 5, and 4 members can have copies"),
        ({"members": ["a@h", "b@h"]}, "members: orders has 3 copies of each shard, and 2 members"),
        ({"members": ["a@h", "b@h", "z@h"]}, "members: z@h: not in the cluster"),
        ({"placement": {"west": 1}}, "placement: no member is in the zone west"),
    ],
)
def test_what_can_not_be_is_refused(options: dict[str, t.Any], message: str) -> None:
    assert message in refusal(options)


def refusal(options: dict[str, t.Any]) -> str:
    """Why the options are refused, whether by themselves or for the cluster, which an earlier task may change."""
    try:
        plan = resource.plan(resource.desire({**PARAMS, **options}), observed(orders=["a@h", "b@h", "c@h"]))
    except InvalidInput as error:
        return str(error)
    return "" if plan.changes else str(plan.unmet)


def test_a_database_that_does_not_exist_is_missing_only_until_it_is_created() -> None:
    plan = resource.plan(resource.desire({**PARAMS, "databases": ["later"]}), observed(orders=["a@h"]))
    assert plan.changes == ()
    assert "databases: later: no such database" in str(plan.unmet)


def test_a_member_that_is_down_is_named_and_nothing_begins_that_needs_it() -> None:
    members = [*MEMBERS[:3], Member("d@h", up=False)]
    now = _moves.Observed(observed(orders=["a@h", "b@h", "c@h"]).maps, members)
    plan = resource.plan(resource.desire({**PARAMS, "members": ["a@h", "b@h", "d@h"]}), now)
    assert plan.changes == ()
    assert str(plan.shortfall) == "d@h is down. Start it"


def test_a_database_that_is_resharded_is_refused() -> None:
    now = _moves.Observed(observed(orders=["a@h"]).maps, MEMBERS, resharding={"orders": "running"})
    with pytest.raises(InvalidInput, match="orders: a resharding job has not ended"):
        resource.plan(resource.desire({**PARAMS, "members": ["d@h"]}), now)


@pytest.mark.parametrize("state", ["running", "stopped"])
def test_no_copy_is_removed_under_a_resharding_job(wire: Wire, state: str) -> None:
    Cluster(wire, NODES[:3])
    wire["GET /_reshard/jobs"] = {"jobs": [{"job_state": state, "source": f"shards/{RANGE}/orders.1"}]}
    with pytest.raises(InvalidInput, match="orders: a resharding job has not ended"):
        run(copies=2)
    assert changing(wire) == []


@pytest.mark.parametrize(
    "options", [{"state": "placed"}, {"copies": 1}, {"copies": 2}, {"members": ["c@h", "d@h"]}], ids=str
)
def test_a_database_that_is_half_split_is_refused(options: dict[str, t.Any]) -> None:
    halves = {RANGE: ("b@h", "c@h"), "00000000-7fffffff": ("a@h",), "80000000-ffffffff": ("a@h",)}
    now = _moves.Observed({**observed(more=["a@h"]).maps, "orders": Map("orders", halves, 2)}, MEMBERS)
    with pytest.raises(InvalidInput, match="databases: orders: ranges overlap, as a split has not ended"):
        resource.plan(resource.desire({**PARAMS, **options}), now)
    names = [member.name for member in MEMBERS]
    assert shard_gaps(now.maps, names, {}) == ["ranges overlap, as a split has not ended: orders"]
    assert resource.plan(resource.desire({**PARAMS, "databases": ["more"], "members": ["d@h"]}), now).changes


def test_system_databases_move_and_say_so() -> None:
    plan = resource.plan(resource.desire({**PARAMS, "members": ["d@h"]}), observed(_users=["a@h"]))
    assert plan.warnings == ("_users: copies of system databases move as well",)


@pytest.mark.parametrize(
    ("size", "warns"), [(9_000_000_000, False), (12_300_000_000, True)], ids=["some data", "much data"]
)
def test_room_on_the_disk_is_worth_a_warning_with_numbers(size: int, warns: bool) -> None:
    now = observed(orders=["a@h"])
    now = _moves.Observed(now.maps, now.members, sizes={"orders": Sizes(500, size)})
    plan = resource.plan(resource.desire({**PARAMS, "members": ["d@h"]}), now)
    expected = "d@h gets about 500 documents in 12.3 GB, and its indexes. CouchDB does not report how much room the disk has: check it"
    assert plan.warnings == ((expected,) if warns else ())


@pytest.mark.parametrize(
    ("welcome", "message"),
    [
        ({"couchdb": "Welcome", "version": "1.7.2"}, "cluster"),
        ({"couchdb": "Welcome", "version": "2.3.1"}, "members that can be managed at this port; it came with 3.0"),
    ],
)
def test_versions_without_shard_maps_say_so(wire: Wire, welcome: dict[str, str], message: str) -> None:
    wire.answers["GET /"] = welcome
    with pytest.raises(errors.Unsupported) as caught:
        run()
    assert message in str(caught.value)
    assert wire.written == []


class Cluster:
    """Nodes that keep shard maps, settings and copies, as far as a move asks for them; each copy is full at once."""

    def __init__(self, wire: Wire, held: t.Sequence[str]) -> None:
        self.modes: dict[str, dict[str, str]] = {name: {} for name in NODES}
        self.rev = 1
        self.document: dict[str, t.Any] = {
            "_id": "orders",
            "_rev": "1-a",
            "shard_suffix": [46, 49],
            "changelog": [["add", RANGE, node] for node in held],
            "by_node": {node: [RANGE] for node in held},
            "by_range": {RANGE: list(held)},
        }
        self.copies: dict[str, dict[str, t.Any]] = {
            node: {
                "revs": 77,
                "security": {"a": 1},
                "local": {"_local/ck": {"_id": "_local/ck", "_rev": "0-2", "seq": 7}},
            }
            for node in held
        }
        #: What each node got of the shard maps, as (node, body).
        self.given: list[tuple[str, t.Any]] = []
        #: The nodes that left the cluster and are still connected.
        self.left: list[str] = []
        self.wire = wire
        self.before = ""
        wire.answers = Answers(wire.answers, self._reply)

    def _reply(self, line: str, body: t.Any) -> t.Any:
        """Return the answer of now: tests replace that method."""
        return self.answer(line, body)

    def answer(self, line: str, body: t.Any) -> t.Any:
        method, _space, rest = line.partition(" ")
        path, _mark, query = rest.partition("?")
        parts = [unquote(part) for part in path.strip("/").split("/")]
        if self.before and line.startswith(self.before):
            raise RuntimeError("killed")
        if parts == ["_membership"]:
            return {"all_nodes": [*NODES, *self.left], "cluster_nodes": NODES}
        if parts == ["_reshard", "jobs"]:
            return {"jobs": []}
        if parts == ["_active_tasks"]:
            return []
        if parts == ["_dbs_info"]:
            return [
                {"key": key, "info": {"doc_count": 5, "cluster": {"q": 1}, "sizes": {"file": 9}}}
                for key in body["keys"]
            ]
        if parts[0] == "orders":
            return 1000 if parts[1] == "_purged_infos_limit" else {"ok": True}
        if parts == ["_node", "_local"]:
            return {"name": "a@h"}
        return self._of_node(method, parts[1], parts[2:], query, body)

    def _of_node(self, method: str, node: str, parts: list[str], query: str, body: t.Any) -> t.Any:
        if parts[0] == "_config":
            if len(parts) == 2:
                return self.modes[node]
            if method == "PUT":
                self.modes[node][parts[2]] = body
            else:
                self.modes[node].pop(parts[2], None)
            return ""
        if parts == ["_nodes", "_all_docs"]:
            return {"rows": [{"id": name, "doc": {"_id": name}} for name in NODES]}
        if parts == ["_dbs", "_all_docs"]:
            return {"rows": [{"id": "orders", "doc": self.document}]}
        if parts == ["_dbs", "_bulk_docs"]:
            self.given.append((node, body))
            return 201, []
        if parts == ["_dbs", "orders"]:
            if method == "PUT":
                assert body["_rev"] == self.document["_rev"]
                self.rev += 1
                self.document = {**copy.deepcopy(body), "_rev": f"{self.rev}-a"}
                for name in self.document["by_range"][RANGE]:
                    self.copies.setdefault(name, {"revs": 1000, "security": {}, "local": {}})
                return 201, {"ok": True, "id": "orders", "rev": self.document["_rev"]}
            if query == "revs=true":
                return {**self.document, "_revisions": {"start": self.rev, "ids": ["a"] * self.rev}}
            return self.document
        if parts == ["_all_dbs"]:
            return [f"shards/{RANGE}/orders.1"] if node in self.copies else []
        return self._of_copy(method, node, parts[1:], body)

    def _of_copy(self, method: str, node: str, parts: list[str], body: t.Any) -> t.Any:
        if node not in self.copies:
            return 404, {"error": "not_found", "reason": "no_db_file"}
        held = self.copies[node]
        if not parts:
            if method == "DELETE":
                del self.copies[node]
                return {"ok": True}
            return {"uuid": node, "doc_count": 5, "doc_del_count": 0, "sizes": {"file": 9}}
        if parts[0] == "_changes":
            return {"results": [], "last_seq": 0}
        if parts[0] in ("_revs_limit", "_security"):
            name = parts[0].split("_")[1]
            if method == "PUT":
                held[name] = body
                return {"ok": True}
            return held[name]
        if parts[0] == "_local_docs":
            return {"rows": [{"id": name, "doc": document} for name, document in held["local"].items()]}
        if method == "PUT":
            number = int(body.pop("_rev", "0-0").split("-")[1]) + 1
            held["local"][f"_local/{parts[1]}"] = {**body, "_rev": f"0-{number}"}
            return 201, {"ok": True}
        return 404, {"error": "not_found", "reason": "missing"}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr("time.sleep", clock.sleep)
    monkeypatch.setattr("time.monotonic", clock.monotonic)


def run(check_mode: bool = False, **options: t.Any) -> module.Outcome:
    server = Moving(URL, {"username": "admin", "password": "secret", "retries": 0})
    return module.carry_out(resource.RESOURCE, resource.desire({**PARAMS, **options}), server, check_mode=check_mode)


def changing(wire: Wire) -> list[str]:
    return [unquote(line) for line in wire.written if changing_line(line)]


TO_D = {"members": ["a@h", "b@h", "d@h"]}
SHARD = f"shards/{RANGE}/orders.1"
FILLED = [
    f"PUT /_node/d@h/{SHARD}/_revs_limit",
    f"PUT /_node/d@h/{SHARD}/_security",
    f"PUT /_node/d@h/{SHARD}/_local/ck",
    "DELETE /_node/d@h/_config/couchdb/maintenance_mode",
    "DELETE /_node/d@h/_config/couchdb/couchpy_maintenance_mode",
    "PUT /_node/a@h/_dbs/orders",
]
"""What is sent for a full copy: its settings and checkpoint, the end of maintenance mode, and the map."""


def test_what_reaches_the_wire(wire: Wire, quick: None) -> None:
    cluster = Cluster(wire, NODES[:3])
    outcome = run(check_mode=True, **TO_D)
    assert outcome.changes
    assert changing(wire) == []
    run(**TO_D)
    assert changing(wire) == [
        "PUT /_node/d@h/_config/couchdb/couchpy_maintenance_mode",
        "PUT /_node/d@h/_config/couchdb/maintenance_mode",
        "PUT /_node/a@h/_dbs/orders",
        *FILLED,
        f"DELETE /_node/c@h/{SHARD}",
    ]
    assert cluster.document["by_range"] == {RANGE: ["a@h", "b@h", "d@h"]}
    assert rules.MARK not in cluster.document
    assert cluster.copies["d@h"] == {
        "revs": 77,
        "security": {"a": 1},
        "local": {"_local/ck": {"_id": "_local/ck", "_rev": "0-2", "seq": 7}},
    }
    assert set(cluster.copies) == {"a@h", "b@h", "d@h"}
    assert cluster.modes == {name: {} for name in NODES}
    assert not run(**TO_D).changes


def test_a_node_that_left_and_is_still_connected_gets_no_maps(wire: Wire, quick: None) -> None:
    Cluster(wire, NODES[:3]).left.append("left@h")
    assert run(**TO_D).changes
    assert not [line for line in wire.asked if "left@h" in unquote(line)]


@pytest.mark.parametrize("number", range(10))
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_run_that_was_killed_is_taken_up(wire: Wire, quick: None, number: int, after: bool) -> None:
    cluster = Cluster(wire, NODES[:3])
    answer, seen = cluster.answer, []

    class Killed(BaseException):
        pass

    def dying(line: str, body: t.Any) -> t.Any:
        if changing_line(line):
            seen.append(line)
            if len(seen) == number + 1:
                if after:
                    answer(line, body)
                raise Killed
        return answer(line, body)

    cluster.answer = dying  # type: ignore[method-assign]
    with pytest.raises(Killed):
        run(**TO_D)
    cluster.answer = answer  # type: ignore[method-assign]
    run(**TO_D)
    assert cluster.document["by_range"] == {RANGE: ["a@h", "b@h", "d@h"]}
    assert rules.MARK not in cluster.document
    assert cluster.copies["d@h"]["revs"] == 77
    assert "_local/ck" in cluster.copies["d@h"]["local"]
    assert set(cluster.copies) == {"a@h", "b@h", "d@h"}
    assert cluster.modes == {name: {} for name in NODES}
    assert not run(**TO_D).changes


def changing_line(line: str) -> bool:
    # What _bulk_docs gives other nodes is what CouchDB brings them as well.
    return not line.startswith("GET") and not line.endswith(("_dbs_info", "_revs_diff", "_sync_shards", "_bulk_docs"))


def test_a_task_that_does_not_wait_begins_and_is_run_again(wire: Wire, quick: None) -> None:
    cluster = Cluster(wire, NODES[:3])
    answer, lagging = cluster.answer, [True]

    def lags(line: str, body: t.Any) -> t.Any:
        if lagging[0] and "/_changes" in line:
            return {"results": [{"seq": 9}], "last_seq": 9}
        return answer(line, body)

    cluster.answer = lags  # type: ignore[method-assign]
    options = {**TO_D, "wait": False}
    checked = run(check_mode=True, **options)
    assert changing(wire) == []
    assert checked.returned["in_progress"] is True
    first = run(**options)
    assert changing(wire) == [
        "PUT /_node/d@h/_config/couchdb/couchpy_maintenance_mode",
        "PUT /_node/d@h/_config/couchdb/maintenance_mode",
        "PUT /_node/a@h/_dbs/orders",
    ]
    assert first.returned["in_progress"] is True
    assert first.returned["waiting_for"] == [
        f"orders: {RANGE} on d@h: it has 5 documents, and change 0 of 9 of a@h",
    ]
    assert [row["node"] for row in first.returned["moved"]] == ["d@h"]
    seen = len(changing(wire))
    second = run(**options)
    assert (second.changes, changing(wire)[seen:], second.returned["in_progress"]) == ([], [], True)
    lagging[0] = False
    third = run(**options)
    assert changing(wire)[seen:] == FILLED
    assert third.returned["in_progress"] is True
    seen = len(changing(wire))
    last = run(**options)
    assert changing(wire)[seen:] == [f"DELETE /_node/c@h/{SHARD}"]
    assert (last.returned["in_progress"], last.returned["waiting_for"]) == (False, [])
    assert not run(**options).changes
    assert cluster.document["by_range"] == {RANGE: ["a@h", "b@h", "d@h"]}
    assert rules.MARK not in cluster.document
    assert cluster.modes == {name: {} for name in NODES}


def test_a_task_that_does_not_wait_fills_so_many_databases_at_the_same_time() -> None:
    desired = resource.desire({**PARAMS, "members": ["d@h"], "max_parallel": 2, "wait": False})
    names = [f"db{number}" for number in range(3)]
    now = observed(**{name: ["a@h"] for name in names})
    assert [row[1:] for row in told(resource.plan(desired, now))] == [
        ("enter_maintenance", "d@h"),
        ("fill_copies", "db0"),
        ("fill_copies", "db1"),
    ]

    def begun(name: str) -> Map:
        return Map(name, {RANGE: ("a@h", "d@h")}, 1, rev="2-a", suffix=".1", filling={RANGE: ("d@h",)})

    members = [*MEMBERS[:3], Member("d@h", mode="true", marked=True)]
    later = _moves.Observed({**now.maps, "db0": begun("db0"), "db1": begun("db1")}, members, unfilled={"db1": "much"})
    assert told(resource.plan(desired, later)) == []
    report = resource.report(desired, later, [])
    assert report["waiting_for"] == ["db1: much"]
    later = _moves.Observed({**later.maps, "db2": now.maps["db2"]}, members)
    assert [row[1:] for row in told(resource.plan(desired, later))] == [("fill_copies", "db2")]


def test_each_node_is_given_a_changed_map_at_once(wire: Wire, quick: None) -> None:
    cluster = Cluster(wire, NODES[:3])
    run(**TO_D)
    # Those of one map are given it in parallel.
    given = [node for node, _body in cluster.given]
    assert [sorted(given[:3]), sorted(given[3:])] == [["b@h", "c@h", "d@h"]] * 2, (
        "all but the one that it was written to"
    )
    first = cluster.given[0][1]
    assert first["new_edits"] is False
    assert [document["_revisions"] for document in first["docs"]] == [{"start": 2, "ids": ["a", "a"]}]
    last = cluster.given[-1][1]["docs"][0]
    assert {key: value for key, value in last.items() if key != "_revisions"} == cluster.document
    assert last["_revisions"] == {"start": 3, "ids": ["a", "a", "a"]}


def test_a_node_that_takes_no_map_gets_it_from_the_others(wire: Wire, quick: None) -> None:
    cluster = Cluster(wire, NODES[:3])
    answer = cluster.answer

    def failing(line: str, body: t.Any) -> t.Any:
        return (500, {"error": "timeout"}) if line.endswith("/_dbs/_bulk_docs") else answer(line, body)

    cluster.answer = failing  # type: ignore[method-assign]
    run(**TO_D)
    assert cluster.document["by_range"] == {RANGE: ["a@h", "b@h", "d@h"]}


def test_a_map_that_another_client_changed_is_planned_again(wire: Wire, quick: None) -> None:
    cluster = Cluster(wire, NODES[:3])
    answer = cluster.answer

    def changed_once(line: str, body: t.Any) -> t.Any:
        if line.startswith("GET /_node/a@h/_dbs/orders") and cluster.rev == 1:
            # A copy is moved by hand.
            document = rules.settled_map(
                rules.changed_map(cluster.document, 3, [(RANGE, "d@h")], [(RANGE, "a@h")]), [(RANGE, "d@h")]
            )
            answer("PUT /_node/a@h/_dbs/orders", document)
        return answer(line, body)

    cluster.answer = changed_once  # type: ignore[method-assign]
    run(members=["b@h", "c@h", "d@h"])
    assert cluster.document["by_range"] == {RANGE: ["b@h", "c@h", "d@h"]}
    assert cluster.modes == {name: {} for name in NODES}


@pytest.mark.parametrize("late", [False, True], ids=["before", "meanwhile"])
def test_a_node_that_an_operator_keeps_in_maintenance_mode_gets_no_copies(wire: Wire, quick: None, late: bool) -> None:
    cluster = Cluster(wire, NODES[:3])
    answer, seen = cluster.answer, []

    def maintained(line: str, body: t.Any) -> t.Any:
        if line.startswith("GET /_node/d@h/_config/couchdb"):
            seen.append(line)
            if len(seen) > late:
                cluster.modes["d@h"]["maintenance_mode"] = "true"
        return answer(line, body)

    cluster.answer = maintained  # type: ignore[method-assign]
    assert str(run(**TO_D).shortfall) == "d@h is in maintenance mode, which another user set. End it first"
    assert changing(wire) == []
    assert cluster.modes["d@h"] == {"maintenance_mode": "true"}


def test_the_maintenance_mode_of_a_node_that_is_filled_again_ends(wire: Wire, quick: None) -> None:
    cluster = Cluster(wire, NODES[:3])
    cluster.modes["c@h"] = {"maintenance_mode": "true"}
    moving = Moving(URL, {"username": "admin", "password": "secret", "retries": 0})
    moving.enter_maintenance("c@h", ["orders"], refill=True)
    assert cluster.modes["c@h"] == {"maintenance_mode": "true", "couchpy_maintenance_mode": "false"}
    moving.leave_maintenance("c@h", ["orders"])
    assert cluster.modes["c@h"] == {}


@pytest.mark.parametrize(
    ("filling", "lacks"), [(["c@h"], ""), (["b@h", "c@h"], f"{RANGE} on c@h: the nodes with full copies are down: a@h")]
)
def test_a_copy_without_a_source_that_is_up_is_not_full(wire: Wire, filling: list[str], lacks: str) -> None:
    cluster = Cluster(wire, NODES[:3])
    cluster.document[rules.MARK] = {"copies": 3, "filling": {RANGE: filling}}
    wire["GET /_membership"] = {"all_nodes": ["b@h", "c@h"], "cluster_nodes": NODES}
    moving = Moving(URL, {"username": "admin", "password": "secret", "retries": 0})
    assert moving._await_copies("orders", [(RANGE, "c@h")], 0, moving._lack, stalled=False) == lacks


def test_a_copy_that_is_not_full_in_time_ends_the_task_and_stays_out_of_service(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster(wire, NODES[:3])
    clock = iter(range(10**6))
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    monkeypatch.setattr("time.monotonic", lambda: float(next(clock)))
    answer = cluster.answer

    def lagging(line: str, body: t.Any) -> t.Any:
        if "/_changes" in line:
            return {"results": [{"seq": 9}], "last_seq": 9}
        return answer(line, body)

    cluster.answer = lagging  # type: ignore[method-assign]
    with pytest.raises(module.Interrupted) as caught:
        run(**TO_D)
    assert isinstance(caught.value.error, errors.NotInSync)
    assert (
        "copies of orders are not full after 60 s without progress: "
        f"{RANGE} on d@h: it has 5 documents, and change 0 of 9 of a@h" in str(caught.value.error)
    )
    assert cluster.modes["d@h"]["maintenance_mode"] == "true"
    assert set(cluster.document["by_range"][RANGE]) == set(NODES), "no copy has left the map"


def test_what_a_wait_for_a_copy_reads_first_has_its_deadline(wire: Wire) -> None:
    cluster = Cluster(wire, NODES[:3])
    left: list[float] = []
    answer = cluster.answer

    def timed(line: str, body: t.Any) -> t.Any:
        left.append(wait.seconds_left())
        return answer(line, body)

    moving = Moving(URL, config={"username": "admin", "password": "secret", "retries": 0})
    moving.dialect  # noqa: B018
    moving._own_node()
    cluster.answer = timed  # type: ignore[method-assign]
    assert moving._await_copies("orders", [(RANGE, "b@h")], 5, moving._lack, stalled=True) == ""
    assert left
    assert max(left) <= 5


def test_requests_that_find_nothing_to_do(wire: Wire) -> None:
    cluster = Cluster(wire, NODES[:3])
    answer = cluster.answer
    rows = [{"id": f"db{number:04}", "doc": {**cluster.document, "_id": f"db{number:04}"}} for number in range(1000)]
    pages = iter([rows, []])

    def many(line: str, body: t.Any) -> t.Any:
        return {"rows": next(pages)} if "/_dbs/_all_docs" in line else answer(line, body)

    cluster.answer = many  # type: ignore[method-assign]
    run(state="placed")
    assert len(wire.asked) <= 20, json.dumps(wire.asked)
