# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

"""login(), logout() and authsession(): sessions that are kept in a cookie.

Failed logins are sent for accounts of their own only, since CouchDB 3.4 and later locks an account after five.
"""

from __future__ import annotations

from collections.abc import Callable
from http.cookies import SimpleCookie

import pytest
from ansible_collections.couchpy.couchdb.plugins.module_utils import errors
from ansible_collections.couchpy.couchdb.plugins.module_utils.client import Client
from ansible_collections.couchpy.couchdb.plugins.module_utils.database import Database
from servers import Server, unique
from wire import Asked, Reply, Wire, listen

Connect = Callable[..., Client]
Name = Callable[..., str]

PASSWORD = "joe123"
OTHER_PASSWORD = "joe456"


@pytest.fixture
def joe(couch: Client, new_admin: Name) -> str:
    """The name of a server admin with the PASSWORD."""
    name = new_admin()
    couch.addadmin(name, PASSWORD)
    return name


def who(couch: Client) -> tuple[str | None, list[str]]:
    """Name and roles of whom a client is to the server."""
    user = couch.authsession()["userCtx"]
    return user["name"], user["roles"]


def test_login_gives_status_headers_and_payload(connect: Connect, joe: str) -> None:
    couch = connect(username=None)
    answer = couch.login(joe, PASSWORD)
    assert isinstance(answer, tuple)
    status, headers, payload = answer
    assert status == 200
    assert headers["set-cookie"] == headers["Set-Cookie"]
    assert headers["Set-Cookie"].startswith("AuthSession=")
    assert payload == {"ok": True, "name": joe, "roles": ["_admin"]}
    assert who(couch) == (joe, ["_admin"])


def test_authsession_of_nobody(connect: Connect) -> None:
    session = connect(username=None).authsession()
    assert session["ok"] is True
    assert session["userCtx"] == {"name": None, "roles": []}
    assert "authenticated" not in session["info"]


def test_authsession_of_basic_credentials(couch: Client, server: Server) -> None:
    session = couch.authsession()
    assert session["userCtx"] == {"name": server.username, "roles": ["_admin"]}
    assert session["info"]["authenticated"] == "default"


def test_a_session_takes_the_place_of_the_credentials(couch: Client, server: Server, joe: str) -> None:
    assert who(couch)[0] == server.username
    couch.login(joe, PASSWORD)
    session = couch.authsession()
    assert session["userCtx"]["name"] == joe
    assert session["info"]["authenticated"] == "cookie"


def test_a_user_of_the_users_database(couch: Client, connect: Connect) -> None:
    name = unique()
    users = couch["_users"]
    docid = f"org.couchdb.user:{name}"
    users.put_document({"_id": docid, "name": name, "type": "user", "roles": ["staff"], "password": PASSWORD})
    try:
        client = connect(username=None)
        assert client.login(name, PASSWORD)[0] == 200
        assert who(client) == (name, ["staff"])
    finally:
        users.delete(users[docid])


# --- Refused


def test_a_refused_login_is_a_tuple_and_nothing_is_remembered(connect: Connect, wire: Wire, joe: str) -> None:
    couch = connect(wire.url, username=None)
    answer = couch.login(joe, "wrong")
    assert isinstance(answer, tuple)
    status, headers, payload = answer
    assert status == 401
    assert "AuthSession=;" in headers.get("Set-Cookie", "AuthSession=;")
    assert payload["error"] == "unauthorized"
    assert wire.asked() == ["POST /_session"]
    assert who(couch) == (None, [])
    assert "Cookie" not in wire.last().headers


def test_a_refused_login_leaves_whoever_was_logged_in(connect: Connect, server: Server, joe: str) -> None:
    couch = connect()
    assert couch.login(joe, "wrong")[0] == 401
    assert who(couch)[0] == server.username
    couch.login(joe, PASSWORD)
    assert couch.login(joe, "wrong")[0] == 401
    assert who(couch) == (joe, ["_admin"])


def test_a_login_of_nobody_known(connect: Connect) -> None:
    assert connect(username=None).login(unique(), PASSWORD)[0] == 401


def test_a_login_sends_no_other_credentials(connect: Connect, wire: Wire, joe: str) -> None:
    couch = connect(wire.url)
    couch.login(joe, PASSWORD)
    assert "Authorization" not in wire.last().headers
    couch.login(joe, PASSWORD)
    assert "Cookie" not in wire.last().headers
    couch.authsession()
    assert "Authorization" not in wire.last().headers
    assert wire.last().headers["Cookie"].startswith("AuthSession=")


def test_a_locked_account_is_a_tuple_too() -> None:
    reason = "Account is temporarily locked due to multiple authentication failures"
    locked = Reply(403, {"error": "forbidden", "reason": reason})
    with listen(lambda asked: locked) as fake:
        status, headers, payload = Client(fake.url).login("joe", PASSWORD)
        assert (status, payload["reason"]) == (403, reason)
        assert headers["Content-Type"] == "application/json"
        assert fake.asked() == ["POST /_session"]


def test_a_login_that_can_not_be_sent_twice() -> None:
    with listen(lambda asked: Reply(503, {"error": "busy"})) as fake:
        with pytest.raises(errors.ServerError):
            Client(fake.url).login("joe", PASSWORD)
        assert fake.asked() == ["POST /_session"]


