# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Moves shards of a cluster under a steady load, and prints what it cost the cluster's clients.

``cluster_life.py SCENARIO [options] URL URL URL URL``: the addresses of four nodes, whose admin is COUCHDB_USERNAME with
COUCHDB_PASSWORD. All four are members but in ``grow``, which begins with three of them and has the fourth join. ``split``, ``kill-split``,
``command`` and ``rest`` take any number of members.

* ``grow``: the fourth node joins and gets its share.
* ``drain``: the fourth node hands over what it has and leaves.
* ``replace``: the third node is killed for good, by ``--kill``, and the fourth gets its copies. The fourth begins outside.
* ``split``: the load's database gets twice as many shards.
* ``kill``: copies move to and fro, and the task is killed with SIGKILL at each of its changing requests in turn, and run again.
* ``kill-split``: databases of their own are split, one for each changing request of the task, which is killed there, and run again.
* ``command``: ``--command`` is run, such as a play that upgrades the nodes.
* ``rest``: nothing is done, which shows what a cluster does by itself.

The load goes through the nodes that are up, as a balancer would have it: each node's /_up is asked again and again, and a request
goes to any of those that answered 200. Each write makes a new document. Each read, and each question to _all_docs, a view and _find,
is for a document whose write was acknowledged before the question was sent, half of them for one of the last hundred. An answer
without the document is wrong if the acknowledgement is older than ``--grace`` seconds, as CouchDB acknowledges what two of three
copies have, and any one of them may answer. At the end each document is looked for on every node in service. Nothing is tried
again: a request that fails is a failure.

