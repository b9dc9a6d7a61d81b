# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""couchdb_restart: its plans, and what reaches the wire of a cluster whose nodes go down and start, on a clock of its own."""

from __future__ import annotations

import re
import signal
import time
import typing as t
from dataclasses import dataclass, field

import pytest
from ansible_collections.couchpy.couchdb.plugins.module_utils import errors
from ansible_collections.couchpy.couchdb.plugins.module_utils._client import wait
from ansible_collections.couchpy.couchdb.plugins.module_utils._engine import module
from ansible_collections.couchpy.couchdb.plugins.module_utils._engine.plan import diff
from ansible_collections.couchpy.couchdb.plugins.module_utils._resources import restart as resource
from ansible_collections.couchpy.couchdb.tests.unit.clock import Clock
from ansible_collections.couchpy.couchdb.tests.unit.wire import URL, InTurn, Wire, client

RESOURCE = resource.RESOURCE
PARAMS: dict[str, t.Any] = {
    "nodes": ["all"],
    "maintenance_mode": False,
    "drain_time": 10,
    "wait": True,
    "wait_timeout": 120,
    "force": False,
    "phase": "all",
    "final_mode": "false",
}
BADRPC = "{badrpc,\n    {'EXIT',\n        {noproc,\n            {gen_server,call,[mem3_sync,get_backlog]}}}}"


@dataclass
class Node:
    """A node: when it started and was asked to restart, and how it does that. ``mode`` is in memory, ``kept`` in its files."""

    name: str
    started: float
    asked: float | None = None
    lingers: float = 0.1
    away: float = 2.0
    deaf: float = 0.15
    backlog: int = 0
    mode: str | None = None
    kept: str | None = None
    mark: str | None = None
    is_up: bool = True
    modes: list[tuple[str | None, str | None]] = field(default_factory=list)


def shards_of(name: str, nodes: list[str], **more: t.Any) -> dict[str, t.Any]:
    """A shard map of one range."""
    return {"_id": name, "_rev": "1-a", "by_range": {"00000000-ffffffff": nodes}, **more}


