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
  databases:
    description:
      - Several databases that are not all alike, each with options of its own. The options of the task apply to those that lack them.
    type: list
    elements: dict
    suboptions:
      name:
        description:
          - Name of the database, as in O(name).
        type: str
        required: true
      state:
        description:
          - Whether the database is to be there. V(absent) deletes it, B(with all documents in it).
        type: str
        choices: [present, absent]
      shards:
        description:
          - Number of shards, as in O(shards).
        type: int
      replicas:
        description:
          - Number of copies of each shard, as in O(replicas).
        type: int
      partitioned:
        description:
          - Whether the database is partitioned, as in O(partitioned).
        type: bool
      security:
        description:
          - Who may use the database, as in O(security).
        type: dict
      revs_limit:
        description:
          - How many revisions of a document it remembers, as in O(revs_limit).
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
    login_user: admin
    login_password: "{{ couchdb_admin_password }}"
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

- name: Many databases, each with what is its own, and all for the role shop
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

from ansible_collections.couchpy.couchdb.plugins.module_utils._engine.module import run
from ansible_collections.couchpy.couchdb.plugins.module_utils._resources.databases import RESOURCE


def main() -> None:
    """Run the module."""
    run(RESOURCE)


if __name__ == "__main__":
    main()
