# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbooks in examples/cluster_life/ grow, repair and shrink one cluster, and a second run of each changes nothing."""

from __future__ import annotations

import collections
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "server"), str(ROOT / "tests" / "examples")]

import embedded
from test_examples import play

DOCUMENTS = 30


@pytest.fixture(scope="module")
def life() -> Iterator[embedded.Server]:
    """Seven single nodes, the first of which has a database with documents."""
    with embedded.server(dialect="3", admin="admin:secret", nodes=7) as started:
        assert started.request("PUT", "/orders?q=2&n=1")[0] == 201
        docs = [{"_id": f"order{number}"} for number in range(DOCUMENTS)]
        assert started.request("POST", "/orders/_bulk_docs", {"docs": docs})[0] == 201
        yield started


def name(number: int) -> str:
    return f"node{number}@127.0.0.1"


def twice(life: embedded.Server, folder: Path, playbook: str, members: dict[int, str], **variables: Any) -> None:
    """Run an example for these nodes, each with its zone, and once more without a change."""
    nodes = [
        {"name": name(number), "url": life.urls[number - 1], **({"zone": zone} if zone else {})}
        for number, zone in members.items()
    ]
    folder.joinpath("nodes.json").write_text(json.dumps({"couchdb_members": nodes, **variables}))
    options = ("--extra-vars", f"@{folder / 'nodes.json'}")
    assert play(life, f"cluster_life/{playbook}", folder, *options) > 0
    assert play(life, f"cluster_life/{playbook}", folder, *options) == 0
    for number in members:
        membership = life.request("GET", "/_membership", node=number)[1]
        assert membership["cluster_nodes"] == sorted(name(member) for member in members)
        assert life.request("GET", "/orders", node=number)[1]["doc_count"] == DOCUMENTS


def ranges(life: embedded.Server) -> dict[str, list[str]]:
    found: dict[str, list[str]] = life.request("GET", "/orders/_shards")[1]["shards"]
    return found


def without_zones(*numbers: int) -> dict[int, str]:
    return dict.fromkeys(numbers, "")


@pytest.mark.timeout(900)
def test_the_life_of_a_cluster(life: embedded.Server, tmp_path: Path) -> None:
    twice(life, tmp_path, "grow_to_three.yml", without_zones(1, 2, 3))
    assert {len(nodes) for nodes in ranges(life).values()} == {3}

    twice(life, tmp_path, "grow_to_six.yml", without_zones(1, 2, 3, 4, 5, 6))
    loads = collections.Counter(node for nodes in ranges(life).values() for node in nodes)
    assert sum(loads.values()) == 6
    assert len(loads) > 3, "the new nodes have their share"

    life.stop_node(6)
    twice(
        life,
        tmp_path,
        "replace_node.yml",
        without_zones(1, 2, 3, 4, 5, 7),
        dead_node=name(6),
        new_node=name(7),
    )
    assert name(6) not in [node for nodes in ranges(life).values() for node in nodes]

    twice(life, tmp_path, "split_shards.yml", without_zones(1, 2, 3, 4, 5, 7), shards=4)
    assert len(ranges(life)) == 4

    zones = {1: "west", 2: "west", 3: "west", 4: "east", 5: "east", 7: "east"}
    twice(life, tmp_path, "zones.yml", zones)
    for nodes in ranges(life).values():
        assert sorted(zones[int(node[4])] for node in nodes) == ["east", "west", "west"]

    twice(life, tmp_path, "remove_nodes.yml", without_zones(1, 2, 3))
    assert {tuple(sorted(nodes)) for nodes in ranges(life).values()} == {(name(1), name(2), name(3))}
