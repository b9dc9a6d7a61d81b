# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The placement of shards: on generated clusters, each plan keeps its promises."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

from ansible_collections.couchpy.couchdb.plugins.module_utils._rules import moves as rules
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules.moves import Moves, Step, Wanted
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules.shards import Map, Member
from ansible_collections.couchpy.couchdb.plugins.module_utils.errors import InvalidInput
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

RANGES = {
    1: ("00000000-ffffffff",),
    2: ("00000000-7fffffff", "80000000-ffffffff"),
    4: ("00000000-3fffffff", "40000000-7fffffff", "80000000-bfffffff", "c0000000-ffffffff"),
}


@st.composite
def clusters(
    draw: Any,
    most_nodes: int = 7,
    most_databases: int = 4,
    zones: bool = True,
    operators: bool = True,
) -> Any:
    """Nodes, the shard maps of some databases, and a placement that the members allow.

    Some nodes are down, gone or in an operator's maintenance mode, and some copies are still to be filled, as after a move that was killed.
    Ranges may have fewer copies than the database keeps, or more.
    """
    names = [f"node{number}@a" for number in range(1, draw(st.integers(1, most_nodes)) + 1)]
    zone = {name: draw(st.sampled_from(["x", "y"])) if zones else None for name in names}
    down = draw(st.sampled_from([None, None, *names]))
    gone = down is not None and draw(st.booleans())
    marked = draw(st.sampled_from([None, None, *names]))
    kept = draw(st.sampled_from([None, None, *names])) if operators else None
    members = [
        Member(
            name,
            zone[name],
            up=name != down,
            gone=gone and name == down,
            marked=name == marked,
            mode="true" if name in (marked, kept) else "false",
        )
        for name in names
    ]
    maps = {}
    for place in range(draw(st.integers(1, most_databases))):
        copies = draw(st.integers(1, min(3, len(names))))
        ranges, filling = {}, {}
        for range_ in RANGES[draw(st.sampled_from([1, 2, 4]))]:
            number = draw(st.integers(max(1, copies - 1), min(copies + 1, len(names))))
            holders = draw(st.permutations(names))[:number]
            ranges[range_] = tuple(holders)
            if marked in holders and len(holders) > 1 and draw(st.booleans()):
                filling[range_] = (marked,)
        most = max(map(len, ranges.values()))
        # A move that did not end left a mark with the number.
        keeps = copies if filling or draw(st.booleans()) else most
        maps[f"db{place}"] = Map(f"db{place}", ranges, keeps, filling=filling)
    leaving = draw(st.sets(st.sampled_from(names), max_size=len(names) - 1))
    allowed = frozenset(names) - leaving - ({down} if gone else set())
    assume(allowed)
    copies = draw(st.one_of(st.none(), st.integers(1, len(allowed))))
    placement = None
    if zones and draw(st.booleans()):
        sizes = {z: sum(1 for name in allowed if zone[name] == z) for z in ("x", "y")}
        placement = {z: draw(st.integers(1, size)) for z, size in sizes.items() if size}
        copies = None
    keep_zones = copies is None and placement is None and draw(st.booleans())
    wanted = Wanted(allowed, copies, placement, balance=draw(st.booleans()), keep_zones=keep_zones)
    try:
        rules.check_wanted(wanted, members, maps.values())
    except InvalidInput:
        assume(False)
    assume(not rules.lost_ranges(maps.values(), members))
    return maps, members, wanted


def zones_of(maps: dict[str, Map], members: list[Member], wanted: Wanted) -> dict[str, Any]:
    """The number of copies that each zone has, of the databases whose ranges do not differ in that and whose zones have room for it."""
    zone = {member.name: member.zone for member in members}
    room = Counter(zone[member.name] for member in members if member.name in wanted.members and not member.gone)
    found = {}
    for name, map_ in maps.items():
        numbers = [Counter(zone[node] for node in nodes) for nodes in map_.ranges.values()]
        alike = all(number == numbers[0] and sum(number.values()) == map_.copies for number in numbers)
        if alike and not map_.filling and numbers[0] <= room:
            found[name] = numbers[0]
    return found


def with_nodes(maps: dict[str, Map], target: Any) -> dict[str, Map]:
    """The maps once their copies are where they should be."""
    return {
        name: Map(name, {range_: tuple(sorted(target[name, range_])) for range_ in map_.ranges}, map_.copies)
        for name, map_ in maps.items()
    }


