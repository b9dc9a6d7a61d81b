# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""couchdb_index: its plans as tables, and the requests that reach the wire."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.couchpy.couchdb.plugins.module_utils import errors
from ansible_collections.couchpy.couchdb.plugins.module_utils._engine import module
from ansible_collections.couchpy.couchdb.plugins.module_utils._engine.plan import Plan, diff
from ansible_collections.couchpy.couchdb.plugins.module_utils._resources import indexes as resource
from ansible_collections.couchpy.couchdb.plugins.module_utils._resources.indexes import Observed
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules import indexes as rules
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules.dialect import Dialect, OneX
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules.indexes import Design
from ansible_collections.couchpy.couchdb.plugins.module_utils.database import Database
from ansible_collections.couchpy.couchdb.plugins.module_utils.errors import InvalidInput
from ansible_collections.couchpy.couchdb.tests.unit.wire import InTurn, Wire, client

RESOURCE = resource.RESOURCE
OPTIONS = [
    "name",
    "ddoc",
    "fields",
    "selector",
    "type",
    "partitioned",
    "default_analyzer",
    "default_field",
    "index_array_lengths",
    "database",
    "state",
]
ITEM: dict[str, t.Any] = dict.fromkeys(OPTIONS)
PARAMS: dict[str, t.Any] = {**ITEM, "database": "db", "state": "present", "indexes": None}
THREE = Dialect("CouchDB", "3.4.3")
POUCH = OneX("PouchDB Server", "4.2.0")
DESIGNS = "/_all_docs?startkey=%22_design%2F%22&endkey=%22_design0%22"
BY_ID = "/_all_docs?include_docs=true"
BY_A = {"fields": [{"a": "asc"}]}
BY_B = {"fields": [{"b": "asc"}]}
TEXT = {
    "default_analyzer": "keyword",
    "default_field": {},
    "partial_filter_selector": {},
    "selector": {},
    "fields": [{"name": "a", "type": "string"}],
    "index_array_lengths": True,
}


def view(selector: dict[str, t.Any] | None = None, **fields: str) -> dict[str, t.Any]:
    """A json index as CouchDB keeps it in a design document."""
    return {
        "map": {"fields": fields, "partial_filter_selector": selector or {}},
        "reduce": "_count",
        "options": {"def": {"fields": list(fields)}},
    }


def design(name: str, partitioned: bool | None = None, language: str = "query", **sections: t.Any) -> dict[str, t.Any]:
    """A design document that holds the views, or other sections, of these names."""
    options = {} if partitioned is None else {"options": {"partitioned": partitioned}}
    return {"_id": f"_design/{name}", "_rev": "1-a", "language": language, **options, **sections}


def observed(
    *designs: dict[str, t.Any],
    partitioned: bool | None = None,
    dialect: Dialect = THREE,
    features: tuple[str, ...] = (),
) -> Observed:
    """One database with these design documents, as observe() gives it."""
    known = {} if partitioned is None else {"db": partitioned}
    held = {"db": rules.existing(designs, partitioned)}
    return Observed(held, {"db": rules.designs(designs)}, known, [], dialect, list(features))


def planned(there: Observed, **given: t.Any) -> Plan:
    """The plan for one index, or for several."""
    if "indexes" in given:
        given["indexes"] = [{**ITEM, **item} for item in given["indexes"]]
    return resource.plan(resource.desire({**PARAMS, **given}), there)


APP = design("app", views={"by-a": view(a="asc"), "by-b": view(b="asc")})
SOLO = design("0123", views={"solo": view(a="asc")})


