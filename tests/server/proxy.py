# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
"""A proxy that stands before a server, writes down what passes, and does at one request what a network can do.

::

    import proxy

    with proxy.Proxy(server.url) as between:
        between.arm(proxy.FAULTS["reset after"], at=3)
        ...  # talk to between.url
        between.disarm()
        for request in between.journal():
            print(request.number, request.method, request.target, request.forwarded)

It also ends TLS (``Proxy(url, tls=context)``), and is a proxy as ``http_proxy`` and ``https_proxy`` name it.
Standard library only, and nothing in it knows CouchDB.
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

# How long a fault that is there once refuses connections: longer than the first pauses of who tries again.
AWAY = 0.25

# The pieces in which a slow answer comes, and the wait between them.
DRIP_SECONDS = 0.05

HUGE = 100 * 1024 * 1024
_PIECE = 65536
_HTML = b"<html><head><title>Proxy</title></head><body><h1>Something else</h1></body></html>"

# These speak of one connection, not of the message, and are not handed on.
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
    """A request that reached the proxy: its ``number`` from 1 on, and what was answered.

    ``forwarded`` is the status with which the server answered it, None when it was kept from the server.
    ``answered`` is the server's answer as it came from there.
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
    """What the server answered."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


Ask = Callable[[], Answer]


@dataclass(frozen=True)
class Fault:
    """What happens to a request: ``act(handler, ask)``, where ``ask()`` hands the request to the server.

    ``always`` means from the request on at which it is armed; otherwise it happens once. ``late`` means that no
    whole answer comes in time. ``harmless`` means that the answer is as good as any, ``plausible`` that CouchDB itself
    could have given it to some request: nobody can tell that it is a lie.
    """

    act: Callable[[Handler, Ask], None]
    always: bool = False
    late: bool = False
    harmless: bool = False
    plausible: bool = False


class Proxy:
    """A proxy at ``url``, before the server at ``upstream``; http and https on both sides."""

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
        #: Another address, to which redirections go: whatever asks there was led astray.
        self.elsewhere = ""
        #: How long a slow answer may take to come.
        self.slowness = 1.0

    @property
    def url(self) -> str:
        """Where it listens."""
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
        """Forget what has passed, and let the fault happen at the request of this number, counted from now."""
        self.disarm()
        with self._lock:
            self._fault, self._at = fault, at
        if at == 1 and fault.act is refuse:
            self._refuse()

    def disarm(self) -> None:
        """Forget what has passed; nothing happens to requests any more."""
        with self._lock:
            self._fault = None
            self._count = 0
            self._journal = {}
            idle = [handler for handler in self._connections if handler.idle]
        for handler in idle:
            handler.drop()
        self._welcome()

    def journal(self) -> list[Request]:
        """What has passed since a fault was armed or disarmed, in the order in which it came."""
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
        # A client that goes away in the midst of it is what faults are for.
        with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
            connection.settimeout(TIMEOUT)
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
            Handler(connection, address, self)
        with contextlib.suppress(OSError):
            connection.close()

    def _refuse(self) -> None:
        """From now on connections are refused; those that are there end with their answer."""
        self._listening.clear()
        with contextlib.suppress(OSError):
            # Wakes who waits in accept().
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

    # What handlers ask for

    def came(
        self, handler: Handler, method: str, target: str, headers: Message, body: bytes
    ) -> tuple[int, Fault | None]:
        """Write a request down. Gives its number and what happens to it."""
        with self._lock:
            self._count += 1
            number = self._count
            self._journal[number] = Request(number, method, target, headers, body)
            fault = self._fault
            happens = fault is not None and (number == self._at or (fault.always and number > self._at))
            if fault and fault.act is refuse:
                # The connection of this number is the one to refuse: none of those before it may be used for it.
                handler.close_connection = handler.close_connection or number >= self._at - 1
            leaves = fault is not None and fault.act is refuse and number == self._at - 1
        if leaves:
            self._refuse()
        return number, fault if happens and fault and fault.act is not refuse else None

    def passed(self, number: int, request: Request) -> None:
        """Note what the server answered to a request."""
        with self._lock:
            if number in self._journal and self._journal[number].target == request.target:
                self._journal[number] = request

    def opened(self, handler: Handler) -> None:
        """Note a connection."""
        with self._lock:
            self._connections.add(handler)

    def ended(self, handler: Handler) -> None:
        """Forget a connection."""
        with self._lock:
            self._connections.discard(handler)


class Handler(BaseHTTPRequestHandler):
    """One connection to the proxy."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = _PIECE

    @property
    def proxy(self) -> Proxy:
        """The proxy that took the connection."""
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
            # What follows a fault follows on another connection, whatever became of this one.
            self.close_connection = True
            fault.act(self, ask)
        elif self.command == "CONNECT":
            self._tunnel()
        else:
            self.send(ask())
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
        """End the connection as a crash would: with a reset."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # Only the last reference closes it.
        self.rfile.close()
        with contextlib.suppress(OSError):
            self.connection.close()

    def drop(self) -> None:
        """End the connection from another thread."""
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    # The server behind

    def _ask(self, number: int, body: bytes) -> Answer:
        target, path = self._behind()
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP_BY_HOP}
        connection = self._connected(target)
        try:
            connection.request(self.command, path, body or None, headers)
            response = connection.getresponse()
        except (http.client.RemoteDisconnected, ConnectionError):
            # It had been idle for too long.
            connection.close()
            connection.request(self.command, path, body or None, headers)
            response = connection.getresponse()
        content = response.read()
        passed = [(name, value) for name, value in response.getheaders() if name.lower() not in _HOP_BY_HOP]
        request = Request(number, self.command, self.path, self.headers, body, response.status, content)
        self.proxy.passed(number, request)
        return Answer(response.status, passed, content)

    def _behind(self) -> tuple[tuple[str, str], str]:
        """The server that a request is for, and what to ask it."""
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
        """Carry bytes to and from the address that CONNECT names, until one side ends."""
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


# What can happen


def refuse(handler: Handler, ask: Ask) -> None:
    """The connection is refused. Proxy does that itself, as no request comes."""
    raise AssertionError("a refused connection brings no request")


def reset_before(handler: Handler, ask: Ask) -> None:
    """The connection is reset before the server gets the request."""
    handler.reset()


def reset_after(handler: Handler, ask: Ask) -> None:
    """The server does what it was asked, and its answer is lost in a reset."""
    ask()
    handler.reset()


def close_before(handler: Handler, ask: Ask) -> None:
    """The connection is closed in good order, without an answer."""


def close_after(handler: Handler, ask: Ask) -> None:
    """The server does what it was asked, and the connection is closed without an answer."""
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
    """The server does what it was asked, and says nothing."""
    ask()
    _wait(handler, handler.server.slowness)


def slow_head(handler: Handler, ask: Ask) -> None:
    """The head of the answer drips, longer than anybody should wait."""
    answer = ask()
    _drip(handler, b"HTTP/1.1 %d Slow\r\nX-Slow: " % answer.status)
    _drip(handler, b"." * int(handler.server.slowness / DRIP_SECONDS))


def slow_body(handler: Handler, ask: Ask) -> None:
    """The body of the answer drips, longer than anybody should wait."""
    answer = ask()
    drops = int(handler.server.slowness / DRIP_SECONDS)
    handler.start(answer.status, answer.headers, length=len(answer.body) + drops)
    _drip(handler, b" " * drops)
    handler.wfile.write(answer.body)


def slow_in_time(handler: Handler, ask: Ask) -> None:
    """The answer comes in pieces, but comes."""
    answer = ask()
    handler.start(answer.status, answer.headers, length=len(answer.body))
    _drip(handler, answer.body[:3])
    handler.wfile.write(answer.body[3:])


def chunked(handler: Handler, ask: Ask) -> None:
    """The answer comes in chunks of a few bytes."""
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
    """The answer says that it is compressed, and isn't."""
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
    """The answer is JSON of 100 MB in chunks, whose length nobody knows before."""
    _huge(handler, length=None)


def status(code: int, *, after: bool = False, **headers: str) -> Callable[[Handler, Ask], None]:
    """A status that a proxy gives instead of the server, or ``after`` it did what it was asked."""

    def act(handler: Handler, ask: Ask) -> None:
        if after:
            ask()
        told = [("Content-Type", "text/html"), *((name.replace("_", "-"), value) for name, value in headers.items())]
        handler.send(Answer(code, told, _HTML))

    return act


def redirect(code: int, *, elsewhere: bool) -> Callable[[Handler, Ask], None]:
    """A redirection, to another path of this server or to another server."""

    def act(handler: Handler, ask: Ask) -> None:
        target = (handler.server.elsewhere if elsewhere else handler.server.url).rstrip("/")
        handler.send(Answer(code, [("Location", f"{target}/moved{handler.path}")], b""))

    return act


def instead(body: bytes, kind: str = "application/json", *, after: bool = False) -> Callable[[Handler, Ask], None]:
    """Something else than the server would say, as a good answer."""

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
"""All that can happen, by name."""


def _wait(handler: Handler, seconds: float) -> None:
    """Wait, but no longer than the client does."""
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
