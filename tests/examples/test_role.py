# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The examples of the role run as their users would run them, on existing servers.

A second inventory says which servers are the hosts of the example. What the role installs, and how, is what the
scenarios in extensions/molecule are for.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
sys.path[:0] = [str(ROOT / "tests" / "server"), str(ROOT / "tests" / "tools")]

import embedded
import tree

# A play on three servers, three times, takes longer than the usual limit of a test.
pytestmark = pytest.mark.timeout(400)

# The variables of an existing server that Ansible reaches only by its URL.
STAND_IN = {"ansible_connection": "local", "ansible_become": False, "couchdb_install": "none"}


def play(folder: Path, playbook: Path, *options: str, fails: bool = False) -> tuple[int, str]:
    """Run a playbook; return how many tasks changed something, and what was printed."""
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(tree.link()),
        "ANSIBLE_PIPELINING": "true",
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        "ANSIBLE_LOCAL_TEMP": str(folder / "tmp"),
    }
    command = ["ansible-playbook", "--diff", *options, str(playbook)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (run.returncode != 0) is fails, run.stdout + run.stderr
    assert "[DEPRECATION WARNING]" not in run.stdout + run.stderr
    return sum(map(int, re.findall(r"changed=(\d+)", run.stdout))), run.stdout + run.stderr


def written(servers: list[embedded.Server]) -> int:
    """The number of requests so far that write."""
    return sum(
        entry["method"] in ("PUT", "DELETE") or "_bulk_docs" in entry["path"]
        for server in servers
        for entry in server.journal()
    )


def life(folder: Path, playbook: Path, servers: list[embedded.Server], secrets: list[str], *options: str) -> None:
    """Check mode writes nothing and predicts changes; a run makes them; a second one changes nothing; none shows a secret."""
    predicted, checked = play(folder, playbook, "--check", *options)
    assert predicted > 0
    assert written(servers) == 0
    changed, first = play(folder, playbook, *options)
    assert changed > 0
    before = written(servers)
    again, second = play(folder, playbook, "-vvv", *options)
    assert (again, written(servers)) == (0, before), second
    for secret in secrets:
        assert secret not in checked + first + second


def inventory(folder: Path, hosts: dict[str, dict[str, Any]]) -> str:
    path = folder / "stand-ins.yml"
    path.write_text(yaml.safe_dump({"all": {"hosts": {name: {**STAND_IN, **own} for name, own in hosts.items()}}}))
    return f"--inventory={path}"


def secrets_file(folder: Path, values: dict[str, str]) -> str:
    path = folder / "secrets.json"
    path.write_text(json.dumps(values))
    return f"--extra-vars=@{path}"


@contextlib.contextmanager
def running(*passwords: str, **options: Any) -> Iterator[list[embedded.Server]]:
    """One server for each password of its admin."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(embedded.server(admin=f"admin:{password}", **options)) for password in passwords]


def test_a_single_server(tmp_path: Path) -> None:
    values = {
        "articles_admin_password": "admin-canary",
        "articles_reader_password": "reader-canary",
        "articles_replicator_password": "replicator-canary",
    }
    with running("admin-canary") as servers:
        hosts = inventory(tmp_path, {"db1.example.com": {"couchdb_url": servers[0].url}})
        options = (hosts, secrets_file(tmp_path, values))
        life(tmp_path, EXAMPLES / "single_server.yml", servers, list(values.values()), *options)
        assert servers[0].request("GET", "/articles/_design/app")[1]["views"].keys() == {"by-date"}
        _status, replication = servers[0].request("GET", "/_replicator/articles-to-archive")
        ends = [replication[end]["auth"]["basic"]["username"] for end in ("source", "target")]
        assert ends == ["replicator", "replicator"]
        names = [index["name"] for index in servers[0].request("GET", "/articles/_index")[1]["indexes"]]
        assert "by-author" in names
        only_what_differs(servers[0], tmp_path, EXAMPLES / "single_server.yml", *options)


def only_what_differs(server: embedded.Server, folder: Path, playbook: Path, *options: str) -> None:
    """If another client changed a user, only the users differ, and a run with tags changes only the tagged parts."""
    path = "/_users/org.couchdb.user:reader"
    held = server.request("GET", path)[1]
    assert server.request("PUT", path, {**held, "roles": ["somebody else"]})[0] == 201
    before = written([server])

    _none, said = play(folder, playbook, *options, "--check", "--tags", "verify", fails=True)
    assert "The server is not as declared: users would change again" in said
    assert "somebody else" in said, "the difference is to be shown"
    assert play(folder, playbook, *options, "--tags", "databases,documents")[0] == 0
    assert written([server]) == before
    all_but_that(server, folder, playbook, *options)

    changed, said = play(folder, playbook, *options)
    assert changed == 1
    assert (
        said.partition("\nchanged: ")[0]
        .rpartition("TASK [")[2]
        .startswith("couchpy.couchdb.server : Declare settings,")
    )
    assert server.request("GET", path)[1]["roles"] == ["readers"]


def all_but_that(server: embedded.Server, folder: Path, playbook: Path, *options: str) -> None:
    """A run without the users, which differ, declares all else; so does one without a step that comes later."""
    for skipped, limit in (("users,verify", 5), ("users,install", 6)):
        assert server.request("PUT", "/sessions/_revs_limit", limit)[0] == 200
        changed, said = play(folder, playbook, *options, "--skip-tags", skipped)
        assert (changed, "Check that nothing differs" in said) == (1, "verify" not in skipped), said
        assert server.request("GET", "/sessions/_revs_limit")[1] == 10
        assert server.request("GET", "/_users/org.couchdb.user:reader")[1]["roles"] == ["somebody else"]


def test_a_cluster_of_three_nodes(tmp_path: Path) -> None:
    values = {
        "cluster_admin_password": "admin-canary",
        "cluster_cookie": "cookie-canary",
        "cluster_secret": "secret-canary",
        "cluster_uuid": "00112233445566778899aabbccddeeff",
    }
    with running("admin-canary", nodes=3) as servers:
        stand_ins = {
            f"node{number}.example.com": {"couchdb_url": url, "couchdb_node_name": f"node{number}@127.0.0.1"}
            for number, url in enumerate(servers[0].urls, 1)
        }
        life(
            tmp_path,
            EXAMPLES / "cluster" / "playbook.yml",
            servers,
            ["admin-canary", "cookie-canary", "secret-canary"],
            f"--inventory={EXAMPLES / 'cluster' / 'inventory.yml'}",
            inventory(tmp_path, stand_ins),
            secrets_file(tmp_path, values),
        )
        for node in (1, 2, 3):
            assert len(servers[0].request("GET", "/_membership", node=node)[1]["all_nodes"]) == 3
            assert servers[0].request("GET", "/_node/_local/_config/log/level", node=node) == (200, "warning")
            assert servers[0].request("GET", "/orders", node=node)[1]["cluster"]["n"] == 3


def test_a_node_that_is_down_does_not_block_the_others(tmp_path: Path) -> None:
    values = {
        "articles_admin_password": "admin-canary",
        "articles_reader_password": "reader-canary",
        "articles_replicator_password": "replicator-canary",
    }
    with running("admin-canary", nodes=3) as (server,):
        server.join()
        server.stop_node(3)
        hosts = inventory(tmp_path, {"db1.example.com": {"couchdb_url": server.url}})
        _none, said = play(tmp_path, EXAMPLES / "single_server.yml", hosts, secrets_file(tmp_path, values), fails=True)
        assert "node3@127.0.0.1: down, and missed couchdb/max_document_size" in said
        for node in (1, 2):
            answer = server.request("GET", "/_node/_local/_config/couchdb/max_document_size", node=node)
            assert answer == (200, "16000000")


def test_a_fleet_with_secrets_in_a_vault(tmp_path: Path) -> None:
    secrets = ["office-secret", "shops-secret", "hosted-secret", "till-secret"]
    vault = tmp_path / "vault-password"
    vault.write_text("example")
    encrypted = (EXAMPLES / "fleet" / "group_vars" / "all" / "vault.yml").read_text()
    assert encrypted.startswith("$ANSIBLE_VAULT;")
    with (
        running("office-secret", "hosted-secret") as new,
        running("shops-secret", "shops-secret", dialect="3.3") as old,
    ):
        names = ["office.example.com", "archive", "berlin.example.com", "lisbon.example.com"]
        stand_ins = {name: {"couchdb_url": server.url} for name, server in zip(names, new + old, strict=True)}
        life(
            tmp_path,
            EXAMPLES / "fleet" / "playbook.yml",
            new + old,
            secrets,
            f"--inventory={EXAMPLES / 'fleet' / 'inventory.yml'}",
            inventory(tmp_path, stand_ins),
            f"--vault-password-file={vault}",
        )
        office, archive = new
        assert office.request("GET", "/reports/_design/app")[1]["views"].keys() == {"by-day"}
        assert archive.request("GET", "/archive")[0] == 200
        for shop in old:
            assert shop.request("GET", "/sales/_security")[1]["members"]["roles"] == ["till"]
            assert shop.request("GET", "/_users/org.couchdb.user:till")[1]["roles"] == ["till"]
