# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""couchdb_cluster: its plans as tables, what it refuses, and the requests that reach the wire."""

from __future__ import annotations

import typing as t
from dataclasses import replace

import pytest
from ansible_collections.couchpy.couchdb.plugins.module_utils import errors
from ansible_collections.couchpy.couchdb.plugins.module_utils._client import wait
from ansible_collections.couchpy.couchdb.plugins.module_utils._client.shards import Sizes
from ansible_collections.couchpy.couchdb.plugins.module_utils._engine import module
from ansible_collections.couchpy.couchdb.plugins.module_utils._engine.plan import diff
from ansible_collections.couchpy.couchdb.plugins.module_utils._resources import _moves
from ansible_collections.couchpy.couchdb.plugins.module_utils._resources import cluster as resource
from ansible_collections.couchpy.couchdb.plugins.module_utils._resources.cluster import Observed
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules import moves as rules
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules.cluster import Placement, Server
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules.moves import Wanted
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules.shards import Map, Member
from ansible_collections.couchpy.couchdb.plugins.module_utils.client import Client
from ansible_collections.couchpy.couchdb.tests.unit.clock import Clock
from ansible_collections.couchpy.couchdb.tests.unit.wire import InTurn, Wire, client

RESOURCE = resource.RESOURCE
PARAMS: dict[str, t.Any] = {
    **{name: option.get("default") for name, option in resource.ARGUMENT_SPEC.items()},
    "members": ["a@h"],
}
ALIKE = {"couchdb": {"uuid": "u"}, "chttpd_auth": {"secret": "s"}, "admins": {"admin": "hash"}}
THERE = {"_users": 3, "_replicator": 3}
MISSING = {"_users": None, "_replicator": None}
HELD = {"orders": Placement({"0-f": ["c@h"]})}
DATABASES = [(Client.put_system_database, "_users"), (Client.put_system_database, "_replicator")]


def observed(*members: str, **fields: t.Any) -> Observed:
    """A cluster of these, all connected, in which a@h answers."""
    given = {"copies": dict.fromkeys(THERE, min(3, len(members))), **fields}
    server = Server("a@h", "3.4.3", given.pop("settings", ALIKE), list(members), given.pop("shards", {}))
    return Observed(server, list(members), given.pop("connected", list(members)), **given)


def other(name: str, **fields: t.Any) -> Server:
    """A node that can join."""
    return Server(name, "3.4.3", **{"settings": ALIKE, "members": [name], **fields})


@pytest.mark.parametrize(
    ("held", "given", "calls"),
    [
        # Alone.
        (
            observed("a@h", copies=MISSING),
            {"members": ["a@h"]},
            [(Client.config, "a@h/cluster/n"), *DATABASES],
        ),
        (observed("a@h", settings={"cluster": {"n": "1"}}), {"members": ["a@h"]}, []),
        (observed("a@h", settings={"cluster": {"n": "3"}}), {"members": ["a@h"]}, [(Client.config, "a@h/cluster/n")]),
        # Who joins.
        (
            observed("a@h", copies=MISSING),
            {"members": ["a@h", "b@h", "c@h"]},
            [(Client.join_node, "b@h"), (Client.join_node, "c@h"), *DATABASES],
        ),
        (observed("a@h", "b@h"), {"members": ["a@h", "b@h", "c@h"]}, [(Client.join_node, "c@h")]),
        (observed("a@h", "b@h", "c@h"), {"members": ["c@h", "b@h", "a@h"]}, []),
        # Half-way: killed before the databases, or one of them.
        (observed("a@h", "b@h", "c@h", copies=MISSING), {"members": ["a@h", "b@h", "c@h"]}, DATABASES),
        (
            observed("a@h", "b@h", "c@h", copies={"_users": 3, "_replicator": None}),
            {"members": ["a@h", "b@h", "c@h"]},
            DATABASES[1:],
        ),
        (observed("a@h", "b@h", "c@h", connected=["a@h", "b@h"]), {"members": ["a@h", "b@h", "c@h"]}, []),
        # A node that was alone has had one copy of everything.
        (
            observed("a@h", settings={**ALIKE, "cluster": {"n": "1"}}, found={"b@h": other("b@h")}),
            {"members": ["a@h", {"name": "b@h", "url": "http://b/"}]},
            [(Client.join_node, "b@h"), (Client.config, "a@h/cluster/n")],
        ),
        # In the middle of an upgrade, node by node.
        (
            observed("a@h", "b@h", found={"b@h": Server("b@h", "3.5.0", {})}),
            {"members": ["a@h", {"name": "b@h", "url": "http://b/"}]},
            [],
        ),
        (
            observed("a@h", "b@h", found={"b@h": other("b@h", settings={"cluster": {"n": "1"}})}),
            {"members": ["a@h", {"name": "b@h", "url": "http://b/"}]},
            [(Client.config, "b@h/cluster/n")],
        ),
        # Who is not named stays, unless it is to leave.
        (observed("a@h", "b@h", "c@h"), {"members": ["a@h"]}, []),
        (
            observed("a@h", "b@h", "c@h"),
            {"members": ["a@h", "d@h"], "exclusive": True},
            [(Client.join_node, "d@h"), (Client.leave_node, "b@h"), (Client.leave_node, "c@h")],
        ),
        (
            observed("a@h", "c@h", shards=HELD),
            {"members": ["a@h"], "exclusive": True, "force": True},
            [(Client.leave_node, "c@h"), (Client.config, "a@h/cluster/n")],
        ),
        (
            observed("a@h", "c@h", connected=["a@h"], settings={"cluster": {"n": "1"}}),
            {"members": ["a@h"], "exclusive": True},
            [(Client.leave_node, "c@h")],
        ),
        # Not waiting: CouchDB would place copies on who may never connect.
        (observed("a@h", copies=MISSING), {"members": ["a@h", "b@h"], "wait": False}, [(Client.join_node, "b@h")]),
        (observed("a@h", "b@h", copies=MISSING), {"members": ["a@h", "b@h"], "wait": False}, DATABASES),
        # What is created.
        (observed("a@h", "b@h", copies={}), {"members": ["a@h", "b@h"], "system_databases": []}, []),
        (
            observed("a@h", "b@h", copies={"_global_changes": None}),
            {"members": ["a@h", "b@h"], "system_databases": ["_global_changes"]},
            [(Client.put_system_database, "_global_changes")],
        ),
    ],
)
def test_plan(held: Observed, given: dict[str, t.Any], calls: list[tuple[str, str]]) -> None:
    desired = resource.desire({**PARAMS, **given})
    plan = resource.plan(desired, held)
    ordered = [change for stage in plan.stages() for change in stage]
    assert [(change.call, "/".join(change.path)) for change in ordered] == calls
    assert set(desired.names) <= set(plan.predicted.members)


