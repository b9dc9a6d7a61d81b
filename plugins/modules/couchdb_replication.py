#!/usr/bin/python

# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

"""couchdb_replication: databases are replicated as declared, once or for ever, or are not."""

from __future__ import annotations

DOCUMENTATION = r"""
module: couchdb_replication
short_description: Manage replications of CouchDB
version_added: 1.0.0
author: CouchPy contributors (@couchpy)
description:
  - Creates, changes and removes replications, which are documents in a replicator database.
  - Takes one replication, or any number of them in O(replications). All are read together, and only those that differ are written, as
    CouchDB begins a replication anew when its document is written.
  - What is declared is the whole replication. A field of its document that is not declared is removed, but for what CouchDB adds itself.
    Order and spelling that mean the same to CouchDB are no difference. Logins are compared too, and are never shown.
  - With O(persistent=false), copies once and tells how much was copied, or starts a replication that lives until the server restarts.
extends_documentation_fragment:
  - couchpy.couchdb.connection
  - couchpy.couchdb.attributes
  - couchpy.couchdb.attributes.writing
options:
  name:
    description:
      - Name of a single replication, which is the id of its document. It must not begin with an underscore.
      - It must be given unless O(persistent=false), where it is only what the replication is called in results.
    type: str
  source:
    description:
      - Database to copy from. The name of a database of this server, an C(http) or C(https) address, or a mapping.
      - A mapping holds C(url) or C(database), and may hold C(username) and C(password), C(headers), a mapping of HTTP headers, and C(auth),
        CouchDB's own object for other kinds of login.
      - A name and password inside an address are used, and are never shown. Percent-encode characters such as V(@), V(/) and V(:) in them.
      - A database of this server is written as CouchDB's version needs it. From 3.0 on that is its whole address, see O(local_url),
        with the login of the task, unless the mapping has another. A login with O(cookie) ends, and is refused for a document.
      - A database of this server that isn't there fails the task before anything is written. In check mode that is a warning.
    type: raw
  target:
    description:
      - Database to copy to, as in O(source). It must be there, unless O(create_target) is set.
    type: raw
  continuous:
    description:
      - Whether it goes on when all is copied.
    type: bool
  create_target:
    description:
      - Whether CouchDB creates the target when it isn't there.
    type: bool
  create_target_params:
    description:
      - Parameters for creating the target, such as C(q), C(n) and C(partitioned).
    type: dict
  doc_ids:
    description:
      - Ids of the documents to copy, in any order. Excludes O(selector) and O(filter).
    type: list
    elements: str
  selector:
    description:
      - Mango selector of the documents to copy. Excludes O(doc_ids) and O(filter). Needs CouchDB 2.
    type: dict
  filter:
    description:
      - Filter function of the source that chooses the documents to copy, as C(design/filter). Excludes O(doc_ids) and O(selector).
    type: str
  query_params:
    description:
      - Parameters for the filter function. Numbers and booleans are sent as text, as in an address.
    type: dict
  source_proxy:
    description:
      - Address of a proxy to reach the source through, C(http), C(https) or C(socks5).
    type: str
  target_proxy:
    description:
      - Address of a proxy to reach the target through, C(http), C(https) or C(socks5).
    type: str
  user_ctx:
    description:
      - The user, with C(name) and C(roles), as whom CouchDB before 3.0 uses databases that are given by their names. For server admins it
        is optional, but without the role V(_admin) no design documents are written there.
      - Nothing is added to what is given. From CouchDB 3.0 on, the logins of source and target count.
    type: dict
  options:
    description:
      - Other fields of CouchDB's document, such as C(worker_processes), C(http_connections), C(use_checkpoints), C(since_seq).
    type: dict
  state:
    description:
      - V(present) sees that the replication is there.
      - V(absent) removes its document, which also stops it. With O(persistent=false), stops the one that runs between O(source)
        and O(target).
    type: str
    choices: [present, absent]
    default: present
  persistent:
    description:
      - Whether the replication is a document, and so survives a restart of the server.
      - With V(false) and without O(continuous), it copies once, each time the task runs, until all is copied or O(wait_timeout) ends. The task
        reports a change only when documents were written or the target was created here. Check mode always predicts one.
      - With V(false) and O(continuous=true), it is started when no such one runs between O(source) and O(target); CouchDB tells no more
        of those that run. PouchDB Server tells nothing of them, and the task fails there.
    type: bool
    default: true
  wait:
    description:
      - Whether to wait until the replication is completed or, when it is continuous, has reached both databases.
      - The task fails, with CouchDB's reason, when the replication is crashing or failed, or isn't there within O(wait_timeout). What was written stays.
    type: bool
    default: false
  wait_timeout:
    description:
      - Seconds to wait at most. With O(persistent=false), seconds that one copying may take.
    type: int
    default: 300
  replicator:
    description:
      - The replicator database. Others than V(_replicator) have names that end in V(/_replicator), and need CouchDB 2.
    type: str
    default: _replicator
  local_url:
    description:
      - Address at which the server reaches itself, without a login. If not set, O(url) is taken.
      - Needed where Ansible reaches the server by an address that the server itself can't use, such as a forwarded port, or should not use,
        such as that of a load balancer.
      - Tasks that declare the same replications must give the same address, or each would rewrite what the other has written.
    type: str
  replications:
    description:
      - Several replications, each with the options of a single one. O(state), O(persistent) and O(wait) apply to those that have none of
        their own.
    type: list
    elements: dict
    suboptions:
      name:
        description:
          - Name of the replication, as in O(name).
        type: str
      source:
        description:
          - Database to copy from, as in O(source).
        type: raw
      target:
        description:
          - Database to copy to, as in O(target).
        type: raw
      continuous:
        description:
          - Whether it goes on when all is copied.
        type: bool
      create_target:
        description:
          - Whether CouchDB creates the target when it isn't there.
        type: bool
      create_target_params:
        description:
          - Parameters for creating the target, as in O(create_target_params).
        type: dict
      doc_ids:
        description:
          - Ids of the documents to copy, as in O(doc_ids).
        type: list
        elements: str
      selector:
        description:
          - Mango selector of the documents to copy, as in O(selector).
        type: dict
      filter:
        description:
          - Filter function that chooses the documents to copy, as in O(filter).
        type: str
      query_params:
        description:
          - Parameters for the filter function, as in O(query_params).
        type: dict
      source_proxy:
        description:
          - Address of a proxy to reach the source through.
        type: str
      target_proxy:
        description:
          - Address of a proxy to reach the target through.
        type: str
      user_ctx:
        description:
          - The user as whom databases here are used before CouchDB 3.0, as in O(user_ctx).
        type: dict
      options:
        description:
          - Other fields of CouchDB's document, as in O(options).
        type: dict
      state:
        description:
          - Whether the replication is to be there. If not set, O(state) applies.
        type: str
        choices: [present, absent]
      persistent:
        description:
          - Whether the replication is a document. If not set, O(persistent) applies.
        type: bool
      wait:
        description:
          - Whether to wait for it. If not set, O(wait) applies.
        type: bool
notes:
  - A replication that is completed or failed stays so while its declaration stays the same. Change it, or remove it first, to have it run again.
  - CouchDB before 2.1 doesn't let a replication be changed while it runs. It is deleted there and created anew.
  - CouchDB keeps who wrote a replication first as its C(owner), who may read the logins in it. A change keeps the owner.
  - Only a server admin reads the logins in the replications of others. Run the task as one, or logins seem to differ each time.
seealso:
  - name: Replicator database
    description: How CouchDB keeps and runs replications.
    link: https://docs.couchdb.org/en/stable/replication/replicator.html
  - name: Replication settings
    description: The fields of a replication's document.
    link: https://docs.couchdb.org/en/stable/json-structure.html#replication-settings
  - module: couchpy.couchdb.couchdb_database
  - module: couchpy.couchdb.couchdb_info
"""

