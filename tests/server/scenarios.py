# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
"""What record.py asks of a real CouchDB, one function per scenario: ``ask`` records a request and returns its answer's body."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from tokens import EC, RSA, SECRET, TOKENS

Ask = Callable[..., Any]

CONFIG = "/_node/_local/_config"
USERS = "/_users/org.couchdb.user:"


def settings(ask: Ask) -> None:
    """What settings do to their values, and to databases and users."""
    for word in ("everyone", "admin_local", "admin_only", "another"):
        ask("PUT", f"{CONFIG}/couchdb/default_security", json=word, note=f"new databases with default_security: {word}")
        ask("PUT", f"/of_{word}")
        ask("GET", f"/of_{word}/_security")
        ask("GET", f"/of_{word}/_all_docs", **{"as": None})
    ask("DELETE", f"{CONFIG}/couchdb/default_security")
    ask("GET", "/of_another/_security", note="how a database begins, its creation decides")
    values = {
        "a_grave": (
            "caf\u00e0",
            "white space is trimmed byte by byte, A0 too, which is the second half of this character",
        ),
        "no_break": ("x\u00a0", "the same"),
        "a_ring": ("x\u00c5", "85 is white space, too"),
        "e_acute": ("caf\u00e9", "no byte of it is white space"),
        "inside": ("a\u00e0b", "only the ends are trimmed"),
        "capital": ("\u00c0x", "no byte may be a control character of Latin-1"),
        "han": ("\u4e2d", "a character outside Latin-1 whose bytes are all printable"),
        "euro": ("\u20ac", "one whose bytes are not"),
        "tab": ("a\tb", None),
        "feed": ("a\x0cb", None),
        "only_comment": ("; x", "gone with the next start"),
        "comment_inside": ("a ; b", "cut with the next start"),
        "semicolon": ("a;b", None),
        "brackets": ("[x]", None),
        "bare_equals": ("a = b", None),
    }
    for key, (value, note) in values.items():
        ask("PUT", f"{CONFIG}/trial/{key}", json=value, **({"note": note} if note else {}))
    ask("PUT", f"{CONFIG}/trial/%5bkey", json="x")
    ask("PUT", f"{CONFIG}/trial/%c3%80", json="x")
    ask("GET", f"{CONFIG}/trial", note="as set")
    ask("POST", "/_node/_local/_restart", json={})
    ask("GET", f"{CONFIG}/trial", note="as read from the file")
    ask("PUT", "/_users/_security", json={"members": {"roles": ["r"]}})
    ask("PUT", "/people")
    ask(
        "PUT", f"{CONFIG}/chttpd_auth/authentication_db", json="people", note="users are looked for in another database"
    )
    anna = {"name": "anna", "type": "user", "roles": ["r"]}
    ask("PUT", f"{USERS}anna", json={**anna, "password": "one"})
    ask("GET", "/_session", **{"as": "anna:one"})
    ask("PUT", "/people/org.couchdb.user:anna", json={**anna, "password": "two"}, note="passwords are hashed there")
    ask("GET", "/people/org.couchdb.user:anna")
    ask("GET", "/_session", **{"as": "anna:two"})
    ask("PUT", "/my_users")
    ask("PUT", f"{CONFIG}/chttpd_auth/authentication_db", json="my_users")
    bert = {"name": "bert", "type": "user", "roles": []}
    ask("PUT", "/my_users/org.couchdb.user:bert", json={**bert, "password": "three"})
    ask("GET", "/my_users/org.couchdb.user:bert")
    ask("GET", "/_session", **{"as": "bert:three"})
    ask("GET", "/_session", **{"as": "anna:two"}, note="a login of the database before is remembered")
    ask("GET", "/_session", note="which database users come from")
    ask("PUT", f"{CONFIG}/couch_httpd_auth/authentication_db", json="_users", note="the name of the setting before 3.2")
    ask("GET", "/_session", **{"as": "bert:three"})
    ask("DELETE", f"{CONFIG}/chttpd_auth/authentication_db")
    ask("GET", "/_session")
    ask("PUT", f"{USERS}carl", json={"name": "carl", "type": "user", "roles": [], "password": "four"})
    ask("GET", "/_session", **{"as": "carl:four"})
    ask("POST", "/_node/_local/_restart", json={})
    ask("GET", "/_session", **{"as": "anna:one"}, note="a restart forgets what was remembered")
    ask("GET", "/_session", **{"as": "anna:two"})


def documents(ask: Ask) -> None:
    """Attachments in base64, large numbers, and every leaf revision of documents and of users."""
    ask("PUT", "/db")
    forms = {
        "lines": "aGVs\nbG8=",
        "white_space": "bW9y\r\n bmlu\tZw==",
        "star": "aGV*sbG8=",
        "unpadded": "aGVsbG8",
        "empty": "",
        "number": 5,
    }
    for docid, data in forms.items():
        attachments = {"a.txt": {"content_type": "text/plain", "data": data}}
        ask("PUT", f"/db/{docid}", json={"_attachments": attachments})
        ask("GET", f"/db/{docid}")
    ask("PUT", "/db/no_data", json={"_attachments": {"a.txt": {"content_type": "text/plain"}}})
    ask("PUT", "/db/underscore", json={"_attachments": {"_a.txt": {"data": ""}}})
    ask("PUT", "/db/list", json={"_attachments": []})
    bad = {"_attachments": {"a.txt": {"content_type": "text/plain", "data": "?"}}}
    ask("POST", "/db/_bulk_docs", json={"docs": [{"_id": "one"}, {"_id": "two", **bad}]})
    ask("GET", "/db/one")
    large = {"a": 2**53 + 1, "b": 10**29 + 7, "c": -(2**53) - 1, "d": [2**63, {"e": 2**64 - 1}], "f": 0.1, "g": 2**53}
    ask("PUT", "/db/numbers", json=large, note="integers of any size are kept")
    ask("GET", "/db/numbers")
    ask("POST", "/db/_all_docs?include_docs=true", json={"keys": ["numbers"]})
    ask("POST", "/db/_bulk_docs", json={"docs": [{"_id": "more", "n": 2**70}]})
    ask("GET", "/db/more")
    ask("PUT", "/db/too_large", raw='{"n": 1e400}')
    leaves(ask, "/db", "doc", "abc", {})
    anna = {"name": "anna", "type": "user", "roles": []}
    leaves(ask, "/_users", "org.couchdb.user:anna", "def", anna)
    hashed = {"password_scheme": "pbkdf2", "pbkdf2_prf": "sha256", "iterations": 10, "salt": "salt"}
    for rev, key in (("1-" + "8" * 32, KEY_OF_NEW), ("1-" + "7" * 32, KEY_OF_OLD)):
        user = {**anna, **hashed, "_id": "org.couchdb.user:bert", "name": "bert", "_rev": rev, "derived_key": key}
        ask("POST", "/_users/_bulk_docs", json={"new_edits": False, "docs": [user]})
    ask("GET", "/_session", **{"as": "bert:new"}, note="nobody logs in while there are conflicting revisions")
    ask("GET", "/_session", **{"as": "bert:old"})
    ask("DELETE", f"{USERS}bert?rev=1-" + "8" * 32)
    ask("GET", f"{USERS}bert", note="the conflicting revision wins now")
    ask("GET", "/_session", **{"as": "bert:old"}, note="and so does its password")
    ask("DELETE", f"{USERS}bert?rev=1-" + "7" * 32)
    ask("GET", "/_session", **{"as": "bert:old"})


KEY_OF_NEW = hashlib.pbkdf2_hmac("sha256", b"new", b"salt", 10).hex()
KEY_OF_OLD = hashlib.pbkdf2_hmac("sha256", b"old", b"salt", 10).hex()


def leaves(ask: Ask, database: str, docid: str, letters: str, fields: dict[str, Any]) -> None:
    """Three conflicting revisions of a document, found and deleted one after the other.

    CouchDB gives the same revision to equal changes of different documents, so ``letters`` are other ones for each.
    """
    low, _middle, high = letters
    path = f"{database}/{docid}"
    for letter in letters[2] + letters[:2]:
        doc = {**fields, "_id": docid, "_rev": f"1-{letter * 32}", "letter": letter}
        ask("POST", f"{database}/_bulk_docs", json={"new_edits": False, "docs": [doc]})
    ask("GET", f"{path}?conflicts=true")
    ask("GET", f"{path}?meta=true")
    ask("GET", f"{path}?open_revs=all")
    ask("POST", f"{database}/_all_docs?include_docs=true&conflicts=true", json={"keys": [docid]})
    ask("POST", f"{database}/_bulk_get", json={"docs": [{"id": docid, "rev": "1-" + low * 32}]})
    ask("DELETE", f"{path}?rev=1-" + high * 32)
    ask("GET", f"{path}?conflicts=true", note="the next of the leaf revisions wins")
    ask("GET", f"{path}?deleted_conflicts=true")
    ask("GET", f"{path}?rev=1-" + low * 32)
    deleted = [{"_id": docid, "_rev": f"1-{letter * 32}", "_deleted": True} for letter in letters[:2]]
    ask("POST", f"{database}/_bulk_docs", json={"docs": deleted}, note="two leaf revisions of one document at once")
    ask("GET", path)
    ask("GET", f"{path}?open_revs=all")
    ask("PUT", path, json=fields, note="made anew")
    ask("GET", f"{path}?conflicts=true")


def keys(ask: Ask) -> None:
    """JSON Web Tokens, and what a node reports of its versions and its compaction."""

    def session(name: str, **more: Any) -> None:
        headers = {"Authorization": f"Bearer {TOKENS[name]}"}
        ask("GET", "/_session", **{"as": None}, headers=headers, note=f"token: {name}", **more)

    handlers = "{chttpd_auth, %s_authentication_handler}"
    order = ", ".join(handlers % name for name in ("cookie", "jwt", "default"))
    session("hmac")
    ask("PUT", f"{CONFIG}/chttpd/authentication_handlers", json=order)
    ask("GET", "/_session", note="handlers are read at the start")
    ask("POST", "/_node/_local/_restart", json={})
    # CouchDB listens before all its applications have started.
    processes = {"jwtf_keystore", "smoosh_server"}
    ask("GET", "/_node/_local/_system", until=lambda body: processes <= set(body.get("message_queues", ())))
    ask("GET", "/_session")
    session("hmac")
    for name, value in (("hmac:h", SECRET), ("hmac:_default", SECRET), ("rsa:r", RSA), ("ec:e", EC)):
        ask("PUT", f"{CONFIG}/jwt_keys/{name}", json=value)
    ask("GET", f"{CONFIG}/jwt_keys")
    for name in TOKENS:
        session(name)
    ask("PUT", f"{CONFIG}/jwt_auth/roles_claim_path", json="my.roles\\.of")
    session("roles elsewhere")
    ask("DELETE", f"{CONFIG}/jwt_auth/roles_claim_path")
    ask("PUT", f"{CONFIG}/jwt_auth/required_claims", json="")
    session("no exp")
    session("expired")
    ask("PUT", f"{CONFIG}/jwt_auth/required_claims", json="exp, iat")
    session("hmac")
    ask("PUT", f"{CONFIG}/jwt_auth/required_claims", json='{iss, "https://example.com"}')
    session("hmac")
    ask("DELETE", f"{CONFIG}/jwt_auth/required_claims")
    for name, value in (("hmac:h", "no base64!"), ("rsa:r", EC), ("ec:e", RSA), ("rsa:_default", "no PEM")):
        ask("PUT", f"{CONFIG}/jwt_keys/{name}", json=value)
    for name in ("hmac", "rsa", "ec"):
        session(name)
    ask("DELETE", f"{CONFIG}/jwt_keys/hmac:_default")
    session("hmac default")
    ask("GET", "/_node/_local/_versions")
    ask("GET", "/_node/_local/_versions", **{"as": None})
    ask("GET", "/_node/_local/_smoosh/status")
    ask("GET", "/_node/_local/_smoosh/status", **{"as": None})
    ask("POST", "/_node/_local/_smoosh/status", json={})
    ask("GET", "/_node/_local/_prometheus", **{"as": None})


def shards(ask: Ask) -> None:
    """Shard maps, copies on single nodes, zones, and splitting shards, on a cluster of three nodes that have joined."""
    ask("PUT", "/cells?q=1&n=3")
    for number in range(4):
        ask("PUT", f"/cells/doc{number}", json={"number": number})
    ask("PUT", "/cells/_local/mark", json={"n": 1})
    ask("GET", "/cells/_shards")
    ask("GET", "/cells/_shards/doc1")
    ask("GET", "/cells/_local_docs?include_docs=true")
    document = ask("GET", "/_node/_local/_dbs/cells")
    ask("GET", "/_node/_local/_dbs/nosuch")
    (whole,) = document["by_range"]
    suffix = bytes(document["shard_suffix"]).decode()
    last = "/_node/node3@127.0.0.1"

    def copy(node: int, range_: str = whole) -> str:
        return f"/_node/node{node}@127.0.0.1/shards%2F{range_}%2Fcells{suffix}"

    for number in (1, 3):
        ask("GET", copy(number), until=lambda body: body["doc_count"] == 4)
    ask("GET", f"{copy(2)}/_all_docs")
    ask("GET", f"{copy(2)}/_changes")
    ask("GET", f"{copy(2)}/_changes?descending=true&limit=1")
    ask("GET", f"{copy(2)}/doc1")
    ask("GET", f"{copy(2)}/nosuch")
    ask("GET", f"{copy(2)}/_local/mark")
    ask("POST", f"{copy(2)}/_revs_diff", json={"doc1": ["1-" + "a" * 32]})
    ask("GET", f"{copy(2)}/_security")
    ask("GET", f"{copy(2)}/_revs_limit")
    ask("PUT", f"{copy(2)}/_revs_limit", json=1000)
    ask("POST", f"{copy(2)}/_compact", json={})
    ask("GET", f"{copy(2)}/_shards")
    ask("GET", copy(2), **{"as": None})
    ask("GET", f"{last}/nosuch")
    ask("GET", "/_node/nosuch@127.0.0.1/nosuch")

    ask("GET", "/_node/_local/_dbs/cells?revs=true")
    same = {**document, "_revisions": {"start": 1, "ids": [document["_rev"][2:]]}}
    ask("POST", f"{last}/_dbs/_bulk_docs", json={"new_edits": False, "docs": [same]}, note="a revision that it has")
    document["by_range"][whole].remove("node3@127.0.0.1")
    del document["by_node"]["node3@127.0.0.1"]
    document["changelog"].append(["remove", whole, "node3@127.0.0.1"])
    ask("PUT", "/_node/_local/_dbs/cells", json={**document, "_rev": "1-" + "0" * 32}, note="an old revision")
    ask("PUT", "/_node/_local/_dbs/cells", json=document, note="takes a copy out of the map")
    ask("GET", "/_node/_local/_dbs/cells", until=lambda body: body["_rev"].startswith("2-"))
    ask("GET", f"{last}/_dbs/cells", until=lambda body: body["_rev"].startswith("2-"))
    ask("GET", "/cells/_shards", until=lambda body: len(body["shards"][whole]) == 2)
    ask("GET", "/cells")
    ask("GET", copy(3), note="the copy stays on its node")
    ask("DELETE", copy(3))
    ask("GET", copy(3), until=lambda body: "error" in body)
    ask("DELETE", copy(3))
    document = ask("GET", "/_node/_local/_dbs/cells")
    document["by_range"][whole].append("node3@127.0.0.1")
    document["by_node"]["node3@127.0.0.1"] = [whole]
    document["changelog"].append(["add", whole, "node3@127.0.0.1"])
    document["mine"] = {"any": "field"}
    ask("PUT", "/_node/_local/_dbs/cells", json=document, note="adds a copy")
    ask("POST", "/cells/_sync_shards", json={})
    ask("GET", copy(3), until=lambda body: body.get("doc_count") == 4, note="internal replication fills the copy")
    ask("GET", "/_node/_local/_dbs/cells")
    ask("POST", "/nosuch/_sync_shards", json={})
    ask("GET", "/cells/_sync_shards")

    path = "/_node/_local/_nodes/node2@127.0.0.1"
    node = ask("GET", path)
    ask("PUT", path, json={**node, "zone": "west"})
    ask("PUT", path, json={**node, "zone": "east"})
    ask("GET", path)
    ask("GET", "/_node/_local/_nodes/_all_docs?include_docs=true")

    ask("GET", "/_reshard")
    ask("GET", "/_reshard/state")
    ask("GET", "/_reshard/jobs")
    ask("GET", "/_reshard/jobs/nosuch")
    for body in (
        {},
        {"type": "merge", "db": "cells"},
        {"type": "split"},
        {"type": "split", "db": "nosuch"},
        {"type": "split", "db": "cells", "node": "nosuch@127.0.0.1"},
        {"type": "split", "db": "cells", "range": "00000000-0fffffff"},
    ):
        ask("POST", "/_reshard/jobs", json=body)
    ask("PUT", "/_reshard/state", json={"state": "other"})
    ask("PUT", "/_reshard/state", json={"state": "stopped", "reason": "a rest"})
    ask("GET", "/_reshard/state")
    ask("GET", "/_reshard")
    jobs = ask("POST", "/_reshard/jobs", json={"type": "split", "db": "cells"})
    ask("GET", "/_reshard", until=lambda body: body["stopped"] == 3)
    ask("GET", "/_reshard/jobs")
    ask("POST", "/_reshard/jobs", json={"type": "split", "db": "cells"}, note="again")
    job = f"/_reshard/jobs/{jobs[0]['id']}"
    ask("GET", job)
    ask("GET", f"{job}/state")
    ask("PUT", "/_reshard/state", json={"state": "running"})
    ask("GET", "/_reshard", until=lambda body: body["completed"] == 3)
    ask("GET", job)
    ask("GET", f"{job}/state")
    ask("GET", "/cells/_shards", until=lambda body: len(body["shards"]) == 2)
    ask("GET", "/cells")
    ask("GET", "/cells/_all_docs")
    ask("GET", copy(2), until=lambda body: "error" in body)
    ask("GET", copy(2, "00000000-7fffffff"))
    for created in jobs:
        ask("DELETE", f"/_reshard/jobs/{created['id']}")
    ask("GET", job)
    ask("GET", "/_reshard", **{"as": None})
    ask("GET", "/_reshard/jobs", **{"as": None})
    ask("DELETE", "/cells")


SCENARIOS: dict[str, Callable[[Ask], None]] = {
    "documents": documents,
    "keys": keys,
    "settings": settings,
    "shards": shards,
}
