# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Replications: endpoints as each version needs them, what is the same, what a state means, what is shown, as tables."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules import replications as rules
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules.dialect import Dialect, OneX
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules.replications import Here
from ansible_collections.couchpy.couchdb.plugins.module_utils.errors import InvalidInput

URL = "http://couch.example:5984/"
NEW, OLD = Dialect("CouchDB", "3.4.3"), Dialect("CouchDB", "3.1.2")
ONE = OneX("CouchDB", "1.7.2")
BASIC = {"basic": {"username": "admin", "password": "pässword"}}
HEADER = {"Authorization": "Basic YWRtaW46cMOkc3N3b3Jk"}
OTHER = {"basic": {"username": "ann", "password": "p/w"}}
OTHER_HEADER = {"Authorization": "Basic YW5uOnAvdw=="}


def here(dialect: Dialect = NEW, **login: t.Any) -> Here:
    """A server with its admin logged in, unless something else is said."""
    return Here(dialect, URL, **(login or {"username": "admin", "password": "pässword"}))


def written(given: t.Any, server: Here, lasting: bool = True) -> t.Any:
    """What CouchDB is given for one end."""
    return rules.written_endpoint(rules.endpoint(given, "source"), server, "source", lasting=lasting)


@pytest.mark.parametrize(
    ("given", "new", "old", "one"),
    [
        ("orders", {"url": f"{URL}orders", "auth": BASIC}, {"url": f"{URL}orders", "headers": HEADER}, "orders"),
        (
            "a/b+c",
            {"url": f"{URL}a%2Fb%2Bc", "auth": BASIC},
            {"url": f"{URL}a%2Fb%2Bc", "headers": HEADER},
            "a/b+c",
        ),
        (
            {"database": "orders"},
            {"url": f"{URL}orders", "auth": BASIC},
            {"url": f"{URL}orders", "headers": HEADER},
            "orders",
        ),
        (
            {"url": "orders"},
            {"url": f"{URL}orders", "auth": BASIC},
            {"url": f"{URL}orders", "headers": HEADER},
            "orders",
        ),
        (
            {"database": "orders", "username": "ann", "password": "p/w"},
            {"url": f"{URL}orders", "auth": OTHER},
            {"url": f"{URL}orders", "headers": OTHER_HEADER},
            {"url": f"{URL}orders", "headers": OTHER_HEADER},
        ),
        ("https://far.example/x", *["https://far.example/x"] * 3),
        (
            "https://ann:p%2Fw@far.example/x",
            {"url": "https://far.example/x", "auth": OTHER},
            *[{"url": "https://far.example/x", "headers": OTHER_HEADER}] * 2,
        ),
        (
            {"url": "https://ben:x@far.example/x", "username": "ann", "password": "p/w", "headers": {"X-A": 1}},
            {"url": "https://far.example/x", "auth": OTHER, "headers": {"X-A": "1"}},
            *[{"url": "https://far.example/x", "headers": {"X-A": "1", **OTHER_HEADER}}] * 2,
        ),
        (
            {"url": "https://far.example/x", "auth": OTHER},
            {"url": "https://far.example/x", "auth": OTHER},
            *[{"url": "https://far.example/x", "headers": OTHER_HEADER}] * 2,
        ),
        (
            {"url": "https://far.example/x", "auth": {"other": {"key": 1}}},
            *[{"url": "https://far.example/x", "auth": {"other": {"key": 1}}}] * 3,
        ),
        ({"url": "https://far.example/x"}, *["https://far.example/x"] * 3),
    ],
)
def test_an_end_is_written_as_the_version_needs_it(given: t.Any, new: t.Any, old: t.Any, one: t.Any) -> None:
    assert [written(given, here(dialect)) for dialect in (NEW, OLD, ONE)] == [new, old, one]


def test_a_cookie_is_written_only_where_it_need_not_last() -> None:
    cookie = {"Cookie": "AuthSession=x"}
    only = here(headers=cookie)
    assert written("orders", only, lasting=False) == {"url": f"{URL}orders", "headers": cookie}
    with pytest.raises(InvalidInput, match="^source: .*cookie"):
        written("orders", only)
    both = here(username="admin", password="pässword", headers=cookie)
    assert written("orders", both) == {"url": f"{URL}orders", "auth": BASIC}
    assert written("orders", both, lasting=False) == {"url": f"{URL}orders", "headers": cookie}
    # What has a login of its own needs none of the task's, and a name is enough for 1.x.
    assert written({"database": "orders", "username": "ann", "password": "p/w"}, only)["auth"] == OTHER
    assert written("orders", Here(ONE, URL, headers=cookie)) == "orders"


