# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""couchdb_info: what is gathered for which names, and with which requests."""

from __future__ import annotations

import typing as t

import pytest
import requests
from ansible_collections.couchpy.couchdb.plugins.module_utils import errors
from ansible_collections.couchpy.couchdb.plugins.module_utils._engine import module
from ansible_collections.couchpy.couchdb.plugins.module_utils._resources import info as resource
from ansible_collections.couchpy.couchdb.tests.unit.clock import Clock
from ansible_collections.couchpy.couchdb.tests.unit.wire import WELCOME, InTurn, Wire, client

RESOURCE = resource.RESOURCE
PARAMS: dict[str, t.Any] = {
    "gather_subset": ["server", "databases"],
    "databases": None,
    "node": "_local",
    "users": None,
    "include_secrets": False,
    "in_maintenance": [],
    "wait": False,
    "wait_timeout": 60,
}
EVERYTHING = [name for name in resource.SUBSETS if name != "declaration"]


@pytest.mark.parametrize(
    ("asked", "gathered"),
    [
        (["server"], ["server"]),
        (["all"], EVERYTHING),
        (["all", "!log"], [name for name in EVERYTHING if name != "log"]),
        (["!log"], [name for name in EVERYTHING if name != "log"]),
        (["!all", "config"], ["config"]),
        (["!all"], []),
        (["server", "!server"], []),
        (["config", "server"], ["server", "config"]),
        (["declaration"], ["declaration"]),
        (["all", "declaration"], list(resource.SUBSETS)),
    ],
)
def test_subsets(asked: list[str], gathered: list[str]) -> None:
    assert resource.desire({**PARAMS, "gather_subset": asked}).subsets == gathered


def gather(check_mode: bool = False, **params: t.Any) -> dict[str, t.Any]:
    return module.carry_out(RESOURCE, RESOURCE.desire({**PARAMS, **params}), client(), check_mode=check_mode).returned


def test_the_default_takes_two_requests(wire: Wire) -> None:
    wire["GET /_dbs_info?limit=1000"] = [{"key": "a", "info": {"db_name": "a"}}]
    assert gather() == {"server": WELCOME, "databases": [{"name": "a", "exists": True, "info": {"db_name": "a"}}]}
    assert wire.asked == ["GET /", "GET /_dbs_info?limit=1000"]


def test_ten_thousand_databases_take_few_requests(wire: Wire) -> None:
    names = [f"db{number:05}" for number in range(10000)]
    for start in range(0, 10001, 1000):
        after = f"&start_key=%22{names[start - 1]}%22&skip=1" if start else ""
        rows = [{"key": name, "info": {"db_name": name}} for name in names[start : start + 1000]]
        wire[f"GET /_dbs_info?limit=1000{after}"] = rows
    assert [database["name"] for database in gather()["databases"]] == names
    assert len(wire.asked) < 20


def test_a_listing_that_is_cut_short_is_asked_for_by_names(wire: Wire) -> None:
    """CouchDB ends it in the middle at a database whose nodes are all away."""
    wire["GET /_dbs_info?limit=1000"] = requests.exceptions.ChunkedEncodingError("cut short")
    wire["GET /_all_dbs"] = ["a", "away"]
    wire["POST /_dbs_info"] = [{"key": "a", "info": {"db_name": "a"}}, {"key": "away", "error": "not_found"}]
    wire["GET /_all_dbs?start_key=%22away%22&end_key=%22away%22"] = ["away"]
    wire["GET /away"] = 500, {"error": "internal_server_error", "reason": "No DB shards could be opened."}
    with pytest.raises(errors.ServerError, match="GET .*/away answered 500 .*No DB shards could be opened"):
        gather(gather_subset=["databases"])


def test_named_databases_are_reported_whether_they_exist_or_not(wire: Wire) -> None:
    wire["POST /_dbs_info"] = [{"key": "b", "info": {"db_name": "b"}}, {"key": "a", "error": "not_found"}]
    assert gather(gather_subset=["databases"], databases=["b", "a"])["databases"] == [
        {"name": "b", "exists": True, "info": {"db_name": "b"}},
        {"name": "a", "exists": False, "info": None},
    ]