@pytest.mark.parametrize(
    ("there", "given", "changes"),
    [
        ([], {"ddoc": "app", "name": "by-a", "fields": ["a"]}, ["create index db/app/by-a"]),
        ([], {"name": "by-a", "fields": ["a"]}, ["create index db/by-a"]),
        ([], {"fields": ["a", "b"]}, ["create index db/a,b"]),
        ([], {"fields": ["a"], "selector": {"x": 1}}, ['create index db/a where {"x": {"$eq": 1}}']),
        ([], {"state": "absent", "name": "by-a"}, []),
        # Named by design document and name.
        ([APP], {"ddoc": "app", "name": "by-a", "fields": ["a"]}, []),
        ([APP], {"ddoc": "_design/app", "name": "by-a", "fields": [{"a": "asc"}]}, []),
        ([APP], {"ddoc": "app", "name": "by-a", "fields": [{"a": "desc"}]}, ["update index db/app/by-a"]),
        ([APP], {"ddoc": "app", "name": "by-a", "fields": ["a", "b"]}, ["update index db/app/by-a"]),
        ([APP], {"ddoc": "app", "name": "by-a", "fields": ["a"], "selector": {"b": 1}}, ["update index db/app/by-a"]),
        ([APP], {"ddoc": "app", "name": "by-c", "fields": ["a"]}, ["create index db/app/by-c"]),
        ([APP], {"ddoc": "other", "name": "by-a", "fields": ["a"]}, ["create index db/other/by-a"]),
        ([APP], {"ddoc": "app", "name": "by-a", "state": "absent"}, ["delete index db/app/by-a"]),
        ([APP], {"ddoc": "other", "name": "by-a", "state": "absent"}, []),
        # By its name alone.
        ([APP], {"name": "by-a", "fields": ["a"]}, []),
        ([APP], {"name": "by-a", "fields": ["c"]}, ["update index db/app/by-a"]),
        ([APP, SOLO], {"name": "solo", "fields": ["a", "b"]}, ["update index db/0123/solo"]),
        ([APP], {"name": "by-a", "state": "absent"}, ["delete index db/app/by-a"]),
        # By its definition.
        ([APP], {"fields": ["a"]}, []),
        ([APP], {"fields": ["a"], "ddoc": "app"}, []),
        ([APP], {"fields": ["a"], "ddoc": "other"}, ["create index db/other/a"]),
        ([APP], {"fields": ["a"], "selector": {}}, []),
        ([APP], {"fields": ["a"], "selector": {"x": 1}}, ['create index db/a where {"x": {"$eq": 1}}']),
        ([APP, SOLO], {"fields": ["a"], "state": "absent"}, ["delete index db/app/by-a", "delete index db/0123/solo"]),
        # What is no index of Mango is nobody's.
        ([design("app", language="javascript", views={"by-a": {"map": "x"}})], {"name": "by-a", "state": "absent"}, []),
        ([design("app", views={"by-a": {"map": {"fields": {"a": "asc"}}}})], {"name": "by-a", "state": "absent"}, []),
    ],
)
def test_plan(there: list[dict[str, t.Any]], given: dict[str, t.Any], changes: list[str]) -> None:
    plan = planned(observed(*there), **given)
    assert [str(change) for change in plan.changes] == changes
    assert not planned(plan.predicted, **given).changes


@pytest.mark.parametrize(
    ("kept", "given"),
    [
        ({"$and": [{"b": {"$eq": 2}}, {"a": {"$gt": 1}}]}, {"a": {"$gt": 1.0}, "b": 2}),
        ({"a.b": {"$ne": 1}}, {"a": {"b": {"$not": {"$eq": 1}}}}),
        ({"a.b": {"$ne": 1}}, {"$nor": [{"a.b": 1}]}),
        ({"a": {"$in": [1, 2]}}, {"a": {"$in": [2, 1]}}),
    ],
)
def test_a_selector_that_means_the_same_builds_nothing(kept: dict[str, t.Any], given: dict[str, t.Any]) -> None:
    there = observed(design("app", views={"by-a": view(kept, a="asc")}))
    assert not planned(there, ddoc="app", name="by-a", fields=["a"], selector=given).changes
    assert planned(there, ddoc="app", name="by-a", fields=["a"]).changes


def test_pouchdb_keeps_a_selector_elsewhere() -> None:
    stored = {"map": {"fields": {"a": "asc"}}, "options": {"def": {"partial_filter_selector": {"x": 1}}}}
    there = observed(design("app", views={"by-a": stored}), dialect=POUCH)
    assert not planned(there, ddoc="app", name="by-a", fields=["a"], selector={"x": {"$eq": 1}}).changes
    assert planned(there, ddoc="app", name="by-a", fields=["a"]).changes


