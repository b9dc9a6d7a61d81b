# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every playbook in examples/ runs as its users would run it, and its second run changes nothing."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "server"), str(ROOT / "tests" / "tools")]

import embedded
import tree

# test_role.py runs the examples of the role, which need hosts.
PLAYBOOKS = sorted(path.name for path in (ROOT / "examples").glob("*.yml") if path.name != "single_server.yml")
PASSWORDS = {
    "deploy_password": "deploy-secret",
    "monitoring_password": "monitoring-secret",
    "monitoring_salt": "00112233445566778899aabbccddeeff",
    "till_password": "till-secret",
    "shop_passwords": {"ann": "ann-secret", "ben": "ben-secret"},
    "couchdb_uuid": "d0c0ffee00000000000000000000cafe",
    "couchdb_session_secret": "5ec2e7ab1e5ec2e7ab1e5ec2e7ab1e00",
    "replicator_password": "replicator-secret",
    "new_replicator_password": "new-replicator-secret",
}
# The fixtures of the examples that need more than one node.
SERVERS = {"cluster.yml": "apart", "rolling_restart.yml": "cluster"}

# No load balancer needs time to notice.
VARIABLES = {**PASSWORDS, "drain_time": 0}


@pytest.fixture(scope="module")
def server() -> Iterator[embedded.Server]:
    """An empty server."""
    with embedded.server(dialect="3", admin="admin:secret") as started:
        yield started


@pytest.fixture(scope="module")
def cluster() -> Iterator[embedded.Server]:
    """An empty cluster of three nodes."""
    with embedded.server(dialect="3", admin="admin:secret", nodes=3) as started:
        started.join()
        yield started


@pytest.fixture(scope="module")
def apart() -> Iterator[embedded.Server]:
    """Three empty single nodes."""
    with embedded.server(dialect="3", admin="admin:secret", nodes=3) as started:
        yield started


def play(server: embedded.Server, playbook: str, folder: Path, *options: str) -> int:
    """Run a playbook and return how many tasks changed something."""
    passwords = folder / "passwords.json"
    members = [{"name": f"node{number}@127.0.0.1", "url": url} for number, url in enumerate(server.urls, 1)]
    passwords.write_text(json.dumps({**VARIABLES, "couchdb_members": members}))
    environment = {
        **os.environ,
        "COUCHDB_URL": server.url,
        "COUCHDB_USERNAME": server.username or "",
        "COUCHDB_PASSWORD": server.password or "",
        "ANSIBLE_COLLECTIONS_PATH": str(tree.link()),
        "ANSIBLE_PIPELINING": "true",
    }
    command = ["ansible-playbook", "--extra-vars", f"@{passwords}", *options, str(ROOT / "examples" / playbook)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "[DEPRECATION WARNING]" not in run.stdout + run.stderr
    changed = re.search(r"changed=(\d+)", run.stdout)
    assert changed
    return int(changed.group(1))


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_an_example_runs_and_its_second_run_changes_nothing(
    request: pytest.FixtureRequest, playbook: str, tmp_path: Path
) -> None:
    server = request.getfixturevalue(SERVERS.get(playbook, "server"))
    predicted = play(server, playbook, tmp_path, "--check", "--diff")
    written = [entry for entry in server.journal() if entry["method"] in ("PUT", "DELETE")]
    assert play(server, playbook, tmp_path, "--diff") == predicted > 0
    assert len([entry for entry in server.journal() if entry["method"] in ("PUT", "DELETE")]) > len(written)
    assert play(server, playbook, tmp_path) == 0


def test_the_users_of_the_example_can_log_in(server: embedded.Server, tmp_path: Path) -> None:
    play(server, "admins_and_users.yml", tmp_path)
    for name, password in (("deploy", "deploy-secret"), ("monitoring", "monitoring-secret"), ("ann", "ann-secret")):
        body = json.dumps({"name": name, "password": password}).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{server.url}_session", body, headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert json.load(answer)["name"] == name


def test_the_rolling_restart_restarts_every_node_one_after_the_other(cluster: embedded.Server, tmp_path: Path) -> None:
    cluster.clear_journal()
    assert play(cluster, "rolling_restart.yml", tmp_path, "--extra-vars", '{"restart_anyway": true}') == 1
    restarts = [entry["path"] for entry in cluster.journal() if entry["path"].endswith("_restart")]
    assert restarts == [f"/_node/node{number}@127.0.0.1/_restart" for number in (2, 3, 1)]
    for number in (1, 2, 3):
        assert cluster.request("GET", "/_up", node=number)[0] == 200


def test_the_nodes_of_the_example_are_one_cluster(apart: embedded.Server, tmp_path: Path) -> None:
    play(apart, "cluster.yml", tmp_path)
    everybody = [f"node{number}@127.0.0.1" for number in (1, 2, 3)]
    for number in (1, 2, 3):
        membership = apart.request("GET", "/_membership", node=number)[1]
        assert membership == {"all_nodes": everybody, "cluster_nodes": everybody}
        assert apart.request("GET", "/_up", node=number)[0] == 200
    assert apart.request("GET", "/orders", node=3)[1]["cluster"]["n"] == 3
