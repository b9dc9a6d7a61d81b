# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Databases, their security and limits: what couchdb_database declares, observes, plans and reports."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field, replace

from .._client.database import Database
from .._client.splits import Splitting
from .._engine.entries import add_once, entries
from .._engine.module import Resource
from .._engine.plan import Change, Method, Plan
from .._rules import databases as rules
from .._rules.databases import Wanted
from .._rules.dialect import Dialect
from .._rules.security import given_security, merged_security
from .._rules.shards import RESTS, Map, Member
from .._rules.splits import Split, turns
from .._rules.values import equal

_DATABASE: dict[str, t.Any] = {
    "state": {"type": "str", "choices": ["present", "absent"]},
    "shards": {"type": "int"},
    "replicas": {"type": "int"},
    "partitioned": {"type": "bool"},
    "security": {"type": "dict"},
    "revs_limit": {"type": "int"},
    "reshard": {"type": "bool"},
}

ARGUMENT_SPEC: dict[str, t.Any] = {
    "name": {"type": "list", "elements": "str", "aliases": ["names"]},
    **_DATABASE,
    "state": {**_DATABASE["state"], "default": "present"},
    "wait_timeout": {"type": "int", "default": 3600},
    "databases": {
        "type": "list",
        "elements": "dict",
        "options": {"name": {"type": "str", "required": True}, **_DATABASE},
    },
}


@dataclass(frozen=True)
class Observed:
    """The current state: name → database, as report() returns it, the server's dialect and its number of nodes.

    ``splits``: name of a database to split → its ranges and resharding jobs. ``maps`` and ``members`` are those of the cluster if
    there is something to split, and more than one node has it. ``security`` is the security object that the server gives a new database.
    """

    databases: dict[str, dict[str, t.Any]]
    dialect: Dialect
    nodes: int = 1
    splits: t.Mapping[str, Split] = field(default_factory=dict)
    maps: t.Mapping[str, Map] = field(default_factory=dict)
    members: t.Sequence[Member] = ()
    security: t.Mapping[str, t.Any] = field(default_factory=dict)


def desire(params: dict[str, t.Any]) -> dict[str, Wanted]:
    """The databases by name, checked. Raises InvalidInput for names and values that CouchDB refuses."""
    desired: dict[str, Wanted] = {}
    for given, where in entries(params, "databases", _DATABASE):
        security = given["security"] and given_security(given["security"], f"{where}security")
        for name in [given["name"]] if where else list(dict.fromkeys(given["name"])):
            wanted = rules.checked({**given, "name": name, "wait_timeout": params.get("wait_timeout", 3600)}, where)
            add_once(desired, name, replace(wanted, security=security), where)
    return desired


def observe(client: Splitting, desired: dict[str, Wanted]) -> Observed:
    """The current databases. Security and limits are read only if they are declared."""
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
    # The number of nodes is read only if it matters: for a database to create, or one with another number of copies.
    shards = {it.name: it.creation["shards"] for it in there if it.reshard}
    bounded = any(rules.copies_matter(wanted, found[wanted.name]) for wanted in present)
    nodes = len(client.membership()["cluster_nodes"]) if bounded else 1
    # The server's default is read only if it is compared with a declaration.
    secured = any(not found[it.name]["exists"] and it.security is not None for it in present)
    security = client.new_security() if secured else {}
    splits = client.splits(list(shards)) if shards else {}
    maps, members = client.split_service(splits.values(), shards.values()) if splits else ({}, [])
    return Observed(found, client.dialect, nodes, splits, maps, members, security)


def plan(desired: dict[str, Wanted], observed: Observed) -> Plan:
    """The databases to create, change and delete."""
    changes: list[Change] = []
    warnings: list[str] = []
    predicted: dict[str, dict[str, t.Any]] = {}
    splits: dict[str, int] = {}
    for name, wanted in desired.items():
        current = observed.databases[name]
        if not wanted.present:
            changes += [_deletion(current)] if current["exists"] else []
            predicted[name] = rules.record(name, None)
            continue
        if current["exists"]:
            found = observed.splits.get(name)
            warnings += rules.unchangeable(wanted, current, observed.nodes, found)
            database = current
            if found:
                splits[name] = wanted.creation["shards"]
                cluster = {**current["info"]["cluster"], "q": splits[name]}
                database = {**current, "info": {**current["info"], "cluster": cluster}}
        else:
            database = rules.created(wanted, observed.dialect, observed.nodes, observed.security)
            changes.append(_creation(wanted, database))
        adjusted = dict(database)
        for what, value, call, arguments in _adjustments(wanted, current, database):
            if not equal(value, database[what]):
                changes.append(
                    Change(
                        action="update",
                        what=what,
                        path=(name, what),
                        before=current[what],
                        after=value,
                        call=call,
                        arguments=arguments,
                        database=name,
                        stage=1,
                    )
                )
                adjusted[what] = value
        predicted[name] = adjusted
    split, left_serving = _splits(desired, observed, splits)
    # Another node of the cluster may give a new database another security object than the node that was read.
    again = any(change.action == "create" for change in changes)
    changes += split
    return Plan(tuple(changes), replace(observed, databases=predicted), (*warnings, *left_serving), again=again)