def test_secrets_are_masked(wire: Wire) -> None:
    wire["GET /_node/_local/_config"] = {"admins": {"a": "c4n4ry"}, "chttpd_auth": {"secret": "c4n4ry"}}
    wire["GET /_node/_local/_config/admins"] = {
        "a": "-pbkdf2-33dd85e33618b30a29bec5d9175eace4e4c92aaf,c4n4ry,10",
        "b": "c4n4ry",
    }
    wire["GET /_active_tasks"] = [{"source": "http://u:c4n4ry@h/"}]
    page = {"total_rows": 1, "offset": 0}
    row = {"doc_id": "r", "database": "_replicator", "state": "crashing", "target": "http://u:c4n4ry@h/x"}
    wire["GET /_scheduler/docs?limit=1000&skip=0"] = {
        **page,
        "docs": [{**row, "info": {"error": "http://u:c4n4ry@h/"}}],
    }
    wire["GET /_scheduler/jobs?limit=1000&skip=0"] = {**page, "jobs": [{**row, "doc_id": None, "database": None}]}
    found = gather(gather_subset=["config", "admins", "active_tasks", "replications"])
    assert "c4n4ry" not in str(found)
    assert found["admins"] == [
        {"name": "a", "scheme": "pbkdf2", "iterations": 10},
        {"name": "b", "scheme": None, "iterations": None},
    ]
    assert [(row["name"], row["state"]) for row in found["replications"]] == [("r", "crashing"), (None, "crashing")]


def test_what_is_missing_is_null_unless_it_is_named(wire: Wire) -> None:
    wire["GET /"] = {"couchdb": "Welcome", "version": "1.7.2"}
    wire["GET /_all_dbs"] = []
    found = gather(gather_subset=["all"])
    assert list(found) == EVERYTHING
    assert found["system"] is None
    assert found["cluster"] == {
        "members": ["_local"],
        "connected": ["_local"],
        "nodes": [{"name": "_local", "member": True, "connected": True, "shards": None, "maintenance": None}],
        "health": "healthy",
        "problems": [],
        "in_sync": None,
        "gaps": [],
    }
    with pytest.raises(errors.Unsupported, match="system"):
        gather(gather_subset=["system"])


def test_a_server_without_limits_of_revisions_is_declared(wire: Wire) -> None:
    """PouchDB Server has none, and a database can vanish after its name was read."""
    wire["GET /_all_dbs"] = ["gone", "orders"]
    wire["GET /orders"] = {"db_name": "orders", "doc_count": 0}
    wire["GET /gone"] = {"db_name": "gone", "doc_count": 0}
    wire["GET /orders/_security"] = {}
    wire["GET /_config"] = {"log": {}}
    wire["GET /"] = {"express-pouchdb": "Welcome!", "version": "4.2.0", "vendor": {"name": "PouchDB authors"}}
    found = gather(gather_subset=["declaration"])
    assert found["declaration"]["databases"] == [{"name": "orders"}]


def test_a_wrong_password_costs_one_request(wire: Wire) -> None:
    wire["GET /"] = 401, {"error": "unauthorized", "reason": "Name or password is incorrect."}
    with pytest.raises(errors.Unauthorized, match="Name or password is incorrect"):
        gather(gather_subset=["all"])
    assert wire.asked == ["GET /"]


@pytest.mark.parametrize("subset", ["config", "stats", "system", "admins"])
def test_an_unknown_node_is_named(wire: Wire, subset: str) -> None:
    path = {"config": "_config", "stats": "_stats", "system": "_system", "admins": "_config/admins"}[subset]
    wire[f"GET /_node/x/{path}"] = 404, {"error": "not_found", "reason": "no such node: x"}
    with pytest.raises(errors.InvalidInput, match="^node: no such node: x"):
        gather(gather_subset=[subset], node="x")


def test_bad_database_names_are_refused() -> None:
    with pytest.raises(errors.InvalidInput, match="^databases: "):
        resource.desire({**PARAMS, "databases": ["UPPER"]})


