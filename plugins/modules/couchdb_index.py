#!/usr/bin/python

# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

"""couchdb_index: Mango indexes are there as they are defined, or are not."""

from __future__ import annotations

DOCUMENTATION = r"""
module: couchdb_index
short_description: Manage Mango indexes of CouchDB
version_added: 1.0.0
author: CouchPy contributors (@couchpy)
description:
  - Creates, changes and removes the indexes that C(_find) uses.
  - Takes one index, or any number of them in O(indexes), for one database or many. Each database is read with two requests, all of them
    side by side, and only what differs is written. Nothing is built anew that is as it should be, in whatever spelling.
  - An index is known by its O(ddoc) and O(name). With O(name) alone, it is the index of that name in whichever design document it is.
    Without O(name), it is known by its definition, so another definition is another index.
  - What is new is created before anything is removed. Other indexes of a design document stay, and CouchDB builds them anew with the
    one that changes.
extends_documentation_fragment:
  - couchpy.couchdb.connection
  - couchpy.couchdb.attributes
  - couchpy.couchdb.attributes.writing
options:
  database:
    description:
      - Name of the database, which must be there.
      - For O(indexes), the database of those that name none.
    type: str
  name:
    description:
      - Name of a single index. If not set, CouchDB makes one up from the definition.
    type: str
  ddoc:
    description:
      - Name of the design document that holds the index, with or without C(_design/). If not set, CouchDB makes up one for the index alone.
      - A design document that holds anything else than Mango indexes is refused.
    type: str
  fields:
    description:
      - Fields of the index, in their order, needed where it is to be present.
      - For O(type=json) each is a name, or a mapping of a name to V(asc) or V(desc), the same for all fields. A dot leads into an object.
      - For the other types each is a mapping with C(name) and C(type), which is V(string), V(number), V(boolean), or for O(type=nouveau)
        V(text). Without them, all fields are indexed.
    type: list
    elements: raw
  selector:
    description:
      - Which documents are in the index, as a selector (CouchDB's C(partial_filter_selector)). If not set, all of them.
      - It is compared by what it means.
    type: dict
  type:
    description:
      - Type of the index. V(text) needs a CouchDB with Clouseau, V(nouveau) one from 3.4 on with Nouveau.
      - If not set, V(json). To remove an index by its name, any.
      - An index of another type under the same O(ddoc) and O(name) is replaced.
    type: str
    choices: [json, text, nouveau]
  partitioned:
    description:
      - Whether the index is for queries within one partition, in a database that is partitioned. Needs CouchDB 3.0.
      - If not set, a new index is as its design document or its database is, and one that is there stays as it is.
      - All indexes of a design document are alike in this, and CouchDB can't change it.
    type: bool
  default_analyzer:
    description:
      - Analyzer of the fields of a text index, by its name or as CouchDB's mapping. If not set, V(keyword).
    type: raw
  default_field:
    description:
      - The field of a text index that holds the text of all others, which C($text) searches.
    type: dict
    suboptions:
      enabled:
        description:
          - Whether there is such a field. If not set, V(true).
        type: bool
      analyzer:
        description:
          - Its analyzer. If not set, V(standard).
        type: str
  index_array_lengths:
    description:
      - Whether a text index holds the lengths of arrays, which C($size) needs. If not set, V(true).
    type: bool
  state:
    description:
      - Whether the index is to be there.
    type: str
    choices: [present, absent]
    default: present
  indexes:
    description:
      - Several indexes, each with the options of a single one. O(database) and O(state) apply to those that have none of their own.
    type: list
    elements: dict
    suboptions:
      database:
        description:
          - Name of the database. If not set, O(database) applies.
        type: str
      name:
        description:
          - Name of the index, as in O(name).
        type: str
      ddoc:
        description:
          - Name of the design document, as in O(ddoc).
        type: str
      fields:
        description:
          - Fields of the index, as in O(fields).
        type: list
        elements: raw
      selector:
        description:
          - Which documents are in the index, as in O(selector).
        type: dict
      type:
        description:
          - Type of the index, as in O(type).
        type: str
        choices: [json, text, nouveau]
      partitioned:
        description:
          - Whether the index is for queries within one partition, as in O(partitioned).
        type: bool
      default_analyzer:
        description:
          - Analyzer of the fields of a text index, as in O(default_analyzer).
        type: raw
      default_field:
        description:
          - The field that holds the text of all others, as in O(default_field).
        type: dict
        suboptions:
          enabled:
            description:
              - Whether there is such a field.
            type: bool
          analyzer:
            description:
              - Its analyzer.
            type: str
      index_array_lengths:
        description:
          - Whether a text index holds the lengths of arrays, as in O(index_array_lengths).
        type: bool
      state:
        description:
          - Whether the index is to be there. If not set, O(state) applies.
        type: str
        choices: [present, absent]
notes:
  - CouchDB builds an index in the background, or when it is first asked. The module doesn't wait for that.
  - A cluster takes a new index for queries on each node within some seconds.
  - CouchDB 1.x has no Mango indexes.
seealso:
  - name: Indexes
    description: What CouchDB takes for an index, and how its selectors are written.
    link: https://docs.couchdb.org/en/stable/api/database/find.html
  - module: couchpy.couchdb.couchdb_database
"""

EXAMPLES = r"""
- name: One index
  couchpy.couchdb.couchdb_index:
    url: http://db.example.com:5984/
    login_user: admin
    login_password: "{{ couchdb_admin_password }}"
    database: orders
    ddoc: app
    name: by-date
    fields: [date, customer]

- name: Only the open orders, newest last
  couchpy.couchdb.couchdb_index:
    database: orders
    ddoc: open
    name: by-date
    fields: [date]
    selector:
      status: {$in: [new, paid]}
      shipped: {$exists: false}

- name: Indexes of several databases
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

- name: Full-text search, where the server has it
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
  description: The indexes as they are after the task, or would be in check mode, in the order of the task.
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
      description: Whether the index is there.
      type: bool
      returned: always
      sample: true
    ddoc:
      description: Id of the design document. V(null) when not there, and in check mode when CouchDB is still to make it up.
      type: str
      returned: always
      sample: _design/app
    name:
      description: Name of the index. V(null) when CouchDB makes it up, and it is not there.
      type: str
      returned: always
      sample: by-date
    type:
      description: Type of the index. V(null) when not there.
      type: str
      returned: always
      sample: json
    partitioned:
      description: Whether it is partitioned, as its design document says. V(null) when that leaves it to the database, and when not there.
      type: bool
      returned: always
      sample: null
    def:
      description: Definition of the index, as CouchDB lists it. V(null) when not there.
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
