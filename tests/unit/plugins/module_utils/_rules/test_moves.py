# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The placement of shards: maps, plans and what is refused. tests/trust/test_placement.py has the properties of all plans."""

from __future__ import annotations

import time
import tracemalloc
from typing import Any

import pytest
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules import moves as rules
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules import zones
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules.moves import Wanted
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules.shards import MARK, Map, Member, shard_map
from ansible_collections.couchpy.couchdb.plugins.module_utils.errors import InvalidInput

RANGES = {
    1: ("00000000-ffffffff",),
    2: ("00000000-7fffffff", "80000000-ffffffff"),
}


def test_a_plan_for_a_thousand_databases_is_quick_and_small() -> None:
    nodes = [f"node{number}@a" for number in range(1, 5)]
    maps = {}
    for number in range(1000):
        held = {range_: tuple(nodes[(number + k) % 3] for k in range(3)) for range_ in RANGES[2]}
        maps[f"db{number:04}"] = Map(f"db{number:04}", held, 3)
    members = [Member(name) for name in nodes]
    tracemalloc.start()
    begun = time.process_time()
    target = rules.place(maps, members, Wanted(frozenset(nodes)))
    moves = rules.moves(maps, members, target)
    took = time.process_time() - begun
    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sum(1 for step in moves.steps if step.action == "add") == 1500
    assert took < 20, "with the memory traced, which takes several times as long"
    assert peak < 150e6
    each = [sum(1 for nodes in (target[name, r] for r in RANGES[2]) if "node4@a" in nodes) for name in maps]
    assert set(each) == {1, 2}, "the copies of one database are spread too"


ZONED = [Member(f"{zone}{number}@h", zone) for zone in "we" for number in (1, 2, 3)]
NAMES = frozenset(member.name for member in ZONED)


def zones_after(maps: dict[str, Map], allowed: frozenset[str], **options: Any) -> set[str]:
    """The zones of the copies of each range, such as C(eww), once the members have moved them."""
    target = rules.place(maps, ZONED, Wanted(allowed, keep_zones=True, **options))
    return {"".join(sorted(node[0] for node in nodes)) for nodes in target.values()}


def test_zones_keep_their_numbers_of_copies() -> None:
    maps = {f"d{number}": Map(f"d{number}", {RANGES[1][0]: ("w1@h", "w2@h", "e1@h")}, 3) for number in range(4)}
    target = rules.place(maps, ZONED, Wanted(NAMES, keep_zones=True))
    assert zones_after(maps, NAMES) == {"eww"}
    # Within each zone, the copies are spread.
    loads = {name: sum(1 for nodes in target.values() if name in nodes) for name in NAMES}
    assert sorted(loads.values()) == [1, 1, 2, 2, 3, 3]
    assert zones_after(maps, NAMES - {"e1@h"}, balance=False) == {"eww"}
    assert zones_after(maps, NAMES - {"e1@h", "e2@h", "e3@h"}) == {"www"}


def test_an_interrupted_move_keeps_them_too() -> None:
    """The new copy is in the map, and the one that it replaces still is."""
    first, second = RANGES[2]
    ranges = {first: ("w1@h", "w2@h", "e1@h", "e2@h"), second: ("w1@h", "w2@h", "e1@h")}
    maps = {"d": Map("d", ranges, 3, filling={first: ("e2@h",)})}
    assert zones_after(maps, NAMES) == {"eww"}


def test_ranges_with_other_numbers_in_zones_are_placed_freely() -> None:
    maps = {"d": Map("d", {RANGES[2][0]: ("w1@h", "w2@h"), RANGES[2][1]: ("w1@h", "e1@h")}, 2)}
    target = rules.place(maps, ZONED, Wanted(NAMES, keep_zones=True))
    assert target == rules.place(maps, ZONED, Wanted(NAMES))


DOCUMENT = {
    "_id": "orders",
    "_rev": "1-a",
    "shard_suffix": [46, 49],
    "changelog": [["add", RANGES[1][0], "a@h"], ["add", RANGES[1][0], "b@h"]],
    "by_node": {"a@h": [RANGES[1][0]], "b@h": [RANGES[1][0]]},
    "by_range": {RANGES[1][0]: ["a@h", "b@h"]},
    "props": {"partitioned": True},
}