def test_a_cluster_is_reported_node_by_node(wire: Wire) -> None:
    wire["GET /_membership"] = {"all_nodes": ["a@h", "b@h", "d@h"], "cluster_nodes": ["a@h", "b@h", "c@h"]}
    ranges = {"0-7": ["a@h", "b@h", "c@h"], "8-f": ["a@h", "c@h"]}
    wire["GET /_node/_local/_dbs/_all_docs?include_docs=true&limit=1000"] = {
        "rows": [{"id": "orders", "doc": {"by_range": ranges}}]
    }
    wire["GET /_node/a@h/_config/couchdb"] = {"uuid": "u"}
    wire["GET /_node/b@h/_config/couchdb"] = {"maintenance_mode": "nolb"}
    wire["GET /_node/d@h/_config/couchdb"] = 500, {"error": "timeout", "reason": "no answer"}
    cluster = gather(gather_subset=["cluster"])["cluster"]
    assert cluster["members"] == ["a@h", "b@h", "c@h"]
    assert cluster["connected"] == ["a@h", "b@h", "d@h"]
    assert [list(node.values()) for node in cluster["nodes"]] == [
        ["a@h", True, True, 2, False],
        ["b@h", True, True, 1, True],
        ["c@h", True, False, 2, None],
        ["d@h", False, True, 0, None],
    ]
    assert cluster["health"] == "degraded"
    assert len(cluster["problems"]) == 4


def test_before_couchdb_3_nothing_is_known_of_shards(wire: Wire) -> None:
    wire["GET /"] = {"couchdb": "Welcome", "version": "2.3.1"}
    wire["GET /_membership"] = {"all_nodes": ["a@h"], "cluster_nodes": ["a@h"]}
    wire["GET /_node/a@h/_config/couchdb"] = {}
    cluster = gather(gather_subset=["cluster"])["cluster"]
    assert cluster["nodes"] == [
        {"name": "a@h", "member": True, "connected": True, "shards": None, "maintenance": False}
    ]
    assert cluster["health"] == "healthy"


def test_the_shards_of_many_databases_are_read_a_thousand_at_a_time(wire: Wire) -> None:
    wire["GET /_membership"] = {"all_nodes": ["a@h"], "cluster_nodes": ["a@h"]}
    wire["GET /_node/a@h/_config/couchdb"] = {}
    rows = [{"id": f"db{number:04}", "doc": {"by_range": {"0-f": ["a@h"]}}} for number in range(1500)]
    wire["GET /_node/_local/_dbs/_all_docs?include_docs=true&limit=1000"] = {"rows": rows[:1000]}
    after = "&start_key=%22db0999%22&skip=1"
    wire[f"GET /_node/_local/_dbs/_all_docs?include_docs=true&limit=1000{after}"] = {"rows": rows[1000:]}
    assert gather(gather_subset=["cluster"])["cluster"]["nodes"][0]["shards"] == 1500
    assert len([line for line in wire.asked if "/_node/_local/_dbs/" in line]) == 2


SYNC = {
    "GET /_membership": {"all_nodes": ["a@h", "b@h"], "cluster_nodes": ["a@h", "b@h"]},
    "GET /_node/_local": {"name": "a@h"},
    "GET /_node/a@h/_config/couchdb": {},
    "GET /_node/b@h/_config/couchdb": {},
    "GET /_node/a@h/_system": {"uptime": 9, "distribution": {"b@h": {}}, "internal_replication_jobs": 0},
    "GET /_node/b@h/_system": {"uptime": 9, "distribution": {"a@h": {}}, "internal_replication_jobs": 0},
    "GET /_node/a@h/_nodes/_all_docs?include_docs=true": {"rows": []},
    "GET /_reshard/jobs": {"jobs": []},
}
MAP = {"_id": "orders", "by_range": {"00000000-ffffffff": ["a@h", "b@h"]}}


