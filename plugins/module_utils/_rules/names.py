# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names: which ones CouchDB accepts for databases, admins, users, nodes, sections and keys; and values that JSON allows. Pure.

Names are checked before anything is sent, so that a task with one bad name changes nothing.
"""

from __future__ import annotations

import json
import re
import sys
import typing as t

from ..errors import InvalidInput

USER_PREFIX = "org.couchdb.user:"
"""The beginning of the id of a user's document."""

_DATABASE = re.compile(r"[a-z][a-z0-9_$()+/-]*\Z")
_SECTION = re.compile(r"[a-zA-Z0-9._-]+\Z")
_NODE = re.compile(r"[A-Za-z0-9_.+-]+@[A-Za-z0-9_.:-]+\Z")
_SYSTEM = frozenset(["_dbs", "_global_changes", "_metadata", "_nodes", "_replicator", "_users"])

_OF_EACH_NODE = frozenset(["_dbs", "_nodes"])

# The file of a database has its name with a timestamp and an extension of 17 characters.
_LONGEST_PART = 255
_LONGEST_LAST_PART = 238


def check_type(value: t.Any, kind: type | tuple[type, ...], option: str, instead: str) -> None:
    """Raise InvalidInput, naming ``option``, for a value of another Python type. It does not show the value, which may be secret.

    ``instead`` says what to use. A boolean is no number.
    """
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise InvalidInput(option, f"is of the type {type(value).__name__}. Use {instead}")


def check_string(value: t.Any, option: str) -> None:
    """Raise InvalidInput, naming ``option``, unless it is a string."""
    check_type(value, str, option, "a string")


def check_names(value: t.Any, option: str) -> None:
    """Raise InvalidInput, naming ``option``, unless it is a list of strings."""
    check_type(value, (list, tuple), option, "a list of names")
    for name in value:
        check_string(name, option)


def begins_database_name(string: str) -> bool:
    """Whether the name of a database can begin with this string."""
    return bool(_DATABASE.match(string))


def check_database_name(name: str, option: str = "name") -> None:
    """Raise InvalidInput unless CouchDB accepts the name for a database.

    https://docs.couchdb.org/en/stable/api/database/common.html#put--db
    """
    check_string(name, option)
    prefix, slash, last = name.rpartition("/")
    system = last in _SYSTEM and (not slash or bool(_DATABASE.match(prefix)))
    if not system and not _DATABASE.match(name):
        raise InvalidInput(
            option,
            f"{name!r} is not a database name. It must begin with a lowercase letter (a-z) and contain only "
            "lowercase letters, digits (0-9) and any of _ $ ( ) + - /",
        )
    if len(last) > _LONGEST_LAST_PART or any(len(part) > _LONGEST_PART for part in prefix.split("/")):
        raise InvalidInput(
            option, f"the database name {name[:20]}... is too long for a file name on the server. Use a shorter one"
        )


def check_admin_name(name: str, option: str = "name") -> None:
    """Raise InvalidInput unless CouchDB accepts the name for a server admin.

    The names are keys of the section C(admins) in an ini file.

    https://docs.couchdb.org/en/stable/config/auth.html#admins
    """
    check_string(name, option)
    problem = key_problem(name) or path_problem(name)
    if problem:
        raise InvalidInput(option, f"{name!r} can't be the name of a server admin: it {problem}")
    if ":" in name:
        raise InvalidInput(
            option, f"{name!r} can't be the name of a server admin: it contains a colon, which a login can't have"
        )


def check_user_name(name: str | None, option: str = "name") -> None:
    """Raise InvalidInput unless CouchDB accepts the name for a user.

    https://docs.couchdb.org/en/stable/intro/security.html#users-documents
    """
    if not name:
        raise InvalidInput(option, "is empty. Set the name of the user")
    check_json(name, option)
    if ":" in name or name.startswith("_"):
        raise InvalidInput(
            option, f"{name!r} contains a colon or begins with an underscore. CouchDB refuses both for users"
        )


def check_node_name(name: str, option: str = "nodes") -> None:
    """Raise InvalidInput unless a node of a cluster can have the name, such as couchdb@10.0.0.1.

    https://docs.couchdb.org/en/stable/setup/cluster.html#make-couchdb-use-correct-ip-fqdn-and-the-open-ports
    """
    if not _NODE.match(name) or name.startswith("_"):
        raise InvalidInput(option, f"{name!r} is not the name of a node. Use NAME@HOST, such as couchdb@10.0.0.1")
    if name == "nonode@nohost":
        raise InvalidInput(option, f"{name} is a node without a name. Set one before its first start")


