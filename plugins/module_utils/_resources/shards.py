# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The placement of shards: what couchdb_shards declares, observes, plans and reports."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, replace

from .._client.moves import Moving
from .._engine.module import Resource
from .._engine.plan import Change, Plan
from .._rules import moves as rules
from .._rules.moves import Wanted
from .._rules.names import check_database_name, check_node_name
from ..errors import InvalidInput
from ._moves import Move, Observed, begun, changes_of, looked_at_closely, moved, placed, warnings

ARGUMENT_SPEC: dict[str, t.Any] = {
    "databases": {"type": "list", "elements": "str"},
    "members": {"type": "list", "elements": "str"},
    "copies": {"type": "int"},
    "placement": {"type": "dict"},
    "state": {"type": "str", "choices": ["balanced", "placed"], "default": "balanced"},
    "max_parallel": {"type": "int", "default": 4},
    "wait": {"type": "bool", "default": True},
    "wait_timeout": {"type": "int", "default": 3600},
}


@dataclass(frozen=True)
class Desired:
    """The options, checked. C(databases) and C(members) are None for all."""

    databases: list[str] | None
    members: list[str] | None
    copies: int | None
    placement: dict[str, int] | None
    balance: bool
    max_parallel: int
    wait_timeout: int
    wait: bool = True


def desire(params: dict[str, t.Any]) -> Desired:
    """The options, checked. Raises InvalidInput."""
    for name in params["databases"] or []:
        check_database_name(name, "databases")
        if name in ("_dbs", "_nodes"):
            raise InvalidInput("databases", f"{name} is on every node, without a shard map. Remove it from the list")
    for name in params["members"] or []:
        check_node_name(name, "members")
    for option in ("databases", "members"):
        if params[option] == []:
            raise InvalidInput(option, "is empty. Name at least one, or remove the option")
    for option in ("copies", "max_parallel", "wait_timeout"):
        if params[option] is not None and params[option] < 1:
            raise InvalidInput(option, f"is {params[option]}. Set 1 or more")
    placement = params["placement"]
    return Desired(
        databases=params["databases"] and list(dict.fromkeys(params["databases"])),
        members=params["members"] and list(dict.fromkeys(params["members"])),
        copies=params["copies"],
        placement=None if placement is None else rules.checked_placement(placement, params["copies"]),
        balance=params["state"] == "balanced",
        max_parallel=params["max_parallel"],
        wait_timeout=params["wait_timeout"],
        wait=params["wait"],
    )


def observe(client: Moving, desired: Desired) -> Observed:
    """Where the copies are, with more details of those that move."""
    client.dialect.check_cluster()
    maps, members = client.shard_maps(), client.shard_members()
    observed = Observed(maps, members, client.leftovers(maps, members))
    move = _move(desired, observed)
    return observed if move is None else looked_at_closely(client, observed, move)


def plan(desired: Desired, observed: Observed) -> Plan:
    """The copies that must be made and removed. A placement that the members can't have is unmet: an earlier task may add members."""
    move = _move(desired, observed)
    unmet = _unmet(desired, observed, move)
    if move is None or unmet is not None:
        return Plan(predicted=observed, unmet=unmet)
    changes, maps, blocked = changes_of(observed, move)
    if not desired.wait:
        changes, later = begun(changes, observed)
        if later:
            return Plan(tuple(changes), observed, warnings=warnings(changes, observed))
    return Plan(
        tuple(changes),
        replace(observed, maps=maps, leftovers=[]),
        warnings=warnings(changes, observed),
        shortfall=blocked,
    )


def _unmet(desired: Desired, observed: Observed, move: Move | None) -> InvalidInput | None:
    """What must be there before copies can be placed: databases, and members with their zones."""
    names = [member.name for member in observed.members]
    unknown = [name for name in desired.members or [] if name not in names]
    if unknown:
        return InvalidInput(
            "members",
            f"{', '.join(unknown)}: not in the cluster. Add it with couchdb_cluster, or name one of {', '.join(names)}",
        )
    if move is None:
        missing = ", ".join(name for name in desired.databases or [] if name not in observed.maps)
        return InvalidInput("databases", f"{missing}: no such database. Create it, or remove it from the list")
    try:
        rules.check_wanted(move.wanted, observed.members, [observed.maps[name] for name in move.databases])
    except InvalidInput as error:
        return error
    return None


def report(desired: Desired, observed: Observed, changes: list[Change]) -> dict[str, t.Any]:
    """Where the copies are, and those that were made."""
    names = [name for name in observed.maps if desired.databases is None or name in desired.databases]
    made = moved(changes, observed.sizes)
    move = _move(desired, observed)
    later: list[str] = []
    if not desired.wait and move is not None and _unmet(desired, observed, move) is None:
        left, _maps, _blocked = changes_of(observed, move)
        later = begun(left, observed)[1] or [str(change) for change in left]
    return {
        "databases": [placed(observed.maps[name]) for name in names],
        "moved": made,
        "documents": sum(row["documents"] for row in made),
        "bytes": sum(row["bytes"] for row in made),
        "in_progress": bool(later),
        "waiting_for": later,
    }


def _move(desired: Desired, observed: Observed) -> Move | None:
    """What is to be moved; None if a database that the task names does not exist."""
    names = list(observed.maps) if desired.databases is None else desired.databases
    if any(name not in observed.maps for name in names):
        return None
    members = frozenset(desired.members or [member.name for member in observed.members])
    wanted = Wanted(members, desired.copies, desired.placement, balance=desired.balance)
    return Move(names, wanted, desired.max_parallel, desired.wait_timeout, wait=desired.wait)


RESOURCE = Resource(desire, observe, report, plan, client=Moving, options=ARGUMENT_SPEC)
