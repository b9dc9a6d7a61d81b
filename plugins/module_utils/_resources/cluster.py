# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The members of a cluster: what couchdb_cluster declares, observes, plans and reports."""

from __future__ import annotations

import contextlib
import typing as t
from dataclasses import dataclass, field, replace

from .._client.moves import Moving
from .._client.wait import within
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

# The order of the changes. A node leaves after its shards have moved, and before databases are created, as CouchDB would place copies on it.
JOIN = 0
ZONE = 1
MOVE = 2
# Moves take as many stages as they need.
LEAVE = 1_000_000
SET = LEAVE + 1
CREATE = LEAVE + 2


@dataclass(frozen=True)
class Desired:
    """The options, checked. ``wait_timeout`` is in seconds, None without waiting."""

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
        """The URLs of the members that have one."""
        return [member.url for member in self.members if member.url]


@dataclass(frozen=True)
class Observed:
    """The current state: the answering node, its members and connected nodes, and the state of the others.

    ``found``: name of a member → the server at its URL, or the error. ``copies``: system database → the number of
    copies of each shard, None if it is missing. ``zones``: name of a member → its zone. ``placed``: the placement of the
    shards, if they may move.
    """

    server: Server
    members: list[str]
    connected: list[str]
    found: dict[str, Server | CouchDBError] = field(default_factory=dict)
    zones: t.Mapping[str, str] = field(default_factory=dict)
    placed: placement.Observed | None = None
    copies: t.Mapping[str, int | None] = field(default_factory=dict)


def desire(params: dict[str, t.Any]) -> Desired:
    """The options, checked. Raises InvalidInput for names that no node can have, duplicates, and timeouts below 1."""
    if params["wait_timeout"] < 1:
        raise InvalidInput("wait_timeout", f"is {params['wait_timeout']}. Set 1 or more")
    members = given_members(params["members"])
    for option in ("drain", "rebalance", "replace", "in_sync"):
        if params[option] and not params["wait"]:
            raise InvalidInput("wait", f"is false. Set it to true with {option}")
    if params["drain"] and not params["exclusive"]:
        raise InvalidInput("drain", "has no effect without exclusive: true, which removes members")
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
    """The members, and the state of those with a URL. New members are read in full."""
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
    """The nodes that join and leave, and the databases to create. Raises InvalidInput for a node that can't join or leave."""
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
            # What another client has created on it meanwhile is moved as well, by the next plan.
            arguments={"name": name, "node": own, "empty": not desired.force or name in _emptied(desired, leaving)},
            stage=LEAVE,
        )
        # A node that still has shards after the moves stays.
        for name in (leaving if blocked is None else [])
    ]
    servers = {
        own: observed.server,
        **{name: found for name, found in observed.found.items() if isinstance(found, Server)},
    }
    for name in (name for name in servers if name in connected):
        changes += _copies_setting(name, servers[name], len(members))
    missing = [name for name in desired.system_databases if observed.copies[name] is None]
    # The task waits for those that it names.
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
        limit=float("inf") if desired.wait_timeout is None else desired.wait_timeout,
    )


def wait(client: Moving, desired: Desired, first: Observed, observed: Observed) -> Observed:
    """The members once all nodes with a URL agree on them. Raises NotConnected if they don't in time."""
    if desired.wait_timeout is None:
        return observed
    # A member that should leave stays then, and the task ends with the reason.
    blocked = observed.placed is not None and _blocked(desired, observed, observed.placed)
    exclusive = desired.exclusive and not blocked
    try:
        membership = client.await_members(desired.names, desired.urls, desired.wait_timeout, exclusive=exclusive)
    except NotConnected as error:
        advice: list[str] = []
        # The time is over: what is not answered at once is not said.
        with within(0), contextlib.suppress(CouchDBError):
            apart = [name for name in desired.names if name not in client.membership()["all_nodes"]]
            shards = client.shards() if apart else {}
            advice += [rules.advice(name, rules.databases_on(shards, name)) for name in apart]
        raise NotConnected(". ".join([str(error), *advice])) from None
    if desired.in_sync and not blocked:
        client.await_sync(desired.limit)
    return replace(observed, members=membership["cluster_nodes"], connected=membership["all_nodes"])


def report(desired: Desired, observed: Observed, changes: list[Change]) -> dict[str, t.Any]:
    """The members, the connected ones, and a word for both."""
    # CouchDB's list of members follows a moment after a change; without waiting it may be the old one.
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
    """The members that leave: with C(exclusive) all that the task does not name, and those that others replace."""
    return [
        name
        for name in observed.members
        if name not in desired.names and (desired.exclusive or name in desired.replaced)
    ]


