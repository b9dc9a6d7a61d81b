#!/usr/bin/python

# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

"""couchdb_restart: restart nodes one after the other, each up again before the next restarts."""

from __future__ import annotations

DOCUMENTATION = r"""
module: couchdb_restart
short_description: Restart CouchDB nodes over HTTP, one after the other
version_added: 1.0.0
author: CouchPy contributors (@couchpy)
description:
  - Restarts the nodes of a CouchDB one by one, and waits until each is up again. The node's uptime proves it, as a node still answers for a
    moment after the restart was requested.
  - All requests go through the node at O(url), which restarts last if it is among the nodes.
  - No node is restarted while another member of the cluster is down or in maintenance mode. Each node waits until the previous one serves
    requests and the cluster is in sync, as RV(couchpy.couchdb.couchdb_info#module:cluster.in_sync) says. Then every member is connected to
    every other, nothing waits to be copied between them, all shards are on members, and no move or split of shards is unfinished.
extends_documentation_fragment:
  - couchpy.couchdb.connection
  - couchpy.couchdb.attributes
  - couchpy.couchdb.attributes.acting
options:
  nodes:
    description:
      - Names of the nodes to restart, such as V(couchdb@10.0.0.1). V(all) means each node of the cluster, V(_local) the node that answers.
      - If O(url) is that of a load balancer, V(_local) could be any node. The task fails before it restarts anything if different nodes
        answer there. Name the nodes, use V(all), or set the URL of one node.
      - CouchDB 1.x is one node, V(_local).
    type: list
    elements: str
    default: [_local]
  maintenance_mode:
    description:
      - Whether to put each node in maintenance mode before it restarts. Its C(/_up) then answers 404, so that load balancers that check it
        send the node no more requests, and the node gets O(drain_time) to finish its current requests.
      - In a cluster, the node starts in maintenance mode as well, and serves again once the cluster is in sync and it has the last writes.
        Without this option, reads can lack the writes that it missed for some seconds.
      - If the task fails, maintenance mode is reset. If it is killed, a node of a cluster stays in it until the task runs again, or another
        one with O(phase=rejoin). The restart of a single node ends it.
      - A node that was in maintenance mode before the task is in it again afterwards, with or without this option.
      - CouchDB 1.x has no maintenance mode.
    type: bool
    default: false
  drain_time:
    description:
      - Seconds between the start of a node's maintenance mode and its restart. Used with O(maintenance_mode) only.
      - It should cover the time in which load balancers notice, plus the time that requests may take. HTTP does not show how many requests
        a node still serves.
    type: int
    default: 10
  wait:
    description:
      - Whether to wait until each node is up again and the cluster is in sync. If V(false), the task can restart one node only,
        O(maintenance_mode) cannot be used, and nothing proves that the node restarted.
    type: bool
    default: true
  wait_timeout:
    description:
      - How many seconds to wait until the cluster is in sync before a node restarts, and how many the node may take until it is up again and
        the cluster is in sync.
    type: int
    default: 120
  force:
    description:
      - Whether to restart nodes even if other members of the cluster are down or in maintenance mode, or shards are not in sync. Databases
        may then lack the copies that they need for reads and writes. If a node to restart is down itself, the task reports it at the end.
    type: bool
    default: false
  phase:
    description:
      - V(all) restarts the nodes. The others are the halves of a restart that another tool does, such as a service manager or a package
        manager. O(nodes) must name one node.
      - V(drain) waits until the cluster is in sync, puts the node in maintenance mode, and waits O(drain_time) seconds. Then stop the node. Have
        it start in maintenance mode, with C(maintenance_mode = true) in a file that it reads, so that it serves no old data.
      - V(rejoin) waits until the cluster is in sync, has the last writes copied to the node, and ends its maintenance mode.
      - Both set maintenance mode in the node's memory only. V(rejoin) also ends one that a killed task left in the node's files.
    type: str
    choices: [all, drain, rejoin]
    default: all
    version_added: 1.0.0
  final_mode:
    description:
      - Maintenance mode of the node after O(phase=rejoin), such as RV(nodes[].mode_before) that O(phase=drain) returned.
    type: str
    choices: ['false', nolb, 'true']
    default: 'false'
    version_added: 1.0.0
notes:
  - CouchDB 2.0 to 2.2 and PouchDB Server cannot be restarted over HTTP. The task fails and says so. CouchDB's call is meant for tests. If a
    service manager can restart CouchDB, prefer it, as it also does what this module cannot, such as starting another version.
  - Requires the credentials of a server admin.
seealso:
  - name: Restart API
    description: The call that this module uses.
    link: https://docs.couchdb.org/en/stable/api/server/common.html#node-node-name-restart
  - name: Maintenance mode
    description: How it affects a node.
    link: https://docs.couchdb.org/en/stable/config/couchdb.html#couchdb/maintenance_mode
  - module: couchpy.couchdb.couchdb_config
"""

EXAMPLES = r"""
- name: Restart a server
  couchpy.couchdb.couchdb_restart:
    url: http://db.example.com:5984/
    login_user: admin
    login_password: "{{ couchdb_admin_password }}"

- name: Restart every node of a cluster, each in maintenance mode first
  couchpy.couchdb.couchdb_restart:
    url: http://db1.example.com:5984/
    nodes: all
    maintenance_mode: true
    drain_time: 30

- name: Take a node out of service before its host is updated
  couchpy.couchdb.couchdb_restart:
    phase: drain
    drain_time: 30

- name: Put it back into service
  couchpy.couchdb.couchdb_restart:
    phase: rejoin
    wait_timeout: 600

- name: Restart all nodes if a changed setting requires it
  couchpy.couchdb.couchdb_restart:
    nodes: all
  when: settings.restart_required  # registered by couchdb_config
"""

RETURN = r"""
nodes:
  description: The nodes that restarted, or in check mode would restart, in that order. With O(phase=drain) and O(phase=rejoin) the node.
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
      description: Uptime of the node before the restart, in seconds. V(null) on CouchDB 1.x, which does not report it.
      type: int
      returned: always
      sample: 86400
    uptime_after:
      description: Uptime of the node when it answered again, in seconds. V(null) with O(wait=false), in check mode, and on CouchDB 1.x.
      type: int
      returned: always
      sample: 0
    seconds_away:
      description: Seconds from the request to restart until the node served requests again. V(null) with O(wait=false), and in check mode.
      type: float
      returned: always
      sample: 2.31
    mode_before:
      description: Maintenance mode of the node before the task.
      type: str
      returned: with O(phase=drain) or O(phase=rejoin)
      sample: 'false'
changes_done:
  description: If a restart fails, the nodes that restarted before it, each as V(restart node NAME).
  type: list
  elements: str
  returned: failure in the middle
  sample: [restart node couchdb@10.0.0.2]
changes_failed:
  description: If a restart fails, the node whose restart failed.
  type: list
  elements: str
  returned: failure in the middle
  sample: [restart node couchdb@10.0.0.3]
changes_unsure:
  description: If a restart fails, the nodes whose restart was sent and not confirmed.
  type: list
  elements: str
  returned: failure in the middle
  sample: [restart node couchdb@10.0.0.2]
changes_undone:
  description: If a restart fails, the nodes that were not restarted because of it.
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