@pytest.mark.parametrize(
    ("held", "given", "says"),
    [
        (observed("b@h"), {"members": ["b@h", "c@h"]}, "members: lacks a@h, the node that answers"),
        (
            observed("a@h", found={"b@h": other("c@h"), "d@h": errors.Unauthorized("answered 401")}),
            {"members": ["a@h", {"name": "b@h", "url": "http://b/"}, {"name": "d@h", "url": "http://d/"}]},
            "members: b@h: the node that answers at its url is c@h; d@h: answered 401",
        ),
        (
            observed("a@h", "b@h", found={"b@h": errors.Unauthorized("answered 401")}),
            {"members": ["a@h", {"name": "b@h", "url": "http://b/"}]},
            "members: b@h: answered 401",
        ),
        # A removed node stays connected for as long as it runs, and has a list of its own.
        (
            observed("a@h", connected=["a@h", "b@h"], found={"b@h": other("b@h", members=["a@h", "b@h", "x@h"])}),
            {"members": ["a@h", {"name": "b@h", "url": "http://b/"}]},
            "members: b@h: it belongs to a cluster with x@h",
        ),
        (
            observed("a@h", "c@h", shards=HELD),
            {"members": ["a@h"], "exclusive": True},
            "exclusive: c@h still has shards of orders",
        ),
    ],
)
def test_who_can_not_join_or_leave_is_refused(held: Observed, given: dict[str, t.Any], says: str) -> None:
    with pytest.raises(errors.InvalidInput, match=f"^{says}"):
        resource.plan(resource.desire({**PARAMS, **given}), held)


@pytest.mark.parametrize(
    ("members", "connected", "found", "says"),
    [
        (["a@h"], ["a@h"], errors.Unreachable("nothing answers"), "members: b@h: nothing answers"),
        (["a@h"], ["a@h"], other("b@h", settings={}), "members: b@h: it differs from a@h"),
        (["a@h", "b@h"], ["a@h"], other("b@h", settings={}), "members: b@h: it differs from a@h"),
        (["a@h", "b@h"], ["a@h"], errors.Unreachable("nothing answers"), None),
        (["a@h", "b@h"], ["a@h", "b@h"], other("b@h", settings={}), None),
        (["a@h"], ["a@h"], other("b@h"), None),
    ],
)
def test_what_must_be_so_before_a_node_joins(
    members: list[str], connected: list[str], found: t.Any, says: str | None
) -> None:
    given = {"members": ["a@h", {"name": "b@h", "url": "http://b/"}]}
    held = observed(*members, connected=connected, found={"b@h": found})
    unmet = resource.plan(resource.desire({**PARAMS, **given}), held).unmet
    assert (unmet is None) == (says is None)
    assert str(unmet or "").startswith(says or "")


def test_a_member_that_is_down_is_waited_for() -> None:
    given = {"members": ["a@h", {"name": "b@h", "url": "http://b/"}]}
    held = observed("a@h", "b@h", connected=["a@h"], found={"b@h": errors.Unreachable("nothing answers")})
    assert not resource.plan(resource.desire({**PARAMS, **given}), held).changes


@pytest.mark.parametrize("others", [["b@h"], ["b@h", "c@h"], ["b@h", "c@h", "d@h", "e@h"]])
def test_who_was_alone_makes_as_many_copies_as_a_cluster_does_that_may_grow(others: list[str]) -> None:
    held = observed("a@h", settings={**ALIKE, "cluster": {"n": "1"}})
    plan = resource.plan(resource.desire({**PARAMS, "members": ["a@h", *others]}), held)
    assert [change.after for change in plan.changes if change.call is Client.config] == ["3"]


