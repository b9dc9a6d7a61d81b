# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""couchdb_user: its plans as tables, what a hash costs, and the requests that reach the wire."""

from __future__ import annotations

import hashlib
import typing as t

import pytest
from ansible_collections.couchpy.couchdb.plugins.module_utils._engine import module
from ansible_collections.couchpy.couchdb.plugins.module_utils._resources import users as resource
from ansible_collections.couchpy.couchdb.plugins.module_utils._resources.users import Observed
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules import passwords
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules.dialect import Dialect
from ansible_collections.couchpy.couchdb.plugins.module_utils.errors import Conflict, InvalidInput, NotFound
from ansible_collections.couchpy.couchdb.tests.unit.wire import InTurn, Wire, client

RESOURCE = resource.RESOURCE
USER: dict[str, t.Any] = {
    "name": "ann",
    "password": None,
    "password_hash": None,
    "roles": None,
    "attributes": None,
    "state": "present",
    "update_password": "always",
}
PARAMS = {**USER, "users": None}
THREE = Dialect("CouchDB", "3.4.3")
QUICK = {"prf": "sha256", "iterations": 1}
PW = passwords.derive("pw", **QUICK)
NEW = {"_id": "org.couchdb.user:ann", "name": "ann", "type": "user", "roles": []}
HELD = {**NEW, "_rev": "1-a", "roles": ["a", "b"], "email": "ann@example.com", **PW.user_fields()}
CONFLICT = {"id": "org.couchdb.user:ann", "error": "conflict", "reason": "Document update conflict."}


def wanted(given: dict[str, t.Any], held: dict[str, t.Any] | None) -> t.Any:
    """The document that is written, or None when nothing is; the prediction must be where it leads to."""
    desired = resource.desire({**PARAMS, **given})
    plan = resource.plan(desired, Observed({"ann": held}, QUICK, THREE))
    assert not resource.plan(desired, plan.predicted).changes
    assert resource.plan(desired, Observed({"ann": held}, QUICK, THREE)) == plan
    return plan.changes[0].arguments["documents"] if plan.changes else None


@pytest.mark.parametrize(
    ("held", "given", "document"),
    [
        (None, {}, NEW),
        (None, {"roles": ["a"], "attributes": {"email": "x"}}, {**NEW, "roles": ["a"], "email": "x"}),
        (None, {"state": "absent"}, None),
        (HELD, {}, None),
        (HELD, {"roles": ["b", "a"]}, None),
        (HELD, {"roles": ["b", "a", "b"]}, None),
        (HELD, {"roles": []}, {**HELD, "roles": []}),
        (HELD, {"roles": ["c"]}, {**HELD, "roles": ["c"]}),
        (HELD, {"attributes": {"email": "ann@example.com"}}, None),
        (HELD, {"attributes": {"phone": 1}}, {**HELD, "phone": 1}),
        (HELD, {"attributes": {"email": None}}, {**HELD, "email": None}),
        ({**HELD, "n": 1}, {"attributes": {"n": True}}, {**HELD, "n": True}),
        ({**HELD, "n": 0}, {"attributes": {"n": False}}, {**HELD, "n": False}),
        ({**HELD, "n": [1, 2]}, {"attributes": {"n": [1.0, 2]}}, None),
        (HELD, {"password": "pw"}, None),
        (HELD, {"password": "other", "update_password": "on_create"}, None),
        (HELD, {"password_hash": str(PW)}, None),
        (HELD, {"state": "absent"}, {"_id": HELD["_id"], "_rev": "1-a", "_deleted": True}),
        (None, {"password_hash": str(PW)}, {**NEW, **PW.user_fields()}),
    ],
)
def test_plan(held: dict[str, t.Any] | None, given: dict[str, t.Any], document: t.Any) -> None:
    assert wanted(given, held) == document


