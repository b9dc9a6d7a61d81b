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

PLAYBOOKS = sorted(path.name for path in (ROOT / "examples").glob("*.yml"))
PASSWORDS = {
    "deploy_password": "deploy-secret",
    "monitoring_password": "monitoring-secret",
    "monitoring_salt": "00112233445566778899aabbccddeeff",
    "shop_passwords": {"ann": "ann-secret", "ben": "ben-secret"},
}


@pytest.fixture(scope="module")
def server() -> Iterator[embedded.Server]:
    """A server with nothing in it."""
    with embedded.server(dialect="3", admin="admin:secret") as started:
        yield started


def play(server: embedded.Server, playbook: str, folder: Path, *options: str) -> int:
    """Run a playbook and return how many tasks changed something."""
    passwords = folder / "passwords.json"
    passwords.write_text(json.dumps(PASSWORDS))
    environment = {
        **os.environ,
        "COUCHDB_URL": server.url,
        "COUCHDB_USERNAME": server.username or "",
        "COUCHDB_PASSWORD": server.password or "",
        "ANSIBLE_COLLECTIONS_PATH": str(tree.link()),
    }
    command = ["ansible-playbook", "--extra-vars", f"@{passwords}", *options, str(ROOT / "examples" / playbook)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    changed = re.search(r"changed=(\d+)", run.stdout)
    assert changed
    return int(changed.group(1))


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_an_example_runs_and_its_second_run_changes_nothing(
    server: embedded.Server, playbook: str, tmp_path: Path
) -> None:
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
