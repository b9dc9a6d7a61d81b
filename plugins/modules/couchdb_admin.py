#!/usr/bin/python

# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

"""couchdb_admin: server admins are there with their passwords, the same on every node, or are not."""

from __future__ import annotations

DOCUMENTATION = r"""
module: couchdb_admin
short_description: Manage server admins of CouchDB
version_added: 1.0.0
author: CouchPy contributors (@couchpy)
description:
  - Creates and removes server admins, and sets their passwords.
  - Takes one admin, or any number of them in O(admins). All are read together.
  - The password is hashed by the module, in the way of the server's version, and the same hash goes to every node, as a cluster needs it.
    The password itself is not sent, and reaches no log.
  - Whether an admin has the password already is found out by computing its hash, never by a login.
extends_documentation_fragment:
  - couchpy.couchdb.connection
  - couchpy.couchdb.connection.login_password
  - couchpy.couchdb.attributes
  - couchpy.couchdb.attributes.writing
options:
  name:
    description:
      - Name of a single server admin.
      - CouchDB keeps the names as keys of an ini file. Those that it could not keep, or that could not log in (with a colon), are refused.
    type: str
  password:
    description:
      - Password that the server admin is to have.
    type: str
  password_hash:
    description:
      - Hash of the password, as CouchDB keeps it in the section C(admins). It is taken as it is.
      - The filter P(couchpy.couchdb.password_hash#filter) makes one.
      - A new password needs a new salt. From CouchDB 3.4 on, a hash with the salt of the one that is there is refused, as CouchDB would
        go on taking the old password.
    type: str
  state:
    description:
      - V(present) sees that the admin is there.
      - V(absent) removes it. The last one of a CouchDB 3 is not removed, as CouchDB 3 doesn't start without one.
    type: str
    choices: [present, absent]
    default: present
  update_password:
    description:
      - V(always) sees that an admin who is there has this password.
      - V(on_create) leaves the password of one who is there alone. On nodes that lack the admin, it gets the hash that the others have.
    type: str
    choices: [always, on_create]
    default: always
  admins:
    description:
      - Several server admins, each with the options of a single one. O(state) and O(update_password) apply to those that have none of their
        own.
    type: list
    elements: dict
    suboptions:
      name:
        description:
          - Name of the server admin, as in O(name).
        type: str
        required: true
      password:
        description:
          - Password that the server admin is to have.
        type: str
      password_hash:
        description:
          - Hash of the password, as in O(password_hash).
        type: str
      state:
        description:
          - Whether the admin is to be there. If not set, O(state) applies.
        type: str
        choices: [present, absent]
      update_password:
        description:
          - Whether the password of one who is there is looked at. If not set, O(update_password) applies.
        type: str
        choices: [always, on_create]
  nodes:
    description:
      - Names of the nodes to manage, such as V(couchdb@10.0.0.1). V(all) means each node of the cluster, V(_local) the one that answers.
      - CouchDB 1.x is one node, V(_local).
      - A member of the cluster that is down doesn't keep the others from being managed. The task fails once they are, and tells what the
        one that is down missed.
    type: list
    elements: str
    default: [all]
notes:
  - In C(module_defaults) for the action group, name the credentials O(login_user) and O(login_password), which mean the same in every module.
  - A task can change the password of the very admin that it logs in as. It goes on with the new one.
seealso:
  - name: Server administrators
    description: How CouchDB keeps them.
    link: https://docs.couchdb.org/en/stable/config/auth.html#server-administrators
  - module: couchpy.couchdb.couchdb_user
  - plugin: couchpy.couchdb.password_hash
    plugin_type: filter
"""

EXAMPLES = r"""
- name: An admin, the same on every node
  couchpy.couchdb.couchdb_admin:
    url: http://db.example.com:5984/
    login_user: admin
    login_password: "{{ couchdb_admin_password }}"
    name: deploy
    password: "{{ couchdb_deploy_password }}"

- name: Change the password of the admin that this task logs in as
  couchpy.couchdb.couchdb_admin:
    login_user: admin
    login_password: "{{ couchdb_old_password }}"
    name: admin
    password: "{{ couchdb_new_password }}"

- name: An admin by a hash that was made elsewhere
  couchpy.couchdb.couchdb_admin:
    name: monitoring
    password_hash: "{{ couchdb_monitoring_hash }}"

- name: Several admins
  couchpy.couchdb.couchdb_admin:
    admins:
      - name: deploy
        password: "{{ couchdb_deploy_password }}"
      - name: monitoring
        password_hash: "{{ couchdb_monitoring_hash }}"
      - name: intern
        state: absent

- name: Remove an admin
  couchpy.couchdb.couchdb_admin:
    name: deploy
    state: absent
"""