def test_a_server_without_a_login_is_given_none() -> None:
    assert written("orders", Here(NEW, URL)) == f"{URL}orders"
    bearer = {"Authorization": "Bearer x"}
    assert written("orders", Here(NEW, URL, headers=bearer)) == {"url": f"{URL}orders", "headers": bearer}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("", "neither a database name nor"),
        ("Bad Name", "neither a database name nor"),
        ("ann:secret@far.example/x", "neither a database name nor"),
        ("ftp://far.example/x", "http"),
        ("file:///x", "http"),
        ("http:///x", "has no host"),
        ("http://far.example:0/x", "has port 0"),
        ("http://far.example:x/x", "is not a URL"),
        ("http://far.example/", "has no database in its path"),
        ("http://far.example", "has no database in its path"),
        ("http://far.example/a b", "space"),
        ("http://far.example/x?y=1", "query"),
        (1, "must be a database name"),
        ([], "must be a database name"),
        ({}, "either a url or a database"),
        ({"uri": "http://a/b"}, "has no uri"),
        ({"url": "http://a/b", "database": "c"}, "either a url or a database"),
        ({"url": 1}, "either a url or a database"),
        ({"database": "http://a/b"}, "neither a database name nor"),
        ({"url": "ftp://a/b"}, "http"),
        ({"database": "a", "username": "ann"}, "no password"),
        ({"database": "a", "password": "x"}, "no username"),
        ({"database": "a", "username": "a:b", "password": "x"}, "colon"),
        ({"database": "a", "username": "a", "password": "x", "headers": {"authorization": "y"}}, "Remove one of them"),
        ({"database": "a", "headers": []}, None),
        ({"database": "a", "headers": ["x"]}, "headers must be a mapping"),
        ({"database": "a", "headers": {"x": "y\nz"}}, "can't be sent"),
        ({"database": "a", "auth": "x"}, "auth must be a mapping"),
    ],
)
def test_what_is_no_end(given: t.Any, says: str | None) -> None:
    if says is None:
        assert rules.endpoint(given, "source").database == "a"
        return
    with pytest.raises(InvalidInput, match=says) as caught:
        rules.endpoint(given, "source")
    assert caught.value.option == "source"
    assert "secret" not in str(caught.value)


