#!/usr/bin/python

# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

"""couchdb_replication: replications of databases, with a document or without one."""

from __future__ import annotations

DOCUMENTATION = r"""
module: couchdb_replication
short_description: Manage replications of CouchDB
version_added: 1.0.0
author: CouchPy contributors (@couchpy)
description:
  - Creates, changes and removes replications, which are documents in a replicator database.
  - Manages one replication, or several with O(replications). All are read together, and only replications that differ are written, as
    CouchDB restarts a replication when its document is written.
  - A declaration describes the whole replication. Fields of the document that are not declared are removed, except those that CouchDB adds.
    Orders and spellings that mean the same to CouchDB are no difference. Credentials are compared too, and are never shown.
  - With O(persistent=false), the module copies once and reports how much, or starts a replication that ends when the server restarts.
extends_documentation_fragment:
  - couchpy.couchdb.connection
  - couchpy.couchdb.replications
  - couchpy.couchdb.attributes
  - couchpy.couchdb.attributes.writing
options:
  state:
    description:
      - V(present) ensures that the replication exists.
      - V(absent) removes its document, which also stops it. With O(persistent=false), it stops the running replication between O(source)
        and O(target).
      - V(restarted) ensures that the replication exists and starts it again in every run. A document is deleted and created again.
    type: str
    choices: [present, absent, restarted]
    default: present
  persistent:
    description:
      - Whether the replication is a document, and so survives a restart of the server.
      - With V(false) and without O(continuous), each run of the task copies once, until everything is copied or O(wait_timeout) ends. The task
        reports a change only if documents were written or the target was created on this server. Check mode always predicts a change.
      - With V(false) and O(continuous=true), the replication is started if none runs between O(source) and O(target). CouchDB shows no other
        fields of running replications. PouchDB Server does not list them, so the task fails there.
    type: bool
    default: true
  wait:
    description:
      - Whether to wait until the replication is completed or, if it is continuous, has reached both databases.
      - The task fails with CouchDB's reason if the replication is crashing or failed, or if it does not get there within O(wait_timeout).
        Its document stays.
    type: bool
    default: false
  restart_failed:
    description:
      - Whether to start a replication again if it is as declared and in the state V(failed), V(crashing) or V(error). CouchDB never retries
        a failed one by itself, and retries a crashing one at growing intervals of up to eight hours.
    type: bool
    default: false
  wait_timeout:
    description:
      - How many seconds to wait. With O(persistent=false), how many seconds copying once may take.
    type: int
    default: 300
  replicator:
    description:
      - The replicator database. Names other than V(_replicator) end in V(/_replicator), and require CouchDB 2.
    type: str
    default: _replicator
  local_url:
    description:
      - URL at which the server reaches itself, without credentials. If not set, O(url) is used.
      - Required if Ansible reaches the server at a URL that the server itself cannot use, such as a forwarded port, or should not use,
        such as the URL of a load balancer.
      - Tasks that declare the same replications must set the same URL, or each would rewrite the documents of the other.
    type: str
notes:
  - A completed or failed replication stays so while its declaration stays the same. Use O(state=restarted) to run it again, or
    O(restart_failed=true) to run it again once it has failed.
  - CouchDB before 2.1 does not allow changing a running replication. It is deleted there and created again.
  - CouchDB stores the first author of a replication as its C(owner). The owner may read the credentials in it. A change keeps the owner.
  - A user that is no admin of the target writes no design documents there. Make the user of a replication an admin of the target database if
    it is to copy them.
  - Only a server admin can read the credentials in the replications of others. Log in as one, or credentials seem to differ each time.
seealso:
  - name: Replicator database
    description: How CouchDB stores and runs replications.
    link: https://docs.couchdb.org/en/stable/replication/replicator.html
  - name: Replication settings
    description: The fields of a replication's document.
    link: https://docs.couchdb.org/en/stable/json-structure.html#replication-settings
  - module: couchpy.couchdb.couchdb_database
  - module: couchpy.couchdb.couchdb_info
"""

