# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

"""replicate(): starting, configuring and stopping replications, and all that an endpoint may be."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible_collections.couchpy.couchdb.plugins.module_utils import errors
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules.urls import basic_authorization
from ansible_collections.couchpy.couchdb.plugins.module_utils.client import Client
from ansible_collections.couchpy.couchdb.plugins.module_utils.database import Database
from servers import Server, unique
from wire import Wire, until

Connect = Callable[..., Client]
Name = Callable[..., str]


@pytest.fixture
def source(db: Database) -> Database:
    """A database with three documents."""
    db.bulk_docs([{"_id": docid, "colour": "red"} for docid in "abc"])
    return db


@pytest.fixture
def target(couch: Client, new_name: Name) -> Database:
    """An empty database."""
    return couch.put(new_name())


@pytest.fixture
def continuous(couch: Client) -> Iterator[Callable[..., dict[str, Any]]]:
    """Starts continuous replications; those that still run are cancelled afterwards."""
    started: list[tuple[Any, Any, dict[str, Any]]] = []

    def start(one: Any, other: Any, **options: Any) -> dict[str, Any]:
        answer = couch.replicate(one, other, continuous=True, **options)
        started.append((one, other, options))
        return answer

    yield start
    for one, other, options in started:
        # The test may have cancelled it.
        with contextlib.suppress(errors.NotFound):
            couch.replicate(one, other, continuous=True, cancel=True, **options)


def ids(database: Database) -> list[str]:
    """The ids of all documents in a database."""
    return [row["id"] for row in database.all_docs()]


def sent(wire: Wire) -> Any:
    """What this client sent; the server's replicator may ask through the same wire."""
    return next(asked for asked in wire.requests if asked.path == "/_replicate").json


def with_credentials(server: Server, database: Database) -> str:
    """The address of a database with the admin's name and password in it."""
    return server.url.replace("://", f"://{server.username}:{server.password}@") + database.name


# --- One-shot


def test_all_documents(couch: Client, source: Database, target: Database) -> None:
    answer = couch.replicate(source.name, target.name)
    assert answer["ok"] is True
    assert answer["history"][0]["docs_written"] == 3
    assert ids(target) == ["a", "b", "c"]
    assert target["a"]["_rev"] == source["a"]["_rev"]


def test_create_target(couch: Client, source: Database, new_name: Name) -> None:
    name = new_name()
    assert couch.replicate(source.name, name, create_target=True)["ok"] is True
    assert ids(couch[name]) == ["a", "b", "c"]


def test_create_target_is_sent_only_when_it_is_true(
    connect: Connect, wire: Wire, source: Database, target: Database
) -> None:
    couch = connect(wire.url)
    couch.replicate(source.name, target.name, create_target=False, continuous=False, cancel=None, doc_ids=None)
    assert set(sent(wire)) == {"source", "target"}


def test_without_create_target(couch: Client, source: Database) -> None:
    absent = unique()
    with pytest.raises(errors.CouchDBError, match="db_not_found"):
        couch.replicate(source.name, absent)
    assert absent not in couch


def test_doc_ids(couch: Client, source: Database, target: Database) -> None:
    answer = couch.replicate(source.name, target.name, doc_ids=["a", "c", "missing"])
    assert answer["ok"] is True
    assert ids(target) == ["a", "c"]


def test_again_copies_only_what_is_new(couch: Client, source: Database, target: Database) -> None:
    couch.replicate(source.name, target.name)
    assert couch.replicate(source.name, target.name)["ok"] is True
    source.put_document({"_id": "d"})
    couch.replicate(source.name, target.name)
    assert ids(target) == ["a", "b", "c", "d"]


def test_a_source_that_is_missing(couch: Client, server: Server, target: Database) -> None:
    # 1.x answers 404, 3.x 500; what is wrong is in the error.
    with pytest.raises(errors.CouchDBError) as caught:
        couch.replicate(unique(), target)
    assert caught.value.error == "db_not_found"
    assert str(server.password) not in str(caught.value)
    assert ids(target) == []


def test_a_proxy_is_named_to_the_server(
    connect: Connect, server: Server, wire: Wire, source: Database, target: Database
) -> None:
    couch = connect(wire.url)
    couch.replicate(source.name, target.name, proxy=wire.url)
    assert sent(wire)["proxy"] == wire.url
    assert ids(target) == ["a", "b", "c"]


# --- Continuous, and cancelled


def test_continuous(continuous: Callable[..., dict[str, Any]], source: Database, target: Database) -> None:
    answer = continuous(source.name, target.name)
    assert answer["ok"] is True
    assert answer["_local_id"]
    until(lambda: ids(target) == ["a", "b", "c"])
    source.put_document({"_id": "d"})
    until(lambda: ids(target) == ["a", "b", "c", "d"])


def test_continuous_a_second_time_is_the_same_one(
    continuous: Callable[..., dict[str, Any]], source: Database, target: Database
) -> None:
    assert continuous(source.name, target.name) == continuous(source.name, target.name)


