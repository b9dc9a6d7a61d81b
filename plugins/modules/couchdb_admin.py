#!/usr/bin/python

# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

"""couchdb_admin: a server admin is there with this password, the same on every node, or is not."""

from __future__ import annotations

DOCUMENTATION = r"""
module: couchdb_admin
short_description: Manage server admins of CouchDB
version_added: 1.0.0
author: CouchPy contributors (@couchpy)
description:
  - Creates and removes server admins, and sets their passwords.
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
      - Name of the server admin.
      - CouchDB keeps the names as keys of an ini file. Those that it could not keep, or that could not log in (with a colon), are refused.
    type: str
    required: true
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

- name: Remove an admin
  couchpy.couchdb.couchdb_admin:
    name: deploy
    state: absent
"""

RETURN = r"""
admin:
  description: The server admin as it is after the task, or would be in check mode.
  type: dict
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
  description: What each managed node had and has, by its name. Either is V(null) when there is no such admin.
  type: dict
  returned: success
  sample:
    couchdb@10.0.0.1:
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

from ansible_collections.couchpy.couchdb.plugins.module_utils import _passwords
from ansible_collections.couchpy.couchdb.plugins.module_utils._dialect import Dialect
from ansible_collections.couchpy.couchdb.plugins.module_utils._module import LOGIN_PASSWORD, Resource, run
from ansible_collections.couchpy.couchdb.plugins.module_utils._names import check_admin_name
from ansible_collections.couchpy.couchdb.plugins.module_utils._plan import ASK, DONT, Change, Plan, node_shortfall
from ansible_collections.couchpy.couchdb.plugins.module_utils.client import Client
from ansible_collections.couchpy.couchdb.plugins.module_utils.errors import CouchDBError, InvalidInput

ARGUMENT_SPEC: dict[str, t.Any] = {
    "name": {"type": "str", "required": True},
    "password": {"type": "str", "no_log": True},
    "login_password": LOGIN_PASSWORD,
    "password_hash": {"type": "str", "no_log": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "update_password": {"type": "str", "choices": ["always", "on_create"], "default": "always", "no_log": False},
    "nodes": {"type": "list", "elements": "str", "default": ["all"]},
}


@dataclass(frozen=True)
class Observed:
    """What there is.

    ``admins`` are their hashes by node and name. ``own_node`` is the node that answers, when the task
    logs in as the admin that it manages, or as nobody; otherwise None. ``down`` are the nodes that are.
    """

    admins: dict[str, dict[str, str]]
    hashing: dict[str, t.Any]
    dialect: Dialect
    own_node: str | None
    down: list[str] = field(default_factory=list)


def desire(params: dict[str, t.Any]) -> dict[str, t.Any]:
    """The options, checked. Raises InvalidInput for a name, password or hash that can't work."""
    check_admin_name(params["name"])
    _passwords.check_given(params)
    return params


def observe(client: Client, desired: dict[str, t.Any]) -> Observed:
    """The admins of each node."""
    found = client.config_of_nodes(desired["nodes"])
    settings = {node: sections for node, sections in found.items() if sections is not None}
    admins = {node: dict(sections.get("admins", {})) for node, sections in settings.items()}
    down = [node for node in found if node not in settings]
    own_node = None
    if client.is_anonymous or client.logs_in_as(desired["name"]):
        own_node = client.local_node() if len(found) > 1 else next(iter(found))
    return Observed(admins, client.dialect.hashing(next(iter(settings.values()), {})), client.dialect, own_node, down)