EXAMPLES = r"""
- name: Keep a copy of a database on another server
  couchpy.couchdb.couchdb_replication:
    url: http://db.example.com:5984/
    login_user: admin
    login_password: "{{ couchdb_admin_password }}"
    name: orders_to_archive
    source: orders
    target:
      url: https://archive.example.com/orders
      username: replicator
      password: "{{ archive_password }}"
    continuous: true
    wait: true

- name: Create a user for replications within this server
  couchpy.couchdb.couchdb_user:
    name: replicator
    password: "{{ couchdb_replicator_password }}"
    roles: [replicators]

- name: Let it use the databases that it copies, and write design documents to the target
  couchpy.couchdb.couchdb_database:
    databases:
      - name: orders
        security: {members: {roles: [replicators]}}
      - name: orders_backup
        security: {admins: {roles: [replicators]}}

- name: Keep a copy of a database on this server, with the credentials of that user
  couchpy.couchdb.couchdb_replication:
    name: orders_to_backup
    source: {database: orders, username: replicator, password: "{{ couchdb_replicator_password }}"}
    target: {database: orders_backup, username: replicator, password: "{{ couchdb_replicator_password }}"}
    continuous: true

- name: Manage several replications from another server
  couchpy.couchdb.couchdb_replication:
    replications:
      - name: prices
        source: https://head-office.example.com/prices
        target: prices
        create_target: true
        continuous: true
      - name: products_in_stock
        source: https://head-office.example.com/products
        target: products
        selector: {stock: {$gt: 0}}
      - name: old_one
        state: absent

- name: Copy once, now, and report how much
  couchpy.couchdb.couchdb_replication:
    source: orders
    target: orders_backup
    create_target: true
    persistent: false
    wait_timeout: 3600
  register: backup

- name: Create a replication on a server that Ansible reaches through a load balancer
  couchpy.couchdb.couchdb_replication:
    url: https://couchdb.example.com/
    local_url: http://127.0.0.1:5984/
    name: orders_to_reports
    source: orders
    target: reports
    filter: reports/closed
    query_params: {year: 2026}

- name: Change the password of a replication at both ends
  couchpy.couchdb.couchdb_replication:
    name: orders_to_archive
    source: orders
    target:
      url: https://archive.example.com/orders
      username: replicator
      password: "{{ new_archive_password }}"
    continuous: true
    wait: true
    endpoint_admins:
      - url: https://archive.example.com/
        login_user: admin
        login_password: "{{ archive_admin_password }}"
"""

RETURN = r"""
replications:
  description: The replications after the task, or as predicted in check mode, in the order of the task.
  type: list
  elements: dict
  returned: success
  contains:
    name:
      description: Name of the replication. V(null) if it has none, with O(persistent=false).
      type: str
      returned: always
      sample: orders_to_archive
    exists:
      description: Whether its document exists or, with O(persistent=false), whether it runs.
      type: bool
      returned: always
      sample: true
    state:
      description:
        - Its state in CouchDB, such as V(initializing), V(running), V(pending), V(crashing), V(error), V(completed), V(failed). V(triggered)
          before CouchDB 2.1.
        - V(null) if it does not exist, and for some seconds after it was written, until CouchDB processes it.
      type: str
      returned: always
      sample: running
    source:
      description: URL or name of the source in CouchDB, without credentials. V(null) if the replication does not exist.
      type: str
      returned: always
      sample: http://db.example.com:5984/orders
    target:
      description: URL or name of the target in CouchDB, without credentials. V(null) if the replication does not exist.
      type: str
      returned: always
      sample: https://archive.example.com/orders
    info:
      description:
        - CouchDB's information about the state, such as C(docs_written), or C(error) with the reason. V(null) if there is none.
        - After copying once, C(docs_read), C(docs_written) and C(doc_write_failures) of this run.
      type: dict
      returned: always
      sample: {"docs_read": 12, "docs_written": 12, "doc_write_failures": 0}
"""

from ansible_collections.couchpy.couchdb.plugins.module_utils._engine.module import run
from ansible_collections.couchpy.couchdb.plugins.module_utils._resources.replications import RESOURCE


def main() -> None:
    """Run the module."""
    run(RESOURCE)


if __name__ == "__main__":
    main()