def test_a_map_document_keeps_its_halves_alike() -> None:
    whole = RANGES[1][0]
    added = rules.changed_map(DOCUMENT, 2, add=[(whole, "c@h")])
    assert added["by_range"] == {whole: ["a@h", "b@h", "c@h"]}
    assert added["by_node"] == {"a@h": [whole], "b@h": [whole], "c@h": [whole]}
    assert added["changelog"][-1] == ["add", whole, "c@h"]
    assert added["props"] == {"partitioned": True}
    assert shard_map(added).filling == {whole: ("c@h",)}
    assert shard_map(added).copies == 2
    full = rules.settled_map(added, [(whole, "c@h")])
    assert shard_map(full).filling == {}
    assert shard_map(full).copies == 2, "one of the three is to leave"
    removed = rules.settled_map(rules.changed_map(full, 2, remove=[(whole, "a@h")]), [])
    assert removed["by_range"] == {whole: ["b@h", "c@h"]}
    assert MARK not in removed
    assert removed["by_node"] == {"b@h": [whole], "c@h": [whole]}
    map_ = shard_map(removed)
    assert map_.removed == {(whole, "a@h")}
    assert map_.shard(whole) == f"shards/{whole}/orders.1"
    assert DOCUMENT["by_range"] == {whole: ["a@h", "b@h"]}, "the document itself is as it was"


def test_no_copy_is_removed_to_make_ranges_alike() -> None:
    first, second = RANGES[2]
    document = {**DOCUMENT, "by_range": {first: ["a@h", "b@h", "c@h"], second: ["a@h", "b@h"]}, "by_node": {}}
    map_ = shard_map(document)
    assert map_.copies == 3
    target = rules.place({"orders": map_}, MEMBERS, Wanted(frozenset(["a@h", "b@h", "c@h"])))
    moves = rules.moves({"orders": map_}, MEMBERS, target)
    assert [(step.action, step.node, step.range) for step in moves.steps] == [
        ("maintain", "c@h", ""),
        ("add", "c@h", second),
        ("serve", "c@h", ""),
    ]


def test_a_move_that_is_not_at_its_end_keeps_the_number_of_copies() -> None:
    first, second = RANGES[2]
    nodes = {"a@h": [first, second], "b@h": [first, second], "c@h": [first, second]}
    document = {**DOCUMENT, "by_range": {range_: list(nodes) for range_ in RANGES[2]}, "by_node": nodes}
    half = rules.settled_map(rules.changed_map(document, 2, remove=[(first, "a@h")]), [])
    assert shard_map(half).copies == 2, "a run without copies carries on"
    assert shard_map(half).filling == {}
    assert MARK not in rules.settled_map(rules.changed_map(half, 2, remove=[(second, "a@h")]), [])


def test_a_copy_that_came_back_is_not_one_that_was_removed() -> None:
    whole = RANGES[1][0]
    document = rules.changed_map(DOCUMENT, 2, remove=[(whole, "a@h")])
    document = rules.changed_map(document, 2, add=[(whole, "a@h")])
    assert shard_map(document).removed == frozenset()


