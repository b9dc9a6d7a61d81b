# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

"""For each module a task that changes something, the state before it, and the proof that it succeeded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ansible_collections.couchpy.couchdb.plugins.module_utils._rules import passwords
from couch import BYSTANDER, PREFIX, Couch


def _nothing(couch: Couch) -> None:
    return


UNHURRIED = 60
"""Seconds that a task without a fault may wait."""


@dataclass(frozen=True)
class Case:
    """A task of a module.

    ``before(couch)`` brings the server into the state before the task. ``proof(couch)`` reads from the server what the
    task declares; it must be ``proved`` afterwards. ``named`` lists the prefixes of the entries in a snapshot that the task
    may change, for settings without the node. ``returns`` are the return values of a successful run. ``always`` marks a
    task that reports a change each time. ``patience`` is how many seconds the task may wait by its own options, in
    addition to those of the connection, when it meets a fault.
    """

    module: str
    options: dict[str, Any] | Callable[[Couch], dict[str, Any]]
    before: Callable[[Couch], None] = _nothing
    proof: Callable[[Couch], Any] = _nothing
    proved: Any = None
    named: tuple[str, ...] = ()
    returns: tuple[str, ...] = ()
    tag: str = ""
    always: bool = False
    patience: float = 0

    def given(self, couch: Couch, *, hurried: bool = False, **connection: Any) -> dict[str, Any]:
        """The options of the task, with those of the connection. Without a fault a wait ends when it is over, on a busy machine too."""
        options = self.options(couch) if callable(self.options) else self.options
        waits = {"wait_timeout": UNHURRIED} if self.patience and not hurried else {}
        return {**options, **waits, **couch.login, **connection}

    def __str__(self) -> str:
        return f"{self.module} {self.tag}".strip()


# couchdb_config

_SETTINGS = {"new": "value", "changed": "after", "gone": None}


def _settings_before(couch: Couch) -> None:
    for key, value in {"new": None, "changed": "before", "gone": "still there", "other": "as it was"}.items():
        couch.set(PREFIX, key, value)


# couchdb_database

_NEW, _OLD = f"{PREFIX}_new", f"{PREFIX}_old"
_SECURITY = {"admins": {"names": ["ann"], "roles": ["ops"]}, "members": {"names": ["carl"], "roles": ["shop"]}}
_OTHERS = {"cloudant": {"x": ["_reader"]}}


def _databases_before(couch: Couch) -> None:
    couch.delete(_NEW)
    couch.create(_OLD)
    couch.put(_OLD, "kept", {"value": 1})
    couch.ask("PUT", _OLD, "_security", body={"members": {"names": ["bob"], "roles": []}, **_OTHERS})
    couch.ask("PUT", _OLD, "_revs_limit", body=1000)


def _databases_proof(couch: Couch) -> Any:
    parts = {name: [couch.ask("GET", name, part)[1] for part in ("_security", "_revs_limit")] for name in (_NEW, _OLD)}
    return parts, (couch.document(_OLD, "kept") or {}).get("value")


def _databases_exist(couch: Couch) -> None:
    for name in (_NEW, _OLD):
        couch.create(name)


# couchdb_admin

_ADMIN = f"{PREFIX}_admin"


def _admin_proof(couch: Couch) -> Any:
    stored = [couch.ask("GET", "_node", node, "_config", "admins", _ADMIN) for node in couch.nodes]
    return all(status == 200 and passwords.verify("of the admin", passwords.parse(text)) for status, text in stored)


# couchdb_user

_USERS = {name: f"org.couchdb.user:{PREFIX}_{name}" for name in ("new", "changed", "gone")}


def _users_before(couch: Couch) -> None:
    couch.put("_users", _USERS["new"], None)
    for name in ("changed", "gone"):
        fields = {"name": f"{PREFIX}_{name}", "type": "user", "roles": ["before"], "kept": True}
        couch.put("_users", _USERS[name], fields)


def _users_proof(couch: Couch) -> Any:
    documents = {name: couch.document("_users", docid) for name, docid in _USERS.items()}
    new, changed = documents["new"] or {}, documents["changed"] or {}
    logged_in = couch.ask("GET", "_session", login=(f"{PREFIX}_new", "of the user"))[1].get("userCtx", {}).get("name")
    return logged_in, new.get("roles"), changed.get("roles"), changed.get("kept"), documents["gone"]


# couchdb_document

_DOCUMENTS = f"{PREFIX}_documents"
_WANTED = [
    {"_id": "new", "value": 1},
    {"_id": "changed", "value": "after"},
    {"_id": "_design/app", "language": "javascript"},
]


def _documents_before(couch: Couch) -> None:
    couch.create(_DOCUMENTS)
    for document in ({"_id": "changed", "value": "before", "more": 1}, {"_id": "other", "value": "as it was"}):
        couch.put(_DOCUMENTS, document["_id"], {name: value for name, value in document.items() if name != "_id"})
    for docid in ("new", "_design/app"):
        couch.put(_DOCUMENTS, docid, None)


def _documents_proof(couch: Couch) -> Any:
    found = [couch.document(_DOCUMENTS, document["_id"]) or {} for document in _WANTED]
    return [{name: value for name, value in document.items() if name != "_rev"} for document in found]


def _documents_exist(couch: Couch) -> None:
    _documents_before(couch)
    couch.put(_DOCUMENTS, "new", {"value": 1})


# couchdb_index

_INDEXED = f"{PREFIX}_indexed"


def _index_before(couch: Couch) -> None:
    couch.create(_INDEXED)
    couch.put(_INDEXED, "_design/by-date", None)
    couch.put(_INDEXED, "_design/other", {"views": {"all": {"map": "function (doc) { emit(doc._id); }"}}})


def _index_proof(couch: Couch) -> Any:
    indexes = couch.ask("GET", _INDEXED, "_index")[1]["indexes"]
    return [index["def"]["fields"] for index in indexes if index["ddoc"] == "_design/by-date"]


# couchdb_replication

_REPLICATION = f"{PREFIX}_replication"
# Nothing listens there: the server retries the replication.
_SOURCE, _TARGET = "http://127.0.0.1:9/source/", "http://127.0.0.1:9/target/"


def _replication_proof(couch: Couch) -> Any:
    held = couch.document("_replicator", _REPLICATION) or {}
    ends = [end["url"] if isinstance(end, dict) else end for end in (held.get("source"), held.get("target"))]
    return ends, held.get("continuous")


# couchdb_server


def _server_before(couch: Couch) -> None:
    _settings_before(couch)
    couch.delete(_NEW)
    _documents_before(couch)


def _server_proof(couch: Couch) -> Any:
    settings = {key: couch.setting(PREFIX, key) for key in (*_SETTINGS, "other")}
    return settings, couch.ask("GET", _NEW, "_security")[1], _documents_proof(couch)


# couchdb_jwt_key

_KEY = "a key of a test, long enough for any algorithm"


def _key_before(couch: Couch) -> None:
    couch.set("jwt_keys", f"hmac:{PREFIX}", None)
    couch.set("log", "level", None)


# couchdb_cluster

_GLOBAL = "_global_changes"
_WAIT = 2

# couchdb_restart

_BACK = 4


CASES: list[Case] = [
    Case(
        "couchdb_config",
        {"settings": {PREFIX: _SETTINGS}},
        before=_settings_before,
        proof=lambda couch: {key: couch.setting(PREFIX, key) for key in (*_SETTINGS, "other")},
        proved={**_SETTINGS, "other": "as it was"},
        named=tuple(f"config/{PREFIX}/{key}" for key in _SETTINGS),
        returns=("settings",),
    ),
    Case(
        "couchdb_database",
        {"name": [_NEW, _OLD], "security": _SECURITY, "revs_limit": 50},
        before=_databases_before,
        proof=_databases_proof,
        proved=({_NEW: [_SECURITY, 50], _OLD: [{**_SECURITY, **_OTHERS}, 50]}, 1),
        named=(f"db/{_NEW}", f"db/{_OLD}"),
        returns=("databases",),
    ),
    Case(
        "couchdb_database",
        {"name": [_NEW, _OLD], "state": "absent"},
        before=_databases_exist,
        proof=lambda couch: [couch.ask("GET", name)[0] for name in (_NEW, _OLD)],
        proved=[404, 404],
        named=(f"db/{_NEW}", f"db/{_OLD}"),
        returns=("databases",),
        tag="absent",
    ),
    Case(
        "couchdb_info",
        {"gather_subset": ["all", "!log"]},
        returns=("server", "databases", "config", "admins", "cluster", "replications", "session"),
    ),
    Case(
        "couchdb_admin",
        {"name": _ADMIN, "password": "of the admin"},
        before=lambda couch: couch.set("admins", _ADMIN, None),
        proof=_admin_proof,
        proved=True,
        named=(f"config/admins/{_ADMIN}",),
        returns=("admin",),
    ),
    Case(
        "couchdb_user",
        {
            "users": [
                {"name": f"{PREFIX}_new", "password": "of the user", "roles": ["shop"]},
                {"name": f"{PREFIX}_changed", "roles": ["after"]},
                {"name": f"{PREFIX}_gone", "state": "absent"},
            ]
        },
        before=_users_before,
        proof=_users_proof,
        proved=(f"{PREFIX}_new", ["shop"], ["after"], True, None),
        named=tuple(f"db/_users/{docid}" for docid in _USERS.values()),
        returns=("users",),
    ),
    Case(
        "couchdb_document",
        {"database": _DOCUMENTS, "documents": _WANTED},
        before=_documents_before,
        proof=_documents_proof,
        proved=_WANTED,
        named=tuple(f"db/{_DOCUMENTS}/{document['_id']}" for document in _WANTED),
        returns=("documents",),
    ),
    Case(
        "couchdb_document",
        {"database": _DOCUMENTS, "ids": ["new", "changed"], "state": "absent"},
        before=_documents_exist,
        proof=lambda couch: [couch.document(_DOCUMENTS, docid) for docid in ("new", "changed")],
        proved=[None, None],
        named=tuple(f"db/{_DOCUMENTS}/{docid}" for docid in ("new", "changed")),
        returns=("documents",),
        tag="absent",
    ),
    Case(
        "couchdb_index",
        {"database": _INDEXED, "ddoc": "by-date", "name": "by-date", "fields": ["date"]},
        before=_index_before,
        proof=_index_proof,
        proved=[[{"date": "asc"}]],
        named=(f"db/{_INDEXED}/_design/by-date",),
        returns=("indexes",),
    ),
    Case(
        "couchdb_replication",
        {"name": _REPLICATION, "source": _SOURCE, "target": _TARGET, "continuous": True},
        before=lambda couch: couch.put("_replicator", _REPLICATION, None),
        proof=_replication_proof,
        proved=([_SOURCE, _TARGET], True),
        named=(f"db/_replicator/{_REPLICATION}",),
        returns=("replications",),
    ),
    Case(
        "couchdb_cluster",
        lambda couch: {
            "members": couch.nodes,
            "system_databases": ["_users", "_replicator", _GLOBAL],
            "wait_timeout": _WAIT,
        },
        before=lambda couch: couch.delete(_GLOBAL),
        proof=lambda couch: couch.ask("GET", _GLOBAL)[0],
        proved=200,
        named=(f"db/{_GLOBAL}",),
        returns=("cluster",),
        patience=_WAIT,
    ),
    Case(
        "couchdb_server",
        {
            "settings": {PREFIX: _SETTINGS},
            "databases": [{"name": _NEW, "security": _SECURITY}],
            "documents": [{"database": _DOCUMENTS, "documents": _WANTED}],
        },
        before=_server_before,
        proof=_server_proof,
        proved=({**_SETTINGS, "other": "as it was"}, _SECURITY, _WANTED),
        named=(
            *(f"config/{PREFIX}/{key}" for key in _SETTINGS),
            f"db/{_NEW}",
            *(f"db/{_DOCUMENTS}/{document['_id']}" for document in _WANTED),
        ),
        returns=("parts", "unchanged"),
    ),
    Case(
        "couchdb_jwt_key",
        {"kid": PREFIX, "type": "hmac", "key": _KEY},
        before=_key_before,
        proof=lambda couch: couch.setting("jwt_keys", f"hmac:{PREFIX}") is not None,
        proved=True,
        # A node that can't be reached any more keeps the level at which it logs no secret, in memory.
        named=(f"config/jwt_keys/hmac:{PREFIX}", "config/log/level"),
        returns=("jwt_keys",),
    ),
    Case(
        "couchdb_shards",
        {"databases": [BYSTANDER]},
        returns=("databases", "moved"),
    ),
    Case(
        "couchdb_restart",
        {"wait": True, "wait_timeout": _BACK},
        before=Couch.wait,
        proof=Couch.wait,
        returns=("nodes",),
        always=True,
        patience=_BACK,
    ),
]
"""Each module of the action group has a row; test_faults.py fails if one has none."""

MAY_BE_DONE_TWICE = (
    r"PUT .*/_config/[^/]+/[^/]+",
    r"DELETE .*/_config/log/level",
    r"PUT /[^/]+/_security",
    r"PUT /[^/]+/_revs_limit",
)
"""Requests that set a value, or restore one, so that sending them twice has the same effect as once."""
