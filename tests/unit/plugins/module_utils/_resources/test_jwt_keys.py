# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""couchdb_jwt_key: its plans as tables, what it reports, and the requests that reach the wire."""

from __future__ import annotations

import base64
import json
import typing as t

import pytest
from ansible_collections.couchpy.couchdb.plugins.module_utils._engine import module
from ansible_collections.couchpy.couchdb.plugins.module_utils._engine.plan import diff
from ansible_collections.couchpy.couchdb.plugins.module_utils._resources import jwt_keys as resource
from ansible_collections.couchpy.couchdb.plugins.module_utils._resources.jwt_keys import Observed
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules.dialect import Dialect, OneX
from ansible_collections.couchpy.couchdb.plugins.module_utils.errors import (
    CouchDBError,
    InvalidInput,
    NodeDown,
    Unsupported,
)
from ansible_collections.couchpy.couchdb.tests.unit.wire import Wire, client

RESOURCE = resource.RESOURCE
KEY: dict[str, t.Any] = {"kid": None, "type": None, "key": None, "base64": False, "state": "present"}
PARAMS = {**KEY, "jwt_keys": None, "exclusive": False, "authentication_handler": None, "nodes": ["all"]}
THREE = Dialect("CouchDB", "3.5.0")
NODE = "n1@h"
SECRET = {"kid": "a", "type": "hmac", "key": "c4n4ry"}
STORED = "YzRuNHJ5"
EC = """-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE4mffUA+JH4hUDlQsLc8UUSFt0b7v
y62B6DhwhsDsX0NG61KJfXxYUPK2lXcRcgwqkkpOOk6JGrfeFNLGoqY2hg==
-----END PUBLIC KEY-----
"""
JWT = "{chttpd_auth, jwt_authentication_handler}"
REST = "{chttpd_auth, cookie_authentication_handler}, {chttpd_auth, default_authentication_handler}"


def entry(**given: t.Any) -> dict[str, t.Any]:
    return {**KEY, "base64": None, "state": None, **given}


def observed(*, dialect: Dialect = THREE, **keys: str) -> Observed:
    return Observed(
        {NODE: {"jwt_keys": {name.replace("_", ":", 1): key for name, key in keys.items()}, "chttpd": {}}}, dialect
    )


def changes(given: dict[str, t.Any], there: Observed) -> list[tuple[t.Any, ...]]:
    """What is sent; the prediction must be where it leads to."""
    desired = resource.desire({**PARAMS, **given})
    plan = resource.plan(desired, there)
    assert not resource.plan(desired, plan.predicted).changes
    assert "c4n4ry" not in str(diff(plan.changes))
    assert STORED not in str(diff(plan.changes))
    return [
        (change.action, "/".join(change.path[1:]), change.arguments.get("value", change.arguments.get("delete")))
        for change in plan.changes
    ]


@pytest.mark.parametrize(
    ("given", "held", "expected"),
    [
        (SECRET, {}, [("create", "hmac:a", STORED)]),
        (SECRET, {"hmac_a": STORED}, []),
        (SECRET, {"hmac_a": STORED, "rsa_b": "x"}, []),
        ({**SECRET, "exclusive": True}, {"hmac_a": STORED, "rsa_b": "x"}, [("delete", "rsa:b", True)]),
        (SECRET, {"hmac_a": "b3RoZXI="}, [("update", "hmac:a", STORED)]),
        (SECRET, {"hmac_a": "no Base64!"}, [("update", "hmac:a", STORED)]),
        ({**SECRET, "key": STORED, "base64": True}, {"hmac_a": STORED}, []),
        ({**SECRET, "state": "absent"}, {"hmac_a": STORED}, [("delete", "hmac:a", True)]),
        ({"kid": "a", "type": "hmac", "state": "absent"}, {}, []),
        ({"kid": "a", "type": "ec", "key": EC}, {}, [("create", "ec:a", EC.replace("\n", "\\n"))]),
        ({"kid": "a", "type": "ec", "key": EC}, {"ec_a": EC.strip().replace("\n", "\\n")}, []),
        ({"jwt_keys": [], "exclusive": True}, {"hmac_a": STORED}, [("delete", "hmac:a", True)]),
        (
            {"type": "ec", "jwt_keys": [entry(kid="a", key=EC), entry(**SECRET), entry(kid="b", state="absent")]},
            {"ec_b": "x"},
            [("create", "ec:a", EC.replace("\n", "\\n")), ("create", "hmac:a", STORED), ("delete", "ec:b", True)],
        ),
        (
            {"authentication_handler": True},
            {},
            [("create", "chttpd/authentication_handlers", f"{JWT}, {REST}")],
        ),
        ({"authentication_handler": False}, {}, []),
    ],
)
def test_plan(given: dict[str, t.Any], held: dict[str, str], expected: list[tuple[t.Any, ...]]) -> None:
    assert changes(given, observed(**held)) == expected


