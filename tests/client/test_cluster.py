# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

"""Members of a cluster: joining, leaving, ghosts, and nodes that are down, on embedded nodes that start apart."""

from __future__ import annotations

from collections.abc import Iterator

import embedded
import pytest
from ansible_collections.couchpy.couchdb.plugins.module_utils import errors
from ansible_collections.couchpy.couchdb.plugins.module_utils.client import Client

ONE, TWO, THREE = EVERYBODY = [f"node{number}@127.0.0.1" for number in (1, 2, 3)]
GHOST = "ghost@127.0.0.1"


@pytest.fixture
def nodes() -> Iterator[embedded.Server]:
    """Three nodes apart."""
    with embedded.server(dialect="3", admin="admin:secret", nodes=3) as running:
        yield running


@pytest.fixture
def first(nodes: embedded.Server) -> Iterator[Client]:
    """A client of the first node."""
    couch = Client(nodes.url, config={"username": nodes.username, "password": nodes.password})
    yield couch
    couch.close()


def test_nodes_join_and_all_agree(nodes: embedded.Server, first: Client) -> None:
    for name in (TWO, THREE):
        assert first.join_node(name, wait_timeout=10)["ok"]
    told = first.await_members(EVERYBODY, nodes.urls, wait_timeout=10, exclusive=True)
    assert told == {"all_nodes": EVERYBODY, "cluster_nodes": EVERYBODY}
    assert first.put_system_database("_users", EVERYBODY, nodes.urls, wait_timeout=10).info()["cluster"]["n"] == 3
    assert [sorted(holders) for holders in first.shards()["_users"].ranges.values()] == [EVERYBODY] * 2
    with pytest.raises(errors.AlreadyExists):
        first.put_system_database("_users", EVERYBODY)
    with pytest.raises(errors.Conflict):
        first.join_node(TWO)


def test_other_nodes_are_asked_with_the_same_login(nodes: embedded.Server, first: Client) -> None:
    found = first.servers(dict(zip(EVERYBODY, nodes.urls, strict=True)), closely=[TWO])
    assert [getattr(server, "node", server) for server in found.values()] == EVERYBODY
    assert found[TWO].members == [TWO]
    assert "admin" in found[TWO].settings["admins"]
    assert list(found[THREE].settings) == ["cluster"]
    assert first.at(nodes.urls[1]) is first.at(nodes.urls[1])
    assert first.at(nodes.urls[1]).local_node() == TWO
    refused = first.servers({TWO: nodes.urls[1].replace("://", "://admin:wrong@"), GHOST: "http://127.0.0.1:9/"})
    assert isinstance(refused[TWO], errors.Unauthorized)
    assert isinstance(refused[GHOST], errors.Unreachable)
    with pytest.raises(errors.InvalidInput, match="no password"):
        first.at("http://admin@127.0.0.1:9/")


@pytest.mark.parametrize("name", [GHOST, THREE])
def test_who_does_not_connect_is_removed_again(nodes: embedded.Server, first: Client, name: str) -> None:
    nodes.part_node(3)
    first.join_node(TWO, wait_timeout=10)
    with pytest.raises(errors.NotConnected, match=f"{name} did not connect within 1 s and was removed again.*cookie"):
        first.join_node(name, wait_timeout=1)
    assert first.membership()["cluster_nodes"] == [ONE, TWO]
    first.await_members([ONE, TWO], nodes.urls[:2], wait_timeout=10, exclusive=True)


def test_without_a_timeout_a_node_is_listed_and_not_waited_for(first: Client) -> None:
    first.join_node(GHOST)
    assert first.membership() == {"all_nodes": [ONE], "cluster_nodes": [GHOST, ONE]}
    with pytest.raises(errors.NotConnected, match=f"is not connected with {GHOST}"):
        first.await_members([ONE, GHOST], wait_timeout=0.1)
    # CouchDB keeps the shards of a name from then on.
    first.put("placed", replicas=3)
    assert {name for holders in first.shards()["placed"].ranges.values() for name in holders} == {ONE, GHOST}
    assert first.leave_node(GHOST)
    with pytest.raises(errors.NotFound):
        first.leave_node(GHOST)
    found, shards = first.cluster_nodes()
    assert [(node.name, node.member, node.connected) for node in found] == [(ONE, True, True)]
    assert list(shards) == ["placed"]


def test_a_node_leaves_and_goes_on_being_connected(nodes: embedded.Server, first: Client) -> None:
    first.join_node(TWO, wait_timeout=10)
    assert first.leave_node(TWO)
    assert first.membership() == {"all_nodes": [ONE, TWO], "cluster_nodes": [ONE]}
    assert first.at(nodes.urls[1]).membership()["cluster_nodes"] == [ONE, TWO]
    assert [(node.name, node.member) for node in first.cluster_nodes()[0]] == [(ONE, True), (TWO, False)]
    first.join_node(TWO, wait_timeout=10)
    assert first.membership()["cluster_nodes"] == [ONE, TWO]


def test_a_node_that_is_down_and_one_in_maintenance(nodes: embedded.Server, first: Client) -> None:
    for name in (TWO, THREE):
        first.join_node(name, wait_timeout=10)
    first.await_members(EVERYBODY, nodes.urls, wait_timeout=10)
    first.put("orders")
    first.config("couchdb", "maintenance_mode", value="true", node=TWO)
    nodes.stop_node(3)
    found, _shards = first.cluster_nodes()
    told = [(node.name, node.connected, node.in_maintenance, node.shards) for node in found]
    assert told == [(ONE, True, False, 2), (TWO, True, True, 2), (THREE, False, None, 2)]
    with pytest.raises(errors.NotConnected, match=f"is not connected with {THREE}.*nothing answers"):
        first.await_members(EVERYBODY, nodes.urls, wait_timeout=0.1)
    nodes.start_node(3)
    assert first.await_members(EVERYBODY, nodes.urls, wait_timeout=10)["all_nodes"] == EVERYBODY
