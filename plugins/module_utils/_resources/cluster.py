# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The members of a cluster: what couchdb_cluster declares, finds, changes and tells."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field, replace

from .._client.moves import Moving
from .._engine.module import Resource
from .._engine.plan import Change, Plan
from .._rules import cluster as rules
from .._rules import moves as move_rules
from .._rules import shards as shard_rules
from .._rules.cluster import COPIES, Member, Server, given_members
from .._rules.secrets import mask_url, url_secrets
from ..errors import CouchDBError, InvalidInput, NotConnected, listed
from . import _moves as placement

ARGUMENT_SPEC: dict[str, t.Any] = {
    "members": {"type": "list", "elements": "raw", "required": True},
    "exclusive": {"type": "bool", "default": False},
    "system_databases": {
        "type": "list",
        "elements": "str",
        "choices": ["_users", "_replicator", "_global_changes"],
        "default": ["_users", "_replicator"],
    },
    "drain": {"type": "bool", "default": False},
    "rebalance": {"type": "bool", "default": False},
    "replace": {"type": "dict"},
    "in_sync": {"type": "bool", "default": False},
    "force": {"type": "bool", "default": False},
    "wait": {"type": "bool", "default": True},
    "wait_timeout": {"type": "int", "default": 60},
}

# What must be done before what. Who leaves has handed over its shards, and goes before databases are created, as CouchDB would place copies on it.
JOIN = 0
ZONE = 1
MOVE = 2
# Moves take as many stages as they need.
LEAVE = 1_000_000
SET = LEAVE + 1
CREATE = LEAVE + 2


@dataclass(frozen=True)
class Desired:
    """The options, checked. ``wait_timeout`` is in seconds, None when nothing is waited for."""

    members: list[Member]
    exclusive: bool
    force: bool
    system_databases: list[str]
    wait_timeout: int | None
    drain: bool = False
    rebalance: bool = False
    replaced: dict[str, str] = field(default_factory=dict)
    in_sync: bool = False
    limit: int = 60

    @property
    def moves(self) -> bool:
        """Whether shards may move."""
        return self.drain or self.rebalance or bool(self.replaced)

    @property
    def names(self) -> list[str]:
        """The names of the members."""
        return [member.name for member in self.members]

    @property
    def urls(self) -> list[str]:
        """The addresses that the members have."""
        return [member.url for member in self.members if member.url]


@dataclass(frozen=True)
class Observed:
    """What there is: the answering node, who is a member and who is connected as it knows, and what all others tell.

    ``found``: name of a member → what answered at its address, or the error. ``copies``: system database → how many
    copies of each shard it has, None when it isn't there. ``zones``: name of a member → its zone. ``placed``: where the shards are, if
    they may move.
    """

    server: Server
    members: list[str]
    connected: list[str]
    found: dict[str, Server | CouchDBError] = field(default_factory=dict)
    zones: t.Mapping[str, str] = field(default_factory=dict)
    placed: placement.Observed | None = None
    copies: t.Mapping[str, int | None] = field(default_factory=dict)


def desire(params: dict[str, t.Any]) -> Desired:
    """The options, checked. Raises InvalidInput for names that no node can have, twice the same, and timeouts below 1."""
    if params["wait_timeout"] < 1:
        raise InvalidInput("wait_timeout", f"is {params['wait_timeout']}, and must be 1 or more")
    members = given_members(params["members"])
    for option in ("drain", "rebalance", "replace", "in_sync"):
        if params[option] and not params["wait"]:
            raise InvalidInput("wait", f"must be true with {option}")
    if params["drain"] and not params["exclusive"]:
        raise InvalidInput("drain", "needs exclusive=true, which says that members leave")
    return Desired(
        members=members,
        exclusive=params["exclusive"],
        force=params["force"],
        system_databases=list(dict.fromkeys(params["system_databases"])),
        wait_timeout=params["wait_timeout"] if params["wait"] else None,
        drain=params["drain"],
        rebalance=params["rebalance"],
        replaced=rules.given_replacements(params["replace"] or {}, members),
        in_sync=params["in_sync"],
        limit=params["wait_timeout"],
    )


