# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""couchdb_database: its plans as tables, and the requests that reach the wire."""

from __future__ import annotations

import copy
import typing as t

import pytest
import requests
from ansible_collections.couchpy.couchdb.plugins.module_utils import errors
from ansible_collections.couchpy.couchdb.plugins.module_utils._client import wait
from ansible_collections.couchpy.couchdb.plugins.module_utils._engine import module
from ansible_collections.couchpy.couchdb.plugins.module_utils._engine.plan import diff
from ansible_collections.couchpy.couchdb.plugins.module_utils._resources import databases as resource
from ansible_collections.couchpy.couchdb.plugins.module_utils._resources.databases import Observed
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules.dialect import Dialect
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules.splits import Split
from ansible_collections.couchpy.couchdb.plugins.module_utils.database import Database
from ansible_collections.couchpy.couchdb.plugins.module_utils.errors import InvalidInput
from ansible_collections.couchpy.couchdb.tests.unit.wire import InTurn, Wire, client

RESOURCE = resource.RESOURCE
PARAMS: dict[str, t.Any] = {
    "name": ["db"],
    "state": "present",
    "shards": None,
    "replicas": None,
    "partitioned": None,
    "security": None,
    "revs_limit": None,
    "reshard": None,
    "wait_timeout": 3600,
    "databases": None,
}
ADMIN_ONLY = {"members": {"roles": ["_admin"]}, "admins": {"roles": ["_admin"]}}
INFO = {"db_name": "db", "doc_count": 7, "cluster": {"q": 2, "n": 1, "w": 1, "r": 1}, "props": {}}
THREE = Dialect("CouchDB", "3.4.3")


def held(**fields: t.Any) -> dict[str, t.Any]:
    """A database as observe() gives it."""
    return {"name": "db", "exists": True, "info": INFO, "security": None, "revs_limit": None, **fields}


GONE = held(exists=False, info=None)


@pytest.mark.parametrize(
    ("database", "given", "calls"),
    [
        (GONE, {}, [(Database.put, {})]),
        (GONE, {"shards": 4, "partitioned": True}, [(Database.put, {"shards": 4, "partitioned": True})]),
        (held(), {}, []),
        (held(), {"shards": 2, "partitioned": False}, []),
        (GONE, {"state": "absent"}, []),
        (held(), {"state": "absent"}, [(Database.delete_database, {})]),
        (GONE, {"revs_limit": 5}, [(Database.put, {}), (Database.set_revs_limit, {"limit": 5})]),
        (GONE, {"revs_limit": 1000}, [(Database.put, {})]),
        (held(revs_limit=5), {"revs_limit": 5}, []),
        (held(revs_limit=5), {"revs_limit": 6}, [(Database.set_revs_limit, {"limit": 6})]),
        (held(security=ADMIN_ONLY), {"security": {}}, []),
        (held(security=ADMIN_ONLY), {"security": {"admins": None}}, []),
        (held(security=ADMIN_ONLY), {"security": {"admins": {"roles": ["_admin"], "names": []}}}, []),
        (held(security={}), {"security": {"admins": {"roles": [], "names": []}, "members": {"names": []}}}, []),
        (
            held(security={"admins": {"roles": ["b", "a"]}}),
            {"security": {"admins": {"roles": ["a", "b", "a"]}}},
            [],
        ),
        (
            held(security=ADMIN_ONLY),
            {"security": {"members": {"roles": []}}},
            [(Database.merge_security, {"given": {"members": {"roles": []}}, "before": ADMIN_ONLY})],
        ),
    ],
)
def test_plan(database: dict[str, t.Any], given: dict[str, t.Any], calls: list[tuple[str, t.Any]]) -> None:
    desired = resource.desire({**PARAMS, **given})
    if not desired["db"].present or not database["exists"]:
        database = {**database, "security": None, "revs_limit": None}
    kept = copy.deepcopy(database)
    plan = resource.plan(desired, Observed({"db": database}, THREE, security=ADMIN_ONLY))
    assert [(change.call, change.arguments) for change in plan.changes] == calls
    assert database == kept
    assert not resource.plan(desired, plan.predicted).changes