@pytest.mark.parametrize(
    ("held", "given", "warned"),
    [
        (observed("a@h", "b@h", "c@h"), {"members": ["a@h", "b@h", "c@h"]}, []),
        (observed("a@h", "b@h"), {"members": ["a@h", "b@h"]}, ["2 members is an even number"]),
        (observed("a@h", "b@h", "c@h"), {"members": ["a@h", "b@h", "c@h", "d@h"]}, ["4 members is an even number"]),
        (
            observed("a@h", "b@h", "c@h", copies={"_users": 1, "_replicator": 3}),
            {"members": ["a@h", "b@h", "c@h"]},
            ["_users has 1 of 3 copies"],
        ),
        (
            observed("a@h", "b@h", "c@h", connected=["a@h", "b@h"]),
            {"members": ["a@h", "b@h"]},
            ["c@h is a member, is not connected and is not listed"],
        ),
        (
            observed("a@h", copies=MISSING),
            {"members": ["a@h", "b@h", "c@h"], "wait": False},
            ["_users, _replicator not created"],
        ),
    ],
)
def test_warnings(held: Observed, given: dict[str, t.Any], warned: list[str]) -> None:
    warnings = resource.plan(resource.desire({**PARAMS, **given}), held).warnings
    assert len(warnings) == len(warned)
    assert all(warning.startswith(start) for warning, start in zip(warnings, warned, strict=True))


def test_no_copies_are_placed_on_a_ghost() -> None:
    held = observed("a@h", "b@h", "ghost@h", connected=["a@h", "b@h"], copies=MISSING)
    desired = resource.desire({**PARAMS, "members": ["a@h", "b@h"]})
    plan = resource.plan(desired, held)
    assert not plan.changes
    assert isinstance(plan.shortfall, errors.NotConnected)
    assert "_users, _replicator not created" in str(plan.shortfall)
    assert "ghost@h" in str(plan.shortfall)
    taken_out = resource.plan(resource.desire({**PARAMS, "members": ["a@h", "b@h"], "exclusive": True}), held)
    assert taken_out.shortfall is None
    assert [change.call for change in taken_out.changes] == [Client.leave_node, *[Client.put_system_database] * 2]


@pytest.mark.parametrize(
    ("members", "connected", "state"),
    [
        (["a@h"], ["a@h"], "single"),
        (["a@h"], ["a@h", "b@h"], "single"),
        (["a@h", "b@h"], ["a@h", "b@h", "c@h"], "joined"),
        (["a@h", "b@h"], ["a@h"], "incomplete"),
    ],
)
def test_state(members: list[str], connected: list[str], state: str) -> None:
    told = resource.report(resource.desire(PARAMS), Observed(Server("a@h", "3.4.3"), members, connected), [])
    assert told["cluster"]["state"] == state
    assert told["cluster"]["connected"] == [name for name in members if name in connected]


def test_what_was_just_written_is_reported_though_the_list_of_members_lags() -> None:
    desired = resource.desire({**PARAMS, "members": ["a@h", "b@h"], "exclusive": True, "wait": False, "force": True})
    held = observed("a@h", "c@h")
    plan = resource.plan(desired, held)
    told = resource.report(desired, held, list(plan.changes))["cluster"]
    assert told == {"members": ["a@h", "b@h"], "connected": ["a@h"], "state": "incomplete"}


@pytest.mark.parametrize("option", [{"wait_timeout": 0}, {"members": []}])
def test_what_can_not_work_is_refused(option: dict[str, t.Any]) -> None:
    with pytest.raises(errors.InvalidInput, match=f"^{next(iter(option))}: "):
        resource.desire({**PARAMS, **option})


# On the wire


@pytest.fixture(autouse=True)
def _at_once(clock: Clock) -> None:
    """No test waits."""


URLS = [{"name": f"{letter}@h", "url": f"http://couch.example:5984/{letter}/"} for letter in "abc"]
MEMBERS = ["a@h", "b@h", "c@h"]
PUTS = ["PUT /_node/a@h/_nodes/b@h", "PUT /_node/a@h/_nodes/c@h", "PUT /_users", "PUT /_replicator"]


def membership(*members: str, connected: t.Sequence[str] | None = None) -> dict[str, list[str]]:
    """What a node says of the members."""
    return {"cluster_nodes": list(members), "all_nodes": list(members if connected is None else connected)}


def node(wire: Wire, name: str, *members: str, at: str = "") -> None:
    """Puts a node with these members on the wire."""
    welcome = wire.answers["GET /"]
    wire[f"GET {at}/"] = welcome
    wire[f"GET {at}/_node/_local"] = {"name": name}
    wire[f"GET {at}/_node/_local/_config"] = ALIKE
    wire[f"GET {at}/_node/_local/_config/cluster"] = {}
    wire[f"GET {at}/_node/_local/_dbs/_all_docs?include_docs=true&limit=1000"] = {"rows": []}
    wire[f"GET {at}/_membership"] = membership(*members)


def databases(copies: int | None) -> list[dict[str, t.Any]]:
    """The answer of _dbs_info for the system databases."""
    if copies is None:
        return [{"key": name, "error": "not_found"} for name in THERE]
    return [{"key": name, "info": {"db_name": name, "cluster": {"n": copies}}} for name in THERE]