MEMBERS = [Member("a@h", "x"), Member("b@h", "x"), Member("c@h", "y")]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (Wanted(frozenset(["a@h", "b@h"]), 3), "copies: is 3, and 2 members can have copies"),
        (Wanted(frozenset(["a@h"])), "members: orders has 2 copies of each shard, and 1 members can have them"),
        (
            Wanted(frozenset(["a@h", "c@h"]), placement={"z": 1}),
            "no member is in the zone z. The zones of the members are: x, y",
        ),
        (Wanted(frozenset(["a@h", "c@h"]), placement={"x": 2}), "x should have 2 copies and has 1 members"),
    ],
)
def test_members_that_are_too_few(wanted: Wanted, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        rules.check_wanted(wanted, MEMBERS, [shard_map(DOCUMENT)])
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("placement", "copies", "message"),
    [
        ({"x": 2, "y": 1}, 2, "placement: places 3 copies and copies is 2"),
        ({"x": 0}, None, "placement: x is 0"),
        ({"x": "two"}, None, "placement: x is two"),
        ({"x": True}, None, "placement: x is True"),
        ({"x y": 1}, None, "placement: x y is not the name of a zone"),
        ({}, None, "placement: names no zone"),
    ],
)
def test_a_placement_that_can_not_be(placement: Any, copies: int | None, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        rules.checked_placement(placement, copies)
    assert message in str(caught.value)


def test_a_placement_as_couchdb_spells_it() -> None:
    assert rules.checked_placement({"x": "2", "y": 1}, 3) == {"x": 2, "y": 1}


def test_a_node_that_a_range_needs_is_not_put_in_maintenance_mode() -> None:
    whole = RANGES[1][0]
    maps = {
        "one": Map("one", {whole: ("b@h",)}, 1),
        "two": Map("two", {whole: ("a@h",)}, 1),
    }
    target = {("one", whole): frozenset(["b@h"]), ("two", whole): frozenset(["b@h"])}
    moves = rules.moves(maps, MEMBERS, target)
    assert moves.steps == ()
    assert "b@h has to be in maintenance mode while its new copies are filled" in moves.blocked[0]
    assert "one 00000000-ffffffff" in moves.blocked[0]


def test_a_node_that_someone_else_keeps_in_maintenance_mode_is_in_the_way() -> None:
    whole = RANGES[1][0]
    members = [Member("a@h"), Member("b@h", mode="true"), Member("c@h")]
    maps = {"two": Map("two", {whole: ("a@h",)}, 1)}
    moves = rules.moves(maps, members, {("two", whole): frozenset(["c@h"])})
    assert moves.steps == ()
    assert moves.blocked == ("b@h is in maintenance mode. End it first, as only one node may be at a time",)


def test_a_node_that_someone_else_keeps_in_maintenance_mode_gets_no_copies() -> None:
    whole = RANGES[1][0]
    members = [Member("a@h"), Member("b@h"), Member("c@h", mode="true"), Member("d@h")]
    maps = {"two": Map("two", {whole: ("a@h",)}, 1), "three": Map("three", {whole: ("a@h",)}, 1)}
    moves = rules.moves(maps, members, {("two", whole): frozenset(["c@h"]), ("three", whole): frozenset(["d@h"])})
    assert moves.steps == ()
    assert moves.blocked == (
        "c@h is in maintenance mode, which another user set. End it first",
        "c@h is in maintenance mode. End it first, as only one node may be at a time",
    )


@pytest.mark.parametrize("filling", [False, True])
def test_a_copy_is_not_filled_while_its_only_source_is_down(filling: bool) -> None:
    whole = RANGES[1][0]
    members = [Member("a@h"), Member("b@h", up=False), Member("c@h")]
    maps = {
        "one": Map("one", {whole: ("b@h", "c@h")}, 1, filling={whole: ("c@h",)})
        if filling
        else Map("one", {whole: ("b@h",)}, 1),
        "two": Map("two", {whole: ("a@h",)}, 1),
    }
    moves = rules.moves(maps, members, {(name, whole): frozenset(["c@h"]) for name in maps})
    assert moves.blocked[0] == "no full copy of one 00000000-ffffffff is up. Start b@h"
    # A node with a copy that is not full can't serve. Without one, it gets those that can be filled.
    assert [(step.action, step.database) for step in moves.steps] == (
        [] if filling else [("maintain", ""), ("add", "two"), ("serve", ""), ("remove", "two")]
    )


def test_the_only_copy_that_is_up_stays_in_the_map() -> None:
    whole = RANGES[1][0]
    members = [Member("a@h", mode="true"), Member("b@h", up=False)]
    moves = rules.moves({"one": Map("one", {whole: ("a@h", "b@h")}, 1)}, members, {("one", whole): frozenset(["b@h"])})
    assert moves.steps == ()
    assert "the copy of one 00000000-ffffffff on a@h can't be removed" in moves.blocked[0]


def test_copies_of_a_node_that_is_gone_leave_the_map_as_new_ones_are_added() -> None:
    whole = RANGES[1][0]
    members = [Member("a@h"), Member("b@h", up=False, gone=True), Member("c@h")]
    maps = {"two": Map("two", {whole: ("a@h", "b@h")}, 2)}
    target = rules.place(maps, members, Wanted(frozenset(["a@h", "c@h"])))
    assert [(step.action, step.node) for step in rules.moves(maps, members, target).steps] == [
        ("maintain", "c@h"),
        ("add", "c@h"),
        ("remove", "b@h"),
        ("serve", "c@h"),
    ]
    assert rules.lost_ranges(maps.values(), members) == []
    assert rules.lost_ranges(maps.values(), [Member("a@h", gone=True), Member("b@h", gone=True)]) == [f"two {whole}"]


def test_a_range_in_the_middle_of_a_move_counts_for_the_zones_if_it_can_still_get_their_numbers() -> None:
    def kept(*ranges: str, copies: int) -> Any:
        nodes = {"w": "x", "z": "x", "a": "x", "b": "y", "c": "y"}
        members = [Member(f"{name}@h", zone) for name, zone in nodes.items()]
        map_ = Map("db", {str(number): tuple(f"{n}@h" for n in held) for number, held in enumerate(ranges)}, copies)
        return zones.numbers_to_keep([map_], members, members, {}).get("db")

    assert kept("ab", "wc", copies=2) == {"x": 1, "y": 1}
    assert kept("ab", "wac", copies=2) == {"x": 1, "y": 1}, "one that was replaced is still there"
    assert kept("ab", "wz", copies=2) is None
    assert kept("b", "wa", copies=1) is None, "no copy of the second range is in the zone of the first"
    assert kept("abc", "a", copies=3) == {"x": 1, "y": 2}, "the others are still to come"
    assert kept("abc", "wa", copies=3) is None
