#!/usr/bin/python

# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

"""couchdb_document: documents and design documents of databases, from YAML or from files."""

from __future__ import annotations

DOCUMENTATION = r"""
module: couchdb_document
short_description: Manage documents and design documents of CouchDB
version_added: 1.0.0
author: CouchPy contributors (@couchpy)
description:
  - Creates, changes and deletes documents, design documents and C(_local) documents.
  - The documents are listed in O(documents) or read from files with O(src). With O(databases), one task manages the documents of several
    databases.
  - All documents are read in bulk and compared with the desired ones, ignoring what CouchDB adds to a document, such as C(_rev). Documents
    that differ are written in bulk, design documents first.
  - The databases must exist. M(couchpy.couchdb.couchdb_database) creates them.
extends_documentation_fragment:
  - couchpy.couchdb.connection
  - couchpy.couchdb.documents
  - couchpy.couchdb.attributes
  - couchpy.couchdb.attributes.writing
options:
  database:
    description:
      - Name of a single database.
    type: str
  remote_src:
    description:
      - Whether O(src) is on the host that runs the module instead of on the controller.
    type: bool
    default: false
  state:
    description:
      - V(present) ensures that the documents exist, V(absent) deletes them.
    type: str
    choices: [present, absent]
    default: present
  mode:
    description:
      - V(replace) ensures that a document has exactly the given fields.
      - V(merge) keeps the fields and attachments of a document that are not given. A given field is replaced as a whole, even if it is a
        mapping.
    type: str
    choices: [replace, merge]
    default: replace
  build:
    description:
      - Whether to wait until the views of the design documents are built, even if nothing changed.
      - A design document whose C(language) is not V(javascript) is built as with O(staged), because only that shows whether the server has a
        query server for it. Without one, the task fails and the design document is unchanged.
    type: bool
    default: false
  staged:
    description:
      - Whether to build the views of a design document before it is written. They are built in another design document, with C(-staged)
        after its id, that is removed afterwards. Until the new views are built, queries get results from the old ones. They wait for
        neither.
      - If the views are not built within O(wait_timeout), the task fails, and the design document is unchanged. The next run continues.
      - Implies O(build).
    type: bool
    default: false
  wait_timeout:
    description:
      - How many seconds to wait for the views of a design document.
    type: int
    default: 600
notes:
  - Equal numbers, such as V(1) and V(1.0), and another order of fields are no difference.
  - Functions that do not compile, or require a module that their design document does not have, are refused before anything of it is
    written. The error contains the reason and the file. PouchDB Server does not compile functions.
  - CouchDB hashes the passwords of users. Use M(couchpy.couchdb.couchdb_user) for them.
  - Macros of couchapp (C(// !code)) are not expanded.
  - JavaScript modules (C(NAME.js) or C(NAME.coffee) for a document, or C(index.js) or C(index.coffee) with C(module.exports)) are refused, as
    they would have to be run. Compile them with couchdb-compile, and use the JSON. A directory that is one document needs a file C(_id),
    unless it is in C(_design) or C(_local).
  - Files in C(_attachments) whose names begin with a dot are uploaded, such as those in C(.well-known), except for those of version
    control and editors.
seealso:
  - name: Documents
    description: The fields that CouchDB defines, and attachments.
    link: https://docs.couchdb.org/en/stable/api/document/common.html
  - name: Design documents
    description: Their fields.
    link: https://docs.couchdb.org/en/stable/ddocs/ddocs.html
  - module: couchpy.couchdb.couchdb_database
  - module: couchpy.couchdb.couchdb_user
"""

EXAMPLES = r"""
- name: Manage some fields of two documents
  couchpy.couchdb.couchdb_document:
    url: http://db.example.com:5984/
    login_user: admin
    login_password: "{{ couchdb_admin_password }}"
    database: shop
    mode: merge
    documents:
      - _id: currencies
        accepted: [EUR, USD]
      - _id: opening-hours
        weekdays: 9-18

- name: Replace a design document by the directory files/shop/_design/app after its views are built
  couchpy.couchdb.couchdb_document:
    database: shop
    src: shop/_design/app
    staged: true
    wait_timeout: 7200

- name: Write the documents of several directories to databases
  couchpy.couchdb.couchdb_document:
    databases:
      - database: shop
        src: couch/shop
      - database: archive
        src: couch/archive
        build: true

- name: Delete documents
  couchpy.couchdb.couchdb_document:
    database: shop
    ids: [_design/old-app, coupon-2019]
    state: absent
"""

RETURN = r"""
documents:
  description: The documents after the task, or as predicted in check mode, in the order of the task.
  type: list
  elements: dict
  returned: success
  contains:
    database:
      description: Name of the database.
      type: str
      returned: always
      sample: shop
    id:
      description: Id of the document.
      type: str
      returned: always
      sample: _design/app
    rev:
      description: Its revision. V(null) if the document does not exist, and in check mode if it would be written.
      type: str
      returned: always
      sample: 2-7051cbe5c8faecd085a3fa619e6e6337
    status:
      description: What the task did, or in check mode would do, V(unchanged), V(created), V(updated) or V(deleted).
      type: str
      returned: always
      sample: updated
"""

from ansible_collections.couchpy.couchdb.plugins.module_utils._engine.module import run
from ansible_collections.couchpy.couchdb.plugins.module_utils._resources.documents import RESOURCE


def main() -> None:
    """Run the module."""
    run(RESOURCE)


if __name__ == "__main__":
    main()
