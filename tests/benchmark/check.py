# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measures the playbook check on 100 servers that are as declared, against a play of one ping each.

The hosts share four embedded servers, on each of which 20 settings, 20 databases with security, 5 users and 5 indexes are declared.
Prints the medians of whole runs, from the start of ansible-playbook to its end, the ratio, and how many tasks a server takes.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT / "tests" / "server"), str(ROOT / "tests" / "tools")]

import embedded
import tree

HOSTS, SERVERS, ROUNDS, FORKS = 100, 4, 3, 10
SECURITY = {"members": {"names": [], "roles": ["shop"]}}
NAMES = [f"couchpy_bench_{number}" for number in range(20)]
DECLARED: dict[str, Any] = {
    "couchdb_install": "none",
    "couchdb_admin_password": "secret",
    "couchdb_settings": {"couchpy_bench": dict.fromkeys(NAMES, "a value")},
    "couchdb_databases": [{"name": name, "security": SECURITY} for name in NAMES],
    "couchdb_users": [
        {"name": name, "password": "a password", "roles": ["shop"], "update_password": "on_create"}
        for name in NAMES[:5]
    ],
    "couchdb_indexes": [
        {"database": name, "ddoc": "by-date", "name": "by-date", "fields": ["date"]} for name in NAMES[:5]
    ],
}
# The tasks that run on a server, rather than on the controller.
REMOTE = ("Compare", "Ping")


def run(playbook: str, inventory: Path, folder: Path) -> tuple[float, int]:
    """Run a playbook; return the seconds it took, and how many tasks ran on servers. Ends the benchmark if it fails."""
    durations = folder / "durations"
    durations.unlink(missing_ok=True)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "COUCHDB_"))},
        "ANSIBLE_COLLECTIONS_PATH": str(tree.link()),
        "ANSIBLE_HOME": str(folder / "ansible"),
        "ANSIBLE_FORKS": str(FORKS),
        "ANSIBLE_PIPELINING": "true",
        "ANSIBLE_CALLBACKS_ENABLED": "durations",
        "ANSIBLE_CALLBACK_PLUGINS": str(HERE / "callback_plugins"),
        "DURATIONS": str(durations),
    }
    start = time.perf_counter()
    ended = subprocess.run(
        [str(Path(sys.executable).with_name("ansible-playbook")), playbook, "-i", str(inventory)],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - start
    if ended.returncode:
        sys.exit(ended.stdout)
    tasks = [json.loads(line)["task"] for line in durations.read_text().splitlines()]
    return seconds, sum(task.startswith(REMOTE) and "members" not in task for task in tasks)


def hosts(folder: Path, urls: list[str], number: int) -> Path:
    """Write an inventory of so many hosts, which share the servers; return its path."""
    entries = {f"db{count:03}": {"couchdb_url": urls[count % len(urls)]} for count in range(number)}
    shared = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, **DECLARED}
    path = folder / f"inventory-{number}.json"
    path.write_text(json.dumps({"couchdb": {"hosts": entries, "vars": shared}}))
    return path


def main() -> None:
    """Measure and print."""
    print(f"Measuring check on {HOSTS} servers; this takes some minutes ...", flush=True)
    with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as stack:
        folder = Path(scratch)
        urls = [stack.enter_context(embedded.server(dialect="3", admin="admin:secret")).url for _one in range(SERVERS)]
        run("couchpy.couchdb.site", hosts(folder, urls, SERVERS), folder)
        inventory = hosts(folder, urls, HOSTS)
        ping = folder / "ping.json"
        tasks = [{"name": "Ping", "ansible.builtin.ping": {}}]
        ping.write_text(json.dumps([{"name": "Pings", "hosts": "couchdb", "gather_facts": False, "tasks": tasks}]))
        times: dict[str, list[float]] = {"couchpy.couchdb.check": [], str(ping): []}
        ran: dict[str, int] = {}
        for _round in range(ROUNDS):
            for playbook in times:
                seconds, ran[playbook] = run(playbook, inventory, folder)
                times[playbook].append(seconds)
    checked, pinged = (statistics.median(taken) for taken in times.values())
    print(
        f"\ncheck of {HOSTS} servers that are as declared  {checked:8.2f}s, {ran['couchpy.couchdb.check'] / HOSTS:.0f} task a server"
    )
    print(f"a play of one ping each                   {pinged:8.2f}s   check/ping {checked / pinged:6.2f}x")


if __name__ == "__main__":
    main()
