# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""_restart: what proves a restart, and what a cluster lacks, as tables."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules.restart import (
    Cluster,
    Sighting,
    in_maintenance,
    of_statistics,
    of_system,
    proves_restart,
)


@pytest.mark.parametrize(
    ("before", "now", "elapsed", "refused", "proved"),
    [
        # It goes on answering for a moment.
        (Sighting(100), Sighting(100), 0.1, False, False),
        (Sighting(100), Sighting(101), 0.9, False, False),
        (Sighting(100), Sighting(101), 60.0, True, False),
        (Sighting(100), Sighting(0), 2.0, False, True),
        (Sighting(100), Sighting(99), 0.1, False, True),
        # A node that has only just started: 0 is anything below 1.
        (Sighting(0), Sighting(0), 0.4, False, False),
        (Sighting(0), Sighting(0), 0.99, False, False),
        (Sighting(0), Sighting(0), 1.0, False, True),
        (Sighting(0), Sighting(1), 1.5, False, False),
        (Sighting(0), Sighting(1), 2.0, False, True),
        (Sighting(2), Sighting(3), 1.5, True, False),
        # It took so long that it has been up for longer than before.
        (Sighting(3), Sighting(10), 12.0, False, True),
        # CouchDB 1.x reports no uptime.
        (Sighting(requests=50), Sighting(requests=51), 1.0, False, False),
        (Sighting(requests=50), Sighting(requests=1), 1.0, False, True),
        (Sighting(requests=50), Sighting(requests=90), 1.0, True, True),
        (Sighting(), Sighting(), 5.0, False, False),
        (Sighting(), Sighting(), 5.0, True, True),
    ],
)
def test_what_proves_a_restart(before: Sighting, now: Sighting, elapsed: float, refused: bool, proved: bool) -> None:
    assert proves_restart(before, now, elapsed, refused) is proved


SYSTEM = {"uptime": 7, "message_queues": {"chttpd": 0}, "distribution": {"b@h": {}}, "internal_replication_jobs": 0}


@pytest.mark.parametrize(
    ("change", "sighting"),
    [
        ({}, Sighting(7, connected=frozenset(["b@h"]))),
        ({"message_queues": {"chttpd_sup": 0}}, Sighting(7, listens=False, connected=frozenset(["b@h"]))),
        ({"message_queues": {"https": 0}}, Sighting(7, connected=frozenset(["b@h"]))),
        ({"internal_replication_jobs": 3}, Sighting(7, connected=frozenset(["b@h"]), backlog=3)),
        # What older versions don't report does not count against them.
        ({"message_queues": None, "distribution": None, "internal_replication_jobs": None}, Sighting(7)),
    ],
)
def test_what_a_node_shows(change: dict[str, t.Any], sighting: Sighting) -> None:
    assert of_system({**SYSTEM, **change}) == sighting


@pytest.mark.parametrize(
    ("statistics", "requests"),
    [
        ({"httpd": {"requests": {"description": "x", "current": 12.0, "sum": 12.0}}}, 12),
        ({"httpd": {"requests": {"current": None}}}, 0),
        ({"error": "not_found", "reason": "missing"}, None),
        ({"httpd": {}}, None),
        (None, None),
    ],
)
def test_what_a_node_of_couchdb_1_shows(statistics: t.Any, requests: int | None) -> None:
    assert of_statistics(statistics) == Sighting(requests=requests)


def node(*connected: str, **more: t.Any) -> Sighting:
    return Sighting(5, connected=frozenset(connected), **more)


WHOLE = {"a@h": node("b@h", "c@h"), "b@h": node("a@h", "c@h"), "c@h": node("a@h", "b@h", "else@h")}


@pytest.mark.parametrize(
    ("change", "without", "gaps"),
    [
        ({}, (), []),
        ({"c@h": None}, (), ["c@h is down"]),
        ({"c@h": None}, ("c@h",), []),
        ({"c@h": None, "a@h": node("b@h")}, ("c@h",), []),
        ({"c@h": None, "a@h": node()}, ("c@h",), ["a@h is not connected with b@h"]),
        ({"b@h": node("a@h")}, (), ["b@h is not connected with c@h"]),
        ({"b@h": node("a@h")}, ("c@h",), []),
        ({"b@h": Sighting(5)}, (), []),
        ({"b@h": node("a@h", "c@h", listens=False)}, (), ["b@h does not listen yet"]),
        ({"b@h": node("a@h", "c@h", backlog=4)}, (), ["b@h has 4 shards to copy to other nodes"]),
    ],
)
def test_what_a_cluster_lacks(change: dict[str, Sighting | None], without: tuple[str, ...], gaps: list[str]) -> None:
    seen = {name: sighting for name, sighting in {**WHOLE, **change}.items() if sighting is not None}
    cluster = Cluster(tuple(WHOLE), seen)
    assert cluster.gaps(without) == gaps
    assert cluster.down == [name for name in WHOLE if name not in seen]


@pytest.mark.parametrize(
    ("mode", "out"), [(None, False), ("", False), ("false", False), ("true", True), ("nolb", True)]
)
def test_which_modes_are_out_of_service(mode: str | None, out: bool) -> None:
    assert in_maintenance(mode) is out
