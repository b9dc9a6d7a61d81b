#!/usr/bin/python

# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

"""couchdb_server: settings, admins, users, and databases with their contents, in one task."""

from __future__ import annotations

DOCUMENTATION = r"""
module: couchdb_server
short_description: Declare everything on a CouchDB server in one task
version_added: 1.0.0
author: CouchPy contributors (@couchpy)
description:
  - Combines M(couchpy.couchdb.couchdb_config), M(couchpy.couchdb.couchdb_admin), M(couchpy.couchdb.couchdb_jwt_key),
    M(couchpy.couchdb.couchdb_database), M(couchpy.couchdb.couchdb_user), M(couchpy.couchdb.couchdb_document), M(couchpy.couchdb.couchdb_index) and
    M(couchpy.couchdb.couchdb_replication), in this order, over one connection and in one task. If nothing differs, starting a task costs
    far more than its requests, most of all over SSH. So this is the fastest way to check that a server is as declared.
  - All options are checked before anything is sent. If one part fails, later parts are not started.
  - In check mode, the module reports which parts differ.
extends_documentation_fragment:
  - couchpy.couchdb.connection
  - couchpy.couchdb.admins.server
  - couchpy.couchdb.jwt_keys.server
  - couchpy.couchdb.databases.server
  - couchpy.couchdb.users.server
  - couchpy.couchdb.documents.server
  - couchpy.couchdb.indexes.server
  - couchpy.couchdb.replications.server
  - couchpy.couchdb.attributes
  - couchpy.couchdb.attributes.writing
options:
  settings:
    description:
      - Settings as a mapping of sections to mappings of keys to values, as M(couchpy.couchdb.couchdb_config) manages them. A value of
        V(null) means that the key is absent.
    type: dict
  nodes:
    description:
      - Names of the nodes whose O(settings) are managed, such as V(couchdb@10.0.0.1). V(all) means each node of the cluster, V(_local) the node
        that answers.
    type: list
    elements: str
    default: [all]
  local_url:
    description:
      - URL at which the server reaches itself, for documents of replications. See O(couchpy.couchdb.couchdb_replication#module:local_url).
    type: str
  remote_src:
    description:
      - Whether each C(src) in O(documents) is on the host that runs the module instead of on the controller.
    type: bool
    default: false
  wait_timeout:
    description:
      - How many seconds to wait for views to be built and for replications. If not set, the defaults of
        M(couchpy.couchdb.couchdb_document) and M(couchpy.couchdb.couchdb_replication) apply.
    type: int
  exclusive:
    description:
      - Parts of which the server is to hold nothing but what the task declares. What it holds beyond that is removed; check mode names it.
      - Each of these parts must be declared, if only by an empty list or mapping.
      - The module never removes C(_users), C(_replicator), C(_global_changes), CouchDB's own design documents, the admin that the task
        logs in as, or settings that belong to the installation, such as its directories and ports.
      - V(documents) removes design documents only, as other documents are data.
      - V(databases) needs O(remove_databases=true) as well.
    type: list
    elements: str
    choices: [settings, admins, jwt_keys, databases, users, documents, indexes, replications]
    default: []
  report_extra:
    description:
      - Whether to return what the server holds beyond the declaration, in RV(extra). The module then reads the whole server.
    type: bool
    default: false
  remove_databases:
    description:
      - Confirms that O(exclusive) may delete databases with all their documents.
    type: bool
    default: false
notes:
  - This module does not manage the members of a cluster. Use M(couchpy.couchdb.couchdb_cluster).
  - A part whose option is missing or empty is skipped.
seealso:
  - module: couchpy.couchdb.couchdb_cluster
  - module: couchpy.couchdb.couchdb_info
"""

EXAMPLES = r"""
- name: Declare everything on a server
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

- name: No users and no design documents beyond the declared ones
  couchpy.couchdb.couchdb_server:
    users: "{{ declared_users }}"
    documents: "{{ declared_documents }}"
    exclusive: [users, documents]

- name: Compare a server with its declaration
  couchpy.couchdb.couchdb_server:
    settings: "{{ declared_settings }}"
    databases: "{{ declared_databases }}"
  check_mode: true
  register: compared

- name: Show the parts that differ
  ansible.builtin.debug:
    msg: "{{ compared.parts | difference(compared.unchanged) | join(', ') }}"
"""

RETURN = r"""
parts:
  description:
    - The result of each part that was started, by the option that declares it. It contains what the module of that part returns, and
      the following.
    - In check mode, a part may be reported as failed although the task succeeds, if it depends on a pending change of an earlier part.
  type: dict
  returned: when all options are valid
  contains:
    changed:
      description: Whether the part changed something, or in check mode would.
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
extra:
  description:
    - What the server had beyond the declaration before the task, by part. A database that is extra includes everything in it.
    - Settings are listed if they differ from the defaults of the server's version.
  type: dict
  returned: when O(report_extra=true), or O(exclusive) names a part
  sample:
    settings: [cors/origins]
    admins: []
    jwt_keys: ["hmac:old"]
    databases: [old_orders]
    users: [former_till]
    documents: [orders/_design/old]
    indexes: [orders/ix/by-date]
    replications: []
unchanged:
  description: Names of the parts that were started, did not fail, and changed nothing, or in check mode would change nothing.
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