def test_a_new_password_replaces_the_old_hash_and_nothing_else() -> None:
    document = wanted({"password": "other"}, {**HELD, "password_sha": "left over"})
    stored = passwords.parse_user(document)
    assert stored is not None
    assert passwords.verify("other", stored)
    assert "password" not in document
    assert "password_sha" not in document
    assert {name: document[name] for name in ("_rev", "roles", "email")} == {
        "_rev": "1-a",
        "roles": ["a", "b"],
        "email": "ann@example.com",
    }


def test_an_old_scheme_that_fits_stays() -> None:
    key = hashlib.sha1(b"pwabc").hexdigest()
    held = {**NEW, "_rev": "1-a", "password_scheme": "simple", "password_sha": key, "salt": "abc"}
    assert wanted({"password": "pw"}, held) is None


@pytest.mark.parametrize(
    ("given", "expected"),
    [({"password": "pw"}, 1), ({"password": "x", "update_password": "on_create"}, 0), ({"roles": ["x"]}, 0)],
)
def test_a_user_costs_one_derivation_at_most(derivations: list[str], given: dict[str, t.Any], expected: int) -> None:
    names = [f"u{number}" for number in range(20)]
    users = [{**USER, "name": name, **given} for name in names]
    desired = resource.desire({**PARAMS, "users": users})
    derivations.clear()
    resource.plan(desired, Observed(dict.fromkeys(names, HELD), QUICK, THREE))
    assert len(derivations) == 20 * expected


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"name": ""}, "name"),
        ({"name": "a:b"}, "name"),
        ({"name": "_a"}, "name"),
        ({"password": ""}, "password"),
        ({"password_hash": "pw"}, "password_hash"),
        ({"roles": ["_admin"]}, "roles"),
        ({"roles": [""]}, "roles"),
        ({"attributes": {"roles": []}}, "attributes"),
        ({"attributes": {"_rev": "1"}}, "attributes"),
        ({"attributes": {"derived_key": "1"}}, "attributes"),
        ({"users": [USER, USER]}, "users[1].name"),
        ({"users": [USER, {**USER, "name": "b", "roles": ["_x"]}]}, "users[1].roles"),
        ({"users": [{**USER, "password": ""}]}, "users[0].password"),
    ],
)
def test_bad_input_names_the_option(given: dict[str, t.Any], named: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        resource.desire({**PARAMS, **given})
    assert caught.value.option == named


def test_a_hash_that_the_version_does_not_know_is_refused() -> None:
    desired = resource.desire({**PARAMS, "password_hash": str(PW)})
    with pytest.raises(InvalidInput, match="^password_hash: "):
        resource.plan(desired, Observed({"ann": None}, QUICK, Dialect("CouchDB", "3.3.3")))


def test_state_and_update_password_apply_to_users_that_have_none_of_their_own() -> None:
    bare = {**USER, "state": None, "update_password": None}
    users = [{**bare, "name": "a"}, {**bare, "name": "b", "state": "present"}]
    desired = resource.desire({**PARAMS, "users": users, "state": "absent", "update_password": "on_create"})
    assert {name: user["state"] for name, user in desired.items()} == {"a": "absent", "b": "present"}
    assert {user["update_password"] for user in desired.values()} == {"on_create"}


def test_what_is_returned_holds_no_secret() -> None:
    desired = resource.desire(PARAMS)
    held = {**HELD, "token": "c4n4ry"}
    assert resource.report(desired, Observed({"ann": held}, QUICK, THREE), []) == {
        "users": [
            {
                "name": "ann",
                "exists": True,
                "roles": ["a", "b"],
                "attributes": {"email": "ann@example.com", "token": "********"},
                "scheme": "pbkdf2",
                "iterations": 1,
            }
        ]
    }
    users = [{**USER, "attributes": {"api_key": "c4n4ry"}}]
    assert resource.secrets({**PARAMS, "users": users}) == {"c4n4ry"}


def rows(held: dict[str, t.Any]) -> t.Callable[[t.Any], tuple[int, t.Any]]:
    def answer(body: t.Any) -> tuple[int, t.Any]:
        found = [
            {"id": key, "key": key, "doc": {**HELD, "_id": key, "name": key[17:]}}
            if key[17:] in held
            else {"key": key, "error": "not_found"}
            for key in body["keys"]
        ]
        return 200, {"rows": found}

    return answer


@pytest.mark.parametrize("check_mode", [True, False])
def test_a_hundred_users_are_read_together_and_written_together(wire: Wire, check_mode: bool) -> None:
    held: dict[str, t.Any] = {}

    def write(body: t.Any) -> tuple[int, t.Any]:
        held.update(dict.fromkeys(document["name"] for document in body["docs"]))
        return 201, [{"ok": True, "id": document["_id"], "rev": "1-a"} for document in body["docs"]]

    wire["POST /_users/_all_docs?conflicts=true&include_docs=true"] = rows(held)
    wire["GET /_node/_local/_config"] = {"chttpd_auth": {"iterations": "1"}}
    wire["POST /_users/_bulk_docs"] = write
    users = [{**USER, "name": f"u{number}", "password": "pw"} for number in range(100)]
    desired = RESOURCE.desire({**PARAMS, "users": users})
    outcome = module.carry_out(RESOURCE, desired, client(), check_mode=check_mode)
    assert len(outcome.changes) == 100
    reads = ["GET /_node/_local/_config", "POST /_users/_all_docs?conflicts=true&include_docs=true"]
    asked = ["GET /", *reads]
    assert wire.asked == (asked if check_mode else [*asked, "POST /_users/_bulk_docs", *reads])
    assert not any("pw" in str(body) for body in wire.bodies)


def test_a_user_that_another_client_changed_is_planned_again_alone(wire: Wire) -> None:
    wire["GET /_node/_local/_config"] = {"log": {}}
    both = {"ann": {}, "ben": {}}
    newer = {
        "rows": [
            {"key": f"org.couchdb.user:{name}", "doc": {**HELD, "_rev": "2-b", "roles": roles}}
            for name, roles in (("ann", ["z"]), ("ben", ["c"]))
        ]
    }
    wire["POST /_users/_all_docs?conflicts=true&include_docs=true"] = InTurn([rows(both), newer, newer])
    wire["POST /_users/_bulk_docs"] = InTurn(
        [
            (201, [CONFLICT, {"ok": True, "id": "org.couchdb.user:ben", "rev": "2-b"}]),
            (201, [{"ok": True, "id": "org.couchdb.user:ann", "rev": "3-c"}]),
        ]
    )
    users = [{**USER, "name": name, "roles": ["c"]} for name in ("ann", "ben")]
    outcome = module.carry_out(RESOURCE, RESOURCE.desire({**PARAMS, "users": users}), client(), check_mode=False)
    assert [str(change) for change in outcome.changes] == ["update user ben", "update user ann"]
    sent = [[document["_rev"] for document in body["docs"]] for body in wire.bodies if body and "docs" in body]
    assert sent == [["1-a", "1-a"], ["2-b"]]


def test_conflicts_without_end_end(wire: Wire) -> None:
    wire["GET /_node/_local/_config"] = {"log": {}}
    wire["POST /_users/_all_docs?conflicts=true&include_docs=true"] = rows({"ann": {}})
    wire["POST /_users/_bulk_docs"] = 201, [CONFLICT]
    with pytest.raises(module.Interrupted) as stop:
        module.carry_out(RESOURCE, RESOURCE.desire({**PARAMS, "roles": ["c"]}), client(), check_mode=False)
    assert isinstance(stop.value.error, Conflict)
    assert len(wire.written) == 5


def test_without_a_database_of_users_a_real_run_fails_and_check_mode_warns(wire: Wire) -> None:
    wire["GET /_node/_local/_config"] = {"log": {}}
    desired = RESOURCE.desire(PARAMS)
    with pytest.raises(NotFound, match="no database _users"):
        module.carry_out(RESOURCE, desired, client(), check_mode=False)
    outcome = module.carry_out(RESOURCE, desired, client(), check_mode=True)
    assert [str(change) for change in outcome.changes] == ["create user ann"]
    assert "no database _users" in outcome.warnings[0]
    absent = module.carry_out(RESOURCE, RESOURCE.desire({**PARAMS, "state": "absent"}), client(), check_mode=False)
    assert (absent.changes, absent.warnings) == ([], [])
    assert wire.written == []


def alone(document: dict[str, t.Any] | None) -> dict[str, t.Any]:
    """The answer of C(_all_docs) that finds this document, or none."""
    return {"rows": [{"key": "org.couchdb.user:ann", "doc": document}]}


def test_a_user_is_removed_with_its_conflicting_revisions(wire: Wire) -> None:
    both = {**HELD, "_rev": "2-b", "_conflicts": ["2-a", "1-z"]}
    late = {**HELD, "_rev": "2-y", "_conflicts": []}
    read = "POST /_users/_all_docs?conflicts=true&include_docs=true"
    wire["GET /_node/_local/_config"] = {"log": {}}
    # One came by replication meanwhile.
    wire[read] = InTurn([alone(both), alone(late), alone(late), alone(None)])
    wire["POST /_users/_bulk_docs"] = lambda body: (
        201,
        [{"ok": True, "id": "x", "rev": "3-x"} for _doc in body["docs"]],
    )
    outcome = module.carry_out(RESOURCE, RESOURCE.desire({**PARAMS, "state": "absent"}), client(), check_mode=False)
    sent = [[document["_rev"] for document in body["docs"]] for body in wire.bodies if body and "docs" in body]
    assert sent == [["2-b", "2-a", "1-z"], ["2-y"]]
    assert outcome.returned["users"][0]["exists"] is False
    predicted = RESOURCE.plan(RESOURCE.desire({**PARAMS, "state": "absent"}), Observed({"ann": HELD}, QUICK, THREE))
    assert len(predicted.changes) == 1


def test_a_user_that_reappears_each_time_is_an_error(wire: Wire) -> None:
    wire["GET /_node/_local/_config"] = {"log": {}}
    wire["POST /_users/_all_docs?conflicts=true&include_docs=true"] = rows({"ann": HELD})
    wire["POST /_users/_bulk_docs"] = 201, [{"ok": True, "id": "x", "rev": "3-x"}]
    with pytest.raises(module.Interrupted, match="not as desired after 5 attempts. It still lacks: delete user ann"):
        module.carry_out(RESOURCE, RESOURCE.desire({**PARAMS, "state": "absent"}), client(), check_mode=False)


@pytest.mark.parametrize(
    ("version", "section", "database"),
    [
        ("3.4.3", "chttpd_auth", "people"),
        ("3.4.3", "couch_httpd_auth", "_users"),
        ("1.7.2", "couch_httpd_auth", "people"),
    ],
)
def test_users_are_in_the_database_where_the_server_looks_for_them(
    wire: Wire, version: str, section: str, database: str
) -> None:
    wire["GET /"] = {"couchdb": "Welcome", "version": version}
    config = "GET /_config" if version[0] == "1" else "GET /_node/_local/_config"
    wire[config] = {section: {"authentication_db": "people"}}
    wire[f"POST /{database}/_all_docs?conflicts=true&include_docs=true"] = InTurn([alone(None), alone(NEW)])
    wire[f"POST /{database}/_bulk_docs"] = 201, [{"ok": True, "id": "x", "rev": "1-x"}]
    module.carry_out(RESOURCE, RESOURCE.desire(PARAMS), client(), check_mode=False)
    assert wire.written == [f"POST /{database}/_bulk_docs"]