class Fleet:
    """A cluster of CouchDB nodes n1@h, n2@h, ... behind the wire, of which the first answers."""

    def __init__(self, wire: Wire, clock: Clock, size: int = 3) -> None:
        self.wire, self.clock = wire, clock
        self.nodes = {f"n{number}@h": Node(f"n{number}@h", clock.now - 100 * number) for number in range(1, size + 1)}
        self.restarts: list[tuple[str, list[str]]] = []
        self.maps: list[dict[str, t.Any]] = [shards_of("orders", list(self.nodes))]
        self.jobs: list[dict[str, str]] = []
        wire["GET /"] = self.answering(lambda: (200, {"couchdb": "Welcome", "version": "3.4.3", "uuid": "u"}))
        wire["GET /_membership"] = self.answering(
            lambda: (200, {"all_nodes": self.connected(), "cluster_nodes": list(self.nodes)})
        )
        wire["GET /_node/_local"] = self.answering(lambda: (200, {"name": "n1@h"}))
        wire["GET /_up"] = self.answering(self.up)
        wire["POST /_dbs_info"] = self.answering(lambda: (200, [{"key": "orders", "info": {"update_seq": "1-a"}}]))
        wire["GET /_reshard/jobs"] = self.answering(lambda: (200, {"jobs": self.jobs}))
        for node in self.nodes.values():
            section = f"/_node/{node.name}/_config/couchdb"
            setting, mark = f"{section}/maintenance_mode", f"{section}/couchpy_maintenance_mode"
            wire[f"GET {section}"] = self.of(node, self.read_section)
            wire[f"PUT {mark}"] = wire[f"DELETE {mark}"] = self.of(node, self.write_mark)
            wire[f"GET /_node/{node.name}/_dbs/_all_docs?include_docs=true&limit=1000"] = self.of(node, self.read_maps)
            wire[f"GET /_node/{node.name}/_system"] = self.of(node, self.system)
            wire[f"GET {setting}"] = self.of(node, self.read_mode)
            wire[f"PUT {setting}"] = self.of(node, self.write_mode)
            wire[f"DELETE {setting}"] = self.of(node, self.write_mode)
            wire[f"POST /_node/{node.name}/_restart"] = self.of(node, self.restart)

    def __getitem__(self, number: int) -> Node:
        return self.nodes[f"n{number}@h"]

    def state(self, node: Node) -> str:
        """up, dying, down, or starting when it can be asked and does not listen yet."""
        if not node.is_up:
            return "down"
        if node.asked is None:
            return "up"
        since = self.clock.now - node.asked
        if since < node.lingers:
            return "up"
        if since < node.lingers + node.away:
            return "dying" if since < node.lingers + node.away / 2 else "down"
        if node.started < node.asked:
            node.started, node.mode = node.asked + node.lingers + node.away, node.kept
        return "up" if since >= node.lingers + node.away + node.deaf else "starting"

    def connected(self) -> list[str]:
        return [name for name, node in self.nodes.items() if self.state(node) != "down"]

    def answering(self, answer: t.Callable[..., t.Any]) -> t.Callable[[t.Any], t.Any]:
        def reply(body: t.Any) -> t.Any:
            self.clock.now += 0.01
            if self.state(self[1]) != "up":
                raise ConnectionRefusedError(111, "refused")
            return answer()

        return reply

    def of(self, node: Node, answer: t.Callable[[Node, t.Any], t.Any]) -> t.Callable[[t.Any], t.Any]:
        def reply(body: t.Any) -> t.Any:
            def asked() -> t.Any:
                state = self.state(node)
                if state == "down":
                    return 412, {"error": "nodedown", "reason": f"{node.name} is down"}
                if state == "dying":
                    return 500, {"error": "invalid_ejson", "reason": BADRPC}
                return answer(node, body)

            return self.answering(asked)(body)

        return reply

    def system(self, node: Node, body: t.Any) -> t.Any:
        others = {name: {} for name in self.connected() if name != node.name}
        return 200, {
            "uptime": int(self.clock.now - node.started),
            "message_queues": {"chttpd": 0} if self.state(node) == "up" else {"couch_server": 0},
            "distribution": others,
            "internal_replication_jobs": node.backlog,
        }

    def up(self) -> t.Any:
        words = {"true": "maintenance_mode", "nolb": "nolb"}
        return (404, {"status": words[self[1].mode]}) if self[1].mode in words else (200, {"status": "ok"})

    def read_maps(self, node: Node, body: t.Any) -> t.Any:
        return 200, {"rows": [{"id": map_["_id"], "doc": map_} for map_ in self.maps]}

    def read_mode(self, node: Node, body: t.Any) -> t.Any:
        return (
            (404, {"error": "not_found", "reason": "unknown_config_value"}) if node.mode is None else (200, node.mode)
        )

    def read_section(self, node: Node, body: t.Any) -> t.Any:
        settings = {"maintenance_mode": node.mode, "couchpy_maintenance_mode": node.mark}
        return 200, {key: value for key, value in settings.items() if value is not None}

    def write_mode(self, node: Node, body: t.Any) -> t.Any:
        old, node.mode = node.mode, body
        persist = self.wire.headers[-1].get("X-Couch-Persist")
        if persist is None:
            node.kept = body
        node.modes.append((body, persist))
        return 200, old or ""

    def write_mark(self, node: Node, body: t.Any) -> t.Any:
        old, node.mark = node.mark, body
        return 200, old or ""

    def restart(self, node: Node, body: t.Any) -> t.Any:
        assert body == {}
        self.restarts.append((node.name, [name for name, each in self.nodes.items() if self.state(each) == "up"]))
        node.asked = self.clock.now
        return 200, {"ok": True}


@pytest.fixture
def fleet(wire: Wire, clock: Clock) -> Fleet:
    """A cluster of three nodes."""
    return Fleet(wire, clock)


def carry_out(check_mode: bool = False, **params: t.Any) -> module.Outcome:
    desired = RESOURCE.desire({**PARAMS, **params})
    return module.carry_out(RESOURCE, desired, client(), check_mode=check_mode)


def stopped(**params: t.Any) -> dict[str, t.Any]:
    """What a run that fails in the middle reports."""
    with pytest.raises(module.Interrupted) as stop:
        carry_out(**params)
    return module.failure(stop.value.error, stop.value.progress)


ALL = ["n1@h", "n2@h", "n3@h"]


def test_nodes_restart_one_after_the_other_and_the_one_that_answers_last(fleet: Fleet) -> None:
    outcome = carry_out()
    assert fleet.restarts == [("n2@h", ALL), ("n3@h", ALL), ("n1@h", ALL)]
    told = outcome.returned["nodes"]
    assert [node["name"] for node in told] == ["n2@h", "n3@h", "n1@h"]
    assert [node["uptime_after"] for node in told] == [0, 0, 0]
    assert [node["uptime_before"] for node in told] == [200, 302, 105]
    # 0.1 s until it goes, 2 s away, 0.15 s until it listens; seen at the next look.
    assert all(2.25 <= node["seconds_away"] <= 2.6 for node in told)
    assert fleet.wire.written == [f"POST /_node/{name}/_restart" for name in ("n2@h", "n3@h", "n1@h")]
    assert diff(outcome.changes)["after"] == {name: {"uptime": 0} for name in ALL}