def test_the_handler_comes_after_the_keys_and_needs_a_restart() -> None:
    desired = resource.desire({**PARAMS, **SECRET, "authentication_handler": True})
    plan = resource.plan(desired, observed())
    assert [[change.what for change in stage] for stage in plan.stages()] == [["jwt_key"], ["setting"]]
    assert resource.report(desired, plan.predicted, list(plan.changes)) == {
        "jwt_keys": [{"kid": "a", "type": "hmac", "nodes": [NODE]}],
        "nodes_down": [],
        "restart_required": True,
    }
    assert not resource.report(desired, plan.predicted, list(plan.changes)[:1])["restart_required"]


def test_a_node_that_is_down_is_a_shortfall() -> None:
    there = Observed({NODE: {"jwt_keys": {}, "chttpd": {}}, "n2@h": None}, THREE)
    desired = resource.desire({**PARAMS, **SECRET})
    plan = resource.plan(desired, there)
    assert [change.path for change in plan.changes] == [(NODE, "hmac:a")]
    assert isinstance(plan.shortfall, NodeDown)
    assert "n2@h: down, and missed the key hmac:a" in str(plan.shortfall)
    assert resource.report(desired, plan.predicted, [])["nodes_down"] == ["n2@h"]


def test_a_key_that_a_file_brings_back_is_an_error() -> None:
    desired = resource.desire({**PARAMS, "kid": "a", "type": "hmac", "state": "absent"})
    with pytest.raises(CouchDBError, match=f"{NODE}: the key hmac:a is still in an ini file"):
        resource.report(desired, observed(hmac_a=STORED), [])


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"kid": "a:b", "type": "hmac", "key": "x"}, "kid: 'a:b' contains a colon"),
        ({"kid": "a", "key": "x"}, "type: is missing"),
        ({"kid": "a", "type": "hmac"}, "key: is missing for hmac:a"),
        ({"kid": "a", "type": "rsa", "key": EC}, "key: contains a key of the type ec"),
        ({"jwt_keys": [entry(**SECRET), entry(**SECRET)]}, r"jwt_keys\[1\].kid: hmac:a is listed twice"),
        ({"jwt_keys": [entry(kid="a", type="rsa", key="c4n4ry")]}, r"jwt_keys\[0\].key: is not PEM"),
    ],
)
def test_bad_input_names_the_option(given: dict[str, t.Any], named: str) -> None:
    with pytest.raises(InvalidInput, match=f"^{named}") as caught:
        resource.desire({**PARAMS, **given})
    assert "c4n4ry" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "dialect", "says"),
    [
        (
            SECRET,
            Dialect("CouchDB", "3.0.1"),
            "type: CouchDB 3.0.1 has no JWT keys of the type hmac; they came with 3.1",
        ),
        (SECRET, OneX("CouchDB", "1.7.2"), "no JWT keys"),
        ({"authentication_handler": True}, OneX("CouchDB", "1.7.2"), "no authentication by JWT"),
    ],
)
def test_what_the_version_lacks_is_refused(given: dict[str, t.Any], dialect: Dialect, says: str) -> None:
    with pytest.raises(Unsupported, match=says):
        resource.plan(resource.desire({**PARAMS, **given}), observed(dialect=dialect))


def test_an_algorithm_that_no_release_has_is_refused_and_can_be_removed() -> None:
    der = "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE="
    given = {"kid": "a", "type": "ed", "key": f"-----BEGIN PUBLIC KEY-----\n{der}\n-----END PUBLIC KEY-----"}
    with pytest.raises(Unsupported, match="has no JWT keys of the type ed; its types are hmac, rsa, ec"):
        resource.plan(resource.desire({**PARAMS, **given}), observed())
    assert changes({**given, "key": None, "state": "absent"}, observed(ed_a="x")) == [("delete", "ed:a", True)]


