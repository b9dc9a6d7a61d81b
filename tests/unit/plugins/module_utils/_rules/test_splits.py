# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Splits of shards, with CouchDB's own arithmetic: from every number of shards exactly the desired one is reached."""

from __future__ import annotations

import random

import pytest
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules import splits as rules

RING = 2**32


def created(shards: int) -> list[tuple[int, int]]:
    """make_key_ranges() of mem3_util.erl."""
    increment, start, ranges = RING // shards, 0, []
    while start < RING:
        end = RING - 1 if start + 2 * increment > RING else start + increment - 1
        ranges.append((start, end))
        start = end + 1
    return ranges


def halves(begin: int, end: int) -> list[tuple[int, int]]:
    """target_ranges() of mem3_reshard.erl, with a split of 2."""
    length = end - begin + 1
    new, rest = divmod(length, 2)
    ranges = [(first, first + new - 1) for first in range(begin, end - rest + 1, new)]
    return [*ranges[:-1], (ranges[-1][0], end)]


def spelled(bounds: tuple[int, int]) -> str:
    return f"{bounds[0]:08x}-{bounds[1]:08x}"


class Copies:
    """The copies of a database, each of which CouchDB splits by itself."""

    def __init__(self, shards: int, number: int) -> None:
        self.copies = [{spelled(bounds): bounds for bounds in created(shards)} for _each in range(number)]

    @property
    def ranges(self) -> list[str]:
        """The ranges in the map: also those that only some copies have."""
        return list({name: None for copy in self.copies for name in copy})

    def split(self, name: str, chance: float, dice: random.Random) -> None:
        """The resharding jobs for a range, of which some may be removed before they ended."""
        for copy in self.copies:
            if name in copy and dice.random() < chance:
                copy.update({spelled(half): half for half in halves(*copy.pop(name))})


def split_all(copies: Copies, wanted: int, chance: float, dice: random.Random) -> int:
    """Split until nothing is left to do, as the client does. Returns the number of rounds."""
    rounds = 0
    while True:
        assert rules.split_problem(copies.ranges, wanted) is None
        left = rules.unsplit(copies.ranges, wanted)
        if not left:
            return rounds
        rounds += 1
        for name in left:
            copies.split(name, chance, dice)


@pytest.mark.parametrize("shards", range(1, 65))
def test_exactly_the_desired_number_is_reached(shards: int) -> None:
    assert rules.new_ranges(shards) == [spelled(bounds) for bounds in created(shards)]
    for power in (0, 1, 2, 3, 5, 8):
        copies = Copies(shards, 1)
        assert split_all(copies, shards * 2**power, 1, random.Random(0)) == power
        assert len(copies.ranges) == shards * 2**power


@pytest.mark.parametrize("shards", range(1, 65))
def test_a_split_that_was_interrupted_reaches_it_too(shards: int) -> None:
    dice = random.Random(shards)
    for power in (1, 2, 3):
        copies = Copies(shards, dice.randint(1, 3))
        split_all(copies, shards * 2**power, dice.choice([0.2, 0.5, 0.9]), dice)
        assert len(copies.ranges) == shards * 2**power
        # And from there to more.
        split_all(copies, shards * 2 ** (power + 1), 0.5, dice)
        assert len(copies.ranges) == shards * 2 ** (power + 1)


def test_sizes_are_far_from_the_one_that_decides() -> None:
    """Halved n times, a size is between its 2**n-th part rounded down and up: for more shards than any database has."""
    for shards in [*range(1, 5000), 9999, 16384]:
        smallest = RING // shards
        largest = smallest + RING % shards
        for power in range(1, 9):
            halfway = 3 * RING / (2 * shards * 2**power)
            assert -(-largest // 2**power) < halfway < smallest // 2 ** (power - 1)


@pytest.mark.parametrize(
    ("ranges", "shards", "problem"),
    [
        (rules.new_ranges(3), 5, "CouchDB can double the number of its shards only, to 6, 12, 24 and so on."),
        (rules.new_ranges(3), 4, "to 6, 12, 24 and"),
        (rules.new_ranges(8), 4, "to 16, 32, 64 and"),
        (rules.new_ranges(1), 3, "to 2, 4, 8 and"),
        # One range is larger than the others: there is no way to 6, and three of them are three shards.
        (["00000000-7fffffff", "80000000-bfffffff", "c0000000-ffffffff"], 6, "to 4, 8, 16 and"),
        (["00000000-7fffffff", "80000000-bfffffff", "c0000000-ffffffff"], 3, None),
        # A copy is split further than wanted.
        (["00000000-7fffffff", "80000000-ffffffff", "80000000-bfffffff", "c0000000-ffffffff"], 2, "to 4, 8, 16 and"),
        (["00000000-0fffffff", "10000000-ffffffff"], 4, "Its ranges are too uneven to become equal by splitting."),
    ],
)
def test_numbers_that_can_not_be_reached(ranges: list[str], shards: int, problem: str | None) -> None:
    found = rules.split_problem(ranges, shards)
    assert (found is None) if problem is None else problem in str(found)
    if problem is None:
        assert rules.unsplit(ranges, shards) == []
