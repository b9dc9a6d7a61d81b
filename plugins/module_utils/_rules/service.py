# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Copies of shards: which of them have the same documents, which are in service, and which nodes the others can do without. Pure.

https://docs.couchdb.org/en/stable/config/couchdb.html#couchdb/maintenance_mode
"""

from __future__ import annotations

import base64
import hashlib
import sys
import typing as t

from .shards import Map, Member

Shard = t.Tuple[str, str]
"""A range of a database: the name of the database, and the range as CouchDB spells it."""


class Service:
    """The current copies, which of them are full, and which nodes are out of service.

    C(refill) names nodes that a task may put in service although another user put them in maintenance mode.
    """

    def __init__(self, maps: t.Mapping[str, Map], members: t.Sequence[Member], refill: t.Collection[str] = ()) -> None:
        self.marked = {member.name for member in members if member.marked}
        self.gone = {member.name for member in members if member.gone}
        self.up = {member.name for member in members if member.up and not member.gone}
        self.resting = {member.name for member in members if member.in_maintenance and member.name in self.up}
        # Those that a task may not put in service.
        self.foreign = self.resting.difference(refill, self.marked)
        self.holders: dict[Shard, set[str]] = {}
        self.full: dict[Shard, set[str]] = {}
        self.on: dict[str, set[Shard]] = {}
        for name, map_ in maps.items():
            for range_, nodes in map_.ranges.items():
                shard = (name, range_)
                self.holders[shard] = set(nodes)
                self.full[shard] = _full(map_, range_) - self.gone
                for node in nodes:
                    self.on.setdefault(node, set()).add(shard)

    def serving(self, shard: Shard, without: str = "") -> int:
        """How many full copies of a range are in service."""
        return sum(1 for node in self.full[shard] if node in self.up and node not in self.resting and node != without)

    def may_rest(self, node: str) -> str:
        """Why a node can't go into maintenance mode now, whatever copies it has, or nothing if it can."""
        if node in self.foreign:
            return f"{node} is in maintenance mode, which another user set. End it first"
        if node in self.resting:
            return ""
        if node not in self.up:
            return f"{node} is down. Start it"
        if self.resting:
            return f"{', '.join(sorted(self.resting))} is in maintenance mode. End it first, as only one node may be at a time"
        return ""

    def short_without(self, node: str) -> str:
        """Which range has too few copies in service without a node, or nothing if none has."""
        if node in self.resting:
            return ""
        for shard in sorted(self.on.get(node, ())):
            serving = self.serving(shard, node)
            if node in self.full[shard] and not self._enough(serving, self.serving(shard), self.full[shard]):
                return f"too few copies of {' '.join(shard)} are in service: {serving} of {len(self.full[shard])}"
        return ""

    def rest(self, node: str) -> None:
        """Put a node in maintenance mode."""
        self.resting.add(node)

    def serve(self, node: str) -> None:
        """Put a node into service."""
        self.resting.discard(node)

    @staticmethod
    def _enough(serving: int, before: int, full: t.Collection[str]) -> bool:
        """Whether so many copies in service are a majority, or at least not fewer than before."""
        return serving * 2 > len(full) or serving >= before


def other_copies(map_: Map, range_: str, node: str) -> list[tuple[str, str]]:
    """The full copies on other nodes that share documents with a copy, as (range, node).

    While copies are split one after the other, those of ranges that overlap are among them.
    """
    return [
        (other, name)
        for other, nodes in map_.ranges.items()
        if _shared(range_, other) > 0
        for name in nodes
        if name != node and name not in map_.filling.get(other, ())
    ]


def _full(map_: Map, range_: str) -> set[str]:
    """The nodes with all documents of a range in full copies: of this range, or of those that overlap it."""
    if not map_.overlaps:
        return set(map_.ranges[range_]).difference(map_.filling.get(range_, ()))
    there: dict[str, int] = {}
    for other, nodes in map_.ranges.items():
        for node in set(nodes).difference(map_.filling.get(other, ())):
            there[node] = there.get(node, 0) + max(_shared(range_, other), 0)
    return {node for node, number in there.items() if number == _shared(range_, range_)}


def _shared(one: str, other: str) -> int:
    """How many values two ranges share; 0 or less if none."""
    first, last = max(one[:8], other[:8]), min(one[9:], other[9:])
    return int(last, 16) - int(first, 16) + 1


def checkpoint_id(source: str, target: str) -> str:
    """The id, without C(_local/), of the checkpoint of the internal replication from one copy to another, by their UUIDs."""

    def key(uuid: str) -> str:
        # CouchDB hashes the UUID as an Erlang term in its external format: 131, 109, and four bytes of length.
        term = b"\x83m" + len(uuid).to_bytes(4, "big") + uuid.encode()
        # Hosts that allow no MD5 for security allow it for this, since Python 3.9 knows the difference.
        options: dict[str, t.Any] = {"usedforsecurity": False} if sys.version_info >= (3, 9) else {}
        return base64.urlsafe_b64encode(hashlib.md5(term, **options).digest()).decode().rstrip("=")

    return f"shard-sync-{key(source)}-{key(target)}"
