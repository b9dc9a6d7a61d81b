# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the role does when something is wrong, in clusters and in check mode, on existing servers."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "server"), str(ROOT / "tests" / "tools")]

import embedded
import tree

pytestmark = pytest.mark.timeout(400)

ADMIN = "admin-canary"
CLUSTER = {
    "couchdb_admin_password": ADMIN,
    "couchdb_cluster_members": ["node1@127.0.0.1", "node2@127.0.0.1", "node3@127.0.0.1"],
}


def role(
    folder: Path, hosts: dict[str, dict[str, Any]], declared: dict[str, Any], *options: str
) -> tuple[int, int, str]:
    """Run the role on hosts; return the exit status, how many tasks changed something, and the output."""
    inventory = folder / "inventory.json"
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "couchdb_install": "none"}
    inventory.write_text(json.dumps({"all": {"hosts": {name: {**local, **own} for name, own in hosts.items()}}}))
    playbook = folder / "play.json"
    uses = {"role": "couchpy.couchdb.server", "vars": declared}
    playbook.write_text(json.dumps([{"name": "A play", "hosts": "all", "gather_facts": False, "roles": [uses]}]))
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(tree.link()),
        "ANSIBLE_LOCAL_TEMP": str(folder / "tmp"),
        "ANSIBLE_LOCALHOST_WARNING": "false",
    }
    command = ["ansible-playbook", f"--inventory={inventory}", *options, str(playbook)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    changed = sum(map(int, re.findall(r"changed=(\d+)", run.stdout)))
    return run.returncode, changed, run.stdout + run.stderr


def nodes(server: embedded.Server) -> dict[str, dict[str, Any]]:
    return {f"host{number}": {"couchdb_url": url} for number, url in enumerate(server.urls, 1)}


def test_when_the_speaker_fails_the_hosts_of_its_cluster_stop(tmp_path: Path) -> None:
    with embedded.server(admin=f"admin:{ADMIN}", nodes=3) as server:
        server.join()
        assert server.request("PUT", "/orders?q=2")[0] in (201, 202)
        declared = {
            **CLUSTER,
            "couchdb_databases": [{"name": "orders", "shards": 4}],
            "couchdb_users": [{"name": "ann", "password": "ann-canary"}],
        }
        status, _changed, said = role(tmp_path, nodes(server), declared)
        assert status != 0
        assert server.request("GET", "/_users/org.couchdb.user:ann")[0] == 404
        stopped = re.findall(r"fatal: \[(\w+)\].*host1, which declares what belongs to the cluster, failed", said)
        assert sorted(stopped) == ["host2", "host3"], said


def test_when_the_speaker_fails_the_hosts_of_its_cluster_remove_nothing(tmp_path: Path) -> None:
    with embedded.server(admin=f"admin:{ADMIN}", nodes=3) as server:
        server.join()
        declared = {
            **CLUSTER,
            "couchdb_state": "absent",
            # CouchDB has no users with such names.
            "couchdb_users": [{"name": "_ann", "password": "ann-canary"}],
            "couchdb_settings": {"log": {"level": "warning"}},
            "couchdb_nodes": ["_local"],
        }
        server.clear_journal()
        status, _changed, said = role(tmp_path, nodes(server), declared)
        assert status != 0
        stopped = re.findall(r"fatal: \[(\w+)\].*host1, which declares what belongs to the cluster, failed", said)
        assert sorted(stopped) == ["host2", "host3"], said
        assert not [entry for entry in server.journal() if entry["method"] in ("PUT", "DELETE")]


def test_a_wrong_password_is_sent_once_for_a_cluster(tmp_path: Path) -> None:
    with embedded.server(admin=f"admin:{ADMIN}", nodes=3) as server:
        server.join()
        declared = {
            **CLUSTER,
            "couchdb_admin_password": "wrong-canary",
            "couchdb_settings": {"log": {"level": "warning"}},
            "couchdb_nodes": ["_local"],
        }
        for options in ((), ("--tags", "settings")):
            server.clear_journal()
            assert role(tmp_path, nodes(server), declared, *options)[0] != 0
            assert sum(bool(entry["failed_login"]) for entry in server.journal()) == 1, options


def test_check_mode_works_before_the_members_have_joined(tmp_path: Path) -> None:
    with embedded.server(admin=f"admin:{ADMIN}", nodes=3) as server:
        declared = {
            **CLUSTER,
            "couchdb_databases": [{"name": "orders"}],
            "couchdb_users": [{"name": "ann", "password": "ann-canary"}],
            "couchdb_replications": [{"name": "copy", "source": "orders", "target": "http://db.example.com/orders"}],
        }
        status, changed, said = role(tmp_path, nodes(server), declared, "--check")
        assert (status, changed > 0) == (0, True), said
        assert "Not compared, as the members have not joined yet: users, replications" in said


def test_a_setting_with_which_the_server_does_not_start_is_named(tmp_path: Path) -> None:
    declared = {"couchdb_admin_password": ADMIN, "couchdb_static_settings": {"uuids": {"algorithm": "nonsense"}}}
    status, _changed, said = role(tmp_path, {"db1": {"couchdb_install": "package"}}, declared, "--check")
    assert status != 0
    assert "uuids/algorithm: 'nonsense' would stop the server" in said
    assert "censored" not in said
    # Before the host is looked at.
    assert "Read the state of the host" not in said


@pytest.mark.parametrize("password", ["data", "admin", "parts", "users"])
def test_a_password_that_is_a_common_word_confuses_nothing(tmp_path: Path, password: str) -> None:
    with embedded.server(admin=f"admin:{ADMIN}") as server:
        declared = {
            "couchdb_admin_password": ADMIN,
            "couchdb_databases": [{"name": "data"}],
            "couchdb_users": [{"name": "ann", "password": password}],
            "couchdb_admins": [{"name": "deploy", "password": password}],
        }
        hosts = nodes(server)
        assert role(tmp_path, hosts, declared)[:2] == (0, 1)
        assert role(tmp_path, hosts, declared)[:2] == (0, 0)
        assert role(tmp_path, hosts, declared, "--check", "--tags", "verify")[:2] == (0, 0)


def test_the_controller_can_do_all_that_talks_http(tmp_path: Path) -> None:
    with embedded.server(admin=f"admin:{ADMIN}") as server:
        nowhere = {"ansible_connection": "ssh", "ansible_host": "nowhere.invalid", "ansible_become": True}
        hosts = {"host1": {"couchdb_url": server.url, **nowhere}}
        declared = {
            "couchdb_admin_password": ADMIN,
            "couchdb_from": "controller",
            "couchdb_databases": [{"name": "orders"}],
        }
        assert role(tmp_path, hosts, declared, "--tags", "users,install")[:2] == (0, 0)
        assert role(tmp_path, hosts, declared, "--skip-tags", "databases")[:2] == (0, 0)
        status, changed, said = role(tmp_path, hosts, declared, "--skip-tags", "users")
        assert (status, changed) == (0, 1), said
        assert "Check that nothing differs any more" in said
        assert server.request("GET", "/orders")[0] == 200
        assert role(tmp_path, hosts, declared, "--check", "--tags", "verify")[:2] == (0, 0)
        declared.update(couchdb_state="absent", couchdb_remove_data=True, couchdb_remove_data_confirm="host1")
        assert role(tmp_path, hosts, declared, "--tags", "databases")[:2] == (0, 0)
        status, changed, said = role(tmp_path, hosts, declared, "--tags", "remove")
        assert (status, changed) == (0, 1), said
        assert server.request("GET", "/orders")[0] == 404


def test_a_replication_by_another_url_of_the_server_is_removed_again(tmp_path: Path) -> None:
    with embedded.server(admin=f"admin:{ADMIN}") as server:
        declared = {
            "couchdb_admin_password": ADMIN,
            "couchdb_local_url": server.url.replace("127.0.0.1", "localhost"),
            "couchdb_databases": [{"name": "orders"}, {"name": "copies"}],
            "couchdb_replications": [{"source": "orders", "target": "copies", "persistent": False, "continuous": True}],
        }
        assert role(tmp_path, nodes(server), declared)[0] == 0
        assert role(tmp_path, nodes(server), {**declared, "couchdb_state": "absent"})[0] == 0
        assert server.request("GET", "/_scheduler/jobs")[1]["jobs"] == []


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"couchdb_cookie": "monster"}, "couchdb_cookie is empty or the well-known default"),
        ({"couchdb_version": "3.5"}, "couchdb_version is 3.5. It must have three parts"),
        ({"couchdb_tls_key": "/k.pem"}, "couchdb_tls_certificate and couchdb_tls_key must be set together"),
    ],
)
def test_a_wrong_variable_is_refused_also_where_it_would_not_be_used(
    tmp_path: Path, wrong: dict[str, str], problem: str
) -> None:
    nowhere = {"host1": {"couchdb_url": "http://127.0.0.1:1/"}}
    status, _changed, said = role(tmp_path, nowhere, {"couchdb_admin_password": ADMIN, **wrong})
    assert status != 0
    assert problem in said


