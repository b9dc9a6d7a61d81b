# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""entries(): a task's own options, or a list whose items inherit what they leave out."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.couchpy.couchdb.plugins.module_utils._engine.entries import add_once, entries
from ansible_collections.couchpy.couchdb.plugins.module_utils.errors import InvalidInput

TASK = {"name": "a", "state": "present", "wait": True, "items": None}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, [(TASK, "")]),
        ({"items": []}, []),
        (
            {"items": [{"name": "b"}, {"name": "c", "state": "absent", "wait": None}]},
            [
                ({"name": "b", "state": "present", "wait": True}, "items[0]."),
                ({"name": "c", "state": "absent", "wait": True}, "items[1]."),
            ],
        ),
        # What is false is given all the same, and what is not inherited stays the item's own.
        (
            {"items": [{"wait": False, "name": None}]},
            [({"name": None, "wait": False, "state": "present"}, "items[0].")],
        ),
    ],
)
def test_entries(given: dict[str, t.Any], expected: t.Any) -> None:
    assert list(entries({**TASK, **given}, "items", ("state", "wait"))) == expected


def test_a_duplicate_is_refused_by_its_place_in_the_list() -> None:
    found: dict[str, int] = {}
    add_once(found, "a", 1, "items[0].")
    with pytest.raises(InvalidInput, match=r"^items\[1\]\.name: a is listed twice$"):
        add_once(found, "a", 2, "items[1].")
    assert found == {"a": 1}
