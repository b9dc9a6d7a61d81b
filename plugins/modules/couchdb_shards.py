#!/usr/bin/python

# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

"""couchdb_shards: which nodes of a cluster have the copies of shards, moved while the cluster serves."""

from __future__ import annotations

DOCUMENTATION = r"""
module: couchdb_shards
short_description: Place the shards of databases on the nodes of a CouchDB cluster
version_added: 1.0.0
author: CouchPy contributors (@couchpy)
description:
  - Moves copies of shards between the nodes of a cluster until they are as declared, while the cluster serves requests.
  - A new copy is filled while its node is in maintenance mode, as CouchDB reads from any copy, and an empty one may be the fastest. It is
    compared with the other copies before the node serves again. Only then, another copy is removed from the shard map, and finally deleted.
  - A range keeps as many full copies as it should have, and a majority of them in service, after each step. At most one node is in
    maintenance mode at a time.
  - A task that was interrupted leaves what it had begun in the cluster. Run it again, and it continues from there.
  - Besides documents, new copies get what CouchDB does not copy by itself, which are the revisions limit, the limit of purges, and local
    documents such as the checkpoints of replications.
extends_documentation_fragment:
  - couchpy.couchdb.connection
  - couchpy.couchdb.attributes
  - couchpy.couchdb.attributes.writing
options:
  databases:
    description:
      - The databases to place. By default all, with the system databases C(_users), C(_replicator) and C(_global_changes).
      - C(_dbs) and C(_nodes), CouchDB's own lists, are on every node and are not placed.
    type: list
    elements: str
  members:
    description:
      - The nodes that may have copies, by their names. By default all members of the cluster.
      - Copies on other nodes move to these.
    type: list
    elements: str
  copies:
    description:
      - The number of copies of each range. By default each database keeps its number, the largest of its ranges.
      - O(placement) sets it too. Both must say the same.
    type: int
  placement:
    description:
      - How many copies of each range each zone has, by zone. The words are those of CouchDB's setting C(cluster/placement).
      - The members get their zones with O(couchpy.couchdb.couchdb_cluster#module:members).
    type: dict
  state:
    description:
      - V(placed) moves only what has to move, which are copies on nodes that may not have them, missing copies, and those in the wrong zone.
      - V(balanced) also spreads the copies, so that the members have the same number of copies, or one more. With O(placement), the members of
        each zone have.
    type: str
    choices: [balanced, placed]
    default: balanced
  max_parallel:
    description: How many databases are copied at the same time.
    type: int
    default: 4
  wait:
    description:
      - Whether to wait until all copies are where they should be.
      - If V(false), the task starts to fill the next copies and ends. A later run finds those that are full, ends the maintenance mode of
        their node, which waits until the node has the last writes, and goes on with the next. Repeat it until RV(in_progress) is V(false).
        The node stays in maintenance mode between the runs.
    type: bool
    default: true
    version_added: 1.0.0
  wait_timeout:
    description: How long to wait for a copy that makes no progress, in seconds.
    type: int
    default: 3600
notes:
  - A node that has copies and gets others needs 3 copies of each shard that it has, so that the other two serve at the same time. A node
    without copies does not.
  - A load balancer must follow C(/_up), which answers 404 in maintenance mode. The node still answers requests that reach it.
  - While a node is in maintenance mode, other tasks can't change C(_security) and limits of databases that have copies there.
  - The shard map of a database has the field C(couchpy_move) while its copies move, and a node that a task put in maintenance mode the
    setting C(couchdb/couchpy_maintenance_mode). Both are removed at the end.
  - Needs CouchDB 3.0. CouchDB 2 has these calls on another port of each node, and 1.x has no shards.
seealso:
  - name: Shard management
    description: What is done by hand otherwise.
    link: https://docs.couchdb.org/en/stable/cluster/sharding.html
  - module: couchpy.couchdb.couchdb_cluster
  - module: couchpy.couchdb.couchdb_database
"""

EXAMPLES = r"""
- name: Spread the copies of all databases over all members
  couchpy.couchdb.couchdb_shards:
    url: http://10.0.0.1:5984/
    login_user: admin
    login_password: "{{ couchdb_admin_password }}"

- name: Nothing on the fourth node any more
  couchpy.couchdb.couchdb_shards:
    members: [couchdb@10.0.0.1, couchdb@10.0.0.2, couchdb@10.0.0.3]

- name: Three copies of a large database, without a task that runs for hours
  couchpy.couchdb.couchdb_shards:
    databases: [orders]
    copies: 3
    wait: false
  register: move
  until: not move.in_progress
  retries: 600
  delay: 60

- name: Two copies in one zone, one in the other
  couchpy.couchdb.couchdb_shards:
    databases: [orders, customers]
    placement:
      west: 2
      east: 1
"""

RETURN = r"""
databases:
  description: The databases that the task places, as they are after it.
  type: list
  elements: dict
  returned: success
  contains:
    name:
      description: Name of the database.
      type: str
      returned: always
      sample: orders
    copies:
      description: How many copies each range has.
      type: int
      returned: always
      sample: 3
    ranges:
      description: The nodes with a copy, by range.
      type: dict
      returned: always
      sample: {"00000000-7fffffff": ["couchdb@10.0.0.1", "couchdb@10.0.0.2", "couchdb@10.0.0.4"]}
moved:
  description: The copies that were made, or in check mode would be.
  type: list
  elements: dict
  returned: success
  contains:
    database:
      description: Name of the database.
      type: str
      returned: always
      sample: orders
    range:
      description: The range.
      type: str
      returned: always
      sample: 00000000-7fffffff
    node:
      description: The node that has the copy.
      type: str
      returned: always
      sample: couchdb@10.0.0.4
    documents:
      description: The documents of the copy. In check mode, the average of the database's ranges.
      type: int
      returned: always
      sample: 60000
    bytes:
      description: The size of its file in bytes. In check mode, the average of the database's ranges.
      type: int
      returned: always
      sample: 20971520
documents:
  description: The documents of all copies that were made, or would be.
  type: int
  returned: success
  sample: 120000
bytes:
  description: The bytes of all copies that were made, or would be.
  type: int
  returned: success
  sample: 41943040
in_progress:
  description: Whether a task with O(wait=false) has to run again. In check mode, whether the move takes more than one run.
  type: bool
  returned: success
  sample: false
waiting_for:
  description: What the next run has to wait for, if RV(in_progress).
  type: list
  elements: str
  returned: success
  sample: ["orders: 00000000-7fffffff on couchdb@10.0.0.4: it has 51000 documents, and change 51020 of 60100 of couchdb@10.0.0.1"]
"""

from ansible_collections.couchpy.couchdb.plugins.module_utils._engine.module import run
from ansible_collections.couchpy.couchdb.plugins.module_utils._resources.shards import RESOURCE


def main() -> None:
    """Run the module."""
    run(RESOURCE)


if __name__ == "__main__":
    main()
