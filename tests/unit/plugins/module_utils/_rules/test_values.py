# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""JSON values are compared as JSON does, however deep."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules.values import equal

CASES: list[tuple[t.Any, t.Any, bool]] = [
    (1, 1, True),
    (1, 1.0, True),
    (1, True, False),
    (0, False, False),
    (1.0, True, False),
    (None, False, False),
    (None, 0, False),
    ("1", 1, False),
    ("", None, False),
    (0.0, -0.0, True),
    ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
    ({"a": 1}, {"a": 1, "b": None}, False),
    ([1, 2], [2, 1], False),
    ([1], (1,), True),
    ([], {}, False),
    ([[]], [[[]]], False),
]


@pytest.mark.parametrize(("one", "other", "expected"), CASES)
@pytest.mark.parametrize("inside", [lambda value: value, lambda value: [value], lambda value: {"a": {"b": [value]}}])
def test_values_are_equal_as_in_json(
    one: t.Any, other: t.Any, expected: bool, inside: t.Callable[[t.Any], t.Any]
) -> None:
    assert equal(inside(one), inside(other)) is expected
    assert equal(inside(other), inside(one)) is expected


def test_deep_values_are_compared() -> None:
    one: t.Any = 1
    other: t.Any = True
    for _level in range(5000):
        one, other = [one], [other]
    assert equal(one, one)
    assert not equal(one, other)
