#!/usr/bin/python

# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

"""couchdb_admin: server admins with their passwords, the same on every node."""

from __future__ import annotations

DOCUMENTATION = r"""
module: couchdb_admin
short_description: Manage server admins of CouchDB
version_added: 1.0.0
author: CouchPy contributors (@couchpy)
description:
  - Creates and removes server admins, and sets their passwords.
  - Manages one admin, or several with O(admins). All are read together.
  - The module hashes the password with the hash scheme that the server's version uses, and sends the same hash to every node, as a cluster
    requires. The password itself is not sent and is in no log.
  - Whether an admin has the password already is checked against the stored hash, never by a login.
extends_documentation_fragment:
  - couchpy.couchdb.connection
  - couchpy.couchdb.admins
  - couchpy.couchdb.attributes
  - couchpy.couchdb.attributes.writing
options:
  name:
    description:
      - Name of a single server admin.
      - CouchDB stores the names as keys of an ini file. Names that the file cannot contain, or that cannot log in (with a colon), are refused.
    type: str
  state:
    description:
      - V(present) ensures that the admin exists.
      - V(absent) removes the admin. The last admin of a CouchDB 3 is not removed, as CouchDB 3 does not start without one.
      - For O(admins), it applies to the admins that do not set it.
    type: str
    choices: [present, absent]
    default: present
  update_password:
    description:
      - V(always) updates the password of an existing admin if it differs.
      - V(on_create) keeps the password of an existing admin. Nodes that lack the admin get the hash of the other nodes.
      - For O(admins), it applies to the admins that do not set it.
    type: str
    choices: [always, on_create]
    default: always
  nodes:
    description:
      - Names of the nodes to manage, such as V(couchdb@10.0.0.1). V(all) means each node of the cluster, V(_local) the node that answers.
      - Beside other names, V(_local) is replaced by the name of its node, and each node is managed once.
      - CouchDB 1.x is one node, V(_local).
      - If a member of the cluster is down, the others are managed. The task then fails and lists what the node that is down missed.
    type: list
    elements: str
    default: [all]
notes:
  - The task is refused if C(module_defaults) of the action group sets C(password), as it would become the password of managed accounts.
    Set O(login_user) and O(login_password) there.
  - A task can change the password of the admin that it logs in as. It continues with the new one. The node that answers changes last.
  - In a play for several nodes of one cluster, set C(run_once=true) on such a task, as it changes all nodes. Without it, each host that
    begins after the password has changed sends one failed login with the old one, and CouchDB 3.4 and later locks an account for five minutes
    after five failed logins from one IP address.
seealso:
  - name: Server administrators
    description: How CouchDB stores them.
    link: https://docs.couchdb.org/en/stable/config/auth.html#server-administrators
  - module: couchpy.couchdb.couchdb_user
  - plugin: couchpy.couchdb.password_hash
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Create an admin on every node
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
  run_once: true

- name: Create an admin from a hash
  couchpy.couchdb.couchdb_admin:
    name: monitoring
    password_hash: "{{ couchdb_monitoring_hash }}"

- name: Manage several admins
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
  returned: when O(name) is set
  sample: {"name": "deploy", "scheme": "pbkdf2", "iterations": 600000, "nodes": ["couchdb@10.0.0.1"]}
admins:
  description: The server admins after the task, or as predicted in check mode, in the order of the task.
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
      description: How the password is hashed, V(pbkdf2) or V(simple). V(null) if the admin does not exist, or the hash scheme is unknown.
      type: str
      returned: always
      sample: pbkdf2
    iterations:
      description: Iterations of the hash. V(null) if it has none.
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
  description: The admins before and after the task, by the name of the managed node and that of the admin. V(null) if the admin does not exist.
  type: dict
  returned: success
  sample:
    couchdb@10.0.0.1:
      deploy:
        before: {scheme: pbkdf2, iterations: 10}
        after: {scheme: pbkdf2, iterations: 600000}
nodes_down:
  description: Names of the nodes that are down. Run the task again once they are up.
  type: list
  elements: str
  returned: success, and failure because nodes are down
  sample: [couchdb@10.0.0.3]
"""

from ansible_collections.couchpy.couchdb.plugins.module_utils._engine.module import run
from ansible_collections.couchpy.couchdb.plugins.module_utils._resources.admins import RESOURCE


def main() -> None:
    """Run the module."""
    run(RESOURCE)


if __name__ == "__main__":
    main()
