# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The proof that a node restarted, and what a cluster lacks to be in sync. Pure.

CouchDB answers a request to restart before it goes down, and continues to answer for a moment; and a node
that answers through another may not listen yet. So no answer alone proves anything.

https://docs.couchdb.org/en/stable/api/server/common.html#node-node-name-restart
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

_LISTENERS = ("chttpd", "https")
"""The processes of CouchDB that listen; a node reports their message queues as soon as they do."""


@dataclass(frozen=True)
class Sighting:
    """The state of a node at one moment.

    ``uptime``: whole seconds since it started; None if the server does not report it (CouchDB 1.x). ``requests``: the
    number that it answered since it started; CouchDB 1.x only. ``listens``: whether clients can reach it. ``connected``:
    the other nodes that it is connected with; None if the server does not report them. ``backlog``: the number of its
    shards that wait to be copied to other nodes.
    """

    uptime: int | None = None
    requests: int | None = None
    listens: bool = True
    connected: frozenset[str] | None = None
    backlog: int = 0


def of_system(system: t.Mapping[str, t.Any]) -> Sighting:
    """The state in an answer of ``GET /_node/NAME/_system``."""
    connected, queues = system.get("distribution"), system.get("message_queues")
    return Sighting(
        uptime=int(system["uptime"]),
        listens=queues is None or any(name in queues for name in _LISTENERS),
        connected=None if connected is None else frozenset(connected),
        backlog=int(system.get("internal_replication_jobs") or 0),
    )


def of_statistics(statistics: t.Any) -> Sighting:
    """The state in an answer of ``GET /_stats/httpd/requests`` of CouchDB 1.x."""
    try:
        count = statistics["httpd"]["requests"]["current"]
    except (KeyError, TypeError):
        return Sighting()
    return Sighting(requests=int(count or 0))


def proves_restart(before: Sighting, now: Sighting, elapsed: float, refused: bool) -> bool:
    """Whether a node restarted between two sightings: before the request to restart, and now.

    ``elapsed``: seconds from before the request to before this sighting. ``refused``: whether it refused a connection in between.
    """
    if before.uptime is not None and now.uptime is not None:
        # Uptimes are whole seconds: an uptime of 1 is anything below 2.
        return now.uptime < before.uptime or now.uptime + 1 <= elapsed
    if before.requests is not None and now.requests is not None and now.requests < before.requests:
        return True
    return refused


@dataclass(frozen=True)
class Cluster:
    """A cluster as one of its nodes sees it: the names of its members, and a sighting of each connected one."""

    members: tuple[str, ...]
    sightings: dict[str, Sighting]

    @property
    def down(self) -> list[str]:
        """The members that the answering node is not connected with."""
        return [name for name in self.members if name not in self.sightings]

    def gaps(self, without: t.Collection[str] = ()) -> list[str]:
        """What the cluster lacks to be in sync, a sentence each. Members in ``without`` may be down."""
        found = [f"{name} is down" for name in self.down if name not in without]
        needed = {name for name in self.members if name not in without and name in self.sightings}
        for name in sorted(needed):
            seen = self.sightings[name]
            apart = sorted(needed - {name} - seen.connected) if seen.connected is not None else []
            if apart:
                found.append(f"{name} is not connected with {', '.join(apart)}")
            if not seen.listens:
                found.append(f"{name} does not listen yet")
            if seen.backlog:
                found.append(f"{name} has {seen.backlog} shards to copy to other nodes")
        return found


def in_maintenance(mode: str | None) -> bool:
    """Whether a value of ``couchdb/maintenance_mode`` takes the node out of service, so that its C(_up) returns 404.

    https://docs.couchdb.org/en/stable/config/couchdb.html#couchdb/maintenance_mode
    """
    return mode in ("true", "nolb")
