# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Databases, who may use them, and their limits: what couchdb_database declares, finds, changes and tells."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, replace

from .._client.databases import Databases
from .._engine.module import Resource
from .._engine.plan import Change, Plan
from .._rules import databases as rules
from .._rules.databases import Wanted
from .._rules.dialect import Dialect
from .._rules.security import given_security, merged_security
from ..errors import InvalidInput

_DATABASE: dict[str, t.Any] = {
    "state": {"type": "str", "choices": ["present", "absent"]},
    "shards": {"type": "int"},
    "replicas": {"type": "int"},
    "partitioned": {"type": "bool"},
    "security": {"type": "dict"},
    "revs_limit": {"type": "int"},
}

ARGUMENT_SPEC: dict[str, t.Any] = {
    "name": {"type": "list", "elements": "str", "aliases": ["names"]},
    **_DATABASE,
    "state": {**_DATABASE["state"], "default": "present"},
    "databases": {
        "type": "list",
        "elements": "dict",
        "options": {"name": {"type": "str", "required": True}, **_DATABASE},
    },
}


@dataclass(frozen=True)
class Observed:
    """What there is: name → database, as report() gives it, the server's dialect and its number of nodes."""

    databases: dict[str, dict[str, t.Any]]
    dialect: Dialect
    nodes: int = 1


def desire(params: dict[str, t.Any]) -> dict[str, Wanted]:
    """The databases by name, checked. Raises InvalidInput for names and values that CouchDB doesn't take."""
    desired: dict[str, Wanted] = {}
    for given, where in _given(params):
        wanted = rules.wanted(given, where)
        if where and wanted.name in desired:
            raise InvalidInput(f"{where}name", f"{wanted.name} is there twice")
        if given["security"] is not None:
            wanted = replace(wanted, security=given_security(given["security"], f"{where}security"))
        desired[wanted.name] = wanted
    return desired


def observe(client: Databases, desired: dict[str, Wanted]) -> Observed:
    """The databases as they are. Security and limits are read only where they are declared."""
    present = [wanted for wanted in desired.values() if wanted.present]
    for wanted in present:
        with wanted.named():
            client.dialect.check_databases([wanted.name], revs_limit=wanted.revs_limit, **wanted.creation)
    found = {name: rules.record(name, info) for name, info in client.dbs_info(list(desired)).items()}
    there = [wanted for wanted in present if found[wanted.name]["exists"]]
    for name, security in client.securities([it.name for it in there if it.security is not None]).items():
        found[name]["security"] = security
    for name, limit in client.revs_limits([it.name for it in there if it.revs_limit is not None]).items():
        found[name]["revs_limit"] = limit
    # How many copies there can be is asked only where that matters: of what is to be created, or has others than wanted.
    bounded = any(rules.copies_matter(wanted, found[wanted.name]) for wanted in present)
    return Observed(found, client.dialect, len(client.membership()["cluster_nodes"]) if bounded else 1)


def plan(desired: dict[str, Wanted], observed: Observed) -> Plan:
    """Which databases must be created, changed, deleted."""
    changes: list[Change] = []
    warnings: list[str] = []
    predicted: dict[str, dict[str, t.Any]] = {}
    for name, wanted in desired.items():
        held = observed.databases[name]
        predicted[name] = database = dict(held) if wanted.present else rules.record(name, None)
        if not wanted.present:
            changes += rules.deletion(held)
            continue
        if held["exists"]:
            warnings += rules.unchangeable(wanted, held, observed.nodes)
        else:
            changes.append(rules.creation(wanted, database, observed.dialect, observed.nodes))
        if wanted.security is not None:
            merged = merged_security(database["security"], wanted.security)
            changes += rules.adjustment("security", held, database, merged, "merge_security", given=wanted.security)
        if wanted.revs_limit is not None:
            limit = wanted.revs_limit
            changes += rules.adjustment("revs_limit", held, database, limit, "set_revs_limit", limit=limit)
    return Plan(tuple(changes), replace(observed, databases=predicted), tuple(warnings))


def report(desired: dict[str, Wanted], observed: Observed, changes: list[Change]) -> dict[str, t.Any]:
    """The databases in the order of their names in the task."""
    return {"databases": [observed.databases[name] for name in desired]}


def _given(params: dict[str, t.Any]) -> t.Iterator[tuple[dict[str, t.Any], str]]:
    """What is given for each database, the task's options where it has none of its own, and what errors call it."""
    common = {option: params[option] for option in _DATABASE}
    if params["databases"] is None:
        yield from (({**common, "name": name}, "") for name in params["name"])
    for number, given in enumerate(params["databases"] or []):
        own = {option: value for option, value in given.items() if value is not None}
        yield {**common, **own}, f"databases[{number}]."


RESOURCE = Resource(
    desire,
    observe,
    report,
    plan,
    client=Databases,
    options=ARGUMENT_SPEC,
    constraints={"mutually_exclusive": [("name", "databases")], "required_one_of": [("name", "databases")]},
)