RETURN = r"""
admin:
  description: The single server admin, as in RV(admins).
  type: dict
  returned: when O(name) is given
  sample: {"name": "deploy", "scheme": "pbkdf2", "iterations": 600000, "nodes": ["couchdb@10.0.0.1"]}
admins:
  description: The server admins as they are after the task, or would be in check mode, in the order of the task.
  type: list
  elements: dict
  returned: success
  contains:
    name:
      description: Name of the admin.
      type: str
      returned: always
      sample: deploy
    scheme:
      description: How the password is hashed, V(pbkdf2) or V(simple). V(null) when there is no such admin, or its hash is none that is known.
      type: str
      returned: always
      sample: pbkdf2
    iterations:
      description: Rounds of the hash. V(null) when it has none.
      type: int
      returned: always
      sample: 600000
    nodes:
      description: Names of the managed nodes that have the admin.
      type: list
      elements: str
      returned: always
      sample: [couchdb@10.0.0.1, couchdb@10.0.0.2, couchdb@10.0.0.3]
nodes:
  description: What each managed node had and has, by its name and that of the admin. Either is V(null) when there is no such admin.
  type: dict
  returned: success
  sample:
    couchdb@10.0.0.1:
      deploy:
        before: {scheme: pbkdf2, iterations: 10}
        after: {scheme: pbkdf2, iterations: 600000}
nodes_down:
  description: The nodes that could not be reached; each is to be managed again once it is back.
  type: list
  elements: str
  returned: success, and failure because of them
  sample: [couchdb@10.0.0.3]
"""

import typing as t
from dataclasses import dataclass, field, replace

from ansible_collections.couchpy.couchdb.plugins.module_utils import _admins, _passwords
from ansible_collections.couchpy.couchdb.plugins.module_utils._client.admins import Admins
from ansible_collections.couchpy.couchdb.plugins.module_utils._dialect import Dialect
from ansible_collections.couchpy.couchdb.plugins.module_utils._module import LOGIN_PASSWORD, Resource, run
from ansible_collections.couchpy.couchdb.plugins.module_utils._names import check_admin_name
from ansible_collections.couchpy.couchdb.plugins.module_utils._plan import ASK, DONT, Change, Plan, node_shortfall
from ansible_collections.couchpy.couchdb.plugins.module_utils.errors import CouchDBError, InvalidInput

_ADMIN: dict[str, t.Any] = {
    "password": {"type": "str", "no_log": True},
    "password_hash": {"type": "str", "no_log": True},
    "state": {"type": "str", "choices": ["present", "absent"]},
    "update_password": {"type": "str", "choices": ["always", "on_create"], "no_log": False},
}

ARGUMENT_SPEC: dict[str, t.Any] = {
    **_ADMIN,
    "name": {"type": "str"},
    "state": {**_ADMIN["state"], "default": "present"},
    "update_password": {**_ADMIN["update_password"], "default": "always"},
    "login_password": LOGIN_PASSWORD,
    "admins": {
        "type": "list",
        "elements": "dict",
        "options": {"name": {"type": "str", "required": True}, **_ADMIN},
        "mutually_exclusive": [("password", "password_hash")],
    },
    "nodes": {"type": "list", "elements": "str", "default": ["all"]},
}


@dataclass(frozen=True)
class Desired:
    """The admins by name, as they are given, and the nodes that are to have them. ``single`` is the name of a single one."""

    admins: dict[str, dict[str, t.Any]]
    nodes: list[str]
    single: str | None


@dataclass(frozen=True)
class Observed:
    """What there is.

    ``admins`` are their hashes by node and name. ``own`` is the node that answers, and the admin that the task goes on
    as once it has changed there: the one it logs in as, or at an admin ``party`` the first; otherwise None. ``down`` are
    the nodes that are.
    """

    admins: dict[str, dict[str, str]]
    hashing: dict[str, t.Any]
    dialect: Dialect
    own: tuple[str, str] | None = None
    party: bool = False
    down: list[str] = field(default_factory=list)


