# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measures the modules against the same done with ansible.builtin.uri, and against ansible.builtin.ping.

All in one run of ansible-playbook, on the embedded server or on COUCHDB_URL, so that the ratios hold
whatever else the machine does. Prints the medians, the ratios, and what importing the collection costs.
Nothing here fails for being slow: the ratios are for people to read.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT / "tests" / "server"), str(ROOT / "tests" / "tools")]

import embedded
import tree

ROUNDS = 7
SETTINGS = {f"couchpy_bench_{number}": {f"key{key}": f"value {key}" for key in range(10)} for number in range(10)}
ITEMS = [(section, key, value) for section, keys in SETTINGS.items() for key, value in keys.items()]
DATABASES = [f"couchpy_bench_{number}" for number in range(50)]

IMPORT = """
import sys, time
import requests
import ansible.module_utils.basic
start = time.perf_counter()
import ansible_collections.couchpy.couchdb.plugins.modules.MODULE
print((time.perf_counter() - start) * 1000)
"""


@contextlib.contextmanager
def server() -> Iterator[dict[str, str]]:
    """Give the environment variables that name the server to measure on."""
    if os.environ.get("COUCHDB_URL"):
        names = ("COUCHDB_URL", "COUCHDB_USERNAME", "COUCHDB_PASSWORD")
        yield {name: os.environ.get(name, "") for name in names}
        return
    with embedded.server(dialect="3", admin="admin:secret") as found:
        credentials = {"COUCHDB_USERNAME": found.username or "", "COUCHDB_PASSWORD": found.password or ""}
        yield {"COUCHDB_URL": found.url, **credentials}


def config_path(url: str) -> str:
    """Where the server has its settings: PouchDB Server and CouchDB 1.x at the root, others below a node."""
    with urllib.request.urlopen(url, timeout=30) as answer:
        welcome = json.load(answer)
    old = "couchdb" not in welcome or welcome["version"].startswith("1.")
    return "/_config" if old else "/_node/_local/_config"


def durations(environment: dict[str, str]) -> dict[str, list[float]]:
    """Run the playbook and return the seconds that each of its tasks took, by the name of the task."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "durations"
        variables = {
            **environment,
            "ANSIBLE_COLLECTIONS_PATH": str(tree.link()),
            "DURATIONS": str(file),
            "ANSIBLE_CALLBACKS_ENABLED": "durations",
            "ANSIBLE_CALLBACK_PLUGINS": str(HERE / "callback_plugins"),
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false",
            "BENCH_SETTINGS": json.dumps(SETTINGS),
            "BENCH_ITEMS": json.dumps(ITEMS),
            "BENCH_DATABASES": json.dumps(DATABASES),
            "BENCH_ROUNDS": str(ROUNDS),
            "BENCH_CONFIG_PATH": config_path(environment["COUCHDB_URL"]),
        }
        play = subprocess.run(
            ["ansible-playbook", str(HERE / "playbook.yml")],
            env={**os.environ, **variables},
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        if play.returncode:
            sys.exit(play.stdout)
        found: dict[str, list[float]] = collections.defaultdict(list)
        for line in file.read_text().splitlines():
            row = json.loads(line)
            found[row["task"]].append(row["seconds"])
    return found


def import_cost(module: str) -> float:
    """Milliseconds that importing a module takes beside requests and AnsibleModule: the median of nine."""
    environment = {**os.environ, "PYTHONPATH": str(tree.link()), "PYTHONDONTWRITEBYTECODE": ""}
    command = [sys.executable, "-c", IMPORT.replace("MODULE", module)]
    runs = [
        float(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
        for _run in range(10)
    ]
    return statistics.median(runs[1:])


def main() -> None:
    """Measure and print."""
    print("Measuring; the part with ansible.builtin.uri takes a minute or two ...", flush=True)
    with server() as environment:
        found = {task: statistics.median(seconds) for task, seconds in durations(environment).items()}
    ping = found["Ping"]
    print(f"\n{'':34}{'module':>9}{'uri loop':>10}{'uri/module':>12}{'module/ping':>13}")
    for what, many in (("settings", f"{len(ITEMS)} settings"), ("databases", f"{len(DATABASES)} databases")):
        for state in ("empty server", "unchanged server"):
            module, uri = found[f"Module, {what}, {state}"], found[f"Loop of uri, {what}, {state}"]
            line = f"{many}, {state}"
            print(f"{line:34}{module:8.2f}s{uri:9.2f}s{uri / module:11.1f}x{module / ping:12.2f}x")
    print(f"{'ansible.builtin.ping':34}{ping:8.2f}s\n")
    for path in sorted((ROOT / "plugins" / "modules").glob("*.py")):
        print(f"importing {path.stem:24}{import_cost(path.stem):8.1f} ms beside requests and ansible's own")


if __name__ == "__main__":
    main()
