# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Shard maps: where the copies of shards are, and what keeps a cluster from being in sync. Pure.

How CouchDB places shards: https://docs.couchdb.org/en/stable/cluster/sharding.html
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ..errors import listed

MARK = "couchpy_move"
"""The field of a shard map with what a move needs to be resumed; CouchDB keeps and ignores it.

C(copies) is the number of copies that each range had, C(filling) lists by range the nodes whose copies are not known to be full.
"""

RESTS = "true"
"""The value of C(couchdb/maintenance_mode) with which CouchDB leaves the copies of a node out of reads and writes."""

Document = t.Dict[str, t.Any]


@dataclass(frozen=True)
class Member:
    """A node that can have copies. C(up) is whether it is connected.

    C(mode) is its setting C(couchdb/maintenance_mode). C(marked) is whether a move put it in maintenance mode.
    C(gone) is whether it is lost for good, with all its copies.
    """

    name: str
    zone: str | None = None
    up: bool = True
    mode: str = "false"
    marked: bool = False
    gone: bool = False

    @property
    def in_maintenance(self) -> bool:
        """Whether CouchDB leaves its copies out of reads and writes."""
        return self.mode == RESTS


@dataclass(frozen=True)
class Map:
    """The shard map of one database: C(ranges) is range → nodes with a copy.

    C(copies) is the number of copies that each range should keep, the largest of all without a mark. C(filling) are the copies that are
    not known to be full, by range. C(removed) are copies that a move took out of the map, as (range, node). C(suffix) is the end of the
    shards' names.
    """

    name: str
    ranges: t.Mapping[str, tuple[str, ...]]
    copies: int
    rev: str = ""
    suffix: str = ""
    filling: t.Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    removed: frozenset[tuple[str, str]] = frozenset()

    @property
    def overlaps(self) -> bool:
        """Whether a split has left ranges that overlap."""
        ranges = sorted(range_.split("-") for range_ in self.ranges)
        return any(before[1] >= after[0] for before, after in zip(ranges, ranges[1:]))

    def shard(self, range_: str) -> str:
        """The name of the database on a node that is a copy of this range."""
        return f"shards/{range_}/{self.name}{self.suffix}"


def shard_map(document: Document) -> Map:
    """The shard map in a document of C(_dbs)."""
    ranges = {name: tuple(nodes) for name, nodes in sorted((document.get("by_range") or {}).items())}
    mark = document.get(MARK) or {}
    last: dict[tuple[str, str], str] = {}
    for entry in document.get("changelog") or []:
        if len(entry) == 3:
            last[entry[1], entry[2]] = entry[0]
    removed = {
        copy_ for copy_, action in last.items() if action == "remove" and copy_[1] not in ranges.get(copy_[0], ())
    }
    return Map(
        name=document["_id"],
        ranges=ranges,
        copies=mark.get("copies") or max(map(len, ranges.values()), default=0),
        rev=document.get("_rev", ""),
        suffix="".join(chr(code) for code in document.get("shard_suffix") or []),
        filling={name: tuple(nodes) for name, nodes in (mark.get("filling") or {}).items() if name in ranges},
        removed=frozenset(copy_ for copy_ in removed if copy_[0] in ranges),
    )


def maintenance_gaps(modes: t.Mapping[str, str | None]) -> list[str]:
    """The members whose copies serve nothing, a sentence each, from their settings C(couchdb/maintenance_mode) by name."""
    return [f"{name} is in maintenance mode" for name, mode in modes.items() if mode == RESTS]


def shard_gaps(maps: t.Mapping[str, Map], members: t.Collection[str], stuck: t.Mapping[str, str]) -> list[str]:
    """What keeps the shards of a cluster from being in sync, a sentence each. C(stuck): database → state of a resharding job."""
    found = []
    strange: dict[str, list[str]] = {}
    for name, map_ in maps.items():
        for node in sorted({node for nodes in map_.ranges.values() for node in nodes}.difference(members)):
            strange.setdefault(node, []).append(name)
    found += [f"{node} is not a member, and has shards of {listed(names)}" for node, names in sorted(strange.items())]
    moving = sorted(name for name, map_ in maps.items() if map_.filling)
    if moving:
        found.append(f"copies are not full yet: {listed(moving)}")
    split = sorted(name for name, map_ in maps.items() if map_.overlaps)
    if split:
        found.append(f"ranges overlap, as a split has not ended: {listed(split)}")
    if stuck:
        found.append(
            "resharding jobs have not ended: " + listed([f"{name} ({state})" for name, state in sorted(stuck.items())])
        )
    return found
