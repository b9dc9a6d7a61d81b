# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

"""Errors and their messages: no server, another server, wrong credentials; and names that only look wrong."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from ansible_collections.couchpy.couchdb.plugins.module_utils import errors
from ansible_collections.couchpy.couchdb.plugins.module_utils.client import Client
from ansible_collections.couchpy.couchdb.plugins.module_utils.database import Database
from servers import Server, unique
from wire import HOST, Reply, Responder, Wire, free_port, listen

Connect = Callable[..., Client]
Name = Callable[..., str]

WELCOME = {"couchdb": "Welcome", "version": "3.4.3"}
HTML = (("Content-Type", "text/html; charset=utf-8"),)
PASSWORD = "joe123"

# A call each that reads and that writes, and one that makes up its mind by itself.
CALLS: list[Callable[[Client], Any]] = [
    lambda couch: couch(),
    lambda couch: couch.database_names(),
    lambda couch: couch.put("couchpy_ct"),
    lambda couch: couch["couchpy_ct"]["a"],
    lambda couch: couch["couchpy_ct"].bulk_docs([{"_id": "a"}]),
    lambda couch: couch.config("log", "level", value="debug"),
    lambda couch: couch.restart(),
]


@contextmanager
def raw(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that does with each connection what it likes, and its address."""
    with socket.create_server((HOST, 0)) as listener:

        def accept() -> None:
            while True:
                try:
                    connection, _address = listener.accept()
                except OSError:
                    return
                with connection:
                    serve(connection)

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield f"http://{HOST}:{listener.getsockname()[1]}/"
        finally:
            listener.shutdown(socket.SHUT_RDWR)


def always(reply: Reply) -> Responder:
    """Answer so, whatever is asked."""
    return lambda asked: reply


# --- No server


@pytest.mark.parametrize("call", CALLS)
def test_no_server(call: Callable[[Client], Any]) -> None:
    url = f"http://{HOST}:{free_port()}/"
    couch = Client(url.replace("://", "://joe:joe123@"), config={"retries": 0})
    with pytest.raises(errors.Unreachable, match="connection refused") as caught:
        call(couch)
    assert url in str(caught.value)
    assert PASSWORD not in str(caught.value)
    assert (caught.value.status, caught.value.sent) == (None, False)


def test_a_server_that_comes_late_is_waited_for() -> None:
    """A refused connection is retried, with longer pauses each time."""
    port = free_port()
    answers: list[Any] = []
    waiting = threading.Thread(target=lambda: answers.append(Client(f"http://{HOST}:{port}/")()))
    waiting.start()
    time.sleep(0.1)
    with listen(lambda asked: Reply(200, WELCOME), port) as fake:
        waiting.join(20)
        assert answers == [WELCOME]
        assert fake.asked() == ["GET /"]


def test_a_host_that_is_not_known() -> None:
    with pytest.raises(errors.Unreachable) as caught:
        Client("http://couch.invalid:5984/", config={"retries": 0})()
    assert "http://couch.invalid:5984/" in str(caught.value)


