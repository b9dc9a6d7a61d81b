# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Values to CouchDB: JSON values of any depth are compared, and values of settings become strings."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules.values import equal, setting_string
from ansible_collections.couchpy.couchdb.plugins.module_utils.errors import InvalidInput

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


@pytest.mark.parametrize(
    ("value", "string"),
    [
        (True, "true"),
        (False, "false"),
        (5, "5"),
        (1.5, "1.5"),
        ("  a b ", "a b"),
        ("\tx\t", "x"),
        ("", ""),
        ("a;b = c", "a;b = c"),
        ("é", "é"),
        ("[{recbuf, 262140}]", "[{recbuf, 262140}]"),
        ("100%", "100%"),
    ],
)
def test_a_value_is_spelt_as_couchdb_does(value: t.Any, string: str) -> None:
    assert setting_string(value) == string


@pytest.mark.parametrize(
    "value",
    ["voilà", "x\u00a0", ["a"], {"a": 1}, None, "a\nb", "a\rb", "\x00", "\x7f", "☃", "\u0085", "Ä", "a\nb\n", b"bytes"],
)
def test_a_value_that_can_not_be_held_is_refused(value: t.Any) -> None:
    with pytest.raises(InvalidInput, match="^settings.a.b: "):
        setting_string(value, "settings.a.b")