def test_check_mode_only_reads_and_predicts(fleet: Fleet) -> None:
    outcome = carry_out(check_mode=True, maintenance_mode=True)
    assert fleet.wire.written == []
    assert [str(change) for change in outcome.changes] == [f"restart node {name}" for name in ("n2@h", "n3@h", "n1@h")]
    unknown = {"uptime_after": None, "seconds_away": None}
    assert outcome.returned["nodes"] == [
        {"name": "n2@h", "uptime_before": 200, **unknown},
        {"name": "n3@h", "uptime_before": 300, **unknown},
        {"name": "n1@h", "uptime_before": 100, **unknown},
    ]


@pytest.mark.parametrize(
    ("named", "order"),
    [
        (["_local"], ["n1@h"]),
        (["_local", "n1@h"], ["n1@h"]),
        (["n1@h", "n3@h"], ["n3@h", "n1@h"]),
        (["n3@h", "n2@h", "_local"], ["n3@h", "n2@h", "n1@h"]),
        (["n3@h", "all"], ["n2@h", "n3@h", "n1@h"]),
    ],
)
def test_which_nodes_restart(fleet: Fleet, named: list[str], order: list[str]) -> None:
    carry_out(nodes=named)
    assert [name for name, _up in fleet.restarts] == order


def test_a_single_node_restarts(wire: Wire, clock: Clock) -> None:
    fleet = Fleet(wire, clock, 1)
    assert carry_out(nodes=["_local"]).returned["nodes"][0]["uptime_after"] == 0
    assert fleet.restarts == [("n1@h", ["n1@h"])]


def test_a_single_node_that_does_not_show_its_name_restarts(wire: Wire, clock: Clock) -> None:
    Fleet(wire, clock, 1)
    wire["GET /_node/_local"] = 404, {"error": "not_found", "reason": "missing"}
    assert carry_out(nodes=["_local"]).returned["nodes"][0]["name"] == "n1@h"


@pytest.mark.parametrize("maintenance_mode", [True, False])
def test_each_request_of_a_restart_has_a_deadline(fleet: Fleet, maintenance_mode: bool) -> None:
    left: dict[str, list[float]] = {}

    def timed(line: str, answer: t.Any) -> t.Callable[[t.Any], t.Any]:
        def reply(body: t.Any) -> t.Any:
            left.setdefault(line, []).append(wait.seconds_left())
            return answer(body)

        return reply

    carried = fleet.wire.answers
    for line in [line for line in carried if "/n2@h/" in line or line == "GET /_node/_local"]:
        carried[line] = timed(line, carried[line])
    carry_out(nodes=["n2@h"], wait_timeout=7, maintenance_mode=maintenance_mode, drain_time=1)
    # What is read before it begins has none.
    for line in ("GET /_node/_local", "GET /_node/n2@h/_system", "GET /_node/n2@h/_config/couchdb"):
        assert left[line].pop(0) == float("inf")
    assert max(max(each) for each in left.values() if each) == 7
    assert len(left) == (9 if maintenance_mode else 5)


def test_a_restart_that_fails_is_undone_in_time(fleet: Fleet) -> None:
    left: list[float] = []

    def mode(body: t.Any) -> t.Any:
        left.append(wait.seconds_left())
        return 200, "false"

    fleet.wire["GET /_node/n2@h/_config/couchdb/maintenance_mode"] = mode
    fleet[2].away = 1e6
    stopped(nodes=["n2@h"], wait_timeout=7)
    assert left == [7, 7]


@pytest.mark.parametrize("named", [["n1@h"], ["all"], ["n2@h", "n3@h"]])
def test_no_node_restarts_while_another_is_in_maintenance_mode(fleet: Fleet, named: list[str]) -> None:
    fleet[2].mode = "true"
    with pytest.raises(errors.NotInSync, match=r"others of the cluster are in maintenance mode: n2@h\. End that first"):
        carry_out(nodes=named)
    assert fleet.restarts == []
    carry_out(nodes=named, force=True)
    assert fleet.restarts


def test_the_node_in_maintenance_mode_itself_restarts(fleet: Fleet) -> None:
    fleet[2].mode = "true"
    carry_out(nodes=["n2@h"])
    assert [name for name, _up in fleet.restarts] == ["n2@h"]
    fleet[2].mode = "nolb"
    carry_out(nodes=["n1@h"])
    assert [name for name, _up in fleet.restarts] == ["n2@h", "n1@h"]


def test_a_member_whose_maintenance_ends_is_waited_for(fleet: Fleet) -> None:
    setting = "GET /_node/n3@h/_config/couchdb/maintenance_mode"
    # Another task drains it meanwhile.
    fleet.wire[setting] = InTurn(
        [(404, {"error": "not_found"}), (200, "true"), (200, "true"), (404, {"error": "not_found"})]
    )
    carry_out(nodes=["n2@h"])
    assert [name for name, _up in fleet.restarts] == ["n2@h"]
    assert fleet.wire.asked.count(setting) >= 4


STATES = "POST /_dbs_info"


