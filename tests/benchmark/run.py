# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measures the modules against the same work with ansible.builtin.uri, and against ansible.builtin.ping.

All in one run of ansible-playbook, on the embedded server or on COUCHDB_URL, so that the ratios hold
whatever else the machine does. Prints the medians, the ratios, how many requests each module sent (on the embedded
server, which counts them), and what importing the collection costs.
It never fails for being slow: the ratios are to be read.
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
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT / "tests" / "server"), str(ROOT / "tests" / "tools")]

import embedded
import tree

ROUNDS = 5
SETTINGS = {f"couchpy_bench_{number}": {f"key{key}": f"value {key}" for key in range(10)} for number in range(10)}
ITEMS = [(section, key, value) for section, keys in SETTINGS.items() for key, value in keys.items()]
DATABASES = [f"couchpy_bench_{number}" for number in range(50)]
DOCUMENTS = [{"_id": f"{number:04}", "number": number, "text": f"document {number}"} for number in range(1000)]
SAMPLE = 20
"""How many of the documents uri is given, at most a request each: all of them would take it many minutes."""
STORES = [f"couchpy_bench_store_{number}" for number in range(10)]
INDEXES = [
    {"database": store, "ddoc": f"bench-{field}", "name": field, "fields": [field], "selector": {"kind": "bench"}}
    for store in STORES
    for field in ("a", "b", "c", "d", "e")
]
REPLICATIONS = [
    {
        "name": f"couchpy_bench_{number}",
        "source": STORES[number % 10],
        "target": STORES[(number + 1) % 10],
        "doc_ids": [str(number)],
    }
    for number in range(50)
]

# What the table shows: the thing, how many of it, on which servers; what uri was given means how many.
ROWS = [
    ("settings", len(ITEMS), ("empty server", "unchanged server"), 1),
    ("databases", len(DATABASES), ("empty server", "unchanged server"), 1),
    ("documents", len(DOCUMENTS), ("empty server", "unchanged server", "changed"), len(DOCUMENTS) // SAMPLE),
    ("indexes", len(INDEXES), ("empty server", "unchanged server"), 1),
    ("replications", len(REPLICATIONS), ("empty server", "unchanged server"), 1),
]

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
    with (
        tempfile.TemporaryDirectory() as folder,
        embedded.server(dialect="3", admin="admin:secret", journal=Path(folder) / "journal") as found,
    ):
        credentials = {"COUCHDB_USERNAME": found.username or "", "COUCHDB_PASSWORD": found.password or ""}
        yield {"COUCHDB_URL": found.url, "JOURNAL": str(Path(folder) / "journal"), **credentials}


def config_path(url: str) -> str:
    """Where the server has its settings: PouchDB Server and CouchDB 1.x at the root, others below a node."""
    with urllib.request.urlopen(url, timeout=30) as answer:
        welcome = json.load(answer)
    old = "couchdb" not in welcome or welcome["version"].startswith("1.")
    return "/_config" if old else "/_node/_local/_config"


def measured(environment: dict[str, str]) -> dict[str, list[dict[str, Any]]]:
    """Run the playbook and return what the callback wrote of each of its tasks, by the name of the task."""
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
            "BENCH_DOCUMENTS": json.dumps(DOCUMENTS),
            "BENCH_SAMPLE": str(SAMPLE),
            "BENCH_STORES": json.dumps(STORES),
            "BENCH_INDEXES": json.dumps(INDEXES),
            "BENCH_REPLICATIONS": json.dumps(REPLICATIONS),
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
        found: dict[str, list[dict[str, Any]]] = collections.defaultdict(list)
        for line in file.read_text().splitlines():
            row = json.loads(line)
            found[row["task"]].append(row)
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
    print("Measuring; the part with ansible.builtin.uri takes a few minutes ...", flush=True)
    with server() as environment:
        found = measured(environment)
    seconds = {task: statistics.median(row["seconds"] for row in rows) for task, rows in found.items()}
    # To change a document, uri has to read its revision first.
    seconds["Loop of uri, documents, changed"] = sum(
        seconds[f"Loop of uri, documents, {step}"] for step in ("read", "written")
    )
    ping = seconds["Ping"]
    print(f"\n{'':38}{'module':>9}{'requests':>10}{'uri loop':>11}{'uri/module':>12}{'module/ping':>13}")
    for what, many, states, times in ROWS:
        for state in states:
            task = f"Module, {what}, {state}"
            sent = [row["requests"] for row in found[task] if row["requests"] is not None]
            counted = f"{statistics.median(sent):.0f}" if sent else "-"
            line = f"{f'{many} {what}, {state}':38}{seconds[task]:8.2f}s{counted:>10}"
            uri = seconds.get(f"Loop of uri, {what}, {state}")
            if uri is None:
                line += f"{'-':>11}{'-':>12}"
            else:
                uri *= times
                line += f"{('~' if times > 1 else '') + format(uri, '.2f'):>10}s{uri / seconds[task]:11.1f}x"
            print(f"{line}{seconds[task] / ping:12.2f}x")
    print(f"{'ansible.builtin.ping':38}{ping:8.2f}s\n")
    print(f"~ computed from a loop over {SAMPLE} of them\n")
    for path in sorted((ROOT / "plugins" / "modules").glob("*.py")):
        print(f"importing {path.stem:24}{import_cost(path.stem):8.1f} ms beside requests and ansible's own")


if __name__ == "__main__":
    main()