@pytest.mark.parametrize(
    ("before", "given", "after"),
    [
        (ADMIN_ONLY, {"admins": {"names": ["ann"]}}, {**ADMIN_ONLY, "admins": {"roles": ["_admin"], "names": ["ann"]}}),
        (
            {"cloudant": {"x": ["_reader"]}},
            {"members": {"roles": ["a"]}},
            {
                "cloudant": {"x": ["_reader"]},
                "members": {"roles": ["a"]},
            },
        ),
        (
            {"members": {"names": ["a"], "roles": ["b"]}},
            {"members": {"names": []}},
            {"members": {"names": [], "roles": ["b"]}},
        ),
    ],
)
def test_what_is_not_given_of_a_security_object_is_left_alone(before: t.Any, given: t.Any, after: t.Any) -> None:
    desired = resource.desire({**PARAMS, "security": given})
    plan = resource.plan(desired, Observed({"db": held(security=before)}, THREE))
    assert plan.predicted.databases["db"]["security"] == after
    assert diff(plan.changes) == {"before": {"db": {"security": before}}, "after": {"db": {"security": after}}}


@pytest.mark.parametrize(
    ("given", "named"),
    [({"shards": 4}, "shards"), ({"partitioned": True}, "partitioned")],
)
def test_what_can_not_change_after_creation_fails(given: dict[str, t.Any], named: str) -> None:
    desired = resource.desire({**PARAMS, **given})
    with pytest.raises(InvalidInput, match=f"^{named}: db "):
        resource.plan(desired, Observed({"db": held()}, THREE))


def test_a_database_with_the_declared_copies_is_not_warned_of(wire: Wire) -> None:
    wire["POST /_dbs_info"] = [{"key": "db", "info": {**INFO, "cluster": {"q": 2, "n": 3}}}]
    desired = RESOURCE.desire({**PARAMS, "name": ["db"], "replicas": 3})
    outcome = module.carry_out(RESOURCE, desired, client(), check_mode=False)
    assert (outcome.changes, outcome.warnings) == ([], [])
    # The number of nodes decides nothing here.
    assert wire.asked == ["GET /", "POST /_dbs_info"]


@pytest.mark.parametrize("name", ["_dbs", "_nodes"])
def test_the_databases_of_a_node_are_not_deleted(wire: Wire, name: str) -> None:
    with pytest.raises(InvalidInput, match=f"^name: {name} "):
        RESOURCE.desire({**PARAMS, "name": ["db", name], "state": "absent"})
    with pytest.raises(InvalidInput, match=f"^name: {name} "):
        client().delete(name)
    with pytest.raises(InvalidInput, match=f"^name: {name} "):
        del client()[name]
    assert wire.asked == []


def test_a_database_of_another_client_is_not_deleted(wire: Wire) -> None:
    with pytest.raises(InvalidInput, match="^db: .* is a database of another client"):
        client().delete(client()["db"])
    assert wire.asked == []


@pytest.mark.parametrize(("nodes", "warned"), [(1, False), (3, True)])
def test_copies_that_can_not_be_made_any_more_are_warned_of(nodes: int, warned: bool) -> None:
    desired = resource.desire({**PARAMS, "replicas": 3})
    plan = resource.plan(desired, Observed({"db": held()}, THREE, nodes))
    assert not plan.changes
    assert bool(plan.warnings) is warned


@pytest.mark.parametrize("option", ["shards", "replicas"])
def test_couchdb_1_does_not_divide_databases(wire: Wire, option: str) -> None:
    wire["GET /"] = {"couchdb": "Welcome", "version": "1.7.2"}
    with pytest.raises(InvalidInput, match=f"^{option}: "):
        resource.observe(client(), resource.desire({**PARAMS, option: 2}))
    assert wire.asked == ["GET /"]


