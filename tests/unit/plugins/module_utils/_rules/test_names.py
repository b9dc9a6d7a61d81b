# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names that CouchDB accepts are accepted, and no others."""

from __future__ import annotations

import pytest
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules import names
from ansible_collections.couchpy.couchdb.plugins.module_utils.errors import InvalidInput


@pytest.mark.parametrize(
    "name", ["a", "a0_$()+-/", "a/b", "_users", "_replicator", "_global_changes", "shop/_replicator", "a" * 238]
)
def test_a_database_name_is_accepted(name: str) -> None:
    names.check_database_name(name)


@pytest.mark.parametrize(
    "name",
    ["", "UPPER", "9x", "_other", "a b", "a.b", "a%", "ä", "a\n", "/a", "_users/x", "X/_users", "a" * 239, "a?b", ".."],
)
def test_an_invalid_database_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="^name: "):
        names.check_database_name(name)


@pytest.mark.parametrize("name", ["bob", "a/b c", "a;b", "a=b", "é", 'a"b'])
def test_an_admin_name_is_accepted(name: str) -> None:
    names.check_admin_name(name)


@pytest.mark.parametrize("name", ["", " a", "a ", "a:b", ";a", "a ;b", "a = b", "a =", "a\nb", "[a]", "☃", ".", ".."])
def test_an_invalid_admin_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="^name: "):
        names.check_admin_name(name)


@pytest.mark.parametrize("name", ["couchdb@10.0.0.1", "node1@127.0.0.1", "couchdb@db.example.com", "a@b"])
def test_a_node_name_is_accepted(name: str) -> None:
    names.check_node_name(name)


@pytest.mark.parametrize("name", ["", "couchdb", "@host", "couchdb@", "a b@host", "_local@host", "nonode@nohost"])
def test_an_invalid_node_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="^nodes: "):
        names.check_node_name(name)


@pytest.mark.parametrize("name", ["_dbs", "_nodes"])
def test_the_databases_of_a_node_can_not_be_deleted(name: str) -> None:
    with pytest.raises(InvalidInput, match=f"^name: {name} holds"):
        names.check_deletable(name, "name")
    for other in ("a", "_users", "a/_nodes"):
        names.check_deletable(other, "name")


@pytest.mark.parametrize(
    ("value", "problem"),
    [(10**308, False), (-(10**308), False), ({"a": [10**309]}, True), (-(10**309), True), ("1" * 400, False)],
)
def test_a_number_that_couchdb_can_not_store_is_refused(value: object, problem: bool) -> None:
    assert bool(names.json_problem(value)) is problem