def carry_out(check_mode: bool = False, **given: t.Any) -> module.Outcome:
    params = {**PARAMS, "members": URLS, **given}
    return module.carry_out(RESOURCE, RESOURCE.desire(params), client(), check_mode=check_mode)


def apart(wire: Wire) -> None:
    """Three nodes that know nothing of one another, and become a cluster once the first has listed all."""
    node(wire, "a@h", "a@h")
    for letter in "abc":
        node(wire, f"{letter}@h", f"{letter}@h", at=f"/{letter}")
    wire["POST /_dbs_info"] = InTurn([databases(None), databases(3)])
    joined: list[str] = []

    def join(name: str) -> t.Callable[[t.Any], t.Any]:
        def answer(body: t.Any) -> t.Any:
            joined.append(name)
            if len(joined) == 2:
                for path in ("", "/a", "/b", "/c"):
                    wire[f"GET {path}/_membership"] = membership(*MEMBERS)
            return 201, {"ok": True, "rev": "1-a"}

        return answer

    for name in MEMBERS[1:]:
        wire[f"PUT /_node/a@h/_nodes/{name}"] = join(name)
    wire["PUT /_users"] = wire["PUT /_replicator"] = 201, {"ok": True}


def test_joining_two_to_a_third_writes_four_times(wire: Wire) -> None:
    apart(wire)
    outcome = carry_out()
    assert sorted(wire.written[:2]) == PUTS[:2]
    assert sorted(wire.written[2:]) == sorted(PUTS[2:])
    assert outcome.returned["cluster"] == {"members": MEMBERS, "connected": MEMBERS, "state": "joined"}
    assert set(diff(outcome.changes)["after"]) == {"b@h", "c@h", "_users", "_replicator"}


def test_check_mode_predicts_it_and_writes_nothing(wire: Wire) -> None:
    apart(wire)
    outcome = carry_out(check_mode=True)
    assert not wire.written
    assert outcome.returned["cluster"] == {"members": MEMBERS, "connected": MEMBERS, "state": "joined"}
    assert len(outcome.changes) == 4


def test_a_second_run_only_reads_and_not_much(wire: Wire) -> None:
    apart(wire)
    carry_out()
    wire.asked.clear()
    assert not carry_out().changes
    assert not wire.written
    # The first node: itself, membership, databases, name, settings. Each address: itself, name, settings, membership.
    assert len(wire.asked) == 5 + 3 * 4 + 1


def test_nothing_is_written_when_one_can_not_join(wire: Wire) -> None:
    apart(wire)
    wire["GET /c/_node/_local/_config"] = {**ALIKE, "chttpd_auth": {"secret": "c4n4ry"}}
    with pytest.raises(errors.InvalidInput, match="^members: c@h: it differs from a@h .*chttpd_auth/secret") as caught:
        carry_out()
    assert "c4n4ry" not in str(caught.value)
    assert not wire.written
    # An earlier task would have made it alike, had it not been in check mode.
    (warning,) = carry_out(check_mode=True).warnings
    assert warning.startswith("members: c@h: it differs from a@h")
    assert not wire.written


def test_who_does_not_connect_is_removed_again(wire: Wire) -> None:
    node(wire, "a@h", "a@h")
    wire["POST /_dbs_info"] = databases(None)
    ghostly = membership("a@h", "b@h", connected=["a@h"])

    def join(body: t.Any) -> t.Any:
        wire["GET /_membership"] = ghostly
        return 201, {"ok": True}

    wire["PUT /_node/a@h/_nodes/b@h"] = join
    wire["GET /_node/a@h/_nodes/b@h"] = {"_id": "b@h", "_rev": "1-a"}
    wire["DELETE /_node/a@h/_nodes/b@h?rev=1-a"] = {"ok": True}
    wire[DBS] = {"rows": []}
    with pytest.raises(module.Interrupted) as stop:
        carry_out(members=["a@h", "b@h"], wait_timeout=1)
    assert wire.written == ["PUT /_node/a@h/_nodes/b@h", "DELETE /_node/a@h/_nodes/b@h?rev=1-a"]
    failure = module.failure(stop.value.error, stop.value.progress)
    assert not failure["changed"]
    assert "b@h did not connect within 1 s and was removed again" in failure["msg"]
    assert "cookie" in failure["msg"]


def test_who_does_not_connect_and_got_shards_meanwhile_stays_a_member(wire: Wire) -> None:
    wire["GET /_membership"] = membership("a@h", "b@h", connected=["a@h"])
    wire["PUT /_node/a@h/_nodes/b@h"] = 201, {"ok": True}
    wire["GET /_node/a@h/_nodes/b@h"] = lambda body: {"_id": "b@h", "_rev": "1-a"}
    wire[DBS] = shard_maps(old="a@h", late="b@h")
    with pytest.raises(
        errors.NotConnected, match="could not be removed again .b@h stays a member: it has new shards of late"
    ):
        client().join_node("b@h", "a@h", wait_timeout=1)
    assert wire.written == ["PUT /_node/a@h/_nodes/b@h"]


