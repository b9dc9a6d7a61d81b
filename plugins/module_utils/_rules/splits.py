# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Splits of shards: which ranges must be split to get a number of shards, and which numbers can be reached. Pure.

CouchDB halves a range; the second half of an odd one has one value more. So ranges that were halved equally often differ by a few
values, and one that was halved once less is about twice as large: the size that decides is halfway between.

https://docs.couchdb.org/en/stable/cluster/sharding.html#splitting-shards
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

RING = 2**32
"""The number of values of CouchDB's hash of document ids, which the ranges of shards divide."""


@dataclass(frozen=True)
class Split:
    """A database to split: its ranges, also those that only some copies have, and its number of unfinished resharding jobs."""

    ranges: t.Sequence[str]
    jobs: int = 0


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