Ends with 1 if a request failed, an answer was wrong, an acknowledged write was lost, or a task failed.
"""

from __future__ import annotations

import argparse
import base64
import collections
import contextlib
import http.client
import http.server
import json
import os
import random
import secrets
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "tools"), str(ROOT / "tests" / "server"), str(ROOT / "tests" / "cluster")]

import tree
from rolling_restart import LEAD, Node, lost

RECENT = 100
READING = ("_dbs_info", "_sync_shards", "_revs_diff", "_all_docs", "_find")
"""The last parts of paths whose POST changes nothing."""

VIEW = {"views": {"by_key": {"map": "function (doc) { if (doc.key) { emit(doc.key, null); } }"}}}


class Load:
    """Clients that write and read through the nodes in service, and their results."""

    def __init__(self, nodes: list[Node], database: str, workers: int, rate: float) -> None:
        self.nodes = nodes
        self.database = database
        self.pause = workers / rate
        self.stop = threading.Event()
        self.stop_watching = threading.Event()
        self.lock = threading.Lock()
        self.acknowledged: list[tuple[str, float]] = []
        self.counts: collections.Counter[str] = collections.Counter()
        self.failures: collections.Counter[str] = collections.Counter()
        self.late: list[tuple[float, str, float]] = []
        """How old the missing write was, what was asked in which phase, and when."""
        self.slowest = 0.0
        self.phase = ""
        self.watchers = [threading.Thread(target=node.watch, args=(self.stop_watching,), daemon=True) for node in nodes]
        self.workers = [threading.Thread(target=self._work, args=(number,), daemon=True) for number in range(workers)]

    def start(self) -> None:
        for thread in self.watchers:
            thread.start()
        while not any(node.in_service for node in self.nodes):
            time.sleep(0.05)
        time.sleep(0.5)
        for thread in self.workers:
            thread.start()

    def end(self) -> None:
        self.stop.set()
        for thread in self.workers:
            thread.join()
        self.stop_watching.set()

    def _work(self, number: int) -> None:
        connections: dict[str, tuple[int, http.client.HTTPConnection]] = {}
        count = 0
        while not self.stop.is_set():
            begun = time.monotonic()
            count += 1
            nodes = [node for node in self.nodes if node.in_service]
            if nodes:
                self._ask(random.choice(nodes), number, count, connections)
            else:
                self._fail("no node is in service")
            self.stop.wait(max(0.0, self.pause - (time.monotonic() - begun)))

    def _ask(self, node: Node, number: int, count: int, connections: dict[str, Any]) -> None:
        with self.lock:
            known = self.acknowledged
            sample = random.choice(known[-RECENT:] if random.random() < 0.5 else known) if known else None
        kind = ("write", "read", "all_docs", "view", "find")[count % 5] if sample else "write"
        key, acknowledged = sample or ("", 0.0)
        quoted = f'"{key}"'
        method, path, body = {
            "write": ("PUT", f"/{self.database}/w{number}-{count}", {"key": f"w{number}-{count}", "pad": "x" * 200}),
            "read": ("GET", f"/{self.database}/{key}", None),
            "all_docs": ("GET", f"/{self.database}/_all_docs?startkey=%22{key}%22&endkey=%22{key}%22", None),
            "view": ("GET", f"/{self.database}/_design/load/_view/by_key?key=%22{key}%22", None),
            "find": ("POST", f"/{self.database}/_find", {"selector": {"key": key}, "use_index": "keys"}),
        }[kind]
        absences, connection = connections.get(node.name, (-1, None))
        if absences != node.absences:
            connection = node.connect(timeout=30)
            connections[node.name] = (node.absences, connection)
        begun = time.monotonic()
        try:
            status, answer = node.ask(connection, method, path, body)
        except (OSError, http.client.HTTPException) as error:
            connections.pop(node.name)[1].close()
            self._fail(f"{kind} at {node.name}: {error!r}")
            return
        now = time.monotonic()
        with self.lock:
            self.counts[kind] += 1
            self.slowest = max(self.slowest, now - begun)
            if kind == "write" and status in (201, 202):
                self.acknowledged.append((body["key"], now))
        if status not in (200, 201, 202):
            self._fail(f"{kind} at {node.name}: {status} {answer}")
        elif kind != "write" and quoted not in json.dumps(answer):
            with self.lock:
                clock = time.strftime("%H:%M:%S")
                self.late.append((begun - acknowledged, f"{kind} {self.phase} {node.name} {clock}", begun))

    def _fail(self, what: str) -> None:
        with self.lock:
            self.failures[f"{self.phase}: {what}"] += 1


class Killer(http.server.ThreadingHTTPServer):
    """Forwards requests to a node, and kills a task before or after its changing request with some number."""

    daemon_threads = True

    def __init__(self, node: Node) -> None:
        self.node = node
        self.at = 0
        self.after = False
        self.seen = 0
        self.said = ""
        self.victim: subprocess.Popen[str] | None = None
        self.lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), _Passing)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a connection whose other end was killed."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    def kill(self, said: str) -> None:
        self.said = said
        if self.victim is not None:
            # Not by its process group: Ansible's workers have one of their own, and would carry on.
            for pid in with_descendants(self.victim.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def with_descendants(pid: int) -> list[int]:
    """A process and all that descend from it."""
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    children: dict[int, list[int]] = {}
    for line in listed.splitlines():
        child, parent = map(int, line.split())
        children.setdefault(parent, []).append(child)
    found = [pid]
    for each in found:
        found += children.get(each, [])
    return found


class _Passing(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Killer

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.split("?")[0]
        changes = self.command in ("PUT", "DELETE") or (
            self.command == "POST" and path.rsplit("/", 1)[-1] not in READING
        )
        with self.server.lock:
            self.server.seen += int(changes)
            dies = changes and self.server.seen == self.server.at
        if dies and not self.server.after:
            self.server.kill(f"before {self.command} {path}")
            return
        connection = self.server.node.connect(timeout=120)
        connection.request(
            self.command, self.path, body or None, {k: v for k, v in self.headers.items() if k.lower() != "host"}
        )
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        if dies:
            self.server.kill(f"after {self.command} {path}")
            return
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "content-length", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass

    def log_message(self, *_arguments: Any) -> None:
        """Log nothing."""


class Cluster:
    """The nodes, and the tasks that are run on them."""

    def __init__(self, nodes: list[Node], url: str) -> None:
        self.nodes = nodes
        self.url = url
        self.names = {node.name: self.get(node, "/_node/_local")["name"] for node in nodes}
        self.failed = 0

    @staticmethod
    def get(node: Node, path: str, method: str = "GET", body: Any = None) -> Any:
        connection = node.connect(timeout=60)
        try:
            return node.ask(connection, method, path, body)[1]
        finally:
            connection.close()

    def name(self, place: int) -> str:
        return self.names[self.nodes[place].name]

    def member(self, place: int) -> dict[str, str]:
        return {"name": self.name(place), "url": f"http://{self.nodes[place].name}/"}

    def start(self, module: str, arguments: dict[str, Any], url: str = "") -> subprocess.Popen[str]:
        environment = {
            **os.environ,
            "COUCHDB_URL": url or self.url,
            "ANSIBLE_COLLECTIONS_PATH": str(tree.link()),
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        }
        command = ["ansible", "localhost", "-i", "localhost,", "-c", "local", "-m", f"couchpy.couchdb.{module}"]
        return subprocess.Popen(
            [*command, "-a", json.dumps(arguments)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, module: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Run a task, and return its result."""
        begun = time.monotonic()
        task = self.start(module, arguments)
        output = task.communicate()[0]
        took = time.monotonic() - begun
        result = json.loads(output[output.index("=> {") + 3 :]) if "=> {" in output else {}
        word = "FAILED" if task.returncode else "changed" if result.get("changed") else "unchanged"
        print(f"{module:<33} {word} after {took:.1f} s, {len(result.get('moved', []))} copies moved", flush=True)
        if task.returncode:
            self.failed += 1
            print(output, file=sys.stderr)
        return result