@settings(max_examples=2000, deadline=None, derandomize=True)
@given(clusters())
def test_a_move_by_the_members_keeps_the_numbers_of_copies_in_each_zone(cluster: Any) -> None:
    maps, members, wanted = cluster
    wanted = Wanted(wanted.members, balance=wanted.balance, keep_zones=True)
    assume(all(map_.copies <= len(wanted.members) for map_ in maps.values()))
    before = zones_of(maps, members, wanted)
    after = zones_of(with_nodes(maps, rules.place(maps, members, wanted)), members, wanted)
    assert {name: after.get(name) for name in before} == before


class Watcher:
    """Applies the steps to a model, and fails if one breaks a promise."""

    def __init__(self, maps: dict[str, Map], members: list[Member], numbers: dict[Any, int]) -> None:
        self.numbers = numbers
        self.up = {m.name for m in members if m.up and not m.gone}
        self.gone = {m.name for m in members if m.gone}
        self.resting = {m.name for m in members if m.mode == "true" and m.name in self.up}
        self.kept = {m.name for m in members if m.name in self.resting and not m.marked}
        self.holders = {(n, r): set(h) for n, m in maps.items() for r, h in m.ranges.items()}
        self.full = {
            (n, r): set(h) - set(m.filling.get(r, ())) - self.gone for n, m in maps.items() for r, h in m.ranges.items()
        }
        self.had = {shard: len(full) >= numbers[shard] for shard, full in self.full.items()}
        self.majority = {shard: self.has_majority(shard) for shard in self.full}

    def has_majority(self, shard: Any) -> bool:
        serving = self.full[shard] & self.up - self.resting
        return len(serving) * 2 > len(self.full[shard])

    def take(self, step: Step) -> None:
        if step.action == "maintain":
            assert step.node in self.up
            assert step.node not in self.kept, "another user's maintenance mode would end"
            assert step.node in self.resting or not self.resting, "two nodes at a time"
            self.resting.add(step.node)
        elif step.action == "serve":
            self.resting.remove(step.node)
            for shard, nodes in self.holders.items():
                if step.node in nodes:
                    self.full[shard].add(step.node)
        elif step.action == "add":
            assert self.resting - self.kept == {step.node}, "a copy is added outside of maintenance mode"
            assert self.full[step.shard] & self.up - {step.node}, "there is nothing to fill the copy from"
            self.holders[step.shard].add(step.node)
            self.full[step.shard].discard(step.node)
        else:
            assert step.node in self.holders[step.shard]
            assert self.full[step.shard] - {step.node}, "the last full copy leaves"
            if step.node in self.full[step.shard]:
                assert self.full[step.shard] & self.up - {step.node}, "all copies that stay are down"
            self.holders[step.shard].remove(step.node)
            self.full[step.shard].discard(step.node)
        assert len(self.resting - self.kept) <= 1
        for shard, full in self.full.items():
            assert self.holders[shard], "a range has no copy"
            self.had[shard] = self.had[shard] or len(full) >= self.numbers[shard]
            assert not self.had[shard] or len(full) >= self.numbers[shard], f"{step} leaves too few copies of {shard}"
            majority = self.has_majority(shard)
            assert majority or not self.majority[shard], f"{step} leaves no majority of {shard} in service"
            self.majority[shard] = majority


def planned(maps: dict[str, Map], members: list[Member], wanted: Wanted) -> tuple[Any, Moves]:
    target = rules.place(maps, members, wanted)
    return target, rules.moves(maps, members, target)


def numbers(maps: dict[str, Map], wanted: Wanted) -> dict[Any, int]:
    return {(name, range_): wanted.number(map_) for name, map_ in maps.items() for range_ in map_.ranges}


@settings(max_examples=2000, deadline=None, derandomize=True)
@given(clusters())
def test_each_step_keeps_copies_and_majorities(cluster: Any) -> None:
    maps, members, wanted = cluster
    target, moves = planned(maps, members, wanted)
    watcher = Watcher(maps, members, numbers(maps, wanted))
    for step in moves.steps:
        watcher.take(step)
    if not moves.blocked:
        assert watcher.resting == watcher.kept
        assert {shard: frozenset(nodes) for shard, nodes in watcher.holders.items()} == target


