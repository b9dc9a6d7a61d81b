# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Copies of shards and the nodes that others can do without, also while some copies of a database are split and others are not."""

from __future__ import annotations

from ansible_collections.couchpy.couchdb.plugins.module_utils._rules import service as rules
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules.shards import Map, Member

WHOLE, FIRST, SECOND = "00000000-ffffffff", "00000000-7fffffff", "80000000-ffffffff"

HALF = Map("orders", {FIRST: ("a@h",), SECOND: ("a@h",), WHOLE: ("b@h", "c@h")}, 2)
"""The copy of one node is split."""


def members(**modes: str) -> list[Member]:
    return [Member(f"{name}@h", mode=modes.get(name, "false")) for name in "abc"]


def test_the_checkpoint_of_an_internal_replication() -> None:
    # As CouchDB 3.5.0 named it between two copies with these UUIDs.
    found = rules.checkpoint_id("1756148db5c326111c8983be0afe2aa6", "bd3939c71f9a1cf7464c3ed6985d2139")
    assert found == "shard-sync--WngzyiRYbhI8xFU4z9-vw-PWQ82MX3Kq1hp5u3AQ30bQ"


def test_the_other_copies_of_a_range_are_also_those_of_ranges_that_overlap() -> None:
    assert rules.other_copies(HALF, WHOLE, "b@h") == [(FIRST, "a@h"), (SECOND, "a@h"), (WHOLE, "c@h")]
    assert rules.other_copies(HALF, FIRST, "a@h") == [(WHOLE, "b@h"), (WHOLE, "c@h")]
    filling = Map("orders", HALF.ranges, 2, filling={WHOLE: ("c@h",)})
    assert rules.other_copies(filling, FIRST, "a@h") == [(WHOLE, "b@h")]


def test_the_parts_of_a_range_are_a_full_copy_of_it_together() -> None:
    def full(map_: Map, range_: str) -> set[str]:
        return rules.Service({"orders": map_}, members()).full["orders", range_]

    for range_ in HALF.ranges:
        assert full(HALF, range_) == {"a@h", "b@h", "c@h"}
    filling = Map("orders", HALF.ranges, 2, filling={SECOND: ("a@h",), WHOLE: ("c@h",)})
    assert full(filling, WHOLE) == {"b@h"}
    assert full(filling, FIRST) == {"a@h", "b@h"}
    assert full(Map("orders", {FIRST: ("a@h",), SECOND: ("b@h",)}, 1), SECOND) == {"b@h"}


def test_a_node_can_rest_while_others_have_the_documents_in_other_ranges() -> None:
    service = rules.Service({"orders": HALF}, members())
    assert [service.short_without(node) for node in ("a@h", "b@h", "c@h")] == ["", "", ""]
    two = Map("orders", {FIRST: ("a@h",), SECOND: ("a@h",), WHOLE: ("b@h",)}, 2)
    assert rules.Service({"orders": two}, members()).short_without("b@h") == (
        f"too few copies of orders {WHOLE} are in service: 1 of 2"
    )
