# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
"""A proxy in front of a server. It records the requests, and at one of them does what a network can do.

::

    import proxy

    with proxy.Proxy(server.url) as between:
        between.arm(proxy.FAULTS["reset after"], at=3)
        ...  # talk to between.url
        between.disarm()
        for request in between.journal():
            print(request.number, request.method, request.target, request.forwarded)

It also terminates TLS (``Proxy(url, tls=context)``), and can be the proxy that ``http_proxy`` and ``https_proxy`` name.
Standard library only, and independent of CouchDB.
"""

from __future__ import annotations

import contextlib
import functools
import gzip
import http.client
import socket
import ssl
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.message import Message
from http.server import BaseHTTPRequestHandler
from typing import Any, cast
from urllib.parse import urlsplit

HOST = "127.0.0.1"
TIMEOUT = 60.0

# Seconds for which a fault that occurs once refuses connections: longer than the first pauses between retries.
AWAY = 0.25

# Seconds between the pieces of a slow answer.
DRIP_SECONDS = 0.05

HUGE = 100 * 1024 * 1024
_PIECE = 65536
_HTML = b"<html><head><title>Proxy</title></head><body><h1>Something else</h1></body></html>"

# Headers about one connection, which are not forwarded.
_HOP_BY_HOP = frozenset(
    [
        "accept-encoding",
        "connection",
        "content-length",
        "host",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "transfer-encoding",
    ]
)


@dataclass(frozen=True)
class Request:
    """A request that reached the proxy, with its ``number`` from 1 on, and its answer.

    ``forwarded`` is the status of the server's answer, None if the request was not forwarded.
    ``answered`` is the body of the server's answer.
    """

    number: int
    method: str
    target: str
    headers: Message
    body: bytes
    forwarded: int | None = None
    answered: bytes = b""

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    def __str__(self) -> str:
        return f"{self.method} {self.target}"