def test_what_is_sent_is_what_was_given() -> None:
    given = {"ddoc": "_design/app", "name": "by-a", "fields": ["a", {"b": "asc"}], "selector": {"x": 1}}
    (change,) = planned(observed(), **given).changes
    assert (change.database, change.call) == ("db", Database.put_index)
    assert change.arguments == {
        "index": {
            "index": {"fields": ["a", {"b": "asc"}], "partial_filter_selector": {"x": 1}},
            "type": "json",
            "ddoc": "app",
            "name": "by-a",
        }
    }
    assert diff([change]) == {
        "before": {},
        "after": {
            "db": {
                "app": {
                    "by-a": {
                        "type": "json",
                        "def": {"fields": [{"a": "asc"}, {"b": "asc"}], "partial_filter_selector": {"x": {"$eq": 1}}},
                    }
                }
            }
        },
    }


def test_what_is_new_comes_first_and_a_design_document_is_written_one_change_at_a_time() -> None:
    gone = [{"ddoc": "app", "name": name, "state": "absent"} for name in ("by-a", "by-b")]
    new = [{"ddoc": "new", "name": name, "fields": [name]} for name in "xyz"]
    plan = planned(observed(APP), indexes=[*gone, *new, {"fields": ["q"]}])
    assert [[str(change) for change in stage] for stage in plan.stages()] == [
        ["create index db/new/x", "create index db/q"],
        ["create index db/new/y"],
        ["create index db/new/z"],
        ["delete index db/app/by-a"],
        ["delete index db/app/by-b"],
    ]


def test_who_names_an_index_best_has_it() -> None:
    items = [
        {"fields": ["a"], "state": "absent"},
        {"name": "by-a", "fields": ["c"]},
        {"ddoc": "app", "name": "by-a", "fields": ["a"]},
    ]
    plan = planned(observed(APP, SOLO), indexes=items)
    assert [str(change) for change in plan.changes] == ["create index db/by-a", "delete index db/0123/solo"]


def test_a_name_that_several_have_is_not_guessed_at() -> None:
    other = design("other", views={"by-a": view(b="asc")})
    assert not planned(observed(APP, other), name="by-a", fields=["b"]).changes
    with pytest.raises(InvalidInput, match=r"^indexes\[0\]\.name: .*app, other. Set ddoc"):
        planned(observed(APP, other), indexes=[{"name": "by-a", "fields": ["c"]}])


def test_another_type_takes_the_place_of_the_old_one_once_it_exists() -> None:
    plan = planned(observed(design("app", indexes={"x": {"index": TEXT}})), ddoc="app", name="x", fields=["a"])
    assert [(str(change), change.stage) for change in plan.changes] == [
        ("create index db/app/x", 0),
        ("delete index db/app/x", 1),
    ]
    assert plan.changes[1].arguments == {"ddoc": "app", "name": "x", "kind": "text"}


