# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Declarations: what a server holds → the options that declare it, and what is left out, as tables."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules import declaration as rules
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules import defaults, indexes
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules.declaration import Omitted
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules.dialect import Dialect
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules.replications import Here

DIALECT = Dialect("CouchDB", "3.5.0")
FRESH = defaults.DEFAULTS["3.5"]
HASH = "-pbkdf2-33dd85e33618b30a29bec5d9175eace4e4c92aaf,salt,10"
LOGIN_HASH = {
    "password_scheme": "pbkdf2",
    "derived_key": "33dd85e33618b30a29bec5d9175eace4e4c92aaf",
    "salt": "salt",
    "iterations": 10,
}
ED = r"-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n"
HERE = Here(DIALECT, "http://127.0.0.1:5984/", "admin", "own-password")


def config(**changed: dict[str, str]) -> dict[str, dict[str, str]]:
    """The settings of a fresh server with these in them."""
    return {section: {**FRESH.get(section, {}), **changed.get(section, {})} for section in {*FRESH, *changed}}


def reasons(omitted: Omitted) -> dict[str, str]:
    return {entry["name"]: entry["reason"] for entry in omitted.entries}


@pytest.mark.parametrize(
    ("found", "declared", "left_out"),
    [
        ([config()], {}, {}),
        ([config(log={"level": "debug"})], {"log": {"level": "debug"}}, {}),
        ([config(chttpd_auth={"hash_algorithms": "sha"})], {"chttpd_auth": {"hash_algorithms": "sha"}}, {}),
        ([{**config(), "prometheus": {}}], {"prometheus": {"additional_port": None}}, {}),
        ([config(admins={"a": "h"}, vendor={"name": "x"}, feature_flags={"y": "true"})], {}, {}),
        ([config(smtp={"password": "c4n4ry"})], {"smtp": {"password": "********"}}, {}),
        ([config(couchdb={"uuid": "u"})], {}, {"couchdb/uuid": "the identity of this server"}),
        ([config(chttpd={"port": "5984"})], {}, {"chttpd/port": "where this server listens"}),
        ([config(query_servers={"x": "y"})], {}, {"query_servers/x": "CouchDB refuses changes"}),
        ([config(log={"level": "debug"})] * 2, {"log": {"level": "debug"}}, {}),
        (
            [config(log={"level": "debug"}), config()],
            {},
            {"log/level": "differs between nodes: node0 has debug, node1 has None"},
        ),
    ],
)
def test_settings(found: list[t.Any], declared: t.Any, left_out: dict[str, str]) -> None:
    omitted = Omitted()
    nodes = {f"node{number}": one for number, one in enumerate(found)}
    assert rules.settings(nodes, DIALECT, omitted, secrets=False) == declared
    assert {name: reason[: len(left_out.get(name, ""))] for name, reason in reasons(omitted).items()} == left_out


def test_an_unknown_version_declares_all_settings_and_says_so() -> None:
    omitted = Omitted()
    declared = rules.settings({"n": config()}, Dialect("CouchDB", "9.1.0"), omitted, secrets=False)
    assert declared == FRESH
    assert "unknown" in reasons(omitted)["9.1.0"]


@pytest.mark.parametrize(
    ("found", "declared", "left_out"),
    [
        ([{"a": HASH}], [{"name": "a", "password_hash": HASH}], []),
        ([{"a": HASH}, {"a": HASH}], [{"name": "a", "password_hash": HASH}], []),
        ([{"a": HASH}, {}], [], ["a"]),
        ([{"a": "plain"}], [], ["a"]),
    ],
)
def test_admins(found: list[dict[str, str]], declared: t.Any, left_out: list[str]) -> None:
    omitted = Omitted()
    nodes = {f"node{number}": one for number, one in enumerate(found)}
    assert rules.admins(nodes, omitted, secrets=True) == declared
    assert list(reasons(omitted)) == left_out


