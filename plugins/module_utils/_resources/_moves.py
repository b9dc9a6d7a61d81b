# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Moving shards, for the resources that do: where copies are, and the changes that bring them where they should be."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field, replace

from .._client.moves import Moving
from .._client.shards import Sizes
from .._engine.plan import Change
from .._rules import moves as rules
from .._rules.moves import ADD, MAINTAIN, REMOVE, SERVE, Moves, Step, Wanted
from .._rules.shards import Map, Member
from ..errors import CouchDBError, InvalidInput, NotInSync, listed

_LARGE = 10_000_000_000
"""From how many bytes on a node is worth a warning."""


@dataclass(frozen=True)
class Observed:
    """The shard maps of all databases, the members, and copies that a move left on their nodes.

    C(sizes) are those of the databases that will move, C(resharding) the databases with a resharding job that has not ended. C(unfilled) are
    the databases with copies that are not full yet, each with what they lack, if the task does not wait for them.
    """

    maps: dict[str, Map]
    members: list[Member]
    leftovers: list[tuple[str, str, str]] = field(default_factory=list)
    sizes: dict[str, Sizes] = field(default_factory=dict)
    resharding: dict[str, str] = field(default_factory=dict)
    unfilled: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Move:
    """What is to be moved, and how: the databases by name, where they should be, and the nodes that are gone or to be filled again.

    C(option) is the option of the module that asks for it, which errors name.
    """

    databases: t.Collection[str]
    wanted: Wanted
    max_parallel: int = 4
    wait_timeout: float = 3600
    refill: tuple[str, ...] = ()
    wait: bool = True
    option: str = "databases"


def placed(map_: Map) -> dict[str, t.Any]:
    """Where the copies of a database are, as modules report it."""
    return {
        "name": map_.name,
        "copies": map_.copies,
        "ranges": {name: sorted(nodes) for name, nodes in map_.ranges.items()},
    }


def moved(changes: t.Iterable[Change], sizes: t.Mapping[str, Sizes]) -> list[dict[str, t.Any]]:
    """The copies that these changes make: database, range and node of each, and about how much it holds."""
    rows = []
    for change in changes:
        if change.call != Moving.fill_copies:
            continue
        name = change.arguments["database"]
        current = {(row["range"], row["node"]): row for row in (change.result or {}).get("copies", ())}
        for range_, node in change.arguments["add"]:
            size = sizes.get(name, Sizes(0, 0))
            row = current.get((range_, node), {"documents": size.documents, "bytes": size.bytes})
            rows.append(
                {"database": name, "range": range_, "node": node, "documents": row["documents"], "bytes": row["bytes"]}
            )
    return rows


def looked_at_closely(client: Moving, observed: Observed, move: Move) -> Observed:
    """The same, with the sizes of the databases that would move, and the resharding jobs, which both cost requests."""
    try:
        moves = _moves(observed, move)
    except InvalidInput:
        # The plan says so.
        return observed
    if not moves.steps:
        return observed
    names = sorted({step.database for step in moves.steps if step.action == ADD})
    return replace(
        observed,
        sizes=client.copy_sizes(names),
        resharding=client.resharding(),
        unfilled={} if move.wait else client.unfilled({name: observed.maps[name] for name in names}),
    )


def begun(changes: t.Sequence[Change], observed: Observed) -> tuple[list[Change], list[str]]:
    """Of the changes of a move those that a task can make which does not wait for copies to be full, and what the next has to wait for.

    These are the changes of the nodes whose copies are full, up to the next copies that are to be filled, whose filling begins.
    Copies that left the maps are deleted by a task that finds nothing else to do, as requests of before may still read them.
    """
    marked = {member.name for member in observed.members if member.marked and member.in_maintenance}
    made: list[Change] = []
    # Those since the last node left maintenance mode, as they are made again unless this one leaves it too.
    node: list[Change] = []
    for stage in sorted({change.stage for change in changes}):
        now = [change for change in changes if change.stage == stage]
        if now[0].call == Moving.delete_copy and (made or node):
            return made + node, ["copies that left the shard maps are to be deleted"]
        unfinished = [change for change in now if change.call == Moving.fill_copies and not _is_full(change, observed)]
        if unfinished:
            made += [change for change in node if change.call != Moving.fill_copies and change.path[0] not in marked]
            for change in unfinished:
                if not _has_copies(change, observed.maps):
                    arguments = {**change.arguments, "wait": False}
                    made.append(Change(**{**vars(change), "arguments": arguments}))
            return made, [
                f"{name}: {observed.unfilled.get(name, 'copies are being filled')}"
                for name in sorted({change.arguments["database"] for change in unfinished})
            ]
        node += now
        if now[-1].call == Moving.leave_maintenance:
            made, node = made + node, []
    return made + node, []


