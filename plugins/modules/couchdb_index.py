#!/usr/bin/python

# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

"""couchdb_index: Mango indexes of databases."""

from __future__ import annotations

DOCUMENTATION = r"""
module: couchdb_index
short_description: Manage Mango indexes of CouchDB
version_added: 1.0.0
author: CouchPy contributors (@couchpy)
description:
  - Creates, changes and removes the indexes that C(_find) uses.
  - Manages one index, or several with O(indexes), of one or more databases. Two requests read a database, and the databases are read in
    parallel. Only indexes that differ are written. An index that has the desired meaning is not rebuilt, whatever its spelling.
  - O(ddoc) and O(name) identify an index. With O(name) only, it is the index of that name in any design document. Without O(name), the
    definition identifies it, so another definition is another index.
  - New indexes are created before old ones are removed. The other indexes of a design document stay, and CouchDB rebuilds them with the
    one that changes.
extends_documentation_fragment:
  - couchpy.couchdb.connection
  - couchpy.couchdb.indexes
  - couchpy.couchdb.attributes
  - couchpy.couchdb.attributes.writing
options:
  database:
    description:
      - Name of the database. It must exist.
      - For O(indexes), it applies to the indexes that do not set it.
    type: str
  state:
    description:
      - V(present) ensures that the index exists, V(absent) removes it.
    type: str
    choices: [present, absent]
    default: present
notes:
  - CouchDB builds an index in the background, or at its first query. The module does not wait for it.
  - Each node of a cluster uses a new index for queries after some seconds.
  - CouchDB 1.x has no Mango indexes.
seealso:
  - name: Indexes
    description: How to write indexes and their selectors.
    link: https://docs.couchdb.org/en/stable/api/database/find.html
  - module: couchpy.couchdb.couchdb_database
"""

EXAMPLES = r"""
- name: Create an index
  couchpy.couchdb.couchdb_index:
    url: http://db.example.com:5984/
    login_user: admin
    login_password: "{{ couchdb_admin_password }}"
    database: orders
    ddoc: app
    name: by-date
    fields: [date, customer]

- name: Index only the open orders
  couchpy.couchdb.couchdb_index:
    database: orders
    ddoc: open
    name: by-date
    fields: [date]
    selector:
      status: {$in: [new, paid]}
      shipped: {$exists: false}

- name: Manage indexes of several databases
  couchpy.couchdb.couchdb_index:
    indexes:
      - database: orders
        name: by-customer
        fields:
          - customer: desc
          - date: desc
      - database: customers
        fields: [address.city]
      - database: customers
        name: by-fax
        state: absent

- name: Create an index for full-text search, on a server with Clouseau
  couchpy.couchdb.couchdb_index:
    database: articles
    ddoc: search
    name: words
    type: text
    fields:
      - {name: title, type: string}
      - {name: year, type: number}
    default_field:
      analyzer: english
"""

RETURN = r"""
indexes:
  description: The indexes after the task, or as predicted in check mode, in the order of the task.
  type: list
  elements: dict
  returned: success
  contains:
    database:
      description: Name of the database.
      type: str
      returned: always
      sample: orders
    exists:
      description: Whether the index exists.
      type: bool
      returned: always
      sample: true
    ddoc:
      description: Id of the design document. V(null) if the index does not exist, and in check mode if CouchDB would choose the id.
      type: str
      returned: always
      sample: _design/app
    name:
      description: Name of the index. V(null) if the index does not exist and CouchDB would choose its name.
      type: str
      returned: always
      sample: by-date
    type:
      description: Type of the index. V(null) if the index does not exist.
      type: str
      returned: always
      sample: json
    partitioned:
      description:
        - Whether it is partitioned, as its design document says. V(null) if the design document leaves it to the database, and if the index
          does not exist.
      type: bool
      returned: always
      sample: null
    def:
      description: Definition of the index, as CouchDB lists it. V(null) if the index does not exist.
      type: dict
      returned: always
      sample: {"fields": [{"date": "asc"}, {"customer": "asc"}]}
"""

from ansible_collections.couchpy.couchdb.plugins.module_utils._engine.module import run
from ansible_collections.couchpy.couchdb.plugins.module_utils._resources.indexes import RESOURCE


def main() -> None:
    """Run the module."""
    run(RESOURCE)


if __name__ == "__main__":
    main()