def plan(desired: dict[str, t.Any], observed: Observed) -> Plan:
    """On which nodes the admin must be written or removed."""
    name = desired["name"]
    wanted = _wanted(desired, observed)
    changes: list[Change] = []
    predicted: dict[str, dict[str, str]] = {}
    for node, admins in observed.admins.items():
        predicted[node] = {other: text for other, text in admins.items() if other != name}
        if wanted is not None:
            predicted[node][name] = wanted
        if admins.get(name) != wanted:
            changes.append(_change(desired, observed, node, wanted))
        if not predicted[node] and observed.dialect.needs_admin:
            raise InvalidInput(
                "state", f"{name} is the last server admin of {node}: CouchDB 3 would not start any more"
            )
    locked_out = desired["password"] is None and any(change.path[0] == observed.own_node for change in changes)
    return Plan(
        tuple(changes),
        replace(observed, admins=predicted),
        afterwards=DONT if locked_out else ASK,
        shortfall=node_shortfall(observed.down, [f"the {'removal' if wanted is None else 'hash'} of {name}"]),
    )


def report(desired: dict[str, t.Any], observed: Observed, changes: list[Change]) -> dict[str, t.Any]:
    """The admin, from the first node that has it, and what each node had and has."""
    held = {node: admins[desired["name"]] for node, admins in observed.admins.items() if desired["name"] in admins}
    if held and desired["state"] == "absent":
        nodes = ", ".join(held)
        raise CouchDBError(f"{desired['name']} is still an admin of {nodes}, whose files name it: take it out of there")
    stored = _shown(next(iter(held.values()), None))
    admin = {
        "name": desired["name"],
        "scheme": stored["scheme"],
        "iterations": stored["iterations"],
        "nodes": list(held),
    }
    told = {}
    for node, admins in observed.admins.items():
        after = _told(admins.get(desired["name"]))
        told[node] = {"before": after, "after": after}
    # The first change of a node knows what was there at first.
    for change in reversed(changes):
        if change.path[0] in told:
            told[change.path[0]]["before"] = change.before and _told(change.before["password"])
    return {"admin": admin, "nodes": told, "nodes_down": observed.down}


def _wanted(desired: dict[str, t.Any], observed: Observed) -> str | None:
    """The hash that every node should hold, None for no admin."""
    if desired["state"] == "absent":
        return None
    held = [admins[desired["name"]] for admins in observed.admins.values() if desired["name"] in admins]
    if held and desired["update_password"] == "on_create":
        return held[0]
    stored = list(filter(None, map(_passwords.parse_or_none, dict.fromkeys(held))))
    wanted = _passwords.settle(stored, desired["password"], desired["password_hash"], observed.hashing)
    problem = observed.dialect.hash_problem(wanted, stored)
    if problem:
        raise InvalidInput("password_hash", problem)
    return str(wanted)


def _change(desired: dict[str, t.Any], observed: Observed, node: str, wanted: str | None) -> Change:
    name, held = desired["name"], observed.admins[node].get(desired["name"])
    own = node == observed.own_node
    if wanted is None:
        call, arguments = "deladmin", {"name": name, "node": node}
    else:
        password = desired["password"] if own else None
        call, arguments = "set_admin", {"name": name, "hashed": wanted, "password": password, "node": node}
    return Change(
        action="delete" if wanted is None else "create" if held is None else "update",
        what="admin",
        path=(node, name),
        before=held and _shown(held),
        after=wanted and _shown(wanted),
        call=call,
        arguments=arguments,
        # The node that answers changes last: with the old password it answers nothing more.
        stage=1 if own else 0,
        may_be_void=wanted is None,
    )


def _told(text: str | None) -> dict[str, t.Any] | None:
    """A hash as a result may hold it, None for no admin."""
    if text is None:
        return None
    stored = _shown(text)
    return {"scheme": stored["scheme"], "iterations": stored["iterations"]}


def _shown(text: str | None) -> dict[str, t.Any]:
    """A hash as a diff may hold it: the diff masks the password."""
    stored = _passwords.parse_or_none(text or "")
    return {"scheme": stored and stored.scheme, "iterations": stored and stored.iterations, "password": text}


def main() -> None:
    """Run the module."""
    run(
        Resource(desire, observe, report, plan),
        ARGUMENT_SPEC,
        mutually_exclusive=[("password", "password_hash")],
        required_if=[("state", "present", ("password", "password_hash"), True)],
    )


if __name__ == "__main__":
    main()
