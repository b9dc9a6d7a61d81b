# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A user's document: CouchDB's own fields, the others, and how a declaration changes it. Pure.

https://docs.couchdb.org/en/stable/intro/security.html#users-documents
"""

from __future__ import annotations

import copy
import typing as t

from ..errors import InvalidInput
from .names import USER_PREFIX, check_json
from .passwords import PasswordHash, parse_user
from .secrets import mask_document

_HASH_FIELDS = frozenset(["password_scheme", "pbkdf2_prf", "derived_key", "password_sha", "salt", "iterations"])
_OWN_FIELDS = frozenset(["name", "type", "roles", "password"]) | _HASH_FIELDS


def check_fields(user: t.Mapping[str, t.Any], where: str = "") -> None:
    """Raise InvalidInput for roles and attributes that CouchDB refuses, or that another option sets.

    ``where`` is the prefix of the options' names in errors.
    """
    for option in ("roles", "attributes"):
        check_json(user[option], where + option)
    for role in user["roles"] or []:
        if not role or role.startswith("_"):
            raise InvalidInput(
                f"{where}roles",
                f"{role!r} is not a role for a user: CouchDB reserves those that begin with an underscore",
            )
    for name in user["attributes"] or {}:
        if str(name).startswith("_") or name in _OWN_FIELDS:
            raise InvalidInput(f"{where}attributes", f"{name} is not an attribute, but CouchDB's own field. Remove it")


def merged(user: t.Mapping[str, t.Any], current: t.Mapping[str, t.Any] | None) -> dict[str, t.Any]:
    """The user's document with the declared roles and attributes, and all else as it was."""
    name = user["name"]
    document = (
        {"_id": USER_PREFIX + name, "name": name, "type": "user", "roles": []} if current is None else dict(current)
    )
    if user["roles"] is not None and set(user["roles"]) != set(document.get("roles", [])):
        document["roles"] = list(dict.fromkeys(user["roles"]))
    document.update(copy.deepcopy(user["attributes"] or {}))
    return document


def deletions(current: t.Mapping[str, t.Any], conflicts: t.Iterable[str] = ()) -> list[dict[str, t.Any]]:
    """The deletions of all revisions of a user: a conflicting one that stayed would become the user, with its password."""
    return [{"_id": current["_id"], "_rev": rev, "_deleted": True} for rev in (current["_rev"], *conflicts)]


def with_hash(document: t.Mapping[str, t.Any], wanted: PasswordHash) -> dict[str, t.Any]:
    """The document with this hash of its password instead of the one it had."""
    kept = {name: value for name, value in document.items() if name not in _HASH_FIELDS}
    return {**kept, **wanted.user_fields()}


def attributes(document: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The fields of a user's document that belong neither to CouchDB nor to the password."""
    return {field: value for field, value in document.items() if field not in _OWN_FIELDS and field[:1] != "_"}


def has_password(document: t.Mapping[str, t.Any]) -> bool:
    """Whether a user's document has any field of a password or its hash."""
    return bool({"password", *_HASH_FIELDS} & set(document))


def shown(name: str, document: t.Mapping[str, t.Any] | None) -> dict[str, t.Any]:
    """The user as a module returns it."""
    if document is None:
        empty = dict.fromkeys(("roles", "attributes", "scheme", "iterations"))
        return {"name": name, "exists": False, **empty}
    stored = parse_user(document)
    return {
        "name": name,
        "exists": True,
        "roles": document.get("roles", []),
        "attributes": mask_document(attributes(document)),
        "scheme": stored and stored.scheme,
        "iterations": stored and stored.iterations,
    }
