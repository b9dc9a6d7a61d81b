# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Zones of members: how many copies of a database each has, which a move by the members keeps. Pure.

https://docs.couchdb.org/en/stable/cluster/sharding.html#specifying-database-placement
"""

from __future__ import annotations

import typing as t
from collections import Counter

from .shards import Map, Member

Numbers = t.Dict[t.Optional[str], int]
"""Zone, None for members without one, → copies of each range."""


def numbers_to_keep(
    maps: t.Iterable[Map], members: t.Iterable[Member], allowed: t.Iterable[Member], instead: t.Mapping[str, str]
) -> dict[str, Numbers]:
    """How many copies each zone should keep, by the name of the database.

    A database is left out if its ranges differ in that, or if there is one zone only. A range with too many copies must have enough in
    each zone, one with too few not too many. If a zone has too few C(allowed) members, others get the rest. C(instead) has the nodes
    that replace others, by the name of the other.
    """
    zones = {member.name: member.zone for member in members}
    room = Counter(member.zone for member in allowed)
    kept: dict[str, Numbers] = {}
    for map_ in maps if len(room) > 1 else ():
        found: list[Numbers] = []
        others: list[tuple[int, Numbers]] = []
        for range_, nodes in map_.ranges.items():
            # A move that was interrupted has added copies, and not yet removed those that they replace.
            full = [node for node in nodes if node not in map_.filling.get(range_, ())]
            counted = full if len(full) == map_.copies else nodes
            there = Counter(zones.get(instead.get(node, node)) for node in counted)
            if len(counted) == map_.copies:
                numbers = _fitted(there, room)
                found += [numbers] if numbers not in found else []
            else:
                others.append((len(counted) - map_.copies, dict(there)))
        if len(found) == 1 and all(_suits(found[0], there, surplus) for surplus, there in others):
            kept[map_.name] = found[0]
    return kept


def _suits(numbers: Numbers, there: Numbers, surplus: int) -> bool:
    """Whether a range can get these numbers by losing copies only, if it has a surplus, or else by getting some."""
    missing = (numbers.get(zone, 0) - there.get(zone, 0) for zone in {**numbers, **there})
    return all(number <= 0 if surplus > 0 else number >= 0 for number in missing)


def _fitted(numbers: t.Mapping[str | None, int], room: t.Mapping[str | None, int]) -> Numbers:
    """The numbers, with no more copies in a zone than it has members."""
    fitted = {zone: min(numbers.get(zone, 0), members) for zone, members in room.items()}
    for _each in range(min(sum(numbers.values()), sum(room.values())) - sum(fitted.values())):
        fitted[max(fitted, key=lambda zone: (room[zone] - fitted[zone], str(zone)))] += 1
    return fitted