@pytest.mark.parametrize(
    ("given", "same"),
    [
        ({"fields": [{"name": "a", "type": "string"}]}, True),
        ({"fields": [{"type": "string", "name": "a"}], "default_analyzer": "keyword"}, True),
        (
            {"fields": [{"name": "a", "type": "string"}], "default_field": {"enabled": True, "analyzer": "standard"}},
            True,
        ),
        ({"fields": [{"name": "a", "type": "string"}], "default_field": {"enabled": None, "analyzer": None}}, True),
        ({"fields": [{"name": "a", "type": "string"}], "default_field": {"enabled": False, "analyzer": None}}, False),
        ({"fields": [{"name": "a", "type": "string"}], "default_analyzer": "english"}, False),
        ({"fields": [{"name": "a", "type": "string"}], "index_array_lengths": False}, False),
        ({"fields": [{"name": "a", "type": "string"}], "selector": {"b": 1}}, False),
        ({"fields": [{"name": "a", "type": "number"}]}, False),
        ({"fields": []}, False),
        ({}, False),
    ],
)
@pytest.mark.parametrize(("kind", "section"), [("text", "indexes"), ("nouveau", "nouveau")])
def test_text_indexes(kind: str, section: str, given: dict[str, t.Any], same: bool) -> None:
    there = observed(design("app", **{section: {"words": {"index": TEXT}}}), features=("search", "nouveau"))
    plan = planned(there, ddoc="app", name="words", type=kind, **given)
    assert bool(plan.changes) is not same
    if not same:
        (change,) = plan.changes
        sent = {name: value for name, value in given.items() if name != "selector" and value is not None}
        if "default_field" in sent:
            sent["default_field"] = {"enabled": False}
        if "selector" in given:
            sent["partial_filter_selector"] = given["selector"]
        assert change.arguments["index"] == {"index": sent, "type": kind, "ddoc": "app", "name": "words"}
        assert not planned(plan.predicted, ddoc="app", name="words", type=kind, **given).changes


def test_a_text_index_of_all_fields() -> None:
    there = observed(design("app", indexes={"words": {"index": {**TEXT, "fields": "all_fields"}}}))
    assert not planned(there, ddoc="app", name="words", type="text").changes


@pytest.mark.parametrize(
    ("there", "given", "sent"),
    [
        (observed(), {}, None),
        (observed(partitioned=True), {"partitioned": True}, True),
        (observed(partitioned=True), {"partitioned": False}, False),
        # CouchDB requires what the design document says, and nothing if it says nothing.
        (observed(design("app", True, views={"x": view(x="asc")}), partitioned=True), {}, True),
        (observed(design("app", False), partitioned=True), {}, False),
        (observed(design("app", views={"x": view(x="asc")}), partitioned=True), {"partitioned": True}, None),
        (observed(design("app"), partitioned=False), {"partitioned": False}, None),
    ],
)
def test_partitioned(there: Observed, given: dict[str, t.Any], sent: bool | None) -> None:
    (change,) = planned(there, ddoc="app", name="by-a", fields=["a"], **given).changes
    assert change.arguments["index"].get("partitioned") is sent


def test_the_indexes_of_a_new_design_document_say_the_same_of_partitions() -> None:
    named = [{"ddoc": "new", "name": name, "fields": [name]} for name in "ab"]
    plan = planned(observed(partitioned=True), indexes=[{**named[0], "partitioned": False}, named[1]])
    assert [change.arguments["index"]["partitioned"] for change in plan.changes] == [False, False]
    plan = planned(observed(partitioned=True), indexes=[named[0], {**named[1], "partitioned": True}])
    assert [change.arguments["index"].get("partitioned") for change in plan.changes] == [None, None]
    with pytest.raises(InvalidInput, match=r"^indexes\[1\]\.partitioned: the design document new of db is not part"):
        planned(
            observed(partitioned=True), indexes=[{**named[0], "partitioned": False}, {**named[1], "partitioned": True}]
        )


