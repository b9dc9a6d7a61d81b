# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

"""An HTTP server in a thread that writes down what reaches it: before a real server, or in the place of one.

Standard library only, and nothing in it knows CouchDB.
"""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

HOST = "127.0.0.1"
TIMEOUT = 60

# These speak of one connection, not of the message, and are not handed on.
HOP_BY_HOP = frozenset(["connection", "content-length", "host", "keep-alive", "proxy-connection", "transfer-encoding"])


@dataclass(frozen=True)
class Asked:
    """A request that reached the wire: ``path`` as it was sent, still encoded, ``query`` without its mark."""

    method: str
    path: str
    query: str
    headers: Message
    body: bytes

    @property
    def json(self) -> Any:
        """The body as a JSON value."""
        return json.loads(self.body)

    @property
    def target(self) -> str:
        """Path and query, as in the request's first line."""
        return f"{self.path}?{self.query}" if self.query else self.path

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(frozen=True)
class Reply:
    """What is answered. ``body`` goes as it is when it is bytes, else as JSON."""

    status: int = 200
    body: Any = field(default_factory=dict)
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def content(self) -> bytes:
        """The body's bytes."""
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


Responder = Callable[[Asked], Reply]


class Wire:
    """The server: where it is (``url``), and what was asked of it."""

    def __init__(self, port: int) -> None:
        self.url = f"http://{HOST}:{port}/"
        self.port = port
        self.requests: list[Asked] = []

    def asked(self, *methods: str) -> list[str]:
        """The requests as ``METHOD /path``, those of the given methods or all."""
        return [str(request) for request in self.requests if not methods or request.method in methods]

    def last(self) -> Asked:
        """The latest request."""
        return self.requests[-1]

    def forget(self) -> None:
        """Begin again."""
        self.requests.clear()


@contextmanager
def listen(respond: Responder, port: int = 0) -> Iterator[Wire]:
    """Answer requests with what ``respond`` makes of them, for the length of a ``with`` block."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            # A client that takes this for a proxy sends the whole address.
            parts = urlsplit(self.path)
            asked = Asked(self.command, parts.path, parts.query, self.headers, self.rfile.read(length))
            wire.requests.append(asked)
            reply = respond(asked)
            self.send_response(reply.status)
            for name, value in reply.headers:
                self.send_header(name, value)
            names = {name.lower() for name, value in reply.headers}
            if "content-type" not in names:
                self.send_header("Content-Type", "application/json")
            if "content-length" not in names:
                self.send_header("Content-Length", str(len(reply.content)))
            if self.close_connection:
                self.send_header("Connection", "close")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(reply.content)

        do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_COPY = answer

        def log_message(self, format: str, *arguments: Any) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        allow_reuse_address = True

        def process_request(self, request: Any, client_address: Any) -> None:
            connections.append(request)
            super().process_request(request, client_address)

        def handle_error(self, request: Any, client_address: Any) -> None:
            """The client has gone."""

    connections: list[socket.socket] = []
    with Server((HOST, port), Handler) as server:
        wire = Wire(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield wire
        finally:
            server.shutdown()
            thread.join()
            for connection in connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


def forward(url: str) -> Responder:
    """Answer as the server at this address does."""
    upstream = urlsplit(url)
    kind = http.client.HTTPSConnection if upstream.scheme == "https" else http.client.HTTPConnection

    def respond(asked: Asked) -> Reply:
        connection = kind(upstream.hostname or "", upstream.port, timeout=TIMEOUT)
        try:
            headers = {name: value for name, value in asked.headers.items() if name.lower() not in HOP_BY_HOP}
            connection.request(asked.method, upstream.path.rstrip("/") + asked.target, asked.body or None, headers)
            answer = connection.getresponse()
            kept = HOP_BY_HOP - {"content-length"} if asked.method == "HEAD" else HOP_BY_HOP
            sent = tuple((name, value) for name, value in answer.getheaders() if name.lower() not in kept)
            return Reply(answer.status, answer.read(), sent)
        finally:
            connection.close()

    return respond


def free_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def until(true: Callable[[], Any], seconds: float = 30, pause: float = 0.05) -> Any:
    """Ask again and again until the answer is true, and give it; fail when the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        found = true()
        if found:
            return found
        assert time.monotonic() < deadline, f"{true} did not become true within {seconds:g} s"
        time.sleep(pause)