def token(**head: t.Any) -> dict[str, str]:
    """Headers with a token, which nothing verifies here."""
    encoded = base64.urlsafe_b64encode(json.dumps(head).encode()).decode().rstrip("=")
    return {"Authorization": f"Bearer {encoded}.e30.c2ln"}


@pytest.mark.parametrize("check_mode", [True, False])
@pytest.mark.parametrize(
    ("given", "refused"),
    [
        ({"kid": "a", "type": "hmac", "state": "absent"}, "^kid: the key hmac:a .* its removal would end that login"),
        ({**SECRET, "key": "other"}, "^kid: the key hmac:a .* its replacement would end"),
        (
            {"jwt_keys": [entry(kid="a", type="hmac", state="absent")]},
            r"^jwt_keys\[0\].kid: the key hmac:a verifies the token in headers",
        ),
        ({"jwt_keys": [], "exclusive": True}, "^exclusive: the key hmac:a .* its removal"),
        ({"kid": "b", "type": "hmac", "state": "absent"}, ""),
        (SECRET, ""),
        ({**SECRET, "exclusive": True}, ""),
        # The requests go to the other node, which keeps the key.
        ({"kid": "a", "type": "hmac", "state": "absent", "nodes": ["n2@h"]}, ""),
    ],
)
def test_the_key_of_the_task_s_own_login_stays(
    wire: Wire, given: dict[str, t.Any], refused: str, check_mode: bool
) -> None:
    nodes = ["n1@h", "n2@h"]
    held = {node: {"hmac:a": STORED, "hmac:b": STORED} for node in nodes}
    wire["GET /_membership"] = {"all_nodes": nodes, "cluster_nodes": nodes}
    wire["GET /_node/_local"] = {"name": "n1@h"}
    for node in nodes:
        wire[f"GET /_node/{node}/_config"] = lambda body, node=node: (200, {"jwt_keys": dict(held[node])})
        for name in ("hmac:a", "hmac:b"):
            wire[f"DELETE /_node/{node}/_config/jwt_keys/{name}"] = lambda body, node=node, name=name: (
                200,
                held[node].pop(name),
            )
    desired = resource.desire({**PARAMS, **given})
    login = {"username": None, "password": None, "headers": token(alg="HS256", kid="a")}
    if refused:
        with pytest.raises(InvalidInput, match=refused):
            module.carry_out(RESOURCE, desired, client(**login), check_mode=check_mode)
        assert wire.written == []
        # With a password instead, there is no reason to.
        assert module.carry_out(RESOURCE, desired, client(), check_mode=True).changes
    else:
        assert bool(module.carry_out(RESOURCE, desired, client(**login), check_mode=check_mode).changes) == (
            given is not SECRET
        )


@pytest.mark.parametrize("check_mode", [True, False])
def test_a_key_is_written_to_every_node(wire: Wire, check_mode: bool) -> None:
    nodes = ["n1@h", "n2@h"]
    held: dict[str, dict[str, str]] = {node: {} for node in nodes}
    wire["GET /_membership"] = {"all_nodes": nodes, "cluster_nodes": nodes}
    wire.answers.pop("GET /_node/_local/_config", None)
    for node in nodes:
        wire[f"GET /_node/{node}/_config"] = lambda body, node=node: (200, {"jwt_keys": dict(held[node])})
        wire[f"GET /_node/{node}/_config/log"] = {"level": "error"}

        def write(body: t.Any, node: str = node) -> tuple[int, t.Any]:
            held[node]["hmac:a"] = body
            return 200, ""

        wire[f"PUT /_node/{node}/_config/jwt_keys/hmac:a"] = write
    outcome = module.carry_out(RESOURCE, resource.desire({**PARAMS, **SECRET}), client(), check_mode=check_mode)
    assert outcome.returned["jwt_keys"] == [{"kid": "a", "type": "hmac", "nodes": nodes}]
    assert len(outcome.changes) == 2
    assert held == {node: {} if check_mode else {"hmac:a": STORED} for node in nodes}