def observe(client: Moving, desired: Desired) -> Observed:
    """The members, and what those say that have an address. Who is to join is asked for all that matters then."""
    client.dialect.check_cluster()
    membership = client.membership()
    members, connected = membership["cluster_nodes"], membership["all_nodes"]
    apart = [name for name in desired.names if name not in members or name not in connected]
    leaving = desired.exclusive and any(name not in desired.names for name in members)
    infos = client.dbs_info(desired.system_databases)
    zoned = any(member.zone is not None for member in desired.members)
    observed = Observed(
        server=client.server(closely=bool(apart or leaving)),
        members=members,
        connected=connected,
        found=client.servers(
            {m.name: m.url for m in desired.members if m.url}, closely=apart, timeout=desired.wait_timeout
        ),
        zones=client.zones() if zoned else {},
        copies={name: None if info is None else info.get("cluster", {}).get("n") for name, info in infos.items()},
    )
    if not desired.moves:
        return observed
    maps, nodes = client.shard_maps(), client.shard_members()
    placed = placement.Observed(maps, nodes, client.leftovers(maps, nodes))
    move, placed = _move(desired, observed, placed)
    return replace(observed, placed=placement.looked_at_closely(client, placed, move))


def plan(desired: Desired, observed: Observed) -> Plan:
    """Who joins, who leaves, and what is to be created then. Raises InvalidInput for who can never join, or must not leave."""
    leaving = _leaving(desired, observed)
    joining = [member for member in desired.members if member.name not in observed.members]
    _refuse(desired, observed, leaving)
    own = observed.server.node
    members = sorted({*observed.members, *desired.names}.difference(leaving))
    connected = sorted({*observed.connected, *(member.name for member in joining if desired.wait_timeout)})
    changes = [_joining(member, own, desired.wait_timeout) for member in joining]
    changes += [
        Change(
            action="update",
            what="zone",
            path=(member.name, "zone"),
            before=observed.zones.get(member.name),
            after=member.zone,
            call=Moving.set_zone,
            arguments={"name": member.name, "zone": member.zone},
            stage=ZONE,
        )
        for member in desired.members
        if member.zone is not None and member.zone != observed.zones.get(member.name)
    ]
    placed, blocked = observed.placed, None
    moving: tuple[str, ...] = ()
    if placed is not None:
        move, there = _move(desired, observed, placed)
        moves, maps, blocked = placement.changes_of(there, move, MOVE)
        changes += moves
        moving = placement.warnings(moves, there)
        placed = replace(placed, maps=maps, leftovers=[])
    changes += [
        Change(
            action="delete",
            what="member",
            path=(name,),
            before={},
            after=None,
            call=Moving.leave_node,
            arguments={"name": name, "node": own},
            stage=LEAVE,
        )
        # Who still holds something when the moves are done stays.
        for name in (leaving if blocked is None else [])
    ]
    servers = {
        own: observed.server,
        **{name: found for name, found in observed.found.items() if isinstance(found, Server)},
    }
    for name in (name for name in servers if name in connected):
        changes += _copies_setting(name, servers[name], len(members))
    missing = [name for name in desired.system_databases if observed.copies[name] is None]
    # Those that the task names are waited for.
    absent = [
        name for name in members if name not in connected and not (desired.wait_timeout and name in desired.names)
    ]
    withheld = _withheld(missing, absent) if missing and absent else None
    if not withheld:
        changes += [_creation(name, desired) for name in missing]
    copies = {name: number or min(COPIES, len(members)) for name, number in observed.copies.items()}
    warnings = [*_warnings(desired, members, connected, copies), *moving]
    if withheld and not desired.wait_timeout:
        warnings.append(str(withheld))
    return Plan(
        tuple(changes),
        replace(observed, members=members, connected=connected, copies=copies, placed=placed),
        tuple(warnings),
        shortfall=blocked or (withheld if desired.wait_timeout else None),
        unmet=_unmet(observed),
    )


def wait(client: Moving, desired: Desired, first: Observed, observed: Observed) -> Observed:
    """The members as they are once all that are asked agree on them. Raises NotConnected when they don't in time."""
    if desired.wait_timeout is None:
        return observed
    # Then a member that should leave stays, and the task ends with the reason.
    blocked = observed.placed is not None and _blocked(desired, observed, observed.placed)
    exclusive = desired.exclusive and not blocked
    try:
        told = client.await_members(desired.names, desired.urls, desired.wait_timeout, exclusive=exclusive)
    except NotConnected as error:
        apart = [name for name in desired.names if name not in client.membership()["all_nodes"]]
        shards = client.shards() if apart else {}
        advice = [rules.advice(name, rules.databases_on(shards, name)) for name in apart]
        raise NotConnected(". ".join([str(error), *advice])) from None
    if desired.in_sync and not blocked:
        client.await_sync(desired.limit)
    return replace(observed, members=told["cluster_nodes"], connected=told["all_nodes"])


