# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From a gathered declaration to the variables of the role, with each secret in a variable of its own. Pure."""

from __future__ import annotations

import re
import typing as t

from .declaration import PARTS
from .secrets import MASK, mask_document, mask_setting

PREFIX = "couchdb_"
VAULT_PREFIX = "vault_couchdb_"

_NAMING = ("name", "kid", "database", "ddoc")
"""The fields that name an entry of a list, in the name of the variable with its secret."""

_SECRET_FIELDS = {"admins": "password_hash", "users": "password_hash", "jwt_keys": "key"}
"""The field of the entries of a part that is a secret."""


class Reference(str):
    """The name of the variable that holds a secret, in its place."""


def variables(declared: t.Mapping[str, t.Any], login: str | None = None) -> tuple[dict[str, t.Any], dict[str, t.Any]]:
    """The variables of the role that declare a server, and those with the secrets that the first refer to.

    ``declared`` is the C(declaration) that couchdb_info returns, with secrets. ``login`` is the admin that the role logs in
    as, which the role declares by itself. Each part gets its variable, even if it is empty, so that nothing else in the
    inventory declares this part. Each secret becomes a Reference.
    """
    parts: dict[str, t.Any] = {part: declared.get(part) or ({} if part == "settings" else []) for part in PARTS}
    parts["admins"] = [entry for entry in parts["admins"] if entry["name"] != login]
    secrets: dict[str, t.Any] = {}
    plain = {PREFIX + part: _split(value, _masked(part, value), (part,), secrets) for part, value in parts.items()}
    if declared.get("members"):
        plain[f"{PREFIX}cluster_members"] = list(declared["members"])
    return plain, secrets


def _masked(part: str, value: t.Any) -> t.Any:
    """A part as couchdb_info returns it without secrets: each value that differs is a secret."""
    if part == "settings":
        return {
            section: {key: mask_setting(section, key, each) for key, each in keys.items()}
            for section, keys in value.items()
        }
    if part in _SECRET_FIELDS:
        return [
            {name: MASK if name == _SECRET_FIELDS[part] else mask_document(each) for name, each in entry.items()}
            for entry in value
        ]
    return mask_document(value) if part == "replications" else value


def _split(value: t.Any, masked: t.Any, path: tuple[str, ...], secrets: dict[str, t.Any]) -> t.Any:
    """The value with a Reference for each secret in it, which goes to ``secrets``."""
    if isinstance(value, dict) and isinstance(masked, dict):
        return {name: _split(each, masked[name], (*path, str(name)), secrets) for name, each in value.items()}
    if isinstance(value, list) and isinstance(masked, list):
        return [
            _split(item, hidden, (*path, *_called(item, number)), secrets)
            for number, (item, hidden) in enumerate(zip(value, masked), 1)
        ]
    if value == masked:
        return value
    name = _variable(path, secrets)
    secrets[name] = value
    return Reference(name)


def _called(item: t.Any, number: int) -> list[str]:
    named = [item[name] for name in _NAMING if isinstance(item.get(name), str)] if isinstance(item, dict) else []
    return named[:1] or [str(number)]


def _variable(path: t.Sequence[str], taken: t.Container[str]) -> str:
    """A unique name for a variable."""
    words = [re.sub(r"[^a-z0-9]+", "_", word.lower()).strip("_") for word in path]
    name = VAULT_PREFIX + "_".join(word for word in words if word)
    number = 1
    unique = name
    while unique in taken:
        number += 1
        unique = f"{name}_{number}"
    return unique