def test_a_secret_that_couchdb_would_log_is_refused_by_name(tmp_path: Path) -> None:
    declared = {
        "couchdb_admin_password": ADMIN,
        "couchdb_install": "package",
        "couchdb_settings": {"chttpd_auth": {"secret": "canary"}, "cors": {"credentials": True}},
    }
    status, _changed, said = role(tmp_path, {"host1": {}}, declared, "--tags=preflight")
    assert status != 0
    assert "couchdb_settings holds chttpd_auth/secret. CouchDB logs what it gets" in re.sub(r"\s+", " ", said)
    assert "canary" not in said


def test_a_password_hash_is_refused_as_password(tmp_path: Path) -> None:
    declared = {"couchdb_admin_password": "-pbkdf2:sha256-00ff,salt,600000"}
    status, _changed, said = role(tmp_path, {"host1": {"couchdb_url": "http://127.0.0.1:1/"}}, declared)
    assert status != 0
    assert "couchdb_admin_password is a password hash" in said


def test_a_host_may_always_run_the_modules(tmp_path: Path) -> None:
    with embedded.server(admin=f"admin:{ADMIN}") as server:
        hosts = {"host1": {"couchdb_url": server.url, "couchdb_direct": False}}
        ended = role(tmp_path, hosts, {"couchdb_admin_password": ADMIN}, "--tags=preflight")
        misspelt = role(tmp_path, hosts, {"couchdb_admin_password": ADMIN, "couchdb_databses": []}, "--tags=preflight")
    assert ended[0] == 0, ended[2]
    assert misspelt[0] == 2
    assert "no variable couchdb_databses (did you mean couchdb_databases?)" in re.sub(r"\s+", " ", misspelt[2])
