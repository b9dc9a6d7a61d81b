# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Settings: which requests keep a secret out of the server's log."""

from __future__ import annotations

import pytest
from ansible_collections.couchpy.couchdb.plugins.module_utils import errors
from ansible_collections.couchpy.couchdb.tests.unit.wire import Wire, client

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


@pytest.mark.parametrize(("section", "key"), [("log", "file"), ("admins", "ann")])
def test_what_couchdb_may_log_or_masks_itself_takes_one_request(wire: Wire, section: str, key: str) -> None:
    wire[f"PUT {CONFIG}/{section}/{key}"] = ""
    client().config(section, key, value="any")
    assert wire.asked[-1:] == [f"PUT {CONFIG}/{section}/{key}"]
    assert not any("log/level" in request for request in wire.asked)


@pytest.mark.parametrize("answer", [b"", None, [], 7, "text", {"log": None}, {"log": "text"}])
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
