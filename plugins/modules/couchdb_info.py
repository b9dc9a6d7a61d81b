#!/usr/bin/python

# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

"""couchdb_info: information about a server."""

from __future__ import annotations

DOCUMENTATION = r"""
module: couchdb_info
short_description: Gather information about a CouchDB server
version_added: 1.0.0
author: CouchPy contributors (@couchpy)
description:
  - Gathers information about a CouchDB server. It changes nothing.
  - Masks secrets in everything that it returns, unless O(include_secrets=true).
extends_documentation_fragment:
  - couchpy.couchdb.connection
  - couchpy.couchdb.attributes
  - couchpy.couchdb.attributes.reading
options:
  gather_subset:
    description:
      - What to gather. V(all) means everything except V(declaration). A name with V(!) before it is excluded.
      - V(declaration) reads the whole server and returns it as the options of M(couchpy.couchdb.couchdb_server).
      - If the server does not have or report a subset, it is V(null) if it was selected by V(all), and the task fails if it was selected
        by name.
    type: list
    elements: str
    choices:
      - all
      - server
      - databases
      - config
      - admins
      - stats
      - system
      - active_tasks
      - versions
      - smoosh
      - certificate
      - cluster
      - shards
      - health
      - replications
      - session
      - declaration
      - log
      - '!all'
      - '!server'
      - '!databases'
      - '!config'
      - '!admins'
      - '!stats'
      - '!system'
      - '!active_tasks'
      - '!versions'
      - '!smoosh'
      - '!certificate'
      - '!cluster'
      - '!shards'
      - '!health'
      - '!replications'
      - '!session'
      - '!declaration'
      - '!log'
    default: [server, databases]
  databases:
    description:
      - Names or shell patterns, such as V(shop_*), of the databases to gather. If not set, the module gathers all.
      - With V(declaration) it selects the databases to declare.
    type: list
    elements: str
  users:
    description:
      - Names or shell patterns of the users to declare with V(declaration). If not set, the module declares all.
    type: list
    elements: str
    version_added: 1.0.0
  include_secrets:
    description:
      - Whether the declaration contains secrets instead of V(********), so that another task can apply it.
      - The task must have C(no_log=true), so that nothing logs the result.
    type: bool
    default: false
    version_added: 1.0.0
  in_maintenance:
    description:
      - Names of nodes that may be in maintenance mode while RV(cluster.in_sync) is V(true), such as one that waits until it can serve again.
        V(_local) is the node that answers.
    type: list
    elements: str
    default: []
    version_added: 1.0.0
  wait:
    description:
      - Whether to wait until the cluster is in sync, as RV(cluster.in_sync) says. The task fails if it is not in time, and names what is
        missing.
      - Needs CouchDB 3.0. Has no effect in check mode.
    type: bool
    default: false
    version_added: 1.0.0
  wait_timeout:
    description:
      - How long to wait until the cluster is in sync, in seconds.
    type: int
    default: 60
    version_added: 1.0.0
  node:
    description:
      - Node whose settings, admins, statistics and system are gathered, such as V(couchdb@10.0.0.1). V(_local) is the node that answers.
    type: str
    default: _local
seealso:
  - name: CouchDB's API
    description: What the server returns, field by field.
    link: https://docs.couchdb.org/en/stable/api/server/common.html
  - module: couchpy.couchdb.couchdb_config
  - module: couchpy.couchdb.couchdb_database
"""

EXAMPLES = r"""
- name: Gather the version and the databases
  couchpy.couchdb.couchdb_info:
    url: http://db.example.com:5984/
    login_user: admin
    login_password: "{{ couchdb_admin_password }}"
  register: couch

- name: Fail if the version is too old
  ansible.builtin.assert:
    that: couch.server.version is version('3.3', '>=')

- name: Gather the sizes of two databases
  couchpy.couchdb.couchdb_info:
    gather_subset: [databases]
    databases: [orders, customers]

- name: Fail if the cluster is not healthy
  couchpy.couchdb.couchdb_info:
    gather_subset: [cluster]
  register: couch
  failed_when: couch is failed or couch.cluster.health != 'healthy'

- name: Wait until the cluster is in sync
  couchpy.couchdb.couchdb_info:
    gather_subset: [cluster]
    wait: true
    wait_timeout: 600

- name: Gather the declaration of a server
  couchpy.couchdb.couchdb_info:
    gather_subset: [declaration]
    include_secrets: true
  no_log: true
  register: couch

- name: Apply it to another server
  couchpy.couchdb.couchdb_server:
    url: http://other.example.com:5984/
    settings: "{{ couch.declaration.settings | default(omit) }}"
    databases: "{{ couch.declaration.databases | default(omit) }}"
    users: "{{ couch.declaration.users | default(omit) }}"

- name: Gather everything except the log and the statistics
  couchpy.couchdb.couchdb_info:
    gather_subset: [all, '!log', '!stats']
"""