# Only plans that nothing keeps from their end are killed.
@settings(max_examples=500, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.filter_too_much])
@given(clusters(operators=False), st.data())
def test_a_plan_that_was_killed_is_resumed_and_ends_the_same(cluster: Any, data: Any) -> None:
    maps, members, wanted = cluster
    _target, moves = planned(maps, members, wanted)
    assume(moves.steps and not moves.blocked)
    killed = data.draw(st.integers(0, len(moves.steps)))
    watcher = Watcher(maps, members, numbers(maps, wanted))
    for step in moves.steps[:killed]:
        watcher.take(step)
    # The state of the cluster then.
    left = {
        name: Map(
            name,
            {range_: tuple(sorted(watcher.holders[name, range_])) for range_ in map_.ranges},
            map_.copies,
            filling={
                range_: tuple(sorted(unfilled))
                for range_ in map_.ranges
                for unfilled in [watcher.holders[name, range_] - watcher.full[name, range_] - watcher.gone]
                if unfilled
            },
        )
        for name, map_ in maps.items()
    }
    after = [
        Member(
            m.name,
            m.zone,
            m.up,
            "true" if m.name in watcher.resting else "false",
            m.name in watcher.resting - watcher.kept,
            m.gone,
        )
        for m in members
    ]
    target, again = planned(left, after, wanted)
    assert not again.blocked
    for step in again.steps:
        watcher.take(step)
    assert watcher.resting == watcher.kept
    assert {shard: frozenset(nodes) for shard, nodes in watcher.holders.items()} == target
    if wanted.keep_zones:
        before, now = (zones_of(these, members, wanted) for these in (maps, with_nodes(maps, target)))
        assert {name: now.get(name) for name in before} == before
    assert all(len(watcher.full[shard]) == number for shard, number in numbers(maps, wanted).items())


@settings(max_examples=1000, deadline=None, derandomize=True)
@given(clusters())
def test_a_placement_has_the_copies_in_their_zones_and_balanced(cluster: Any) -> None:
    maps, members, wanted = cluster
    target = rules.place(maps, members, wanted)
    zone = {member.name: member.zone for member in members}
    groups = wanted.placement or {None: 0}
    for shard, nodes in target.items():
        assert nodes <= wanted.members
        assert len(nodes) == wanted.number(maps[shard[0]])
        if wanted.placement:
            assert {z: sum(1 for node in nodes if zone[node] == z) for z in groups} == wanted.placement
    if wanted.balance and not wanted.keep_zones:
        for group in groups:
            loads = [
                sum(1 for nodes in target.values() if name in nodes)
                for name in wanted.members
                if group is None or zone[name] == group
            ]
            assert max(loads) - min(loads) <= 1


def fewest(maps: dict[str, Map], wanted: Wanted) -> int:
    """The smallest number of new copies, by trying every placement."""
    ranges = [(frozenset(nodes), wanted.number(m)) for m in maps.values() for nodes in m.ranges.values()]
    names = sorted(wanted.members)
    best = {tuple([0] * len(names)): 0}
    for held, number in ranges:
        after: dict[Any, int] = {}
        for loads, made in best.items():
            for nodes in itertools.combinations(range(len(names)), number):
                new = tuple(load + (place in nodes) for place, load in enumerate(loads))
                cost = made + sum(1 for place in nodes if names[place] not in held)
                after[new] = min(cost, after.get(new, cost))
        best = after
    return min(made for loads, made in best.items() if not wanted.balance or max(loads) - min(loads) <= 1)


@settings(max_examples=500, deadline=None, derandomize=True)
@given(clusters(most_nodes=5, most_databases=3, zones=False))
def test_no_placement_makes_fewer_copies(cluster: Any) -> None:
    maps, members, wanted = cluster
    target = rules.place(maps, members, wanted)
    made = sum(len(nodes - set(maps[name].ranges[range_])) for (name, range_), nodes in target.items())
    assert made == fewest(maps, wanted)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(clusters())
def test_a_placement_as_desired_stays(cluster: Any) -> None:
    maps, members, wanted = cluster
    target = rules.place(maps, members, wanted)
    there = with_nodes(maps, target)
    fresh = [Member(m.name, m.zone, m.up, gone=m.gone) for m in members]
    assert rules.place(there, fresh, wanted) == target
    assert rules.moves(there, fresh, target) == Moves()