def grow(cluster: Cluster, load: Load, given: argparse.Namespace) -> None:
    members = [cluster.member(place) for place in range(4)]
    cluster.run("couchdb_cluster", {"members": members, "rebalance": True, "wait_timeout": 600})


def drain(cluster: Cluster, load: Load, given: argparse.Namespace) -> None:
    members = [cluster.member(place) for place in range(3)]
    cluster.run("couchdb_cluster", {"members": members, "exclusive": True, "drain": True, "wait_timeout": 600})


def replacement(cluster: Cluster, load: Load, given: argparse.Namespace) -> None:
    dead = cluster.nodes[2]
    dead.in_service = False
    load.nodes.remove(dead)
    time.sleep(1)
    subprocess.run(given.kill, shell=True, check=True)
    time.sleep(3)
    members = [cluster.member(place) for place in (0, 1, 3)]
    arguments = {"members": members, "replace": {cluster.name(2): cluster.name(3)}, "wait_timeout": 600}
    cluster.run("couchdb_cluster", arguments)


def split(cluster: Cluster, load: Load, given: argparse.Namespace) -> None:
    shards = cluster.get(cluster.nodes[0], f"/{load.database}")["cluster"]["q"] * 2
    cluster.run("couchdb_database", {"name": load.database, "shards": shards, "reshard": True})


