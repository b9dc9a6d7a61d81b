#!/usr/bin/python

# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

"""couchdb_cluster: which nodes are the members of a cluster, connected, with CouchDB's own databases."""

from __future__ import annotations

DOCUMENTATION = r"""
module: couchdb_cluster
short_description: Manage the members of a CouchDB cluster
version_added: 1.0.0
author: CouchPy contributors (@couchpy)
description:
  - Makes nodes the members of one cluster, waits until they are connected, and creates CouchDB's own databases.
  - Run it on one member. The nodes that join must not belong to another cluster.
  - A member alone is set up as CouchDB's single-node setup does it, with one copy of what it holds. When others join it, the setting
    C(cluster/n) of one copy, which that left behind, becomes that of a cluster again. Databases that are there keep their copies.
  - CouchDB does not move shards by itself. A member that leaves must not hold any, and a database that was there before members joined
    stays where it is.
extends_documentation_fragment:
  - couchpy.couchdb.connection
  - couchpy.couchdb.attributes
  - couchpy.couchdb.attributes.writing
options:
  members:
    description:
      - The nodes that are members. Each is a node's name, such as V(couchdb@10.0.0.1), or a mapping with C(name) and C(url).
      - The node that answers at O(url) must be one of them.
      - With a C(url), the address at which this node answers, the task first asks there whether the node goes by its C(name), and
        whether it has what all must have alike, which are CouchDB's version, the server admins with their password hashes, and the settings
        C(couchdb/uuid) and C(chttpd_auth/secret). Databases that both sides have created are refused, as CouchDB would lose one of each two.
        System databases of a node that was alone are such ones; delete them there when nothing is in them.
        The credentials are those of the task, unless the C(url) has its own.
      - A node that is given by its name alone joins unseen.
    type: list
    elements: raw
    required: true
  exclusive:
    description:
      - Whether members that O(members) doesn't name are taken out. If V(false), they are left.
      - A member that still holds shards is refused, unless O(force=true).
      - CouchDB tells a node that was taken out nothing of it. It goes on listing the members, and databases that are created on it
        still spread to them. Stop it, and empty its data directory before it is used again.
    type: bool
    default: false
  system_databases:
    description:
      - CouchDB's own databases that are created once the members are connected, so that each member can hold a copy.
      - Those that are there are left as they are. The task warns when one has fewer copies than it could have.
    type: list
    elements: str
    choices: [_users, _replicator, _global_changes]
    default: [_users, _replicator]
  force:
    description:
      - Whether members are taken out with O(exclusive=true) though they hold shards. B(What no other member holds is lost.)
    type: bool
    default: false
  wait:
    description:
      - Whether to wait until the members are connected, and until each that has a C(url) says so too.
      - If V(false), nodes are listed as members and the task ends. A node that never connects stays listed then, and system databases are
        created only by a run that finds all members connected.
    type: bool
    default: true
  wait_timeout:
    description:
      - How long to wait, in seconds. A node that has not connected by then is taken out again, when it is this run that let it in.
    type: int
    default: 60
notes:
  - The Erlang cookie can't be asked over HTTP. A member with another one does not connect, as one does not whose name the others can't
    resolve, or whose ports (4369 and those of Erlang's distribution) are closed to them.
  - A member that is down stays a member, and the task fails when it doesn't come back in time.
  - Needs CouchDB 3.0.
seealso:
  - name: Clusters
    description: How CouchDB's clusters are set up.
    link: https://docs.couchdb.org/en/stable/setup/cluster.html
  - name: Shards
    description: How shards are moved before a member leaves.
    link: https://docs.couchdb.org/en/stable/cluster/sharding.html
  - module: couchpy.couchdb.couchdb_config
  - module: couchpy.couchdb.couchdb_info
"""

EXAMPLES = r"""
- name: Three nodes, one cluster
  couchpy.couchdb.couchdb_cluster:
    url: http://10.0.0.1:5984/
    login_user: admin
    login_password: "{{ couchdb_admin_password }}"
    members:
      - {name: couchdb@10.0.0.1, url: "http://10.0.0.1:5984/"}
      - {name: couchdb@10.0.0.2, url: "http://10.0.0.2:5984/"}
      - {name: couchdb@10.0.0.3, url: "http://10.0.0.3:5984/"}

- name: These and no others, once the shards of the old one are moved
  couchpy.couchdb.couchdb_cluster:
    members: [couchdb@10.0.0.1, couchdb@10.0.0.2, couchdb@10.0.0.4]
    exclusive: true

- name: One node alone
  couchpy.couchdb.couchdb_cluster:
    members: [couchdb@127.0.0.1]
    system_databases: [_users, _replicator, _global_changes]
"""

RETURN = r"""
cluster:
  description: The cluster as the answering node has it.
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
      description: Those of the members that are connected, the answering one included.
      type: list
      elements: str
      returned: always
      sample: [couchdb@10.0.0.1, couchdb@10.0.0.2, couchdb@10.0.0.3]
    state:
      description: V(single) for one member, V(joined) when all members are connected, else V(incomplete).
      type: str
      returned: always
      sample: joined
"""

from ansible_collections.couchpy.couchdb.plugins.module_utils._engine.module import run
from ansible_collections.couchpy.couchdb.plugins.module_utils._resources.cluster import RESOURCE


def main() -> None:
    """Run the module."""
    run(RESOURCE)


if __name__ == "__main__":
    main()
