# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What differs, as names and as two sides."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules import differences


def result(part: str, before: t.Any, after: t.Any) -> dict[str, t.Any]:
    """A result of couchdb_server of which one part differs."""
    diff = {"before_header": part, "after_header": part, "before": before, "after": after}
    return {"changed": True, "parts": {part: {"changed": True, "failed": False}}, "diff": [diff]}


@pytest.mark.parametrize(
    ("part", "before", "after", "said"),
    [
        ("settings", {"n1": {"log": {"level": "a"}}}, {"n1": {"log": {"level": "b"}}}, "log/level"),
        ("settings", {}, {"n1": {"log": {"level": "b"}}, "n2": {"log": {"level": "b"}}}, "log/level (missing)"),
        ("admins", {"n1": {"ops": "a"}}, {}, "ops (not wanted)"),
        ("databases", {}, {"orders": {"shards": 2}}, "orders (missing)"),
        ("databases", {"o": {"revs_limit": 1}}, {"o": {"revs_limit": 2}}, "o (revs_limit)"),
        ("users", {"ann": {"roles": [], "_rev": "1"}}, {"ann": {"roles": ["a"], "_rev": "2"}}, "ann (roles)"),
        ("documents", {"o": {"_design/a": {"x": 1}}}, {"o": {"_design/a": {"x": 2}}}, "o/_design/a (x)"),
        ("indexes", {}, {"o": {"ix": {"by-a": {}}, "iy": {"by-b": {}}}}, "o/ix/by-a (missing), o/iy/by-b (missing)"),
        ("replications", {"r": {"source": "a"}}, {"r": {"source": "b"}}, "r (source)"),
    ],
)
def test_things_are_named(part: str, before: t.Any, after: t.Any, said: str) -> None:
    assert differences.sentences(differences.of_result(result(part, before, after))) == [f"{part}: {said}"]


def test_a_part_that_is_as_declared_is_not_named() -> None:
    unchanged = {"changed": False, "parts": {"users": {"changed": False, "failed": False}}, "diff": []}
    assert differences.of_result(unchanged) == []
    assert differences.of_result({"failed": True, "msg": "nothing answers"}) == []


def test_a_part_that_failed_says_why() -> None:
    failed = {"parts": {"users": {"changed": False, "failed": True, "msg": "no database _users"}}}
    assert differences.sentences(differences.of_result(failed)) == ["users: failed: no database _users"]


def test_members_are_named() -> None:
    found = differences.of_cluster({"changed": True, "diff": {"before": {}, "after": {"b@h": "member"}}})
    assert differences.sentences(found) == ["members: b@h (missing)"]
    assert differences.of_cluster({"changed": False}) == []


def test_two_sides_line_by_line() -> None:
    before = {"a": 1, "b": 2, "c": 3, "d": 4, "e": 5, "f": 6}
    found = differences.lines(before, {**before, "b": 9, "x": 1})
    assert [line["kind"] for line in found] == [
        "same",
        "same",
        "changed",
        "same",
        "same",
        "same",
        "changed",
        "added",
        "same",
    ]
    assert found[2] == {"kind": "changed", "before": '  "b": 2,', "after": '  "b": 9,'}
    assert found[7] == {"kind": "added", "before": None, "after": '  "x": 1'}
    assert differences.lines({}, {"a": 1})[0] == {"kind": "added", "before": None, "after": "{"}
    assert differences.lines(before, before) == []