def test_a_port_where_something_else_listens() -> None:
    with raw(lambda connection: connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")) as url:
        with pytest.raises(errors.CouchDBError) as caught:
            Client(url, config={"retries": 0, "timeout": 5})()
        assert isinstance(caught.value, (errors.NotCouchDB, errors.Unreachable))
        assert url in str(caught.value)


def test_a_port_where_the_connection_is_closed() -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(65536)

    with raw(serve) as url, pytest.raises(errors.Unreachable, match="closed before the answer"):
        Client(url, config={"retries": 0})()


def test_a_server_that_never_answers() -> None:
    release = threading.Event()

    def serve(connection: socket.socket) -> None:
        release.wait(10)

    with raw(serve) as url:
        began = time.monotonic()
        with pytest.raises(errors.TimedOut, match=r"within 0\.3 s"):
            Client(url, config={"timeout": 0.3})()
        assert time.monotonic() - began < 5
        release.set()


def test_tls_where_there_is_none() -> None:
    with listen(lambda asked: Reply(200, WELCOME)) as fake:
        with pytest.raises(errors.Unreachable, match="TLS"):
            Client(fake.url.replace("http://", "https://"), config={"retries": 0})()
        assert fake.requests == []


@pytest.mark.parametrize(
    "url", ["127.0.0.1:5984", "ftp://127.0.0.1/", "http://", "http://127.0.0.1:port/", "http://a/?b"]
)
def test_a_url_that_is_none(url: str) -> None:
    with pytest.raises(errors.InvalidInput, match="url"):
        Client(url)


# --- Another server


@pytest.mark.parametrize("call", CALLS)
def test_an_html_page(call: Callable[[Client], Any]) -> None:
    with listen(lambda asked: Reply(200, b"<!DOCTYPE html><title>Welcome</title>", HTML)) as fake:
        with pytest.raises(errors.NotCouchDB, match="an HTML page instead of JSON") as caught:
            call(Client(fake.url))
        assert fake.url in str(caught.value)
        assert len(fake.requests) == 1


def test_an_html_page_of_an_error() -> None:
    page = Reply(404, b"<h1>Not Found</h1>", HTML)
    with listen(lambda asked: page) as fake, pytest.raises(errors.NotCouchDB, match="an HTML page"):
        Client(fake.url)()


def test_a_gateway_whose_server_is_down() -> None:
    """Reading is retried; after the last attempt the error says what the gateway said."""
    with listen(lambda asked: Reply(502, b"<h1>Bad Gateway</h1>", HTML)) as fake:
        with pytest.raises(errors.ServerError, match="502 with an HTML page") as caught:
            Client(fake.url, config={"retries": 2})()
        assert caught.value.status == 502
        assert len(fake.requests) == 3
        fake.forget()
        with pytest.raises(errors.ServerError):
            Client(fake.url, config={"retries": 2})["couchpy_ct"].bulk_docs([{"_id": "a"}])
        assert len(fake.requests) == 1


@pytest.mark.parametrize(
    "welcome",
    [
        {"name": "node", "cluster_name": "search", "version": {"number": "8.1"}},
        {"version": "1.0"},
        {},
        [],
        "Welcome",
        1,
    ],
    ids=str,
)
def test_another_json_service(welcome: Any) -> None:
    with listen(lambda asked: Reply(200, welcome)) as fake:
        couch = Client(fake.url)
        for call in (couch, couch.version, couch.config, couch.restart, couch.log):
            with pytest.raises(errors.NotCouchDB, match="is not a CouchDB server") as caught:
                call()
            assert fake.url in str(caught.value)
        assert fake.asked() == ["GET /"] * 5


def test_something_that_stands_in_its_place_later() -> None:
    """The server was CouchDB when it was asked first; then something else took the port."""
    pages = [Reply(200, WELCOME), Reply(200, b"<html></html>", HTML), Reply(200, b"", HTML)]
    with listen(lambda asked: pages[min(len(fake.requests), 3) - 1]) as fake:
        couch = Client(fake.url)
        assert couch.version() == "3.4.3"
        with pytest.raises(errors.NotCouchDB):
            couch.config()


def test_a_redirect_is_not_followed() -> None:
    with listen(lambda asked: Reply(200, WELCOME)) as elsewhere:
        location = elsewhere.url.replace("://", "://jane:jane456@")
        for status in (301, 302, 303, 307, 308):
            with listen(always(Reply(status, b"", (("Location", location),)))) as fake:
                couch = Client(fake.url, config={"username": "joe", "password": PASSWORD})
                with pytest.raises(errors.NotCouchDB, match="redirection to .* not followed") as caught:
                    couch()
                assert caught.value.status == status
                assert str(elsewhere.port) in str(caught.value)
                assert "jane456" not in str(caught.value)
                with pytest.raises(errors.NotCouchDB):
                    couch.put("couchpy_ct")
                assert len(fake.requests) == 2
                assert couch.ispresent() is False
        assert elsewhere.requests == []


def test_an_answer_that_is_cut_short() -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(
            b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\nContent-Type: application/json\r\n\r\n{"couchdb"'
        )

    with raw(serve) as url, pytest.raises(errors.CouchDBError) as caught:
        Client(url, config={"retries": 0})()
    assert isinstance(caught.value, (errors.Unreachable, errors.NotCouchDB))


def test_ispresent_of_what_is_none() -> None:
    for reply in (Reply(404, b""), Reply(500, b""), Reply(302, b"", (("Location", "/x"),))):
        with listen(always(reply)) as fake:
            couch = Client(fake.url, config={"retries": 0})
            assert couch.ispresent() is False
            assert bool(couch) is False


def test_ispresent_of_one_that_wants_a_password() -> None:
    with listen(lambda asked: Reply(401, b"")) as fake:
        assert Client(fake.url).ispresent() is True


# --- Wrong credentials


@pytest.mark.parametrize("call", [*CALLS[1:5], lambda couch: couch.active_tasks(), lambda couch: couch.authsession()])
def test_a_wrong_password_is_exactly_one_request(
    couch: Client, connect: Connect, wire: Wire, new_admin: Name, call: Callable[[Client], Any]
) -> None:
    """Not one failed login more than was asked for: CouchDB 3.4 and later locks an account after five."""
    joe = new_admin()
    couch.addadmin(joe, PASSWORD)
    mistaken = connect(wire.url, username=joe, password="wrong")
    with pytest.raises(errors.Unauthorized, match=r"Name or password is incorrect") as caught:
        call(mistaken)
    assert (caught.value.status, caught.value.error) == (401, "unauthorized")
    assert caught.value.reason == "Name or password is incorrect."
    assert len(wire.requests) == 1
    assert "wrong" not in str(caught.value)


def test_a_locked_account_is_not_retried(couch: Client, connect: Connect, server: Server, new_admin: Name) -> None:
    joe = new_admin()
    couch.addadmin(joe, PASSWORD)
    mistaken = connect(username=joe, password="wrong")
    for _try in range(5):
        with pytest.raises(errors.Unauthorized):
            mistaken.database_names()
    if server.number >= (3, 4):
        with pytest.raises(errors.Forbidden, match="temporarily locked") as caught:
            mistaken.database_names()
        assert caught.value.status == 403
        with pytest.raises(errors.Forbidden, match="temporarily locked"):
            connect(username=joe, password=PASSWORD).database_names()
    else:
        assert connect(username=joe, password=PASSWORD).authsession()["userCtx"]["name"] == joe


def test_without_credentials(connect: Connect) -> None:
    nobody = connect(username=None)
    for call in (nobody.config, nobody.admins):
        with pytest.raises(errors.Unauthorized) as caught:
            call()
        assert caught.value.status == 401


def test_a_user_who_is_no_admin(couch: Client, connect: Connect, db: Database) -> None:
    db.set_security({"admins": {"names": [], "roles": []}, "members": {"names": [], "roles": ["staff"]}})
    name = unique()
    users = couch["_users"]
    docid = f"org.couchdb.user:{name}"
    users.put_document({"_id": docid, "name": name, "type": "user", "roles": [], "password": PASSWORD})
    try:
        user = connect(username=name, password=PASSWORD)
        for call in (user.config, lambda: user.put(unique()), lambda: user.delete(db.name), user[db.name].all_docs):
            with pytest.raises((errors.Unauthorized, errors.Forbidden)):
                call()
        assert db.name in couch
    finally:
        users.delete(users[docid])


def test_a_username_that_basic_authentication_cannot_carry() -> None:
    with pytest.raises(errors.InvalidInput, match="username"):
        Client("http://127.0.0.1:5984/", config={"username": "joe:doe", "password": PASSWORD})


# --- What an error shows


def test_an_error_says_what_was_asked_and_answered(couch: Client, db: Database) -> None:
    with pytest.raises(errors.NotFound) as caught:
        db["a/b c"]
    error = caught.value
    url = f"{couch.url}{db.name}/a%2Fb%20c"
    assert str(error) == f"GET {url} answered 404 not_found: missing"
    assert (error.method, error.url, error.status, error.error, error.reason) == (
        "GET",
        url,
        404,
        "not_found",
        "missing",
    )
    assert errors.describe(error) == {"status": 404, "error": "not_found", "reason": "missing"}
    assert isinstance(error, errors.CouchDBError)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.BadRequest),
        (401, errors.Unauthorized),
        (403, errors.Forbidden),
        (404, errors.NotFound),
        (405, errors.CouchDBError),
        (409, errors.Conflict),
        (412, errors.CouchDBError),
        (413, errors.CouchDBError),
        (500, errors.ServerError),
    ],
)
def test_each_status_has_its_error(status: int, kind: type[errors.CouchDBError]) -> None:
    with listen(lambda asked: Reply(status, {"error": "some_error", "reason": "some reason"})) as fake:
        with pytest.raises(kind, match="some_error: some reason") as caught:
            Client(fake.url)()
        assert caught.type is kind
        assert caught.value.status == status
        assert len(fake.requests) == 1


