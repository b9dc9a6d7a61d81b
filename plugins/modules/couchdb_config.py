#!/usr/bin/python

# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

"""couchdb_config: the settings of the nodes of a server."""

from __future__ import annotations

DOCUMENTATION = r"""
module: couchdb_config
short_description: Manage the settings of CouchDB nodes
version_added: 1.0.0
author: CouchPy contributors (@couchpy)
description:
  - Sets and deletes settings of CouchDB over HTTP, on every node of a cluster or on some of them.
  - One request reads all settings of a node. Only the settings that differ are written.
extends_documentation_fragment:
  - couchpy.couchdb.connection
  - couchpy.couchdb.attributes
  - couchpy.couchdb.attributes.writing
options:
  settings:
    description:
      - Settings as a mapping of sections to mappings of keys to values. A value of V(null) means that the key is absent.
      - CouchDB's values are strings. Booleans and numbers are converted to CouchDB's spelling, and surrounding spaces are removed, as CouchDB
        does.
      - Settings that are not listed stay as they are.
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
      - Values that stop CouchDB are refused, with the form that the value must have. If the server does not answer after a change, the
        task fails and says how to restore the setting.
    type: raw
  state:
    description:
      - V(present) ensures that the settings have their values.
      - V(absent) deletes them, whatever their values in O(settings) are. From CouchDB 3.4 on, a deleted setting gets the value of the
        server's files again, so a default can stay visible. HTTP gives no way to distinguish it from a value that was set. So check mode
        predicts a change for it, while a real run deletes it and reports a change only if the deletion had an effect.
    type: str
    choices: [present, absent]
    default: present
  nodes:
    description:
      - Names of the nodes to manage, such as V(couchdb@10.0.0.1). V(all) means each node of the cluster, V(_local) the node that answers.
      - Beside other names, V(_local) is replaced by the name of its node, and each node is managed once.
      - CouchDB 1.x is one node, V(_local).
      - If a member of the cluster is down, the others are managed. The task then fails and lists what the node that is down missed.
    type: list
    elements: str
    default: [all]
  persist:
    description:
      - Whether CouchDB writes the settings to its files. With V(false) they are in memory only, and the next start of the node forgets
        them. CouchDB does not report which ones its files have, so that V(true) does not write what was set with V(false) before.
    type: bool
    default: true
notes:
  - This module does not manage server admins. Use M(couchpy.couchdb.couchdb_admin).
  - CouchDB logs each change of a setting with its value, as a notice. While this module sets a secret, such as C(chttpd_auth/secret) or
    a key in C(jwt_keys), the node logs warnings and errors only, so that the secret reaches no log. CouchDB stores it in its last ini file.
  - A new C(chttpd_auth/secret) on all nodes ends no session from CouchDB 3.5.2 on, which accepts the old secret until C(chttpd_auth/timeout)
    has passed. Before 3.5.2 all sessions end.
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
        obsolete: null  # deleted

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
    - The settings of the task after it, or as predicted in check mode, by node, section and key. A setting that is absent is V(null).
    - Secret values are masked. A node that is down is missing.
  type: dict
  returned: success
  sample:
    couchdb@127.0.0.1:
      log:
        level: warning
settings_before:
  description: The settings of the task before it, in the format of RV(settings).
  type: dict
  returned: success
  sample:
    couchdb@127.0.0.1:
      log:
        level: info
nodes_down:
  description: Names of the nodes that are down. Run the task again once they are up.
  type: list
  elements: str
  returned: success, and failure because nodes are down
  sample: [couchdb@10.0.0.3]
restart_required:
  description: Whether a setting changed that CouchDB reads only when it starts.
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
