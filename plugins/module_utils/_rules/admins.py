# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A declared server admin: the hash that every node should have. Pure.

https://docs.couchdb.org/en/stable/config/auth.html#server-administrators
"""

from __future__ import annotations

import typing as t

from ..errors import InvalidInput
from . import passwords
from .dialect import Dialect


def wanted_hash(
    admin: t.Mapping[str, t.Any],
    current: t.Mapping[str, t.Mapping[str, str]],
    hashing: t.Mapping[str, t.Any],
    dialect: Dialect,
) -> str | None:
    """The hash that every node should have, None for no admin. ``current`` has the current ones by node and name.

    Raises InvalidInput for a prepared hash that the server should not get.
    """
    if admin["state"] == "absent":
        return None
    strings = list(dict.fromkeys(admins[admin["name"]] for admins in current.values() if admin["name"] in admins))
    if strings and admin["update_password"] == "on_create":
        return strings[0]
    stored = list(filter(None, map(passwords.parse_or_none, strings)))
    wanted = passwords.settle(stored, admin["password"], admin["password_hash"], hashing, admin["salt"])
    problem = dialect.hash_problem(wanted, stored)
    if problem:
        raise InvalidInput(f"{admin['where']}password_hash", problem)
    return str(wanted)


def shown(string: str | None) -> dict[str, t.Any]:
    """A hash as a diff shows it: the diff masks the password."""
    stored = passwords.parse_or_none(string or "")
    return {"scheme": stored and stored.scheme, "iterations": stored and stored.iterations, "password": string}


def by_node(
    names: t.Sequence[str],
    current: t.Mapping[str, t.Mapping[str, str]],
    first: t.Mapping[tuple[str, ...], str | None],
) -> dict[str, dict[str, t.Any]]:
    """The admins of each node: node → name → C(before) and C(after).

    ``current`` has the current hashes, ``first`` those before they changed, by node and name.
    """
    nodes: dict[str, dict[str, t.Any]] = {}
    for node, admins in current.items():
        after = {name: _reported(admins.get(name)) for name in names}
        nodes[node] = {name: {"before": after[name], "after": after[name]} for name in names}
    for (node, name), string in first.items():
        if node in nodes:
            nodes[node][name]["before"] = _reported(string)
    return nodes


def _reported(string: str | None) -> dict[str, t.Any] | None:
    """A hash as a result shows it, None for no admin."""
    return None if string is None else {name: value for name, value in shown(string).items() if name != "password"}
