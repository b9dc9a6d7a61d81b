# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs examples/rolling_restart.yml on a cluster under a steady load of reads and writes, and prints what it cost.

``rolling_restart.py [--rate N] [--workers N] [--drain-time S] [URL URL URL]``: the addresses of all nodes, whose admin is
COUCHDB_USERNAME with COUCHDB_PASSWORD. Without addresses it starts three embedded nodes and joins them.

The load goes through the nodes that are up, as a balancer would have it: each node's /_up is asked again and again, and a request
goes to any of those that answered 200. Every write makes a new document, every read asks for one whose write was acknowledged. At
the end each of these is looked for on every node. Nothing is retried: a request that fails is a failure.

Ends with 1 when a request failed, when an acknowledged write was lost, or when the playbook failed.
"""

from __future__ import annotations

import argparse
import base64
import collections
import contextlib
import http.client
import json
import os
import random
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "server"), str(ROOT / "tests" / "tools")]

import embedded
import tree

ASK_UP_EVERY = 0.2
TIMEOUT = 10.0
LEAD = 3.0
"""Seconds of load before the restart begins, and after it has ended."""

KEYS = 500


class Node:
    """One node: whether it is in service, and when and how long it was not."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        parts = urlsplit(url)
        self.host, self.port = parts.hostname or "", parts.port or 80
        self.headers = headers
        self.in_service = False
        #: How often it left service: a connection from before is not used again.
        self.absences = 0
        self.seconds_out = 0.0
        self.seconds_away = 0.0

    @property
    def name(self) -> str:
        """Its host and port."""
        return f"{self.host}:{self.port}"

    def connect(self, timeout: float = TIMEOUT) -> http.client.HTTPConnection:
        """A new connection, not opened yet."""
        return http.client.HTTPConnection(self.host, self.port, timeout=timeout)

    def ask(self, connection: http.client.HTTPConnection, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """One request: status and JSON."""
        data = None if body is None else json.dumps(body)
        connection.request(method, path, data, self.headers)
        answer = connection.getresponse()
        content = answer.read()
        return answer.status, json.loads(content) if content else None

    def watch(self, stop: threading.Event) -> None:
        """Poll /_up, and record the times without a 200."""
        last = time.monotonic()
        while not stop.is_set():
            connection = self.connect(timeout=2)
            try:
                connection.request("GET", "/_up")
                answer = connection.getresponse()
                answer.read()
                up, away = answer.status in (200, 401), False
            except (OSError, http.client.HTTPException):
                up, away = False, True
            finally:
                connection.close()
            if self.in_service and not up:
                self.absences += 1
            self.in_service = up
            stop.wait(ASK_UP_EVERY if up else 0.05)
            now = time.monotonic()
            self.seconds_out += 0 if up else now - last
            self.seconds_away += now - last if away else 0
            last = now


@dataclass
class Tally:
    """The results of the load."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    reads: int = 0
    writes: int = 0
    written: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    slowest: float = 0.0


class Worker:
    """One client of the cluster: a request, a pause, and so on, a read as often as a write."""

    def __init__(self, number: int, nodes: list[Node], database: str, tally: Tally, pause: float) -> None:
        self.number = number
        self.nodes = nodes
        self.database = database
        self.tally = tally
        self.pause = pause
        self.connections: dict[str, tuple[int, http.client.HTTPConnection]] = {}

    def run(self, stop: threading.Event) -> None:
        """Send requests until the end."""
        count = 0
        while not stop.is_set():
            begun = time.monotonic()
            count += 1
            nodes = [node for node in self.nodes if node.in_service]
            if not nodes:
                self.fail("no node is in service")
            else:
                self.work(random.choice(nodes), count)
            stop.wait(max(0.0, self.pause - (time.monotonic() - begun)))

    def work(self, node: Node, count: int) -> None:
        """One request to a node."""
        writes = count % 2 == 1 or not self.tally.written
        document = f"{self.number}-{count}" if writes else random.choice(self.tally.written)
        method, body, expected = ("PUT", {"worker": self.number}, (201, 202)) if writes else ("GET", None, (200,))
        with self.tally.lock:
            self.tally.writes += int(writes)
            self.tally.reads += int(not writes)
        begun = time.monotonic()
        try:
            status, answer = node.ask(self.connection(node), method, f"/{self.database}/{document}", body)
        except (OSError, http.client.HTTPException) as error:
            self.connections.pop(node.name)[1].close()
            self.fail(f"{method} {document} to {node.name}: {error!r}")
            return
        took = time.monotonic() - begun
        with self.tally.lock:
            self.tally.slowest = max(self.tally.slowest, took)
            if writes and status in expected:
                self.tally.written.append(document)
        if status not in expected:
            self.fail(f"{method} {document} to {node.name}: {status} {answer}")

    def connection(self, node: Node) -> http.client.HTTPConnection:
        """The connection with a node, a new one after it was out of service."""
        absences, connection = self.connections.get(node.name, (-1, None))
        if connection is None or absences != node.absences:
            if connection is not None:
                connection.close()
            connection = node.connect()
            self.connections[node.name] = (node.absences, connection)
        return connection

    def fail(self, what: str) -> None:
        """Record a failure."""
        with self.tally.lock:
            self.tally.failures.append(what)


def lost(node: Node, database: str, written: list[str]) -> list[str]:
    """The documents that a node does not find."""
    missing = []
    connection = node.connect(timeout=60)
    for start in range(0, len(written), KEYS):
        keys = written[start : start + KEYS]
        _status, found = node.ask(connection, "POST", f"/{database}/_all_docs", {"keys": keys})
        missing += [row["key"] for row in found["rows"] if "error" in row or row["value"].get("deleted")]
    connection.close()
    return missing


def play(url: str, username: str, password: str, drain_time: int) -> tuple[bool, float]:
    """Run the example. Returns whether it succeeded, and the seconds it took."""
    environment = {
        **os.environ,
        "COUCHDB_URL": url,
        "COUCHDB_USERNAME": username,
        "COUCHDB_PASSWORD": password,
        "ANSIBLE_COLLECTIONS_PATH": str(tree.link()),
    }
    variables = json.dumps({"restart_anyway": True, "drain_time": drain_time})
    command = ["ansible-playbook", "--extra-vars", variables, str(ROOT / "examples" / "rolling_restart.yml")]
    begun = time.monotonic()
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if run.returncode:
        print(run.stdout + run.stderr, file=sys.stderr)
    return run.returncode == 0, time.monotonic() - begun


@contextlib.contextmanager
def cluster(urls: list[str]) -> Iterator[tuple[list[str], str, str]]:
    """The URLs of the nodes, and the name and password of the admin."""
    if urls:
        yield urls, os.environ.get("COUCHDB_USERNAME", ""), os.environ.get("COUCHDB_PASSWORD", "")
        return
    with embedded.server(dialect="3", nodes=3) as server:
        server.join()
        yield server.urls, server.username or "", server.password or ""


def main() -> int:
    """Put the load on, run the example, and print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("urls", nargs="*", metavar="URL", help="the address of each node")
    parser.add_argument("--workers", type=int, default=8, help="how many clients there are (8)")
    parser.add_argument("--rate", type=float, default=100, help="requests a second, of all clients together (100)")
    parser.add_argument("--drain-time", type=int, default=3, help="seconds that a node drains before it restarts (3)")
    given = parser.parse_args()
    with cluster(given.urls) as (urls, username, password):
        basic = base64.b64encode(f"{username}:{password}".encode()).decode()
        headers = {"Authorization": f"Basic {basic}", "Content-Type": "application/json", "Accept": "application/json"}
        nodes = [Node(url, headers) for url in urls]
        database = f"couchpy_load_{secrets.token_hex(4)}"
        first = nodes[0]
        status, answer = first.ask(first.connect(), "PUT", f"/{database}?q=2&n=3")
        if status not in (201, 202):
            print(f"the database could not be created: {status} {answer}", file=sys.stderr)
            return 1
        try:
            return measure(nodes, database, given, (urls[0], username, password))
        finally:
            first.ask(first.connect(), "DELETE", f"/{database}")


def measure(nodes: list[Node], database: str, given: argparse.Namespace, server: tuple[str, str, str]) -> int:
    """The load, the restart within it, and the figures."""
    tally, load_ends, watch_ends = Tally(), threading.Event(), threading.Event()
    workers = [Worker(number, nodes, database, tally, given.workers / given.rate) for number in range(given.workers)]
    watchers = [threading.Thread(target=node.watch, args=(watch_ends,), daemon=True) for node in nodes]
    loaders = [threading.Thread(target=worker.run, args=(load_ends,), daemon=True) for worker in workers]
    for thread in watchers:
        thread.start()
    while not all(node.in_service for node in nodes):
        time.sleep(0.05)
    for node in nodes:
        node.seconds_out = node.seconds_away = 0.0
    begun = time.monotonic()
    for thread in loaders:
        thread.start()
    time.sleep(LEAD)
    succeeded, took = play(*server, given.drain_time)
    time.sleep(LEAD)
    load_ends.set()
    for thread in loaders:
        thread.join()
    seconds = time.monotonic() - begun
    watch_ends.set()
    for thread in watchers:
        thread.join()
    missing = {node.name: lost(node, database, tally.written) for node in nodes}
    gone = set(tally.written).intersection(*missing.values())
    total = tally.reads + tally.writes
    print(f"requests                          {total} in {seconds:.0f} s ({tally.reads} reads, {tally.writes} writes)")
    print(f"failed requests to a node up      {len(tally.failures)}")
    print(f"slowest request                   {tally.slowest * 1000:.0f} ms")
    print(f"acknowledged writes               {len(tally.written)}")
    print(f"acknowledged writes lost          {len(gone)}")
    for node in nodes:
        print(
            f"{node.name:<33} away {node.seconds_away:.1f} s, out of service {node.seconds_out:.1f} s, "
            f"{len(missing[node.name])} writes not found at it"
        )
    print(f"the playbook                      {'succeeded' if succeeded else 'FAILED'} after {took:.1f} s")
    for what, count in collections.Counter(tally.failures).most_common(10):
        print(f"failed: {what}" + (f" ({count} times)" if count > 1 else ""), file=sys.stderr)
    return 0 if succeeded and not tally.failures and not any(missing.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
