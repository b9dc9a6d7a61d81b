# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A database as it is declared: what can be set when it is created, what later, what never. Pure.

https://docs.couchdb.org/en/stable/api/database/common.html
"""

from __future__ import annotations

import contextlib
import typing as t
from dataclasses import dataclass

from ..errors import InvalidInput
from .dialect import Dialect
from .names import check_database_name

RING = 2**32
"""How many values CouchDB's hash of document ids has, which the ranges of shards divide."""

_AT_CREATION = ("shards", "replicas", "partitioned")

Record = t.Dict[str, t.Any]
"""A database as couchdb_database returns it: name, exists, info, security and revs_limit."""


@dataclass(frozen=True)
class Wanted:
    """A database that is to be there, or not.

    ``creation`` are the options that only a new one takes. ``where`` stands before the names of the options in errors.
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
        """Have errors of an option say which database it is of."""
        try:
            yield
        except InvalidInput as error:
            problem = str(error)[len(error.option) + len(": ") :]
            raise InvalidInput(f"{self.where}{error.option}", problem) from None


def checked(given: t.Mapping[str, t.Any], where: str) -> Wanted:
    """What is given for a database, checked but for its security object. Raises InvalidInput."""
    check_database_name(given["name"], f"{where}name")
    for option in ("shards", "replicas", "revs_limit"):
        if given[option] is not None and given[option] < 1:
            raise InvalidInput(f"{where}{option}", f"is {given[option]}, and must be 1 or more")
    creation = {option: given[option] for option in _AT_CREATION}
    reshard = bool(given.get("reshard"))
    if reshard and given["shards"] is None:
        raise InvalidInput(f"{where}reshard", "needs shards, the number of shards to split to")
    timeout = given.get("wait_timeout", 3600)
    if timeout < 1:
        raise InvalidInput("wait_timeout", f"is {timeout}, and must be 1 or more")
    present = given["state"] == "present"
    return Wanted(given["name"], present, creation, None, given["revs_limit"], where, reshard, timeout)


def record(name: str, info: t.Mapping[str, t.Any] | None) -> Record:
    """A database of which nothing but this is known."""
    return {"name": name, "exists": info is not None, "info": info, "security": None, "revs_limit": None}


def unsplit(ranges: t.Iterable[str], shards: int) -> list[str]:
    """The ranges that must be split until there are so many shards; several times, if they are larger than twice that."""
    size = RING // shards
    return sorted(range_ for range_ in ranges if _size(range_) > size)


def _size(range_: str) -> int:
    first, _dash, last = range_.partition("-")
    return int(last, 16) - int(first, 16) + 1


def split_problem(current: int, shards: int) -> str | None:
    """Why a database can't be split from some number of shards to another; None if it can."""
    factor, left = divmod(shards, current)
    if left or factor < 1 or factor & (factor - 1):
        numbers = ", ".join(str(current * 2**power) for power in (1, 2, 3))
        return f"CouchDB can double the number of its shards only, to {numbers} and so on. Set one of these"
    return None


def copies_matter(wanted: Wanted, held: Record) -> bool:
    """Whether it takes the number of nodes to tell how many copies there can be: of a new one, or one that has others."""
    number = _copies(held)
    return number is None or wanted.creation["replicas"] not in (None, number)


def created(wanted: Wanted, dialect: Dialect, nodes: int, security: t.Mapping[str, t.Any]) -> Record:
    """The database that creating one makes, on so many nodes: what is declared and can be set later has its defaults.

    ``security`` is the security object that the server gives a new database.
    """
    return {
        "name": wanted.name,
        "exists": True,
        "info": dialect.new_database(wanted.name, nodes, **wanted.creation),
        "security": None if wanted.security is None else security,
        "revs_limit": None if wanted.revs_limit is None else dialect.new_revs_limit,
    }


def unchangeable(wanted: Wanted, held: Record, nodes: int) -> list[str]:
    """Raise InvalidInput where a database differs in what can't be changed, and give warnings for what it keeps."""
    name, info, given = wanted.name, held["info"], wanted.creation
    held_shards = info.get("cluster", {}).get("q")
    if given["shards"] is not None and held_shards != given["shards"]:
        problem = split_problem(held_shards, given["shards"]) if held_shards else "CouchDB 1.x has no shards"
        if problem:
            raise InvalidInput(f"{wanted.where}shards", f"{name} has {held_shards}. {problem}")
        if not wanted.reshard:
            raise InvalidInput(
                f"{wanted.where}shards",
                f"{name} has {held_shards}, and they can only be split. Set reshard to true for that, or shards to {held_shards}",
            )
    held_partitioned = bool(info.get("props", {}).get("partitioned"))
    if given["partitioned"] is not None and held_partitioned != given["partitioned"]:
        is_or_not = "is" if held_partitioned else "is not"
        raise InvalidInput(
            f"{wanted.where}partitioned",
            f"{name} {is_or_not} partitioned, and CouchDB can't change that after creation",
        )
    number = _copies(held)
    if None not in (given["replicas"], number) and number != min(given["replicas"], nodes):
        return [f"{name} keeps {number} copies of its shards: CouchDB doesn't change that number after creation"]
    return []


def _copies(database: Record) -> int | None:
    number: int | None = (database["info"] or {}).get("cluster", {}).get("n")
    return number


def shown(database: Record) -> dict[str, t.Any]:
    """A database as a diff shows it."""
    info = database["info"]
    return {name: info[name] for name in ("doc_count", "cluster", "props") if name in info}