@pytest.mark.parametrize(
    ("there", "given", "message"),
    [
        (observed(partitioned=False), {"partitioned": True}, "partitioned: the database db is not partitioned"),
        (
            observed(design("app", False, views={"by-a": view(a="asc")}), partitioned=True),
            {"partitioned": True},
            "partitioned: the design document app of db is not partitioned",
        ),
        (
            observed(design("app", views={"by-b": view(a="asc")}), partitioned=True),
            {"partitioned": False},
            "partitioned: the design document app of db is partitioned",
        ),
        (
            observed(design("app", language="javascript")),
            {},
            "ddoc: the design document app of db has the language javascript",
        ),
        (observed(), {"type": "text", "fields": None}, "type: this CouchDB has no indexes of the type text"),
        (observed(), {"type": "nouveau", "fields": None}, "type: .* nouveau. Set nouveau/enable to true"),
        (
            observed(dialect=Dialect("CouchDB", "3.3.3"), features=("nouveau",)),
            {"type": "nouveau", "fields": None},
            r"type: CouchDB 3\.3\.3 has no .* nouveau; they came with 3\.4",
        ),
        (
            observed(dialect=Dialect("CouchDB", "2.3.1"), partitioned=False),
            {"partitioned": False},
            r"partitioned: CouchDB 2\.3\.1 has no partitioned indexes",
        ),
        (observed(dialect=POUCH), {"type": "text", "fields": None}, "type: PouchDB Server"),
        (observed(dialect=POUCH), {"partitioned": False}, "partitioned: PouchDB Server"),
        (observed(dialect=POUCH), {"ddoc": "a/b"}, "ddoc: PouchDB Server"),
        (observed(dialect=POUCH), {"name": "a/b"}, "name: PouchDB Server"),
    ],
)
def test_what_can_not_be_is_refused_before_anything_is_sent(there: Observed, given: t.Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=f"^{message}"):
        planned(there, **{"ddoc": "app", "name": "by-a", "fields": ["a"], **given})


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"database": None, "fields": ["a"]}, "database"),
        ({"database": "UPPER", "fields": ["a"]}, "database"),
        ({}, "fields"),
        ({"name": "by-a"}, "fields"),
        ({"fields": []}, "fields"),
        ({"fields": ["a", "a"]}, "fields"),
        ({"fields": ["a", {"a": "asc"}]}, "fields"),
        ({"fields": [{"a": "asc"}, {"b": "desc"}]}, "fields"),
        ({"fields": ["a", {"b": "desc"}]}, "fields"),
        ({"fields": [{"a": "up"}]}, "fields"),
        ({"fields": [{"a": "asc", "b": "asc"}]}, "fields"),
        ({"fields": [{}]}, "fields"),
        ({"fields": [1]}, "fields"),
        ({"fields": [""]}, "fields"),
        ({"fields": [["a"]]}, "fields"),
        ({"fields": ["a"], "name": ""}, "name"),
        ({"fields": ["a"], "ddoc": ""}, "ddoc"),
        ({"fields": ["a"], "ddoc": "_design/"}, "ddoc"),
        ({"fields": ["a"], "name": "_all_docs"}, "name"),
        ({"state": "absent", "name": "_all_docs"}, "name"),
        ({"fields": ["a"], "ddoc": ".."}, "ddoc"),
        ({"fields": ["a"], "ddoc": "_design/."}, "ddoc"),
        ({"state": "absent", "ddoc": "..", "name": ".."}, "ddoc"),
        ({"fields": ["a"], "ddoc": "app", "name": ".."}, "name"),
        ({"indexes": [{"fields": ["a"]}, {"fields": ["b"], "ddoc": ".."}]}, "indexes[1].ddoc"),
        ({"state": "absent"}, "name"),
        ({"state": "absent", "ddoc": "app"}, "name"),
        ({"fields": ["a"], "default_analyzer": "keyword"}, "default_analyzer"),
        ({"fields": ["a"], "index_array_lengths": True}, "index_array_lengths"),
        ({"type": "text", "fields": ["a"]}, "fields"),
        ({"type": "text", "fields": [{"name": "a"}]}, "fields"),
        ({"type": "text", "fields": [{"name": "", "type": "string"}]}, "fields"),
        ({"type": "text", "fields": [{"name": "a", "type": "text"}]}, "fields"),
        ({"type": "nouveau", "fields": [{"name": "a", "type": "date"}]}, "fields"),
        ({"indexes": [{"fields": ["a"]}, {"fields": [{"a": "asc"}]}]}, "indexes[1].fields"),
        ({"indexes": [{"fields": ["a"], "name": "x"}, {"state": "absent", "name": "x"}]}, "indexes[1].name"),
        ({"indexes": [{"fields": ["a"]}, {"fields": []}]}, "indexes[1].fields"),
        (
            {"database": None, "indexes": [{"database": "db", "fields": ["a"]}, {"fields": ["a"]}]},
            "indexes[1].database",
        ),
    ],
)
def test_bad_input_names_the_option(given: dict[str, t.Any], named: str) -> None:
    if "indexes" in given:
        given = {**given, "indexes": [{**ITEM, **item} for item in given["indexes"]]}
    with pytest.raises(InvalidInput) as caught:
        resource.desire({**PARAMS, **given})
    assert caught.value.option == named