def _move(
    desired: Desired, observed: Observed, placed: placement.Observed
) -> tuple[placement.Move, placement.Observed]:
    """The move, and the placement of the shards with the nodes as they will be: joined, in their zones, or gone.

    A node that one with the same name replaces counts as gone while it is in maintenance mode: then its copies are filled again.
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
    # A member that the task does not name stays, and keeps its copies.
    staying = {name for name in observed.members if name not in leaving} | set(desired.names)
    wanted = move_rules.Wanted(
        frozenset(staying),
        balance=desired.rebalance,
        instead={old: new for old, new in desired.replaced.items() if old != new},
        keep_zones=True,
    )
    option = "replace" if desired.replaced else "drain" if desired.drain else "rebalance"
    move = placement.Move(list(placed.maps), wanted, wait_timeout=desired.limit, refill=tuple(refill), option=option)
    return move, replace(placed, members=nodes)


def _refuse(desired: Desired, observed: Observed, leaving: list[str]) -> None:
    """Raise InvalidInput for a plan that can't be carried out, or would lose something."""
    own = observed.server
    if own.node not in desired.names:
        raise InvalidInput("members", f"lacks {own.node}, the node that answers. Add it, or run the task on a member")
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
            raise InvalidInput("replace", f"{old} is up. Stop it for good, or remove it with drain: true")
    if observed.placed is not None:
        _move_refused(desired, observed, observed.placed)
    moved = _emptied(desired, leaving)
    for name in leaving if not desired.force else []:
        if name in moved:
            continue
        current = rules.databases_on(own.shards, name)
        if current:
            raise InvalidInput(
                "exclusive",
                f"{name} still has shards of {listed(current)}. Set drain: true to move them to other members "
                "before it leaves, or force: true to lose those that no other member has",
            )


def _emptied(desired: Desired, leaving: list[str]) -> t.Collection[str]:
    """The members whose copies are on others before they leave."""
    return leaving if desired.drain else desired.replaced


def _move_refused(desired: Desired, observed: Observed, placed: placement.Observed) -> None:
    """Raise InvalidInput for shards that the members can't have, or that are lost with the nodes that are replaced."""
    move, there = _move(desired, observed, placed)
    move_rules.check_wanted(move.wanted, there.members, there.maps.values())
    absent = [replace(node, gone=node.gone or node.name in move.refill) for node in there.members]
    lost = move_rules.lost_ranges(there.maps.values(), absent)
    if lost and not desired.force:
        raise InvalidInput(
            "replace",
            f"no full copy is left of {listed(lost)}. Start a node that has one, or set force: true to begin with empty ones",
        )


def _unmet(observed: Observed) -> InvalidInput | None:
    """What the nodes that should connect still lack. A member that is down may start during the wait."""
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
    """One copy for a single node, like CouchDB's setup, and not once others have joined.

    Then the number is the default, also for a cluster of two: CouchDB makes one copy a member, and more may join.
    """
    current = server.settings.get("cluster", {}).get("n")
    if (members == 1) != (current == "1"):
        value = str(1 if members == 1 else COPIES)
        yield Change(
            action="update",
            what="setting",
            path=(name, "cluster", "n"),
            before=current,
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
    """The error for system databases that are not created: CouchDB would place copies of them on nodes that may not exist."""
    return NotConnected(
        f"{listed(missing)} not created, as copies would be placed on members that are not connected: "
        f"{listed(absent)}. Start them, or remove them with exclusive: true"
    )


def _warnings(desired: Desired, members: list[str], connected: list[str], copies: dict[str, int]) -> list[str]:
    warnings = []
    if len(members) % 2 == 0:
        warnings.append(
            f"{len(members)} members is an even number. With an odd one, a majority is left if the network splits the cluster"
        )
    for name in members:
        if name not in connected and name not in desired.names:
            warnings.append(f"{name} is a member, is not connected and is not listed. exclusive: true would remove it")
    for name, number in copies.items():
        if number < min(COPIES, len(members)):
            warnings.append(
                f"{name} has {number} of {min(COPIES, len(members))} copies that it could have: it was created before "
                "the others joined, and CouchDB adds none. Use couchdb_shards"
            )
    return warnings


def _secrets(params: dict[str, t.Any]) -> t.Iterator[str]:
    """The passwords in the URLs of members, also in the wrong option."""
    for entry in params["members"] or []:
        for text in entry.values() if isinstance(entry, dict) else [entry]:
            yield from url_secrets(str(text or ""))


RESOURCE = Resource(desire, observe, report, plan, wait, _secrets, client=Moving, options=ARGUMENT_SPEC)