def test_a_member_that_existed_is_not_removed(wire: Wire) -> None:
    node(wire, "a@h", "a@h", "b@h")
    wire["GET /_membership"] = membership("a@h", "b@h", connected=["a@h"])
    wire["POST /_dbs_info"] = databases(2)
    document = {"by_range": {"0-f": ["a@h", "b@h"]}}
    wire["GET /_node/_local/_dbs/_all_docs?include_docs=true&limit=1000"] = {
        "rows": [{"id": "orders", "doc": document}]
    }
    with pytest.raises(
        (module.Interrupted, errors.NotConnected), match="not connected with b@h.*has shards of orders and is down"
    ):
        carry_out(members=["a@h", "b@h"], wait_timeout=1)
    assert not wire.written


def test_advice_that_does_not_come_at_once_is_left_out(wire: Wire, clock: Clock) -> None:
    node(wire, "a@h", "a@h", "b@h")
    wire["GET /_membership"] = membership("a@h", "b@h", connected=["a@h"])
    wire["POST /_dbs_info"] = databases(2)
    left: list[float] = []

    def shards(body: t.Any) -> t.Any:
        if not clock.pauses:
            return 200, {"rows": []}
        left.append(wait.seconds_left())
        raise TimeoutError("late")

    wire["GET /_node/_local/_dbs/_all_docs?include_docs=true&limit=1000"] = shards
    with pytest.raises((module.Interrupted, errors.NotConnected), match="did not agree on the members within 1 s"):
        carry_out(members=["a@h", "b@h"], wait_timeout=1)
    assert left
    assert max(left) <= 0


def test_a_refused_login_at_an_address_is_not_retried(wire: Wire) -> None:
    apart(wire)
    wire["GET /b/"] = 401, {"error": "unauthorized", "reason": "Name or password is incorrect."}
    with pytest.raises(errors.InvalidInput, match="^members: b@h: .*Name or password is incorrect"):
        carry_out()
    assert wire.asked.count("GET /b/") == 1
    assert not [line for line in wire.asked if line.startswith("GET /b/_")]


def test_the_credentials_of_an_address_win(wire: Wire) -> None:
    apart(wire)
    with_password = {"name": "b@h", "url": "http://bob:hidden@couch.example:5984/b/"}
    carry_out(members=[URLS[0], with_password, URLS[2]], check_mode=True)
    sent = {line: headers["Authorization"] for line, headers in zip(wire.asked, wire.headers, strict=True)}
    assert sent["GET /b/"] == "Basic Ym9iOmhpZGRlbg=="
    assert sent["GET /b/"] != sent["GET /c/"] == sent["GET /"]


@pytest.mark.parametrize(
    "member",
    [
        {"name": "b@h", "url": "http://bob:hidden@couch.example:5984/b/"},
        {"name": "b@h", "address": "http://bob:hidden@couch.example:5984/b/"},
        "http://bob:hidden@couch.example:5984/b/",
    ],
)
def test_the_password_of_an_address_is_hidden_wherever_it_stands(member: t.Any) -> None:
    assert set(resource._secrets({"members": ["a@h", None, member]})) == {"hidden"}


def test_who_leaves_leaves_before_databases_are_created(wire: Wire) -> None:
    node(wire, "a@h", "a@h", "b@h", "c@h")
    wire["POST /_dbs_info"] = InTurn([databases(None), databases(2)])
    wire["GET /_node/a@h/_nodes/c@h"] = {"_id": "c@h", "_rev": "1-a"}

    def leave(body: t.Any) -> t.Any:
        wire["GET /_membership"] = membership("a@h", "b@h", connected=MEMBERS)
        return 200, {"ok": True}

    wire["DELETE /_node/a@h/_nodes/c@h?rev=1-a"] = leave
    wire[DBS] = {"rows": []}
    wire["PUT /_users"] = wire["PUT /_replicator"] = 201, {"ok": True}
    outcome = carry_out(members=["a@h", "b@h"], exclusive=True)
    assert wire.written[0] == "DELETE /_node/a@h/_nodes/c@h?rev=1-a"
    assert sorted(wire.written[1:]) == ["PUT /_replicator", "PUT /_users"]
    assert outcome.returned["cluster"] == {"members": ["a@h", "b@h"], "connected": ["a@h", "b@h"], "state": "joined"}


DBS = "GET /_node/a@h/_dbs/_all_docs?include_docs=true&limit=1000"
LEAVE = "DELETE /_node/a@h/_nodes/c@h?rev=1-a"


def shard_maps(**nodes: str) -> dict[str, t.Any]:
    """The shard maps of databases with one copy, by the node that has it."""
    return {
        "rows": [
            {"id": name, "doc": {"_id": name, "_rev": "1-a", "by_range": {WHOLE: [held]}, "by_node": {held: [WHOLE]}}}
            for name, held in nodes.items()
        ]
    }


def test_a_node_with_the_copy_of_a_new_database_does_not_leave(wire: Wire) -> None:
    wire["GET /_node/a@h/_nodes/c@h"] = lambda body: {"_id": "c@h", "_rev": "1-a"}
    wire[DBS] = shard_maps(old="a@h", late="c@h")
    with pytest.raises(errors.Conflict, match="^c@h stays a member: it has new shards of late$"):
        client().leave_node("c@h", "a@h", empty=True)
    assert wire.written == []