def test_the_same_name_in_two_places_is_not_twice() -> None:
    items = [{"database": database, "ddoc": ddoc, "name": "x", "fields": ["a"]} for database in "ab" for ddoc in "cd"]
    assert len(resource.desire({**PARAMS, "indexes": [{**ITEM, **item} for item in items]})) == 4


def hold(wire: Wire, name: str, *states: list[dict[str, t.Any]]) -> None:
    """Let a database have these design documents: at the first reading those of the first state, and so on."""
    left = list(states)

    def listed(body: t.Any) -> tuple[int, t.Any]:
        held = left[0]
        return 200, {"rows": [{"id": document["_id"], "key": document["_id"], "value": {}} for document in held]}

    def read(body: t.Any) -> tuple[int, t.Any]:
        held = {document["_id"]: document for document in (left.pop(0) if len(left) > 1 else left[0])}
        return 200, {"rows": [{"key": key, "doc": held.get(key)} for key in body["keys"]]}

    wire[f"GET /{name}{DESIGNS}"] = listed
    wire[f"POST /{name}{BY_ID}"] = read


def test_fifty_indexes_of_ten_databases_unchanged_take_two_requests_a_database(wire: Wire) -> None:
    names = [f"db{number}" for number in range(10)]
    for name in names:
        views = {f"by-{field}": view({"x": {"$eq": 1}}, **{field: "asc"}) for field in "abcde"}
        hold(wire, name, [design("app", True, views=views)])
    items = [
        {**ITEM, "database": name, "ddoc": "app", "name": f"by-{field}", "fields": [field], "selector": {"x": 1}}
        for name in names
        for field in "abcde"
    ]
    for item in items[::2]:
        item["partitioned"] = True
    desired = RESOURCE.desire({**PARAMS, "indexes": items})
    outcome = module.carry_out(RESOURCE, desired, client(), check_mode=False)
    assert not outcome.changes
    assert len(wire.asked) == 21
    assert [(index["database"], index["name"]) for index in outcome.returned["indexes"]] == [
        (item["database"], item["name"]) for item in items
    ]


@pytest.mark.parametrize("check_mode", [True, False])
def test_what_reaches_the_wire(wire: Wire, check_mode: bool) -> None:
    after = design("app", views={"by-a": view(a="asc", c="asc")})
    made = design("f00", views={"f00": view(q="asc")})
    before = [design("app", views={"by-a": view(a="asc")}), design("old/x", views={"a b": view(o="asc")})]
    hold(wire, "db", before, [after, made])
    wire["POST /db/_index"] = {"result": "created", "id": "_design/x", "name": "y"}
    wire["GET /db/_design/old%2Fx"] = before[1]
    wire["PUT /db/_design/old%2Fx"] = 201, {"ok": True, "rev": "2-b"}
    items = [
        {"ddoc": "old/x", "name": "a b", "state": "absent"},
        {"ddoc": "app", "name": "by-a", "fields": ["a", "c"]},
        {"fields": ["q"]},
    ]
    desired = RESOURCE.desire({**PARAMS, "indexes": [{**ITEM, **item} for item in items]})
    outcome = module.carry_out(RESOURCE, desired, client(), check_mode=check_mode)
    assert len(outcome.changes) == 3
    gone, updated, new = outcome.returned["indexes"]
    assert gone == {**dict.fromkeys(updated), "database": "db", "name": "a b", "exists": False}
    assert (updated["ddoc"], updated["def"]) == ("_design/app", {"fields": [{"a": "asc"}, {"c": "asc"}]})
    assert (new["exists"], new["name"]) == (True, None if check_mode else "f00")
    if check_mode:
        assert wire.written == []
    else:
        assert wire.written == ["POST /db/_index"] * 2 + ["PUT /db/_design/old%2Fx"]
        assert {"_id": "_design/old/x", "_rev": "1-a", "_deleted": True} in wire.bodies


