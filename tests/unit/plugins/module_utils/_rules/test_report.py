# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report as data and as Markdown; tests/report holds it against its schema and opens the page."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules import report

AT = "2026-01-02T03:04:05Z"
HEALTHY = {"cluster": {"health": "healthy", "nodes": []}, "server": {"version": "3.5.0"}}


def one(info: t.Any = None, compared: t.Any = None, **options: t.Any) -> dict[str, t.Any]:
    """The entry of one server."""
    found = report.Found("db1", "http://u:c4n4ry@h:5984/", compared or {}, {}, HEALTHY if info is None else info)
    return report.report([found], AT, "Title", **options)["servers"][0]


@pytest.mark.parametrize(
    ("info", "health", "error"),
    [
        (HEALTHY, "healthy", None),
        ({"cluster": {"health": "down"}}, "down", None),
        (
            {"unreachable": True, "msg": "no route to http://u:c4n4ry@h/"},
            "unreachable",
            "no route to http://********@h/",
        ),
        ({"failed": True, "msg": "nothing answers"}, "unreachable", "nothing answers"),
        ({"failed": True, "msg": "wrong", "status": 401}, "failed", "wrong"),
        ({}, "unknown", None),
    ],
)
def test_health(info: t.Any, health: str, error: str | None) -> None:
    found = one(info)
    assert (found["health"], found["error"], found["url"]) == (health, error, "http://********@h:5984/")


def test_a_server_that_does_not_answer_was_last_seen_in_the_last_report() -> None:
    assert one()["last_seen"] == AT
    silent = {"unreachable": True}
    assert one(silent)["last_seen"] is None
    previous = {"servers": [{"name": "db1", "last_seen": "2025-01-01T00:00:00Z"}]}
    assert one(silent, previous=previous)["last_seen"] == "2025-01-01T00:00:00Z"


@pytest.mark.parametrize(("days", "soon"), [(30, True), (31, False), (-1, True)])
def test_certificates_that_expire(days: int, soon: bool) -> None:
    certificate = {"not_after": "2026-02-01T00:00:00Z", "days_left": days}
    assert one({**HEALTHY, "certificate": certificate})["expires"] == [
        {"what": "TLS certificate", "at": "2026-02-01T00:00:00Z", "days": days, "soon": soon}
    ]


def test_replications_that_fail() -> None:
    rows = [
        {"name": "a", "state": "running", "info": {}},
        {"name": "b", "state": "crashing", "info": {"error": "no http://u:c4n4ry@h/"}},
        {"name": None, "state": "failed", "info": None},
    ]
    found = one({**HEALTHY, "replications": rows})
    assert found["replications"] == 3
    assert found["failing_replications"] == [
        {"name": "b", "state": "crashing", "error": "no http://********@h/"},
        {"name": None, "state": "failed", "error": ""},
    ]


def test_the_largest_databases_come_first_and_members_by_zone() -> None:
    databases = [{"name": f"d{number}", "info": {"sizes": {"file": number}, "doc_count": 1}} for number in range(30)]
    nodes = [{"name": name, "member": True, "connected": True} for name in ("a", "b", "c")]
    info = {
        **HEALTHY,
        "databases": databases,
        "cluster": {"health": "healthy", "nodes": [*nodes, {"name": "old", "member": False, "connected": True}]},
        "shards": {
            "zones": {"a": "west", "b": "east", "c": "east"},
            "databases": [{"name": "d1", "ranges": {"r": ["a"]}}],
        },
    }
    found = one(info)
    assert found["databases"]["bytes"] == sum(range(30))
    assert [entry["name"] for entry in found["databases"]["largest"]] == [f"d{number}" for number in range(29, 9, -1)]
    assert [member["name"] for member in found["members"]] == ["b", "c", "a"]
    assert found["shards"] == [{"database": "d1", "ranges": [{"range": "r", "nodes": ["a"]}]}]


def test_markdown_has_the_table_and_what_differs_and_no_markup_of_the_data() -> None:
    compared = {
        "changed": True,
        "parts": {"users": {"changed": True, "failed": False}},
        "diff": [
            {"before_header": "users", "before": {"<b>|*x*": {"roles": []}}, "after": {"<b>|*x*": {"roles": ["a"]}}}
        ],
        "extra": {"databases": ["old"]},
    }
    found = report.Found("db1", "", compared, {}, HEALTHY)
    text = report.markdown(report.report([found], AT, "Title"))
    assert "| db1 | 3.5.0 | healthy |  | 0 | users |  |  | 2026-01-02T03:04:05Z |" in text
    assert "- users: \\<b\\>\\|\\*x\\* (roles)" in text
    assert "- databases, not declared: old" in text
