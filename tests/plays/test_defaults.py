# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every module under the defaults of the action group, with the names of options that log in, and with those that don't."""

from __future__ import annotations

import typing as t

import pytest
from playbook_runs import ROOT, Ended, Plays

MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py"))
GROUP = "group/couchpy.couchdb.couchdb"
NOWHERE = "http://127.0.0.1:9/"
OPTIONS: dict[str, dict[str, t.Any]] = {
    "couchdb_admin": {"name": "ann", "password": "of the admin"},
    "couchdb_cluster": {"members": ["a@127.0.0.1"]},
    "couchdb_config": {"section": "log", "key": "level", "value": "info"},
    "couchdb_database": {"name": ["orders"]},
    "couchdb_document": {"database": "orders", "documents": [{"_id": "a"}]},
    "couchdb_index": {"database": "orders", "name": "by-date", "fields": ["date"]},
    "couchdb_jwt_key": {"kid": "till", "type": "hmac", "key": "a key of a test, long enough for any algorithm"},
    "couchdb_replication": {"name": "backup", "source": "orders", "target": "copy"},
    "couchdb_server": {"databases": [{"name": "orders"}]},
    "couchdb_user": {"name": "bob", "roles": ["shop"]},
}


def run_all(plays: Plays, defaults: t.Any, *arguments: str, **play: t.Any) -> Ended:
    """Run each module with its least options under these defaults of the group, where no server answers."""
    tasks = [
        {"name": module, f"couchpy.couchdb.{module}": OPTIONS.get(module, {}), "ignore_errors": True}
        for module in MODULES
    ]
    return plays.run({"module_defaults": {GROUP: defaults}, "tasks": tasks, **play}, *arguments)


def test_every_module_takes_the_connection_from_the_group(plays: Plays) -> None:
    login = {"login_user": "admin", "login_password": "c4n4ry of a test"}
    ended = run_all(plays, {"url": NOWHERE, "retries": 0, **login})
    assert sorted(ended.results) == MODULES, ended.printed
    for module, result in ended.results.items():
        assert result["failed"], module
        assert f"nothing answers at {NOWHERE}" in result["msg"], result["msg"]
        given = result["invocation"]["module_args"]
        assert given["login_user"] == "admin"
        assert given.get("password") is None or module == "couchdb_admin"
    assert "c4n4ry" not in ended.printed


@pytest.mark.parametrize(("wrong", "right"), [("password", "login_password"), ("username", "login_user")])
def test_no_module_takes_a_login_by_another_name_from_the_group(plays: Plays, wrong: str, right: str) -> None:
    ended = run_all(plays, {"url": NOWHERE, "retries": 0, wrong: "c4n4ry"})
    assert sorted(ended.results) == MODULES, ended.printed
    for module, result in ended.results.items():
        assert result["failed"], module
        assert not result["changed"]
        assert result["msg"].startswith(f"{wrong}: is no connection option"), result["msg"]
        assert f"use {right}" in result["msg"]
        assert "c4n4ry" not in str(result)


def test_the_defaults_of_a_block_and_those_in_a_variable_are_looked_at_too(plays: Plays) -> None:
    user = {"couchpy.couchdb.couchdb_user": {"name": "bob", "url": NOWHERE, "retries": 0}, "ignore_errors": True}
    block = {"module_defaults": {GROUP: {"password": "x"}}, "block": [{"name": "block", **user}]}
    variable = {"module_defaults": {GROUP: "{{ given }}"}, "block": [{"name": "variable", **user}]}
    own = {"module_defaults": {"couchpy.couchdb.couchdb_user": {"password": "x"}}, "block": [{"name": "own", **user}]}
    ended = plays.run({"vars": {"given": {"password": "x"}}, "tasks": [block, variable, own]})
    for name in ("block", "variable"):
        assert ended.results[name]["msg"].startswith("password: is no connection option")
    # Given for this module alone, it is what it says: the password of the user.
    assert ended.results["own"]["msg"].startswith("nothing answers")


def test_a_task_that_names_them_otherwise_gets_the_word(plays: Plays) -> None:
    task = {"name": "one", "couchpy.couchdb.couchdb_database": {"name": "a", "username": "b", "password": "c4n4ry"}}
    ended = plays.run({"tasks": [task]})
    message = ended.results["one"]["msg"]
    assert message.startswith(
        "Unsupported parameters for (couchpy.couchdb.couchdb_database) module: password, username."
    )
    assert message.endswith(
        "To log in, use login_password instead of password. To log in, use login_user instead of username."
    )
    assert "c4n4ry" not in ended.printed
