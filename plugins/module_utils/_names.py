# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which names CouchDB takes, for databases and server admins. Pure.

A name is checked here before anything is sent, so that a task with one bad name changes nothing.
"""

from __future__ import annotations

import re

from .errors import InvalidInput

_DATABASE = re.compile(r"[a-z][a-z0-9_$()+/-]*\Z")
_SYSTEM = frozenset(["_dbs", "_global_changes", "_metadata", "_nodes", "_replicator", "_users"])

# A database lies in a file whose name adds a timestamp and an ending of 17 characters.
_LONGEST_PART = 255
_LONGEST_LAST_PART = 238


def check_database_name(name: str, option: str = "name") -> None:
    """Raise InvalidInput unless the name is one that CouchDB takes for a database.

    https://docs.couchdb.org/en/stable/api/database/common.html#put--db
    """
    prefix, slash, last = name.rpartition("/")
    system = last in _SYSTEM and (not slash or bool(_DATABASE.match(prefix)))
    if not system and not _DATABASE.match(name):
        raise InvalidInput(
            option,
            f"{name!r} is no database name: it must begin with a lowercase letter (a-z) and hold only "
            "lowercase letters, digits (0-9) and any of _ $ ( ) + - /",
        )
    if len(last) > _LONGEST_LAST_PART or any(len(part) > _LONGEST_PART for part in prefix.split("/")):
        raise InvalidInput(option, f"the database name {name[:20]}... is too long for a file name on the server")


def check_admin_name(name: str, option: str = "name") -> None:
    """Raise InvalidInput unless the name is one that CouchDB can hold for a server admin.

    The names are keys of the section C(admins) in an ini file.

    https://docs.couchdb.org/en/stable/config/auth.html#admins
    """
    if not name:
        raise InvalidInput(option, "is empty")
    problem = key_problem(name)
    if problem:
        raise InvalidInput(option, f"{name!r} can't be the name of a server admin: it {problem}")


def key_problem(name: str) -> str | None:
    """Why a key of the settings can't be kept in the server's ini file, or None when it can."""
    if name != name.strip():
        return "begins or ends with a space"
    if re.search(r"[\x00-\x1f\x7f-\x9f\[\]]", name):
        return "holds a bracket or a control character"
    if name.startswith(";"):
        return "begins with a semicolon, which makes it a comment"
    if " = " in name:
        return "holds an equals sign between spaces, where CouchDB would cut it"
    return None
