# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A server with awkward content, made without the collection: its declaration writes nothing, and makes an empty server the same.

On COUCHDB_URL, the second server is COUCHDB_EMPTY_URL, of the same version and with the same login.
"""

from __future__ import annotations

import base64
import copy
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import modules
import proxy
import pytest
from couch import BYSTANDER, PREFIX, Couch

pytestmark = pytest.mark.timeout(600)

READS = ("_all_docs", "_bulk_get", "_dbs_info")
# What YAML or a path could misread.
NAMES = ["no", "1e3", "~", "null", "0x1", "2026-11-28", "12e03", "a b", "é 漢字 🛋", "{{ x }}", "'\"", "#1", "a/b"]
DATABASES = ["no", "null", "e1", "a/b+c$(d)-e_", "y", "parts", "kept/_replicator"]
DOCUMENTS = ["_users", "_replicator"]
KEPT = ("_design/_auth", "_design/_replicator", f"org.couchdb.user:{BYSTANDER}")
HASH = "-pbkdf2-33dd85e33618b30a29bec5d9175eace4e4c92aaf,salt,10"
PEM = (
    r"-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE4mffUA+JH4hUDlQsLc8UUSFt0b7v\n"
    r"y62B6DhwhsDsX0NG61KJfXxYUPK2lXcRcgwqkkpOOk6JGrfeFNLGoqY2hg==\n-----END PUBLIC KEY-----\n"
)
VIEW = {"all": {"map": "function (doc) {\n  emit('{{ x }}', null);\n}\n", "reduce": "_count"}}
INDEX = {
    "fields": [{"no": "desc"}, {"é.a": "desc"}],
    "partial_filter_selector": {"$or": [{"no": None}, {"x": {"$gt": 1.5}}]},
}
REPLICATIONS: list[dict[str, Any]] = [
    {"continuous": True, "selector": {"no": {"$in": [None, True, "~"]}}},
    {"doc_ids": ["no", "1e3", "~"], "continuous": True},
    {"continuous": True, "use_checkpoints": False, "worker_processes": 2, "user_ctx": {"name": "no", "roles": ["~"]}},
    {"continuous": True, "since_seq": "0", "create_target": False, "owner_note": "kept"},
]


@dataclass
class Made:
    """What a test made on a server, to be removed again."""

    couch: Couch
    settings: list[tuple[str, str]] = field(default_factory=list)

    def put(self, body: Any, *path: str, query: str = "") -> Any:
        status, answer = self.couch.ask("PUT", *path, body=body, query=query)
        assert status in (200, 201, 202), (path, status, answer)
        return answer

    def set(self, section: str, key: str, value: str) -> None:
        self.settings.append((section, key))
        self.couch.set(section, key, value)

    def databases(self) -> None:
        for name in DATABASES:
            self.put(None, name, query="partitioned=true&q=1" if name == "parts" else "q=4" if name == "e1" else "")
        self.put({"admins": {"names": NAMES, "roles": []}, "members": {"roles": NAMES}}, "no", "_security")
        self.put({}, "null", "_security")
        self.put({"members": {"roles": ["~"], "since": 1}, "cloudant": {"x": ["_reader"]}}, "e1", "_security")
        self.put(1, "y", "_revs_limit")
        self.put({"x": 1}, "no", "_local/checkpoint")

    def documents(self) -> None:
        picture = {"content_type": "image/png", "data": base64.b64encode(bytes(range(256)) * 40).decode()}
        page = {"content_type": "text/html; charset=utf-8", "data": base64.b64encode("<p>é".encode()).decode()}
        awkward = {"x": None, "y": [1, 1.5, -0.0, 1e100, 9007199254740991, "no", {}], "~": {"no": "1e3"}}
        app = {
            "views": VIEW,
            "language": "javascript",
            "_attachments": {"a b/é.png": picture, "index.html": page},
            **awkward,
        }
        for name in ("app", "no", "é 🛋"):
            self.put(
                app if name == "app" else {"filters": {"f": "function (doc, req) { return true; }"}},
                "no",
                "_design",
                name,
            )
        self.put({"views": VIEW, "options": {"partitioned": False}}, "parts", "_design", "global")
        self.put({"views": VIEW, "autoupdate": False}, "a/b+c$(d)-e_", "_design", "a/b")
        self.put({"views": {}}, "_users", "_design", f"{PREFIX}_own")
        # Conflicts: of a document, of a design document, and one of which a revision is deleted.
        for docid, more in (("plain", {}), ("_design/conflict", {"views": VIEW}), ("_design/settled", {"views": VIEW})):
            docs: list[dict[str, Any]] = [
                {"_id": docid, "_rev": "1-" + sign * 32, "n": sign, **more} for sign in ("a", "b")
            ]
            if docid == "_design/settled":
                docs.append(
                    {
                        "_id": docid,
                        "_rev": "2-" + "c" * 32,
                        "_deleted": True,
                        "_revisions": {"start": 2, "ids": ["c" * 32, "b" * 32]},
                    }
                )
            status, rows = self.couch.ask("POST", "no", "_bulk_docs", body={"docs": docs, "new_edits": False})
            assert status == 201
            assert rows == []
        gone = self.put({"views": VIEW}, "no", "_design", "gone")
        assert self.couch.ask("DELETE", "no", "_design", "gone", query=f"rev={gone['rev']}")[0] == 200

    def indexes(self) -> None:
        for database, index in (
            ("no", {"index": INDEX, "ddoc": "null", "name": "no"}),
            ("no", {"index": {"fields": ["a", "b"]}, "ddoc": "no-2", "name": "1e3"}),
            ("no", {"index": {"fields": ["c"]}, "ddoc": "no-2", "name": "~"}),
            ("no", {"index": {"fields": ["unnamed"]}}),
            ("parts", {"index": {"fields": ["a"]}, "ddoc": "p", "name": "p", "partitioned": True}),
            ("parts", {"index": {"fields": ["a"]}, "ddoc": "g", "name": "g", "partitioned": False}),
        ):
            status, answer = self.couch.ask("POST", database, "_index", body=index)
            assert status == 200, answer

    def users(self) -> None:
        fields = {
            "text": "012",
            "flag": True,
            "nothing": None,
            "{{ k }}": "{% x %}",
            "n": 1.5,
            "deep": {"~": [None, "no"]},
        }
        for name in NAMES:
            self.put(
                {"name": name, "type": "user", "roles": ["no", "~", "é"], "password": "pw-c4n4ry", **fields},
                "_users",
                f"org.couchdb.user:{name}",
            )
        self.put({"name": "bare", "type": "user", "roles": []}, "_users", "org.couchdb.user:bare")
        # An older server's hash, and a conflict.
        old = {"password_scheme": "pbkdf2", "derived_key": "33dd85e33618b30a29bec5d9175eace4e4c92aaf", "salt": "salt"}
        document = {"_id": "org.couchdb.user:old", "name": "old", "type": "user", **old, "iterations": 10}
        docs = [{**document, "_rev": f"1-{secrets.token_hex(16)}", "roles": [sign]} for sign in ("a", "b")]
        assert self.couch.ask("POST", "_users", "_bulk_docs", body={"docs": docs, "new_edits": False})[0] == 201

    def configuration(self) -> None:
        for name in NAMES:
            if name.isascii() and "#" not in name:
                self.set(f"{PREFIX}_awkward", name, name)
        self.set(f"{PREFIX}_awkward", "latin", "né")
        self.set(f"{PREFIX}_awkward", "comment", "a;b # c")
        self.set("log", "level", "warning")
        self.set(f"{PREFIX}_awkward", "password", "setting-c4n4ry")
        for name in ("no", "1e3", "~", "2026-11-28", "{{ x }}"):
            self.set("admins", name, HASH)
        for name, value in (
            ("hmac:no", "YzRuNHJ5"),
            ("ec:1e3", PEM),
            ("hmac:~", "YzRu NHJ5"),
            ("hmac:bad", "not Base64!"),
        ):
            self.set("jwt_keys", name, value)

    def replications(self) -> None:
        there = {"url": "http://127.0.0.1:9/t", "auth": {"basic": {"username": "~", "password": "c4n4ry"}}}
        headed = {"url": "http://127.0.0.1:9/t", "headers": {"Authorization": "Basic YTpiLWM0bjRyeQ=="}}
        for number, more in enumerate(REPLICATIONS):
            document = {"source": f"{self.couch.url}no", "target": headed if number else there, **more}
            if number == 1:
                document["source"] = "http://u:c4n4ry-url@127.0.0.1:9/no"
            self.put(document, "_replicator", ["no", "1e3", "~", "é x"][number])
        self.put({"source": "http://127.0.0.1:9/a", "target": "http://127.0.0.1:9/b"}, "kept/_replicator", "other")
        status, answer = self.couch.ask("POST", "_replicate", body=self.transient())
        assert status in (200, 202), answer

    def transient(self) -> dict[str, Any]:
        """A replication without a document, of empty databases."""
        ends = {}
        for end, database in (("source", "y"), ("target", "e1")):
            basic = {"username": self.couch.username, "password": self.couch.password}
            ends[end] = {"url": f"{self.couch.url}{database}", "auth": {"basic": basic}}
        return {**ends, "continuous": True}

    def everything(self) -> None:
        for what in (self.configuration, self.databases, self.documents, self.indexes, self.users, self.replications):
            what()

    def remove(self) -> None:
        self.couch.ask("POST", "_replicate", body={**self.transient(), "cancel": True})
        for database in DOCUMENTS:
            # More than once, as a conflicting revision follows one that is deleted.
            for _turn in range(2):
                for row in self.couch.ask("GET", database, "_all_docs")[1].get("rows", []):
                    if row["id"] not in KEPT:
                        self.couch.put(database, row["id"], None)
        for name in DATABASES:
            self.couch.delete(name)
        for section in (f"{PREFIX}_awkward", "jwt_keys", "admins", "log"):
            for key in self.couch.ask("GET", "_node", self.couch.nodes[0], "_config", section)[1]:
                if (section, key) in self.settings or (section != "admins" and section != "log"):
                    self.couch.set(section, key, None)


@pytest.fixture(scope="module")
def awkward(couch: Couch) -> Iterator[Made]:
    """The server, with awkward content on it."""
    made = Made(couch)
    try:
        made.everything()
        yield made
    finally:
        made.remove()


def task(module: str, url: str, couch: Couch, **options: Any) -> dict[str, Any]:
    """Run a task that must succeed."""
    run = modules.run(module, {**couch.login, "url": url, **options}, no_log=True)
    assert not run.crash, run.crash
    assert not run.failed, run.message
    return run.result


def gather(url: str, couch: Couch) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The whole declaration of a server with its secrets, and what is not declared."""
    found = task("couchdb_info", url, couch, gather_subset=["declaration"], include_secrets=True)
    return {part: value for part, value in found["declaration"].items() if part != "members"}, found["not_declared"]


