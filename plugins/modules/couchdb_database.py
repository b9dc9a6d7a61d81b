#!/usr/bin/python

# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

"""couchdb_database: databases are there or not, for those who may use them, with their limits."""

from __future__ import annotations

DOCUMENTATION = r"""
module: couchdb_database
short_description: Manage databases of CouchDB
version_added: 1.0.0
author: CouchPy contributors (@couchpy)
description:
  - Creates and deletes databases, and sets who may use them and how many revisions they remember.
  - Takes any number of names. All are read with one request for each hundred, and only those that differ are written.
extends_documentation_fragment:
  - couchpy.couchdb.connection
  - couchpy.couchdb.connection.password
  - couchpy.couchdb.attributes
  - couchpy.couchdb.attributes.writing
options:
  name:
    description:
      - Names of the databases.
      - A name begins with a lowercase letter and holds lowercase letters, digits and any of C(_ $ ( ) + - /). CouchDB's system databases,
        such as V(_users), can be named too.
    type: list
    elements: str
    required: true
    aliases: [names]
  state:
    description:
      - V(present) sees that the databases are there.
      - V(absent) deletes them, B(with all documents in them).
    type: str
    choices: [present, absent]
    default: present
  shards:
    description:
      - Number of shards (C(q)) for a database that is to be created. If not set, the server's setting C(cluster/q) applies.
      - It can't be changed after creation. The task fails when the database is there with another number.
    type: int
  replicas:
    description:
      - Number of copies (C(n)) of each shard for a database that is to be created. If not set, the server's setting C(cluster/n) applies.
      - CouchDB takes more than there are nodes, and makes as many as there are.
      - It can't be changed here after creation. The task warns when the database is there with fewer or more than it could have.
    type: int
  partitioned:
    description:
      - Whether a database that is to be created is partitioned. Needs CouchDB 3.0.
      - It can't be changed after creation. The task fails when the database is there and differs.
    type: bool
  security:
    description:
      - Who may use the databases, as a mapping with C(admins), who may change design documents and this security object, and C(members),
        who may read and write documents. Each is a mapping with C(names), a list of user names, and C(roles), a list of roles.
      - What is not given is left as it is. The order of names and roles doesn't matter.
      - With no names and no roles among C(members), everybody may read and write.
    type: dict
  revs_limit:
    description:
      - How many revisions of a document the databases remember, V(1) or more.
    type: int
notes:
  - With O(security) or O(revs_limit), one request more is sent for each database and each of the two, as CouchDB has no call for many. They
    are sent side by side.
seealso:
  - name: Databases
    description: The calls that this module uses.
    link: https://docs.couchdb.org/en/stable/api/database/common.html
  - name: Security objects
    description: What admins and members may do.
    link: https://docs.couchdb.org/en/stable/api/database/security.html
  - module: couchpy.couchdb.couchdb_info
"""

EXAMPLES = r"""
- name: Create two databases
  couchpy.couchdb.couchdb_database:
    url: http://db.example.com:5984/
    username: admin
    password: "{{ couchdb_admin_password }}"
    name:
      - orders
      - customers

- name: Create a partitioned database for one role
  couchpy.couchdb.couchdb_database:
    name: readings
    shards: 4
    partitioned: true
    revs_limit: 20
    security:
      admins:
        names: []
        roles: [ops]
      members:
        names: []
        roles: [sensors, dashboards]

- name: Delete a database and all that is in it
  couchpy.couchdb.couchdb_database:
    name: orders_2019
    state: absent
"""

RETURN = r"""
databases:
  description: The databases as they are after the task, or would be in check mode, in the order of their names in the task.
  type: list
  elements: dict
  returned: success
  contains:
    name:
      description: Name of the database.
      type: str
      returned: always
      sample: orders
    exists:
      description: Whether it is there.
      type: bool
      returned: always
      sample: true
    info:
      description:
        - What CouchDB tells of the database, such as C(doc_count), C(sizes) in bytes and C(cluster). V(null) when it is not there.
        - In check mode, for a database that would be created, what can be known of it.
      type: dict
      returned: always
      sample: {"db_name": "orders", "doc_count": 0, "cluster": {"q": 2, "n": 1, "w": 1, "r": 1}}
    security:
      description: Its security object, when O(security) is given. V(null) otherwise, and when it is not there.
      type: dict
      returned: always
      sample: {"admins": {"names": [], "roles": ["ops"]}, "members": {"names": [], "roles": ["sensors"]}}
    revs_limit:
      description: How many revisions it remembers, when O(revs_limit) is given. V(null) otherwise, and when it is not there.
      type: int
      returned: always
      sample: 1000
"""