def test_an_index_in_a_conflicting_revision_is_removed_as_well(wire: Wire) -> None:
    first, second = ({**design("app", views={"by-a": view(a="asc")}), "_rev": rev} for rev in ("1-b", "1-a"))
    hold(wire, "db", [first], [second], [second], [])
    wire["GET /db/_design/app"] = InTurn([first, second])
    wire["PUT /db/_design/app"] = 201, {"ok": True, "rev": "2-b"}
    desired = RESOURCE.desire({**PARAMS, "ddoc": "app", "name": "by-a", "state": "absent"})
    outcome = module.carry_out(RESOURCE, desired, client(), check_mode=False)
    assert [body["_rev"] for body in wire.bodies if body and "_deleted" in body] == ["1-b", "1-a"]
    assert outcome.returned["indexes"][0]["exists"] is False


def test_removing_an_index_leaves_the_others_and_what_else_exists(wire: Wire) -> None:
    document = {**APP, "autoupdate": False}
    wire["GET /db/_design/app"] = document
    wire["PUT /db/_design/app"] = 201, {"ok": True, "rev": "2-b"}
    client()["db"].remove_index("app", "by-a")
    assert wire.bodies[-1] == {**document, "views": {"by-b": view(b="asc")}}
    with pytest.raises(errors.NotFound):
        client()["db"].remove_index("app", "by-c")


@pytest.mark.parametrize(
    ("partitioned", "databases", "asked"),
    [
        (None, [design("app")], ["GET /", f"GET /db{DESIGNS}", f"POST /db{BY_ID}"]),
        (
            True,
            [design("app", True, views={"by-a": view(a="asc")})],
            ["GET /", f"GET /db{DESIGNS}", f"POST /db{BY_ID}"],
        ),
        (
            True,
            [design("app", views={"by-a": view(a="asc")})],
            ["GET /", f"GET /db{DESIGNS}", f"POST /db{BY_ID}", "POST /_dbs_info"],
        ),
    ],
)
def test_a_database_shows_whether_it_is_partitioned_only_where_that_matters(
    wire: Wire, partitioned: bool | None, databases: list[dict[str, t.Any]], asked: list[str]
) -> None:
    hold(wire, "db", databases)
    wire["POST /_dbs_info"] = [{"key": "db", "info": {"props": {"partitioned": True}}}]
    given = {"ddoc": "app", "name": "by-a", "fields": ["a"], "partitioned": partitioned}
    RESOURCE.observe(client(), RESOURCE.desire({**PARAMS, **given}))
    assert wire.asked == asked


@pytest.mark.parametrize("check_mode", [True, False])
def test_a_missing_database_is_warned_of_and_fails_before_anything_is_written(wire: Wire, check_mode: bool) -> None:
    hold(wire, "db", [])
    items = [
        {"fields": ["a"]},
        {"database": "nodb", "fields": ["a"]},
        {"database": "gone", "name": "x", "state": "absent"},
    ]
    desired = RESOURCE.desire({**PARAMS, "indexes": [{**ITEM, **item} for item in items]})
    if check_mode:
        outcome = module.carry_out(RESOURCE, desired, client(), check_mode=True)
        assert [str(change) for change in outcome.changes] == ["create index db/a", "create index nodb/a"]
        (warning,) = outcome.warnings
        assert warning.startswith("database nodb is missing. Create it first, with couchdb_database (a real run fails")
        assert wire.written == []
        return
    with pytest.raises(errors.NotFound, match="database nodb is missing. Create it first"):
        module.carry_out(RESOURCE, desired, client(), check_mode=False)
    assert wire.written == []


def test_couchdb_1_has_no_indexes(wire: Wire) -> None:
    wire["GET /"] = {"couchdb": "Welcome", "version": "1.7.2"}
    with pytest.raises(errors.Unsupported, match=r"CouchDB 1\.7\.2 has no Mango indexes"):
        RESOURCE.observe(client(), RESOURCE.desire({**PARAMS, "fields": ["a"]}))
    assert wire.asked == ["GET /"]


