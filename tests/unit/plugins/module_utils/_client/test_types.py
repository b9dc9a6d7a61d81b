# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A value of the wrong type is refused by its name, before anything is sent, and is not shown."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.couchpy.couchdb.plugins.module_utils.client import Client
from ansible_collections.couchpy.couchdb.plugins.module_utils.errors import InvalidInput
from ansible_collections.couchpy.couchdb.tests.unit.wire import URL, Wire, client

# Each client is made where it is used, in a test that takes the place of the server.
# pylint: disable=unnecessary-lambda

VALUES: list[t.Any] = [5, b"c4n4ry", ["c4n4ry"], {"c4n4ry": 1}, 1.5, True]
CALLS: dict[str, tuple[str, t.Callable[[t.Any], t.Any], tuple[type, ...]]] = {
    "Client": ("url", Client, ()),
    "Client(config)": ("config", lambda value: Client(URL, config=value), (dict,)),
    "Client(hthdrs)": ("hthdrs", lambda value: Client(URL, hthdrs=value), (dict,)),
    "Client(cookie)": ("cookie", lambda value: Client(URL, cookie=value), ()),
    "username": ("username", lambda value: client(username=value), ()),
    "password": ("password", lambda value: client(password=value), ()),
    "ca_path": ("ca_path", lambda value: client(ca_path=value), ()),
    "headers": ("headers", lambda value: client(headers=value), (dict,)),
    "timeout": ("timeout", lambda value: client(timeout=value), (int, float)),
    "retries": ("retries", lambda value: client(retries=value), (int,)),
    "Database": ("name", lambda value: client().Database(value), ()),
    "[]": ("name", lambda value: client()[value], ()),
    "put": ("name", lambda value: client().put(value), ()),
    "delete": ("name", lambda value: client().delete(value), ()),
    "config(section)": ("section", lambda value: client().config(value), ()),
    "config(key)": ("key", lambda value: client().config("a", value), ()),
    "addadmin(name)": ("name", lambda value: client().addadmin(value, "pw"), ()),
    "addadmin(password)": ("password", lambda value: client().addadmin("ann", value), ()),
    "deladmin": ("name", lambda value: client().deladmin(value), ()),
    "nodes": ("nodes", lambda value: client().nodes(value), (list,)),
    "nodes(name)": ("nodes", lambda value: client().nodes([value]), ()),
    "users": ("names", lambda value: client().users(value), (list,)),
    "users(name)": ("names", lambda value: client().users([value]), ()),
    "dbs_info": ("names", lambda value: client().dbs_info(value), (list,)),
    "dbs_info(name)": ("names", lambda value: client().dbs_info([value]), ()),
    "uuids": ("count", lambda value: client().uuids(value), (int,)),
    "log": ("bytes", lambda value: client().log(value), (int,)),
    "log(offset)": ("offset", lambda value: client().log(offset=value), (int,)),
    "set_admin(name)": ("name", lambda value: client().set_admin(value, "-pbkdf2-"), ()),
    "set_admin": ("hashed", lambda value: client().set_admin("ann", value), ()),
    "set_admin(password)": ("password", lambda value: client().set_admin("ann", "-pbkdf2-", value), ()),
    "request(timeout)": ("timeout", lambda value: client().request("GET", timeout=value), (int, float)),
    "request(retries)": ("retries", lambda value: client().request("GET", retries=value), (int,)),
    "compact": ("ddoc", lambda value: client()["db"].compact(value), ()),
    "delete_index": ("ddoc", lambda value: client()["db"].delete_index(value, "by-a"), ()),
    "remove_index": ("ddoc", lambda value: client()["db"].remove_index(value, "by-a"), ()),
    "attachment": ("name", lambda value: client()["db"].attachment("a", value), ()),
    "get": ("_id", lambda value: client()["db"].get(value), ()),
    "new": ("document", lambda value: client()["db"].new(value), (dict,)),
    "put_document": ("document", lambda value: client()["db"].put_document(value), (dict,)),
    "delete(document)": ("document", lambda value: client()["db"].delete(value), (dict,)),
    "bulk_get": ("ids", lambda value: client()["db"].bulk_get(value), (list,)),
    "bulk_docs": ("documents", lambda value: client()["db"].bulk_docs(value), (list,)),
    "bulk_docs(document)": ("document", lambda value: client()["db"].bulk_docs([value]), (dict,)),
    "put_design_document": ("document", lambda value: client()["db"].put_design_document(value), (dict,)),
    "put_design_document(_id)": ("_id", lambda value: client()["db"].put_design_document({"_id": value}), ()),
    "switch_design_document": ("document", lambda value: client()["db"].switch_design_document(value, 1), (dict,)),
    "create_index": ("index", lambda value: client()["db"].create_index(value), (dict,)),
    "put_index": ("index", lambda value: client()["db"].put_index(value), (dict,)),
    "put_index(ddoc)": ("ddoc", lambda value: client()["db"].put_index({"ddoc": value}), ()),
    "set_revs_limit": ("revs_limit", lambda value: client()["db"].set_revs_limit(value), (int,)),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_value_of_the_wrong_type_is_refused_before_anything_is_sent(wire: Wire, call: str) -> None:
    option, function, taken = CALLS[call]
    for value in VALUES:
        if type(value) in taken:
            continue
        with pytest.raises(InvalidInput) as caught:
            function(value)
        assert caught.value.option == option
        assert f"is of the type {type(value).__name__}. Use " in str(caught.value)
        assert "c4n4ry" not in str(caught.value)
    assert wire.asked == []


def test_limits_of_the_wrong_type_are_refused_before_the_node_is_asked(wire: Wire) -> None:
    with pytest.raises(InvalidInput, match=r"^timeout: is of the type str. Use a number of seconds"):
        client().up(timeout="c4n4ry")
    assert wire.asked == ["GET /"]


NAMES: dict[str, tuple[str, t.Callable[[str], t.Any]]] = {
    "get": ("_id", lambda step: client()["db"].get(f"_design/{step}")),
    "put_document": ("_id", lambda step: client()["db"].put_document({"_id": f"_local/{step}"})),
    "delete(document)": ("_id", lambda step: client()["db"].delete(step, "1-a")),
    "put_design_document": ("_id", lambda step: client()["db"].put_design_document({"_id": f"_design/{step}"})),
    "switch_design_document": (
        "_id",
        lambda step: client()["db"].switch_design_document({"_id": f"_design/{step}"}, 1),
    ),
    "put_design_document({})": ("_id", lambda step: client()["db"].put_design_document({})),
    "create_index(ddoc)": ("ddoc", lambda step: client()["db"].create_index({"ddoc": f"_design/{step}"})),
    "put_index(name)": ("name", lambda step: client()["db"].put_index({"ddoc": "app", "name": step})),
}


@pytest.mark.parametrize("call", NAMES)
@pytest.mark.parametrize("step", [".", ".."])
def test_a_name_that_no_url_can_contain_is_refused_before_anything_is_sent(wire: Wire, call: str, step: str) -> None:
    option, function = NAMES[call]
    with pytest.raises(InvalidInput) as caught:
        function(step)
    assert caught.value.option == option
    assert wire.asked == []
