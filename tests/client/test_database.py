# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

"""Database on a running server of every dialect: the database itself, its documents, design documents and indexes."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.couchpy.couchdb.plugins.module_utils import errors
from ansible_collections.couchpy.couchdb.plugins.module_utils.client import Client
from ansible_collections.couchpy.couchdb.plugins.module_utils.database import Database
from servers import Server, unique
from wire import Wire, until

Connect = Callable[..., Client]
Name = Callable[..., str]

BY_COLOUR = {
    "_id": "_design/app",
    "language": "javascript",
    "views": {"by-colour": {"map": "function (doc) { emit(doc.colour, 1); }"}},
}

# A design document with all that a staged one must not have.
CHECKED = {
    **BY_COLOUR,
    "validate_doc_update": "function (doc) { if (doc.refused) throw({forbidden: 'refused'}); }",
    "filters": {"all": "function (doc) { return true; }"},
}

# --- The database itself


def test_repr(couch: Client) -> None:
    assert repr(couch["orders"]) == "<Database 'orders'>"
    assert str(couch.all_dbs()[0]).startswith("<Database '")


def test_put_info_and_delete(couch: Client, new_name: Name) -> None:
    database = couch[new_name()]
    assert database.ispresent() is False
    assert database.put() is database
    assert database.ispresent() is True
    info = database.info()
    assert (info["db_name"], info["doc_count"]) == (database.name, 0)
    database.put_document({"_id": "a"})
    assert database.info()["doc_count"] == 1
    assert database.delete_database() is True
    assert database.ispresent() is False


def test_info_of_one_that_is_missing(couch: Client) -> None:
    with pytest.raises(errors.NotFound) as caught:
        couch[unique()].info()
    assert (caught.value.status, caught.value.error) == (404, "not_found")


def test_put_of_a_partitioned_database(couch: Client, server: Server, new_name: Name) -> None:
    database = couch[new_name()]
    if server.number >= (3,):
        assert database.put(partitioned=True).info()["props"] == {"partitioned": True}
    else:
        with pytest.raises((errors.Unsupported, errors.InvalidInput)):
            database.put(partitioned=True)
        assert database.ispresent() is False


def test_put_with_more_replicas_than_nodes(couch: Client, server: Server, new_name: Name) -> None:
    if server.clustered:
        nodes = len(couch.membership()["cluster_nodes"])
        assert couch[new_name()].put(replicas=9).info()["cluster"]["n"] == nodes
    else:
        with pytest.raises(errors.InvalidInput, match="replicas"):
            couch[new_name()].put(replicas=9)


def test_what_is_predicted_of_a_new_database(couch: Client, server: Server, db: Database) -> None:
    """The plan of a database to be created shows the fields that it then has."""
    predicted = couch.dialect.new_database(db.name, len(couch.membership()["cluster_nodes"]), None, None, None)
    info = db.info()
    assert predicted["db_name"] == info["db_name"]
    assert predicted["doc_count"] == info["doc_count"]
    assert set(predicted) <= set(info)
    assert db.security() == couch.dialect.new_security()
    if server.clustered:
        assert set(predicted) == set(info)
        assert predicted["cluster"] == info["cluster"]


# --- Security


def test_security(couch: Client, db: Database) -> None:
    given = {"admins": {"names": ["joe"], "roles": ["boss"]}, "members": {"names": [], "roles": ["staff"]}}
    db.set_security(given)
    assert db.security() == given


def test_merge_security_leaves_the_rest(couch: Client, db: Database) -> None:
    db.set_security(
        {"admins": {"names": ["joe"], "roles": ["boss"]}, "members": {"names": ["jane"], "roles": []}, "cloudant": {}}
    )
    db.merge_security({"admins": {"roles": ["chief", "boss", "chief"]}, "members": {"roles": ["staff"]}})
    assert db.security() == {
        "admins": {"names": ["joe"], "roles": ["chief", "boss"]},
        "members": {"names": ["jane"], "roles": ["staff"]},
        "cloudant": {},
    }


def test_merge_security_does_not_overwrite_what_another_client_changed(db: Database) -> None:
    before = db.security()
    db.set_security({"cloudant": {"anna": ["_reader"]}})
    with pytest.raises(errors.Conflict, match="changed meanwhile"):
        db.merge_security({"admins": {"roles": ["boss"]}}, before)
    assert db.security() == {"cloudant": {"anna": ["_reader"]}}


def test_merge_security_keeps_the_order_of_a_list_that_is_the_same(db: Database) -> None:
    given = {"admins": {"names": ["b", "a"], "roles": []}, "members": {"names": [], "roles": []}}
    db.set_security(given)
    db.merge_security({"admins": {"names": ["a", "b"]}})
    assert db.security() == given


@pytest.mark.parametrize(
    "security", [{"admins": {"names": "joe"}}, {"members": []}, {"admins": {"roles": [1]}}, ["admins"]]
)
def test_security_that_couchdb_cannot_hold(connect: Connect, wire: Wire, db: Database, security: Any) -> None:
    with pytest.raises(errors.InvalidInput, match="security"):
        connect(wire.url)[db.name].set_security(security)
    assert wire.requests == []


def test_security_keeps_others_out(connect: Connect, db: Database) -> None:
    db.set_security({"admins": {"names": [], "roles": []}, "members": {"names": ["somebody"], "roles": []}})
    with pytest.raises(errors.Unauthorized) as caught:
        connect(username=None)[db.name].all_docs()
    assert caught.value.status == 401


# --- Limits


def test_revs_limit(db: Database, server: Server) -> None:
    if server.clustered:
        assert db.revs_limit() == 1000
        db.set_revs_limit(20)
        assert db.revs_limit() == 20
    else:
        # CouchDB 1.x has it; PouchDB Server does not.
        with pytest.raises(errors.CouchDBError) as caught:
            db.revs_limit()
        assert caught.value.status in (404, None)


def test_revs_limit_that_couchdb_cannot_hold(connect: Connect, wire: Wire, db: Database) -> None:
    with pytest.raises(errors.InvalidInput, match="revs_limit"):
        connect(wire.url)[db.name].set_revs_limit(0)
    assert wire.requests == []


# --- Documents, one


def test_put_document_and_get(db: Database) -> None:
    rev = db.put_document({"_id": "a", "colour": "red", "sizes": [1, 2.5, None, True], "\u00e9": {"\u00fc": "\u20ac"}})
    assert rev.startswith("1-")
    assert db.get("a") == {
        "_id": "a",
        "_rev": rev,
        "colour": "red",
        "sizes": [1, 2.5, None, True],
        "\u00e9": {"\u00fc": "\u20ac"},
    }
    assert db["a"] == db.get("a")


def test_in(db: Database) -> None:
    assert "a" not in db
    db.put_document({"_id": "a"})
    assert "a" in db
    assert 1 not in db


def test_get_of_none(couch: Client, db: Database) -> None:
    with pytest.raises(errors.NotFound) as caught:
        db.get("a")
    assert (caught.value.error, caught.value.reason) == ("not_found", "missing")
    with pytest.raises(errors.NotFound):
        couch[unique()].get("a")


def test_put_document_changes(db: Database) -> None:
    document = {"_id": "a", "colour": "red"}
    first = db.put_document(document)
    second = db.put_document({**document, "_rev": first, "colour": "blue"})
    assert second.startswith("2-")
    assert db["a"]["colour"] == "blue"
    assert db.get("a", rev=first)["colour"] == "red"


def test_put_document_that_was_taken(db: Database) -> None:
    db.put_document({"_id": "a", "colour": "red"})
    document = db["a"]
    document["colour"] = "blue"
    rev = db.put_document(document)
    assert document["_rev"] == rev
    assert not document.changed
    assert db["a"] is document


def test_put_document_without_the_newest_rev(db: Database) -> None:
    first = db.put_document({"_id": "a"})
    db.put_document({"_id": "a", "_rev": first, "colour": "red"})
    for document in ({"_id": "a"}, {"_id": "a", "_rev": first}):
        with pytest.raises(errors.Conflict) as caught:
            db.put_document(document)
        assert (caught.value.status, caught.value.error) == (409, "conflict")
    assert db["a"]["colour"] == "red"


def test_put_document_without_id(connect: Connect, wire: Wire, db: Database) -> None:
    for document in ({}, {"_id": ""}, {"_id": 1}):
        with pytest.raises(errors.InvalidInput, match="_id"):
            connect(wire.url)[db.name].put_document(document)
    assert wire.requests == []


def test_get_takes_the_same_object_and_keeps_its_change(couch: Client, connect: Connect, db: Database) -> None:
    db.put_document({"_id": "a", "colour": "red"})
    document = db["a"]
    assert db["a"] is document
    connect()[db.name].put_document({**document, "colour": "green"})
    assert db["a"] is document
    assert document["colour"] == "green"
    document["colour"] = "blue"
    assert db["a"]["colour"] == "blue"


def test_delete(db: Database) -> None:
    rev = db.put_document({"_id": "a"})
    assert db.delete("a", rev=rev).startswith("2-")
    assert "a" not in db
    with pytest.raises(errors.NotFound) as caught:
        db.get("a")
    assert caught.value.reason in ("deleted", "missing")


def test_delete_of_a_document_that_was_taken(db: Database) -> None:
    db.put_document({"_id": "a"})
    assert db.delete(db["a"]).startswith("2-")
    assert "a" not in db


def test_delete_without_the_newest_rev(db: Database) -> None:
    first = db.put_document({"_id": "a"})
    db.put_document({"_id": "a", "_rev": first, "colour": "red"})
    with pytest.raises(errors.Conflict):
        db.delete("a", rev=first)
    assert "a" in db


def test_a_document_made_again_after_its_deletion(db: Database) -> None:
    db.delete("a", rev=db.put_document({"_id": "a"}))
    assert db.put_document({"_id": "a", "colour": "red"}).startswith("3-")
    assert db["a"]["colour"] == "red"


def test_attachments_survive_a_change(couch: Client, db: Database) -> None:
    inline = {"note.txt": {"content_type": "text/plain", "data": "aGVsbG8="}}
    db.put_document({"_id": "a", "_attachments": inline})
    document = db["a"]
    assert document["_attachments"]["note.txt"]["stub"] is True
    document["colour"] = "red"
    couch.commit()
    assert db["a"]["_attachments"]["note.txt"]["length"] == 5
    assert couch.request("GET", db.path("a", "note.txt"), text=True).body == "hello"


def test_a_local_document(db: Database) -> None:
    db.put_document({"_id": "_local/mark", "colour": "red"})
    assert db["_local/mark"]["colour"] == "red"
    assert db.all_docs() == []


# --- Documents, many


def test_bulk_docs(db: Database) -> None:
    first = db.put_document({"_id": "b"})
    answers = db.bulk_docs([{"_id": "a", "colour": "red"}, {"_id": "b"}, {"_id": "c"}])
    assert [answer["id"] for answer in answers] == ["a", "b", "c"]
    assert [answer.get("error") for answer in answers] == [None, "conflict", None]
    assert db["a"]["_rev"] == answers[0]["rev"]
    assert db["b"]["_rev"] == first
    assert db.bulk_docs([]) == []


def test_bulk_docs_and_all_docs_of_many(connect: Connect, wire: Wire, db: Database) -> None:
    through = connect(wire.url)[db.name]
    ids = [f"{number:05}" for number in range(2100)]
    answers = through.bulk_docs([{"_id": docid} for docid in ids])
    assert [answer["id"] for answer in answers] == ids
    assert [row["id"] for row in through.all_docs()] == ids
    assert wire.asked("POST") == [f"POST /{db.name}/_bulk_docs"] * 3
    wire.forget()
    found = through.bulk_get([*ids, "missing"])
    assert list(found) == [*ids, "missing"]
    assert all((found[docid] or {}).get("_id") == docid for docid in ids)
    assert found["missing"] is None
    assert len(wire.requests) == 3


def test_all_docs(db: Database) -> None:
    revs = {docid: db.put_document({"_id": docid, "colour": "red"}) for docid in ("c", "a", "b")}
    rows = db.all_docs()
    assert [(row["id"], row["key"], row["value"]["rev"]) for row in rows] == [(i, i, revs[i]) for i in "abc"]
    assert "doc" not in rows[0]
    assert [row["doc"]["colour"] for row in db.all_docs(include_docs=True)] == ["red"] * 3
    assert [row["id"] for row in db.all_docs(startkey='"b"')] == ["b", "c"]
    assert [row["id"] for row in db.all_docs(limit=1, descending=True)] == ["c"]


def test_all_docs_of_keys(db: Database) -> None:
    db.put_document({"_id": "a"})
    db.delete("b", rev=db.put_document({"_id": "b"}))
    rows = db.all_docs(["missing", "b", "a"], include_docs=True)
    assert [row["key"] for row in rows] == ["missing", "b", "a"]
    assert rows[0]["error"] == "not_found"
    assert rows[1]["value"]["deleted"] is True
    assert rows[1].get("doc") is None
    assert rows[2]["doc"]["_id"] == "a"


def test_bulk_get(db: Database) -> None:
    rev = db.put_document({"_id": "a", "colour": "red"})
    db.delete("b", rev=db.put_document({"_id": "b"}))
    assert db.bulk_get(["missing", "a", "b"]) == {
        "missing": None,
        "a": {"_id": "a", "_rev": rev, "colour": "red"},
        "b": None,
    }
    assert db.bulk_get([]) == {}


def test_bulk_get_lists_conflicts(db: Database) -> None:
    for rev in ("1-a", "1-b"):
        sent = {"new_edits": False, "docs": [{"_id": "x", "_rev": rev, "of": rev}]}
        db.client.request("POST", db.path("_bulk_docs"), body=sent)
    assert db.bulk_get(["x"], conflicts=True) == {"x": {"_id": "x", "_rev": "1-b", "of": "1-b", "_conflicts": ["1-a"]}}
    assert "_conflicts" not in (db.bulk_get(["x"])["x"] or {})


def test_bulk_get_of_local_documents(db: Database) -> None:
    db.bulk_docs([{"_id": "_local/a", "n": 1}, {"_id": "b"}])
    found = db.bulk_get(["_local/a", "b", "_local/none"])
    assert list(found) == ["_local/a", "b", "_local/none"]
    assert found["_local/none"] is None
    assert [(found[docid] or {}).get("n") for docid in ("_local/a", "b")] == [1, None]
    db.bulk_docs([{**(found["_local/a"] or {}), "_deleted": True}])
    assert db.bulk_get(["_local/a"]) == {"_local/a": None}


def test_attachment(db: Database) -> None:
    content = "é is no Latin ".encode() * 50
    attachment = {"content_type": "text/plain", "data": base64.b64encode(content).decode()}
    db.put_document({"_id": "a/b", "_attachments": {"dir/c d.txt": attachment}})
    assert db.attachment("a/b", "dir/c d.txt") == content
    with pytest.raises(errors.NotFound):
        db.attachment("a/b", "none")


def test_many_documents_of_no_database(couch: Client) -> None:
    absent = couch[unique()]
    for call in (absent.all_docs, lambda: absent.bulk_docs([{"_id": "a"}]), lambda: absent.bulk_get(["a"])):
        with pytest.raises(errors.NotFound):
            call()


# --- Design documents and indexes


def test_design_documents(couch: Client, db: Database) -> None:
    assert db.design_documents() == []
    db.put_document(BY_COLOUR)
    db.put_document({"_id": "_design/other"})
    db.put_document({"_id": "a", "colour": "red"})
    found = {document["_id"]: document for document in db.design_documents()}
    assert set(found) == {"_design/app", "_design/other"}
    assert found["_design/app"]["views"] == BY_COLOUR["views"]
    rows = couch.request("GET", db.path("_design", "app", "_view", "by-colour"), query={"key": '"red"'}).body["rows"]
    assert [row["id"] for row in rows] == ["a"]


def test_a_design_document_changes_and_goes(db: Database) -> None:
    rev = db.put_document({"_id": "_design/a b"})
    assert "_design/a b" in db
    document = db["_design/a b"]
    assert document["_rev"] == rev
    document["language"] = "javascript"
    db.put_document(document)
    db.delete(db["_design/a b"])
    assert "_design/a b" not in db


def test_a_design_document_that_couchdb_refuses(db: Database, server: Server) -> None:
    broken = {"_id": "_design/app", "views": {"by-colour": {"map": "function (doc) {"}}}
    if server.clustered:
        with pytest.raises(errors.BadRequest) as caught:
            db.put_document(broken)
        assert caught.value.error == "compilation_error"
        assert "_design/app" not in db
    else:
        # CouchDB 1.x finds out when the view is asked.
        assert db.put_document(broken)


def test_put_design_document(db: Database, server: Server) -> None:
    written = db.put_design_document(CHECKED)
    assert db["_design/app"]["_rev"] == written["rev"]
    with pytest.raises(errors.Conflict):
        db.put_design_document(CHECKED)
    broken = {**CHECKED, "_rev": written["rev"], "validate_doc_update": "function ("}
    if server.number >= (2,):
        with pytest.raises(
            errors.BadRequest, match=r"validate_doc_update does not compile: .* \(in app/validate\.js\)"
        ):
            db.put_design_document(broken, {"validate_doc_update": "app/validate.js"})
        broken = {**CHECKED, "_rev": written["rev"], "views": {"by-colour": {"map": "function ("}}}
        with pytest.raises(errors.BadRequest, match=r"in the 'by-colour' view failed.* \(in app/map\.js\)"):
            db.put_design_document(broken, {"views/by-colour/map": "app/map.js"})
    assert db.bulk_get(["_design/app-functions"]) == {"_design/app-functions": None}
    db.put_document({"_id": "a"})
    with pytest.raises(errors.Forbidden):
        db.put_document({"_id": "b", "refused": True})


def test_build_views(db: Database) -> None:
    db.bulk_docs([{"_id": str(number), "colour": "red"} for number in range(50)])
    db.put_design_document(BY_COLOUR)
    db.build_views("_design/app", ["by-colour"], 30)
    rows = db.client.request("GET", db.path("_design", "app", "_view", "by-colour"), query={"update": "false"}).body
    assert len(rows["rows"]) == 50


def test_build_views_that_fail(db: Database) -> None:
    with pytest.raises(errors.NotFound):
        db.build_views("_design/none", ["by-colour"], 30)


def test_build_views_of_a_partitioned_database(couch: Client, server: Server, new_name: Name) -> None:
    if server.number < (3,):
        return
    database = couch[new_name()].put(partitioned=True)
    database.bulk_docs([{"_id": f"part:{number}"} for number in range(10)])
    database.put_design_document(BY_COLOUR)
    database.build_views("_design/app", ["by-colour"], 30)


def test_switch_design_document(db: Database) -> None:
    db.bulk_docs([{"_id": str(number), "colour": "red"} for number in range(50)])
    first = db.switch_design_document(CHECKED, 30)
    assert db["_design/app"]["_rev"] == first["rev"]
    changed = {**CHECKED, "_rev": first["rev"], "views": {"all": {"map": "function (doc) { emit(null); }"}}}
    second = db.switch_design_document(changed, 30)
    assert second["rev"].startswith("2-")
    assert db.bulk_get(["_design/app-staged"]) == {"_design/app-staged": None}
    # A second one goes on where the first one ended.
    db.put_design_document({"_id": "_design/app-staged", "views": BY_COLOUR["views"]})
    db.switch_design_document({**CHECKED, "_rev": second["rev"]}, 30)
    assert db.bulk_get(["_design/app-staged"]) == {"_design/app-staged": None}


def test_indexes(db: Database) -> None:
    index = {"index": {"fields": ["colour"]}, "name": "by-colour", "ddoc": "app", "type": "json"}
    assert [one["type"] for one in db.indexes()] == ["special"]
    created = db.create_index(index)
    assert (created["result"], created["id"], created["name"]) == ("created", "_design/app", "by-colour")
    assert db.create_index(index)["result"] == "exists"
    held = db.indexes()[1]
    assert (held["ddoc"], held["name"], held["type"]) == ("_design/app", "by-colour", "json")
    assert held["def"]["fields"] == [{"colour": "asc"}]
    assert db.delete_index("app", "by-colour") is True
    assert [one["type"] for one in db.indexes()] == ["special"]


def test_delete_index_takes_the_whole_id_of_the_design_document(db: Database) -> None:
    db.create_index({"index": {"fields": ["colour"]}, "name": "by-colour", "ddoc": "app"})
    assert db.delete_index("_design/app", "by-colour") is True
    # PouchDB Server answers 500 for a missing one.
    with pytest.raises(errors.CouchDBError):
        db.delete_index("_design/app", "by-colour")


def test_create_index_that_couchdb_refuses(db: Database) -> None:
    with pytest.raises(errors.BadRequest):
        db.create_index({"name": "by-colour"})
    assert [one["type"] for one in db.indexes()] == ["special"]


# --- Compaction and view cleanup


def test_compact(db: Database) -> None:
    for number in range(5):
        db.put_document({**(db["a"] if number else {"_id": "a"}), "number": number})
    assert db.compact() is True
    until(lambda: not db.info().get("compact_running"))
    assert db["a"]["number"] == 4


def test_compact_of_a_design_document(couch: Client, server: Server, db: Database) -> None:
    db.put_document(BY_COLOUR)
    if server.clustered:
        assert db.compact("app") is True
        assert db.compact("_design/app") is True
        with pytest.raises(errors.NotFound):
            db.compact("missing")
    else:
        # CouchDB 1.x has it; PouchDB Server takes the path for an attachment's.
        with pytest.raises(errors.CouchDBError):
            db.compact("app")


def test_view_cleanup(couch: Client, db: Database) -> None:
    db.put_document(BY_COLOUR)
    db.put_document({"_id": "a", "colour": "red"})
    couch.request("GET", db.path("_design", "app", "_view", "by-colour"))
    db.delete(db["_design/app"])
    assert db.view_cleanup() is True


def test_compaction_of_no_database(couch: Client) -> None:
    absent = couch[unique()]
    for call in (absent.compact, absent.view_cleanup):
        with pytest.raises(errors.NotFound):
            call()