ENDS = {"source": "http://a/x", "target": {"url": "http://a/y", "auth": BASIC}}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({}, {"_id": "a", "_rev": "1-a", "owner": "admin", "_replication_state": "completed"}, True),
        ({}, {"source": "http://a/x/"}, True),
        ({}, {"source": "HTTP://A:80/x"}, True),
        ({}, {"source": "http://a:81/x"}, False),
        ({}, {"source": "https://a/x"}, False),
        ({"source": "https://a/x"}, {"source": "https://a:443/x"}, True),
        ({}, {"source": {"url": "http://a/%78"}}, True),
        ({"source": "http://a/x/y"}, {"source": "http://a/x%2Fy"}, False),
        ({"source": "http://a/x%2fy"}, {"source": "http://a/x%2Fy"}, True),
        ({"source": "http://a/x+y"}, {"source": "http://a/x%2By"}, True),
        ({}, {"target": {"url": "http://a/y", "headers": HEADER}}, True),
        ({}, {"target": {"url": "http://a/y", "headers": {"authorization": HEADER["Authorization"]}}}, True),
        ({}, {"target": "http://admin:p%C3%A4ssword@a/y"}, True),
        ({}, {"target": {"url": "http://admin:p%C3%A4ssword@a/y", "auth": BASIC}}, True),
        ({}, {"target": "http://admin:other@a/y"}, False),
        ({}, {"target": "http://a/y"}, False),
        ({}, {"target": {"url": "http://a/y", "auth": OTHER}}, False),
        ({}, {"target": {"url": "http://a/y", "headers": {"Authorization": "Bearer x"}}}, False),
        ({"source": "orders"}, {"source": {"url": "orders"}}, True),
        ({"source": "orders"}, {"source": "order"}, False),
        ({}, {"source": {"url": "http://a/x", "headers": {"X-A": "1"}}}, False),
        (
            {"source": {"url": "http://a/x", "headers": {"X-A": "1"}}},
            {"source": {"url": "http://a/x", "headers": {"x-a": "1"}}},
            True,
        ),
        ({}, {"continuous": False, "create_target": False}, True),
        ({}, {"continuous": True}, False),
        ({}, {"doc_ids": None}, True),
        ({"doc_ids": ["a", "b"]}, {"doc_ids": ["b", "a", "b"]}, True),
        ({"doc_ids": []}, {}, False),
        ({"selector": {}}, {}, False),
        ({"selector": {"a": 1}}, {"selector": {"a": 1}}, True),
        ({"selector": {"a": 1}}, {"selector": {"a": "1"}}, False),
        (
            {"selector": {"a": {"$gt": 1, "$lt": 9}}},
            {"selector": {"$and": [{"a": {"$lt": 9.0}}, {"a": {"$gt": 1}}]}},
            True,
        ),
        ({"selector": {"a": {"$gt": 1}}}, {"selector": {"a": {"$gte": 1}}}, False),
        ({"selector": ["a"]}, {"selector": {"a": 1}}, False),
        ({"query_params": {"a": "1", "b": "true"}}, {"query_params": {"b": True, "a": 1}}, True),
        ({"query_params": {}}, {}, True),
        ({"create_target_params": {"q": "1"}}, {"create_target_params": {"q": 1}}, True),
        ({"worker_processes": "2"}, {"worker_processes": 2}, True),
        ({"worker_processes": "x"}, {"worker_processes": 2}, False),
        ({"use_checkpoints": True}, {}, True),
        ({"use_checkpoints": False}, {}, False),
        ({"user_ctx": {"roles": ["a", "b"]}}, {"user_ctx": {"name": None, "roles": ["b", "a"]}}, True),
        ({"user_ctx": {"roles": ["a"]}}, {}, False),
        ({"proxy": "http://p:80/"}, {"source_proxy": "http://p", "target_proxy": "http://p"}, True),
        ({"source_proxy": "http://u:x@p"}, {"source_proxy": "http://u:y@p"}, False),
        ({}, {"by_hand": 1}, False),
        ({"doc_ids": "a"}, {"doc_ids": ["a"]}, False),
        ({"user_ctx": "a"}, {}, False),
        ({"source": 1}, {"source": 1}, True),
        ({"query_params": "a"}, {}, False),
    ],
)
def test_what_is_the_same(one: dict[str, t.Any], other: dict[str, t.Any], same: bool) -> None:
    assert rules.same({**ENDS, **one}, {**ENDS, **other}) is same
    assert rules.same({**ENDS, **other}, {**ENDS, **one}) is same


@pytest.mark.parametrize(
    ("state", "info", "continuous", "started", "verdict"),
    [
        (None, None, True, (), "open"),
        ("initializing", None, True, (), "open"),
        ("pending", {}, True, (), "open"),
        ("running", None, True, (), "open"),
        ("running", None, True, ("j",), "done"),
        ("running", {"docs_read": 0}, True, (), "done"),
        ("running", {"docs_read": 0}, False, ("j",), "open"),
        ("triggered", None, True, (), "done"),
        ("triggered", None, False, (), "open"),
        ("completed", {}, False, (), "done"),
        ("completed", {}, True, (), "done"),
        ("crashing", {}, True, (), "broken"),
        ("error", {}, False, (), "broken"),
        ("failed", {}, False, (), "broken"),
    ],
)
def test_what_a_state_means(state: str | None, info: t.Any, continuous: bool, started: t.Any, verdict: str) -> None:
    row = {"state": state, "info": info, "id": "j"}
    assert rules.verdict(row, continuous, started) == verdict


@pytest.mark.parametrize(
    ("row", "state", "info"),
    [
        ({"state": "running", "info": {"a": 1}}, "running", {"a": 1}),
        ({"state": None, "info": None}, None, None),
        ({}, None, None),
        ({"_replication_state": "triggered"}, "triggered", None),
        ({"_replication_state": "completed", "_replication_stats": {"a": 1}}, "completed", {"a": 1}),
        ({"_replication_state": "error", "_replication_state_reason": "why"}, "error", {"error": "why"}),
    ],
)
def test_a_state_from_the_scheduler_or_the_document(row: dict[str, t.Any], state: t.Any, info: t.Any) -> None:
    found = rules.state(row)
    assert (found["state"], found["info"]) == (state, info)