@dataclass(frozen=True)
class Answer:
    """An answer of the server."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


Ask = Callable[[], Answer]


@dataclass(frozen=True)
class Fault:
    """What happens to a request: ``act(handler, ask)``, where ``ask()`` forwards the request to the server.

    ``always`` means at all requests from the armed one on, otherwise it happens once. ``late`` means that no complete
    answer arrives in time. ``harmless`` means that the answer is still right, ``plausible`` that CouchDB itself could
    give it to some request, so that nobody can recognise it as wrong.
    """

    act: Callable[[Handler, Ask], None]
    always: bool = False
    late: bool = False
    harmless: bool = False
    plausible: bool = False


class Proxy:
    """A proxy at ``url``, in front of the server at ``upstream``; http and https on both sides."""

    def __init__(self, upstream: str = "", tls: ssl.SSLContext | None = None) -> None:
        self.upstream = upstream
        self._tls = tls
        self._listener = socket.create_server((HOST, 0), backlog=64)
        self.port = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._listening = threading.Event()
        self._closed = False
        self._connections: set[Handler] = set()
        self._journal: dict[int, Request] = {}
        self._count = 0
        self._fault: Fault | None = None
        self._at = 0
        #: Another URL, which redirects lead to. No client should send a request there.
        self.elsewhere = ""
        #: Seconds that a slow answer may take.
        self.slowness = 1.0
        #: Seconds by which each answer is delayed, as from a distant server.
        self.distance = 0.0
        #: Where answers wait for each other, by the method and path of their requests.
        self.meetings: dict[str, threading.Barrier] = {}

    @property
    def url(self) -> str:
        """The URL of the proxy."""
        return f"{'https' if self._tls else 'http'}://{HOST}:{self.port}{urlsplit(self.upstream).path or '/'}"

    def __enter__(self) -> Proxy:
        self._listening.set()
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._closed = True
        self._refuse()
        self._listening.set()
        self._listener.close()
        with self._lock:
            open_connections = list(self._connections)
        for handler in open_connections:
            handler.drop()

    def arm(self, fault: Fault, at: int = 1) -> None:
        """Empty the journal, and let the fault happen at the request with this number, counted from now."""
        self.disarm()
        with self._lock:
            self._fault, self._at = fault, at
        if at == 1 and fault.act is refuse:
            self._refuse()

    def disarm(self) -> None:
        """Empty the journal, and forward all requests from now on."""
        with self._lock:
            self._fault = None
            self._count = 0
            self._journal = {}
            idle = [handler for handler in self._connections if handler.idle]
        for handler in idle:
            handler.drop()
        self._welcome()

    def journal(self) -> list[Request]:
        """The requests since a fault was armed or disarmed, in order."""
        with self._lock:
            return [self._journal[number] for number in sorted(self._journal)]

    # Refusing connections

    def _accept(self) -> None:
        while not self._closed:
            try:
                connection, address = self._listener.accept()
            except OSError:
                self._listening.wait(TIMEOUT)
                continue
            threading.Thread(target=self._serve, args=(connection, address), daemon=True).start()

    def _serve(self, connection: socket.socket, address: Any) -> None:
        # Clients close the connection early because of the faults.
        with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
            connection.settimeout(TIMEOUT)
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
            Handler(connection, address, self)
        with contextlib.suppress(OSError):
            connection.close()

    def _refuse(self) -> None:
        """Refuse connections from now on. Open ones end with their answer."""
        self._listening.clear()
        with contextlib.suppress(OSError):
            # Ends the wait in accept().
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            idle = [handler for handler in self._connections if handler.idle]
            fault = self._fault
        for handler in idle:
            handler.drop()
        if fault and not fault.always:
            again = threading.Timer(AWAY, self._back, (fault,))
            again.daemon = True
            again.start()

    def _back(self, fault: Fault) -> None:
        with self._lock:
            if self._fault is not fault:
                return
            self._fault = None
        self._welcome()

    def _welcome(self) -> None:
        if not self._closed and not self._listening.is_set():
            self._listener = socket.create_server((HOST, self.port), backlog=64)
            self._listening.set()

    # Called by handlers

    def came(
        self, handler: Handler, method: str, target: str, headers: Message, body: bytes
    ) -> tuple[int, Fault | None]:
        """Record a request. Returns its number and its fault."""
        with self._lock:
            self._count += 1
            number = self._count
            self._journal[number] = Request(number, method, target, headers, body)
            fault = self._fault
            happens = fault is not None and (number == self._at or (fault.always and number > self._at))
            if fault and fault.act is refuse:
                # The connection with this number is refused, so no earlier one may be reused for it.
                handler.close_connection = handler.close_connection or number >= self._at - 1
            leaves = fault is not None and fault.act is refuse and number == self._at - 1
        if leaves:
            self._refuse()
        return number, fault if happens and fault and fault.act is not refuse else None

    def passed(self, number: int, request: Request) -> None:
        """Record the answer to a request."""
        with self._lock:
            if number in self._journal and self._journal[number].target == request.target:
                self._journal[number] = request

    def opened(self, handler: Handler) -> None:
        """Add a connection."""
        with self._lock:
            self._connections.add(handler)

    def ended(self, handler: Handler) -> None:
        """Remove a connection."""
        with self._lock:
            self._connections.discard(handler)


class Handler(BaseHTTPRequestHandler):
    """One connection to the proxy."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = _PIECE

    @property
    def proxy(self) -> Proxy:
        """The proxy that accepted the connection."""
        return cast("Proxy", self.server)

    def setup(self) -> None:
        """Begin."""
        super().setup()
        self.idle = True
        self._server_connection: tuple[tuple[str, str], http.client.HTTPConnection] | None = None
        self.proxy.opened(self)

    def finish(self) -> None:
        """End."""
        self.proxy.ended(self)
        if self._server_connection:
            self._server_connection[1].close()
        with contextlib.suppress(OSError, ValueError):
            super().finish()

    def answer(self) -> None:
        """Answer one request of any method."""
        self.idle = False
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        number, fault = self.proxy.came(self, self.command, self.path, self.headers, body)
        ask = functools.partial(self._ask, number, body)
        if fault:
            # Requests after a fault use another connection.
            self.close_connection = True
            fault.act(self, ask)
        elif self.command == "CONNECT":
            self._tunnel()
        else:
            answer = ask()
            if meeting := self.proxy.meetings.get(f"{self.command} {self.path}"):
                meeting.wait(TIMEOUT)
            time.sleep(self.proxy.distance)
            self.send(answer)
        with contextlib.suppress(OSError, ValueError):
            self.wfile.flush()
        self.idle = True

    do_CONNECT = do_COPY = do_DELETE = do_GET = do_HEAD = do_OPTIONS = do_PATCH = do_POST = do_PUT = answer

    def send(self, answer: Answer) -> None:
        """Send an answer as it is."""
        self.start(answer.status, answer.headers, length=len(answer.body))
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def start(self, status: int, headers: list[tuple[str, str]], *, length: int | None) -> None:
        """Send the head of an answer; without a length it is chunked."""
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        if length is None:
            self.send_header("Transfer-Encoding", "chunked")
        elif status >= 200 and status not in (204, 304):
            self.send_header("Content-Length", str(length))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()

    def chunk(self, piece: bytes) -> None:
        """Send one chunk of a chunked answer; an empty one ends it."""
        self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))

    def reset(self) -> None:
        """End the connection as a crash does, with a reset."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # Closing the last reference closes the socket.
        self.rfile.close()
        with contextlib.suppress(OSError):
            self.connection.close()

    def drop(self) -> None:
        """End the connection from another thread."""
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""

    # The upstream server

    def _ask(self, number: int, body: bytes) -> Answer:
        target, path = self._behind()
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP_BY_HOP}
        connection = self._connected(target)
        try:
            connection.request(self.command, path, body or None, headers)
            response = connection.getresponse()
        except (http.client.RemoteDisconnected, ConnectionError):
            # The server closed the idle connection.
            connection.close()
            connection.request(self.command, path, body or None, headers)
            response = connection.getresponse()
        content = response.read()
        passed = [(name, value) for name, value in response.getheaders() if name.lower() not in _HOP_BY_HOP]
        request = Request(number, self.command, self.path, self.headers, body, response.status, content)
        self.proxy.passed(number, request)
        return Answer(response.status, passed, content)

    def _behind(self) -> tuple[tuple[str, str], str]:
        """The server of a request, and the path on it."""
        if "://" in self.path:
            parts = urlsplit(self.path)
            return (parts.scheme, parts.netloc), (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        parts = urlsplit(self.proxy.upstream)
        return (parts.scheme, parts.netloc.rpartition("@")[2]), self.path

    def _connected(self, target: tuple[str, str]) -> http.client.HTTPConnection:
        if not self._server_connection or self._server_connection[0] != target:
            scheme, address = target
            kind = http.client.HTTPSConnection if scheme == "https" else http.client.HTTPConnection
            self._server_connection = (target, kind(address, timeout=TIMEOUT))
        return self._server_connection[1]

    def _tunnel(self) -> None:
        """Forward bytes to and from the host that CONNECT names, until one side ends."""
        host, _colon, port = self.path.rpartition(":")
        self.close_connection = True
        with socket.create_connection((host, int(port)), timeout=TIMEOUT) as there:
            self.send_response_only(200)
            self.end_headers()
            self.wfile.flush()
            threading.Thread(target=_carry, args=(there, self.connection), daemon=True).start()
            _carry(self.connection, there)


def _carry(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(_PIECE):
            target.sendall(piece)
    for side in (source, target):
        with contextlib.suppress(OSError):
            side.shutdown(socket.SHUT_RDWR)


# Faults


def refuse(handler: Handler, ask: Ask) -> None:
    """Refuse the connection. The Proxy does that itself, as no request arrives."""
    raise AssertionError("a refused connection brings no request")


def reset_before(handler: Handler, ask: Ask) -> None:
    """The connection is reset before the server gets the request."""
    handler.reset()


def reset_after(handler: Handler, ask: Ask) -> None:
    """The server handles the request, and its answer is lost in a reset."""
    ask()
    handler.reset()


def close_before(handler: Handler, ask: Ask) -> None:
    """The connection is closed properly, without an answer."""


def close_after(handler: Handler, ask: Ask) -> None:
    """The server handles the request, and the connection is closed without an answer."""
    ask()


def cut_head(handler: Handler, ask: Ask) -> None:
    """The answer ends within its first line."""
    ask()
    handler.wfile.write(b"HTTP/1.1 20")


def cut_body(handler: Handler, ask: Ask) -> None:
    """The answer ends in the middle."""
    answer = ask()
    handler.start(answer.status, answer.headers, length=len(answer.body) + 2)
    handler.wfile.write(answer.body[: len(answer.body) // 2])


def cut_chunks(handler: Handler, ask: Ask) -> None:
    """A chunked answer ends in the middle."""
    answer = ask()
    handler.start(answer.status, answer.headers, length=None)
    handler.chunk(answer.body[: len(answer.body) // 2] or b" ")


def silence(handler: Handler, ask: Ask) -> None:
    """The server handles the request, and no answer arrives."""
    ask()
    _wait(handler, handler.server.slowness)


def slow_head(handler: Handler, ask: Ask) -> None:
    """The head of the answer drips for longer than a client should wait."""
    answer = ask()
    _drip(handler, b"HTTP/1.1 %d Slow\r\nX-Slow: " % answer.status)
    _drip(handler, b"." * int(handler.server.slowness / DRIP_SECONDS))


def slow_body(handler: Handler, ask: Ask) -> None:
    """The body of the answer drips for longer than a client should wait."""
    answer = ask()
    drops = int(handler.server.slowness / DRIP_SECONDS)
    handler.start(answer.status, answer.headers, length=len(answer.body) + drops)
    _drip(handler, b" " * drops)
    handler.wfile.write(answer.body)


def slow_in_time(handler: Handler, ask: Ask) -> None:
    """The answer arrives in pieces, in time."""
    answer = ask()
    handler.start(answer.status, answer.headers, length=len(answer.body))
    _drip(handler, answer.body[:3])
    handler.wfile.write(answer.body[3:])


def chunked(handler: Handler, ask: Ask) -> None:
    """The answer arrives in chunks of a few bytes."""
    answer = ask()
    handler.start(answer.status, answer.headers, length=None)
    for start in range(0, min(len(answer.body), 700), 7):
        handler.chunk(answer.body[start : start + 7])
    if answer.body[700:]:
        handler.chunk(answer.body[700:])
    handler.chunk(b"")


def gzipped(handler: Handler, ask: Ask) -> None:
    """The answer is compressed."""
    answer = ask()
    handler.send(Answer(answer.status, [*answer.headers, ("Content-Encoding", "gzip")], gzip.compress(answer.body)))


def broken_gzip(handler: Handler, ask: Ask) -> None:
    """The answer claims to be compressed, and is not."""
    answer = ask()
    handler.send(Answer(answer.status, [*answer.headers, ("Content-Encoding", "gzip")], answer.body or b"{}"))


def bomb(handler: Handler, ask: Ask) -> None:
    """The answer is small and compressed, and becomes huge."""
    headers = [("Content-Type", "application/json"), ("Content-Encoding", "gzip")]
    handler.send(Answer(200, headers, _bomb()))


def huge(handler: Handler, ask: Ask) -> None:
    """The answer is JSON of 100 MB."""
    _huge(handler, length=HUGE)


def huge_chunks(handler: Handler, ask: Ask) -> None:
    """The answer is JSON of 100 MB in chunks, without a length."""
    _huge(handler, length=None)


def status(code: int, *, after: bool = False, **headers: str) -> Callable[[Handler, Ask], None]:
    """A proxy answers with a status instead of the server, or ``after`` the server handled the request."""

    def act(handler: Handler, ask: Ask) -> None:
        if after:
            ask()
        told = [("Content-Type", "text/html"), *((name.replace("_", "-"), value) for name, value in headers.items())]
        handler.send(Answer(code, told, _HTML))

    return act


def redirect(code: int, *, elsewhere: bool) -> Callable[[Handler, Ask], None]:
    """A redirect, to another path of this server or to another server."""

    def act(handler: Handler, ask: Ask) -> None:
        target = (handler.server.elsewhere if elsewhere else handler.server.url).rstrip("/")
        handler.send(Answer(code, [("Location", f"{target}/moved{handler.path}")], b""))

    return act


def instead(body: bytes, kind: str = "application/json", *, after: bool = False) -> Callable[[Handler, Ask], None]:
    """Another body with status 200."""

    def act(handler: Handler, ask: Ask) -> None:
        if after:
            ask()
        handler.send(Answer(200, [("Content-Type", kind)], body))

    return act


FAULTS: dict[str, Fault] = {
    "refused": Fault(refuse),
    "refused always": Fault(refuse, always=True),
    "reset before": Fault(reset_before),
    "reset before, always": Fault(reset_before, always=True),
    "reset after": Fault(reset_after),
    "closed before": Fault(close_before),
    "closed after": Fault(close_after),
    "cut in the head": Fault(cut_head),
    "cut in the body": Fault(cut_body),
    "cut in the chunks": Fault(cut_chunks),
    "silence": Fault(silence, late=True),
    "slow head": Fault(slow_head, late=True),
    "slow body": Fault(slow_body, late=True),
    "slow in time": Fault(slow_in_time, harmless=True),
    **{f"{code}": Fault(status(code)) for code in (500, 502, 503, 504)},
    **{f"{code} always": Fault(status(code), always=True) for code in (500, 502, 503, 504)},
    "502 after": Fault(status(502, after=True)),
    "504 after": Fault(status(504, after=True)),
    "503 with Retry-After": Fault(status(503, Retry_After="1")),
    "429": Fault(status(429, Retry_After="1"), harmless=True),
    "429 for long": Fault(status(429, Retry_After="86400")),
    "429 always": Fault(status(429, Retry_After="0"), always=True),
    "HTML": Fault(instead(_HTML, "text/html")),
    "HTML after": Fault(instead(_HTML, "text/html", after=True)),
    "gzip": Fault(gzipped, harmless=True),
    "broken gzip": Fault(broken_gzip),
    "chunked": Fault(chunked, harmless=True),
    "redirected": Fault(redirect(301, elsewhere=False)),
    **{f"redirected elsewhere, {code}": Fault(redirect(code, elsewhere=True)) for code in (301, 302, 303, 307, 308)},
    "100 MB": Fault(huge),
    "100 MB in chunks": Fault(huge_chunks),
    "100 MB in a gzip": Fault(bomb),
    "an empty object": Fault(instead(b"{}"), plausible=True),
    "an empty list": Fault(instead(b"[]"), plausible=True),
    "a list of nothing": Fault(instead(b"[null]")),
    "null": Fault(instead(b"null")),
    "a number": Fault(instead(b"7"), plausible=True),
    "nothing": Fault(instead(b"")),
    "deep JSON": Fault(instead(b"[" * 200000)),
    "no UTF-8": Fault(instead(b'{"couchdb": "\xff\xfe"}')),
}
"""All faults, by name."""


def _wait(handler: Handler, seconds: float) -> None:
    """Wait, but not longer than the client."""
    handler.wfile.flush()
    handler.connection.settimeout(seconds)
    with contextlib.suppress(OSError):
        handler.connection.recv(1)


def _drip(handler: Handler, content: bytes) -> None:
    for drop in content:
        handler.wfile.write(bytes([drop]))
        handler.wfile.flush()
        time.sleep(DRIP_SECONDS)


def _huge(handler: Handler, *, length: int | None) -> None:
    handler.start(200, [("Content-Type", "application/json")], length=length)
    write = handler.wfile.write if length is not None else handler.chunk
    for piece in _pieces(HUGE):
        write(piece)
    if length is None:
        handler.chunk(b"")


def _pieces(size: int) -> Iterator[bytes]:
    """A JSON object of so many bytes."""
    begin, end = b'{"couchdb": "Welcome", "version": "3.4.3", "filler": "', b'"}'
    yield begin
    left = size - len(begin) - len(end)
    while left > 0:
        yield b"x" * min(left, _PIECE)
        left -= _PIECE
    yield end


@functools.lru_cache(maxsize=1)
def _bomb() -> bytes:
    compressor = zlib.compressobj(wbits=31)
    return b"".join([*(compressor.compress(piece) for piece in _pieces(HUGE)), compressor.flush()])
