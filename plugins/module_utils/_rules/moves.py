# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Moves of shards: where the copies should be, and the steps that bring them there. Pure.

How CouchDB places shards: https://docs.couchdb.org/en/stable/cluster/sharding.html
"""

from __future__ import annotations

import copy
import heapq
import typing as t
from dataclasses import dataclass, field, replace

from ..errors import InvalidInput, listed
from .cluster import ZONE
from .service import Service, Shard
from .shards import MARK, Document, Map, Member
from .zones import Numbers, numbers_to_keep

MAINTAIN, ADD, SERVE, REMOVE = "maintain", "add", "serve", "remove"

SYSTEM_DATABASES = ("_users", "_replicator", "_global_changes")

Target = t.Dict[Shard, t.FrozenSet[str]]
"""Which nodes should have a copy of each range."""


@dataclass(frozen=True)
class Wanted:
    """The desired placement: on C(members) only, C(copies) of each range, or by C(placement) (zone → copies).

    Without C(copies), each database keeps its number. With C(balance), copies also move to spread them evenly. C(instead) has the
    nodes that replace others, by the name of the other. With C(keep_zones), zones keep their numbers of copies.
    """

    members: frozenset[str]
    copies: int | None = None
    placement: t.Mapping[str, int] | None = None
    balance: bool = True
    instead: t.Mapping[str, str] = field(default_factory=dict)
    keep_zones: bool = False

    def number(self, map_: Map) -> int:
        """How many copies each range of a database should have."""
        if self.placement is not None:
            return sum(self.placement.values())
        return self.copies or map_.copies


@dataclass(frozen=True)
class Step:
    """One step of a move.

    C(maintain): C(node) goes into maintenance mode. C(add): it gets a copy of a range, which is filled and compared. C(serve): its
    copies are full, and it leaves maintenance mode. C(remove): its copy leaves the map.
    """

    action: str
    node: str
    database: str = ""
    range: str = ""

    @property
    def shard(self) -> Shard:
        """The range of the database that the step is about."""
        return self.database, self.range


@dataclass(frozen=True)
class Moves:
    """The steps in their order, and in C(blocked) why others can't be planned, a sentence each."""

    steps: tuple[Step, ...] = ()
    blocked: tuple[str, ...] = ()


def changed_map(
    document: Document, copies: int, add: t.Collection[tuple[str, str]] = (), remove: t.Collection[tuple[str, str]] = ()
) -> Document:
    """The document of C(_dbs) with some copies added and others removed, each given as (range, node).

    Copies that are added are marked as not full, and C(copies) as the number that each range should keep.
    """
    changed = copy.deepcopy(document)
    by_node, by_range, changelog = changed["by_node"], changed["by_range"], changed.setdefault("changelog", [])
    filling = {name: list(nodes) for name, nodes in changed.pop(MARK, {}).get("filling", {}).items()}
    for range_, node in add:
        if node not in by_range[range_]:
            by_range[range_].append(node)
            by_node[node] = sorted({*by_node.get(node, ()), range_})
            changelog.append(["add", range_, node])
        filling[range_] = sorted({*filling.get(range_, ()), node})
    for range_, node in remove:
        if node in by_range[range_]:
            by_range[range_].remove(node)
            by_node[node].remove(range_)
            changelog.append(["remove", range_, node])
        if not by_node.get(node, True):
            del by_node[node]
        if node in filling.get(range_, ()):
            filling[range_].remove(node)
    changed[MARK] = {"copies": copies, "filling": {name: nodes for name, nodes in filling.items() if nodes}}
    return changed


def settled_map(document: Document, full: t.Collection[tuple[str, str]]) -> Document:
    """The document of C(_dbs) once these copies, each given as (range, node), are full; without a mark when all are, unless it has the number."""
    changed = copy.deepcopy(document)
    mark = changed.pop(MARK, {})
    filling = {
        range_: left
        for range_, nodes in mark.get("filling", {}).items()
        for left in [[node for node in nodes if (range_, node) not in full]]
        if left
    }
    most = max(map(len, changed["by_range"].values()))
    if filling or mark.get("copies", most) != most:
        changed[MARK] = {**mark, "filling": filling}
    return changed


