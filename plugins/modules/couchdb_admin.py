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
  - A O(password) in the C(module_defaults) of the action group is refused, as it would become the password of managed accounts.
    Set O(login_user) and O(login_password) there.
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

from ansible_collections.couchpy.couchdb.plugins.module_utils._engine.module import run
from ansible_collections.couchpy.couchdb.plugins.module_utils._resources.admins import RESOURCE


def main() -> None:
    """Run the module."""
    run(RESOURCE)


if __name__ == "__main__":
    main()