RETURN = r"""
server:
  description: The welcome object of the server.
  type: dict
  returned: when gathered
  sample: {"couchdb": "Welcome", "version": "3.5.2", "uuid": "85fb71bf700c17267fef77535820e371", "features": ["scheduler"]}
databases:
  description: The databases, in the order of O(databases), or as the server sorts them.
  type: list
  elements: dict
  returned: when gathered
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
      description: CouchDB's information about it, such as C(doc_count), C(sizes) in bytes and C(cluster). V(null) if it does not exist.
      type: dict
      returned: always
      sample: {"db_name": "orders", "doc_count": 17, "cluster": {"q": 2, "n": 1, "w": 1, "r": 1}}
config:
  description: The settings of the node, by section and key.
  type: dict
  returned: when gathered
  sample: {"log": {"level": "info"}, "chttpd_auth": {"secret": "********"}}
admins:
  description: The server admins of the node.
  type: list
  elements: dict
  returned: when gathered
  contains:
    name:
      description: Name of the admin.
      type: str
      returned: always
      sample: admin
    scheme:
      description: How the password is hashed, V(pbkdf2) or V(simple). V(null) if the hash scheme is unknown.
      type: str
      returned: always
      sample: pbkdf2
    iterations:
      description: Iterations of the hash. V(null) if it has none.
      type: int
      returned: always
      sample: 600000
stats:
  description: The statistics of the node.
  type: dict
  returned: when gathered
  sample: {"couchdb": {"open_databases": {"value": 4, "type": "counter", "desc": "number of open databases"}}}
system:
  description: Information about the Erlang virtual machine of the node. C(uptime) is in seconds, memory in bytes.
  type: dict
  returned: when gathered
  sample: {"uptime": 259200, "run_queue": 0}
active_tasks:
  description: Running tasks, such as compactions, indexers and replications.
  type: list
  elements: dict
  returned: when gathered
  sample: []
versions:
  description: The versions of what the node is made of, from CouchDB 3.3 on.
  type: dict
  returned: when gathered
  sample: {"erlang": {"version": "25.2.3"}, "javascript_engine": {"name": "quickjs"}, "collation_driver": {"name": "libicu"}}
smoosh:
  description: The queues of automatic compaction of the node, from CouchDB 3.4 on.
  type: dict
  returned: when gathered
  sample: {"channels": {"ratio_dbs": {"waiting": {"size": 0, "min": 0, "max": 0}, "starting": 0, "active": 1}}}
certificate:
  description:
    - The TLS certificate that the server presents. V(null) without TLS, with O(validate_certs=false), and if only a proxy reaches the
      server.
    - CouchDB reads a renewed certificate at the same path by itself, within about two minutes.
  type: dict
  returned: when gathered
  sample:
    subject: organizationName=Example
    issuer: organizationName=Example CA
    names: [db.example.com]
    not_before: "2026-01-01T00:00:00Z"
    not_after: "2027-01-01T00:00:00Z"
    days_left: 89
cluster:
  description: The nodes, and the health of the cluster. A single server is a cluster of one node.
  type: dict
  returned: when gathered
  contains:
    members:
      description: Names of the members.
      type: list
      elements: str
      returned: always
      sample: [couchdb@10.0.0.1, couchdb@10.0.0.2, couchdb@10.0.0.3]
    connected:
      description: Names of the nodes that the answering node is connected to, including itself.
      type: list
      elements: str
      returned: always
      sample: [couchdb@10.0.0.1, couchdb@10.0.0.2]
    nodes:
      description: The members, and other connected nodes.
      type: list
      elements: dict
      returned: always
      contains:
        name:
          description: Name of the node.
          type: str
          returned: always
          sample: couchdb@10.0.0.1
        member:
          description: Whether it is a member. A removed node stays connected while it runs.
          type: bool
          returned: always
          sample: true
        connected:
          description: Whether the answering node is connected to it.
          type: bool
          returned: always
          sample: true
        shards:
          description: How many copies of shards it has, of all databases together. V(null) before CouchDB 3.0.
          type: int
          returned: always
          sample: 12
        maintenance:
          description:
            - Whether it is in maintenance mode, that is, whether its setting C(couchdb/maintenance_mode) is V(true) or V(nolb).
              V(null) if the node does not answer, and on CouchDB 1.x.
          type: bool
          returned: always
          sample: false
    health:
      description:
        - V(healthy) if every member is connected, is not in maintenance mode, and has its copies of shards.
        - V(down) if all copies of a shard are on nodes that are down or in maintenance mode, so that its documents cannot be read or written.
        - V(degraded) for anything between. RV(cluster.problems) says what.
        - CouchDB 1.x is V(healthy) if it answers.
      type: str
      returned: always
      sample: degraded
    problems:
      description: The problems, one sentence each. Empty if it is V(healthy).
      type: list
      elements: str
      returned: always
      sample: ["couchdb@10.0.0.3 is a member and is not connected", "some copy of a shard is not in service: orders, customers"]
    in_sync:
      description:
        - Whether the cluster is in sync. That is when all members are up, connected with each other and out of maintenance mode, no internal
          replication waits, all shards are on members, all copies that were moved are full, and no resharding job is unfinished.
        - V(null) before CouchDB 3.0.
      type: bool
      returned: always
      sample: true
    gaps:
      description: What keeps the cluster from being in sync, a sentence each.
      type: list
      elements: str
      returned: always
      sample: ["couchdb@10.0.0.3 has 2 shards to copy to other nodes"]
shards:
  description: Where the copies of shards are, from CouchDB 3.0 on.
  type: dict
  returned: when gathered
  contains:
    zones:
      description: The zones of the members that have one, by name.
      type: dict
      returned: always
      sample: {"couchdb@10.0.0.1": "east", "couchdb@10.0.0.2": "west"}
    databases:
      description: The databases, or those of O(databases), each with its C(ranges), which map a range to the nodes that have a copy of it.
      type: list
      elements: dict
      returned: always
      sample: [{"name": "orders", "ranges": {"00000000-7fffffff": ["couchdb@10.0.0.1"], "80000000-ffffffff": ["couchdb@10.0.0.2"]}}]
health:
  description:
    - The health of the server as a whole, of its cluster, its replications and its certificate.
    - Takes five seconds more if a replication has changes to copy, as only a second reading shows whether it makes progress.
  type: dict
  returned: when gathered
  contains:
    status:
      description: As RV(cluster.health). V(degraded) also for a replication without progress, or a certificate that expires soon.
      type: str
      returned: always
      sample: degraded
    problems:
      description: What is wrong, a sentence each. Empty if nothing is.
      type: list
      elements: str
      returned: always
      sample: ["the replication orders_to_backup is failed: db_not_found", "the TLS certificate expires in 12 days, at 2026-12-10T00:00:00Z"]
    in_sync:
      description: As RV(cluster.in_sync). It does not change the status, as what is written is on its way to other nodes all the time.
      type: bool
      returned: always
      sample: true
    gaps:
      description: As RV(cluster.gaps).
      type: list
      elements: str
      returned: always
    replications:
      description:
        - The replications without progress. C(failed) ones never start again by themselves, C(crashing) ones are retried at growing
          intervals, C(stalled) ones run and copied none of their pending changes between two looks.
      type: dict
      returned: always
      sample: {"failed": [{"name": "orders_to_backup", "database": "_replicator", "reason": "db_not_found"}], "crashing": [], "stalled": []}
    certificate:
      description: As RV(certificate).
      type: dict
      returned: always
replications:
  description: The replications, with and without a document.
  type: list
  elements: dict
  returned: when gathered
  contains:
    name:
      description: Name of the document that declares it. V(null) if it has no document.
      type: str
      returned: always
      sample: orders_to_backup
    database:
      description: Database of that document.
      type: str
      returned: always
      sample: _replicator
    state:
      description: Such as V(running), V(crashing), V(failed) or V(completed). V(null) if the server does not report it yet.
      type: str
      returned: always
      sample: running
    source:
      description: The database to copy from.
      type: raw
      returned: always
      sample: http://db.example.com:5984/orders/
    target:
      description: The database to copy to.
      type: raw
      returned: always
      sample: http://backup.example.com:5984/orders/
    info:
      description: The server's counters, such as C(docs_written), or C(error) if it fails.
      type: dict
      returned: always
      sample: {"docs_read": 17, "docs_written": 17, "doc_write_failures": 0}
session:
  description: The session of the task, with its user and roles.
  type: dict
  returned: when gathered
  sample: {"ok": true, "userCtx": {"name": "admin", "roles": ["_admin"]}}
declaration:
  description:
    - The server as the options of M(couchpy.couchdb.couchdb_server) declare it. Applied to the same server, it changes nothing.
    - C(settings) are those that differ from the defaults of the server's version; C(databases) have their security and limits only where
      these are not the defaults; C(jwt_keys) are the keys of JSON web tokens; C(members) are the members of a cluster.
    - Everything has the spelling in which the modules write it. So a server that is made from a declaration has the same declaration.
    - A part that is empty is missing.
  type: dict
  returned: when gathered
  sample: {"databases": [{"name": "orders", "shards": 2, "replicas": 3}], "users": [{"name": "ann", "roles": ["shop"], "password_hash": "********"}]}
not_declared:
  description: What the server holds and the declaration leaves out.
  type: list
  elements: dict
  returned: when the declaration is gathered
  contains:
    part:
      description: The part of the declaration that it would belong to.
      type: str
      returned: always
      sample: settings
    name:
      description: Its name. V(*) means the whole part.
      type: str
      returned: always
      sample: couchdb/uuid
    reason:
      description: Why it is not declared.
      type: str
      returned: always
      sample: the identity of this server, which replication checkpoints refer to
log:
  description:
    - The last 1000 bytes of the server's log. CouchDB 2 and 3 have no call for it. With them, the module reads the log file that the settings
      name, if the server is on the host that runs the module.
  type: str
  returned: when gathered
  sample: "[notice] 2026-01-01T00:00:00.000000Z couchdb@127.0.0.1 <0.250.0> -------- started"
"""

from ansible_collections.couchpy.couchdb.plugins.module_utils._engine.module import run
from ansible_collections.couchpy.couchdb.plugins.module_utils._resources.info import RESOURCE


def main() -> None:
    """Run the module."""
    run(RESOURCE)


if __name__ == "__main__":
    main()