@pytest.mark.parametrize(
    ("path", "answer", "gap"),
    [
        ("", None, None),
        ("GET /_node/b@h/_config/couchdb/maintenance_mode", (200, "true"), "b@h is in maintenance mode"),
        (
            "GET /_node/b@h/_system",
            {"uptime": 9, "distribution": {"a@h": {}}, "internal_replication_jobs": 3},
            "b@h has 3 shards to copy to other nodes",
        ),
        (
            "GET /_reshard/jobs",
            {"jobs": [{"job_state": "failed", "source": "shards/00000000-ffffffff/orders.17"}]},
            "resharding jobs have not ended: orders (failed)",
        ),
        (
            "MAP",
            {**MAP, "by_range": {"00000000-ffffffff": ["a@h", "gone@h"]}},
            "gone@h is not a member, and has shards of orders",
        ),
        (
            "MAP",
            {**MAP, "couchpy_move": {"copies": 2, "filling": {"00000000-ffffffff": ["b@h"]}}},
            "copies are not full yet: orders",
        ),
    ],
)
def test_a_cluster_is_in_sync_or_says_what_it_lacks(wire: Wire, path: str, answer: t.Any, gap: str | None) -> None:
    wire.answers.update(SYNC)
    for node in ("_local", "a@h"):
        document = answer if path == "MAP" else MAP
        wire[f"GET /_node/{node}/_dbs/_all_docs?include_docs=true&limit=1000"] = {
            "rows": [{"id": "orders", "doc": document}]
        }
    if path not in ("", "MAP"):
        wire[path] = answer
    cluster = gather(gather_subset=["cluster"])["cluster"]
    assert cluster["gaps"] == ([] if gap is None else [gap])
    assert cluster["in_sync"] is (gap is None)


def in_sync(wire: Wire) -> None:
    wire.answers.update(SYNC)
    for node in ("_local", "a@h"):
        wire[f"GET /_node/{node}/_dbs/_all_docs?include_docs=true&limit=1000"] = {
            "rows": [{"id": "orders", "doc": MAP}]
        }


def test_a_node_that_may_be_in_maintenance_mode_does_not_count(wire: Wire) -> None:
    in_sync(wire)
    for name in ("a@h", "b@h"):
        wire[f"GET /_node/{name}/_config/couchdb/maintenance_mode"] = 200, "true"
    wire["GET /_node/_local"] = {"name": "a@h"}
    gaps = gather(gather_subset=["cluster"], in_maintenance=["_local"])["cluster"]["gaps"]
    assert gaps == ["b@h is in maintenance mode"]
    assert gather(gather_subset=["cluster"], in_maintenance=["a@h", "b@h"])["cluster"]["in_sync"]


def test_a_task_that_waits_returns_the_state_in_sync(wire: Wire, clock: Clock) -> None:
    in_sync(wire)
    behind = {"uptime": 9, "distribution": {"a@h": {}}, "internal_replication_jobs": 3}
    wire["GET /_node/b@h/_system"] = InTurn([behind, behind, SYNC["GET /_node/b@h/_system"]])
    assert gather(gather_subset=["cluster"], wait=True)["cluster"]["in_sync"]
    wire["GET /_node/b@h/_system"] = behind
    before = clock.now
    with pytest.raises(errors.NotInSync, match="not in sync after 30 s: b@h has 3 shards to copy to other nodes"):
        gather(gather_subset=["cluster"], wait=True, wait_timeout=30)
    assert clock.now - before == pytest.approx(30, abs=6)
    assert not gather(gather_subset=["cluster"], wait=True, check_mode=True)["cluster"]["in_sync"]


def test_nothing_waits_for_less_than_a_second_or_before_couchdb_3(wire: Wire) -> None:
    with pytest.raises(errors.InvalidInput, match="wait_timeout: is 0. Set 1 or more"):
        gather(wait=True, wait_timeout=0)
    wire["GET /"] = {"couchdb": "Welcome", "version": "2.3.1"}
    with pytest.raises(errors.Unsupported):
        gather(gather_subset=["server"], wait=True)


def test_shards_are_where_the_maps_say_and_members_in_their_zones(wire: Wire) -> None:
    maps = {
        name: {"by_range": {"00000000-7fffffff": ["a@h"], "80000000-ffffffff": ["b@h"]}} for name in ("orders", "users")
    }
    wire["GET /_node/_local/_dbs/_all_docs?include_docs=true&limit=1000"] = {
        "rows": [{"id": name, "doc": {"_id": name, **document}} for name, document in maps.items()]
    }
    wire["GET /_node/_local"] = {"name": "a@h"}
    wire["GET /_node/a@h/_nodes/_all_docs?include_docs=true"] = {
        "rows": [{"id": "a@h", "doc": {"zone": "east"}}, {"id": "b@h", "doc": {}}]
    }
    assert gather(gather_subset=["shards"], databases=["o*"])["shards"] == {
        "zones": {"a@h": "east"},
        "databases": [{"name": "orders", "ranges": maps["orders"]["by_range"]}],
    }