def _has_copies(change: Change, maps: t.Mapping[str, Map]) -> bool:
    """Whether all copies that a change fills are in the map, and marked as such."""
    map_ = maps[change.arguments["database"]]
    return all(node in map_.filling.get(range_, ()) for range_, node in change.arguments["add"])


def _is_full(change: Change, observed: Observed) -> bool:
    return _has_copies(change, observed.maps) and change.arguments["database"] not in observed.unfilled


def _moves(observed: Observed, move: Move) -> Moves:
    own = {name: observed.maps[name] for name in move.databases}
    rules.check_wanted(move.wanted, observed.members, own.values())
    target = rules.place(own, observed.members, move.wanted)
    moves = rules.moves(observed.maps, observed.members, target, move.refill)
    moving = {step.database for step in moves.steps if step.database}
    moving.update(name for (name, range_), nodes in target.items() if nodes != {*own[name].ranges[range_]})
    split = sorted(name for name in moving if observed.maps[name].overlaps)
    if split:
        others = ", or name other databases" if move.option == "databases" else ""
        raise InvalidInput(
            move.option,
            f"{listed(split)}: ranges overlap, as a split has not ended. Finish it with couchdb_database and reshard: true{others}",
        )
    return moves


def changes_of(
    observed: Observed, move: Move, first_stage: int = 0
) -> tuple[list[Change], dict[str, Map], CouchDBError | None]:
    """The changes that move copies, the maps as they will be, and the error for what can't be done now.

    Raises InvalidInput for databases that are being split.
    """
    moves = _moves(observed, move)
    busy = sorted({step.database for step in moves.steps}.intersection(observed.resharding))
    if busy:
        raise InvalidInput(
            move.option,
            f"{listed(busy)}: a resharding job has not ended. Wait for it, or remove it with DELETE /_reshard/jobs/ID",
        )
    writer = _Writer(observed, move, moves.steps, first_stage)
    changes = writer.written()
    blocked = NotInSync(listed(moves.blocked, "; ")) if moves.blocked else None
    return changes, writer.maps, blocked