def report(desired: Desired, observed: Observed, changes: list[Change]) -> dict[str, t.Any]:
    """The members, those of them that are connected, and a word for both."""
    # CouchDB's list of members lags what was written; without waiting it may be the one of before.
    listed_by_task = {change.path[0]: change.action for change in changes if change.what == "member"}
    kept = (name for name in observed.members if listed_by_task.get(name) != "delete")
    members = sorted({*kept, *(name for name, action in listed_by_task.items() if action == "create")})
    connected = [name for name in members if name in observed.connected]
    made = placement.moved(changes, observed.placed.sizes if observed.placed else {})
    state = "incomplete" if connected != members else "joined" if len(connected) > 1 else "single"
    return {"cluster": {"members": members, "connected": connected, "state": state}, "moved": made}


def _blocked(desired: Desired, observed: Observed, placed: placement.Observed) -> bool:
    """Whether shards have to move that can't be moved now."""
    move, there = _move(desired, observed, placed)
    return placement.changes_of(there, move)[2] is not None


def _leaving(desired: Desired, observed: Observed) -> list[str]:
    """The members that leave: with C(exclusive) all that are not named, and those that are replaced by others."""
    return [
        name
        for name in observed.members
        if name not in desired.names and (desired.exclusive or name in desired.replaced)
    ]


def _move(
    desired: Desired, observed: Observed, placed: placement.Observed
) -> tuple[placement.Move, placement.Observed]:
    """What is to be moved, and where the shards are with the nodes as they will be: joined, in their zones, or gone.

    A node that is replaced by one of its own name is gone as long as it is in maintenance mode: then its copies are filled again.
    """
    leaving = _leaving(desired, observed)
    zones = {member.name: member.zone for member in desired.members if member.zone is not None}
    gone = {old for old, new in desired.replaced.items() if old != new}
    nodes = [
        replace(node, zone=zones.get(node.name, node.zone), gone=node.name in gone)
        for node in placed.members
        if node.name not in gone
    ]
    nodes += [shard_rules.Member(name, gone=True, up=False) for name in sorted(gone)]
    known = {node.name for node in nodes}
    nodes += [shard_rules.Member(name, zones.get(name)) for name in desired.names if name not in known]
    refill = [
        old
        for old, new in desired.replaced.items()
        if old == new and any(node.name == old and node.in_maintenance for node in nodes)
    ]
    # A member that is not named stays, and may keep what it has.
    staying = {name for name in observed.members if name not in leaving} | set(desired.names)
    wanted = move_rules.Wanted(
        frozenset(staying),
        balance=desired.rebalance,
        instead={old: new for old, new in desired.replaced.items() if old != new},
    )
    move = placement.Move(list(placed.maps), wanted, wait_timeout=desired.limit, refill=tuple(refill))
    return move, replace(placed, members=nodes)


def _refuse(desired: Desired, observed: Observed, leaving: list[str]) -> None:
    """Raise InvalidInput for a plan that can't be carried out, or would lose something."""
    own = observed.server
    if own.node not in desired.names:
        raise InvalidInput("members", f"must name {own.node}, the node that answers; run the task on a member")
    all_members = {*observed.members, *desired.names}
    problems = {
        name: rules.problem(
            name, own, found, all_members, connected=name in observed.members and name in observed.connected
        )
        for name, found in observed.found.items()
    }
    if any(problems.values()):
        raise InvalidInput("members", "; ".join(f"{name}: {text}" for name, text in problems.items() if text))
    for old, new in desired.replaced.items():
        if old != new and old in observed.connected:
            raise InvalidInput("replace", f"{old} is up. Stop it for good, or let it leave with drain=true")
    if observed.placed is not None:
        _move_refused(desired, observed, observed.placed)
    moved = leaving if desired.drain else desired.replaced
    for name in leaving if not desired.force else []:
        if name in moved:
            continue
        held = rules.databases_on(own.shards, name)
        if held:
            raise InvalidInput(
                "exclusive",
                f"{name} still holds shards of {listed(held)}: set drain=true to move them to other members "
                "before it leaves, or force=true to lose what no other member holds",
            )


