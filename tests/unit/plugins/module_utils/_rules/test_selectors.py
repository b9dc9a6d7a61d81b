# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Selectors: the form in which CouchDB keeps them, as measured on 3.3.3 and 3.4.3, and which mean the same."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules.selectors import meaning, normal

KEPT: list[tuple[dict[str, t.Any], dict[str, t.Any]]] = [
    ({}, {}),
    ({"a": 1}, {"a": {"$eq": 1}}),
    ({"a": None}, {"a": {"$eq": None}}),
    ({"a": {}}, {"a": {"$eq": {}}}),
    ({"a": [1, 2]}, {"a": {"$eq": [1, 2]}}),
    ({"a": {"$gt": 1}}, {"a": {"$gt": 1}}),
    ({"b": 2, "a": 1}, {"$and": [{"b": {"$eq": 2}}, {"a": {"$eq": 1}}]}),
    ({"a": {"$gt": 1, "$lt": 5}}, {"$and": [{"a": {"$gt": 1}}, {"a": {"$lt": 5}}]}),
    ({"a": {"$gt": 1, "b": 2}}, {"$and": [{"a": {"$gt": 1}}, {"a.b": {"$eq": 2}}]}),
    ({"a": {"b": {"c": 1}}}, {"a.b.c": {"$eq": 1}}),
    ({"a\\.b": 1}, {"a\\.b": {"$eq": 1}}),
    ({"a": {"": {"$gt": 1}}}, {"a.": {"$gt": 1}}),
    ({"a": {"$eq": {"$gt": 1}}}, {"a": {"$eq": {"$gt": 1}}}),
    ({"a": {"$or": [{"$gt": 5}, {"b": 1}]}}, {"$or": [{"a": {"$gt": 5}}, {"a.b": {"$eq": 1}}]}),
    (
        {"$and": [{"$and": [{"a": 1}, {"b": 1}]}, {"c": 1}]},
        {"$and": [{"$and": [{"a": {"$eq": 1}}, {"b": {"$eq": 1}}]}, {"c": {"$eq": 1}}]},
    ),
    ({"$and": []}, {"$and": []}),
    ({"$not": {"a": 1}}, {"a": {"$ne": 1}}),
    ({"a": {"$not": {"$gt": 1}}}, {"a": {"$lte": 1}}),
    ({"a": {"$not": {}}}, {"a": {"$ne": {}}}),
    ({"$not": {"a": {"$in": [1]}}}, {"a": {"$nin": [1]}}),
    ({"a": {"$not": {"$exists": True}}}, {"a": {"$exists": False}}),
    ({"a": {"$not": {"$regex": "^x"}}}, {"a": {"$not": {"$regex": "^x"}}}),
    ({"$not": {"a": {"$not": {"b": 2}}}}, {"a.b": {"$eq": 2}}),
    ({"$not": {"$and": [{"a": 1}, {"b": 2}]}}, {"$or": [{"a": {"$ne": 1}}, {"b": {"$ne": 2}}]}),
    ({"$not": {"$or": [{"a": 1}, {"$not": {"b": 2}}]}}, {"$and": [{"a": {"$ne": 1}}, {"b": {"$eq": 2}}]}),
    ({"$nor": [{"a": 1}, {"b": {"$gt": 3}}]}, {"$and": [{"a": {"$ne": 1}}, {"b": {"$lte": 3}}]}),
    ({"$nor": [{"$nor": [{"a": 1}]}]}, {"$and": [{"$or": [{"a": {"$eq": 1}}]}]}),
    (
        {"a": {"$elemMatch": {"$gt": 5, "$lt": 9}}},
        {"a": {"$elemMatch": {"$and": [{"": {"$gt": 5}}, {"": {"$lt": 9}}]}}},
    ),
    (
        {"a": {"$elemMatch": {"b": 1, "c": {"$ne": 2}}}},
        {"a": {"$elemMatch": {"$and": [{"b": {"$eq": 1}}, {"c": {"$ne": 2}}]}}},
    ),
    ({"a": {"$allMatch": {"b": {"$not": {"$eq": 3}}}}}, {"a": {"$allMatch": {"$not": {"b": {"$eq": 3}}}}}),
    ({"$not": {"a": {"$elemMatch": {"b": 1}}}}, {"a": {"$not": {"$elemMatch": {"b": {"$eq": 1}}}}}),
    ({"a": {"$keyMapMatch": {"$eq": "x"}}}, {"a": {"$keyMapMatch": {"": {"$eq": "x"}}}}),
    ({"$text": "x"}, {"$default": {"$text": "x"}}),
]


@pytest.mark.parametrize(("given", "kept"), KEPT)
def test_a_selector_as_couchdb_keeps_it(given: dict[str, t.Any], kept: dict[str, t.Any]) -> None:
    assert normal(given) == kept
    assert normal(kept) == kept
    assert meaning(given) == meaning(kept)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({"a": 1}, {"a": 1.0}),
        ({"a": {"$eq": [1.0, {"b": 2.0}]}}, {"a": [1, {"b": 2}]}),
        ({"a": {"$in": [1, 2]}}, {"a": {"$in": [2, 1.0]}}),
        ({"$or": [{"a": 1}, {"b": 2}]}, {"$or": [{"b": 2}, {"a": {"$eq": 1}}]}),
        ({"a": 1, "b": 2, "c": 3}, {"$and": [{"c": 3}, {"$and": [{"b": 2}, {"a": 1}]}]}),
        ({"a": 1}, {"$and": [{"a": 1}, {"a": 1}]}),
        ({"a": {"$not": {"$all": ["x", "y"]}}}, {"a": {"$not": {"$all": ["y", "x"]}}}),
        ({"a": {"$elemMatch": {"b": 1, "c": 2}}}, {"a": {"$elemMatch": {"c": 2, "b": 1}}}),
    ],
)
def test_selectors_that_mean_the_same(one: dict[str, t.Any], other: dict[str, t.Any]) -> None:
    assert meaning(one) == meaning(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {"a": 1}),
        ({"a": 1}, {"a": 2}),
        ({"a": 1}, {"a": True}),
        ({"a": 0}, {"a": False}),
        ({"a": 1}, {"a": "1"}),
        ({"a": 1, "b": 2}, {"$or": [{"a": 1}, {"b": 2}]}),
        ({"a": {"$gt": 1}}, {"a": {"$gte": 1}}),
        ({"a": [1, 2]}, {"a": [2, 1]}),
        ({"a": {"x": 1, "y": 2}}, {"a": {"$eq": {"x": 1, "y": 2}}}),
        ({"a.b": 1}, {"a\\.b": 1}),
        ({"a": {"$mod": [4, 2]}}, {"a": {"$mod": [2, 4]}}),
    ],
)
def test_selectors_that_do_not(one: dict[str, t.Any], other: dict[str, t.Any]) -> None:
    assert meaning(one) != meaning(other)


@pytest.mark.parametrize(
    "given", [{"a": {"$foo": 1}}, {"$and": {"a": 1}}, {"a": {"$not": 5}}, {"$nor": 1}, {"$not": {"$and": 3}}]
)
def test_what_couchdb_refuses_is_left_to_it(given: dict[str, t.Any]) -> None:
    assert meaning(given) == meaning(normal(given))
