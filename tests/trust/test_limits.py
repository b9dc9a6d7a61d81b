# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

"""A server with ten thousand databases: the memory, requests and time to read them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import embedded
import modules
import pytest

DATABASES = 10_000
SHARDED = 1_000
MOST_KILOBYTES = 150 * 1024
MOST_REQUESTS = 20
MOST_SECONDS = 60
NAMES = [f"pretended_{number:06}" for number in range(DATABASES)]


@pytest.fixture(scope="module")
def crowded() -> Iterator[embedded.Server]:
    """A server with ten thousand databases."""
    with embedded.server(dialect="3", pretend_databases=DATABASES) as server:
        yield server


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("module", "options", "told"),
    [
        ("couchdb_info", {}, DATABASES + 2),
        ("couchdb_info", {"gather_subset": ["databases"], "databases": NAMES}, DATABASES),
        ("couchdb_database", {"name": NAMES}, DATABASES),
        ("couchdb_database", {"name": [*NAMES[5:], "never_there"], "state": "present", "_check": True}, DATABASES - 4),
        ("couchdb_database", {"name": [f"x{name}" for name in NAMES], "state": "absent"}, DATABASES),
    ],
    ids=["info", "info-named", "database", "database-check", "database-absent"],
)
def test_ten_thousand_databases(module: str, options: dict[str, Any], told: int, crowded: embedded.Server) -> None:
    given = {"url": crowded.url, "login_user": crowded.username, "login_password": crowded.password, **options}
    check = given.pop("_check", False)
    crowded.clear_journal()
    with modules.processes(1, module, {**given, "_ansible_check_mode": check}) as (process,):
        modules.begin(process)
        run = modules.ended(process, MOST_SECONDS)

    assert not run.failed, run.message
    assert run.result["changed"] is check
    assert len(run.result["databases"]) == told
    assert len(crowded.journal()) < MOST_REQUESTS
    assert run.kilobytes < MOST_KILOBYTES
    assert run.seconds < MOST_SECONDS


@pytest.mark.timeout(300)
def test_a_thousand_databases_that_are_where_they_should_be() -> None:
    """Asking for the shard maps of all takes as many requests as there are thousands of databases."""
    with embedded.server(dialect="3", nodes=3, pretend_databases=SHARDED) as cluster:
        cluster.join()
        given = {"url": cluster.url, "login_user": cluster.username, "login_password": cluster.password}
        cluster.clear_journal()
        with modules.processes(1, "couchdb_shards", {**given, "state": "placed"}) as (process,):
            modules.begin(process)
            run = modules.ended(process, MOST_SECONDS)
        requests = cluster.journal()

    assert not run.failed, run.message
    assert run.result["changed"] is False
    assert len(run.result["databases"]) >= SHARDED
    assert len(requests) <= SHARDED / 50
    assert run.kilobytes < MOST_KILOBYTES
