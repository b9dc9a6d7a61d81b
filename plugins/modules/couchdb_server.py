#!/usr/bin/python

# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

"""couchdb_server: settings, admins, databases and what is in them are as declared, all in one task."""

from __future__ import annotations

DOCUMENTATION = r"""
module: couchdb_server
short_description: Declare all that a CouchDB server is to have, in one task
version_added: 1.0.0
author: CouchPy contributors (@couchpy)
description:
  - Does what M(couchpy.couchdb.couchdb_config), M(couchpy.couchdb.couchdb_admin), M(couchpy.couchdb.couchdb_database),
    M(couchpy.couchdb.couchdb_user), M(couchpy.couchdb.couchdb_document), M(couchpy.couchdb.couchdb_index) and
    M(couchpy.couchdb.couchdb_replication) do, in this order, over one connection and as one task. On a server that is as declared, a
    task costs far more than the requests in it, most of all over SSH, so that this is the quickest way to see that nothing differs.
  - All options are checked before anything is sent. When one part fails, those after it are not begun.
  - In check mode it tells, by part, what differs.
extends_documentation_fragment:
  - couchpy.couchdb.connection
  - couchpy.couchdb.attributes
  - couchpy.couchdb.attributes.writing
options:
  settings:
    description:
      - Settings, as in O(couchpy.couchdb.couchdb_config#module:settings).
    type: dict
  admins:
    description:
      - Server admins, the same on every node, as in O(couchpy.couchdb.couchdb_admin#module:admins).
    type: list
    elements: dict
  databases:
    description:
      - Databases, as in O(couchpy.couchdb.couchdb_database#module:databases).
    type: list
    elements: dict
  users:
    description:
      - Users, as in O(couchpy.couchdb.couchdb_user#module:users).
    type: list
    elements: dict
  documents:
    description:
      - Documents of databases, as in O(couchpy.couchdb.couchdb_document#module:databases).
    type: list
    elements: dict
  indexes:
    description:
      - Indexes, as in O(couchpy.couchdb.couchdb_index#module:indexes).
    type: list
    elements: dict
  replications:
    description:
      - Replications, as in O(couchpy.couchdb.couchdb_replication#module:replications).
    type: list
    elements: dict
  nodes:
    description:
      - Names of the nodes whose O(settings) are managed. V(all) means each node of the cluster, V(_local) the one that answers.
    type: list
    elements: str
    default: [all]
  local_url:
    description:
      - Address of this server in documents of replications, as in O(couchpy.couchdb.couchdb_replication#module:local_url).
    type: str
  remote_src:
    description:
      - Whether each C(src) in O(documents) is on the host that runs the module already, instead of beside the playbook.
    type: bool
    default: false
  wait_timeout:
    description:
      - How long to wait, in seconds, for views that are to be built, and for replications that are waited for. If not set, the defaults of
        M(couchpy.couchdb.couchdb_document) and M(couchpy.couchdb.couchdb_replication) apply.
    type: int
notes:
  - Members of a cluster are not managed here, but with M(couchpy.couchdb.couchdb_cluster).
  - A part whose option is missing or empty is left alone.
seealso:
  - module: couchpy.couchdb.couchdb_cluster
  - module: couchpy.couchdb.couchdb_info
"""

EXAMPLES = r"""
- name: All of a server
  couchpy.couchdb.couchdb_server:
    url: http://db.example.com:5984/
    login_user: admin
    login_password: "{{ couchdb_admin_password }}"
    settings:
      log:
        level: warning
    databases:
      - name: orders
        security:
          members:
            roles: [shop]
    users:
      - name: till
        password: "{{ till_password }}"
        roles: [shop]
    documents:
      - database: orders
        src: couch/orders
    indexes:
      - database: orders
        ddoc: by-date
        fields: [date]

- name: What differs from what is declared
  couchpy.couchdb.couchdb_server:
    settings: "{{ declared_settings }}"
    databases: "{{ declared_databases }}"
  check_mode: true
  register: compared

- name: Say it
  ansible.builtin.debug:
    msg: "{{ compared.parts | difference(compared.unchanged) | join(', ') }}"
"""

RETURN = r"""
parts:
  description:
    - What each part that was begun came to, by the option that declares it. In each stands what its own module returns, and what is
      listed here.
    - In check mode a part can be told as failed while the task is not, where a part before it would change something, as that may be just
      what it lacks.
  type: dict
  returned: when all options are valid
  contains:
    changed:
      description: Whether something was changed, or in check mode would be.
      type: bool
      returned: always
      sample: false
    failed:
      description: Whether the part failed.
      type: bool
      returned: always
      sample: false
    msg:
      description: Why it failed.
      type: str
      returned: when it failed
      sample: "create database orders: not allowed to (403)"
  sample:
    databases:
      changed: false
      failed: false
      databases:
        - {name: orders, exists: true}
unchanged:
  description: Names of the parts that were begun, did not fail, and changed nothing, or in check mode would change nothing.
  type: list
  elements: str
  returned: when all options are valid
  sample: [settings, users]
"""

from ansible_collections.couchpy.couchdb.plugins.module_utils._engine.composition import run_all
from ansible_collections.couchpy.couchdb.plugins.module_utils._resources.server import RESOURCE


def main() -> None:
    """Run the module."""
    run_all(RESOURCE)


if __name__ == "__main__":
    main()