PEM = """-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE4mffUA+JH4hUDlQsLc8UUSFt0b7v
y62B6DhwhsDsX0NG61KJfXxYUPK2lXcRcgwqkkpOOk6JGrfeFNLGoqY2hg==
-----END PUBLIC KEY-----
"""
EC = PEM.replace("\n", "\\n")


@pytest.mark.parametrize(
    ("found", "declared", "left_out", "removable"),
    [
        ([{}], [], {}, []),
        ([{"hmac:no": "YzRuNHJ5"}], [{"kid": "no", "type": "hmac", "key": "YzRuNHJ5", "base64": True}], {}, []),
        ([{"ec:1e3": EC}] * 2, [{"kid": "1e3", "type": "ec", "key": PEM}], {}, []),
        (
            [{"hmac:a": "YzRu NHJ5"}, {"hmac:a": "YzRuNHJ5"}],
            [{"kid": "a", "type": "hmac", "key": "YzRuNHJ5", "base64": True}],
            {},
            [],
        ),
        ([{"hmac:a": "YzRuNHJ5"}, {}], [], {"hmac:a": "not the same on all nodes"}, ["hmac:a"]),
        ([{"hmac:a": "YzRuNHJ5"}, {"hmac:a": "eA=="}], [], {"hmac:a": "not the same on all nodes"}, ["hmac:a"]),
        ([{"hmac:a": "c4n4ry!"}], [], {"hmac:a": "what is stored is not Base64"}, ["hmac:a"]),
        ([{"hmac:a": ""}], [], {"hmac:a": "what is stored is empty"}, ["hmac:a"]),
        ([{"rsa:a": EC}], [], {"rsa:a": "what is stored contains a key of the type ec"}, ["rsa:a"]),
        ([{"ed:a": ED}], [], {"ed:a": "this version has no keys of this type"}, ["ed:a"]),
        ([{"c4n4ry": "x"}], [], {"c4n4ry": "its name does not start with a type"}, []),
        ([{"hmac:a:b": "eA=="}], [], {"hmac:a:b": "'a:b' contains a colon"}, []),
    ],
)
def test_keys_of_tokens(found: list[t.Any], declared: t.Any, left_out: dict[str, str], removable: list[str]) -> None:
    omitted = Omitted()
    nodes = {f"node{number}": one for number, one in enumerate(found)}
    assert rules.keys(nodes, DIALECT, omitted, secrets=True) == declared
    assert {name: reason[: len(left_out.get(name, ""))] for name, reason in reasons(omitted).items()} == left_out
    assert omitted.removable.get("jwt_keys", []) == removable
    assert rules.keys(nodes, DIALECT, Omitted(), secrets=False) == [{**key, "key": "********"} for key in declared]
    assert "c4n4ry!" not in str(omitted.entries)


def test_keys_of_tokens_are_no_settings() -> None:
    held = config(jwt_keys={"hmac:a": "YzRuNHJ5"})
    assert rules.settings({"n": held}, DIALECT, Omitted(), secrets=True) == {}


@pytest.mark.parametrize(
    ("info", "security", "limit", "declared"),
    [
        ({"cluster": {"q": 2, "n": 1}}, DIALECT.new_security(), 1000, {"shards": 2, "replicas": 1}),
        ({"props": {"partitioned": True}}, DIALECT.new_security(), 1000, {"partitioned": True}),
        ({}, DIALECT.new_security(), 5, {"revs_limit": 5}),
        (
            {},
            {},
            1000,
            {"security": {group: {"names": [], "roles": []} for group in ("admins", "members")}},
        ),
        (
            {},
            {"members": {"roles": ["r"]}, "cloudant": {}},
            1000,
            {"security": {"admins": {"names": [], "roles": []}, "members": {"names": [], "roles": ["r"]}}},
        ),
    ],
)
def test_databases(info: t.Any, security: t.Any, limit: int, declared: t.Any) -> None:
    omitted = Omitted()
    found = rules.databases({"d": info}, {"d": security}, {"d": limit}, DIALECT, omitted)
    assert found == [{"name": "d", **declared}]
    assert ("cloudant" in security) == bool(omitted.entries)