# --- What follows a login


def test_all_work_on_the_cookie(connect: Connect, server: Server, wire: Wire, joe: str, new_name: Name) -> None:
    couch = connect(wire.url, username=None)
    couch.login(joe, PASSWORD)
    name, copy, key = new_name(), new_name(), unique()
    database = couch.put(name)
    database.new({"_id": "a", "colour": "red"})
    couch.commit()
    database["a"]["colour"] = "blue"
    couch.commit()
    assert name in couch
    assert database in couch.all_dbs()
    couch.config(key, "a", value="1")
    couch.config(key, "a", delete=True)
    assert joe in couch.admins()
    couch.replicate(name, copy, create_target=True)
    assert couch[copy]["a"]["colour"] == "blue"
    # The server's replicator asks through the same wire.
    mine = [asked for asked in wire.requests if asked.headers.get("User-Agent", "").startswith("python-requests")]
    assert all("Authorization" not in asked.headers for asked in mine)
    assert all(asked.headers["Cookie"].startswith("AuthSession=") for asked in mine[1:])
    assert couch.delete(copy) is True


def test_a_replication_carries_the_cookie(
    connect: Connect, server: Server, wire: Wire, joe: str, db: Database, new_name: Name
) -> None:
    couch = connect(wire.url, username=None)
    couch.login(joe, PASSWORD)
    couch.replicate(db.name, new_name(), create_target=True)
    body = next(asked for asked in wire.requests if asked.path == "/_replicate").json
    if server.clustered:
        assert body["source"]["url"] == wire.url + db.name
        assert body["source"]["headers"]["Cookie"].startswith("AuthSession=")
    else:
        assert body["source"] == db.name


def test_a_renewed_cookie_is_used_from_then_on() -> None:
    """CouchDB renews a cookie that is about to expire."""

    def respond(asked: Asked) -> Reply:
        number = len(fake.requests)
        return Reply(200, {"ok": True}, (("Set-Cookie", f"AuthSession=number{number}; Version=1; HttpOnly"),))

    with listen(respond) as fake:
        couch = Client(fake.url)
        couch.login("joe", PASSWORD)
        couch.authsession()
        couch.authsession()
        assert [asked.headers["Cookie"] for asked in fake.requests] == [
            None,
            "AuthSession=number1",
            "AuthSession=number2",
        ]


def test_a_cookie_from_elsewhere(connect: Connect, joe: str) -> None:
    text = connect(username=None).login(joe, PASSWORD)[1]["Set-Cookie"]
    simple: SimpleCookie = SimpleCookie(text)
    value = simple["AuthSession"].value
    for cookie in (simple, f"AuthSession={value}", value):
        assert who(connect(username=None, cookie=cookie)) == (joe, ["_admin"])


def test_a_cookie_that_is_none() -> None:
    with pytest.raises(errors.InvalidInput, match="AuthSession"):
        Client("http://127.0.0.1:5984/", cookie=SimpleCookie("Other=1"))


def test_two_clients_have_two_sessions(couch: Client, connect: Connect, joe: str, new_admin: Name) -> None:
    jane = new_admin()
    couch.addadmin(jane, OTHER_PASSWORD)
    first, second = connect(username=None), connect(username=None)
    first.login(joe, PASSWORD)
    second.login(jane, OTHER_PASSWORD)
    assert (who(first)[0], who(second)[0]) == (joe, jane)
    first.login(jane, OTHER_PASSWORD)
    assert who(first)[0] == jane


# --- logout


def test_logout_makes_nobody_of_a_client_without_credentials(connect: Connect, wire: Wire, joe: str) -> None:
    couch = connect(wire.url, username=None)
    couch.login(joe, PASSWORD)
    assert couch.logout() is True
    assert who(couch) == (None, [])
    assert "Cookie" not in wire.last().headers


def test_logout_falls_back_to_the_credentials(connect: Connect, server: Server, wire: Wire, joe: str) -> None:
    couch = connect(wire.url)
    couch.login(joe, PASSWORD)
    assert couch.logout() is True
    session = couch.authsession()
    assert session["userCtx"]["name"] == server.username
    assert session["info"]["authenticated"] == "default"


def test_logout_of_nobody(connect: Connect) -> None:
    assert connect(username=None).logout() is True


def test_logout_forgets_the_cookie_even_if_the_server_fails() -> None:
    def respond(asked: Asked) -> Reply:
        if asked.method == "DELETE":
            return Reply(500, {"error": "unknown_error"})
        return Reply(200, {"ok": True}, (("Set-Cookie", "AuthSession=number; Version=1"),) * (asked.method == "POST"))

    with listen(respond) as fake:
        couch = Client(fake.url)
        couch.login("joe", PASSWORD)
        with pytest.raises(errors.ServerError):
            couch.logout()
        couch.authsession()
        assert "Cookie" not in fake.last().headers


def test_login_again_after_logout(connect: Connect, joe: str) -> None:
    couch = connect(username=None)
    for _try in range(2):
        couch.login(joe, PASSWORD)
        assert who(couch)[0] == joe
        couch.logout()
        assert who(couch)[0] is None