def test_a_node_that_gets_a_copy_while_it_leaves_is_a_member_again(wire: Wire) -> None:
    wire["GET /_node/a@h/_nodes/c@h"] = lambda body: {"_id": "c@h", "_rev": "1-a", "zone": "west"}
    wire[DBS] = InTurn([shard_maps(old="a@h"), shard_maps(old="a@h", late="c@h")])
    wire["GET /_membership"] = InTurn([membership("a@h"), membership("a@h", "c@h")])
    wire[LEAVE] = {"ok": True}
    wire["PUT /_node/a@h/_nodes/c@h"] = 201, {"ok": True}
    with pytest.raises(errors.Conflict, match="it has new shards of late"):
        client().leave_node("c@h", "a@h", empty=True)
    assert wire.written == [LEAVE, "PUT /_node/a@h/_nodes/c@h"]
    assert wire.bodies[wire.asked.index(wire.written[1])] == {"_id": "c@h", "zone": "west"}
    # With another list of members, it would not be planned again.
    assert wire.asked[-1] == "GET /_membership"


def test_a_node_that_gets_copies_again_and_again_stays(wire: Wire) -> None:
    node(wire, "a@h", "a@h", "b@h", "c@h")
    wire["POST /_dbs_info"] = databases(2)
    wire["GET /_node/a@h/_nodes/c@h"] = lambda body: {"_id": "c@h", "_rev": "1-a"}
    wire[DBS] = shard_maps(late="c@h")
    with pytest.raises(module.Interrupted, match="^c@h stays a member: it has new shards of late$") as stop:
        carry_out(members=["a@h", "b@h"], exclusive=True)
    assert (wire.written, stop.value.progress.done) == ([], [])


def test_it_leaves_once_they_are_gone(wire: Wire) -> None:
    node(wire, "a@h", "a@h", "b@h", "c@h")
    wire["POST /_dbs_info"] = databases(2)
    wire["GET /_node/a@h/_nodes/c@h"] = lambda body: {"_id": "c@h", "_rev": "1-a"}
    wire[DBS] = InTurn([shard_maps(late="c@h"), {"rows": []}])

    def leave(body: t.Any) -> t.Any:
        wire["GET /_membership"] = membership("a@h", "b@h", connected=MEMBERS)
        return 200, {"ok": True}

    wire[LEAVE] = leave
    outcome = carry_out(members=["a@h", "b@h"], exclusive=True)
    assert (wire.written, outcome.returned["cluster"]["members"]) == ([LEAVE], ["a@h", "b@h"])


@pytest.mark.parametrize(
    ("options", "empty"),
    [({}, True), ({"drain": True}, True), ({"force": True}, False), ({"drain": True, "force": True}, True)],
)
def test_only_a_node_without_shards_leaves_unless_they_may_be_lost(options: dict[str, bool], empty: bool) -> None:
    there = placed(*ABCD[:3], orders=["a@h", "b@h"]) if options.get("drain") else None
    desired = resource.desire({**PARAMS, "members": ["a@h", "b@h"], "exclusive": True, **options})
    changes = resource.plan(desired, observed("a@h", "b@h", "c@h", placed=there)).changes
    assert [change.arguments["empty"] for change in changes if change.call == Client.leave_node] == [empty]


@pytest.mark.parametrize(
    ("welcome", "says"),
    [
        ({"couchdb": "Welcome", "version": "1.7.2"}, "CouchDB 1.7.2 has no cluster"),
        ({"express-pouchdb": "Welcome!", "version": "4.2.0"}, "PouchDB Server 4.2.0 has no cluster"),
        ({"couchdb": "Welcome", "version": "2.3.1"}, "CouchDB 2.3.1 has no members"),
    ],
)
def test_servers_without_manageable_members(wire: Wire, welcome: dict[str, t.Any], says: str) -> None:
    wire["GET /"] = welcome
    with pytest.raises(errors.Unsupported, match=f"^{says}"):
        carry_out()
    assert wire.asked == ["GET /"]


WHOLE = "00000000-ffffffff"


def placed(*members: Member, **nodes: t.Sequence[str]) -> _moves.Observed:
    """Where databases with one range have their copies."""
    maps = {name: Map(name, {WHOLE: tuple(held)}, len(held), rev="1-a", suffix=".1") for name, held in nodes.items()}
    return _moves.Observed(maps, list(members))


def calls_of(held: Observed, **given: t.Any) -> list[tuple[str, str]]:
    """The methods that a plan calls, in the order of their stages, each with the node that it is about, or the database."""
    plan = resource.plan(resource.desire({**PARAMS, **given}), held)
    changes = sorted(plan.changes, key=lambda change: change.stage)
    return [
        (
            change.call.__name__,
            change.arguments.get("node", "") if "maintenance" in change.call.__name__ else change.path[0],
        )
        for change in changes
    ]


ABCD = [Member(name) for name in ("a@h", "b@h", "c@h", "d@h")]


