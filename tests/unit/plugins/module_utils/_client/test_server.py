# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Settings: which requests keep a secret out of the server's log."""

from __future__ import annotations

import copy
import pickle
import typing as t

import pytest
from ansible_collections.couchpy.couchdb.plugins.module_utils import errors
from ansible_collections.couchpy.couchdb.plugins.module_utils._client import database, databases
from ansible_collections.couchpy.couchdb.tests.unit.wire import URL, InTurn, Wire, client

CONFIG = "/_node/_local/_config"
LEVEL = f"{CONFIG}/log/level"


@pytest.mark.parametrize(
    ("log", "around"),
    [
        ({"level": "info"}, (["PUT warning"], ["PUT info"])),
        ({"level": "debug"}, (["PUT warning"], ["PUT debug"])),
        ({}, (["PUT warning"], ["DELETE"])),
        ({"level": "error"}, ([], [])),
        ({"level": "warning"}, ([], [])),
    ],
)
@pytest.mark.parametrize(("section", "key"), [("chttpd_auth", "secret"), ("jwt_keys", "hmac:a"), ("smtp", "password")])
def test_a_secret_is_set_while_the_node_logs_no_notices(
    wire: Wire, log: dict[str, str], around: tuple[list[str], list[str]], section: str, key: str
) -> None:
    levels: list[str] = []
    wire[f"GET {CONFIG}/log"] = log
    wire[f"PUT {LEVEL}"] = lambda body: (levels.append(f"PUT {body}"), (200, ""))[1]
    wire[f"DELETE {LEVEL}"] = lambda body: (levels.append("DELETE"), (200, ""))[1]
    wire[f"PUT {CONFIG}/{section}/{key}"] = lambda body: (levels.append("the secret"), (200, ""))[1]
    client().config(section, key, value="c4n4ry")
    assert levels == [*around[0], "the secret", *around[1]]


def test_the_level_is_restored_when_the_secret_is_refused(wire: Wire) -> None:
    levels: list[str] = []
    wire[f"GET {CONFIG}/log"] = {"level": "info"}
    wire[f"PUT {LEVEL}"] = lambda body: (levels.append(body), (200, ""))[1]
    wire[f"PUT {CONFIG}/chttpd_auth/secret"] = 400, {"error": "bad_request", "reason": "no"}
    with pytest.raises(errors.BadRequest):
        client().config("chttpd_auth", "secret", value="c4n4ry")
    assert levels == ["warning", "info"]


def test_a_failure_says_that_the_level_could_not_be_restored(wire: Wire) -> None:
    wire[f"GET {CONFIG}/log"] = {"level": "info"}
    wire[f"PUT {LEVEL}"] = InTurn(["", (401, {"error": "unauthorized", "reason": "Name or password is incorrect."})])
    wire[f"PUT {CONFIG}/chttpd_auth/secret"] = 400, {"error": "bad_request", "reason": "no"}
    with pytest.raises(errors.BadRequest, match=r"bad_request: no; .*until its next start _local logs warnings only"):
        client().config("chttpd_auth", "secret", value="c4n4ry")
    wire[f"PUT {LEVEL}"] = InTurn(["", (401, {"error": "unauthorized", "reason": "Name or password is incorrect."})])
    wire[f"PUT {CONFIG}/chttpd_auth/secret"] = ""
    with pytest.raises(errors.LogLevelLost, match=r"the secret was set; until its next start _local logs warnings"):
        client().config("chttpd_auth", "secret", value="c4n4ry")


@pytest.mark.parametrize("answer", [[], {}, 0, None, b""])
def test_a_secret_is_not_set_unless_the_level_is_lowered(wire: Wire, answer: object) -> None:
    levels: list[str] = []
    wire[f"GET {CONFIG}/log"] = {"level": "info"}
    wire[f"PUT {LEVEL}"] = lambda body: (levels.append(body), (200, answer if body == "warning" else "warning"))[1]
    with pytest.raises(errors.NotCouchDB, match=f"PUT http://couch.example:5984{LEVEL} answered 200"):
        client().config("chttpd_auth", "secret", value="c4n4ry")
    assert levels == ["warning", "info"]
    assert f"PUT {CONFIG}/chttpd_auth/secret" not in wire.asked


@pytest.mark.parametrize(("level", "method"), [("info", "PUT"), (None, "DELETE")])
def test_a_level_is_restored_once_couchdb_says_so(wire: Wire, level: str | None, method: str) -> None:
    wire[f"GET {CONFIG}/log"] = {} if level is None else {"level": level}
    wire[f"PUT {LEVEL}"] = wire[f"DELETE {LEVEL}"] = lambda body: (200, "" if body == "warning" else {"ok": True})
    wire[f"PUT {CONFIG}/chttpd_auth/secret"] = ""
    with pytest.raises(errors.LogLevelLost, match=f"{method} .* with other JSON than CouchDB"):
        client().config("chttpd_auth", "secret", value="c4n4ry")
    assert wire.asked.count(f"{method} {LEVEL}") == 3 + (method == "PUT")


