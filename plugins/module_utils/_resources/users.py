# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Users, their roles, attributes and passwords: what couchdb_user declares, observes, plans and reports."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field, replace

from .._client.database import Database
from .._client.users import Users
from .._engine.entries import add_once, entries
from .._engine.module import Resource
from .._engine.plan import Change, Plan
from .._rules import passwords
from .._rules import users as rules
from .._rules.dialect import Dialect
from .._rules.names import check_user_name
from .._rules.secrets import document_secrets
from .._rules.values import equal
from ..errors import InvalidInput, NotFound

_USER: dict[str, t.Any] = {
    "password": {"type": "str", "no_log": True},
    "password_hash": {"type": "str", "no_log": True},
    "roles": {"type": "list", "elements": "str"},
    "attributes": {"type": "dict"},
    "state": {"type": "str", "choices": ["present", "absent"]},
    "update_password": {"type": "str", "choices": ["always", "on_create"], "no_log": False},
}

ARGUMENT_SPEC: dict[str, t.Any] = {
    **_USER,
    "name": {"type": "str"},
    "state": {**_USER["state"], "default": "present"},
    "update_password": {**_USER["update_password"], "default": "always"},
    "users": {
        "type": "list",
        "elements": "dict",
        "options": {"name": {"type": "str", "required": True}, **_USER},
        "mutually_exclusive": [("password", "password_hash")],
    },
}


@dataclass(frozen=True)
class Observed:
    """The users' documents by name, None for missing ones, and the server's hash scheme.

    ``conflicts``: name → the revisions that conflict with the document. ``database`` is the server's database of users,
    ``missing`` the error if it does not exist.
    """

    documents: dict[str, dict[str, t.Any] | None]
    hashing: dict[str, t.Any]
    dialect: Dialect
    missing: NotFound | None = None
    database: str = "_users"
    conflicts: t.Mapping[str, t.Sequence[str]] = field(default_factory=dict)


def desire(params: dict[str, t.Any]) -> dict[str, dict[str, t.Any]]:
    """The users by name, checked. Raises InvalidInput for those that CouchDB refuses, and for duplicates."""
    desired: dict[str, dict[str, t.Any]] = {}
    for user, where in entries(params, "users", ("state", "update_password")):
        check_user_name(user["name"], f"{where}name")
        passwords.check_given(user, where)
        rules.check_fields(user, where)
        add_once(desired, user["name"], {**user, "where": where, "salt": passwords.new_salt()}, where)
    return desired


def observe(client: Users, desired: dict[str, dict[str, t.Any]]) -> Observed:
    """The users' documents, and the server's hash scheme."""
    database, hashing = client.user_settings()
    missing: NotFound | None = None
    documents: dict[str, dict[str, t.Any] | None] = dict.fromkeys(desired)
    try:
        documents = client.users(list(desired), database=database, conflicts=True)
    except NotFound as error:
        missing = error
    conflicts = {name: document.pop("_conflicts", ()) for name, document in documents.items() if document}
    return Observed(documents, hashing, client.dialect, missing, database, conflicts)


def plan(desired: dict[str, dict[str, t.Any]], observed: Observed) -> Plan:
    """The documents to write and delete. Derivations, which take time, run in parallel."""
    wanted = dict(zip(desired, passwords.in_threads(lambda user: _wanted(user, observed), list(desired.values()))))
    changes = tuple(
        change
        for name, document in wanted.items()
        if not equal(document, observed.documents[name])
        for change in _changes(name, document, observed)
    )
    return Plan(
        changes,
        replace(observed, documents=wanted, conflicts={}),
        unmet=observed.missing if changes else None,
        # A replication may have added a revision, which would become the user.
        again=None in wanted.values(),
    )


def report(
    desired: dict[str, dict[str, t.Any]], observed: Observed, changes: list[Change]
) -> dict[str, list[dict[str, t.Any]]]:
    """The users in the order of the task."""
    return {"users": [rules.shown(name, observed.documents[name]) for name in desired]}


def secrets(params: dict[str, t.Any]) -> set[str]:
    """The attributes that are secret by their name."""
    return document_secrets([user["attributes"] for user in [params, *(params["users"] or [])]])


def _wanted(user: dict[str, t.Any], observed: Observed) -> dict[str, t.Any] | None:
    """The desired document: the current one with the declared values."""
    if user["state"] == "absent":
        return None
    current = observed.documents[user["name"]]
    document = rules.merged(user, current)
    asked = user["password"] is not None or user["password_hash"] is not None
    if not asked or (current is not None and user["update_password"] == "on_create"):
        return document
    stored = list(filter(None, [passwords.parse_user(document)]))
    wanted = passwords.settle(stored, user["password"], user["password_hash"], observed.hashing, user["salt"])
    problem = observed.dialect.hash_problem(wanted, stored)
    if problem:
        raise InvalidInput(f"{user['where']}password_hash", problem)
    return document if wanted in stored else rules.with_hash(document, wanted)


def _changes(name: str, wanted: dict[str, t.Any] | None, observed: Observed) -> t.Iterator[Change]:
    """The changes for a user: one, or a deletion of each of its revisions."""
    current = observed.documents[name]
    sent = [wanted] if wanted else rules.deletions(current or {}, observed.conflicts.get(name, ()))
    for document in sent:
        yield Change(
            action="create" if current is None else "update" if wanted else "delete",
            what="user",
            path=(name,),
            before=current,
            after=wanted,
            call=Database.bulk_docs,
            arguments={"documents": document},
            database=observed.database,
            bulk=True,
        )


RESOURCE = Resource(
    desire,
    observe,
    report,
    plan,
    secrets=secrets,
    client=Users,
    options=ARGUMENT_SPEC,
    constraints={
        "mutually_exclusive": [
            ("password", "password_hash"),
            *((name, "users") for name in ("name", "password", "password_hash", "roles", "attributes")),
        ],
        "required_one_of": [("name", "users")],
    },
)