def desire(params: dict[str, t.Any]) -> Desired:
    """The options, checked. Raises InvalidInput for a name, password or hash that can't work, or a name given twice."""
    desired: dict[str, dict[str, t.Any]] = {}
    for number, given in enumerate([params] if params["admins"] is None else params["admins"]):
        where = "" if given is params else f"admins[{number}]."
        admin = {**given, **{option: given[option] or params[option] for option in ("state", "update_password")}}
        check_admin_name(admin["name"], f"{where}name")
        _passwords.check_given(admin, where)
        if admin["state"] == "present" and admin["password"] is None and admin["password_hash"] is None:
            raise InvalidInput(f"{where}password", f"must be given for {admin['name']}, or password_hash")
        if admin["name"] in desired:
            raise InvalidInput(f"{where}name", f"{admin['name']} is there twice")
        desired[admin["name"]] = {**admin, "where": where}
    return Desired(desired, params["nodes"], params["name"])


def observe(client: Admins, desired: Desired) -> Observed:
    """The admins of each node."""
    found = client.config_of_nodes(desired.nodes)
    settings = {node: sections for node, sections in found.items() if sections is not None}
    admins = {node: dict(sections.get("admins", {})) for node, sections in settings.items()}
    down = [node for node in found if node not in settings]
    own = next((name for name in desired.admins if client.is_anonymous or client.logs_in_as(name)), None)
    own_node = client.local_node() if own and len(found) > 1 else next(iter(found))
    hashing = client.dialect.hashing(next(iter(settings.values()), {}))
    return Observed(admins, hashing, client.dialect, (own_node, own) if own else None, client.is_anonymous, down)


def plan(desired: Desired, observed: Observed) -> Plan:
    """On which nodes the admins must be written or removed. Derivations, which take time, are done side by side."""
    hashes = _passwords.side_by_side(
        lambda admin: _admins.wanted_hash(admin, observed.admins, observed.hashing, observed.dialect),
        list(desired.admins.values()),
    )
    changes: list[Change] = []
    predicted = {node: dict(admins) for node, admins in observed.admins.items()}
    for (name, admin), wanted in zip(desired.admins.items(), hashes):
        for node, admins in predicted.items():
            held = admins.pop(name, None)
            if held != wanted:
                changes.append(_admins.change(admin, node, held, wanted, observed.own, observed.party))
            if wanted is not None:
                admins[name] = wanted
    for node, admins in predicted.items():
        if not admins and observed.dialect.needs_admin:
            raise InvalidInput(
                "state", f"nobody would be left as a server admin of {node}: CouchDB 3 would not start any more"
            )
    own_admin = desired.admins[observed.own[1]] if observed.own else {}
    locked_out = own_admin.get("password") is None and any(change.path == observed.own for change in changes)
    missed = [
        f"the {'removal' if wanted is None else 'hash'} of {name}" for name, wanted in zip(desired.admins, hashes)
    ]
    return Plan(
        tuple(changes),
        replace(observed, admins=predicted),
        afterwards=DONT if locked_out else ASK,
        shortfall=node_shortfall(observed.down, missed),
    )


def report(desired: Desired, observed: Observed, changes: list[Change]) -> dict[str, t.Any]:
    """The admins in the order of the task, and what each node had and has."""
    shown = []
    for name, admin in desired.admins.items():
        held = {node: admins[name] for node, admins in observed.admins.items() if name in admins}
        if held and admin["state"] == "absent":
            nodes = ", ".join(held)
            raise CouchDBError(f"{name} is still an admin of {nodes}, whose files name it: take it out of there")
        stored = _admins.shown(next(iter(held.values()), None))
        shown.append(
            {"name": name, "scheme": stored["scheme"], "iterations": stored["iterations"], "nodes": list(held)}
        )
    return {
        "admins": shown,
        **({"admin": shown[0]} if desired.single else {}),
        "nodes": _admins.by_node(list(desired.admins), observed.admins, changes),
        "nodes_down": observed.down,
    }


def main() -> None:
    """Run the module."""
    run(
        Resource(desire, observe, report, plan, client=Admins),
        ARGUMENT_SPEC,
        mutually_exclusive=[
            ("password", "password_hash"),
            *((name, "admins") for name in ("name", "password", "password_hash")),
        ],
        required_one_of=[("name", "admins")],
    )


if __name__ == "__main__":
    main()