import typing as t
from dataclasses import dataclass

from ansible_collections.couchpy.couchdb.plugins.module_utils._dialect import Dialect
from ansible_collections.couchpy.couchdb.plugins.module_utils._module import Resource, run
from ansible_collections.couchpy.couchdb.plugins.module_utils._names import check_database_name
from ansible_collections.couchpy.couchdb.plugins.module_utils._plan import Change, Plan
from ansible_collections.couchpy.couchdb.plugins.module_utils.client import Client
from ansible_collections.couchpy.couchdb.plugins.module_utils.database import given_security, merged_security
from ansible_collections.couchpy.couchdb.plugins.module_utils.errors import InvalidInput

ARGUMENT_SPEC: dict[str, t.Any] = {
    "name": {"type": "list", "elements": "str", "required": True, "aliases": ["names"]},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "shards": {"type": "int"},
    "replicas": {"type": "int"},
    "partitioned": {"type": "bool"},
    "security": {"type": "dict"},
    "revs_limit": {"type": "int"},
}


@dataclass(frozen=True)
class Desired:
    """The databases by name, whether they are to be there, and what is given of how they are to be."""

    names: list[str]
    present: bool
    creation: dict[str, t.Any]
    security: dict[str, dict[str, list[str]]] | None
    revs_limit: int | None


@dataclass(frozen=True)
class Observed:
    """What there is: name → database, as report() gives it, the server's dialect and its number of nodes."""

    databases: dict[str, dict[str, t.Any]]
    dialect: Dialect
    nodes: int = 1


def desire(params: dict[str, t.Any]) -> Desired:
    """The options, checked. Raises InvalidInput for names and values that CouchDB doesn't take."""
    for name in params["name"]:
        check_database_name(name)
    for option in ("shards", "replicas", "revs_limit"):
        if params[option] is not None and params[option] < 1:
            raise InvalidInput(option, f"is {params[option]}, and must be 1 or more")
    return Desired(
        names=list(dict.fromkeys(params["name"])),
        present=params["state"] == "present",
        creation={option: params[option] for option in ("shards", "replicas", "partitioned")},
        security=None if params["security"] is None else given_security(params["security"]),
        revs_limit=params["revs_limit"],
    )


def observe(client: Client, desired: Desired) -> Observed:
    """The databases as they are. Security and limits are read only where they are declared."""
    if desired.present:
        client.dialect.check_databases(desired.names, revs_limit=desired.revs_limit, **desired.creation)
    found = {name: _database(name, info) for name, info in client.dbs_info(desired.names).items()}
    there = [name for name in desired.names if found[name]["exists"]] if desired.present else []
    if desired.security is not None:
        for name, security in client.securities(there).items():
            found[name]["security"] = security
    if desired.revs_limit is not None:
        for name, limit in client.revs_limits(there).items():
            found[name]["revs_limit"] = limit
    wanted = desired.creation["replicas"]
    bounded = [
        name for name in desired.names if _copies(found[name]) is None or wanted not in (None, _copies(found[name]))
    ]
    # How many copies there can be is asked only where that matters: of what is to be created, or has others than wanted.
    nodes = len(client.membership()["cluster_nodes"]) if desired.present and bounded else 1
    return Observed(found, client.dialect, nodes)