def command(cluster: Cluster, load: Load, given: argparse.Namespace) -> None:
    begun = time.monotonic()
    done = subprocess.run(
        given.command, shell=True, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    print(f"{'FAILED' if done.returncode else 'done'} after {time.monotonic() - begun:.1f} s", flush=True)
    if done.returncode:
        cluster.failed += 1
        print(done.stdout, file=sys.stderr)


def rest(cluster: Cluster, load: Load, given: argparse.Namespace) -> None:
    time.sleep(given.seconds)


def kill(cluster: Cluster, load: Load, given: argparse.Namespace) -> None:
    killer = Killer(cluster.nodes[0])
    url = f"http://127.0.0.1:{killer.server_port}/"
    ways = [[cluster.name(place) for place in places] for places in ((0, 1, 2), (0, 1, 3))]
    wait = {"databases": [load.database], "state": "placed", "wait_timeout": 600}
    cluster.run("couchdb_shards", {**wait, "members": ways[1]})
    number, there = given.first, 0
    while True:
        killer.at, killer.after, killer.seen, killer.said = number, bool(number % 2), 0, ""
        arguments = {**wait, "members": ways[there]}
        killer.victim = cluster.start("couchdb_shards", arguments, url)
        output = killer.victim.communicate()[0]
        if not killer.said:
            if killer.victim.returncode:
                cluster.failed += 1
                print(output, file=sys.stderr)
            print(f"all {killer.seen} changing requests were tried", flush=True)
            return
        print(f"killed {killer.said} (request {number})", flush=True)
        result = cluster.run("couchdb_shards", arguments)
        ranges = [nodes for row in result.get("databases", []) for nodes in row["ranges"].values()]
        if not ranges or any(nodes != sorted(ways[there]) for nodes in ranges):
            cluster.failed += 1
            print(f"it ended as {ranges}", file=sys.stderr)
        again = cluster.run("couchdb_shards", arguments)
        if again.get("changed") is not False:
            cluster.failed += 1
        number, there = number + 1, 1 - there


def kill_split(cluster: Cluster, load: Load, given: argparse.Namespace) -> None:
    killer = Killer(cluster.nodes[0])
    url = f"http://127.0.0.1:{killer.server_port}/"
    number = given.first
    while True:
        name = f"{load.database}_{number}"
        cluster.get(cluster.nodes[0], f"/{name}?q=1&n=3", "PUT")
        rows = [{"_id": f"{place}"} for place in range(500)]
        cluster.get(cluster.nodes[0], f"/{name}/_bulk_docs", "POST", {"docs": rows})
        killer.at, killer.after, killer.seen, killer.said = number, bool(number % 2), 0, ""
        arguments = {"name": name, "shards": 2, "reshard": True}
        killer.victim = cluster.start("couchdb_database", arguments, url)
        output = killer.victim.communicate()[0]
        if killer.said:
            print(f"killed {killer.said} (request {number})", flush=True)
            cluster.run("couchdb_database", arguments)
        elif killer.victim.returncode:
            cluster.failed += 1
            print(output, file=sys.stderr)
        again = cluster.run("couchdb_database", arguments)
        found = again.get("databases", [{"info": {}}])[0]["info"]
        left = [
            name
            for place, node in enumerate(cluster.nodes)
            for name in cluster.get(node, f"/_node/{cluster.name(place)}/_config/couchdb")
            if name.endswith("maintenance_mode")
        ]
        if (again.get("changed"), found.get("doc_count"), found.get("cluster", {}).get("q"), left) != (
            False,
            500,
            2,
            [],
        ):
            cluster.failed += 1
            print(f"it ended as {found}, with {left}", file=sys.stderr)
        cluster.get(cluster.nodes[0], f"/{name}", "DELETE")
        if not killer.said:
            print(f"all {killer.seen} changing requests were tried", flush=True)
            return
        number += 1


SCENARIOS = {
    "grow": grow,
    "drain": drain,
    "replace": replacement,
    "split": split,
    "kill": kill,
    "kill-split": kill_split,
    "command": command,
    "rest": rest,
}
FOR_ANY_NUMBER = ("split", "kill-split", "command", "rest")


def prepare(cluster: Cluster, database: str, documents: int) -> None:
    """Create the database with its indexes and some documents."""
    node = cluster.nodes[0]
    cluster.get(node, f"/{database}?q=2&n=3", "PUT")
    cluster.get(node, f"/{database}/_design/load", "PUT", VIEW)
    index = {"index": {"fields": ["key"]}, "ddoc": "keys", "name": "keys"}
    cluster.get(node, f"/{database}/_index", "POST", index)
    for start in range(0, documents, 1000):
        rows = [{"_id": f"p{number}", "key": f"p{number}", "pad": "x" * 200} for number in range(start, start + 1000)]
        cluster.get(node, f"/{database}/_bulk_docs", "POST", {"docs": rows})
    cluster.get(node, f"/{database}/_local/checkpoint", "PUT", {"seq": 7})
    cluster.get(node, f"/{database}/_revs_limit", "PUT", 77)
    cluster.get(node, f"/{database}/_design/load/_view/by_key?limit=0")


def main() -> int:
    """Put the load on, carry out the scenario, and print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("scenario", choices=SCENARIOS)
    parser.add_argument("urls", nargs="+", metavar="URL", help="the address of each node")
    parser.add_argument("--workers", type=int, default=10, help="how many clients there are (10)")
    parser.add_argument("--rate", type=float, default=100, help="requests a second, of all clients together (100)")
    parser.add_argument("--documents", type=int, default=20000, help="documents before the load begins (20000)")
    parser.add_argument("--grace", type=float, default=1.0, help="seconds until all copies have a write (1)")
    parser.add_argument("--seconds", type=float, default=20, help="how long rest takes (20)")
    parser.add_argument("--kill", default="false", help="the command that kills the third node, for replace")
    parser.add_argument("--command", default="true", help="what is run, for command")
    parser.add_argument(
        "--first", type=int, default=1, help="the changing request to begin with, for kill and kill-split (1)"
    )
    given = parser.parse_args()
    if given.scenario not in FOR_ANY_NUMBER and len(given.urls) != 4:
        parser.error(f"{given.scenario} takes the addresses of four nodes")
    username, password = os.environ.get("COUCHDB_USERNAME", ""), os.environ.get("COUCHDB_PASSWORD", "")
    basic = base64.b64encode(f"{username}:{password}".encode()).decode()
    headers = {"Authorization": f"Basic {basic}", "Content-Type": "application/json", "Accept": "application/json"}
    nodes = [Node(url, headers) for url in given.urls]
    cluster = Cluster(nodes, given.urls[0])
    outside = nodes[3:] if given.scenario in ("grow", "replace") else []
    database = f"couchpy_load_{secrets.token_hex(4)}"
    prepare(cluster, database, given.documents)
    load = Load([node for node in nodes if node not in outside], database, given.workers, given.rate)
    load.phase = "before"
    begun = time.monotonic()
    load.start()
    time.sleep(LEAD)
    load.phase = given.scenario
    SCENARIOS[given.scenario](cluster, load, given)
    load.phase = "after"
    time.sleep(LEAD)
    load.end()
    return tell(cluster, load, given, time.monotonic() - begun)


def tell(cluster: Cluster, load: Load, given: argparse.Namespace, seconds: float) -> int:
    """Print the figures; 1 if something went wrong."""
    time.sleep(2)
    members = cluster.get(cluster.nodes[0], "/_membership")["cluster_nodes"]
    up = [node for node in load.nodes if node.in_service and cluster.names[node.name] in members]
    written = [key for key, _when in load.acknowledged]
    missing = {node.name: lost(node, load.database, written) for node in up}
    wrong = [row for row in load.late if row[0] > given.grace]
    checkpoint = cluster.get(cluster.nodes[0], f"/{load.database}/_local/checkpoint")
    limits = [cluster.get(node, f"/{load.database}/_revs_limit") for node in up]
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(load.counts.items()))
    print(f"requests                          {sum(load.counts.values())} in {seconds:.0f} s ({kinds})")
    print(f"failed requests to a node up      {sum(load.failures.values())}")
    print(f"slowest request                   {load.slowest * 1000:.0f} ms")
    print(f"acknowledged writes               {len(written)}")
    print(f"acknowledged writes lost          {len(set().union(*missing.values()))}")
    print(f"wrong answers                     {len(wrong)} (older than {given.grace:g} s)")
    ages = sorted(row[0] for row in load.late)
    shown = f", the oldest {ages[-1] * 1000:.0f} ms, the median {ages[len(ages) // 2] * 1000:.0f} ms" if ages else ""
    print(f"answers not yet with a write      {len(ages)}{shown}")
    print(f"local document, revisions limits  {checkpoint.get('seq')}, {limits}")
    for what, count in load.failures.most_common(10):
        print(f"failed: {what} ({count} times)", file=sys.stderr)
    for age, what, _begun in sorted(wrong, reverse=True)[:10]:
        print(f"wrong: {what}, written {age * 1000:.0f} ms before", file=sys.stderr)
    kept = checkpoint.get("seq") == 7 and set(limits) == {77}
    bad = load.failures or wrong or any(missing.values()) or cluster.failed or not kept
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