def same_revision(document: Document, rev: str, known: t.Sequence[str]) -> Document:
    """A document as another node gets it, with the revision C(rev) that was written, after those whose hashes are C(known)."""
    number, _dash, hash_ = rev.partition("-")
    return {**document, "_rev": rev, "_revisions": {"start": int(number), "ids": [hash_, *known]}}


def is_internal(local_id: str) -> bool:
    """Whether a local document is CouchDB's own, about one copy of a shard, so that no other copy must have it."""
    return local_id.startswith(("_local/shard-sync-", "_local/purge-"))


def checked_placement(placement: t.Mapping[str, t.Any], copies: int | None) -> dict[str, int]:
    """The option C(placement): zone → copies. Raises InvalidInput."""
    checked: dict[str, int] = {}
    for zone, value in placement.items():
        if not isinstance(zone, str) or not ZONE.match(zone):
            raise InvalidInput(
                "placement", f"{zone} is not the name of a zone. Use one without spaces, commas and colons"
            )
        number = int(value) if isinstance(value, str) and value.isdigit() else value
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise InvalidInput("placement", f"{zone} is {value}. Set the number of copies in this zone, 1 or more")
        checked[zone] = number
    if not checked:
        raise InvalidInput("placement", "names no zone. Name at least one, or remove the option")
    if copies is not None and sum(checked.values()) != copies:
        raise InvalidInput(
            "placement",
            f"places {sum(checked.values())} copies and copies is {copies}. Make both the same, or remove copies",
        )
    return checked


def check_wanted(wanted: Wanted, members: t.Sequence[Member], maps: t.Iterable[Map]) -> None:
    """Raise InvalidInput if the members can't have the desired copies."""
    allowed = [member for member in members if member.name in wanted.members and not member.gone]
    if wanted.placement is not None:
        for zone, number in wanted.placement.items():
            inside = [member.name for member in allowed if member.zone == zone]
            if not inside:
                zones = ", ".join(sorted({member.zone for member in allowed if member.zone})) or "none"
                raise InvalidInput(
                    "placement", f"no member is in the zone {zone}. The zones of the members are: {zones}"
                )
            if len(inside) < number:
                raise InvalidInput(
                    "placement",
                    f"{zone} should have {number} copies and has {len(inside)} members. Add members to this zone, or lower the number",
                )
        return
    if wanted.copies is not None and len(allowed) < wanted.copies:
        raise InvalidInput(
            "copies", f"is {wanted.copies}, and {len(allowed)} members can have copies. Add members, or lower copies"
        )
    for map_ in maps:
        if wanted.number(map_) > len(allowed):
            raise InvalidInput(
                "members",
                f"{map_.name} has {map_.copies} copies of each shard, and {len(allowed)} members can have them. Add members, or "
                f"set copies to {len(allowed)} with couchdb_shards",
            )


def lost_ranges(maps: t.Iterable[Map], members: t.Sequence[Member]) -> list[str]:
    """The ranges of which no full copy is left, as all were on nodes that are gone, such as C(orders 00000000-7fffffff)."""
    gone = {member.name for member in members if member.gone}
    return [
        f"{map_.name} {range_}"
        for map_ in maps
        for range_, nodes in map_.ranges.items()
        if gone.intersection(nodes) and gone.issuperset(set(nodes).difference(map_.filling.get(range_, ())))
    ]


_ROUNDS = 5
"""How often the copies are placed again, at most, until that changes nothing."""


def place(maps: t.Mapping[str, Map], members: t.Sequence[Member], wanted: Wanted) -> Target:
    """The desired placement of the copies: as few new copies as possible, balanced within one copy a node.

    The balance is over all these databases, within each zone for those that have a number of copies in each. If there is a choice,
    the copies of each database are spread as well. There must be enough members: see check_wanted().
    """
    target = _placed(maps, members, wanted)
    # A database whose ranges differed may have a number of copies in each zone once they are alike, which counts from then on.
    for _attempt in range(_ROUNDS if wanted.keep_zones else 0):
        there = {
            name: replace(
                map_, ranges={range_: tuple(sorted(target[name, range_])) for range_ in map_.ranges}, filling={}
            )
            for name, map_ in maps.items()
        }
        before, target = target, _placed(there, members, replace(wanted, instead={}))
        if target == before:
            break
    return target