def check_deletable(name: str, option: str) -> None:
    """Raise InvalidInput for the databases of a node, without which CouchDB finds no other database."""
    if name in _OF_EACH_NODE:
        raise InvalidInput(
            option, f"{name} holds what a node knows of all databases and members. CouchDB needs it: do not delete it"
        )


def check_json(value: t.Any, option: str, what: str = "") -> None:
    """Raise InvalidInput, naming ``option``, for a value that CouchDB cannot store as JSON.

    ``what`` names the value in the error, unless it is the option itself.
    """
    problem = json_problem(value)
    if problem:
        raise InvalidInput(option, f"{what} {problem}".lstrip())


_TOO_SMALL = 5e-324
"""The smallest number above 0 in Python. CouchDB 3.3.3 to 3.5.0 store it as 0.0, in this spelling."""


_MANY_DIGITS = re.compile(r"[0-9]{309}")

DEEPEST = 400
"""How deep lists and mappings may be nested: Ansible cannot pass on much deeper ones."""

_TOO_DEEP = f"contains lists or mappings nested deeper than {DEEPEST} levels"


def is_deeper(value: t.Any, levels: int) -> bool:
    """Whether lists and mappings are nested deeper than that."""
    nested = [value]
    for _level in range(levels + 1):
        nested = [each for each in nested if isinstance(each, (t.Mapping, list, tuple))]
        if not nested:
            return False
        nested = [inner for each in nested for inner in (each.values() if isinstance(each, t.Mapping) else each)]
    return True


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
        return _TOO_DEEP
    if is_deeper(value, DEEPEST):
        return _TOO_DEEP
    if _MANY_DIGITS.search(text) and any(abs(number) > sys.float_info.max for number in _numbers(value)):
        return "contains a whole number of more than 308 digits, which CouchDB can't store"
    if str(_TOO_SMALL) in text and any(number in (_TOO_SMALL, -_TOO_SMALL) for number in _numbers(value)):
        return f"contains the number {_TOO_SMALL}, which CouchDB stores as 0.0. Use 0"
    return None


def _numbers(value: t.Any) -> t.Iterator[float | int]:
    waiting = [value]
    while waiting:
        inner = waiting.pop()
        if isinstance(inner, t.Mapping):
            waiting += inner.values()
        elif isinstance(inner, (list, tuple)):
            waiting += inner
        elif isinstance(inner, (int, float)):
            yield inner


def path_problem(name: str) -> str | None:
    """Why the path of a URL can't contain this name, None if it can."""
    return "is a step in the path of a URL" if name in (".", "..") else None


def key_problem(name: str) -> str | None:
    """Why CouchDB's ini files can't have a key with this name, None if they can."""
    if not name:
        return "is empty"
    if name != name.strip(" \t"):
        return "begins or ends with a space"
    if "[" in name or "]" in name:
        return "contains a bracket"
    problem = text_problem(name) or end_problem(name)
    if problem:
        return problem
    if name.startswith(";") or " ;" in name or "\t;" in name:
        return "contains a semicolon at its beginning or after a space, where CouchDB reads a comment when it starts"
    if " = " in f"{name} ":
        return "contains an equals sign between spaces, where CouchDB cuts it when it starts"
    return None


def section_problem(name: str) -> str | None:
    """Why CouchDB's ini files can't have a section with this name, None if they can.

    CouchDB accepts more over HTTP, but does not find such a section again when it writes its file,
    and puts keys into the wrong one.
    """
    if not name:
        return "is empty"
    if not _SECTION.match(name):
        return "contains something else than letters, digits and any of . _ -"
    return None


def end_problem(text: str) -> str | None:
    """Why CouchDB stores a value or a key of a setting without its last byte, None if it does not.

    It trims bytes, not characters: a UTF-8 string that ends with the byte A0 seems to end with a space of Latin-1.
    """
    if text.encode("utf-8", "replace").endswith(b"\xa0"):
        return f"ends with {text[-1]!r}, of which CouchDB cuts the last byte. End it with another character"
    return None


def text_problem(text: str) -> str | None:
    """Why CouchDB refuses a string in its settings, None if it accepts it.

    It checks each byte of the UTF-8 string as if it were a Latin-1 character, and accepts tabs and visible
    characters.
    """
    for character in text:
        if character > "\xff":
            return f"contains {character!r}, which Latin-1 does not have"
        for byte in character.encode():
            if (byte < 0x20 and byte != 0x09) or 0x7F <= byte < 0xA0:
                kind = "a line end" if character in "\r\n" else f"{character!r}"
                return f"contains {kind}, which CouchDB refuses in its settings"
    return None


def shard_database(shard: str) -> str:
    """The database that a shard such as C(shards/00000000-7fffffff/orders.1700000000) belongs to; other names stay as they are."""
    if not shard.startswith("shards/"):
        return shard
    return shard.split("/", 2)[2].rpartition(".")[0]