def test_a_node_is_taken_out_of_service_for_another_tool(fleet: Fleet) -> None:
    (row,) = carry_out(nodes=["n2@h"], phase="drain", drain_time=7).returned["nodes"]
    assert row == {
        "name": "n2@h",
        "uptime_before": 200,
        "uptime_after": None,
        "seconds_away": None,
        "mode_before": "false",
    }
    assert fleet[2].modes == [("true", "false")]
    assert 7 in fleet.clock.pauses
    assert fleet.restarts == []
    assert not carry_out(nodes=["n2@h"], phase="drain").changes


def test_a_node_that_is_needed_stays_in_service(fleet: Fleet) -> None:
    fleet[3].backlog = 2
    said = "n2@h was not drained, as the cluster is not in sync: n3@h has 2 shards to copy to other nodes"
    with pytest.raises(module.Interrupted, match=said):
        carry_out(nodes=["n2@h"], phase="drain", wait_timeout=5)
    assert fleet[2].modes == []
    # One that is in maintenance mode already waits all the same.
    fleet[2].mode = "true"
    with pytest.raises(errors.NotInSync, match="n3@h has 2 shards"):
        carry_out(nodes=["n2@h"], phase="drain", wait_timeout=5)


@pytest.mark.parametrize(
    ("final", "written"), [("false", [("false", "false")]), ("nolb", [("nolb", "false")]), ("true", [])]
)
def test_a_node_serves_again_once_it_has_the_last_writes(
    fleet: Fleet, final: str, written: list[tuple[str, str]]
) -> None:
    fleet[2].mode, seqs = "true", iter(range(100))
    pushed = "POST /orders/_sync_shards"
    fleet.wire[STATES] = lambda body: (200, [{"key": "orders", "info": {"update_seq": f"{next(seqs)}-a"}}])
    fleet.wire[pushed] = {"ok": True}
    (row,) = carry_out(nodes=["n2@h"], phase="rejoin", final_mode=final).returned["nodes"]
    assert row["mode_before"] == "true"
    assert fleet[2].modes == written
    if written:
        asked = fleet.wire.asked
        ended = asked.index("PUT /_node/n2@h/_config/couchdb/maintenance_mode")
        assert pushed in asked[:ended]
        assert pushed in asked[ended:]


def test_databases_that_are_not_written_to_are_not_pushed(fleet: Fleet) -> None:
    fleet[2].mode = "true"
    fleet.wire[STATES] = [{"key": "orders", "info": {"update_seq": "1-a"}}]
    carry_out(nodes=["n2@h"], phase="rejoin")
    assert fleet.wire.written == ["PUT /_node/n2@h/_config/couchdb/maintenance_mode"]


def test_a_node_that_is_not_in_sync_does_not_serve_again(fleet: Fleet) -> None:
    fleet[2].mode, fleet[2].backlog = "true", 3
    fleet.wire[STATES] = [{"key": "orders", "info": {"update_seq": "1-a"}}]
    with pytest.raises(module.Interrupted, match="n2@h has 3 shards to copy"):
        carry_out(nodes=["n2@h"], phase="rejoin", wait_timeout=5)
    assert fleet.wire.written == []


JOB = {"source": "shards/00000000-ffffffff/orders.1", "job_state": "running"}
UNFILLED = {"couchpy_move": {"copies": 2, "filling": {"00000000-ffffffff": ["n3@h"]}}}


@pytest.mark.parametrize(
    ("map_", "jobs", "lacking"),
    [
        (shards_of("orders", ["n1@h", "n2@h", "n3@h"], **UNFILLED), [], "copies are not full yet: orders"),
        (shards_of("orders", ["n1@h", "gone@h"]), [], "gone@h is not a member, and has shards of orders"),
        (shards_of("orders", ["n1@h", "n2@h"]), [JOB], "resharding jobs have not ended: orders (running)"),
    ],
)
def test_no_node_restarts_before_the_shards_are_in_sync(
    fleet: Fleet, map_: t.Any, jobs: list[dict[str, str]], lacking: str
) -> None:
    fleet.maps, fleet.jobs = [map_], jobs
    with pytest.raises(
        module.Interrupted, match=re.escape(f"n2@h was not asked to restart, as the cluster is not in sync: {lacking}")
    ):
        carry_out(nodes=["n2@h"], wait_timeout=5)
    assert fleet.restarts == []
    carry_out(nodes=["n2@h"], force=True)
    assert [name for name, _up in fleet.restarts] == ["n2@h"]


def test_a_split_that_ends_is_waited_for(fleet: Fleet) -> None:
    fleet.wire["GET /_reshard/jobs"] = InTurn([{"jobs": [JOB]}, {"jobs": [JOB]}, {"jobs": []}])
    carry_out(nodes=["n2@h"])
    assert [name for name, _up in fleet.restarts] == ["n2@h"]


