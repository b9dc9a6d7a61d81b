# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""_http: how long and how large an answer may be, how long to wait before asking again, what no header carries."""

from __future__ import annotations

import gzip
import socket
import threading
import time
import typing as t
from email.utils import formatdate

import pytest
from ansible_collections.couchpy.couchdb.plugins.module_utils import errors
from ansible_collections.couchpy.couchdb.plugins.module_utils._client import connection
from ansible_collections.couchpy.couchdb.tests.unit.wire import URL, InTurn, Wire, client

Serve = t.Callable[[bytes], str]


@pytest.fixture
def serve() -> t.Iterator[t.Callable[..., str]]:
    """Serves one connection what is given, piece by piece, and gives the address."""
    listeners: list[socket.socket] = []

    def served(*pieces: bytes, pause: float = 0) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def answer() -> None:
            accepted, _address = listener.accept()
            with accepted:
                accepted.recv(65536)
                try:
                    for piece in pieces:
                        accepted.sendall(piece)
                        time.sleep(pause)
                except OSError:
                    return

        threading.Thread(target=answer, daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}/"

    yield served
    for listener in listeners:
        listener.close()


def ask(url: str, **options: t.Any) -> t.Any:
    return connection.Connection(url, connection.Options(retries=0, **options)).request("GET").body


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    "pieces",
    [
        [*[bytes([byte]) for byte in HEAD], b"X: ", *[b"."] * 100],
        [HEAD + b"Content-Length: 100\r\n\r\n", *[b" "] * 100],
        [HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *[b"1\r\n \r\n"] * 100],
        [HEAD, *[b"X-Header: again\r\n"] * 100],
    ],
    ids=["head", "body", "chunks", "headers"],
)
def test_an_answer_that_drips_takes_no_longer_than_the_timeout(
    pieces: list[bytes], serve: t.Callable[..., str]
) -> None:
    begun = time.monotonic()
    with pytest.raises(errors.TimedOut, match="within 0.4 s"):
        ask(serve(*pieces, pause=0.1), timeout=0.4)
    assert time.monotonic() - begun < 2


def test_an_answer_in_pieces_is_read(serve: t.Callable[..., str]) -> None:
    assert ask(serve(HEAD, b"Content-Length: 8\r\n\r\n", b'{"a"', b": 1}", pause=0.02)) == {"a": 1}


@pytest.mark.parametrize("kind", ["length", "chunked", "gzip", "end"])
def test_an_answer_that_is_too_large_is_not_read(
    kind: str, serve: t.Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "LARGEST_ANSWER", 1 << 20)
    content = b'"' + b"x" * (2 << 20) + b'"'
    pieces = {
        "length": [b"Content-Length: %d\r\n\r\n" % len(content), content],
        "chunked": [b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(content), content, b"\r\n0\r\n\r\n"],
        "gzip": [b"Content-Encoding: gzip\r\nConnection: close\r\n\r\n", gzip.compress(content)],
        "end": [b"Connection: close\r\n\r\n", content],
    }[kind]
    with pytest.raises(errors.TooLarge, match="answered 200 with more than 1 MB") as raised:
        ask(serve(HEAD, *pieces))
    # Whatever was asked may have been done.
    assert raised.value.unsure


def test_the_largest_answer_is_read(serve: t.Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "LARGEST_ANSWER", 1 << 20)
    content = b'"' + b"x" * ((1 << 20) - 2) + b'"'
    assert len(ask(serve(HEAD, b"Content-Length: %d\r\n\r\n" % len(content), content))) == (1 << 20) - 2


def test_large_documents_are_asked_for_in_smaller_portions(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "LARGEST_ANSWER", 1000)
    asked: list[int] = []

    def answer(body: t.Any) -> tuple[int, t.Any]:
        asked.append(len(body["keys"]))
        return 200, {"rows": [{"id": key, "doc": {"_id": key, "filler": "x" * 300}} for key in body["keys"]]}

    wire["POST /db/_all_docs?include_docs=true"] = answer
    names = [f"document{number}" for number in range(5)]
    found = client()["db"].bulk_get(names)
    assert list(found) == names
    assert all(document and document["_id"] == name for name, document in found.items())
    assert asked == [5, 2, 3, 1, 2]
    monkeypatch.setattr(connection, "LARGEST_ANSWER", 100)
    with pytest.raises(errors.TooLarge):
        client()["db"].bulk_get(names)


# Waiting


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were made before asking again."""
    made: list[float] = []
    monkeypatch.setattr(connection.time, "sleep", made.append)
    return made


def refusing(status: int, **headers: str) -> t.Any:
    """A wire's answer with headers."""
    return status, {"error": "too_many", "reason": "later"}, headers


@pytest.mark.parametrize(
    ("method", "status", "after", "expected"),
    [
        ("GET", 429, "3", [3]),
        ("PUT", 429, "3", [3]),
        ("POST", 429, "0", [0]),
        ("GET", 429, None, [0.2]),
        ("GET", 429, "soon", [0.2]),
        ("GET", 429, "-3", [0.2]),
        ("GET", 503, "3", [3]),
        ("GET", 503, None, [0.2]),
        ("GET", 502, "3", [0.2]),
        # What may have been done is not asked for again, whatever the server says.
        ("PUT", 503, "3", []),
        # Longer than the timeout of ten seconds.
        ("GET", 429, "11", []),
        ("GET", 503, "86400", []),
        ("GET", 429, "99999999999999999999", [0.2]),
    ],
)
def test_a_server_is_left_alone_for_as_long_as_it_asks(
    method: str, status: int, after: str | None, expected: list[float], wire: Wire, pauses: list[float]
) -> None:
    wire[f"{method} /x"] = InTurn([refusing(status, **({"Retry-After": after} if after else {})), (200, {"ok": True})])
    made = connection.Connection(URL, connection.Options(timeout=10))
    if expected:
        assert made.request(method, ("x",)).body == {"ok": True}
    else:
        with pytest.raises(errors.CouchDBError, match=f"answered {status}"):
            made.request(method, ("x",))
    assert pauses == expected


