# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""_client/connection: what is sent, what is sent again, what errors say, and what never shows."""

from __future__ import annotations

import contextlib
import gc
import http.server
import threading
import typing as t
from pathlib import Path

import pytest
import requests
from ansible_collections.couchpy.couchdb.plugins.module_utils import errors
from ansible_collections.couchpy.couchdb.plugins.module_utils._client import connection
from ansible_collections.couchpy.couchdb.plugins.module_utils._client.parallel import in_parallel
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules.urls import basic_authorization
from ansible_collections.couchpy.couchdb.tests.unit.wire import URL, InTurn, Wire
from urllib3.exceptions import ProtocolError

REFUSED = requests.ConnectionError()
REFUSED.__cause__ = ConnectionRefusedError(111, "Connection refused")
RESET = requests.ConnectionError(ProtocolError("Connection aborted.", ConnectionResetError(104, "reset")))
CUT = requests.exceptions.ChunkedEncodingError(ProtocolError("broken", ConnectionResetError(104, "reset")))
BUSY = (503, {"error": "busy", "reason": "later"})
GOOD = (200, {"ok": True})


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_FIRST_PAUSE", 0)


def connect(url: str = URL, **options: t.Any) -> connection.Connection:
    return connection.Connection(url, connection.Options(**options))