@pytest.mark.parametrize("number", [1, 2])
def test_an_answer_of_before_is_no_proof(fleet: Fleet, number: int) -> None:
    node = fleet[number]
    node.lingers, node.started = 7, fleet.clock.now - 0.3
    (told,) = carry_out(nodes=[node.name]).returned["nodes"]
    assert told["seconds_away"] >= 9.15
    assert told["uptime_after"] == 0


def test_a_node_that_is_down_for_longer_than_it_was_up_is_proved_back(fleet: Fleet) -> None:
    fleet[2].started, fleet[2].away = fleet.clock.now - 1, 60
    (told,) = carry_out(nodes=["n2@h"]).returned["nodes"]
    assert 60 <= told["seconds_away"] <= 65
    # The longer it takes, the rarer it is asked.
    assert len(fleet.wire.asked) < 120


def test_the_next_waits_until_nothing_is_left_to_be_copied(fleet: Fleet) -> None:
    asked = fleet.restart

    def restart(node: Node, body: t.Any) -> t.Any:
        if fleet.restarts:
            assert fleet.clock.now >= 1030
        fleet[3].backlog = 8
        return asked(node, body)

    def system(node: Node, body: t.Any) -> t.Any:
        if fleet.clock.now >= 1030:
            fleet[3].backlog = 0
        return fleet.system(node, body)

    for name in ("n2@h", "n3@h"):
        fleet.wire[f"POST /_node/{name}/_restart"] = fleet.of(fleet.nodes[name], restart)
    fleet.wire["GET /_node/n3@h/_system"] = fleet.of(fleet[3], system)
    told = carry_out(nodes=["n2@h", "n3@h"]).returned["nodes"]
    assert told[0]["seconds_away"] < 3
    assert len(fleet.restarts) == 2


def test_a_node_that_does_not_restart_ends_the_task(fleet: Fleet) -> None:
    fleet[3].away = 1e6
    result = stopped(wait_timeout=30)
    assert [name for name, _up in fleet.restarts] == ["n2@h", "n3@h"]
    assert result["changed"] is True
    assert result["changes_done"] == ["restart node n2@h"]
    assert result["changes_failed"] == ["restart node n3@h"]
    assert result["changes_undone"] == ["restart node n1@h"]
    asked_at = time.strftime("%H:%M:%S UTC", time.gmtime(fleet[3].asked or 0))
    assert f"n3@h was asked to restart at {asked_at}, and 30 s later is not up" in result["msg"]
    assert "answered 500 invalid_ejson" in result["msg"]


def test_a_node_that_answers_itself_and_does_not_restart(fleet: Fleet) -> None:
    fleet[1].away = 1e6
    result = stopped(nodes=["_local"], wait_timeout=5)
    assert "5 s later is not up" in result["msg"]
    assert "connection refused" in result["msg"]
    assert re.search(r"The request went to http://\S+/", result["msg"])
    assert result["changes_failed"] == ["restart node n1@h"]
    assert result["changed"] is True


@pytest.mark.parametrize("instead", [None, 502, 503, 504])
def test_an_answer_that_is_lost_is_waited_for_all_the_same(fleet: Fleet, instead: int | None) -> None:
    """A connection that breaks, or a proxy that says that it has no answer."""

    def restart(node: Node, body: t.Any) -> t.Any:
        fleet.restart(node, body)
        if instead is None:
            raise ConnectionResetError(104, "reset")
        return instead, {"error": "bad_gateway", "reason": "no answer"}

    fleet.wire["POST /_node/n1@h/_restart"] = fleet.of(fleet[1], restart)
    (told,) = carry_out(nodes=["_local"]).returned["nodes"]
    assert told["uptime_after"] == 0
    assert fleet.wire.written == ["POST /_node/n1@h/_restart"]


def test_a_node_is_out_of_service_before_it_restarts(fleet: Fleet) -> None:
    asked = fleet.clock.now
    carry_out(nodes=["n2@h"], maintenance_mode=True, drain_time=25)
    # It starts in maintenance mode too, which ends when it has the last writes.
    assert fleet[2].modes == [("true", None), (None, None)]
    assert fleet[2].asked is not None
    assert 25 <= fleet[2].asked - asked < 26
    assert (fleet[2].mode, fleet[2].kept, fleet[2].mark) == (None, None, None)


def test_a_node_that_is_alone_has_its_maintenance_ended_by_the_restart(wire: Wire, clock: Clock) -> None:
    alone = Fleet(wire, clock, 1)
    carry_out(nodes=["_local"], maintenance_mode=True)
    assert alone[1].modes == [("true", "false")]
    assert (alone[1].mode, alone[1].kept, alone[1].mark) == (None, None, None)


