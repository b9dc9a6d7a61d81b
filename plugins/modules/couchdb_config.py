#!/usr/bin/python

# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

"""couchdb_config: the settings of a server's nodes are as declared."""

from __future__ import annotations

DOCUMENTATION = r"""
module: couchdb_config
short_description: Manage the settings of CouchDB nodes
version_added: 1.0.0
author: CouchPy contributors (@couchpy)
description:
  - Sets and deletes settings of CouchDB over HTTP, on every node of a cluster or on some.
  - All settings of a node are read with one request, and only those that differ are written.
extends_documentation_fragment:
  - couchpy.couchdb.connection
  - couchpy.couchdb.attributes
  - couchpy.couchdb.attributes.writing
options:
  settings:
    description:
      - Settings as a mapping of sections to mappings of keys to values. A value of V(null) means that the key is to be absent.
      - Values are texts to CouchDB. Booleans and numbers are spelt as CouchDB spells them, and outer spaces are dropped, as it does.
      - Settings that are not named are left alone.
    type: dict
  section:
    description:
      - Section of a single setting.
    type: str
  key:
    description:
      - Key of a single setting.
    type: str
  value:
    description:
      - Value of a single setting. Required unless O(state=absent).
    type: raw
  state:
    description:
      - V(present) sees that the settings have their values.
      - V(absent) deletes them. The values in O(settings) don't matter then. From CouchDB 3.4 on, a deleted setting falls back to what
        the server's files hold, so a default can stay readable. Nothing over HTTP tells it from a value that was set, so check mode
        predicts a change for it, while a real run tries and reports a change only when there was one.
    type: str
    choices: [present, absent]
    default: present
  nodes:
    description:
      - Names of the nodes to manage, such as V(couchdb@10.0.0.1). V(all) means each node of the cluster, V(_local) the one that answers.
      - CouchDB 1.x is one node, V(_local).
      - A member of the cluster that is down doesn't keep the others from being managed. The task fails once they are, and tells what the
        one that is down missed.
    type: list
    elements: str
    default: [all]
notes:
  - Server admins are not managed here, but with M(couchpy.couchdb.couchdb_admin).
  - CouchDB writes the values that it is sent over HTTP to its log, so a secret such as C(chttpd_auth/secret) is better kept in a file
    on the server.
  - CouchDB refuses changes of some sections over HTTP, such as C(query_servers). This module refuses them before it changes anything.
seealso:
  - name: CouchDB's settings
    description: Every section and key.
    link: https://docs.couchdb.org/en/stable/config/index.html
  - name: Configuration API
    description: The calls that this module uses.
    link: https://docs.couchdb.org/en/stable/api/server/configuration.html
  - module: couchpy.couchdb.couchdb_info
"""

EXAMPLES = r"""
- name: Set several settings on every node
  couchpy.couchdb.couchdb_config:
    url: http://db.example.com:5984/
    login_user: admin
    login_password: "{{ couchdb_admin_password }}"
    settings:
      log:
        level: warning
      couchdb:
        max_document_size: 4194304
      chttpd:
        require_valid_user_except_for_up: true
      smoosh:
        obsolete: null  # absent

- name: Set one setting on the node that answers
  couchpy.couchdb.couchdb_config:
    section: log
    key: level
    value: debug
    nodes: _local

- name: Delete a setting from two nodes
  couchpy.couchdb.couchdb_config:
    section: log
    key: level
    state: absent
    nodes:
      - couchdb@10.0.0.1
      - couchdb@10.0.0.2
"""

RETURN = r"""
settings:
  description:
    - The named settings as they are after the task, or would be in check mode, by node, section and key. A setting that is absent is V(null).
    - Secret values are masked. A node that is down is not in it.
  type: dict
  returned: success
  sample:
    couchdb@127.0.0.1:
      log:
        level: warning
settings_before:
  description: The named settings as they were before the task, in the shape of RV(settings).
  type: dict
  returned: success
  sample:
    couchdb@127.0.0.1:
      log:
        level: info
nodes_down:
  description: The nodes that could not be reached; each is to be managed again once it is back.
  type: list
  elements: str
  returned: success, and failure because of them
  sample: [couchdb@10.0.0.3]
restart_required:
  description: Whether one of the settings that changed is read by CouchDB only when it starts.
  type: bool
  returned: success
  sample: false
"""

from ansible_collections.couchpy.couchdb.plugins.module_utils._engine.module import run
from ansible_collections.couchpy.couchdb.plugins.module_utils._resources.config import RESOURCE


def main() -> None:
    """Run the module."""
    run(RESOURCE)


if __name__ == "__main__":
    main()