@pytest.mark.parametrize(
    ("document", "declared", "left_out"),
    [
        ({"roles": ["r"]}, {"roles": ["r"]}, []),
        ({"roles": [], "n": 1, "token": "t"}, {"roles": [], "attributes": {"n": 1, "token": "t"}}, []),
        ({"roles": [], **LOGIN_HASH}, {"roles": [], "password_hash": HASH}, []),
        ({"roles": [], "password_scheme": "new", "derived_key": "k"}, None, ["ann"]),
        ({"roles": ["_admin"]}, None, ["ann"]),
        ({"roles": [], "type": "other"}, None, ["org.couchdb.user:ann"]),
        ({"_id": "_design/_auth"}, None, []),
    ],
)
def test_users(document: t.Any, declared: t.Any, left_out: list[str]) -> None:
    omitted = Omitted()
    whole = {"_id": "org.couchdb.user:ann", "_rev": "1-a", "name": "ann", "type": "user", **document}
    expected = declared and {"name": "ann", **declared}
    assert rules.user(whole, omitted, secrets=True) == expected
    assert list(reasons(omitted)) == left_out
    if declared:
        masked = rules.user(whole, Omitted(), secrets=False) or {}
        assert masked.get("password_hash", "********") == "********"
        assert (masked.get("attributes") or {}).get("token", "********") == "********"


def test_design_documents_are_declared_without_revision_and_without_those_of_couchdb() -> None:
    attachment = {"content_type": "text/plain", "data": "aGk=", "digest": "md5-x", "revpos": 2}
    app = {"_id": "_design/app", "_rev": "1-a", "views": {}, "_attachments": {"a": attachment}}
    stub = {"_id": "_design/stub", "_rev": "1-a", "_attachments": {"a": {"stub": True}}}
    mango = {"_id": "_design/m", "_rev": "1-a", "language": "query", "views": {}}
    omitted = Omitted()
    declared = rules.designs("d", [app, stub, mango], omitted)
    kept = {"content_type": "text/plain", "data": "aGk="}
    assert declared == [{"_id": "_design/app", "views": {}, "_attachments": {"a": kept}}]
    assert list(reasons(omitted)) == ["d/_design/stub"]
    assert rules.designs("_users", [{"_id": "_design/_auth", "_rev": "1-a"}], omitted) == []
    assert rules.designs("d", [{"_id": "_design/..", "_rev": "1-a"}], omitted) == []
    assert reasons(omitted)["d/_design/.."] == "the name is a step in the path of a URL"


def test_indexes_are_declared_with_their_names() -> None:
    view = {
        "map": {"fields": {"a": "asc", "b": "desc"}, "partial_filter_selector": {"a": {"$gt": 5}}},
        "reduce": "_count",
        "options": {"def": {"fields": ["a", {"b": "desc"}], "partial_filter_selector": {"a": {"$gt": 5}}}},
    }
    design = {"_id": "_design/ix", "language": "query", "views": {"by-a": view}}
    omitted = Omitted()
    entry = {
        "database": "d",
        "ddoc": "ix",
        "name": "by-a",
        "fields": [{"a": "asc"}, {"b": "desc"}],
        "selector": {"a": {"$gt": 5}},
    }
    assert rules.mango("d", [design], False, omitted) == [entry]
    assert omitted.entries == []
    strange = {"_id": "_design/odd", "language": "query", "views": {"x": {"map": "function"}}}
    assert rules.mango("d", [strange], False, omitted) == []
    assert list(reasons(omitted)) == ["d/_design/odd"]
    steps = [{**design, "_id": "_design/.."}, {**design, "views": {".": view}}]
    assert rules.mango("d", steps, False, omitted) == []
    assert list(reasons(omitted))[1:] == ["d/_design/../by-a", "d/_design/ix/."]