def test_a_node_that_restarts_serves_again_once_it_has_the_last_writes(fleet: Fleet) -> None:
    seqs, pushed = iter(range(100)), "POST /orders/_sync_shards"
    fleet.wire["POST /_dbs_info"] = lambda body: (200, [{"key": "orders", "info": {"update_seq": f"{next(seqs)}-a"}}])
    fleet.wire[pushed] = {"ok": True}
    carry_out(nodes=["n2@h"], maintenance_mode=True)
    asked = fleet.wire.asked
    ended = asked.index("DELETE /_node/n2@h/_config/couchdb/maintenance_mode")
    assert asked.index(pushed) > asked.index("POST /_node/n2@h/_restart")
    assert asked[:ended].count(pushed) == 2, "as soon as it is up, and right before it serves"
    assert pushed in asked[ended:]


def test_a_node_that_a_killed_task_left_serves_before_others_restart(fleet: Fleet) -> None:
    fleet[2].mode = fleet[2].kept = "true"
    fleet[2].mark = "false"
    outcome = carry_out(nodes=["n3@h"])
    assert [row["name"] for row in outcome.returned["nodes"]] == ["n3@h"]
    assert [str(change) for change in outcome.changes] == [
        "update maintenance mode n2@h/maintenance_mode",
        "restart node n3@h",
    ]
    assert (fleet[2].mode, fleet[2].kept, fleet[2].mark) == (None, None, None)
    asked = fleet.wire.asked
    ended = asked.index("DELETE /_node/n2@h/_config/couchdb/maintenance_mode")
    assert ended < asked.index("POST /_node/n3@h/_restart")


def test_a_killed_task_can_be_ended_by_hand(fleet: Fleet) -> None:
    fleet[2].mode = fleet[2].kept = "true"
    fleet[2].mark = "nolb"
    carry_out(nodes=["n2@h"], phase="rejoin")
    assert (fleet[2].mode, fleet[2].kept, fleet[2].mark) == ("nolb", "nolb", None)


@pytest.mark.parametrize("maintenance_mode", [True, False])
@pytest.mark.parametrize("mode", ["true", "nolb"])
@pytest.mark.parametrize("number", [1, 2])
def test_a_node_that_was_in_maintenance_stays_so(fleet: Fleet, number: int, mode: str, maintenance_mode: bool) -> None:
    node = fleet[number]
    node.mode, begun = mode, fleet.clock.now
    carry_out(nodes=[node.name], maintenance_mode=maintenance_mode)
    # It was forgotten with the restart; nobody needs to be drained.
    assert node.modes == [(mode, "false")]
    assert node.mode == mode
    assert fleet.clock.now - begun < 5


def test_a_maintenance_that_is_kept_in_files_is_left_alone(fleet: Fleet) -> None:
    fleet[2].mode = fleet[2].kept = "true"
    carry_out(nodes=["n2@h"], maintenance_mode=True)
    assert fleet[2].modes == []
    assert fleet[2].mode == "true"