@pytest.mark.parametrize(
    ("session", "written_"),
    [
        ({"ok": True, "history": [{"docs_read": 5, "docs_written": 4, "doc_write_failures": 1}]}, 4),
        ({"ok": True, "no_changes": True, "history": [{"docs_written": 5}]}, 0),
        ({"ok": True, "history": [{"docs_written": 0}, {"docs_written": 5}]}, 0),
        ({"ok": True}, 0),
    ],
)
def test_what_was_copied_is_this_session_s(session: dict[str, t.Any], written_: int) -> None:
    assert rules.copied(session)["docs_written"] == written_


def test_a_problem_says_why_without_a_login() -> None:
    rows = {
        "a": {"state": "crashing", "info": {"error": "no way\n   to http://ann:secret@a/b"}},
        "b": {"state": "failed", "info": None},
    }
    error = rules.problem(rows)
    assert str(error) == "the replication a is crashing: no way to http://********@a/b; the replication b is failed"
    assert (error.error, error.reason) == ("crashing", "no way to http://********@a/b")
    late = rules.problem({"a": {"state": None, "info": None}}, 5)
    assert "a is still not started by the server after 5 s" in str(late)
    assert "wait_timeout" in str(late)


def test_nothing_secret_is_shown() -> None:
    document = {
        "_rev": "1",
        "source": {
            "url": "http://ann:hidden@a/x",
            "headers": {"Authorization": "hidden", "X-Session": "hidden", "X": "y"},
        },
        "target": "http://ann:hidden@a/y",
    }
    assert rules.shown_end(document["source"]) == "http://a/x"
    assert rules.shown_end(document["target"]) == "http://a/y"
    assert rules.shown_end("orders") == "orders"
    told = rules.shown_document(document)
    assert told["source"]["headers"]["X-Session"] == "********"
    assert told["source"]["headers"]["X"] == "y"
    assert document["source"]["headers"]["X-Session"] == "hidden"
    assert "_rev" not in told


def test_secrets_of_any_shape_are_found() -> None:
    given = {
        "source": "http://ann:one%2F1@a/x",
        "target": {
            "url": "http://a/y",
            "password": "two 2",
            "headers": {"X-Token": "three", "Authorization": "Basic four"},
        },
        "source_proxy": "http://u:five@p",
        "options": {"proxy": "http://u:six@p", "api_key": "seven"},
        "query_params": {"token": "eight"},
    }
    found = rules.secrets(given)
    assert {"one%2F1", "one/1", "two 2", "two%202", "three", "four", "five", "six", "seven", "eight"} <= found
    assert "http://a/y" not in found
    assert rules.secrets({"source": ["x"], "target": 5, "options": "x", "query_params": None}) == set()


PENDING = {"changes_pending": 5, "docs_read": 1, "checkpointed_source_seq": "1-a"}
RUNS = {"name": "r", "database": "_replicator", "source": "a", "target": "b", "state": "running"}


@pytest.mark.parametrize(
    ("first", "second", "found"),
    [
        ({"state": "failed", "info": {"error": "db_not_found"}}, None, {"failed": "db_not_found"}),
        ({"state": "crashing", "info": "econnrefused"}, None, {"crashing": "econnrefused"}),
        ({"state": "error", "info": {"error": "no"}}, None, {"crashing": "no"}),
        ({"state": "completed", "info": None}, None, {}),
        ({"info": PENDING}, None, {}),
        ({"info": PENDING}, {"info": PENDING}, {"stalled": "5 changes are pending, and none was read"}),
        ({"info": PENDING}, {"info": {**PENDING, "docs_read": 2}}, {}),
        ({"info": PENDING}, {"info": {**PENDING, "changes_pending": 0}}, {}),
        ({"info": {**PENDING, "changes_pending": 0}}, {"info": PENDING}, {}),
        ({"info": PENDING}, {"state": "crashing", "info": {"error": "gone"}}, {"crashing": "gone"}),
        ({"info": None}, {"info": None}, {}),
    ],
)
def test_replications_that_do_not_get_on(first: t.Any, second: t.Any, found: dict[str, str]) -> None:
    problems = rules.problems([{**RUNS, **first}], None if second is None else [{**RUNS, **second}])
    reasons = {kind: rows[0]["reason"] for kind, rows in problems.items() if rows}
    assert reasons == found
    assert all(rows[0]["name"] == "r" for rows in problems.values() if rows)