@pytest.mark.parametrize(("given", "named"), [({"revs_limit": 5}, "revs_limit"), ({"name": ["a/b"]}, "name")])
def test_what_pouchdb_server_can_not_hold_is_refused(wire: Wire, given: dict[str, t.Any], named: str) -> None:
    wire["GET /"] = {"express-pouchdb": "Welcome!", "version": "4.2.0"}
    with pytest.raises(InvalidInput, match=f"^{named}: PouchDB Server"):
        resource.observe(client(), resource.desire({**PARAMS, **given}))
    assert wire.asked == ["GET /"]


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"name": ["ok", "UPPER"]}, "name"),
        ({"name": [""]}, "name"),
        ({"shards": 0}, "shards"),
        ({"replicas": 0}, "replicas"),
        ({"revs_limit": 0}, "revs_limit"),
        ({"security": {"admins": "ann"}}, "security.admins"),
        ({"security": {"admins": ["ann"]}}, "security.admins"),
        ({"security": {"admins": {"names": "ann"}}}, "security.admins.names"),
        ({"security": {"members": {"roles": [1]}}}, "security.members.roles"),
        ({"security": {"members": {"roles": [{"a": "b"}]}}}, "security.members.roles"),
        ({"security": {"member": {"roles": ["a"]}}}, "security"),
        ({"security": {"members": {"role": ["a"]}}}, "security.members"),
    ],
)
def test_bad_input_names_the_option(given: dict[str, t.Any], named: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        resource.desire({**PARAMS, **given})
    assert caught.value.option == named


def serve(wire: Wire, names: list[str]) -> None:
    """Serve existing databases of 3.4, as many in one answer as CouchDB does."""

    def infos(body: t.Any) -> tuple[int, t.Any]:
        if len(body["keys"]) > 100:
            return 400, {"error": "bad_request", "reason": "too_many_keys"}
        return 200, [{"key": key, "info": {**INFO, "db_name": key}} for key in body["keys"]]

    wire["POST /_dbs_info"] = infos
    for name in names:
        wire[f"GET /{name}/_security"] = ADMIN_ONLY
        wire[f"GET /{name}/_revs_limit"] = 1000


@pytest.mark.parametrize(
    ("given", "requests"),
    [({}, 2), ({"security": {"admins": {"roles": ["_admin"]}}}, 102), ({"revs_limit": 1000}, 102)],
)
def test_a_hundred_databases_unchanged_take_few_requests(wire: Wire, given: dict[str, t.Any], requests: int) -> None:
    names = [f"db{number}" for number in range(100)]
    serve(wire, names)
    desired = RESOURCE.desire({**PARAMS, "name": names, **given})
    outcome = module.carry_out(RESOURCE, desired, client(), check_mode=False)
    assert not outcome.changes
    assert len(wire.asked) == requests
    assert wire.written == []
    assert [database["name"] for database in outcome.returned["databases"]] == names


def test_more_than_a_hundred_are_asked_in_portions(wire: Wire) -> None:
    names = [f"db{number}" for number in range(250)]
    serve(wire, names)
    RESOURCE.observe(client(), RESOURCE.desire({**PARAMS, "name": names}))
    assert wire.asked == ["GET /"] + ["POST /_dbs_info"] * 3


@pytest.mark.parametrize(
    ("setting", "new", "given", "written"),
    [
        ({}, ADMIN_ONLY, ADMIN_ONLY, 0),
        ({"default_security": "everyone"}, {}, ADMIN_ONLY, 1),
        ({"default_security": "admin_local"}, {}, ADMIN_ONLY, 1),
        ({"default_security": "everyone"}, {}, {"members": {"roles": []}}, 0),
        # The node that answers has the default, and the node that creates the database another.
        ({}, {}, ADMIN_ONLY, 1),
        ((401, {"error": "unauthorized", "reason": "You are not a server admin."}), {}, ADMIN_ONLY, 1),
    ],
)
def test_a_new_database_is_as_secure_as_declared_whatever_the_default(
    wire: Wire, setting: t.Any, new: dict[str, t.Any], given: dict[str, t.Any], written: int
) -> None:
    security = [new]
    missing, there = [{"key": "db", "error": "not_found"}], [{"key": "db", "info": INFO}]
    wire["POST /_dbs_info"] = InTurn([missing, there])
    wire["GET /_membership"] = {"all_nodes": ["a"], "cluster_nodes": ["a"]}
    wire["GET /_node/_local/_config/couchdb"] = setting
    wire["PUT /db"] = 201, {"ok": True}
    wire["GET /db/_security"] = lambda _body: (200, security[-1])
    wire["PUT /db/_security"] = lambda body: (security.append(body), (200, {"ok": True}))[1]
    outcome = module.carry_out(
        RESOURCE, RESOURCE.desire({**PARAMS, "name": ["db"], "security": given}), client(), check_mode=False
    )
    assert len(security) == 1 + written
    assert outcome.returned["databases"][0]["security"] == security[-1]
    assert [change.action for change in outcome.changes] == ["create"] + ["update"] * written


@pytest.mark.parametrize("check_mode", [True, False])
def test_what_reaches_the_wire(wire: Wire, check_mode: bool) -> None:
    there = [{"key": "a+b/c", "info": {**INFO, "db_name": "a+b/c"}}]
    wire["POST /_dbs_info"] = InTurn([[{"key": "a+b/c", "error": "not_found"}], there])
    wire["PUT /a%2Bb%2Fc?q=4&n=2"] = 201, {"ok": True}
    wire["GET /a%2Bb%2Fc/_security"] = InTurn([{}, {"members": {"roles": ["r"]}}])
    wire["GET /a%2Bb%2Fc/_revs_limit"] = 7
    wire["PUT /a%2Bb%2Fc/_security"] = {"ok": True}
    wire["PUT /a%2Bb%2Fc/_revs_limit"] = {"ok": True}
    given = {"name": ["a+b/c"], "shards": 4, "replicas": 2, "security": {"members": {"roles": ["r"]}}, "revs_limit": 7}
    wire["GET /_membership"] = {"all_nodes": ["a", "b"], "cluster_nodes": ["a", "b"]}
    there[0]["info"]["cluster"] = {"q": 4, "n": 2}
    desired = RESOURCE.desire({**PARAMS, **given})
    outcome = module.carry_out(RESOURCE, desired, client(), check_mode=check_mode)
    assert len(outcome.changes) == 3
    if check_mode:
        listing = "GET /_all_dbs?start_key=%22a%2Bb%2Fc%22&end_key=%22a%2Bb%2Fc%22"
        setting = "GET /_node/_local/_config/couchdb"
        assert wire.asked == ["GET /", "POST /_dbs_info", listing, "GET /_membership", setting]
    else:
        assert wire.written[0] == "PUT /a%2Bb%2Fc?q=4&n=2"
        assert sorted(wire.written[1:]) == ["PUT /a%2Bb%2Fc/_revs_limit", "PUT /a%2Bb%2Fc/_security"]
        # What a new database is open to is asked of the server, whose default may be another: nothing is added to it.
        assert {"members": {"roles": ["r"]}} in wire.bodies


@pytest.mark.parametrize("state", ["present", "absent"])
@pytest.mark.parametrize("others", [1, 30])
@pytest.mark.parametrize("names", [["db"], ["db", "other"], *([f"db{at}" for at in range(end)] for end in (150, 1200))])
def test_a_database_whose_nodes_are_all_away_is_not_taken_for_missing(
    wire: Wire, names: list[str], others: int, state: str
) -> None:
    """CouchDB says not_found of it in _dbs_info, lists it, and says what is wrong when it is asked for by itself."""
    wire["GET /_dbs_info?limit=1000"] = requests.exceptions.ChunkedEncodingError("cut short")
    wire["POST /_dbs_info"] = lambda body: (200, [{"key": name, "error": "not_found"} for name in body["keys"]])
    for query in ("", f"?start_key=%22{names[0]}%22&end_key=%22{names[0]}%22"):
        wire[f"GET /_all_dbs{query}"] = [names[0], *(f"unasked{number}" for number in range(others))]
    wire[f"GET /{names[0]}"] = 500, {"error": "internal_server_error", "reason": "No DB shards could be opened."}
    with pytest.raises(errors.ServerError, match=f"GET .*/{names[0]} answered 500 .*No DB shards could be opened"):
        module.carry_out(
            RESOURCE, RESOURCE.desire({**PARAMS, "name": names, "state": state}), client(), check_mode=True
        )
    assert "GET /other" not in wire.asked
    assert wire.written == []


@pytest.mark.parametrize(("answer", "exists"), [((404, {"error": "not_found"}), False), ((200, INFO), True)])
def test_a_database_that_comes_or_goes_while_it_is_asked_for(wire: Wire, answer: t.Any, exists: bool) -> None:
    wire["POST /_dbs_info"] = [{"key": "db", "error": "not_found"}]
    wire["GET /_all_dbs?start_key=%22db%22&end_key=%22db%22"] = ["db"]
    wire["GET /db"] = answer
    assert client().dbs_info(["db"]) == {"db": INFO if exists else None}


def test_who_may_not_list_databases_can_still_ask_for_one(wire: Wire) -> None:
    wire["POST /_dbs_info"] = [{"key": "db", "error": "not_found"}]
    wire["GET /_all_dbs?start_key=%22db%22&end_key=%22db%22"] = 401, {"error": "unauthorized"}
    assert client().dbs_info(["db"]) == {"db": None}


def test_a_database_that_another_client_created_meanwhile_is_fine(wire: Wire) -> None:
    there = [{"key": "db", "info": INFO}]
    wire["POST /_dbs_info"] = InTurn([[{"key": "db", "error": "not_found"}], there])
    wire["GET /_membership"] = {"all_nodes": ["a"], "cluster_nodes": ["a"]}
    wire["PUT /db"] = 412, {"error": "file_exists", "reason": "The database could not be created."}
    outcome = module.carry_out(RESOURCE, RESOURCE.desire(PARAMS), client(), check_mode=False)
    assert not outcome.changes
    assert wire.written == ["PUT /db"]


def test_check_mode_predicts_the_shape_of_the_real_result(wire: Wire) -> None:
    wire["POST /_dbs_info"] = [{"key": "db", "error": "not_found"}]
    wire["GET /_membership"] = {"all_nodes": ["a"], "cluster_nodes": ["a"]}
    outcome = module.carry_out(RESOURCE, RESOURCE.desire(PARAMS), client(), check_mode=True)
    (database,) = outcome.returned["databases"]
    assert set(database) == set(held())
    assert set(database["info"]) >= {"db_name", "doc_count", "sizes", "cluster", "props", "update_seq"}


def test_couchdb_1_is_asked_one_by_one(wire: Wire) -> None:
    wire["GET /"] = {"couchdb": "Welcome", "version": "1.7.2"}
    wire["GET /_all_dbs"] = ["a", "other"]
    wire["GET /a"] = {"db_name": "a", "doc_count": 1}
    outcome = module.carry_out(RESOURCE, RESOURCE.desire({**PARAMS, "name": ["a", "b"]}), client(), check_mode=True)
    assert wire.asked == ["GET /", "GET /_all_dbs", "GET /a"]
    assert [str(change) for change in outcome.changes] == ["create database b"]


LIST = {**PARAMS, "name": None}


def given(name: str, **options: t.Any) -> dict[str, t.Any]:
    """An item of databases as Ansible gives it: with None for what is not set."""
    return {**dict.fromkeys(resource._DATABASE), "name": name, **options}


def test_each_database_of_a_list_has_its_own_options_or_the_task_s() -> None:
    databases = [
        given("new", shards=4),
        given("kept", security={"members": {"roles": ["own"]}}, revs_limit=7),
        given("gone", state="absent"),
    ]
    common = {"security": {"members": {"roles": ["common"]}}, "revs_limit": 5}
    desired = resource.desire({**LIST, **common, "databases": databases})
    there = {name: held(name=name, security={}, revs_limit=5) for name in ("kept", "gone")}
    plan = resource.plan(desired, Observed({"new": {**GONE, "name": "new"}, **there}, THREE))
    assert [(change.call, change.database, change.arguments) for change in plan.changes] == [
        (Database.put, "new", {"shards": 4}),
        (Database.merge_security, "new", {"given": {"members": {"roles": ["common"]}}}),
        (Database.set_revs_limit, "new", {"limit": 5}),
        (Database.merge_security, "kept", {"given": {"members": {"roles": ["own"]}}, "before": {}}),
        (Database.set_revs_limit, "kept", {"limit": 7}),
        (Database.delete_database, "gone", {}),
    ]
    returned = resource.report(desired, plan.predicted, [])["databases"]
    assert [(database["name"], database["exists"]) for database in returned] == [
        ("new", True),
        ("kept", True),
        ("gone", False),
    ]


def test_a_list_reads_security_and_limits_only_where_they_are_declared(wire: Wire) -> None:
    serve(wire, ["a", "b", "c"])
    databases = [
        given("a", security={}),
        given("b", revs_limit=1000),
        given("c"),
        given("d", state="absent", revs_limit=1),
    ]
    wire["POST /_dbs_info"] = [
        *({"key": name, "info": {**INFO, "db_name": name}} for name in "abc"),
        {"key": "d", "error": "not_found"},
    ]
    desired = RESOURCE.desire({**LIST, "databases": databases})
    outcome = module.carry_out(RESOURCE, desired, client(), check_mode=False)
    assert not outcome.changes
    listing = "GET /_all_dbs?start_key=%22d%22&end_key=%22d%22"
    assert wire.asked == ["GET /", "POST /_dbs_info", listing, "GET /a/_security", "GET /b/_revs_limit"]


@pytest.mark.parametrize(
    ("second", "named"),
    [
        (given("first"), "databases[1].name"),
        (given("UPPER"), "databases[1].name"),
        (given("second", shards=0), "databases[1].shards"),
        (given("second", security={"admins": "ann"}), "databases[1].security.admins"),
    ],
)
def test_bad_input_in_a_list_names_the_item(second: dict[str, t.Any], named: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        resource.desire({**LIST, "databases": [given("first"), second]})
    assert caught.value.option == named


def test_what_a_version_has_not_names_the_item(wire: Wire) -> None:
    wire["GET /"] = {"couchdb": "Welcome", "version": "1.7.2"}
    with pytest.raises(InvalidInput, match=r"^databases\[0\]\.shards: CouchDB 1.7.2 doesn't"):
        RESOURCE.observe(client(), RESOURCE.desire({**LIST, "databases": [given("a", shards=2)]}))


def test_what_can_not_change_names_the_item() -> None:
    desired = resource.desire({**LIST, "databases": [given("db", shards=4)]})
    with pytest.raises(InvalidInput, match=r"^databases\[0\]\.shards: db has 2"):
        resource.plan(desired, Observed({"db": held()}, THREE))


WHOLE = ["00000000-7fffffff", "80000000-ffffffff"]
HALVES = ["00000000-3fffffff", "40000000-7fffffff", "80000000-bfffffff", "c0000000-ffffffff"]


def on(nodes: str, ranges: t.Iterable[str]) -> dict[str, list[str]]:
    """These ranges, on nodes that are called by a letter each."""
    return {range_: [f"{node}@h" for node in nodes] for range_ in ranges}


def split(**options: t.Any) -> dict[str, t.Any]:
    return resource.desire({**PARAMS, "shards": 4, "reshard": True, **options})


def job(number: int, state: str, **more: t.Any) -> dict[str, t.Any]:
    source = f"shards/{WHOLE[number]}/db.1700000000"
    return {"id": f"001-{number}", "job_state": state, "source": source, "node": "a@h", "state_info": {}, **more}


def test_shards_are_split_where_that_is_declared() -> None:
    plan = resource.plan(split(), Observed({"db": held()}, THREE, splits={"db": Split(on("a", WHOLE))}))
    (change,) = plan.changes
    assert (change.path, change.before["q"], change.after["q"]) == (("db", "cluster"), 2, 4)
    assert change.arguments == {"name": "db", "shards": 4, "wait_timeout": 3600}
    assert plan.predicted.databases["db"]["info"]["cluster"]["q"] == 4
    whole = held(info={**INFO, "cluster": {"q": 4, "n": 1}})
    assert resource.plan(split(), Observed({"db": whole}, THREE, splits={"db": Split(on("a", HALVES))})).changes == ()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shards": 4, "reshard": None}, r"^shards: db has 2, and they can only be split. Set reshard to true"),
        ({"shards": 6}, r"^shards: db has 2. CouchDB can double the number of its shards only, to 4, 8, 16 "),
        ({"shards": 1}, r"^shards: db has 2. CouchDB can double"),
    ],
)
def test_shards_that_can_not_be_split(options: dict[str, t.Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        resource.plan(split(**options), Observed({"db": held()}, THREE, splits={"db": Split(on("a", WHOLE))}))


def test_a_split_needs_a_number() -> None:
    with pytest.raises(InvalidInput, match=r"^reshard: needs shards"):
        resource.desire({**PARAMS, "reshard": True})


def test_an_interrupted_split_is_continued() -> None:
    """Some ranges are split: CouchDB reports a number that is no half of the declared one, and counts overlapping ranges twice."""
    for ranges in ([*HALVES[:2], WHOLE[1]], [*WHOLE, *HALVES[:2]], [*WHOLE, *HALVES]):
        database = held(info={**INFO, "cluster": {"q": len(ranges), "n": 2}})
        plan = resource.plan(split(), Observed({"db": database}, THREE, splits={"db": Split(on("a", ranges))}))
        assert [change.arguments["shards"] for change in plan.changes] == [4]
    done = held(info={**INFO, "cluster": {"q": 4, "n": 1}})
    assert (
        len(
            resource.plan(
                split(), Observed({"db": done}, THREE, splits={"db": Split(on("a", HALVES), {"a@h"})})
            ).changes
        )
        == 1
    )


def test_a_split_that_leads_to_another_number_is_not_begun(wire: Wire) -> None:
    wire["GET /_reshard/jobs"] = {"jobs": []}
    wire["GET /db/_shards"] = {"shards": on("a", [*HALVES[:2], WHOLE[1]])}
    with pytest.raises(
        errors.ReshardFailed, match=r"^db can't be split to 3000 shards. CouchDB can double .* to 4, 8, 16 "
    ):
        client().split_shards("db", 3000)
    assert wire.written == []


def test_a_split_makes_jobs_waits_and_removes_them(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    wire["GET /_reshard/jobs"] = InTurn(
        [
            {"jobs": []},
            {"jobs": [job(0, "running"), job(1, "stopped")]},
            {"jobs": [job(0, "completed"), job(1, "failed", state_info={"reason": "full"})]},
            {"jobs": []},
            {"jobs": []},
        ]
    )
    wire["GET /_reshard/state"] = {"state": "running", "reason": None}
    wire["GET /db/_shards"] = InTurn(
        [
            {"shards": on("a", WHOLE)},
            {"shards": on("a", [*HALVES[:2], WHOLE[1]])},
            {"shards": on("a", HALVES)},
        ]
    )
    wire["POST /_reshard/jobs"] = 201, [{"ok": True, "id": "001-0", "node": "a@h", "shard": "s"}]
    for path in ("DELETE /_reshard/jobs/001-0", "DELETE /_reshard/jobs/001-1", "PUT /_reshard/jobs/001-1/state"):
        wire[path] = {"ok": True}
    client().split_shards("db", 4)
    assert wire.written == [
        "POST /_reshard/jobs",
        "POST /_reshard/jobs",
        "PUT /_reshard/jobs/001-1/state",
        "DELETE /_reshard/jobs/001-0",
        "DELETE /_reshard/jobs/001-1",
        "POST /_reshard/jobs",
    ]
    posted = [body for line, body in zip(wire.asked, wire.bodies, strict=True) if line == "POST /_reshard/jobs"]
    assert [body["range"] for body in posted] == [*WHOLE, WHOLE[1]]


@pytest.mark.parametrize(
    ("jobs", "message"),
    [
        (InTurn([{"jobs": [job(0, "failed", state_info={"reason": "disk full"})]}]), "failed twice: disk full"),
        ({"jobs": []}, "resharding is stopped on the cluster: maintenance"),
    ],
)
def test_a_split_that_fails_says_why(wire: Wire, monkeypatch: pytest.MonkeyPatch, jobs: t.Any, message: str) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    wire["GET /_reshard/jobs"] = jobs
    wire["DELETE /_reshard/jobs/001-0"] = {"ok": True}
    wire["GET /_reshard/state"] = {"state": "stopped", "reason": "maintenance"}
    wire["GET /db/_shards"] = {"shards": on("a", WHOLE)}
    with pytest.raises(errors.ReshardFailed, match=message):
        client().split_shards("db", 4)


def test_a_split_that_makes_no_progress_says_where_it_is(wire: Wire) -> None:
    wire["GET /_reshard/jobs"] = {"jobs": [job(0, "running", split_state="initial_copy", state_info={"left": 7})]}
    message = r"splitting db makes no progress for 0 s: running/initial_copy on a@h \{\"left\": 7\}"
    with pytest.raises(errors.ReshardFailed, match=message):
        client().split_shards("db", 4, wait_timeout=0)


@pytest.mark.parametrize("hangs", ["GET /_reshard/jobs", "GET /db/_shards", "GET /_reshard/state"])
def test_a_split_that_only_read_is_not_unsure(wire: Wire, hangs: str) -> None:
    left: list[float] = []

    def hang(body: t.Any) -> t.Any:
        left.append(wait.seconds_left())
        raise TimeoutError("late")

    wire["GET /_reshard/jobs"] = {"jobs": []}
    wire["GET /_reshard/state"] = {"state": "running", "reason": None}
    wire["GET /db/_shards"] = {"shards": on("a", WHOLE)}
    wire[hangs] = hang
    plan = resource.plan(split(wait_timeout=3), Observed({"db": held()}, THREE, splits={"db": Split(on("a", WHOLE))}))
    progress, error = module.apply(plan, client())
    assert isinstance(error, errors.TimedOut)
    assert left == [pytest.approx(3, abs=0.5)]
    assert (len(progress.failed), progress.unsure) == (1, [])
    # Once a job exists, the split may go on.
    wire["GET /_reshard/jobs"] = InTurn([{"jobs": []}, TimeoutError("late")])
    wire["GET /_reshard/state"] = {"state": "running", "reason": None}
    wire["GET /db/_shards"] = {"shards": on("a", WHOLE)}
    wire["POST /_reshard/jobs"] = 201, [{"ok": True}]
    assert len(module.apply(plan, client())[0].unsure) == 1