@pytest.mark.parametrize("mode", [None, "false"])
@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ((401, {"error": "unauthorized", "reason": "You are not a server admin."}), errors.Unauthorized),
        ((403, {"error": "forbidden", "reason": "no"}), errors.Forbidden),
        ((500, {"error": "error", "reason": "broken"}), errors.RestartFailed),
    ],
)
def test_a_restart_that_is_refused_leaves_nobody_out_of_service(
    fleet: Fleet, answer: t.Any, kind: type[Exception], mode: str | None
) -> None:
    fleet[2].mode = mode
    fleet.wire["POST /_node/n2@h/_restart"] = answer
    with pytest.raises(module.Interrupted) as stop:
        carry_out(maintenance_mode=True)
    assert stop.value.error.__class__ is kind
    assert stop.value.error.status == answer[0]
    assert answer[1]["reason"] in str(stop.value.error)
    assert fleet[2].modes == [("true", None), (None, None)]
    assert (fleet[2].mode, fleet[2].kept, fleet[2].mark) == (None, None, None)
    assert fleet.wire.asked.count("POST /_node/n2@h/_restart") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_who_ends_the_process_leaves_nobody_out_of_service(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    handler = signal.getsignal(number)
    monkeypatch.setattr(fleet.clock.module, "sleep", lambda seconds: signal.raise_signal(number))
    with pytest.raises(SystemExit):
        carry_out(nodes=["n2@h"], maintenance_mode=True)
    assert fleet[2].modes == [("true", None), (None, None)]
    assert fleet[2].mark is None
    assert signal.getsignal(number) == handler


def test_who_interrupts_the_task_leaves_nobody_out_of_service(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(fleet.clock.module, "sleep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        carry_out(nodes=["n2@h"], maintenance_mode=True)
    assert fleet[2].modes == [("true", None), (None, None)]
    assert fleet[2].mark is None
    assert not fleet.restarts


def test_what_can_not_be_undone_is_reported(fleet: Fleet) -> None:
    fleet[2].away = 1e6
    result = stopped(nodes=["n2@h"], maintenance_mode=True, wait_timeout=5)
    assert "was put in maintenance mode, which could not be undone" in result["msg"]
    assert "end it with couchdb_restart and phase: rejoin" in result["msg"]


def test_a_cluster_that_is_not_in_sync_any_more_keeps_the_next_from_going(fleet: Fleet) -> None:
    asked = fleet.restart

    def restart(node: Node, body: t.Any) -> t.Any:
        fleet[3].is_up = False
        return asked(node, body)

    fleet.wire["POST /_node/n2@h/_restart"] = fleet.of(fleet[2], restart)
    result = stopped(wait_timeout=20)
    assert len(fleet.restarts) == 1
    assert "n2@h was asked to restart" in result["msg"]
    assert "is up, and the cluster is not in sync: n3@h is down" in result["msg"]
    assert result["changes_undone"] == ["restart node n3@h", "restart node n1@h"]


def test_a_member_that_goes_down_while_a_node_drains_keeps_it_from_going(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sleep(seconds: float) -> None:
        fleet[3].is_up = False
        fleet.clock.sleep(seconds)

    monkeypatch.setattr(fleet.clock.module, "sleep", sleep)
    result = stopped(nodes=["n2@h"], maintenance_mode=True, wait_timeout=5)
    assert "n2@h was not asked to restart, as the cluster is not in sync: n3@h is down" in result["msg"]
    assert not fleet.restarts
    assert fleet[2].mode is None


@pytest.mark.parametrize("check_mode", [True, False])
def test_no_node_goes_while_another_is_down(fleet: Fleet, check_mode: bool) -> None:
    fleet[3].is_up = False
    with pytest.raises(errors.NodeDown, match="others of the cluster are down: n3@h. .*force"):
        carry_out(check_mode=check_mode, nodes=["_local"])
    assert fleet.wire.written == []


def test_a_member_that_is_going_down_is_down(fleet: Fleet) -> None:
    """It is still among the nodes that are connected, and what is asked of it fails."""
    fleet[3].asked, fleet[3].away = fleet.clock.now - 0.5, 1e6
    assert "n3@h" in fleet.connected()
    with pytest.raises(errors.NodeDown, match="others of the cluster are down: n3@h"):
        carry_out(nodes=["n2@h"])


def test_force_restarts_those_that_are_up_and_reports_the_others(fleet: Fleet) -> None:
    fleet[3].is_up = False
    outcome = carry_out(force=True)
    assert [name for name, _up in fleet.restarts] == ["n2@h", "n1@h"]
    assert str(outcome.shortfall) == "not restarted, as they are down: n3@h"
    assert carry_out(force=True, nodes=["n2@h"]).shortfall is None


def test_without_waiting_it_is_only_asked(fleet: Fleet) -> None:
    outcome = carry_out(nodes=["n2@h"], wait=False)
    assert outcome.returned["nodes"] == [
        {"name": "n2@h", "uptime_before": 200, "uptime_after": None, "seconds_away": None}
    ]
    assert fleet.wire.asked[-1] == "POST /_node/n2@h/_restart"


def test_a_balancer_is_no_local_node(fleet: Fleet) -> None:
    fleet.wire["GET /_node/_local"] = InTurn([{"name": name} for name in ("n1@h", "n2@h", "n1@h")])
    with pytest.raises(errors.InvalidInput, match=r"nodes: different nodes answer at .* \(n1@h, n2@h\)"):
        carry_out(nodes=["_local"])
    assert fleet.wire.written == []


def test_a_balancer_before_servers_of_one_name_is_no_local_node(wire: Wire, clock: Clock) -> None:
    Fleet(wire, clock, 1)
    wire["GET /"] = InTurn([{"couchdb": "Welcome", "version": "3.4.3", "uuid": uuid} for uuid in "abab"])
    with pytest.raises(errors.InvalidInput, match="different nodes answer"):
        carry_out(nodes=["all"])
    assert wire.written == []


def test_behind_a_balancer_nodes_restart_by_their_names(fleet: Fleet) -> None:
    fleet.wire["GET /_node/_local"] = InTurn([{"name": name} for name in ("n1@h", "n2@h", "n1@h")])
    carry_out(nodes=["n3@h"])
    assert fleet.restarts == [("n3@h", ALL)]


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"nodes": []}, "nodes"),
        ({"phase": "drain"}, "nodes"),
        ({"phase": "rejoin", "nodes": ["n1@h", "n2@h"]}, "nodes"),
        ({"phase": "drain", "nodes": ["n1@h"], "wait": False}, "wait"),
        ({"final_mode": "nolb"}, "final_mode"),
        ({"nodes": ["n9@h"]}, "nodes"),
        ({"nodes": ["n1@h", "n9@h"], "force": True}, "nodes"),
        ({"nodes": ["_all"]}, "nodes"),
        ({"wait": False}, "wait"),
        ({"wait": False, "nodes": ["_local"], "maintenance_mode": True}, "wait"),
        ({"wait_timeout": 0}, "wait_timeout"),
        ({"drain_time": -1}, "drain_time"),
    ],
)
def test_bad_input_names_the_option(fleet: Fleet, given: dict[str, t.Any], named: str) -> None:
    with pytest.raises(errors.InvalidInput) as caught:
        carry_out(**given)
    assert caught.value.option == named
    assert fleet.wire.written == []


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("check_mode", [True, False])
def test_a_login_that_may_not_restart_is_refused_before_anything(fleet: Fleet, status: int, check_mode: bool) -> None:
    """Others than admins may see how long a node has been up, too."""
    refusal = status, {"error": "unauthorized", "reason": "You are not a server admin."}
    fleet.wire["GET /_node/n1@h/_config/couchdb"] = refusal
    with pytest.raises((errors.Unauthorized, errors.Forbidden), match="You are not a server admin"):
        carry_out(check_mode=check_mode, nodes=["n2@h"])
    assert fleet.wire.written == []