def _move_refused(desired: Desired, observed: Observed, placed: placement.Observed) -> None:
    """Raise InvalidInput for shards that the members can't have, or that are lost with the nodes that are replaced."""
    move, there = _move(desired, observed, placed)
    move_rules.check_wanted(move.wanted, there.members, there.maps.values())
    absent = [replace(node, gone=node.gone or node.name in move.refill) for node in there.members]
    lost = move_rules.lost_ranges(there.maps.values(), absent)
    if lost and not desired.force:
        raise InvalidInput(
            "replace",
            f"no full copy is left of {listed(lost)}. Bring back a node that has one, or set force=true to begin with empty ones",
        )


def _unmet(observed: Observed) -> InvalidInput | None:
    """What the nodes that are to connect still lack. A member that is away may come back while it is waited for."""
    lacks = {}
    for name, found in observed.found.items():
        away = isinstance(found, CouchDBError)
        if name not in observed.members or not (away or name in observed.connected):
            lacks[name] = rules.lack(observed.server, found)
    texts = [f"{name}: {text}" for name, text in lacks.items() if text]
    return InvalidInput("members", "; ".join(texts)) if texts else None


def _joining(member: Member, own: str, wait_timeout: int | None) -> Change:
    return Change(
        action="create",
        what="member",
        path=(member.name,),
        before=None,
        after={"url": mask_url(member.url)} if member.url else {},
        call=Moving.join_node,
        arguments={"name": member.name, "node": own, "wait_timeout": wait_timeout},
        stage=JOIN,
    )


def _copies_setting(name: str, server: Server, members: int) -> t.Iterator[Change]:
    """One copy for a node alone, as CouchDB's setup has it, and no longer when others have joined.

    Then it is not fewer for a cluster of two: CouchDB makes as many as there are members, and more may join.
    """
    held = server.settings.get("cluster", {}).get("n")
    if (members == 1) != (held == "1"):
        value = str(1 if members == 1 else COPIES)
        yield Change(
            action="update",
            what="setting",
            path=(name, "cluster", "n"),
            before=held,
            after=value,
            call=Moving.config,
            arguments={"section": "cluster", "key": "n", "value": value, "node": name},
            stage=SET,
        )


def _creation(name: str, desired: Desired) -> Change:
    arguments = {
        "name": name,
        "members": desired.names,
        "urls": desired.urls,
        "wait_timeout": desired.wait_timeout or 1,
    }
    return Change(
        action="create",
        what="database",
        path=(name,),
        before=None,
        after={},
        call=Moving.put_system_database,
        arguments=arguments,
        stage=CREATE,
    )


def _withheld(missing: list[str], absent: list[str]) -> NotConnected:
    """Why system databases are not created: CouchDB would place copies of them on nodes that may not exist."""
    return NotConnected(
        f"{listed(missing)} not created, as copies would be placed on members that are not connected: "
        f"{listed(absent)}; start them, or take them out with exclusive=true"
    )


def _warnings(desired: Desired, members: list[str], connected: list[str], copies: dict[str, int]) -> list[str]:
    warnings = []
    if len(members) % 2 == 0:
        warnings.append(
            f"{len(members)} members is an even number: an odd one keeps a majority when the cluster is cut in two"
        )
    for name in members:
        if name not in connected and name not in desired.names:
            warnings.append(f"{name} is a member, is not connected and is not named: exclusive=true would take it out")
    for name, number in copies.items():
        if number < min(COPIES, len(members)):
            warnings.append(
                f"{name} has {number} of {min(COPIES, len(members))} copies that it could have: it was created before "
                "the others joined, and CouchDB adds none by itself"
            )
    return warnings


def _secrets(params: dict[str, t.Any]) -> t.Iterator[str]:
    """The passwords in the addresses of members, also where these stand in the wrong place."""
    for entry in params["members"] or []:
        for text in entry.values() if isinstance(entry, dict) else [entry]:
            yield from url_secrets(str(text or ""))


RESOURCE = Resource(desire, observe, report, plan, wait, _secrets, client=Moving, options=ARGUMENT_SPEC)
