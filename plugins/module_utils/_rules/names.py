# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which names CouchDB takes, for databases, server admins, sections and keys, and which values JSON can hold. Pure.

A name is checked here before anything is sent, so that a task with one bad name changes nothing.
"""

from __future__ import annotations

import json
import re
import typing as t

from ..errors import InvalidInput

_DATABASE = re.compile(r"[a-z][a-z0-9_$()+/-]*\Z")
_SECTION = re.compile(r"[a-zA-Z0-9._-]+\Z")
_NODE = re.compile(r"[A-Za-z0-9_.+-]+@[A-Za-z0-9_.:-]+\Z")
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
    problem = key_problem(name)
    if problem:
        raise InvalidInput(option, f"{name!r} can't be the name of a server admin: it {problem}")
    if ":" in name:
        raise InvalidInput(option, f"{name!r} can't be the name of a server admin: with a colon it could not log in")


def check_user_name(name: str | None, option: str = "name") -> None:
    """Raise InvalidInput unless the name is one that CouchDB takes for a user.

    https://docs.couchdb.org/en/stable/intro/security.html#users-documents
    """
    if not name:
        raise InvalidInput(option, "is empty")
    check_json(name, option)
    if ":" in name or name.startswith("_"):
        raise InvalidInput(
            option, f"{name!r} holds a colon or begins with an underscore, which CouchDB refuses for users"
        )


def check_node_name(name: str, option: str = "nodes") -> None:
    """Raise InvalidInput unless the name can be a node's in a cluster, such as couchdb@10.0.0.1.

    https://docs.couchdb.org/en/stable/setup/cluster.html#make-couchdb-use-correct-ip-fqdn-and-the-open-ports
    """
    if not _NODE.match(name) or name.startswith("_"):
        raise InvalidInput(
            option, f"{name!r} is no node's name: that is a name and a host with @ between, such as couchdb@10.0.0.1"
        )
    if name == "nonode@nohost":
        raise InvalidInput(option, f"{name} is a node without a name: set one before its first start")


def check_json(value: t.Any, option: str, what: str = "") -> None:
    """Raise InvalidInput, naming ``option``, for a value that CouchDB cannot store as JSON.

    ``what`` names the value in the error, unless it is that of the option.
    """
    problem = json_problem(value)
    if problem:
        raise InvalidInput(option, f"{what} {problem}".lstrip())


_TOO_SMALL = 5e-324
"""The smallest number above 0 that Python has. CouchDB 3.3.3 to 3.5.0 store it as 0.0, in this spelling."""


def json_problem(value: t.Any) -> str | None:
    """Why CouchDB cannot store a value as JSON, None if it can."""
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
        text.encode()
    except UnicodeEncodeError:
        return "contains half of a surrogate pair, which is not a character"
    except (TypeError, ValueError):
        return "contains something that JSON cannot express, such as NaN or Infinity"
    except RecursionError:
        return "contains lists or mappings nested deeper than can be sent"
    if str(_TOO_SMALL) in text and any(number in (_TOO_SMALL, -_TOO_SMALL) for number in _numbers(value)):
        return f"contains the number {_TOO_SMALL}, which CouchDB stores as 0.0. Use 0"
    return None


def _numbers(value: t.Any) -> t.Iterator[float]:
    waiting = [value]
    while waiting:
        held = waiting.pop()
        if isinstance(held, t.Mapping):
            waiting += held.values()
        elif isinstance(held, (list, tuple)):
            waiting += held
        elif isinstance(held, float):
            yield held


def key_problem(name: str) -> str | None:
    """Why the name can't be kept as a key of CouchDB's ini files, or None when it can."""
    if not name:
        return "is empty"
    if name != name.strip(" \t"):
        return "begins or ends with a space"
    if "[" in name or "]" in name:
        return "holds a bracket"
    problem = text_problem(name) or end_problem(name)
    if problem:
        return problem
    if name.startswith(";") or " ;" in name or "\t;" in name:
        return "holds a semicolon at its beginning or after a space, where CouchDB reads a comment when it starts"
    if " = " in name:
        return "holds an equals sign between spaces, where CouchDB cuts it when it starts"
    return None


def section_problem(name: str) -> str | None:
    """Why the name can't be kept as a section of CouchDB's ini files, or None when it can.

    CouchDB takes more over HTTP, but does not find such a section again when it writes its file,
    and puts keys into the wrong one.
    """
    if not name:
        return "is empty"
    if not _SECTION.match(name):
        return "holds something else than letters, digits and any of . _ -"
    return None


def end_problem(text: str) -> str | None:
    """Why CouchDB stores a value or a key of a setting without its last byte, None if it does not.

    It trims bytes, not characters: a UTF-8 string that ends with the byte A0 seems to end with a space of Latin-1.
    """
    if text.encode("utf-8", "replace").endswith(b"\xa0"):
        return f"ends with {text[-1]!r}, of which CouchDB cuts the last byte. End it with another character"
    return None


def text_problem(text: str) -> str | None:
    """Why CouchDB refuses a text in its settings, or None when it takes it.

    It looks at each byte of the UTF-8 text as if it were a Latin-1 character, and takes tabs and what
    can be seen.
    """
    for character in text:
        if character > "\xff":
            return f"holds {character!r}, which can't be spelt in Latin-1"
        for byte in character.encode():
            if (byte < 0x20 and byte != 0x09) or 0x7F <= byte < 0xA0:
                kind = "a line end" if character in "\r\n" else f"{character!r}"
                return f"holds {kind}, which CouchDB refuses in its settings"
    return None


def shard_database(shard: str) -> str:
    """The database that a shard such as C(shards/00000000-7fffffff/orders.1700000000) belongs to; other names stay as they are."""
    if not shard.startswith("shards/"):
        return shard
    return shard.split("/", 2)[2].rpartition(".")[0]