def test_a_database_that_exists_differs_from_another_412() -> None:
    """CouchDB answers 412 also for a node that is down."""
    with listen(lambda asked: Reply(412, {"error": "nodedown", "reason": "node2 is down"})) as fake:
        with pytest.raises(errors.CouchDBError, match="nodedown") as caught:
            Client(fake.url)["couchpy_ct"].put_document({"_id": "a"})
        assert not isinstance(caught.value, errors.AlreadyExists)
    there = Reply(412, {"error": "file_exists", "reason": "it is there"})
    with listen(lambda asked: there) as fake, pytest.raises(errors.AlreadyExists):
        Client(fake.url)["couchpy_ct"].put()


# --- Names that only look wrong


@pytest.mark.parametrize("suffix", ["/a", "/a/b", "+a", "(a)", "$a", "-a_", "/a+b(c)$-_", "$(a)+/-"])
def test_database_names(couch: Client, db: Database, new_name: Name, suffix: str) -> None:
    name = new_name(suffix)
    assert name not in couch
    if "/" in name and couch.dialect.product == "PouchDB Server":
        # It would create the database under another name.
        with pytest.raises(errors.InvalidInput, match="drops the slash"):
            couch.put(name)
        return
    database = couch.put(name)
    assert name in couch
    assert database in couch.all_dbs()
    database.put_document({"_id": "a/b", "colour": "red"})
    assert database["a/b"]["colour"] == "red"
    assert couch.dbs_info([name])[name]["doc_count"] == 1
    with pytest.raises(errors.AlreadyExists):
        couch.put(name)
    del couch[name]
    assert name not in couch