def test_a_date_says_how_long_too(wire: Wire, pauses: list[float]) -> None:
    wire["GET /x"] = InTurn([refusing(429, **{"Retry-After": formatdate(time.time() + 5, usegmt=True)}), (200, {})])
    connection.Connection(URL, connection.Options(timeout=10)).request("GET", ("x",))
    assert 3 < pauses[0] <= 5


def test_a_pause_that_is_too_long_is_reported(wire: Wire) -> None:
    wire["GET /x"] = refusing(429, **{"Retry-After": "86400"})
    with pytest.raises(errors.TooManyRequests, match=r"wait for 86400 s, longer than timeout \(10 s\)"):
        connection.Connection(URL, connection.Options(timeout=10)).request("GET", ("x",))


# Headers


@pytest.mark.parametrize(
    ("headers", "shown"),
    [
        ({"X-A": "c4nary\r\nX-B: 1"}, "X-A"),
        ({"X-A": " c4nary"}, "X-A"),
        ({"X-A": "c4nary ☃"}, "X-A"),
        ({"X-A": "c4nary\x00"}, "X-A"),
        ({"X A": "c4nary"}, "X A"),
        ({"X-A:": "c4nary"}, "X-A:"),
        ({"": "c4nary"}, "''"),
        ({"X\n": "c4nary"}, "X"),
    ],
)
def test_a_header_that_can_not_be_sent_is_refused_without_its_value(headers: dict[str, str], shown: str) -> None:
    with pytest.raises(errors.InvalidInput) as raised:
        connection.Connection(URL, connection.Options(headers=headers))
    assert raised.value.option == "headers"
    assert shown in str(raised.value)
    assert "c4nary" not in str(raised.value)
    with pytest.raises(errors.InvalidInput):
        connection.Connection(URL, connection.Options()).request("GET", headers=headers)


def test_numbers_and_names_are_sent(wire: Wire) -> None:
    wire["GET /"] = {}
    connection.Connection(URL, connection.Options(headers={"X-Number": t.cast(t.Any, 7), "X-Name": "Zoë"})).request(
        "GET"
    )
    assert wire.headers[0]["X-Number"] == "7"


@pytest.mark.parametrize("body", [float("nan"), {"a": [float("inf")]}, {"a": {1, 2}}])
def test_what_json_can_not_hold_is_not_sent(body: t.Any, wire: Wire) -> None:
    with pytest.raises(errors.InvalidInput, match="NaN"):
        connection.Connection(URL, connection.Options()).request("PUT", ("x",), body=body)
    assert wire.asked == []


# Answers of another form


@pytest.mark.parametrize(
    ("call", "request_line", "answer"),
    [
        (lambda couch: couch.put("db"), "PUT /db", {}),
        (lambda couch: couch.put("db"), "PUT /db", b""),
        (lambda couch: couch.delete("db"), "DELETE /db", {"ok": False}),
        (lambda couch: couch["db"].set_security({}), "PUT /db/_security", []),
        (lambda couch: couch["db"].set_revs_limit(5), "PUT /db/_revs_limit", None),
        (lambda couch: couch["db"].security(), "GET /db/_security", []),
        (lambda couch: couch["db"].bulk_docs([{"_id": "a"}]), "POST /db/_bulk_docs", []),
        (lambda couch: couch["db"].bulk_docs([{"_id": "a"}]), "POST /db/_bulk_docs", [{}]),
        (lambda couch: couch["db"].bulk_docs([{"_id": "a"}]), "POST /db/_bulk_docs", [{"rev": "1-a"}] * 2),
        (lambda couch: couch.config("a", "b", value="c"), "PUT /_node/_local/_config/a/b", {"ok": True}),
        (lambda couch: couch.config("a", "b", delete=True), "DELETE /_node/_local/_config/a/b", None),
    ],
)
def test_a_change_that_the_server_does_not_confirm_is_an_error(
    call: t.Any, request_line: str, answer: t.Any, wire: Wire
) -> None:
    wire[request_line] = (200, answer)
    with pytest.raises(errors.NotCouchDB) as raised:
        call(client())
    assert raised.value.unsure


# Many databases


@pytest.mark.parametrize(
    ("there", "asked", "listed"),
    [(2500, 1500, True), (50000, 1200, False)],
)
def test_many_databases_take_few_requests(there: int, asked: int, listed: bool, wire: Wire) -> None:
    names = [f"db{number:05}" for number in range(there)]
    wire["GET /_all_dbs"] = names
    wire["POST /_dbs_info"] = lambda body: (200, [{"key": key, "info": {}} for key in body["keys"]])
    for start in range(0, there, 1000):
        rows = [{"key": name, "info": {}} for name in names[start : start + 1000]]
        after = f"&start_key=%22{names[start - 1]}%22&skip=1" if start else ""
        wire[f"GET /_dbs_info?limit=1000{after}"] = rows
    wanted = [*names[:asked], "gone"]
    found = client().dbs_info(wanted)
    assert list(found) == wanted
    assert found["gone"] is None
    assert found["db00000"] == {}
    assert len(wire.asked) <= 2 + (there // 1000 + 1 if listed else asked // 100)
    assert ("POST /_dbs_info" in wire.asked) is not listed