def test_who_leaves_hands_over_its_shards_first() -> None:
    held = observed(
        "a@h",
        "b@h",
        "c@h",
        "d@h",
        placed=placed(*ABCD, orders=["a@h", "b@h", "d@h"]),
        shards={"orders": HELD["orders"]},
    )
    given = {"members": ["a@h", "b@h", "c@h"], "exclusive": True, "drain": True}
    assert calls_of(held, **given) == [
        ("enter_maintenance", "c@h"),
        ("fill_copies", "orders"),
        ("leave_maintenance", "c@h"),
        ("settle_map", "orders"),
        ("delete_copy", "deleted copies"),
        ("leave_node", "d@h"),
    ]


def test_who_can_not_hand_over_its_shards_stays() -> None:
    members = [*ABCD[:2], Member("c@h", up=False), ABCD[3]]
    held = observed("a@h", "b@h", "c@h", "d@h", placed=placed(*members, orders=["a@h", "b@h", "d@h"]))
    desired = resource.desire({**PARAMS, "members": ["a@h", "b@h", "c@h"], "exclusive": True, "drain": True})
    plan = resource.plan(desired, held)
    assert [change.call for change in plan.changes] == []
    assert str(plan.shortfall) == "c@h is down. Start it"


@pytest.mark.parametrize(
    "given",
    [{"drain": True, "exclusive": True}, {"rebalance": True, "exclusive": True}, {"replace": {"d@h": "c@h"}}],
)
@pytest.mark.parametrize("state", ["resharding", "overlapping"])
def test_a_refusal_names_an_option_of_the_task(given: dict[str, t.Any], state: str) -> None:
    members = [*ABCD[:3], Member("d@h", up="replace" not in given)]
    there = replace(placed(*members, orders=["a@h", "b@h", "d@h"]), resharding={"orders": "running"})
    if state == "overlapping":
        ranges = {WHOLE: ("a@h", "b@h", "d@h"), "00000000-7fffffff": ("a@h", "b@h", "d@h")}
        there = replace(there, maps={"orders": Map("orders", ranges, 3)})
    connected = [member.name for member in members if member.up]
    held = observed("a@h", "b@h", "c@h", "d@h", placed=there, connected=connected)
    desired = resource.desire({**PARAMS, "members": ["a@h", "b@h", "c@h"], **given})
    with pytest.raises(errors.InvalidInput) as refusal:
        resource.plan(desired, held)
    assert refusal.value.option == next(name for name in ("replace", "drain", "rebalance") if name in given)
    assert "other databases" not in str(refusal.value)


def test_moves_of_a_cluster_warn_of_system_databases_and_of_much_data() -> None:
    there = replace(placed(*ABCD, _users=["a@h", "b@h", "d@h"]), sizes={"_users": Sizes(1_000_000, 20_000_000_000)})
    held = observed("a@h", "b@h", "c@h", "d@h", placed=there)
    desired = resource.desire({**PARAMS, "members": ["a@h", "b@h", "c@h"], "exclusive": True, "drain": True})
    warnings = resource.plan(desired, held).warnings
    assert "_users: copies of system databases move as well" in warnings
    assert any("c@h gets about 1000000 documents in 20.0 GB" in warning for warning in warnings)


def test_who_stays_is_not_waited_for_to_leave() -> None:
    members = [*ABCD[:2], Member("c@h", up=False), ABCD[3]]
    held = observed("a@h", "b@h", "c@h", "d@h", placed=placed(*members, orders=["a@h", "b@h", "d@h"]))
    asked: list[bool] = []

    class Waiting:
        def await_members(self, *arguments: t.Any, exclusive: bool) -> dict[str, list[str]]:
            asked.append(exclusive)
            return {"cluster_nodes": held.members, "all_nodes": held.members}

    drain = {"members": ["a@h", "b@h", "c@h"], "exclusive": True, "drain": True, "in_sync": True}
    client = t.cast("t.Any", Waiting())
    resource.wait(client, resource.desire({**PARAMS, **drain}), held, held)
    assert asked == [False], "the reason is the error, not that the member is still listed"


def test_who_joins_gets_its_share_if_that_is_declared() -> None:
    three = {f"db{number}": ["a@h", "b@h", "c@h"] for number in range(4)}
    held = observed("a@h", "b@h", "c@h", placed=placed(*ABCD[:3], **three))
    found = calls_of(held, members=["a@h", "b@h", "c@h", "d@h"], rebalance=True)
    assert found[:2] == [("join_node", "d@h"), ("enter_maintenance", "d@h")]
    assert [name for name, _what in found].count("fill_copies") == 3
    without = resource.desire({**PARAMS, "members": ["a@h", "b@h", "c@h", "d@h"]})
    assert [change.call.__name__ for change in resource.plan(without, observed("a@h", "b@h", "c@h")).changes] == [
        "join_node"
    ]