def test_a_login_that_is_refused_afterwards_is_not_retried(fleet: Fleet) -> None:
    def system(node: Node, body: t.Any) -> t.Any:
        return fleet.system(node, body) if not fleet.restarts else (401, {"error": "unauthorized", "reason": "wrong"})

    fleet.wire["GET /_node/n1@h/_system"] = fleet.of(fleet[1], system)
    with pytest.raises(module.Interrupted) as stop:
        carry_out(nodes=["_local"])
    assert isinstance(stop.value.error, errors.Unauthorized)


@pytest.mark.parametrize("version", ["2.0.0", "2.1.2", "2.2.0"])
def test_versions_without_the_call_are_reported(wire: Wire, version: str) -> None:
    wire["GET /"] = {"couchdb": "Welcome", "version": version}
    with pytest.raises(errors.Unsupported, match=f"CouchDB {version} has no restart call"):
        carry_out()
    assert wire.asked == ["GET /"]


class Old:
    """A CouchDB 1.x behind the wire, which reports no uptime."""

    def __init__(self, wire: Wire, clock: Clock, *, tells: bool = True) -> None:
        self.clock, self.tells, self.requests, self.asked = clock, tells, 40, -1e6
        wire["GET /"] = self.reply(lambda: (200, {"couchdb": "Welcome", "version": "1.7.2", "uuid": "u"}))
        wire["GET /_stats/httpd/requests"] = self.reply(self.statistics)
        wire["POST /_restart"] = self.reply(self.restart)

    def reply(self, answer: t.Callable[[], t.Any]) -> t.Callable[[t.Any], t.Any]:
        def made(body: t.Any) -> t.Any:
            self.clock.now += 0.01
            since = self.clock.now - self.asked
            if 0.1 < since < 2:
                self.requests = 0
                raise ConnectionRefusedError(111, "refused")
            self.requests += 1
            return answer()

        return made

    def statistics(self) -> t.Any:
        if not self.tells:
            return 404, {"error": "not_found", "reason": "missing"}
        return 200, {"httpd": {"requests": {"description": "number of HTTP requests", "current": self.requests}}}

    def restart(self) -> t.Any:
        self.asked = self.clock.now
        return 202, {"ok": True}


@pytest.mark.parametrize("named", ["_local", "all"])
@pytest.mark.parametrize("tells", [True, False])
def test_couchdb_1_is_proved_to_have_restarted(wire: Wire, clock: Clock, named: str, tells: bool) -> None:
    Old(wire, clock, tells=tells)
    (told,) = carry_out(nodes=[named]).returned["nodes"]
    assert 2 <= told.pop("seconds_away") < 2.5
    assert told == {"name": "_local", "uptime_before": None, "uptime_after": None}
    assert wire.written == ["POST /_restart"]


def test_couchdb_1_has_no_maintenance_mode(wire: Wire, clock: Clock) -> None:
    Old(wire, clock)
    with pytest.raises(errors.Unsupported, match=r"CouchDB 1\.7\.2 has no maintenance mode"):
        carry_out(nodes=["_local"], maintenance_mode=True)
    assert wire.asked == ["GET /"]


def test_pouchdb_server_has_no_restart(wire: Wire, clock: Clock) -> None:
    wire["GET /"] = {"express-pouchdb": "Welcome!", "version": "4.2.0"}
    with pytest.raises(module.Interrupted) as stop:
        carry_out(nodes=["_local"])
    assert isinstance(stop.value.error, errors.Unsupported)
    assert "PouchDB Server 4.2.0 has no restart call" in str(stop.value.error)


def test_requests_of_a_restart_are_few(fleet: Fleet) -> None:
    carry_out(nodes=["n2@h"])
    reads = [line for line in fleet.wire.asked if "_restart" not in line]
    assert len(reads) < 60
    assert URL not in "".join(reads)
