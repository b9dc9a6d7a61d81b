# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

"""commit(): what it writes, what it leaves, and what becomes of documents that are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.couchpy.couchdb.plugins.module_utils import errors
from ansible_collections.couchpy.couchdb.plugins.module_utils.client import Client
from ansible_collections.couchpy.couchdb.plugins.module_utils.database import Database
from servers import unique
from wire import Wire

Connect = Callable[..., Client]
Name = Callable[..., str]

REFUSES_BLUE = "function (doc) { if (doc.colour === 'blue') { throw({forbidden: 'no blue here'}); } }"


@pytest.fixture
def other(couch: Client, new_name: Name) -> Database:
    """A second database."""
    return couch.put(new_name())


@pytest.fixture
def somebody(connect: Connect) -> Client:
    """A second client of the same server."""
    return connect()


def held(client: Client, database: Database) -> dict[str, dict[str, Any]]:
    """The documents of a database as another client reads them, without design documents and revisions."""
    rows = client[database.name].all_docs(include_docs=True)
    found = {}
    for row in rows:
        if not row["id"].startswith("_design/"):
            found[row["id"]] = {name: value for name, value in row["doc"].items() if name not in ("_id", "_rev")}
    return found


def test_documents_of_several_databases_new_changed_and_deleted(
    couch: Client, somebody: Client, db: Database, other: Database
) -> None:
    for database in (db, other):
        database.bulk_docs([{"_id": docid, "colour": "red"} for docid in ("changed", "deleted", "left")])
        database["changed"]["colour"] = "blue"
        database["deleted"]["_deleted"] = True
        assert database["left"]["colour"] == "red"
        database.new({"_id": "new", "colour": "green"})
    written = couch.commit()
    assert {(row["database"], row["id"]) for row in written} == {
        (database.name, docid) for database in (db, other) for docid in ("changed", "deleted", "new")
    }
    expected = {"changed": {"colour": "blue"}, "left": {"colour": "red"}, "new": {"colour": "green"}}
    assert held(somebody, db) == expected
    assert held(somebody, other) == expected
    revs = {row["id"]: row["rev"] for row in written if row["database"] == db.name}
    assert db["changed"]["_rev"] == revs["changed"]
    assert db["new"]["_rev"] == revs["new"]


def test_one_bulk_request_for_each_database(connect: Connect, wire: Wire, db: Database, other: Database) -> None:
    couch = connect(wire.url)
    for database in (db, other):
        for docid in ("a", "b"):
            couch[database.name].new({"_id": docid})
    couch.commit()
    assert sorted(wire.asked()) == sorted(f"POST /{database.name}/_bulk_docs" for database in (db, other))
    assert [len(asked.json["docs"]) for asked in wire.requests] == [2, 2]


def test_nothing_changed_sends_nothing(connect: Connect, wire: Wire, db: Database) -> None:
    couch = connect(wire.url)
    assert couch.commit() == []
    assert wire.requests == []
    couch[db.name].new({"_id": "a", "colour": "red"})
    couch.commit()
    document = couch[db.name]["a"]
    document["colour"] = "blue"
    document["colour"] = "red"
    wire.forget()
    assert couch.commit() == []
    assert couch.commit() == []
    assert wire.requests == []


def test_a_change_deep_inside(couch: Client, somebody: Client, db: Database) -> None:
    db.put_document({"_id": "a", "parts": [{"colours": ["red"]}]})
    db["a"]["parts"][0]["colours"].append("blue")
    assert len(couch.commit()) == 1
    assert held(somebody, db) == {"a": {"parts": [{"colours": ["red", "blue"]}]}}


def test_a_field_taken_away(couch: Client, somebody: Client, db: Database) -> None:
    db.put_document({"_id": "a", "colour": "red", "size": 1})
    del db["a"]["size"]
    couch.commit()
    assert held(somebody, db) == {"a": {"colour": "red"}}


def test_again_and_again(couch: Client, db: Database) -> None:
    document = db.new({"_id": "a", "number": 0})
    revs = []
    for number in range(1, 4):
        document["number"] = number
        revs += [row["rev"] for row in couch.commit()]
    assert [rev.partition("-")[0] for rev in revs] == ["1", "2", "3"]
    assert document["_rev"] == revs[-1]


def test_new_without_an_id(couch: Client, somebody: Client, db: Database) -> None:
    first, second = db.new({"colour": "red"}), db.new({"colour": "blue"})
    assert first.id != second.id
    couch.commit()
    assert held(somebody, db) == {first.id: {"colour": "red"}, second.id: {"colour": "blue"}}


def test_new_of_one_that_is_open_and_changed(couch: Client, db: Database) -> None:
    db.new({"_id": "a"})
    with pytest.raises(errors.InvalidInput, match="open and changed"):
        db.new({"_id": "a"})
    assert len(couch.commit()) == 1


def test_a_new_document_exists_before_its_commit(connect: Connect, wire: Wire, db: Database) -> None:
    database = connect(wire.url)[db.name]
    document = database.new({"_id": "a"})
    assert database["a"] is document
    assert wire.requests == []


def test_a_deleted_document_is_gone(couch: Client, db: Database) -> None:
    db.put_document({"_id": "a"})
    db["a"]["_deleted"] = True
    couch.commit()
    assert "a" not in db
    with pytest.raises(errors.NotFound):
        db["a"]
    assert couch.commit() == []
    db.new({"_id": "a", "colour": "red"})
    couch.commit()
    assert db["a"]["colour"] == "red"


def test_a_certain_revision_is_not_committed(couch: Client, db: Database) -> None:
    rev = db.put_document({"_id": "a", "colour": "red"})
    db.get("a", rev=rev)["colour"] = "blue"
    assert couch.commit() == []


def test_a_design_document(couch: Client, somebody: Client, db: Database) -> None:
    db.new({"_id": "_design/app", "language": "javascript"})
    couch.commit()
    assert [document["_id"] for document in somebody[db.name].design_documents()] == ["_design/app"]


def test_the_commit_of_one_database(couch: Client, somebody: Client, db: Database, other: Database) -> None:
    db.new({"_id": "a"})
    other.new({"_id": "b"})
    assert [row["id"] for row in db.commit()] == ["a"]
    assert (held(somebody, db), held(somebody, other)) == ({"a": {}}, {})
    assert [row["id"] for row in couch.commit()] == ["b"]


# --- Refused documents


def test_a_conflict_is_reported_and_all_others_are_written(
    couch: Client, somebody: Client, db: Database, other: Database
) -> None:
    db.bulk_docs([{"_id": docid, "colour": "red"} for docid in "abc"])
    other.put_document({"_id": "z"})
    for database, docid in ((db, "a"), (db, "b"), (db, "c"), (other, "z")):
        database[docid]["colour"] = "blue"
    theirs = somebody[db.name]["b"]
    theirs["colour"] = "green"
    somebody.commit()

    with pytest.raises(errors.CommitFailed, match=rf"{db.name}/b \(conflict") as caught:
        couch.commit()

    assert [(row["database"], row["id"], row["error"]) for row in caught.value.refused] == [(db.name, "b", "conflict")]
    assert {(row["database"], row["id"]) for row in caught.value.written} == {
        (db.name, "a"),
        (db.name, "c"),
        (other.name, "z"),
    }
    assert held(somebody, db) == {"a": {"colour": "blue"}, "b": {"colour": "green"}, "c": {"colour": "blue"}}
    assert held(somebody, other) == {"z": {"colour": "blue"}}


def test_the_refused_keeps_its_change_and_is_written_once_its_rev_is_mended(
    couch: Client, connect: Connect, wire: Wire, somebody: Client, db: Database
) -> None:
    db.put_document({"_id": "a", "colour": "red"})
    db.put_document({"_id": "b", "colour": "red"})
    mine = connect(wire.url)
    document, fine = mine[db.name]["a"], mine[db.name]["b"]
    document["colour"] = fine["colour"] = "blue"
    newest = somebody[db.name].put_document({**document, "colour": "green"})

    with pytest.raises(errors.CommitFailed):
        mine.commit()
    assert document["colour"] == "blue"
    assert document.changed
    assert mine[db.name]["a"] is document
    with pytest.raises(errors.CommitFailed) as caught:
        mine.commit()
    assert caught.value.written == []
    assert held(somebody, db)["a"] == {"colour": "green"}

    document["_rev"] = newest
    wire.forget()
    written = mine.commit()
    assert [(row["id"], row["rev"]) for row in written] == [("a", document["_rev"])]
    assert [sent["_id"] for sent in wire.last().json["docs"]] == ["a"]
    assert held(somebody, db) == {"a": {"colour": "blue"}, "b": {"colour": "blue"}}
    assert mine.commit() == []


def test_a_new_document_that_exists_already(couch: Client, somebody: Client, db: Database) -> None:
    somebody[db.name].put_document({"_id": "a", "colour": "green"})
    document = db.new({"_id": "a", "colour": "blue"})
    with pytest.raises(errors.CommitFailed):
        couch.commit()
    document["_rev"] = somebody[db.name]["a"]["_rev"]
    assert [row["id"] for row in couch.commit()] == ["a"]
    assert held(somebody, db) == {"a": {"colour": "blue"}}


def test_a_deletion_that_is_refused(couch: Client, somebody: Client, db: Database) -> None:
    db.put_document({"_id": "a", "colour": "red"})
    document = db["a"]
    document["_deleted"] = True
    newest = somebody[db.name].put_document({**somebody[db.name]["a"], "colour": "green"})
    with pytest.raises(errors.CommitFailed):
        couch.commit()
    assert held(somebody, db) == {"a": {"colour": "green"}}
    document["_rev"] = newest
    couch.commit()
    assert held(somebody, db) == {}


def test_a_document_that_the_database_forbids(couch: Client, connect: Connect, new_admin: Name, db: Database) -> None:
    db.put_document({"_id": "_design/rules", "validate_doc_update": REFUSES_BLUE})
    db.new({"_id": "a", "colour": "blue"})
    db.new({"_id": "b", "colour": "red"})
    with pytest.raises(errors.CommitFailed, match="no blue here") as caught:
        couch.commit()
    assert [(row["id"], row["error"], row["reason"]) for row in caught.value.refused] == [
        ("a", "forbidden", "no blue here")
    ]
    assert [row["id"] for row in caught.value.written] == ["b"]


def test_the_message_names_ten_and_counts_the_rest(couch: Client, somebody: Client, db: Database) -> None:
    ids = [f"{number:02}" for number in range(12)]
    somebody[db.name].bulk_docs([{"_id": docid} for docid in ids])
    for docid in ids:
        db.new({"_id": docid})
    with pytest.raises(errors.CommitFailed, match="12 documents were refused: .* and 2 more; 0 were written") as caught:
        couch.commit()
    assert [row["id"] for row in caught.value.refused] == ids


@pytest.mark.parametrize("gone_first", [True, False])
def test_a_database_that_is_gone_does_not_stop_the_others(
    couch: Client, somebody: Client, new_name: Name, gone_first: bool
) -> None:
    """Documents that can be written are, in all databases; the others are reported, like any refusal."""
    first, second = couch.put(new_name()), couch.put(new_name())
    gone, left = (first, second) if gone_first else (second, first)
    for database in (first, second):
        database.new({"_id": "a"})
    somebody.delete(gone.name)
    with pytest.raises(errors.CommitFailed) as caught:
        couch.commit()
    assert held(somebody, left) == {"a": {}}
    assert [(row["database"], row["id"]) for row in caught.value.written] == [(left.name, "a")]
    assert [(row["database"], row["id"], row["error"]) for row in caught.value.refused] == [
        (gone.name, "a", "not_found")
    ]
    gone.put()
    assert [row["database"] for row in couch.commit()] == [gone.name]


def test_a_database_that_was_deleted_here_has_nothing_to_commit(couch: Client, new_name: Name) -> None:
    database = couch.put(new_name())
    database.new({"_id": "a"})
    couch.delete(database)
    assert couch.commit() == []


def test_a_database_made_again_through_the_same_object(couch: Client, somebody: Client, new_name: Name) -> None:
    database = couch.put(new_name())
    couch.delete(database)
    database.put()
    database.new({"_id": "a"})
    assert couch[database.name] is database
    assert [row["id"] for row in couch.commit()] == ["a"]
    assert held(somebody, database) == {"a": {}}


# --- More than one batch


def test_more_than_one_batch(connect: Connect, wire: Wire, somebody: Client, db: Database) -> None:
    couch = connect(wire.url)
    ids = [f"{number:05}" for number in range(2500)]
    for docid in ids:
        couch[db.name].new({"_id": docid})
    written = couch.commit()
    assert [row["id"] for row in written] == ids
    assert [len(asked.json["docs"]) for asked in wire.requests] == [1000, 1000, 500]
    assert somebody[db.name].info()["doc_count"] == 2500
    assert couch.commit() == []


def test_a_conflict_in_one_batch_does_not_stop_the_next(couch: Client, somebody: Client, db: Database) -> None:
    somebody[db.name].put_document({"_id": "00000"})
    ids = [f"{number:05}" for number in range(1001)]
    for docid in ids:
        db.new({"_id": docid})
    with pytest.raises(errors.CommitFailed) as caught:
        couch.commit()
    assert [row["id"] for row in caught.value.refused] == ["00000"]
    assert [row["id"] for row in caught.value.written] == ids[1:]
    assert somebody[db.name].info()["doc_count"] == 1001


def test_hthdrs_go_with_a_commit(connect: Connect, wire: Wire, db: Database) -> None:
    couch = connect(wire.url)
    couch[db.name].new({"_id": unique()})
    couch.commit(hthdrs={"X-Test": "call"})
    assert wire.last().headers["X-Test"] == "call"
