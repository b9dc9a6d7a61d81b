# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A server admin as it is declared: the hash that every node should hold. Pure.

https://docs.couchdb.org/en/stable/config/auth.html#server-administrators
"""

from __future__ import annotations

import typing as t

from ..errors import InvalidInput
from . import passwords
from .dialect import Dialect


def wanted_hash(
    admin: t.Mapping[str, t.Any],
    held: t.Mapping[str, t.Mapping[str, str]],
    hashing: t.Mapping[str, t.Any],
    dialect: Dialect,
) -> str | None:
    """The hash that every node should hold, None for no admin. ``held`` are those of now by node and name.

    Raises InvalidInput for a prepared hash that the server should not be given.
    """
    if admin["state"] == "absent":
        return None
    texts = list(dict.fromkeys(admins[admin["name"]] for admins in held.values() if admin["name"] in admins))
    if texts and admin["update_password"] == "on_create":
        return texts[0]
    stored = list(filter(None, map(passwords.parse_or_none, texts)))
    wanted = passwords.settle(stored, admin["password"], admin["password_hash"], hashing, admin["salt"])
    problem = dialect.hash_problem(wanted, stored)
    if problem:
        raise InvalidInput(f"{admin['where']}password_hash", problem)
    return str(wanted)


def shown(text: str | None) -> dict[str, t.Any]:
    """A hash as a diff may hold it: the diff masks the password."""
    stored = passwords.parse_or_none(text or "")
    return {"scheme": stored and stored.scheme, "iterations": stored and stored.iterations, "password": text}


def by_node(
    names: t.Sequence[str],
    held: t.Mapping[str, t.Mapping[str, str]],
    first: t.Mapping[tuple[str, ...], str | None],
) -> dict[str, dict[str, t.Any]]:
    """What each node had and has of the admins: node → name → C(before) and C(after).

    ``held`` are the hashes of now, ``first`` by node and name those that were there before they changed.
    """
    told: dict[str, dict[str, t.Any]] = {}
    for node, admins in held.items():
        after = {name: _told(admins.get(name)) for name in names}
        told[node] = {name: {"before": after[name], "after": after[name]} for name in names}
    for (node, name), text in first.items():
        if node in told:
            told[node][name]["before"] = _told(text)
    return told


def _told(text: str | None) -> dict[str, t.Any] | None:
    """A hash as a result may hold it, None for no admin."""
    return None if text is None else {name: value for name, value in shown(text).items() if name != "password"}