def report(desired: dict[str, Wanted], observed: Observed, changes: list[Change]) -> dict[str, t.Any]:
    """The databases in the order of their names in the task."""
    return {"databases": [observed.databases[name] for name in desired]}


def _deletion(current: rules.Record) -> Change:
    """The change that deletes a database."""
    name = current["name"]
    return Change(
        action="delete",
        what="database",
        path=(name,),
        before=rules.shown(current),
        after=None,
        call=Database.delete_database,
        database=name,
    )


def _splits(
    desired: dict[str, Wanted], observed: Observed, shards: t.Mapping[str, int]
) -> tuple[list[Change], list[str]]:
    """The changes that split databases, and warnings for those that must be split in service."""
    found = turns({name: observed.splits[name] for name in shards}, shards, observed.maps, observed.members)
    changes: list[Change] = []
    # After the others: a limit can't be set while a shard is split.
    stage = 2

    def add(what: str, path: tuple[str, ...], call: Method, arguments: dict[str, t.Any], **values: t.Any) -> None:
        fields = {"before": None, "after": None, **values}
        changes.append(
            Change(action="update", what=what, path=path, call=call, arguments=arguments, stage=stage, **fields)
        )

    def split(name: str, node: str | None = None) -> None:
        before = observed.databases[name]["info"]["cluster"]
        arguments = {"name": name, "shards": shards[name], "wait_timeout": desired[name].wait_timeout}
        if node is not None:
            arguments.update(node=node, databases=found.on[node])
        # A killed task may have split all, and left only a node to put back into service.
        shown = {"before": before, "after": {**before, "q": shards[name]}} if before["q"] != shards[name] else {}
        add("shards", (name, "cluster"), Splitting.split_shards, arguments, **shown)

    resting = {member.name for member in observed.members if member.in_maintenance}
    for node, names in found.nodes.items():
        there = {"node": node, "databases": found.on[node]}
        add("maintenance mode", (node,), Splitting.begin_splits, there)
        stage += 1
        for name in names:
            split(name, node)
        stage += 1
        longest = max(desired[name].wait_timeout for name in names)
        modes = {"before": RESTS, "after": "false"} if node in resting else {}
        arguments = {**there, "split": names, "wait_timeout": longest}
        add("service", (node, "maintenance_mode"), Splitting.end_splits, arguments, **modes)
        stage += 1
    for name in found.serving:
        split(name)
    warnings = [
        f"{name} is split in service, as {reason}. Until CouchDB has copied the last writes, reads can lack them"
        for name, reason in found.serving.items()
        if observed.members
    ]
    return changes, warnings


def _creation(wanted: Wanted, database: rules.Record) -> Change:
    """The change that creates ``database``."""
    return Change(
        action="create",
        what="database",
        path=(wanted.name,),
        before=None,
        after=rules.shown(database),
        call=Database.put,
        arguments={option: value for option, value in wanted.creation.items() if value is not None},
        database=wanted.name,
    )


def _adjustments(
    wanted: Wanted, current: rules.Record, database: rules.Record
) -> t.Iterator[tuple[str, t.Any, Method, dict[str, t.Any]]]:
    """What is to be set of ``database``, once it exists: its name, its value, the method that sets it and the arguments."""
    if wanted.security is not None:
        security = merged_security(database["security"], wanted.security)
        # What is read of an existing database right before it is written must be what was planned for.
        before = {"before": database["security"]} if current["exists"] else {}
        yield "security", security, Database.merge_security, {"given": wanted.security, **before}
    if wanted.revs_limit is not None:
        yield "revs_limit", wanted.revs_limit, Database.set_revs_limit, {"limit": wanted.revs_limit}


RESOURCE = Resource(
    desire,
    observe,
    report,
    plan,
    client=Splitting,
    options=ARGUMENT_SPEC,
    constraints={"mutually_exclusive": [("name", "databases")], "required_one_of": [("name", "databases")]},
)
