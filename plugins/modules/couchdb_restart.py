#!/usr/bin/python

# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

"""couchdb_restart: nodes restart one after the other, each proved to be back before the next goes."""

from __future__ import annotations

DOCUMENTATION = r"""
module: couchdb_restart
short_description: Restart CouchDB nodes over HTTP, one after the other
version_added: 1.0.0
author: CouchPy contributors (@couchpy)
description:
  - Asks the nodes of a CouchDB to restart, each in turn, and waits until each is back. That is proved by its uptime, as a node goes on
    answering for a moment after it was asked.
  - All nodes are asked through the one at O(url), which restarts last when it is among them.
  - No node is asked to restart while another member of the cluster is down. The next one waits until the one before serves again and
    the cluster is whole, that is, until every member is connected with every other and no shard waits to be copied between them.
extends_documentation_fragment:
  - couchpy.couchdb.connection
  - couchpy.couchdb.attributes
  - couchpy.couchdb.attributes.acting
options:
  nodes:
    description:
      - Names of the nodes to restart, such as V(couchdb@10.0.0.1). V(all) means each node of the cluster, V(_local) the one that answers.
      - Behind the address of a load balancer, V(_local) could be any node. The task fails before it asks anything when different nodes
        answer there. Name the nodes, use V(all), or give the address of one.
      - CouchDB 1.x is one node, V(_local).
    type: list
    elements: str
    default: [_local]
  maintenance_mode:
    description:
      - Whether each node is taken out of service before it restarts. Its C(/_up) answers 404 then, so that load balancers which ask
        for that send it no more requests, and it gets O(drain_time) to end those that it has.
      - This is kept in the node's memory only, so that its restart ends it even when this task is gone by then. When the node is not
        restarted after all, it is undone.
      - A node that was in maintenance mode before the task is so after it, with this option and without it.
      - CouchDB 1.x has no maintenance mode.
    type: bool
    default: false
  drain_time:
    description:
      - Seconds between a node's leaving service and its restart. Used with O(maintenance_mode) only.
      - It should be longer than load balancers need to notice, and then as long as requests may take. Nothing over HTTP tells how many
        requests a node still serves.
    type: int
    default: 10
  wait:
    description:
      - Whether to wait until each node is back and the cluster is whole. Without it, one node can be asked and no more, O(maintenance_mode)
        can't be used, and nothing proves that the node restarted.
    type: bool
    default: true
  wait_timeout:
    description:
      - Seconds that each node may take until it is back and the cluster is whole.
    type: int
    default: 120
  force:
    description:
      - Whether to restart nodes also when other members of the cluster are down already, which can leave databases without enough copies to
        be read or written. A member that is down and is to be restarted is told at the end.
    type: bool
    default: false
notes:
  - CouchDB 2.0 to 2.2 and PouchDB Server can't be restarted over HTTP, and the task says so. CouchDB means its call for tests; where a service manager
    restarts CouchDB, that does what this module doesn't, such as starting another version.
  - Needs the credentials of a server admin.
seealso:
  - name: Restart API
    description: The call that this module uses.
    link: https://docs.couchdb.org/en/stable/api/server/common.html#node-node-name-restart
  - name: Maintenance mode
    description: What it does to a node.
    link: https://docs.couchdb.org/en/stable/config/couchdb.html#couchdb/maintenance_mode
  - module: couchpy.couchdb.couchdb_config
"""

EXAMPLES = r"""
- name: Restart the server at this address
  couchpy.couchdb.couchdb_restart:
    url: http://db.example.com:5984/
    login_user: admin
    login_password: "{{ couchdb_admin_password }}"

- name: Restart every node of a cluster, each out of its load balancer's sight first
  couchpy.couchdb.couchdb_restart:
    url: http://db1.example.com:5984/
    nodes: all
    maintenance_mode: true
    drain_time: 30

- name: Restart nodes when a setting needs it
  couchpy.couchdb.couchdb_restart:
    nodes: all
  when: settings.restart_required  # registered by couchdb_config
"""

RETURN = r"""
nodes:
  description: The nodes that were restarted, or in check mode would be, in that order.
  type: list
  elements: dict
  returned: success
  contains:
    name:
      description: Name of the node.
      type: str
      returned: always
      sample: couchdb@10.0.0.1
    uptime_before:
      description: Seconds that it had been up. V(null) on CouchDB 1.x, which doesn't tell.
      type: int
      returned: always
      sample: 86400
    uptime_after:
      description: Seconds that it had been up when it was seen again. V(null) when that wasn't waited for, in check mode, and on CouchDB 1.x.
      type: int
      returned: always
      sample: 0
    seconds_away:
      description: Seconds from asking for the restart until the node served again. V(null) when that wasn't waited for, and in check mode.
      type: float
      returned: always
      sample: 2.31
changes_done:
  description: When a restart fails, the nodes that were restarted before, each as V(restart node NAME).
  type: list
  elements: str
  returned: failure in the middle
  sample: [restart node couchdb@10.0.0.2]
changes_failed:
  description: When a restart fails, the node whose restart it was.
  type: list
  elements: str
  returned: failure in the middle
  sample: [restart node couchdb@10.0.0.3]
changes_undone:
  description: When a restart fails, the nodes that were not asked any more.
  type: list
  elements: str
  returned: failure in the middle
  sample: [restart node couchdb@10.0.0.1]
"""

from ansible_collections.couchpy.couchdb.plugins.module_utils._engine.module import run
from ansible_collections.couchpy.couchdb.plugins.module_utils._resources.restart import RESOURCE


def main() -> None:
    """Run the module."""
    run(RESOURCE)


if __name__ == "__main__":
    main()