class _Writer:
    """Writes steps down as changes: those of one database that go together are one change, of so many databases at the same time."""

    def __init__(self, observed: Observed, move: Move, steps: t.Sequence[Step], first_stage: int) -> None:
        self.observed = observed
        self.move = move
        self.steps = steps
        self.maps = dict(observed.maps)
        self.stage = first_stage
        self.changes: list[Change] = []
        self.touched: dict[str, set[str]] = {}
        for step in steps:
            if step.database:
                self.touched.setdefault(step.database, set()).add(step.range)
        self.unsettled: dict[str, list[tuple[str, str]]] = {}

    def written(self) -> list[Change]:
        """The changes, in their stages."""
        steps = list(self.steps)
        while steps:
            group, steps = _group(steps)
            if group[0].action == MAINTAIN:
                self._enter(group[0].node)
            elif group[0].action == SERVE:
                self._leave(group[0].node)
            elif any(step.action == ADD for step in group):
                self._fill(group)
            else:
                self._settle(group)
        self._settle([])
        removed = {(step.database, step.range, step.node) for step in self.steps if step.action == REMOVE}
        gone = {member.name for member in self.observed.members if member.gone or not member.up}
        self.stage += 1
        for name, range_, node in sorted({*removed, *self.observed.leftovers}):
            if node not in gone and node not in self.maps[name].ranges.get(range_, ()):
                self._delete(name, range_, node)
        return self.changes

    def _held_by(self, node: str) -> list[str]:
        return sorted(name for name, map_ in self.maps.items() if any(node in nodes for nodes in map_.ranges.values()))

    def _enter(self, node: str) -> None:
        arguments = {"node": node, "databases": self._held_by(node), "refill": node in self.move.refill}
        self.stage += 1
        self._add("maintenance mode", (node,), Moving.enter_maintenance, arguments)
        self.stage += 1

    def _leave(self, node: str) -> None:
        arguments = {
            "node": node,
            "databases": self._held_by(node),
            "changed": sorted(self.unsettled),
            "wait_timeout": self.move.wait_timeout,
        }
        self.stage += 1
        self._add("service", (node,), Moving.leave_maintenance, arguments)
        self.stage += 1

    def _fill(self, group: list[Step]) -> None:
        for place, (name, steps) in enumerate(_by_database(group).items()):
            self.stage += int(place > 0 and place % self.move.max_parallel == 0)
            add = [(step.range, step.node) for step in steps if step.action == ADD]
            remove = [(step.range, step.node) for step in steps if step.action == REMOVE]
            self.unsettled.setdefault(name, []).extend(add)
            self._write(name, Moving.fill_copies, remove, add=add, wait_timeout=self.move.wait_timeout)
        self.stage += 1

    def _settle(self, group: list[Step]) -> None:
        """Remove copies, and write to the maps which of those before are full."""
        removals = {name: [(step.range, step.node) for step in steps] for name, steps in _by_database(group).items()}
        for name in sorted({*removals, *self.unsettled}):
            self._write(name, Moving.settle_map, removals.get(name, []), full=self.unsettled.pop(name, []))
        self.stage += 1

    def _delete(self, name: str, range_: str, node: str) -> None:
        arguments = {"database": name, "range_": range_, "node": node, "wait_timeout": self.move.wait_timeout}
        path = ("deleted copies", f"{name} {range_}", node)
        self._add("copy", path, Moving.delete_copy, arguments, action="delete", before={})

    def _add(
        self, what: str, path: tuple[str, ...], call: t.Callable[..., t.Any], arguments: dict[str, t.Any], **more: t.Any
    ) -> None:
        fields = {"action": "update", "before": None, "after": None, **more}
        self.changes.append(Change(what=what, path=path, call=call, arguments=arguments, stage=self.stage, **fields))

    def _write(self, name: str, call: t.Callable[..., t.Any], remove: list[tuple[str, str]], **more: t.Any) -> None:
        """Write down a change of the map of a database."""
        map_, before = self.maps[name], self._shown(name)
        arguments = {
            "database": name,
            "rev": map_.rev,
            "number": self.move.wanted.number(map_),
            "remove": remove,
            **more,
        }
        self._change(name, more.get("add", []), remove)
        self._add("shards", (name,), call, arguments, before=before, after=self._shown(name))

    def _change(self, name: str, add: t.Iterable[tuple[str, str]], remove: t.Iterable[tuple[str, str]]) -> None:
        map_ = self.maps[name]
        ranges = {range_: list(nodes) for range_, nodes in map_.ranges.items()}
        for range_, node in add:
            if node not in ranges[range_]:
                ranges[range_].append(node)
        for range_, node in remove:
            if node in ranges[range_]:
                ranges[range_].remove(node)
        number = self.move.wanted.number(map_)
        self.maps[name] = replace(map_, copies=number, ranges={key: tuple(nodes) for key, nodes in ranges.items()})

    def _shown(self, name: str) -> dict[str, list[str]]:
        """The ranges of a database that the plan touches, as the diff shows them."""
        return {range_: sorted(self.maps[name].ranges[range_]) for range_ in sorted(self.touched.get(name, ()))}


def _group(steps: list[Step]) -> tuple[list[Step], list[Step]]:
    """The first steps that go together, and those after them."""
    place = next((place for place, step in enumerate(steps) if step.action in (MAINTAIN, SERVE)), len(steps)) or 1
    return steps[:place], steps[place:]


def _by_database(steps: t.Iterable[Step]) -> dict[str, list[Step]]:
    found: dict[str, list[Step]] = {}
    for step in steps:
        found.setdefault(step.database, []).append(step)
    return found


def warnings(changes: t.Sequence[Change], observed: Observed) -> tuple[str, ...]:
    """That system databases move as well, and how much room the nodes need."""
    made = moved(changes, observed.sizes)
    found = []
    system = sorted({row["database"] for row in made}.intersection(rules.SYSTEM_DATABASES))
    if system:
        found.append(f"{', '.join(system)}: copies of system databases move as well")
    for node in sorted({row["node"] for row in made}):
        rows = [row for row in made if row["node"] == node]
        size = sum(row["bytes"] for row in rows)
        if size >= _LARGE:
            found.append(
                f"{node} gets about {sum(row['documents'] for row in rows)} documents in {size / 1e9:.1f} GB, and its indexes. CouchDB "
                "does not report how much room the disk has: check it"
            )
    return tuple(found)