def test_a_declaration_of_awkward_content_writes_nothing_to_its_own_server(awkward: Made, between: proxy.Proxy) -> None:
    couch = awkward.couch
    found, omitted = gather(between.url, couch)
    names = {
        part: {entry.get("name") for entry in found[part]} for part in ("users", "admins", "databases", "replications")
    }
    assert {*NAMES, "bare", "old"} <= names["users"]
    assert {"no", "1e3", "~", "2026-11-28", "{{ x }}"} <= names["admins"]
    assert set(DATABASES) <= names["databases"]
    assert {"no", "1e3", "~", "é x"} <= names["replications"]
    assert {(key["type"], key["kid"]) for key in found["jwt_keys"]} == {("hmac", "no"), ("ec", "1e3"), ("hmac", "~")}
    left = {(entry["part"], entry["name"]) for entry in omitted}
    assert {
        ("jwt_keys", "hmac:bad"),
        ("databases", "e1"),
        ("replications", "kept/_replicator/other"),
    } <= left, left
    assert f"{couch.url}y/ to {couch.url}e1/" in {name for part, name in left if part == "replications"}, left
    assert "c4n4ry" not in str(omitted)
    between.disarm()
    applied = task("couchdb_server", between.url, couch, **found)
    assert not applied["changed"], [part for part in applied["parts"] if part not in applied["unchanged"]]
    sent = [str(request) for request in between.journal()]
    assert len(sent) > len(DATABASES)
    assert [
        line for line in sent if not line.startswith(("GET ", "HEAD ")) and not any(map(line.__contains__, READS))
    ] == []
    # The other way round: it holds nothing beyond what was gathered.
    extra = task("couchdb_server", between.url, couch, **found, report_extra=True)["extra"]
    assert extra == {**{part: [] for part in extra}, "jwt_keys": ["hmac:bad"]}


def test_a_declaration_of_awkward_content_makes_an_empty_server_the_same(awkward: Made, twin: Couch) -> None:
    found, _omitted = gather(awkward.couch.url, awkward.couch)
    other = Made(twin, list(awkward.settings))
    try:
        task("couchdb_server", twin.url, twin, **copy.deepcopy(found))
        copied, _omitted = gather(twin.url, twin)
        assert {*copied} == {*found}
        for part in found:
            assert copied[part] == found[part], part
        assert not task("couchdb_server", twin.url, twin, **found)["changed"]
    finally:
        other.remove()