def test_a_rebalance_and_a_placement_do_not_undo_one_another() -> None:
    zones = {"a@h": "w", "b@h": "w", "c@h": "w", "d@h": "e", "e@h": "e", "f@h": "e"}
    members = [{"name": name, "zone": zone} for name, zone in zones.items()]
    databases = {f"db{number}": ["a@h", "b@h", "d@h"] for number in range(4)}
    there = placed(*(Member(name, zone) for name, zone in zones.items()), **databases)
    desired = resource.desire({**PARAMS, "members": members, "rebalance": True})
    moved = resource.plan(desired, observed(*zones, zones=zones, placed=there)).predicted.placed
    assert moved.maps != there.maps
    assert {
        "".join(sorted(zones[node] for node in nodes)) for map_ in moved.maps.values() for nodes in map_.ranges.values()
    } == {"eww"}
    by_zone = Wanted(frozenset(zones), placement={"w": 2, "e": 1})
    target = {(map_.name, WHOLE): frozenset(map_.ranges[WHOLE]) for map_ in moved.maps.values()}
    assert rules.place(moved.maps, moved.members, by_zone) == target


def test_a_node_that_is_gone_is_replaced() -> None:
    members = [*ABCD[:2], Member("c@h", up=False)]
    held = observed(
        "a@h", "b@h", "c@h", connected=["a@h", "b@h"], placed=placed(*members, orders=["a@h", "b@h", "c@h"])
    )
    found = calls_of(held, members=["a@h", "b@h", "d@h"], replace={"c@h": "d@h"})
    assert found == [
        ("join_node", "d@h"),
        ("enter_maintenance", "d@h"),
        ("fill_copies", "orders"),
        ("leave_maintenance", "d@h"),
        ("settle_map", "orders"),
        ("leave_node", "c@h"),
    ]
    done = observed("a@h", "b@h", "d@h", placed=placed(ABCD[0], ABCD[1], ABCD[3], orders=["a@h", "b@h", "d@h"]))
    assert calls_of(done, members=["a@h", "b@h", "d@h"], replace={"c@h": "d@h"}) == []


def test_a_node_that_came_back_empty_is_filled_while_it_is_in_maintenance_mode() -> None:
    empty = [*ABCD[:2], Member("c@h", mode="true")]
    held = observed("a@h", "b@h", "c@h", placed=placed(*empty, orders=["a@h", "b@h", "c@h"]))
    given = {"members": ["a@h", "b@h", "c@h"], "replace": {"c@h": "c@h"}}
    assert calls_of(held, **given) == [
        ("enter_maintenance", "c@h"),
        ("fill_copies", "orders"),
        ("leave_maintenance", "c@h"),
        ("settle_map", "orders"),
    ]
    full = observed("a@h", "b@h", "c@h", placed=placed(*ABCD[:3], orders=["a@h", "b@h", "c@h"]))
    assert calls_of(full, **given) == []
    without = observed("a@h", "b@h", "c@h", placed=placed(*empty, orders=["a@h"]))
    assert calls_of(without, **given) == [("enter_maintenance", "c@h"), ("leave_maintenance", "c@h")]
    plan = resource.plan(resource.desire({**PARAMS, **given}), held)
    assert [change.arguments["refill"] for change in plan.changes if "refill" in change.arguments] == [True]


@pytest.mark.parametrize(
    ("given", "nodes", "message"),
    [
        ({"replace": {"c@h": "d@h"}}, ["c@h"], "replace: no full copy is left of orders 00000000-ffffffff"),
        ({"replace": {"c@h": "d@h"}, "connected": ["a@h", "b@h", "c@h"]}, ["a@h"], "replace: c@h is up"),
        ({"replace": {"c@h": "e@h"}}, ["a@h"], "replace: e@h replaces c@h, and is missing from members"),
        ({"replace": {"a@h": "d@h"}}, ["a@h"], "replace: a@h is also listed in members"),
        ({"drain": True}, ["a@h"], "drain: has no effect without exclusive: true"),
        ({"rebalance": True, "wait": False}, ["a@h"], "wait: is false. Set it to true with rebalance"),
    ],
)
def test_moves_that_are_refused(given: dict[str, t.Any], nodes: list[str], message: str) -> None:
    connected = given.pop("connected", ["a@h", "b@h"])
    members = [*ABCD[:2], Member("c@h", up=False)]
    held = observed("a@h", "b@h", "c@h", connected=connected, placed=placed(*members, orders=nodes))
    with pytest.raises(errors.InvalidInput) as caught:
        calls_of(held, **{"members": ["a@h", "b@h", "d@h"], **given})
    assert message in str(caught.value)


def test_the_last_copy_is_given_up_with_force_alone() -> None:
    members = [*ABCD[:2], Member("c@h", up=False)]
    held = observed("a@h", "b@h", "c@h", connected=["a@h", "b@h"], placed=placed(*members, orders=["c@h"]))
    found = calls_of(held, members=["a@h", "b@h", "d@h"], replace={"c@h": "d@h"}, force=True)
    assert ("fill_copies", "orders") in found


def test_zones_are_set_where_they_differ() -> None:
    held = observed("a@h", "b@h", zones={"a@h": "west"})
    members = [{"name": "a@h", "zone": "west"}, {"name": "b@h", "zone": "east"}]
    plan = resource.plan(resource.desire({**PARAMS, "members": members}), held)
    assert [(change.call.__name__, change.before, change.after) for change in plan.changes] == [
        ("set_zone", None, "east")
    ]
    with pytest.raises(errors.InvalidInput, match="members: the zone of a@h is far west"):
        resource.desire({**PARAMS, "members": [{"name": "a@h", "zone": "far west"}]})
