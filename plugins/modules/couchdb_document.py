#!/usr/bin/python

# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

"""couchdb_document: documents and design documents are in databases, from YAML or from files, or are not."""

from __future__ import annotations

DOCUMENTATION = r"""
module: couchdb_document
short_description: Manage documents and design documents of CouchDB
version_added: 1.0.0
author: CouchPy contributors (@couchpy)
description:
  - Creates, changes and deletes documents, design documents and C(_local) documents.
  - They are given in O(documents), or are read from files with O(src). With O(databases), one task keeps those of many databases.
  - All are read in bulk and compared with what is given, without what CouchDB adds to a document, such as C(_rev). Those that differ are
    written in bulk, design documents first.
  - The databases must be there. P(couchpy.couchdb.couchdb_database#module) creates them.
extends_documentation_fragment:
  - couchpy.couchdb.connection
  - couchpy.couchdb.attributes
  - couchpy.couchdb.attributes.writing
options:
  database:
    description:
      - Name of a single database.
    type: str
  documents:
    description:
      - The documents, each a mapping with its C(_id). They may be given as they were read from CouchDB. What it adds to a document is
        passed over, C(_rev) too.
      - Attachments are given in C(_attachments), as a mapping of names to C(content_type) and C(data) in Base64. Those that are
        the same are not sent again.
      - With O(state=absent), only C(_id) counts. What is in conflict with a document is deleted with it.
    type: list
    elements: dict
  src:
    description:
      - A JSON file or a directory to read documents from. It is looked for where P(ansible.builtin.copy#module) looks, in C(files) of
        the role or playbook first, and read on the controller, unless O(remote_src=true). Files that Ansible Vault encrypted are decrypted.
      - 'A JSON file holds a document, a list of them, or an object with such a list in C(docs). A document without C(_id) has the name of its file.'
      - A directory is a database. C(NAME.json) and the directory C(NAME) in it are the document C(NAME), those in its directories
        C(_design) and C(_local) are the documents C(_design/NAME) and C(_local/NAME).
      - A document that is a directory has a field for each file and directory in it, named without the last ending, such as
        C(_design/app/views/by-date/map.js). Files whose name ends with C(.json) are read as JSON, all others as text without spaces and
        line ends around it. A file C(_id) sets the document's id. Files in C(_attachments) become attachments.
      - A directory that holds a file C(_id) or a directory C(_attachments), or lies in one called C(_design) or C(_local), is a
        single document.
      - Hidden files, those that end with C(~), and C(_security.json) are passed over.
        P(couchpy.couchdb.couchdb_database#module) sets security objects.
    type: path
  remote_src:
    description:
      - Whether O(src) is on the host that runs the module, rather than on the controller.
    type: bool
    default: false
  ids:
    description:
      - Ids of documents to delete, with O(state=absent).
    type: list
    elements: str
  state:
    description:
      - Whether the documents are to be there.
    type: str
    choices: [present, absent]
    default: present
  mode:
    description:
      - V(replace) sees that a document holds what is given and nothing else.
      - V(merge) keeps the fields of a document, and its attachments, that are not given. A field that is given is replaced as a whole,
        also when it is a mapping.
    type: str
    choices: [replace, merge]
    default: replace
  build:
    description:
      - Whether to wait until the views of the design documents are built, changed or not.
    type: bool
    default: false
  staged:
    description:
      - Whether to build the views of a design document before it is written. They are built in another one, with C(-staged) after its
        id, that is removed afterwards. Queries get their answers from the old views until the new ones are built, and wait for neither.
      - When they are not built within O(wait_timeout), the task fails, and the design document stays as it was. The next run goes on.
      - Includes O(build).
    type: bool
    default: false
  wait_timeout:
    description:
      - How many seconds to wait for the views of a design document.
    type: int
    default: 600
  databases:
    description:
      - Several databases, each with its documents. O(state), O(mode), O(build) and O(staged) apply to those that have none of their own.
    type: list
    elements: dict
    suboptions:
      database:
        description:
          - Name of the database.
        type: str
        required: true
      documents:
        description:
          - The documents, as in O(documents).
        type: list
        elements: dict
      src:
        description:
          - A JSON file or a directory, as in O(src).
        type: path
      ids:
        description:
          - Ids of documents to delete, as in O(ids).
        type: list
        elements: str
      state:
        description:
          - Whether the documents are to be there. If not set, O(state) applies.
        type: str
        choices: [present, absent]
      mode:
        description:
          - What becomes of fields that are not given. If not set, O(mode) applies.
        type: str
        choices: [replace, merge]
      build:
        description:
          - Whether to wait until views are built. If not set, O(build) applies.
        type: bool
      staged:
        description:
          - Whether to build views before a design document is written. If not set, O(staged) applies.
        type: bool
notes:
  - Numbers that are the same, such as V(1) and V(1.0), and another order of fields are no change.
  - Functions that don't compile are refused before anything of their design document is written, with CouchDB's message and the file.
    PouchDB Server compiles none.
  - Users have passwords that CouchDB hashes. P(couchpy.couchdb.couchdb_user#module) knows about them.
  - Macros of couchapp (C(// !code)) are not expanded, and functions of JavaScript modules are not run.
seealso:
  - name: Documents
    description: The fields that are CouchDB's own, and attachments.
    link: https://docs.couchdb.org/en/stable/api/document/common.html
  - name: Design documents
    description: What they hold.
    link: https://docs.couchdb.org/en/stable/ddocs/ddocs.html
  - module: couchpy.couchdb.couchdb_database
  - module: couchpy.couchdb.couchdb_user
"""

EXAMPLES = r"""
- name: Two documents, of which others may change other fields
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

- name: A design document from the directory files/shop/_design/app, switched when its views are built
  couchpy.couchdb.couchdb_document:
    database: shop
    src: shop/_design/app
    staged: true
    wait_timeout: 7200

- name: All that several databases begin with, as directories
  couchpy.couchdb.couchdb_document:
    databases:
      - database: shop
        src: couch/shop
      - database: archive
        src: couch/archive
        build: true

- name: Documents that are no more
  couchpy.couchdb.couchdb_document:
    database: shop
    ids: [_design/old-app, coupon-2019]
    state: absent
"""

RETURN = r"""
documents:
  description: The documents as they are after the task, or would be in check mode, in the order of the task.
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
      description: Its revision. V(null) when it is not there, and in check mode when it would be written.
      type: str
      returned: always
      sample: 2-7051cbe5c8faecd085a3fa619e6e6337
    status:
      description: What was done, or would be, V(unchanged), V(created), V(updated) or V(deleted).
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