def _placed(maps: t.Mapping[str, Map], members: t.Sequence[Member], wanted: Wanted) -> Target:
    allowed = [member for member in members if member.name in wanted.members and not member.gone]
    current = {
        (name, range_): frozenset(wanted.instead.get(node, node) for node in nodes)
        for name, map_ in maps.items()
        for range_, nodes in map_.ranges.items()
    }
    kept: dict[str, Numbers] = {}
    if wanted.placement is not None:
        kept = {name: dict(wanted.placement.items()) for name in maps}
    elif wanted.keep_zones:
        kept = numbers_to_keep(maps.values(), members, allowed, wanted.instead)
    free = {shard: wanted.number(maps[shard[0]]) for shard in current if shard[0] not in kept}
    target = _Zone(allowed, current, free, balance=wanted.balance).placed()
    for zone in {zone: None for numbers in kept.values() for zone in numbers}:
        inside = [member for member in allowed if member.zone == zone]
        needs = {shard: kept[shard[0]].get(zone, 0) for shard in current if shard[0] in kept}
        for shard, nodes in _Zone(inside, current, needs, balance=wanted.balance).placed().items():
            target[shard] = target.get(shard, frozenset()) | nodes
    return target


class _Zone:
    """The placement on nodes that can take each other's copies: some of each range on some of the nodes."""

    def __init__(
        self,
        members: t.Sequence[Member],
        current: t.Mapping[Shard, frozenset[str]],
        needs: t.Mapping[Shard, int],
        *,
        balance: bool,
    ) -> None:
        self.names = sorted(member.name for member in members)
        self.down = {member.name for member in members if not member.up}
        self.needs = needs
        self.balance = balance
        mine = frozenset(self.names)
        self.current = {shard: current[shard] & mine for shard in needs}
        self.target = {shard: set(nodes) for shard, nodes in self.current.items()}
        self.load = dict.fromkeys(self.names, 0)
        self.spread: dict[tuple[str, str], int] = {}
        for (database, _range), nodes in self.target.items():
            for node in nodes:
                self._count(database, node, 1)

    def placed(self) -> Target:
        """The nodes of each range."""
        shards = sorted(self.target)
        for shard in shards:
            while len(self.target[shard]) > self.needs[shard]:
                self._drop(
                    shard, max(self.target[shard], key=lambda node: (node in self.down, *self._weight(node, shard)))
                )
        for shard in shards:
            while len(self.target[shard]) < self.needs[shard]:
                free = (node for node in self.names if node not in self.target[shard])
                self._take(shard, min(free, key=lambda node: (node in self.down, *self._weight(node, shard))))
        least, more = divmod(sum(self.load.values()), len(self.names) or 1)
        most = least + bool(more)
        # The exchanges that cost nothing decide which nodes have one copy more than others, so it is not decided before.
        for above, below in ((most, least), (most, most), (least, least)):
            while self._exchange(above, below):
                pass
        if self.balance:
            self._move(self._goals())
        return {shard: frozenset(nodes) for shard, nodes in self.target.items()}

    def _weight(self, node: str, shard: Shard) -> tuple[int, int, str]:
        return self.load[node], self.spread.get((shard[0], node), 0), node

    def _count(self, database: str, node: str, number: int) -> None:
        self.load[node] += number
        self.spread[database, node] = self.spread.get((database, node), 0) + number

    def _take(self, shard: Shard, node: str) -> None:
        self.target[shard].add(node)
        self._count(shard[0], node, 1)

    def _drop(self, shard: Shard, node: str) -> None:
        self.target[shard].remove(node)
        self._count(shard[0], node, -1)

    def _goals(self) -> dict[str, int]:
        """The number of copies that each node should have: the same, or one more on those that have the most."""
        share, more = divmod(sum(self.load.values()), len(self.names) or 1)
        fullest = sorted(self.names, key=lambda node: (-self.load[node], node))
        return {node: share + int(place < more) for place, node in enumerate(fullest)}

    def _exchange(self, most: int, least: int) -> bool:
        """Move one copy from a node with more than ``most`` to one with less than ``least``, if no copy has to be made for that.

        This may take several nodes in between. Returns whether there was one to move.
        """
        above = [node for node in self.names if self.load[node] > most]
        below = {node for node in self.names if self.load[node] < least}
        if not above or not below:
            return False
        edges: dict[str, dict[str, Shard]] = {}
        for shard, nodes in self.target.items():
            if nodes == self.current[shard]:
                continue
            held = self.current[shard]
            for node in nodes:
                for other in self.names:
                    if other not in nodes and (other in held or node not in held):
                        edges.setdefault(node, {}).setdefault(other, shard)
        came: dict[str, str] = dict.fromkeys(above, "")
        queue = list(above)
        for node in queue:
            if node in below:
                self._shift(node, came, edges)
                return True
            for other in edges.get(node, {}):
                if other not in came:
                    came[other] = node
                    queue.append(other)
        return False

    def _shift(self, node: str, came: t.Mapping[str, str], edges: t.Mapping[str, t.Mapping[str, Shard]]) -> None:
        while came[node]:
            before = came[node]
            self._drop(edges[before][node], before)
            self._take(edges[before][node], node)
            node = before

    def _move(self, goals: t.Mapping[str, int]) -> None:
        """Move copies from the nodes with too many to those with too few, first of the databases with most copies on the node."""
        for node in sorted(self.names, key=lambda name: (goals[name] - self.load[name], name)):
            for other in sorted(self.names, key=lambda name: (self.load[name] - goals[name], name)):
                number = min(self.load[node] - goals[node], goals[other] - self.load[other])
                if number > 0:
                    self._move_some(node, other, number)

    def _move_some(self, node: str, other: str, number: int) -> None:
        """Move so many copies from a node to another. As it has that many more, the other lacks at least as many."""
        shards: dict[str, list[Shard]] = {}
        for shard, nodes in self.target.items():
            if node in nodes and other not in nodes:
                shards.setdefault(shard[0], []).append(shard)
        heap = [(self._lead(name, other, node), name) for name in shards]
        heapq.heapify(heap)
        for _each in range(number):
            _lead, name = heapq.heappop(heap)
            shard = shards[name].pop()
            self._drop(shard, node)
            self._take(shard, other)
            if shards[name]:
                heapq.heappush(heap, (self._lead(name, other, node), name))

    def _lead(self, database: str, node: str, other: str) -> int:
        return self.spread.get((database, node), 0) - self.spread.get((database, other), 0)