OWN = {"url": "http://127.0.0.1:5984/a%2Fb", "auth": {"basic": {"username": "admin", "password": "own-password"}}}
THERE = {"url": "http://h/x", "auth": {"basic": {"username": "u", "password": "p"}}}


@pytest.mark.parametrize(
    ("fields", "declared", "left_out"),
    [
        ({"source": OWN, "target": "http://h/x"}, {"source": "a/b", "target": "http://h/x"}, []),
        (
            {"source": "http://h/x", "target": THERE, "continuous": True, "worker_processes": 2},
            {
                "source": "http://h/x",
                "target": {"url": "http://h/x", "username": "u", "password": "p"},
                "continuous": True,
                "options": {"worker_processes": 2},
            },
            [],
        ),
        (
            {"source": "http://u:p%40@h/x", "target": {"url": "http://u:p@h:81/x/", "headers": {"A": "b"}}},
            {
                "source": {"url": "http://h/x", "username": "u", "password": "p@"},
                "target": {"url": "http://h:81/x/", "headers": {"A": "b"}, "username": "u", "password": "p"},
            },
            [],
        ),
        (
            {"source": "http://h/x", "target": "http://h/y", "create_target": False, "continuous": False},
            {"source": "http://h/x", "target": "http://h/y"},
            [],
        ),
        ({"source": "http://h/x"}, None, ["r"]),
        ({"source": "http://h/x", "target": {**OWN, "url": "http://localhost:5984/a"}}, None, ["r"]),
    ],
)
def test_replications(fields: t.Any, declared: t.Any, left_out: list[str]) -> None:
    omitted = Omitted()
    document = {"_id": "r", "_rev": "1-a", "owner": "admin", **fields}
    assert rules.replication(document, HERE, omitted, secrets=True) == (declared and {"name": "r", **declared})
    assert list(reasons(omitted)) == left_out
    assert omitted.removable.get("replications", []) == left_out


def test_a_replication_whose_name_no_url_can_contain_is_neither_declared_nor_removable() -> None:
    omitted = Omitted()
    document = {"_id": "..", "_rev": "1-a", "source": "http://h/x", "target": "http://h/y"}
    assert rules.replication(document, HERE, omitted, secrets=True) is None
    assert list(reasons(omitted)) == [".."]
    assert omitted.removable == {}


@pytest.mark.parametrize(
    ("patterns", "chosen"),
    [(None, ["shop_a", "shop_b", "x"]), (["shop_*"], ["shop_a", "shop_b"]), (["x", "*_b"], ["shop_b", "x"]), ([], [])],
)
def test_patterns(patterns: list[str] | None, chosen: list[str]) -> None:
    assert rules.chosen(["shop_a", "shop_b", "x"], patterns) == chosen


@pytest.mark.parametrize(
    ("declared", "extra"),
    [
        ([], ["by-a", "by-b"]),
        ([{"ddoc": "ix", "name": "by-a", "fields": ["a"]}], ["by-b"]),
        ([{"fields": ["b"]}], ["by-a"]),
        ([{"fields": ["c"]}], ["by-a", "by-b"]),
    ],
)
def test_indexes_that_nothing_declares_are_extra(declared: list[t.Any], extra: list[str]) -> None:
    found = [{"database": "d", "ddoc": "ix", "name": f"by-{field}", "fields": [{field: "asc"}]} for field in "ab"]
    common = {**dict.fromkeys(indexes.OPTIONS), "database": "d", "state": "present"}
    wanted = [indexes.wanted({**common, **one}) for one in declared]
    assert [entry["name"] for entry in rules.extra_indexes(found, wanted)] == extra


def test_settings_that_nothing_declares_are_extra() -> None:
    found = {"log": {"level": "debug", "writer": "file"}}
    assert rules.extra_settings(found, {("log", "level")}) == [("log", "writer")]