def plan(desired: Desired, observed: Observed) -> Plan:
    """Which databases must be created, changed, deleted."""
    changes: list[Change] = []
    warnings: list[str] = []
    predicted: dict[str, dict[str, t.Any]] = {}
    for name in desired.names:
        held = observed.databases[name]
        database = dict(held)
        if not desired.present:
            predicted[name] = _database(name, None)
            if database["exists"]:
                changes.append(
                    Change("delete", "database", (name,), _shown(database), None, "delete_database", database=name)
                )
            continue
        if database["exists"]:
            warnings += _unchangeable(desired, database, observed.nodes)
        else:
            changes.append(_creation(desired, database, observed))
        changes += _adjustments(desired, held, database)
        predicted[name] = database
    return Plan(tuple(changes), Observed(predicted, observed.dialect, observed.nodes), tuple(warnings))


def report(desired: Desired, observed: Observed, changes: list[Change]) -> dict[str, t.Any]:
    """The databases in the order of their names in the task."""
    return {"databases": [observed.databases[name] for name in desired.names]}


def _database(name: str, info: dict[str, t.Any] | None) -> dict[str, t.Any]:
    return {"name": name, "exists": info is not None, "info": info, "security": None, "revs_limit": None}


def _shown(database: dict[str, t.Any]) -> dict[str, t.Any]:
    info = database["info"]
    return {name: info[name] for name in ("doc_count", "cluster", "props") if name in info}


def _copies(database: dict[str, t.Any]) -> int | None:
    copies: int | None = (database["info"] or {}).get("cluster", {}).get("n")
    return copies


def _creation(desired: Desired, database: dict[str, t.Any], observed: Observed) -> Change:
    """The change that creates a database; ``database`` becomes what it will be."""
    name, dialect = database["name"], observed.dialect
    database.update(exists=True, info=dialect.new_database(name, observed.nodes, **desired.creation))
    if desired.security is not None:
        database["security"] = dialect.new_security
    if desired.revs_limit is not None:
        database["revs_limit"] = dialect.new_revs_limit
    given = {option: value for option, value in desired.creation.items() if value is not None}
    return Change("create", "database", (name,), None, _shown(database), "put", given, database=name)


def _adjustments(desired: Desired, held: dict[str, t.Any], database: dict[str, t.Any]) -> t.Iterator[Change]:
    """The changes that set security and limits; ``database`` becomes what it will be."""
    if desired.security is not None:
        merged = merged_security(database["security"], desired.security)
        yield from _adjustment("security", held, database, merged, "merge_security", {"given": desired.security})
    if desired.revs_limit is not None:
        limit = desired.revs_limit
        yield from _adjustment("revs_limit", held, database, limit, "set_revs_limit", {"limit": limit})


def _adjustment(
    what: str,
    held: dict[str, t.Any],
    database: dict[str, t.Any],
    wanted: t.Any,
    call: str,
    arguments: dict[str, t.Any],
) -> t.Iterator[Change]:
    name = database["name"]
    if wanted != database[what]:
        yield Change("update", what, (name, what), held[what], wanted, call, arguments, database=name, stage=1)
        database[what] = wanted


def _unchangeable(desired: Desired, database: dict[str, t.Any], nodes: int) -> list[str]:
    """Raise InvalidInput where a database differs in what can't be changed, and give warnings for what it keeps."""
    name, info, wanted = database["name"], database["info"], desired.creation
    held_shards = info.get("cluster", {}).get("q")
    if wanted["shards"] is not None and held_shards != wanted["shards"]:
        raise InvalidInput("shards", f"{name} has {held_shards}, and CouchDB can't change that after creation")
    held_partitioned = bool(info.get("props", {}).get("partitioned"))
    if wanted["partitioned"] is not None and held_partitioned != wanted["partitioned"]:
        is_or_not = "is" if held_partitioned else "is not"
        raise InvalidInput(
            "partitioned", f"{name} {is_or_not} partitioned, and CouchDB can't change that after creation"
        )
    copies = _copies(database)
    if None not in (wanted["replicas"], copies) and copies != min(wanted["replicas"], nodes):
        return [f"{name} keeps {copies} copies of its shards: CouchDB doesn't change that number after creation"]
    return []


def main() -> None:
    """Run the module."""
    run(Resource(desire, observe, report, plan), ARGUMENT_SPEC)


if __name__ == "__main__":
    main()
