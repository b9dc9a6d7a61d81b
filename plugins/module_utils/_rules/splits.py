# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Splits of shards: which ranges must be split to get a number of shards, by which node, and which numbers can be reached. Pure.

CouchDB halves a range; the second half of an odd one has one value more. So ranges that were halved equally often differ by a few
values, and one that was halved once less is about twice as large: the size that decides is halfway between.

https://docs.couchdb.org/en/stable/cluster/sharding.html#splitting-shards
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .service import Service
from .shards import Map, Member

RING = 2**32
"""The number of values of CouchDB's hash of document ids, which the ranges of shards divide."""


@dataclass(frozen=True)
class Split:
    """A database to split: its ranges, also those that only some copies have, each with the nodes that have a copy.

    C(busy) are the nodes with unfinished resharding jobs for it, C(ended) those with completed ones.
    """

    ranges: t.Mapping[str, t.Sequence[str]]
    busy: t.Collection[str] = ()
    ended: t.Collection[str] = ()

    @property
    def nodes(self) -> list[str]:
        """The nodes that have copies."""
        return sorted({node for nodes in self.ranges.values() for node in nodes})

    def work(self, shards: int) -> set[str]:
        """The nodes that must split copies, or are at it, to get so many shards."""
        return {*self.busy, *(node for range_ in unsplit(self.ranges, shards) for node in self.ranges[range_])}


@dataclass(frozen=True)
class Turns:
    """Which nodes split their copies of which databases, one node after the other, each in maintenance mode meanwhile.

    C(serving) are the databases with copies that are split in service, by name, each with the reason. C(on) are the databases with
    copies on each node.
    """

    nodes: dict[str, list[str]]
    serving: dict[str, str]
    on: dict[str, list[str]]


def turns(
    splits: t.Mapping[str, Split], shards: t.Mapping[str, int], maps: t.Mapping[str, Map], members: t.Sequence[Member]
) -> Turns:
    """How to split these databases to so many shards each. C(maps) are those of all databases.

    CouchDB writes the new shards to the map before they have the last writes. So a node splits its copies in maintenance mode, if
    the others have enough of all that is on it. One that a task was to split in maintenance mode, and was killed, is among them.
    """
    found, service = Turns({}, {}, {}), Service(maps, members)
    work: dict[str, list[str]] = {}
    for name, split in splits.items():
        for node in split.work(shards[name]).union(service.marked.intersection(split.ended)):
            work.setdefault(node, []).append(name)
    for node in sorted(work, key=lambda each: (each not in service.resting, each)):
        unfilled = any(node not in service.full[shard] for shard in service.on.get(node, ()))
        problem = f"copies on {node} are not full. Fill them with couchdb_shards" if unfilled else ""
        problem = problem or service.may_rest(node) or service.short_without(node)
        if problem:
            found.serving.update((name, problem) for name in work[node] if name not in found.serving)
        else:
            found.nodes[node] = sorted(work[node])
            found.on[node] = sorted({name for name, _range in service.on.get(node, ())})
            # It is in service again before the next one rests.
            service.serve(node)
    return found


def new_ranges(shards: int) -> list[str]:
    """The ranges of a new database."""
    firsts = [number * (RING // shards) for number in range(shards)]
    return [f"{first:08x}-{end - 1:08x}" for first, end in zip(firsts, [*firsts[1:], RING])]


def unsplit(ranges: t.Collection[str], shards: int) -> list[str]:
    """The ranges that must be split to get so many shards, some several times."""
    return [] if _are(ranges, shards) else sorted(range_ for range_ in ranges if _parts(range_, shards) > 1)


def split_problem(ranges: t.Collection[str], shards: int) -> str | None:
    """Why a database with these ranges can't be split to get so many shards; None if it can."""
    if _can_become(ranges, shards):
        return None
    least = min(map(_size, ranges))
    doubled = (round(RING / least) * 2**power for power in range(4))
    numbers = [str(number) for number in doubled if _can_become(ranges, number) and not _are(ranges, number)]
    if not numbers:
        return "Its ranges are too uneven to become equal by splitting. Set shards to the number that it has"
    return f"CouchDB can double the number of its shards only, to {', '.join(numbers[:3])} and so on. Set one of these"


def _size(range_: str) -> int:
    first, _dash, last = range_.partition("-")
    return int(last, 16) - int(first, 16) + 1


def _parts(range_: str, shards: int) -> int:
    """Into how many parts a range is split to get so many shards."""
    parts = 1
    while 2 * _size(range_) * shards > 3 * RING * parts:
        parts *= 2
    return parts


def _are(ranges: t.Collection[str], shards: int) -> bool:
    """Whether these are so many shards, of which none is a part of another."""
    return len(ranges) == shards and sum(map(_size, ranges)) == RING


def _can_become(ranges: t.Collection[str], shards: int) -> bool:
    """Whether splits lead from these ranges to exactly so many shards."""
    if _are(ranges, shards):
        return True
    number, end = 0, ""
    for range_ in sorted(ranges, key=lambda range_: (range_[:8], -_size(range_))):
        if 4 * _size(range_) * shards < 3 * RING:
            return False
        # A copy may be split already: its ranges are parts of the one before.
        if range_[:8] > end:
            number += _parts(range_, shards)
            end = range_[9:]
    return number == shards
