# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Shows the main job on three embedded servers, of which one is a cluster of three nodes.

Declares them with the role, twice; changes things behind its back; the playbook check names exactly these, and
site mends them; report writes a page. Returns 1 if one of these does not come out as it should.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tree
import yaml

sys.path.insert(0, str(tree.ROOT / "tests/server"))

import embedded

FOLDER = tree.CACHE / "demo"
PASSWORD = "demo-secret"
CHANGED = re.compile(r"^(\S+)\s*:.*\bchanged=(\d+)", re.MULTILINE)
NAMED = re.compile(r'^\s*"((?:cluster|office|shop): .*?)",?$', re.MULTILINE)

DECLARED = {
    "couchdb_install": "none",
    "couchdb_admin_password": PASSWORD,
    "couchdb_settings": {"log": {"level": "warning"}, "couchdb": {"max_document_size": 4194304}},
    "couchdb_databases": [
        {"name": "orders", "security": {"members": {"names": [], "roles": ["shop"]}}, "revs_limit": 100},
        {"name": "customers", "security": {"members": {"names": [], "roles": ["shop"]}}},
    ],
    "couchdb_users": [{"name": "till", "password": "till-secret", "roles": ["shop"], "update_password": "on_create"}],
    "couchdb_indexes": [{"database": "orders", "ddoc": "by-date", "name": "by-date", "fields": ["date"]}],
}

# What changes, and what check must then say.
EXPECTED = {
    "cluster: databases: orders (security)",
    "office: indexes: orders/by-date/by-date (missing)",
    "office: settings: log/level",
    "shop: users: till (roles)",
}


class Failed(Exception):
    """What did not come out as it should."""


def inventory(servers: dict[str, embedded.Server]) -> Path:
    """Write the inventory and return its path."""
    hosts: dict[str, dict[str, Any]] = {name: {"couchdb_url": server.url} for name, server in servers.items()}
    hosts["cluster"]["couchdb_cluster_members"] = [f"node{number}@127.0.0.1" for number in (1, 2, 3)]
    common = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, **DECLARED}
    path = FOLDER / "inventory.yml"
    path.write_text(yaml.safe_dump({"couchdb": {"hosts": hosts, "vars": common}}, sort_keys=False))
    return path


def play(name: str, inventory_file: Path, **variables: Any) -> tuple[int, dict[str, int], str]:
    """Run a playbook by name; return its exit status, how many tasks changed something on each host, and its output."""
    command = [
        str(Path(sys.executable).with_name("ansible-playbook")),
        f"couchpy.couchdb.{name}",
        "-i",
        str(inventory_file),
    ]
    command += ["--extra-vars", json.dumps(variables)] if variables else []
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "COUCHDB_"))},
        "ANSIBLE_COLLECTIONS_PATH": str(tree.link()),
        "ANSIBLE_HOME": str(FOLDER / "ansible"),
        "ANSIBLE_NOCOWS": "true",
        "ANSIBLE_NOCOLOR": "true",
        "ANSIBLE_PIPELINING": "true",
        "ANSIBLE_DISPLAY_SKIPPED_HOSTS": "false",
        "PWD": str(tree.ROOT),
    }
    start = time.monotonic()
    shown = f"ansible-playbook couchpy.couchdb.{name} -i {inventory_file.relative_to(tree.ROOT)}"
    print(f"  $ {shown}", flush=True)
    run = subprocess.run(
        command,
        cwd=tree.ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    changed = {host: int(number) for host, number in CHANGED.findall(run.stdout) if host != "localhost"}
    told = ", ".join(f"{host} {number}" for host, number in changed.items())
    print(f"    exit status {run.returncode}; changed: {told} ({time.monotonic() - start:.0f} s)", flush=True)
    return run.returncode, changed, run.stdout


def succeeds(name: str, inventory_file: Path, check: Callable[[dict[str, int]], bool], **variables: Any) -> None:
    """Run a playbook that must succeed, with changes as they should be."""
    status, changed, output = play(name, inventory_file, **variables)
    if status or not check(changed):
        print(output)
        raise Failed(f"{name} ended with {status} and changed {changed}")


def disturb(servers: dict[str, embedded.Server]) -> None:
    """Change things behind Ansible's back: a setting, a security object, a user's role, an index."""
    office, shop, cluster = servers["office"], servers["shop"], servers["cluster"]
    office.request("PUT", "/_node/_local/_config/log/level", "debug")
    index = office.request("GET", "/orders/_design/by-date")[1]
    office.request("DELETE", f"/orders/_design/by-date?rev={index['_rev']}")
    user = shop.request("GET", "/_users/org.couchdb.user:till")[1]
    shop.request("PUT", "/_users/org.couchdb.user:till", {**user, "roles": ["shop", "boss"]})
    security = {"admins": {"roles": ["_admin"]}, "members": {"names": [], "roles": []}}
    cluster.request("PUT", "/orders/_security", security)


def show(servers: dict[str, embedded.Server]) -> Path:
    """Show it all; return the path of the report."""
    hosts = inventory(servers)
    servers["cluster"].join()
    print("1. Declare the servers with the role: settings, databases, users, indexes, the members of the cluster")
    succeeds("site", hosts, lambda changed: all(changed.values()))
    print("2. Run it again: a server that is as declared is left alone")
    succeeds("site", hosts, lambda changed: not any(changed.values()))
    print(
        "3. Somebody changes a setting, a security object, a user's roles, and deletes an index. check names exactly these"
    )
    disturb(servers)
    status, _changed, output = play("check", hosts)
    named = NAMED.findall(output)
    print(*(f"      {line}" for line in named), sep="\n")
    if status != 2 or set(named) != EXPECTED:
        print(output)
        raise Failed(f"check ended with {status}, and should have named {sorted(EXPECTED)}")
    print("4. Write a report on all servers, which shows both sides of what differs")
    succeeds("report", hosts, lambda changed: True, couchpy_directory=str(FOLDER / "report"))
    print("5. Mend it: only what differs is changed")
    succeeds("site", hosts, lambda changed: changed == {"cluster": 1, "office": 1, "shop": 1})
    return FOLDER / "report" / "report.html"


def main() -> int:
    """Run the demo; return 1 if something did not come out as it should."""
    start = time.monotonic()
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    print("Starting three embedded servers (the first start installs what they need from npm) ...", flush=True)
    with contextlib.ExitStack() as stack:
        numbers = {"cluster": 3, "office": 1, "shop": 1}
        servers = {
            name: stack.enter_context(embedded.server(dialect="3", admin=f"admin:{PASSWORD}", nodes=nodes))
            for name, nodes in numbers.items()
        }
        try:
            path = show(servers)
        except Failed as error:
            print(f"{error}: this is an error, please report it.")
            return 1
    print(f"\nThe report:      {path}")
    print(f"The declaration: {FOLDER / 'inventory.yml'}")
    print(f"The demo took {time.monotonic() - start:.0f} s.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
