# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a cluster is made of: who can be a member, who holds what, when the nodes agree, and how it is."""

from __future__ import annotations

import re
import typing as t

import pytest
from ansible_collections.couchpy.couchdb.plugins.module_utils import errors
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules import cluster as rules
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules.cluster import Member, Node, Placement, Server

ONE, TWO, THREE, FOUR = (f"couchdb@10.0.0.{number}" for number in (1, 2, 3, 4))
ALIKE = {
    "couchdb": {"uuid": "u"},
    "chttpd_auth": {"secret": "s"},
    "admins": {"admin": "hash"},
    "log": {"level": "info"},
}
OURS = Server(ONE, "3.4.3", ALIKE, [ONE], {"a": Placement({"0-f": [ONE]}, "at one")})


def document(name: str, *nodes: str, suffix: str = ".1700000000") -> dict[str, t.Any]:
    """A database as C(_dbs) has it, with two shards on each of the nodes."""
    ranges = ["00000000-7fffffff", "80000000-ffffffff"]
    return {
        "_id": name,
        "_rev": "1-a",
        "shard_suffix": [ord(character) for character in suffix],
        "changelog": [["add", shard, node] for shard in ranges for node in nodes],
        "by_node": dict.fromkeys(nodes, ranges),
        "by_range": {shard: list(nodes) for shard in ranges},
    }


@pytest.mark.parametrize(
    ("given", "members"),
    [
        ([ONE], [Member(ONE)]),
        ([ONE, {"name": TWO}], [Member(ONE), Member(TWO)]),
        ([{"name": ONE, "url": "http://a/"}, {"name": TWO, "url": None}], [Member(ONE, "http://a/"), Member(TWO)]),
        (
            ["db_1.a-b+c@db-1.example.com", "couchdb@::1"],
            [Member("db_1.a-b+c@db-1.example.com"), Member("couchdb@::1")],
        ),
    ],
)
def test_members(given: list[t.Any], members: list[Member]) -> None:
    assert rules.given_members(given) == members


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([], "Name at least one node"),
        (["couchdb"], "not the name of a node"),
        (["@10.0.0.1"], "not the name of a node"),
        (["couchdb@"], "not the name of a node"),
        (["a@b@c"], "not the name of a node"),
        (["couchdb@10.0.0.1\n"], "not the name of a node"),
        (["é@10.0.0.1"], "not the name of a node"),
        (["_local"], "not the name of a node"),
        (["_x@10.0.0.1"], "not the name of a node"),
        (["nonode@nohost"], "without a name"),
        ([ONE, {"name": ONE, "url": "http://a/"}], "listed twice"),
        ([{"url": "http://a/"}], "names of nodes"),
        ([5], "names of nodes"),
        ([{"name": ONE, "port": 5984}], "no port"),
        ([{"name": ONE, "url": ""}], "not a URL"),
        ([{"name": ONE, "url": ["http://a/"]}], "not a URL"),
    ],
)
def test_members_that_can_not_be(given: list[t.Any], says: str) -> None:
    with pytest.raises(errors.InvalidInput, match=f"^members: .*{says}"):
        rules.given_members(given)


def test_who_holds_what() -> None:
    shards = {
        "a": rules.placement(document("a", ONE, TWO)),
        "b": rules.placement(document("b", TWO)),
    }
    assert rules.databases_on(shards, ONE) == ["a"]
    assert rules.databases_on(shards, TWO) == ["a", "b"]
    assert rules.databases_on(shards, THREE) == []
    assert rules.copies(shards) == {ONE: 2, TWO: 4}


@pytest.mark.parametrize(
    ("theirs", "clashing"),
    [
        ({}, []),
        ({"b": document("b", TWO)}, []),
        # What a node that left still knows is ours.
        ({"a": document("a", ONE)}, []),
        ({"a": {**document("a", ONE), "changelog": [*document("a", ONE)["changelog"], ["add", "0-1", TWO]]}}, []),
        ({"a": document("a", TWO)}, ["a"]),
        ({"a": document("a", ONE, suffix=".1800000000")}, ["a"]),
    ],
)
def test_databases_of_one_name(theirs: dict[str, t.Any], clashing: list[str]) -> None:
    ours = {"a": rules.placement(document("a", ONE))}
    assert rules.clashes(ours, {name: rules.placement(row) for name, row in theirs.items()}) == clashing