class Placement(Service):
    """The steps that are allowed next so that nothing is lost or out of service."""

    def may_maintain(self, node: str) -> str:
        """Why a node can't go into maintenance mode now, or nothing if it can."""
        short = self.short_without(node)
        return self.may_rest(node) or (
            short
            and f"{node} has to be in maintenance mode while its new copies are filled, and then {short}. Give it 3 copies on nodes "
            "that are up, or use a member that has no copies yet"
        )

    def may_fill(self, shard: Shard, node: str) -> str:
        """Why a copy can't be filled now, or nothing if it can. A range whose full copies are all lost begins empty."""
        full = self.full[shard] - {node}
        if not full or full & self.up:
            return ""
        return f"no full copy of {' '.join(shard)} is up. Start {listed(sorted(full))}"

    def may_remove(self, shard: Shard, node: str, number: int) -> bool:
        """Whether a copy may leave the map, of a range that should have so many copies."""
        others = self.full[shard] - {node}
        if node not in self.full[shard]:
            return bool(others)
        if len(others) < number or not others & self.up:
            return False
        return self._enough(self.serving(shard, node), self.serving(shard), others)

    def take(self, step: Step) -> Step:
        """Take a step, and return it."""
        if step.action == MAINTAIN:
            self.rest(step.node)
        elif step.action == SERVE:
            self.serve(step.node)
            for shard in self.on.get(step.node, ()):
                self.full[shard].add(step.node)
        elif step.action == ADD:
            self.holders[step.shard].add(step.node)
            self.full[step.shard].discard(step.node)
            self.on.setdefault(step.node, set()).add(step.shard)
        else:
            self.holders[step.shard].discard(step.node)
            self.full[step.shard].discard(step.node)
            self.on[step.node].discard(step.shard)
        return step


