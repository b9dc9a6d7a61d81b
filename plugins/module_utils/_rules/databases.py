# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A declared database: which options can be set at its creation, later, and never. Pure.

https://docs.couchdb.org/en/stable/api/database/common.html
"""

from __future__ import annotations

import contextlib
import typing as t
from dataclasses import dataclass

from ..errors import InvalidInput
from .dialect import Dialect
from .names import check_database_name, check_deletable
from .splits import Split, new_ranges, split_problem

_AT_CREATION = ("shards", "replicas", "partitioned")

Record = t.Dict[str, t.Any]
"""A database as couchdb_database returns it: name, exists, info, security and revs_limit."""


@dataclass(frozen=True)
class Wanted:
    """A database that should exist, or not.

    ``creation`` has the options that only a new one takes. ``where`` is the prefix of the options' names in errors.
    """

    name: str
    present: bool
    creation: dict[str, t.Any]
    security: dict[str, dict[str, list[str]]] | None
    revs_limit: int | None
    where: str = ""
    reshard: bool = False
    wait_timeout: int = 3600

    @contextlib.contextmanager
    def named(self) -> t.Iterator[None]:
        """Add ``where`` to the option of an error."""
        try:
            yield
        except InvalidInput as error:
            problem = str(error)[len(error.option) + len(": ") :]
            raise InvalidInput(f"{self.where}{error.option}", problem) from None


def checked(given: t.Mapping[str, t.Any], where: str) -> Wanted:
    """The options of a database, checked but for its security object. Raises InvalidInput."""
    check_database_name(given["name"], f"{where}name")
    for option in ("shards", "replicas", "revs_limit"):
        if given[option] is not None and given[option] < 1:
            raise InvalidInput(f"{where}{option}", f"is {given[option]}. Set 1 or more")
    creation = {option: given[option] for option in _AT_CREATION}
    reshard = bool(given.get("reshard"))
    if reshard and given["shards"] is None:
        raise InvalidInput(f"{where}reshard", "needs shards, the number of shards to split to")
    timeout = given.get("wait_timeout", 3600)
    if timeout < 1:
        raise InvalidInput("wait_timeout", f"is {timeout}. Set 1 or more")
    present = given["state"] == "present"
    if not present:
        check_deletable(given["name"], f"{where}name")
    return Wanted(given["name"], present, creation, None, given["revs_limit"], where, reshard, timeout)


def record(name: str, info: t.Mapping[str, t.Any] | None) -> Record:
    """A database of which only its information is known."""
    return {"name": name, "exists": info is not None, "info": info, "security": None, "revs_limit": None}


def copies_matter(wanted: Wanted, current: Record) -> bool:
    """Whether the number of nodes decides something: the copies of a new database, or of one with another number."""
    number = _copies(current)
    return number is None or wanted.creation["replicas"] not in (None, number)


def created(wanted: Wanted, dialect: Dialect, nodes: int, security: t.Mapping[str, t.Any]) -> Record:
    """The database right after its creation, on so many nodes: declared options that can be set later have their defaults.

    ``security`` is the security object that the server gives a new database.
    """
    return {
        "name": wanted.name,
        "exists": True,
        "info": dialect.new_database(wanted.name, nodes, **wanted.creation),
        "security": None if wanted.security is None else security,
        "revs_limit": None if wanted.revs_limit is None else dialect.new_revs_limit,
    }


def unchangeable(wanted: Wanted, current: Record, nodes: int, split: Split | None = None) -> list[str]:
    """Raise InvalidInput if a database differs in what can't be changed. Return warnings for what it keeps.

    Without C(split), its ranges are taken to be those of a new one.
    """
    name, info, given = wanted.name, current["info"], wanted.creation
    current_shards = info.get("cluster", {}).get("q")
    if given["shards"] is not None and (split or current_shards != given["shards"]):
        problem: str | None = "CouchDB 1.x has no shards"
        if current_shards:
            problem = split_problem(split.ranges if split else new_ranges(current_shards), given["shards"])
        if problem:
            raise InvalidInput(f"{wanted.where}shards", f"{name} has {current_shards}. {problem}")
        if not wanted.reshard:
            raise InvalidInput(
                f"{wanted.where}shards",
                f"{name} has {current_shards}, and they can only be split. Set reshard to true for that, or shards to {current_shards}",
            )
    current_partitioned = bool(info.get("props", {}).get("partitioned"))
    if given["partitioned"] is not None and current_partitioned != given["partitioned"]:
        is_or_not = "is" if current_partitioned else "is not"
        raise InvalidInput(
            f"{wanted.where}partitioned",
            f"{name} {is_or_not} partitioned, and CouchDB can't change that after creation",
        )
    number = _copies(current)
    if given["replicas"] not in (None, number) and number not in (None, min(given["replicas"], nodes)):
        return [f"{name} keeps {number} copies of its shards: only couchdb_shards changes that number after creation"]
    return []


def _copies(database: Record) -> int | None:
    number: int | None = (database["info"] or {}).get("cluster", {}).get("n")
    return number


def shown(database: Record) -> dict[str, t.Any]:
    """A database as a diff shows it."""
    info = database["info"]
    return {name: info[name] for name in ("doc_count", "cluster", "props") if name in info}