@pytest.mark.parametrize(("section", "key"), [("log", "file"), ("admins", "ann")])
def test_what_couchdb_may_log_or_masks_itself_takes_one_request(wire: Wire, section: str, key: str) -> None:
    wire[f"PUT {CONFIG}/{section}/{key}"] = ""
    client().config(section, key, value="any")
    assert wire.asked[-1:] == [f"PUT {CONFIG}/{section}/{key}"]
    assert not any("log/level" in request for request in wire.asked)


@pytest.mark.parametrize("answer", [b"", None, [], {}, 7, "text", {"log": None}, {"log": "text"}])
def test_settings_of_another_form_are_no_node_that_is_down(wire: Wire, answer: object) -> None:
    wire["GET /_membership"] = {"all_nodes": ["a@h"], "cluster_nodes": ["a@h"]}
    wire["GET /_node/a@h/_config"] = answer
    with pytest.raises(errors.NotCouchDB, match="GET http://couch.example:5984/_node/a@h/_config answered 200"):
        client().config_of_nodes(["all"])


@pytest.mark.parametrize("answer", [b"", None, [], {}, {"all_nodes": None, "cluster_nodes": []}])
def test_a_membership_of_another_form_is_refused(wire: Wire, answer: object) -> None:
    wire["GET /_membership"] = answer
    with pytest.raises(errors.NotCouchDB, match="GET http://couch.example:5984/_membership answered 200"):
        client().membership()


@pytest.mark.parametrize("change", [{"value": None}, {"value": "x", "delete": True}, {"value": None, "delete": True}])
def test_a_value_of_none_or_with_delete_is_an_error_and_no_read(wire: Wire, change: dict[str, t.Any]) -> None:
    with pytest.raises(errors.InvalidInput, match="^value: "):
        client().config("log", "level", **change)
    assert wire.asked in ([], ["GET /"])


FORBIDDEN = 403, {"error": "forbidden", "reason": "You are not allowed to access this db."}
NAMELESS = 401, {"error": "unauthorized", "reason": "You are not authorized to access this db."}


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([(200, {})], True),
        ([(404, {})], False),
        ([FORBIDDEN, NAMELESS], True),
        # The login is wrong, which says nothing of the database.
        ([NAMELESS, (404, {})], False),
        ([NAMELESS, NAMELESS], True),
    ],
)
def test_has_database_takes_no_permission_to_read_it(wire: Wire, answers: list[t.Any], expected: bool) -> None:
    wire["HEAD /db"] = InTurn(answers)
    wire["HEAD /"] = 200, {}
    assert client().has_database("db") is expected
    assert all("Authorization" not in headers for headers in wire.headers[1:])


def test_has_database_raises_where_a_server_says_nothing_without_a_login(wire: Wire) -> None:
    wire["HEAD /db"] = wire["HEAD /"] = NAMELESS
    with pytest.raises(errors.Unauthorized):
        client().has_database("db")


def test_an_illegal_name_is_the_name_of_no_database(wire: Wire) -> None:
    assert not client().has_database("UPPER")
    assert "a b" not in client()
    assert wire.asked == []


def test_database_passes_on_what_it_is_given(wire: Wire) -> None:
    wire["GET /db"] = {"db_name": "db"}
    couch = client()
    couch.Database("db", {"X-One": "1"})
    couch.Database("db", hthdrs={"X-Two": "2"}).info()
    assert (wire.headers[-1]["X-One"], wire.headers[-1]["X-Two"]) == ("1", "2")


def test_a_database_of_a_kind_of_its_own_gets_its_own_arguments() -> None:
    class Tenant(database.Database):
        def set_options(self, hthdrs: t.Any = None, *, tenant: str = "") -> None:
            super().set_options(hthdrs)
            self.tenant = tenant

    class Tenants(databases.Databases):
        _KIND = Tenant

    assert t.cast(Tenant, Tenants(URL).Database("db", tenant="north")).tenant == "north"
    with pytest.raises(TypeError, match="colour"):
        Tenants(URL).Database("db", colour="red")


def test_a_client_is_closed_by_with_and_copied_as_one_of_its_own(wire: Wire) -> None:
    wire["GET /_session"] = {"ok": True}
    with client() as couch:
        couch.authsession()
        other = copy.deepcopy(couch)
    assert (other.url, other.username) == (couch.url, couch.username)
    assert other._http is not couch._http
    other.authsession()
    assert wire.headers[-1]["Authorization"] == wire.headers[0]["Authorization"]


@pytest.mark.parametrize(
    "error",
    [
        errors.InvalidInput("name", "is empty"),
        errors.CommitFailed([], [{"database": "db", "id": "a", "error": "conflict", "reason": "x"}]),
        errors.NotFound("no", status=404, error="not_found", reason="missing"),
        errors.RestartFailed("no", asked=True),
    ],
)
def test_an_error_survives_pickling(error: errors.CouchDBError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))
