# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Mango indexes: what couchdb_index declares, observes, plans and reports."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, replace

from .._client.indexes import IndexedDatabase, Indexes
from .._engine.entries import entries
from .._engine.module import Resource
from .._engine.plan import Change, Plan, missing_databases
from .._rules import indexes as rules
from .._rules.dialect import Dialect
from .._rules.indexes import Design, Index, Wanted
from .._rules.names import check_database_name
from ..errors import InvalidInput

_INDEX: dict[str, t.Any] = {
    "name": {"type": "str"},
    "ddoc": {"type": "str"},
    "fields": {"type": "list", "elements": "raw"},
    "selector": {"type": "dict"},
    "type": {"type": "str", "choices": ["json", "text", "nouveau"]},
    "partitioned": {"type": "bool"},
    "default_analyzer": {"type": "raw"},
    "default_field": {"type": "dict", "options": {"enabled": {"type": "bool"}, "analyzer": {"type": "str"}}},
    "index_array_lengths": {"type": "bool"},
}
_COMMON: dict[str, t.Any] = {
    "database": {"type": "str"},
    "state": {"type": "str", "choices": ["present", "absent"]},
}

ARGUMENT_SPEC: dict[str, t.Any] = {
    **_INDEX,
    **_COMMON,
    "state": {**_COMMON["state"], "default": "present"},
    "indexes": {"type": "list", "elements": "dict", "options": {**_INDEX, **_COMMON}},
}


@dataclass(frozen=True)
class Observed:
    """The current state: database → its indexes, its design documents, and whether it is partitioned, if that matters.

    ``missing`` has the databases that must exist and don't.
    """

    indexes: dict[str, list[Index]]
    designs: dict[str, dict[str, Design]]
    partitioned: dict[str, bool]
    missing: list[str]
    dialect: Dialect
    features: list[str]


def desire(params: dict[str, t.Any]) -> list[Wanted]:
    """The indexes, checked. Raises InvalidInput for those that CouchDB refuses, and for duplicates."""
    desired: list[Wanted] = []
    for index, where in entries(params, "indexes", _COMMON):
        if index["database"] is None:
            raise InvalidInput(f"{where}database", "is missing. Set it here or for the task")
        check_database_name(index["database"], f"{where}database")
        desired.append(rules.wanted(index, where))
    rules.check_once(desired)
    return desired


def observe(client: Indexes, desired: list[Wanted]) -> Observed:
    """The current indexes. Whether a database is partitioned is read only if it matters and is unknown."""
    client.dialect.check_indexes()
    wanted: dict[str, list[str]] = {item.database: [] for item in desired}
    for item in desired:
        wanted[item.database] += [item.ddoc] if item.ddoc else []
    documents = client.design_documents(wanted)
    indexes = {name: rules.existing(designs or []) for name, designs in documents.items()}
    infos = client.dbs_info(rules.undecided(desired, indexes))
    partitioned = {name: bool(info.get("props", {}).get("partitioned")) for name, info in infos.items() if info}
    return Observed(
        {name: rules.existing(designs or [], partitioned.get(name)) for name, designs in documents.items()},
        {name: rules.designs(designs or []) for name, designs in documents.items()},
        partitioned,
        [item.database for item in desired if item.present and documents[item.database] is None],
        client.dialect,
        client.welcome().get("features", []),
    )


def plan(desired: list[Wanted], observed: Observed) -> Plan:
    """The indexes to create, change and remove; new ones first."""
    written: list[Change] = []
    removed: list[Change] = []
    indexes = {database: list(there) for database, there in observed.indexes.items()}
    designs = {database: dict(there) for database, there in observed.designs.items()}
    predicted = replace(observed, indexes=indexes, designs=designs, missing=[])
    for item, matched in zip(desired, rules.claimed(desired, observed.indexes)):
        for before, after in rules.steps(item, matched):
            if before is not None:
                indexes[item.database].remove(before)
            if after is not None:
                written.append(_writing(item, before, after, predicted))
                indexes[item.database].append(after)
                if after.ddoc:
                    designs[item.database].setdefault(after.ddoc, Design(rules.MANGO, item.partitioned))
            elif before is not None:
                removed.append(_removal(item, before))
    changes = (*_in_turn(written, 0), *_in_turn(removed, len(written)))
    # A deleted design document may have had a conflicting revision, which becomes the document.
    return Plan(changes, predicted, unmet=missing_databases(observed.missing), again=bool(removed))


def report(desired: list[Wanted], observed: Observed, changes: list[Change]) -> dict[str, list[dict[str, t.Any]]]:
    """The indexes in the order of the task."""
    found = zip(desired, rules.claimed(desired, observed.indexes))
    return {"indexes": [rules.shown(item, matched) for item, matched in found]}


def _writing(item: Wanted, before: Index | None, after: Index, there: Observed) -> Change:
    """The change that creates or replaces an index. Raises InvalidInput if this server or database can't have it."""
    design = there.designs[item.database].get(after.ddoc or "")
    rules.check_place(item, after, design, there.partitioned.get(item.database))
    # CouchDB refuses an index whose options differ from those of the design document.
    partitioned = design.partitioned if design else item.partitioned
    named = {"ddoc": after.ddoc, "name": after.name, "partitioned": partitioned}
    index = {"index": item.sent, "type": after.type, **{name: said for name, said in named.items() if said is not None}}
    problem = there.dialect.index_problem(index, there.features)
    if problem:
        raise InvalidInput(f"{item.where}{problem[0]}", problem[1])
    shown = None if before is None else before.shown()
    return Change(
        action="create" if before is None else "update",
        what="index",
        path=item.path(after),
        before=shown,
        after=after.shown(),
        call=IndexedDatabase.put_index,
        arguments={"index": index},
        database=item.database,
    )


def _removal(item: Wanted, index: Index) -> Change:
    return Change(
        action="delete",
        what="index",
        path=item.path(index),
        before=index.shown(),
        after=None,
        call=IndexedDatabase.remove_index,
        arguments={"ddoc": index.ddoc, "name": index.name, "kind": index.type},
        database=item.database,
    )


def _in_turn(changes: list[Change], first: int) -> list[Change]:
    """The changes with stages from ``first`` on: those of one design document one after the other."""
    before: dict[tuple[str | None, str], int] = {}
    staged = []
    for change in changes:
        place = (change.database, change.arguments.get("index", change.arguments).get("ddoc", ""))
        number = before.get(place, 0) if place[1] else 0
        before[place] = number + 1
        staged.append(replace(change, stage=first + number))
    return staged


RESOURCE = Resource(
    desire,
    observe,
    report,
    plan,
    client=Indexes,
    options=ARGUMENT_SPEC,
    constraints={"mutually_exclusive": [(name, "indexes") for name in _INDEX]},
)
