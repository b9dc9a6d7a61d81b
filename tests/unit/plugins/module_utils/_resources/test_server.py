# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""couchdb_server: its parts are given the options that their own modules have, and errors name those of this one."""

from __future__ import annotations

import typing as t

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.couchpy.couchdb.plugins.module_utils._resources import server
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules import declaration
from ansible_collections.couchpy.couchdb.plugins.module_utils.errors import InvalidInput
from ansible_collections.couchpy.couchdb.tests.unit.wire import Wire, client

PARTS = server.RESOURCE.parts
NOTHING: dict[str, t.Any] = {name: option.get("default") for name, option in server.ARGUMENT_SPEC.items()}


def desired(name: str, **given: t.Any) -> t.Any:
    """What a part wants of a task's options."""
    part = PARTS[name]
    options = part.given({**NOTHING, **given})
    result = ArgumentSpecValidator(part.resource.options, **part.resource.constraints).validate(options)
    assert result.error_messages == []
    return part.desired(result.validated_parameters)


@pytest.mark.parametrize("name", PARTS)
def test_a_part_is_declared_by_the_option_of_its_name(name: str) -> None:
    part = PARTS[name]
    assert next(iter(part.options)) == name
    assert set(part.options) <= set(server.ARGUMENT_SPEC)
    for option, own in part.options.items():
        assert server.ARGUMENT_SPEC[option]["type"] == part.resource.options[own]["type"]


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("given", [None, [], {}])
def test_a_part_that_is_not_declared_is_given_nothing(name: str, given: t.Any) -> None:
    assert PARTS[name].given({**NOTHING, name: given, "wait_timeout": 5}) == {}


def test_every_option_goes_to_a_part_or_is_of_the_controller() -> None:
    used = {option for part in PARTS.values() for option in part.options}
    assert used == set(server.ARGUMENT_SPEC) - {"exclusive", "report_extra", "remove_databases"}


def test_every_part_can_be_gathered() -> None:
    assert tuple(PARTS) == declaration.PARTS


class Held:
    """A server that holds these keys of tokens, of which one can't be declared, and users in the database people."""

    def user_settings(self) -> tuple[str, dict[str, t.Any]]:
        return "people", {}

    def declaration(self) -> tuple[dict[str, t.Any], declaration.Omitted]:
        omitted = declaration.Omitted()
        omitted.add("jwt_keys", "hmac:broken", "reason", removable=True)
        omitted.add("jwt_keys", "unnamed", "reason")
        keys = [{"kid": kid, "type": "hmac", "key": "eA==", "base64": True} for kid in ("a", "b", "c")]
        databases = [{"name": name} for name in ("_users", "orders", "people", "staff")]
        return {"jwt_keys": keys, "databases": databases}, omitted

    def __init__(self, **login_settings: str) -> None:
        self.login_settings = {("jwt_keys", name): option for name, option in login_settings.items()}

    def authsession(self) -> dict[str, t.Any]:
        return {"userCtx": {"name": "admin"}}


@pytest.mark.parametrize(
    ("given", "extra"),
    [
        ({}, ["hmac:a", "hmac:b", "hmac:broken", "hmac:c"]),
        ({"jwt_keys": [{"kid": "a", "type": "hmac", "key": "x"}]}, ["hmac:b", "hmac:broken", "hmac:c"]),
        ({"settings": {"jwt_keys": {"hmac:b": "eA=="}}}, ["hmac:a", "hmac:broken", "hmac:c"]),
    ],
)
def test_keys_of_tokens_that_nothing_declares_are_extra(given: dict[str, t.Any], extra: list[str]) -> None:
    wanted = {name: desired(name, **{name: value}) for name, value in given.items()}
    found = server.extra(t.cast(server.Declarer, Held()), wanted)["jwt_keys"]
    assert found.names == extra
    absent = PARTS["jwt_keys"].given({**NOTHING, "jwt_keys": found.absent})["jwt_keys"]
    assert list(desired("jwt_keys", jwt_keys=absent).keys) == extra


