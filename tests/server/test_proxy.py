# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

"""The proxy applies a fault to the request that it is armed for, and to no other."""

from __future__ import annotations

import http.client
import http.server
import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).resolve().parent)]

import proxy

HELD = json.dumps({"filler": "x" * 200}).encode()


class Plain(http.server.BaseHTTPRequestHandler):
    """A server with the same answer to all requests."""

    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        """Answer any method."""
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Length", str(len(HELD)))
        self.end_headers()
        self.wfile.write(HELD)

    do_GET = do_PUT = answer

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@pytest.fixture
def between() -> Iterator[proxy.Proxy]:
    """A proxy in front of a plain server."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Plain) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with proxy.Proxy(f"http://127.0.0.1:{server.server_port}/") as standing:
            standing.slowness = 0.3
            standing.elsewhere = "http://elsewhere.example/"
            yield standing
        server.shutdown()


def ask(between: proxy.Proxy) -> str:
    """Send one request on a new connection, and return the outcome in a word."""
    connection = http.client.HTTPConnection("127.0.0.1", between.port, timeout=10)
    try:
        connection.request("PUT", "/x", b"{}")
        response = connection.getresponse()
        content = response.read()
    except ConnectionRefusedError:
        return "refused"
    except (http.client.HTTPException, OSError) as error:
        return type(error).__name__
    finally:
        connection.close()
    return f"{response.status} {'as it is' if content == HELD else 'otherwise'}"


# The outcome of each fault, and whether the server got the request.
SEEN = {
    "refused": ("refused", False),
    "reset before": ("ConnectionResetError", False),
    "reset after": ("ConnectionResetError", True),
    "closed before": ("RemoteDisconnected", False),
    "closed after": ("RemoteDisconnected", True),
    "cut in the head": ("BadStatusLine", True),
    "cut in the body": ("IncompleteRead", True),
    "cut in the chunks": ("IncompleteRead", True),
    "silence": ("RemoteDisconnected", True),
    "slow in time": ("200 as it is", True),
    "500": ("500 otherwise", False),
    "502 after": ("502 otherwise", True),
    "429": ("429 otherwise", False),
    "HTML": ("200 otherwise", False),
    "HTML after": ("200 otherwise", True),
    "gzip": ("200 otherwise", True),
    "chunked": ("200 as it is", True),
    "redirected elsewhere, 307": ("307 otherwise", False),
    "an empty object": ("200 otherwise", False),
}


@pytest.mark.parametrize("name", SEEN)
def test_a_fault_happens_at_its_request(name: str, between: proxy.Proxy) -> None:
    for at in (1, 2, 3):
        between.arm(proxy.FAULTS[name], at)
        seen = [ask(between) for _number in range(at)]
        assert seen == ["200 as it is"] * (at - 1) + [SEEN[name][0]]
        if name == "refused":
            assert len(between.journal()) == at - 1
            continue
        assert [bool(request.forwarded) for request in between.journal()] == [True] * (at - 1) + [SEEN[name][1]]
        assert ask(between) == "200 as it is"


@pytest.mark.parametrize("name", [name for name, fault in proxy.FAULTS.items() if fault.always])
def test_a_lasting_fault_ends_when_it_is_disarmed(name: str, between: proxy.Proxy) -> None:
    between.arm(proxy.FAULTS[name], at=2)
    first, *others = [ask(between) for _number in range(4)]
    assert first == "200 as it is"
    assert "200 as it is" not in others
    between.disarm()
    assert ask(between) == "200 as it is"


def test_a_huge_answer_is_json_of_a_hundred_megabytes() -> None:
    size = sum(map(len, proxy._pieces(proxy.HUGE)))
    assert proxy.HUGE <= size < proxy.HUGE + 2**17
    assert json.loads(b"".join(proxy._pieces(1000)))["couchdb"] == "Welcome"
    assert len(proxy._bomb()) < 200_000
