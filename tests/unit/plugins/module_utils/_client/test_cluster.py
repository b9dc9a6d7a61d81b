# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Members of a cluster: what is waited for."""

from __future__ import annotations

import socket
import time

import pytest
from ansible_collections.couchpy.couchdb.plugins.module_utils import errors
from ansible_collections.couchpy.couchdb.tests.unit.wire import InTurn, Wire, client

ONE, TWO = "a@h", "b@h"
ALONE = {"all_nodes": [ONE], "cluster_nodes": [ONE]}
LISTED = {"all_nodes": [ONE], "cluster_nodes": [ONE, TWO]}
CONNECTED = {"all_nodes": [ONE, TWO], "cluster_nodes": [ONE, TWO]}


@pytest.mark.parametrize(("wait_timeout", "answers"), [(None, [ALONE, ALONE, LISTED]), (5, [ALONE, LISTED, CONNECTED])])
def test_a_node_that_joined_is_listed_as_a_member(
    wire: Wire, wait_timeout: float | None, answers: list[object]
) -> None:
    wire[f"PUT /_node/_local/_nodes/{TWO}"] = 201, {"ok": True, "id": TWO, "rev": "1-a"}
    wire["GET /_membership"] = InTurn(answers)
    couch = client()
    assert couch.join_node(TWO, wait_timeout=wait_timeout)["ok"]
    assert TWO in couch.membership()["cluster_nodes"]
    assert wire.asked.count("GET /_membership") == len(answers) + 1


def test_members_that_hang_take_no_longer_than_all_may() -> None:
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        urls = {name: f"http://127.0.0.1:{hanging.getsockname()[1]}/" for name in ("a@h", "b@h", "c@h")}
        begun = time.monotonic()
        found = client().servers(urls, timeout=1)
        assert time.monotonic() - begun < 5
    assert {name: type(answer) for name, answer in found.items()} == dict.fromkeys(urls, errors.TimedOut)