def server(name: str = TWO, version: str = "3.4.3", **fields: t.Any) -> Server:
    """A node that can join."""
    return Server(name, version, **{"settings": {**ALIKE, "log": {"level": "error"}}, "members": [name], **fields})


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (server(), None),
        (server(version="3.4.1"), None),
        (server(members=[ONE, TWO, THREE]), None),
        (errors.Unreachable("nothing answers at http://a/"), None),
        (errors.Unauthorized("GET http://a/ answered 401"), "answered 401"),
        (server(name=THREE), f"answers at its url is {THREE}"),
        (server(version="3.3.3"), "it is CouchDB 3.3.3, and couchdb@10.0.0.1 is 3.4.3"),
        (server(name="_local", version="1.7.2"), "it is CouchDB 1.7.2"),
        (server(members=[TWO, FOUR]), f"a cluster with {FOUR}"),
    ],
)
def test_who_can_never_join(found: Server | errors.CouchDBError, says: str | None) -> None:
    problem = rules.problem(TWO, OURS, found, [ONE, TWO, THREE], connected=False)
    assert (problem is None) == (says is None)
    assert re.search(says or "", problem or "")


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (server(), None),
        (server(shards={"b": Placement({"0-f": [TWO]}, "at two")}), None),
        (errors.Unreachable("nothing answers at http://a/"), "nothing answers"),
        (server(settings={**ALIKE, "couchdb": {"uuid": "c4n4ry"}}), "couchdb/uuid"),
        (server(settings={**ALIKE, "chttpd_auth": {}}), "chttpd_auth/secret"),
        (server(settings={**ALIKE, "admins": {"admin": "c4n4ry"}}), "password hash of the admin admin"),
        (server(settings={**ALIKE, "admins": {"admin": "hash", "bob": "c4n4ry"}}), "the admin bob, which only one has"),
        (server(settings={**ALIKE, "admins": {}}), "the admin admin, which only one has"),
        (server(shards={"a": Placement({"0-f": [TWO]}, "at two")}), r"databases of its own .*: a\."),
    ],
)
def test_what_a_node_lacks_before_it_can_join(found: Server | errors.CouchDBError, says: str | None) -> None:
    lack = rules.lack(OURS, found)
    assert (lack is None) == (says is None)
    assert re.search(says or "", lack or "")
    assert "c4n4ry" not in (lack or "")


@pytest.mark.parametrize("version", ["3.4.3", "3.3.3", "3.5.0"])
def test_of_a_connected_member_only_the_name_is_looked_at(version: str) -> None:
    known = Server(TWO, version, {"cluster": {}})
    assert rules.problem(TWO, Server(ONE, "3.4.3", ALIKE), known, [ONE, TWO], connected=True) is None
    assert rules.problem(THREE, OURS, known, [ONE, TWO], connected=True) is not None


def told(*nodes: str, connected: tuple[str, ...] | None = None) -> dict[str, list[str]]:
    """What a node says of the members."""
    return {"cluster_nodes": list(nodes), "all_nodes": list(nodes if connected is None else connected)}


@pytest.mark.parametrize(
    ("answers", "exclusive", "problems"),
    [
        ({"one": told(ONE, TWO), "two": told(ONE, TWO)}, True, []),
        ({"one": told(ONE, TWO, THREE)}, False, []),
        # A node that left goes on being connected.
        ({"one": told(ONE, TWO, connected=(ONE, TWO, THREE))}, True, []),
        ({"one": told(ONE, TWO), "two": told(TWO)}, False, [f"two does not list {ONE}"]),
        ({"one": told(ONE, TWO, connected=(ONE,))}, False, [f"one is not connected with {TWO}"]),
        ({"one": told(ONE, TWO, THREE)}, True, [f"one still lists {THREE}"]),
        ({"one": told(ONE, TWO), "two": "nothing answers"}, False, ["two: nothing answers"]),
    ],
)
def test_agreement(answers: dict[str, t.Any], exclusive: bool, problems: list[str]) -> None:
    assert rules.disagreements([ONE, TWO], answers, exclusive=exclusive) == problems


SPREAD = {"a": Placement({"0-7": [ONE, TWO], "8-f": [TWO, THREE]}), "b": Placement({"0-f": [ONE, TWO, THREE]})}
ALONE = {"a": Placement({"0-f": [THREE]})}


def nodes(**three: t.Any) -> list[Node]:
    """Three members in service, the third as given."""
    return [Node(ONE, maintenance_mode="false"), Node(TWO, maintenance_mode="false"), Node(THREE, **three)]


@pytest.mark.parametrize(
    ("known", "shards", "word", "says"),
    [
        (nodes(maintenance_mode="false"), SPREAD, "healthy", []),
        (nodes(), {}, "healthy", []),
        ([Node("_local")], {}, "healthy", []),
        (nodes(connected=False), {}, "degraded", ["not connected"]),
        (nodes(connected=False), SPREAD, "degraded", ["not connected", "some copy .* a, b"]),
        (nodes(connected=False), ALONE, "down", ["not connected", "no copy .* a"]),
        (nodes(maintenance_mode="true"), ALONE, "down", [r"maintenance \(true\)", "no copy .* a"]),
        # It is left out by load balancers, and goes on serving what it holds.
        (nodes(maintenance_mode="nolb"), ALONE, "degraded", [r"maintenance \(nolb\)"]),
        (nodes(problem="no answer"), SPREAD, "degraded", ["could not be asked: no answer", "some copy .* a, b"]),
        (nodes(member=False), {}, "degraded", ["is not a member"]),
        (
            nodes(),
            {"a": Placement({"0-f": [ONE, FOUR]})},
            "degraded",
            ["some copy .* a", "neither members nor connected: a"],
        ),
    ],
)
def test_health(known: list[Node], shards: dict[str, Placement], word: str, says: list[str]) -> None:
    health = rules.health(known, shards)
    assert health.word == word
    assert len(health.problems) == len(says)
    assert all(re.search(pattern, problem) for pattern, problem in zip(says, health.problems, strict=True)), (
        health.problems
    )


def test_many_names_are_cut_in_a_message() -> None:
    assert errors.listed(["a", "b"]) == "a, b"
    assert errors.listed([f"d{number}" for number in range(12)]).endswith("d9 and 2 more")
