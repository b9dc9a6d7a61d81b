# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
"""The embedded CouchDB server, started and stopped from Python.

::

    import embedded

    with embedded.server(dialect="3", nodes=3) as server:
        print(server.url, server.username, server.password)
        server.join()
        server.stop_node(2)
        server.start_node(2)
        for entry in server.journal():
            print(entry["method"], entry["path"], entry["status"])

Standard library only. The server is stopped by its process id at the end of the block, also after an error.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

RUN = Path(__file__).resolve().parent / "run.py"
ADMIN = "admin:secret"

# The first start on a machine installs the server's packages; every other takes about a second.
START_TIMEOUT = 300.0
STOP_TIMEOUT = 10.0
CONTROL_TIMEOUT = 30.0
DONE = {"stop": "stopped", "start": "started", "part": "parted", "mend": "mended"}


class EmbeddedServerError(RuntimeError):
    """The server did not start, or did not obey a command. The message includes its output."""


class Server:
    """A running embedded server: its URLs, its admin, and its nodes."""

    def __init__(self, process: subprocess.Popen[str], admin: str | None, journal: Path) -> None:
        self._process = process
        self._journal = journal
        self._said: list[str] = []
        self._heard = threading.Condition()
        self.urls: list[str] = []
        name, _colon, password = (admin or "").partition(":")
        #: The admin's name; None for the admin party of the 1.x dialect.
        self.username: str | None = name or None
        #: The admin's password.
        self.password: str | None = password or None
        threading.Thread(target=self._listen, name="embedded-server-stderr", daemon=True).start()

    @property
    def url(self) -> str:
        """The URL of the first node."""
        return self.urls[0]

    @property
    def pid(self) -> int:
        """The id of the process that all nodes run in."""
        return self._process.pid

    @property
    def stderr(self) -> str:
        """The output on standard error so far."""
        return "".join(self._said)

    def journal(self) -> list[dict[str, Any]]:
        """The requests so far: node, method, path, status, user and failed_login of each.

        Requests of the server's own replicator are left out.
        """
        if not self._journal.exists():
            return []
        return [json.loads(line) for line in self._journal.read_text(encoding="utf-8").splitlines()]

    def clear_journal(self) -> None:
        """Empties the journal; the server goes on appending to it."""
        if self._journal.exists():
            os.truncate(self._journal, 0)

    def stop_node(self, number: int) -> None:
        """Stops node 1, 2, ... and waits until it is down."""
        self._control("stop", number)

    def start_node(self, number: int) -> None:
        """Starts a node again and waits until it answers."""
        self._control("start", number)

    def part_node(self, number: int) -> None:
        """Disconnects a node from the others, as another cookie or closed ports do. It still answers clients."""
        self._control("part", number)

    def mend_node(self, number: int) -> None:
        """Connects the node with the others again."""
        self._control("mend", number)

    def join(self) -> None:
        """Makes one cluster of all nodes, and waits until they are connected."""
        names = [self.request("GET", "/_node/_local", node=number + 1)[1]["name"] for number in range(len(self.urls))]
        for name in names[1:]:
            self.request("PUT", f"/_node/_local/_nodes/{name}", {})
        deadline = time.monotonic() + CONTROL_TIMEOUT
        while any(set(self._connected(number + 1)) != set(names) for number in range(len(names))):
            if time.monotonic() > deadline:
                raise EmbeddedServerError(f"the nodes did not connect. Output of the server:\n{self.stderr}")
            time.sleep(0.05)
        self.request("POST", "/_cluster_setup", {"action": "finish_cluster"})

    def _connected(self, node: int) -> list[str]:
        membership: dict[str, list[str]] = self.request("GET", "/_membership", node=node)[1]
        return membership["all_nodes"]

    def request(self, method: str, path: str, body: Any = None, node: int = 1) -> tuple[int, Any]:
        """Sends one request as the admin, to prepare tests. Returns the status and the decoded answer."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.urls[node - 1].rstrip("/") + path, data=data, method=method)
        request.add_header("Content-Type", "application/json")
        if self.username:
            request.add_header("Authorization", f"Basic {basic(self.username, self.password or '')}")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=30) as answer:
                status, text = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read()
        try:
            return status, json.loads(text) if text else None
        except ValueError:
            return status, text.decode("utf-8", "replace")

    def _control(self, word: str, number: int) -> None:
        assert self._process.stdin is not None
        with self._heard:
            before = len(self._said)
            self._process.stdin.write(f"{word} {number}\n")
            self._process.stdin.flush()
            done, failed = f"{DONE[word]} {number}\n", f"failed {number}:"
            deadline = time.monotonic() + CONTROL_TIMEOUT
            while time.monotonic() < deadline:
                for line in self._said[before:]:
                    if line == done:
                        return
                    if line.startswith(failed):
                        raise EmbeddedServerError(line.strip())
                self._heard.wait(timeout=0.2)
        raise EmbeddedServerError(f"no answer to `{word} {number}`. Output of the server:\n{self.stderr}")

    def _listen(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            with self._heard:
                self._said.append(line)
                self._heard.notify_all()

    def _wait_until_ready(self, timeout: float) -> None:
        ready: list[str] = []

        def read() -> None:
            assert self._process.stdout is not None
            ready.append(self._process.stdout.readline())

        reader = threading.Thread(target=read, name="embedded-server-stdout", daemon=True)
        reader.start()
        reader.join(timeout)
        if not ready or not ready[0].strip():
            what = "was not ready in time" if not ready else "did not start"
            self._stop()
            time.sleep(0.1)
            raise EmbeddedServerError(f"the embedded server {what}. Its output:\n{self.stderr}")
        self.urls = ready[0].split()

    def _stop(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


def basic(username: str, password: str) -> str:
    """The credentials in a Basic Authorization header."""
    import base64

    return base64.b64encode(f"{username}:{password}".encode()).decode()


@contextlib.contextmanager
def server(
    dialect: str = "3",
    nodes: int = 1,
    admin: str | None = ADMIN,
    data: str | os.PathLike[str] | None = None,
    port: int = 0,
    journal: str | os.PathLike[str] | None = None,
    timeout: float = START_TIMEOUT,
    pretend_databases: int = 0,
) -> Iterator[Server]:
    """Runs an embedded server during a ``with`` block.

    :param dialect: ``3`` (CouchDB 3.4), ``3.3`` or ``1``.
    :param nodes: how many nodes; they start as single nodes.
    :param admin: ``user:password``; None only with dialect 1, where it makes an admin party.
    :param data: a directory that keeps its data; without it everything is temporary.
    :param port: the port of the first node; 0 takes free ones.
    :param journal: the file that requests are written to; a temporary one by default.
    :param timeout: how long it may take until the server is ready.
    :param pretend_databases: how many empty databases to add, which cost nothing.
    :raises EmbeddedServerError: if it does not start, with its output.
    """
    with tempfile.TemporaryDirectory(prefix="couchdb-embedded-journal-") as scratch:
        journal_file = Path(journal) if journal is not None else Path(scratch) / "journal.jsonl"
        command = [sys.executable, str(RUN), "--dialect", dialect, "--nodes", str(nodes), "--port", str(port)]
        command += ["--journal", str(journal_file), "--pretend-databases", str(pretend_databases)]
        if data is not None:
            command += ["--data", os.fspath(data)]
        environment = {name: value for name, value in os.environ.items() if name != "COUCHPY_ADMIN"}
        if admin is not None:
            # In the environment, so that it is not in the process list.
            environment["COUCHPY_ADMIN"] = admin
        # If this process is killed, its end of the pipe closes, and the server stops.
        environment["COUCHPY_STOP_AT_EOF"] = "1"
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            encoding="utf-8",
            errors="replace",
        )
        running = Server(process, admin, journal_file)
        try:
            running._wait_until_ready(timeout)
            yield running
        finally:
            running._stop()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        stream.close()
