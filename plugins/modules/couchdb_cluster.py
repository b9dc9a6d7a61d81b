#!/usr/bin/python

# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

"""couchdb_cluster: the members of a cluster, connected, with CouchDB's system databases."""

from __future__ import annotations

DOCUMENTATION = r"""
module: couchdb_cluster
short_description: Manage the members of a CouchDB cluster
version_added: 1.0.0
author: CouchPy contributors (@couchpy)
description:
  - Makes nodes members of one cluster, waits until they are connected, and creates CouchDB's system databases.
  - Run it on one member. Nodes that join must not belong to another cluster.
  - A single member is set up like CouchDB's single-node setup, with one copy of each shard. When others join it, its setting C(cluster/n)
    of one copy is replaced by that of a cluster. Existing databases keep their copies.
  - CouchDB does not move shards by itself. The options O(drain), O(rebalance) and O(replace) move them while the cluster serves, as
    M(couchpy.couchdb.couchdb_shards) does. Without these, a member that leaves must not have any, and a database that existed before
    members joined keeps its placement.
extends_documentation_fragment:
  - couchpy.couchdb.connection
  - couchpy.couchdb.attributes
  - couchpy.couchdb.attributes.writing
options:
  members:
    description:
      - The members of the cluster. Each is the name of a node, such as V(couchdb@10.0.0.1), or a mapping with C(name), C(url)
        and C(zone). The zone is what CouchDB's setting C(cluster/placement) refers to.
      - The node that answers at O(url) must be one of them.
      - If a member has a C(url), the task first checks there that the node has this C(name), and the same CouchDB version, server admins
        with their password hashes, and settings C(couchdb/uuid) and C(chttpd_auth/secret) as the others. Databases that exist on both sides
        are refused, as CouchDB would lose one of the two. This includes the system databases of a former single node. Delete them there
        if they are empty.
      - The credentials for a C(url) are those of the task, unless the C(url) contains its own.
      - A node without a URL joins without these checks.
    type: list
    elements: raw
    required: true
  exclusive:
    description:
      - Whether to remove members that are not in O(members). If V(false), they stay.
      - Removing a member that still has shards is refused, unless O(drain=true) or O(force=true).
      - CouchDB does not notify a removed node. The node still lists the members, and databases that are created on it still spread to
        them. Stop it, and empty its data directory before using it again.
    type: bool
    default: false
  system_databases:
    description:
      - CouchDB's system databases to create after the members are connected, so that each member can have a copy.
      - Existing ones stay as they are. The task warns if one has fewer copies than it could have.
    type: list
    elements: str
    choices: [_users, _replicator, _global_changes]
    default: [_users, _replicator]
  drain:
    description:
      - Whether members that leave hand over their shards first. Needs O(exclusive=true).
      - The other members must be enough for the copies of each database.
      - A member that gets shards of a new database meanwhile hands these over as well. If it can't, it stays a member and the task fails.
    type: bool
    default: false
    version_added: 1.0.0
  rebalance:
    description:
      - Whether shards move so that each member has its share, as after members joined.
      - Each zone keeps its number of copies of a database, also with O(drain) and O(replace), as far as its members are enough. This does
        not apply to a database whose ranges differ in these numbers. M(couchpy.couchdb.couchdb_shards) sets others.
    type: bool
    default: false
    version_added: 1.0.0
  replace:
    description:
      - Nodes that are gone for good, by name, and the member that replaces each. Its copies are filled from the others.
      - The old node must be down. It leaves the cluster.
      - A node can be replaced by a new one of the same name. Set C(maintenance_mode = true) in the section C([couchdb]) of its
        C(local.ini) before it starts for the first time. Otherwise it serves empty copies at once. The task ends maintenance mode when
        they are full. A node that is not in maintenance mode counts as replaced.
      - Shards whose last copy was on the old node are refused, unless O(force=true).
    type: dict
    version_added: 1.0.0
  in_sync:
    description:
      - Whether to wait until the cluster is in sync, which is when all members are up, connected and out of maintenance mode, no internal
        replication waits, all shards are on members, all copies that were moved are full, and no resharding job is unfinished.
    type: bool
    default: false
    version_added: 1.0.0
  force:
    description:
      - Whether to remove members with O(exclusive=true) although they have shards, and to replace nodes that had the last copy of a shard,
        which is empty then. B(Data without a copy on another member is lost.)
    type: bool
    default: false
  wait:
    description:
      - Whether to wait until the members are connected, and until each member with a C(url) reports this too.
      - If V(false), the task lists the nodes as members and ends. A node that never connects then stays listed, and system databases are
        created only by a run that finds all members connected.
    type: bool
    default: true
  wait_timeout:
    description:
      - How long to wait for members to connect and to agree, in seconds. If a node that this run added has not connected by then, it is
        removed again, unless a database that was created meanwhile has shards on it.
      - For shards that move it is how long to wait for a copy that makes no progress. The move itself may take longer.
    type: int
    default: 60
notes:
  - HTTP gives no access to the Erlang cookie. A member does not connect if its cookie differs, if the others cannot resolve its name, or
    if its ports (4369 and those of Erlang's distribution) are closed to them.
  - A member that is down stays a member. The task fails if it does not come up in time.
  - Requires CouchDB 3.0.
seealso:
  - name: Clusters
    description: How to set up CouchDB clusters.
    link: https://docs.couchdb.org/en/stable/setup/cluster.html
  - name: Shards
    description: How to move shards before a member leaves.
    link: https://docs.couchdb.org/en/stable/cluster/sharding.html
  - module: couchpy.couchdb.couchdb_config
  - module: couchpy.couchdb.couchdb_info
"""