def test_pouchdb_server_replaces_no_index_so_the_old_one_goes_first(wire: Wire) -> None:
    wire["GET /"] = {"express-pouchdb": "Welcome!", "version": "4.2.0"}
    wire["GET /db/_design/app"] = design("app", views={"by-a": view(a="asc")})
    wire["PUT /db/_design/app"] = 201, {"ok": True, "rev": "2-b"}
    wire["POST /db/_index"] = {"result": "created", "id": "_design/app", "name": "by-a"}
    database = client()["db"]
    database.put_index({"index": {"fields": ["b"]}, "ddoc": "app", "name": "by-a"})
    database.put_index({"index": {"fields": ["b"]}, "ddoc": "new", "name": "by-a"})
    assert wire.written == ["PUT /db/_design/app", "POST /db/_index", "POST /db/_index"]


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("Encountered a conflict while saving the design document.", errors.Conflict),
        ("Unknown error while saving the design document: conflict", errors.Conflict),
        ("Unknown error while saving the design document: forbidden", errors.Forbidden),
        ("Unknown error while saving the design document: invalid_design_doc", errors.ServerError),
    ],
)
def test_what_a_500_stands_for(wire: Wire, reason: str, kind: type[errors.CouchDBError]) -> None:
    wire["POST /db/_index"] = 500, {"error": "error_saving_ddoc", "reason": reason}
    with pytest.raises(errors.CouchDBError) as caught:
        client()["db"].put_index({"index": {"fields": ["a"]}})
    assert caught.value.__class__ is kind
    assert (caught.value.status, caught.value.reason) == (500, reason)
    assert ("Log in as an admin" in str(caught.value)) is (kind is errors.Forbidden)


def test_an_index_that_another_client_wrote_meanwhile_is_planned_again(wire: Wire) -> None:
    hold(wire, "db", [], [design("app", views={"by-a": view(a="asc")})])
    wire["POST /db/_index"] = 500, {"error": "error_saving_ddoc", "reason": "Encountered a conflict while saving."}
    desired = RESOURCE.desire({**PARAMS, "ddoc": "app", "name": "by-a", "fields": ["a"]})
    assert not module.carry_out(RESOURCE, desired, client(), check_mode=False).changes
    assert wire.written == ["POST /db/_index"]


def test_a_list_that_is_older_than_its_documents_is_not_believed(wire: Wire) -> None:
    held = {"_design/app": design("app", views={"by-a": view(a="asc")})}
    wire[f"GET /db{DESIGNS}"] = {"rows": [{"id": "_design/gone", "key": "_design/gone", "value": {}}]}
    wire[f"POST /db{BY_ID}"] = lambda body: (
        200,
        {"rows": [{"key": key, "doc": held.get(key)} for key in body["keys"]]},
    )
    desired = RESOURCE.desire({**PARAMS, "ddoc": "app", "name": "by-a", "fields": ["a"]})
    assert not module.carry_out(RESOURCE, desired, client(), check_mode=False).changes


def test_an_error_names_the_index(wire: Wire) -> None:
    hold(wire, "db", [])
    wire["POST /db/_index"] = 400, {"error": "invalid_operator", "reason": "Invalid operator: $foo"}
    desired = RESOURCE.desire({**PARAMS, "ddoc": "app", "name": "x", "fields": ["a"], "selector": {"a": {"$foo": 1}}})
    with pytest.raises(module.Interrupted) as caught:
        module.carry_out(RESOURCE, desired, client(), check_mode=False)
    message = module.failure(caught.value.error, caught.value.progress)["msg"]
    assert message.startswith("create index db/app/x: ")
    assert "Invalid operator: $foo" in message


def test_designs() -> None:
    assert rules.designs([design("a"), design("b", False, "erlang"), {"_id": "_design/c"}]) == {
        "a": Design("query", None),
        "b": Design("erlang", False),
        "c": Design("javascript", None),
    }
