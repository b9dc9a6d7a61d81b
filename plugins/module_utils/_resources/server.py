# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A whole server: the other resources that couchdb_server combines, in their order, with their options."""

from __future__ import annotations

import typing as t

from .._client.declaration import Declaration
from .._client.documents import Documents
from .._client.indexes import Indexes
from .._client.splits import Splitting
from .._engine.composition import Composition, Extra, Part
from .._rules import declaration as rules
from .._rules.jwt_keys import SECTION, setting_key
from ..database import Database as _Database
from ..errors import Forbidden, InvalidInput
from . import admins, config, databases, documents, indexes, jwt_keys, replications, users


class Declarer(Documents, Indexes, Declaration, Splitting):
    """The client of all parts."""

    _KIND = _Database

    def Database(self, name: str, *args: t.Any, **kwargs: t.Any) -> _Database:
        """The database of this name: see Client.Database."""
        return t.cast(_Database, super().Database(name, *args, **kwargs))


_LIST: dict[str, t.Any] = {"type": "list", "elements": "dict"}

ARGUMENT_SPEC: dict[str, t.Any] = {
    "settings": {"type": "dict"},
    "admins": _LIST,
    "jwt_keys": {**_LIST, "no_log": False},
    "databases": _LIST,
    "users": _LIST,
    "documents": _LIST,
    "indexes": _LIST,
    "replications": _LIST,
    "nodes": {"type": "list", "elements": "str", "default": ["all"]},
    "local_url": {"type": "str"},
    "endpoint_admins": _LIST,
    "remote_src": {"type": "bool", "default": False},
    "wait_timeout": {"type": "int"},
    "exclusive": {"type": "list", "elements": "str", "choices": list(rules.PARTS), "default": []},
    "report_extra": {"type": "bool", "default": False},
    "remove_databases": {"type": "bool", "default": False},
}

_KEPT = frozenset(["_users", "_replicator", "_global_changes"])
"""CouchDB's own databases, which are never extra. Nor is the database of its users if that is another."""


def check(params: dict[str, t.Any]) -> None:
    """Raise InvalidInput for an exclusive part that is not declared, or databases whose removal is not confirmed."""
    for name in params["exclusive"]:
        if params[name] is None:
            raise InvalidInput(
                "exclusive", f"names {name}, which the task does not declare. Set {name}, even if it is empty"
            )
    if "databases" in params["exclusive"] and not params["remove_databases"]:
        raise InvalidInput(
            "exclusive",
            "names databases, and would delete each undeclared database with all its documents. If you want that, set "
            "remove_databases: true as well",
        )


def extra(client: Declarer, desired: dict[str, t.Any]) -> dict[str, Extra]:
    """What the server has and no part declares. Things in a database that is extra itself are not listed."""
    found, omitted = client.declaration()
    for entry in omitted.entries:
        if entry["name"] == rules.WHOLE_PART:
            raise Forbidden(f"{entry['part']}: {entry['reason']}, so extra things can't be listed")
    own = client.authsession()["userCtx"]["name"]
    names: dict[str, list[str]] = {}
    for part, declared in (
        ("admins", {own, *(desired["admins"].admins if "admins" in desired else ())}),
        ("databases", {*_KEPT, *_users_databases(client, desired), *desired.get("databases", ())}),
        ("users", set(desired.get("users", ()))),
        (
            "replications",
            {each.name for each in desired["replications"].replications} if "replications" in desired else set(),
        ),
    ):
        there = [*(entry["name"] for entry in found.get(part, [])), *omitted.removable.get(part, [])]
        names[part] = sorted(set(there) - declared)
    settings = rules.extra_settings(
        found.get("settings", {}), desired["settings"].settings if "settings" in desired else ()
    )
    gone = set(names["databases"])
    wanted = desired["documents"].wanted if "documents" in desired else {}
    designs = [
        (entry["database"], document["_id"])
        for entry in found.get("documents", [])
        for document in entry["documents"]
        if entry["database"] not in gone and (entry["database"], document["_id"]) not in wanted
    ]
    left = [
        entry
        for entry in rules.extra_indexes(found.get("indexes", []), desired.get("indexes", []))
        if entry["database"] not in gone
    ]
    declared_keys = set(desired["jwt_keys"].keys) if "jwt_keys" in desired else set()
    # couchdb_config manages keys as well.
    set_keys = (
        {key for section, key in desired["settings"].settings if section == SECTION} if "settings" in desired else set()
    )
    keys = [setting_key(entry["type"], entry["kid"]) for entry in found.get("jwt_keys", [])]
    # Like the admin that the task logs in as.
    own_keys = {key for section, key in client.login_settings if section == SECTION}
    keys = sorted({*keys, *omitted.removable.get("jwt_keys", [])} - declared_keys - set_keys - own_keys)
    absent: dict[str, dict[str, None]] = {}
    for section, key in settings:
        absent.setdefault(section, {})[key] = None
    named = {
        part: Extra(listed, [{"name": name, "state": "absent"} for name in listed]) for part, listed in names.items()
    }
    named["settings"] = Extra([f"{section}/{key}" for section, key in settings], absent)
    named["jwt_keys"] = Extra(
        keys,
        [{"type": kind, "kid": kid, "state": "absent"} for kind, _colon, kid in (key.partition(":") for key in keys)],
    )
    named["documents"] = Extra(
        [f"{database}/{docid}" for database, docid in designs],
        [{"database": database, "ids": [docid], "state": "absent"} for database, docid in designs],
    )
    named["indexes"] = Extra(
        [f"{entry['database']}/{entry['ddoc']}/{entry['name']}" for entry in left],
        [{**{name: entry[name] for name in ("database", "ddoc", "name")}, "state": "absent"} for entry in left],
    )
    return {part: named[part] for part in rules.PARTS}


def _users_databases(client: Declarer, desired: dict[str, t.Any]) -> set[str]:
    """The database of users as the server has it, and as the settings declare it."""
    settings = desired["settings"].settings if "settings" in desired else {}
    declared = {str(value) for (_section, key), value in settings.items() if key == "authentication_db" and value}
    return {client.user_settings()[0], *declared}


# A part can need earlier ones: settings say what a server accepts, databases contain documents.
RESOURCE = Composition(
    {
        "settings": Part(config.RESOURCE, {"settings": "settings", "nodes": "nodes"}),
        "admins": Part(admins.RESOURCE, {"admins": "admins"}),
        "jwt_keys": Part(jwt_keys.RESOURCE, {"jwt_keys": "jwt_keys"}),
        "databases": Part(databases.RESOURCE, {"databases": "databases"}),
        "users": Part(users.RESOURCE, {"users": "users"}),
        "documents": Part(
            documents.RESOURCE,
            {"documents": "databases", "remote_src": "remote_src", "wait_timeout": "wait_timeout"},
        ),
        "indexes": Part(indexes.RESOURCE, {"indexes": "indexes"}),
        "replications": Part(
            replications.RESOURCE,
            {
                "replications": "replications",
                "local_url": "local_url",
                "endpoint_admins": "endpoint_admins",
                "wait_timeout": "wait_timeout",
            },
        ),
    },
    Declarer,
    ARGUMENT_SPEC,
    extra,
    check,
)