class KeepsAlive(http.server.BaseHTTPRequestHandler):
    """Answers each request, and keeps the connection open."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_arguments: t.Any) -> None:
        """Log nothing."""


def test_close_closes_the_connections() -> None:
    serving = http.server.ThreadingHTTPServer(("127.0.0.1", 0), KeepsAlive)
    serving.daemon_threads = True
    threading.Thread(target=serving.serve_forever, daemon=True).start()
    port = serving.server_port

    def connected() -> int:
        """The number of connections of this process to the server that are not closed."""
        states = [line.split() for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]]
        return sum(fields[2] == f"0100007F:{port:04X}" and fields[3] == "01" for fields in states)

    asking = connect(f"http://127.0.0.1:{port}/")
    gc.disable()
    try:
        for _twice in range(2):
            in_parallel(lambda _item: asking.request("GET"), range(5))
            assert 1 <= connected() <= 5
            asking.close()
            assert connected() == 0
    finally:
        gc.enable()
        serving.shutdown()
        serving.server_close()


@pytest.mark.parametrize(
    ("method", "repeatable", "first", "times"),
    [
        ("GET", None, REFUSED, 2),
        ("GET", None, RESET, 2),
        ("GET", None, BUSY, 2),
        ("GET", None, (502, b"<html>"), 2),
        ("GET", None, (504, b"<html>"), 2),
        ("HEAD", None, BUSY, 2),
        ("PUT", True, BUSY, 2),
        ("PUT", True, RESET, 2),
        # Refused means that nothing was sent, so anything may be sent again.
        ("POST", None, REFUSED, 2),
        # All these may have been done.
        ("POST", None, RESET, 1),
        ("POST", None, BUSY, 1),
        ("PUT", None, BUSY, 1),
        ("DELETE", None, RESET, 1),
        # And these would not get better.
        ("GET", None, (500, {"error": "e", "reason": "r"}), 1),
        ("GET", None, (401, {"error": "unauthorized", "reason": "Name or password is incorrect."}), 1),
        ("GET", None, (403, {"error": "forbidden", "reason": "locked"}), 1),
        ("GET", None, requests.ReadTimeout(), 1),
        ("GET", None, CUT, 1),
        ("GET", None, requests.exceptions.SSLError("certificate verify failed"), 1),
    ],
)
def test_only_what_may_be_sent_twice_is(
    wire: Wire, method: str, repeatable: bool | None, first: t.Any, times: int
) -> None:
    wire[f"{method} /x"] = InTurn([first, GOOD])
    with contextlib.suppress(errors.CouchDBError):
        connect(retries=3).request(method, ("x",), repeatable=repeatable)
    assert wire.asked == [f"{method} /x"] * times


def test_retries_are_bounded(wire: Wire) -> None:
    wire["GET /x"] = BUSY
    with pytest.raises(errors.ServerError):
        connect(retries=2).request("GET", ("x",))
    assert len(wire.asked) == 3


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, {"error": "bad_request", "reason": "r"}, errors.BadRequest),
        (401, {"error": "unauthorized", "reason": "r"}, errors.Unauthorized),
        (403, {"error": "forbidden", "reason": "r"}, errors.Forbidden),
        (404, {"error": "not_found", "reason": "missing"}, errors.NotFound),
        (404, {"error": "not_found", "reason": "no such node: x"}, errors.NodeDown),
        (412, {"error": "nodedown", "reason": "x is down"}, errors.NodeDown),
        # A node whose processes have just ended, or haven't begun.
        (500, {"error": "case_clause", "reason": "{badrpc,nodedown}"}, errors.NodeDown),
        (
            500,
            {"error": "case_clause", "reason": "{badrpc,\n    {'EXIT',\n        {noproc,\n   {gen_se"},
            errors.NodeDown,
        ),
        (500, {"error": "invalid_ejson", "reason": "{badrpc,{'EXIT',{shutdown,{gen_server"}, errors.NodeDown),
        (500, {"error": "case_clause", "reason": "{badrpc,{'EXIT',{function_clause,[]}}}"}, errors.ServerError),
        (409, {"error": "conflict", "reason": "r"}, errors.Conflict),
        (412, {"error": "file_exists", "reason": "r"}, errors.AlreadyExists),
        (500, {"error": "error", "reason": {"deep": 1}}, errors.ServerError),
        (418, {"error": "teapot", "reason": "r"}, errors.CouchDBError),
        (502, b"<html>", errors.ServerError),
        (401, b"<html>", errors.Unauthorized),
        (404, b"<html>", errors.NotCouchDB),
        (200, b"<html>", errors.NotCouchDB),
        (301, b"", errors.NotCouchDB),
    ],
)
def test_each_status_has_its_error(wire: Wire, status: int, body: t.Any, kind: type[errors.CouchDBError]) -> None:
    wire["GET /x"] = status, body
    with pytest.raises(errors.CouchDBError) as caught:
        connect(retries=0).request("GET", ("x",))
    assert caught.type is kind
    assert caught.value.status == status
    assert URL + "x" in str(caught.value)
    if isinstance(body, dict):
        assert caught.value.error == body["error"]
        assert caught.value.error in str(caught.value)


@pytest.mark.parametrize(
    ("failure", "kind", "words"),
    [
        (REFUSED, errors.Unreachable, "connection refused"),
        (RESET, errors.Unreachable, "closed before the answer"),
        (CUT, errors.Unreachable, "cut short"),
        (requests.ConnectTimeout(), errors.TimedOut, "within 30 s"),
        (requests.exceptions.SSLError("certificate verify failed"), errors.Unreachable, "TLS"),
        (requests.ConnectionError(OSError(-2, "Name or service not known")), errors.Unreachable, "Name or service"),
    ],
)
def test_no_answer_is_explained(wire: Wire, failure: Exception, kind: type[Exception], words: str) -> None:
    wire["GET /x"] = failure
    with pytest.raises(kind, match=words):
        connect(retries=0).request("GET", ("x",))


def test_no_error_shows_credentials(wire: Wire) -> None:
    wire["GET /x"] = 500, {"error": "db_not_found", "reason": "could not open http://u:c4n4ry@h/db"}
    with pytest.raises(errors.ServerError) as caught:
        connect("http://admin:c4n4ry@couch.example:5984/").request("GET", ("x",))
    assert "c4n4ry" not in str(caught.value)
    assert "c4n4ry" not in str(vars(caught.value))


@pytest.mark.parametrize("options", [{"username": "a", "password": "c4n4ry/é"}, {"cookie": "AuthSession=c4n4ry"}])
def test_no_error_shows_what_a_server_repeats(wire: Wire, options: dict[str, t.Any]) -> None:
    sent = connect(**options)
    repeated = f"{basic_authorization(sent.username, sent.password)} {options} c4n4ry%2F%C3%A9"
    wire["GET /x"] = 500, {"error": "error", "reason": repeated}
    with pytest.raises(errors.ServerError) as caught:
        sent.request("GET", ("x",))
    assert "c4n4ry" not in str(caught.value)
    assert "YTpjNG40cnkvw6k=" not in str(caught.value)


def test_basic_credentials_are_utf8(wire: Wire) -> None:
    wire["GET /x"] = GOOD
    connect(username="ä", password="pä:ß").request("GET", ("x",))
    assert wire.headers[0]["Authorization"] == "Basic w6Q6cMOkOsOf"


def test_credentials_in_the_url_are_used_and_options_win(wire: Wire) -> None:
    wire["GET /x"] = GOOD
    connect("http://a:b%40c@couch.example:5984").request("GET", ("x",))
    connect("http://a:b@couch.example:5984", username="c", password="d").request("GET", ("x",))
    assert [headers["Authorization"] for headers in wire.headers] == ["Basic YTpiQGM=", "Basic Yzpk"]


def test_a_cookie_goes_instead_of_a_password_and_headers_win(wire: Wire) -> None:
    wire["GET /x"] = GOOD
    connect(username="a", password="b", cookie="abc").request("GET", ("x",))
    connect(username="a", password="b", headers={"authorization": "mine"}).request("GET", ("x",))
    connect(headers={"X-A": "1"}).request("GET", ("x",), headers={"x-a": "2"})
    connect(username="a", password="b", cookie="abc").request("GET", ("x",), anonymous=True)
    assert wire.headers[0]["Cookie"] == "AuthSession=abc"
    assert "Authorization" not in wire.headers[0]
    assert wire.headers[1]["authorization"] == "mine"
    assert "Authorization" not in wire.headers[1]
    assert wire.headers[2]["x-a"] == "2"
    assert "X-A" not in wire.headers[2]
    assert not {"Cookie", "Authorization"} & set(wire.headers[3])


def test_netrc_is_not_read(wire: Wire, monkeypatch: pytest.MonkeyPatch, tmp_path: t.Any) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine couch.example login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    wire["GET /x"] = GOOD
    connect().request("GET", ("x",))
    assert "Authorization" not in wire.headers[0]


def test_proxies_and_authorities_are_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", "near.example")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/etc/bundle.pem")
    assert connect()._proxies == {"http": "http://proxy.example:3128", "no": "near.example"}
    assert connect("http://near.example/")._proxies == {}
    assert connect()._verify == "/etc/bundle.pem"
    assert connect(validate_certs=False)._verify is False


def test_each_part_of_a_path_is_encoded(wire: Wire) -> None:
    wire["PUT /prefix/a%2Bb%2Fc%28d%29/x%20%25%3B?q=4&partitioned=true"] = GOOD
    path = ("a+b/c(d)", "x %;")
    query = {"q": 4, "partitioned": True, "n": None}
    assert connect(URL + "prefix").request("PUT", path, query=query).status == 200


@pytest.mark.parametrize(
    "url",
    [
        "couch.example:5984",
        "ftp://couch.example/",
        "http://",
        "http://couch.example:port/",
        "http://couch.example:99999/",
        "http://couch.example:0/",
        "http://couch.example/?a=b",
        "http://couch.example/#a",
        "http://couch example/",
        "http://admin:c4n4ry/x@couch.example:5984/",
        "",
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(errors.InvalidInput, match="^url: ") as caught:
        connect(url)
    assert "c4n4ry" not in str(caught.value)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("username", "a:b"),
        ("timeout", 0),
        ("timeout", 10000000000),
        ("retries", -1),
        ("ca_path", "/no/such/file"),
        ("client_cert", "/no/such/file"),
        ("client_key", "/etc/hostname"),
        ("headers", {"A": "b\nc"}),
        ("headers", {" ": "b"}),
        ("cookie", "a\r\nb"),
    ],
)
def test_an_option_that_can_not_work_is_refused(option: str, value: t.Any) -> None:
    with pytest.raises(errors.InvalidInput, match=f"^{option}: "):
        connect(**{option: value})


def test_a_refusal_of_a_request_without_credentials_says_so(wire: Wire) -> None:
    wire["GET /_membership"] = 401, {"error": "unauthorized", "reason": "You are not a server admin."}
    with pytest.raises(errors.Unauthorized, match="not a server admin. .the request had no credentials"):
        connect().request("GET", ("_membership",))
    with pytest.raises(errors.Unauthorized) as raised:
        connect(username="ann", password="secret").request("GET", ("_membership",))
    assert "credentials" not in str(raised.value)