EXAMPLES = r"""
- name: Make three nodes a cluster
  couchpy.couchdb.couchdb_cluster:
    url: http://10.0.0.1:5984/
    login_user: admin
    login_password: "{{ couchdb_admin_password }}"
    members:
      - {name: couchdb@10.0.0.1, url: "http://10.0.0.1:5984/"}
      - {name: couchdb@10.0.0.2, url: "http://10.0.0.2:5984/"}
      - {name: couchdb@10.0.0.3, url: "http://10.0.0.3:5984/"}

- name: Replace a member by another, which takes over its shards
  couchpy.couchdb.couchdb_cluster:
    members: [couchdb@10.0.0.1, couchdb@10.0.0.2, couchdb@10.0.0.4]
    exclusive: true
    drain: true

- name: Add a fourth member with its share of the shards, in zones
  couchpy.couchdb.couchdb_cluster:
    members:
      - {name: couchdb@10.0.0.1, zone: west}
      - {name: couchdb@10.0.0.2, zone: west}
      - {name: couchdb@10.0.1.3, zone: east}
      - {name: couchdb@10.0.1.4, zone: east, url: "http://10.0.1.4:5984/"}
    rebalance: true

- name: Replace the second node, which is broken for good
  couchpy.couchdb.couchdb_cluster:
    members: [couchdb@10.0.0.1, couchdb@10.0.0.3, couchdb@10.0.0.5]
    replace:
      couchdb@10.0.0.2: couchdb@10.0.0.5

- name: Go on only when the cluster is in sync
  couchpy.couchdb.couchdb_cluster:
    members: [couchdb@10.0.0.1, couchdb@10.0.0.2, couchdb@10.0.0.3]
    in_sync: true

- name: Set up a single node
  couchpy.couchdb.couchdb_cluster:
    members: [couchdb@127.0.0.1]
    system_databases: [_users, _replicator, _global_changes]
"""

RETURN = r"""
cluster:
  description: The cluster as the node that answers reports it.
  type: dict
  returned: success
  contains:
    members:
      description: Names of the members.
      type: list
      elements: str
      returned: always
      sample: [couchdb@10.0.0.1, couchdb@10.0.0.2, couchdb@10.0.0.3]
    connected:
      description: Names of the members that are connected, including the node that answers.
      type: list
      elements: str
      returned: always
      sample: [couchdb@10.0.0.1, couchdb@10.0.0.2, couchdb@10.0.0.3]
    state:
      description: V(single) for one member, V(joined) if all members are connected, else V(incomplete).
      type: str
      returned: always
      sample: joined
moved:
  description: The copies of shards that were made, or in check mode would be, as M(couchpy.couchdb.couchdb_shards) returns them.
  type: list
  elements: dict
  returned: success
  sample:
    - {database: orders, range: 00000000-7fffffff, node: couchdb@10.0.0.4, documents: 60000, bytes: 20971520}
"""

from ansible_collections.couchpy.couchdb.plugins.module_utils._engine.module import run
from ansible_collections.couchpy.couchdb.plugins.module_utils._resources.cluster import RESOURCE


def main() -> None:
    """Run the module."""
    run(RESOURCE)


if __name__ == "__main__":
    main()