@pytest.mark.parametrize(
    ("settings", "extra"),
    [
        (None, ["orders", "staff"]),
        ({"chttpd_auth": {"authentication_db": "staff"}}, ["orders"]),
        ({"chttpd_auth": {"authentication_db": None}}, ["orders", "staff"]),
    ],
)
def test_a_database_of_users_is_never_extra(settings: t.Any, extra: list[str]) -> None:
    wanted = {} if settings is None else {"settings": desired("settings", settings=settings)}
    assert server.extra(t.cast(server.Declarer, Held()), wanted)["databases"].names == extra


def test_the_users_of_a_declaration_are_in_the_database_of_users(wire: Wire) -> None:
    wire["GET /_membership"] = {"all_nodes": ["couchdb@one"], "cluster_nodes": ["couchdb@one"]}
    wire["GET /_node/couchdb@one/_config"] = {"chttpd_auth": {"authentication_db": "people"}}
    wire["GET /_node/_local/_config"] = {"chttpd_auth": {"authentication_db": "people"}}
    wire["GET /_dbs_info?limit=1000"] = []
    wire["GET /_scheduler/jobs?limit=1000&skip=0"] = {"total_rows": 0, "jobs": []}
    client().declaration()
    assert [line for line in wire.asked if "org.couchdb.user" in line and line.startswith("GET /people/_all_docs?")]
    assert not [line for line in wire.asked if "/_users/" in line]


def test_the_key_of_the_task_s_own_login_is_not_extra() -> None:
    found = server.extra(t.cast(server.Declarer, Held(**{"hmac:b": "headers"})), {})["jwt_keys"]
    assert found.names == ["hmac:a", "hmac:broken", "hmac:c"]


def test_what_is_not_given_is_left_to_the_part() -> None:
    documents = [{"database": "db", "documents": [{"_id": "a"}]}]
    assert desired("documents", documents=documents).wait_timeout == 600
    assert desired("documents", documents=documents, wait_timeout=5).wait_timeout == 5
    replications = [{"name": "a", "source": "a", "target": "b"}]
    assert desired("replications", replications=replications).timeout == 300
    assert desired("settings", settings={"log": {"level": "info"}}, nodes=["_local"]).nodes == ["_local"]
    assert desired("admins", admins=[{"name": "ann", "password": "pw"}], nodes=["_local"]).nodes == ["all"]


@pytest.mark.parametrize(
    ("name", "given", "option"),
    [
        ("settings", {"log": 1}, "settings.log"),
        ("databases", [{"name": "UPPER"}], "databases[0].name"),
        ("users", [{"name": "a"}, {"name": "a"}], "users[1].name"),
        ("documents", [{"database": "UPPER", "ids": ["a"]}], "documents[0].database"),
        ("indexes", [{"name": "a", "fields": ["a"]}], "indexes[0].database"),
        ("replications", [{"name": "_a", "source": "a", "target": "b"}], "replications[0].name"),
    ],
)
def test_an_error_names_the_option_of_the_task(name: str, given: t.Any, option: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        desired(name, **{name: given})
    assert caught.value.option == option
    assert str(caught.value) == f"{option}: {caught.value.problem}"


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"exclusive": ["users"]}, "does not declare"),
        ({"exclusive": ["databases"], "databases": []}, "remove_databases: true"),
        ({"exclusive": ["databases"], "databases": [], "remove_databases": True}, None),
        ({"exclusive": ["users", "settings"], "users": [], "settings": {}}, None),
    ],
)
def test_exclusive_must_be_declared_and_databases_confirmed(given: t.Any, problem: str | None) -> None:
    params = {**NOTHING, **given}
    if problem is None:
        server.check(params)
        return
    with pytest.raises(InvalidInput, match=problem):
        server.check(params)
