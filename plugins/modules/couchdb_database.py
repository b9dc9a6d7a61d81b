#!/usr/bin/python

# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

"""couchdb_database: databases with their security objects and limits."""

from __future__ import annotations

DOCUMENTATION = r"""
module: couchdb_database
short_description: Manage databases of CouchDB
version_added: 1.0.0
author: CouchPy contributors (@couchpy)
description:
  - Creates and deletes databases, and sets who may use them and how many revisions they remember.
  - Manages any number of databases. One request reads a hundred of them, and only databases that differ are written.
extends_documentation_fragment:
  - couchpy.couchdb.connection
  - couchpy.couchdb.databases
  - couchpy.couchdb.attributes
  - couchpy.couchdb.attributes.writing
options:
  name:
    description:
      - Names of the databases.
      - A name begins with a lowercase letter and consists of lowercase letters, digits and any of V(_ $ ( \) + - /). The names of CouchDB's
        system databases, such as V(_users), are also valid.
    type: list
    elements: str
    aliases: [names]
  state:
    description:
      - V(present) ensures that the databases exist.
      - V(absent) deletes them, B(with all their documents).
    type: str
    choices: [present, absent]
    default: present
  wait_timeout:
    description: How long a resharding job may make no progress, in seconds. See O(reshard).
    type: int
    default: 3600
    version_added: 1.0.0
notes:
  - O(security) and O(revs_limit) cost one more request each for every database, as CouchDB has no call for several databases. These
    requests are sent in parallel.
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
    login_user: admin
    login_password: "{{ couchdb_admin_password }}"
    name:
      - orders
      - customers

- name: Split the shards of a database that has grown
  couchpy.couchdb.couchdb_database:
    name: orders
    shards: 8
    reshard: true

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

- name: Manage several databases with options of their own, all for the role shop
  couchpy.couchdb.couchdb_database:
    security:
      members:
        roles: [shop]
    databases:
      - name: orders
        revs_limit: 100
      - name: customers
        shards: 8
      - name: audit
        security:
          members:
            roles: [auditors]
      - name: carts
        state: absent

- name: Delete a database and all its documents
  couchpy.couchdb.couchdb_database:
    name: orders_2019
    state: absent
"""

RETURN = r"""
databases:
  description: The databases after the task, or as predicted in check mode, in the order of the task.
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
      description: Whether the database exists.
      type: bool
      returned: always
      sample: true
    info:
      description:
        - CouchDB's information about the database, such as C(doc_count), C(sizes) in bytes and C(cluster). V(null) if it does not exist.
        - In check mode, for a database that would be created, what can be predicted of it.
      type: dict
      returned: always
      sample: {"db_name": "orders", "doc_count": 0, "cluster": {"q": 2, "n": 1, "w": 1, "r": 1}}
    security:
      description: Its security object, if O(security) is set. V(null) otherwise, and if the database does not exist.
      type: dict
      returned: always
      sample: {"admins": {"names": [], "roles": ["ops"]}, "members": {"names": [], "roles": ["sensors"]}}
    revs_limit:
      description: How many revisions it remembers, if O(revs_limit) is set. V(null) otherwise, and if the database does not exist.
      type: int
      returned: always
      sample: 1000
"""

from ansible_collections.couchpy.couchdb.plugins.module_utils._engine.module import run
from ansible_collections.couchpy.couchdb.plugins.module_utils._resources.databases import RESOURCE


def main() -> None:
    """Run the module."""
    run(RESOURCE)


if __name__ == "__main__":
    main()