def moves(
    maps: t.Mapping[str, Map], members: t.Sequence[Member], target: Target, refill: t.Collection[str] = ()
) -> Moves:
    """The steps from where the copies are to where they should be.

    C(maps) are those of all databases, also of those that C(target) leaves where they are: they must stay in service too. C(refill)
    names nodes whose copies are all to be filled again, which ends their maintenance mode. After each step, each range that had enough full copies has as many
    as it should have, each that had a majority of its copies in service still has it, and one node at most is in maintenance mode.
    """
    state = Placement(maps, members, refill)
    filling = {
        (name, range_, node) for name, map_ in maps.items() for range_, nodes in map_.filling.items() for node in nodes
    }
    for node in refill:
        for shard in state.on.get(node, ()):
            state.full[shard].discard(node)
            filling.add((*shard, node))
    steps: list[Step] = []
    # A node that a move put in maintenance mode has to leave it in any case, and so has one that is filled again.
    adds: dict[str, list[Shard]] = {member.name: [] for member in members if member.marked or member.name in refill}
    blocked = _added(adds, state, target, filling)

    def remove(shards: t.Iterable[Shard]) -> None:
        for shard in shards:
            for node in sorted(state.holders[shard] - target[shard]):
                # A copy that is gone makes room in the map for the new one.
                early = node in state.gone and not target[shard] <= state.holders[shard]
                if not early and state.may_remove(shard, node, len(target[shard])):
                    steps.append(state.take(Step(REMOVE, node, *shard)))

    remove(sorted(target))
    first = state.marked | state.resting
    for node in sorted(adds, key=lambda name: (name not in first, len(state.on.get(name, ())), name)):
        problem = state.may_maintain(node)
        if problem:
            blocked.append(problem)
            continue
        steps.append(state.take(Step(MAINTAIN, node)))
        for shard in adds[node]:
            steps.append(state.take(Step(ADD, node, *shard)))
            lost = sorted((state.holders[shard] & state.gone) - target[shard]) if shard in target else []
            steps += [state.take(Step(REMOVE, old, *shard)) for old in lost]
        steps.append(state.take(Step(SERVE, node)))
        remove(shard for shard in adds[node] if shard in target)
    remove(sorted(target))
    if not blocked:
        for shard in sorted(target):
            blocked += [
                f"the copy of {' '.join(shard)} on {node} can't be removed: too few of the others are in service. Start the "
                "nodes that are down"
                for node in sorted(state.holders[shard] - target[shard])
            ]
    return Moves(tuple(steps), tuple(dict.fromkeys(blocked)))


def _added(
    adds: dict[str, list[Shard]], state: Placement, target: Target, filling: t.Collection[tuple[str, str, str]]
) -> list[str]:
    """Add the copies to fill, by node, and return why others can't be filled. A node that would serve one of those is left out."""
    blocked = []
    stuck = set()
    for shard in sorted(state.holders):
        # Databases that are not placed stay where they are; if a move was interrupted, their copies are filled.
        for node in sorted(target.get(shard, state.holders[shard])):
            if node in state.holders[shard] and (*shard, node) not in filling:
                continue
            problem = state.may_fill(shard, node)
            if not problem:
                adds.setdefault(node, []).append(shard)
                continue
            blocked.append(problem)
            if node in state.holders[shard]:
                stuck.add(node)
    for node in stuck:
        adds.pop(node, None)
    return blocked