def test_cancel(couch: Client, continuous: Callable[..., dict[str, Any]], source: Database, target: Database) -> None:
    continuous(source.name, target.name)
    until(lambda: ids(target) == ["a", "b", "c"])
    assert couch.replicate(source.name, target.name, continuous=True, cancel=True)["ok"] is True
    with pytest.raises(errors.NotFound) as caught:
        couch.replicate(source.name, target.name, continuous=True, cancel=True)
    assert (caught.value.status, caught.value.error) == (404, "not_found")
    source.put_document({"_id": "d"})
    # A restarted replication copies the document, so it was missing before.
    assert ids(target) == ["a", "b", "c"]
    couch.replicate(source.name, target.name)
    assert ids(target) == ["a", "b", "c", "d"]


def test_cancel_of_none(couch: Client, source: Database, target: Database) -> None:
    for options in ({}, {"continuous": True}, {"doc_ids": ["a"]}):
        with pytest.raises(errors.NotFound):
            couch.replicate(source.name, target.name, cancel=True, **options)
    assert ids(target) == []


def test_cancel_needs_the_same_options(
    couch: Client, continuous: Callable[..., dict[str, Any]], source: Database, target: Database
) -> None:
    continuous(source.name, target.name, doc_ids=["a"])
    with pytest.raises(errors.NotFound):
        couch.replicate(source.name, target.name, continuous=True, cancel=True)
    assert couch.replicate(source.name, target.name, continuous=True, doc_ids=["a"], cancel=True)["ok"] is True


# --- What an endpoint may be


def test_database_objects(couch: Client, source: Database, target: Database) -> None:
    assert couch.replicate(source, target)["ok"] is True
    assert ids(target) == ["a", "b", "c"]


def test_urls(couch: Client, server: Server, source: Database, target: Database) -> None:
    answer = couch.replicate(with_credentials(server, source), with_credentials(server, target))
    assert answer["ok"] is True
    assert ids(target) == ["a", "b", "c"]


def test_a_url_and_a_name(couch: Client, server: Server, source: Database, target: Database) -> None:
    couch.replicate(source.name, with_credentials(server, target))
    assert ids(target) == ["a", "b", "c"]


def test_objects_of_couchdb(couch: Client, source: Database, target: Database) -> None:
    headers = {"Authorization": basic_authorization(couch.username, couch._http.password)}
    couch.replicate({"url": couch.url + source.name, "headers": headers}, target.name)
    assert ids(target) == ["a", "b", "c"]


def test_a_name_that_needs_encoding(couch: Client, server: Server, source: Database, new_name: Name) -> None:
    name = new_name("/a+b(1)$-_" if server.clustered else "+b(1)$-_")
    couch.replicate(source.name, name, create_target=True)
    assert ids(couch[name]) == ["a", "b", "c"]


def test_a_name_is_sent_as_this_version_wants_it(
    connect: Connect, server: Server, wire: Wire, source: Database, target: Database
) -> None:
    couch = connect(wire.url)
    couch.replicate(source.name, target)
    body = sent(wire)
    if server.clustered:
        basic = {"username": server.username, "password": server.password}
        assert body["source"] == {"url": wire.url + source.name, "auth": {"basic": basic}}
        assert body["target"] == {"url": wire.url + target.name, "auth": {"basic": basic}}
    else:
        assert body == {"source": source.name, "target": target.name}


def test_other_options_go_as_they_are(couch: Client, server: Server, source: Database, target: Database) -> None:
    source.put_document({"_id": "d", "colour": "blue"})
    if server.clustered:
        couch.replicate(source, target, selector={"colour": "blue"})
        assert ids(target) == ["d"]
    else:
        # CouchDB 1.x knows no selector, and passes it over.
        couch.replicate(source, target, selector={"colour": "blue"})
        assert "d" in ids(target)


@pytest.mark.parametrize(
    "endpoint",
    ["", "Bad Name", "couchpy?ct", "ftp://127.0.0.1/couchpy_ct", "file:///couchpy_ct", {}, {"uri": "http://a/b"}],
    ids=str,
)
def test_a_bad_endpoint_is_refused_before_any_request(
    connect: Connect, wire: Wire, source: Database, endpoint: Any
) -> None:
    couch = connect(wire.url)
    with pytest.raises(errors.InvalidInput, match="source") as caught:
        couch.replicate(endpoint, source.name)
    assert caught.value.option == "source"
    with pytest.raises(errors.InvalidInput, match="target") as caught:
        couch.replicate(source.name, endpoint)
    assert caught.value.option == "target"
    assert wire.asked("POST") == []
    couch.version()
    wire.forget()
    for ends in ((endpoint, source.name), (source, endpoint), (endpoint, endpoint)):
        with pytest.raises(errors.InvalidInput):
            couch.replicate(*ends)
    assert wire.requests == []


def test_it_needs_a_login(connect: Connect, server: Server, source: Database, target: Database) -> None:
    before = server.url if server.clustered else ""
    with pytest.raises(errors.Unauthorized):
        connect(username=None).replicate(before + source.name, before + target.name)
    assert ids(target) == []