EXAMPLES = r"""
- name: Keep a copy of a database of this server on another
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

- name: Several, from another server
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

- name: Copy once, now, and tell how much that was
  couchpy.couchdb.couchdb_replication:
    source: orders
    target: orders_backup
    create_target: true
    persistent: false
    wait_timeout: 3600
  register: backup

- name: A server that Ansible reaches through a load balancer
  couchpy.couchdb.couchdb_replication:
    url: https://couchdb.example.com/
    local_url: http://127.0.0.1:5984/
    name: orders_to_reports
    source: orders
    target: reports
    filter: reports/closed
    query_params: {year: 2026}
"""

RETURN = r"""
replications:
  description: The replications as they are after the task, or would be in check mode, in the order of the task.
  type: list
  elements: dict
  returned: success
  contains:
    name:
      description: Name of the replication. V(null) for one without, which needs O(persistent=false).
      type: str
      returned: always
      sample: orders_to_archive
    exists:
      description: Whether its document is there or, with O(persistent=false), whether it runs.
      type: bool
      returned: always
      sample: true
    state:
      description:
        - CouchDB's state of it, such as V(initializing), V(running), V(pending), V(crashing), V(error), V(completed), V(failed). V(triggered)
          before CouchDB 2.1.
        - V(null) when it isn't there, and for some seconds after it was written, until CouchDB takes it up.
      type: str
      returned: always
      sample: running
    source:
      description: Address or name of the source as CouchDB was given it, without a login. V(null) when it isn't there.
      type: str
      returned: always
      sample: http://db.example.com:5984/orders
    target:
      description: Address or name of the target as CouchDB was given it, without a login. V(null) when it isn't there.
      type: str
      returned: always
      sample: https://archive.example.com/orders
    info:
      description:
        - What CouchDB tells of the state, such as C(docs_written), or C(error) with the reason. V(null) when it tells nothing.
        - After copying once, C(docs_read), C(docs_written) and C(doc_write_failures) of this time.
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