@pytest.mark.parametrize(
    "name", ["", "A", "1a", "a b", "a.b", "a?b", "a%2Fb", "\u00e9", "_a", "../a", "a\n", "a" * 300], ids=ascii
)
def test_names_that_no_database_has(connect: Connect, wire: Wire, name: str) -> None:
    couch = connect(wire.url)
    for call in (couch.put, couch.delete, couch.Database):
        with pytest.raises(errors.InvalidInput, match="name"):
            call(name)
    assert wire.requests == []


@pytest.mark.parametrize(
    "docid",
    [
        "a/b",
        "a+b",
        "a b",
        "a?b=c",
        "a#b",
        "a%2Fb",
        "a&b",
        "(a)",
        "a:b",
        "a@b",
        "$a",
        "\u00e9\u20ac",
        "a\\b",
        '"a"',
        "a;b,c",
        "...",
    ],
    ids=ascii,
)
def test_document_ids(couch: Client, connect: Connect, db: Database, docid: str) -> None:
    first = db.put_document({"_id": docid, "colour": "red"})
    assert docid in db
    assert db[docid]["_rev"] == first
    assert [row["id"] for row in db.all_docs([docid])] == [docid]
    db[docid]["colour"] = "blue"
    couch.commit()
    assert (connect()[db.name].bulk_get([docid])[docid] or {}).get("colour") == "blue"
    db.delete(db[docid])
    assert docid not in db


@pytest.mark.parametrize("docid", ["_design/a/b", "_design/a+b c", "_design/a?b", "_design/\u00e9"], ids=ascii)
def test_design_document_ids(db: Database, docid: str) -> None:
    db.put_document({"_id": docid, "language": "javascript"})
    assert db[docid]["_id"] == docid
    assert [document["_id"] for document in db.design_documents()] == [docid]
    db.delete(db[docid])
    assert db.design_documents() == []


@pytest.mark.parametrize("docid", ["", ".", ".."])
def test_document_ids_that_can_not_be_addressed(connect: Connect, wire: Wire, db: Database, docid: str) -> None:
    database = connect(wire.url)[db.name]
    for call in (database.get, database.__contains__, lambda docid: database.put_document({"_id": docid})):
        with pytest.raises(errors.InvalidInput):
            call(docid)
    assert wire.requests == []


def test_asked_is_encoded_once(connect: Connect, wire: Wire, new_name: Name) -> None:
    couch = connect(wire.url)
    name = new_name("+b(c)")
    couch.put(name)
    path = f"/{name[:-5]}%2Bb%28c%29"
    assert wire.asked()[-1] == f"PUT {path}"
    couch[name].put_document({"_id": "x/y"})
    assert wire.asked()[-1] == f"PUT {path}/x%2Fy"
