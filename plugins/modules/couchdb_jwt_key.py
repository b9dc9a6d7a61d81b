#!/usr/bin/python

# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

"""couchdb_jwt_key: keys that verify JSON web tokens, the same on every node."""

from __future__ import annotations

DOCUMENTATION = r"""
module: couchdb_jwt_key
short_description: Manage the keys of JSON web tokens in CouchDB
version_added: 1.0.0
author: CouchPy contributors (@couchpy)
description:
  - Creates, replaces and removes the keys with which CouchDB verifies JSON web tokens (JWT), on every node.
  - Manages one key, or several with O(jwt_keys). All are read together.
  - A key is compared by what it is, not by how it is spelt. The module never shows it.
extends_documentation_fragment:
  - couchpy.couchdb.connection
  - couchpy.couchdb.jwt_keys
  - couchpy.couchdb.attributes
  - couchpy.couchdb.attributes.writing
options:
  kid:
    description:
      - Key id of a single key, as in the header C(kid) of the tokens. V(_default) verifies tokens without one.
      - It must not contain a colon or an equals sign.
    type: str
  type:
    description:
      - Type of the key. V(hmac) verifies the algorithms HS256 to HS512, V(rsa) RS256 to RS512, and V(ec) ES256 to ES512.
      - No release of CouchDB up to 3.5 has V(ed).
      - For O(jwt_keys), it applies to the keys that do not set it.
    type: str
    choices: [hmac, rsa, ec, ed]
  base64:
    description:
      - Whether the secret is encoded in Base64, for O(type=hmac).
      - For O(jwt_keys), it applies to the keys that do not set it.
    type: bool
    default: false
  state:
    description:
      - V(present) ensures that the key exists.
      - V(absent) removes the key. Tokens that it signed are no longer accepted.
      - For O(jwt_keys), it applies to the keys that do not set it.
    type: str
    choices: [present, absent]
    default: present
  exclusive:
    description:
      - Whether to remove every key that the task does not declare.
    type: bool
    default: false
  authentication_handler:
    description:
      - Whether CouchDB authenticates requests with tokens. V(true) adds its handler to the setting C(chttpd/authentication_handlers),
        before the others, V(false) removes it. Other handlers stay.
      - A change takes effect when the node restarts. See RV(restart_required).
      - If not set, the handlers stay as they are.
    type: bool
  nodes:
    description:
      - Names of the nodes to manage, such as V(couchdb@10.0.0.1). V(all) means each node of the cluster, V(_local) the node that answers.
      - Beside other names, V(_local) is replaced by the name of its node, and each node is managed once.
      - If a member of the cluster is down, the others are managed. The task then fails and lists what the node that is down missed.
    type: list
    elements: str
    default: [all]
notes:
  - Requires CouchDB 3.1 or later.
  - The settings in C([jwt_auth]) decide which claims a token needs (C(required_claims), such as V(exp)) and which claim contains the roles
    of the user (C(roles_claim_path)). M(couchpy.couchdb.couchdb_config) sets them.
  - The key that verifies the token of the task's own login (O(headers)) can't be removed or replaced. Log in otherwise.
  - A token names its algorithm, and CouchDB finds the key by the type that belongs to it and by the key id.
  - To replace a key without rejecting any token, add the new key with another key id, sign with it, and remove the old key once its tokens
    have expired.
seealso:
  - name: JWT authentication
    description: How CouchDB verifies tokens.
    link: https://docs.couchdb.org/en/stable/api/server/authn.html#jwt-authentication
  - module: couchpy.couchdb.couchdb_config
"""

EXAMPLES = r"""
- name: Verify the tokens of an identity provider
  couchpy.couchdb.couchdb_jwt_key:
    url: http://db.example.com:5984/
    login_user: admin
    login_password: "{{ couchdb_admin_password }}"
    kid: "2026-01"
    type: rsa
    key: "{{ lookup('ansible.builtin.file', 'provider.pub.pem') }}"
    authentication_handler: true

- name: Verify tokens with the old and the new key, and with no other
  couchpy.couchdb.couchdb_jwt_key:
    type: ec
    jwt_keys:
      - kid: "2026-01"
        key: "{{ lookup('ansible.builtin.file', 'old.pub.pem') }}"
      - kid: "2026-07"
        key: "{{ lookup('ansible.builtin.file', 'new.pub.pem') }}"
    exclusive: true

- name: Verify tokens with a shared secret
  couchpy.couchdb.couchdb_jwt_key:
    kid: _default
    type: hmac
    key: "{{ couchdb_jwt_secret }}"

- name: Remove a key
  couchpy.couchdb.couchdb_jwt_key:
    kid: "2026-01"
    type: rsa
    state: absent
"""

RETURN = r"""
jwt_keys:
  description: The keys after the task, or as predicted in check mode, in the order of the task.
  type: list
  elements: dict
  returned: success
  contains:
    kid:
      description: Key id.
      type: str
      returned: always
      sample: 2026-01
    type:
      description: Type of the key.
      type: str
      returned: always
      sample: rsa
    nodes:
      description: Names of the managed nodes that have the key.
      type: list
      elements: str
      returned: always
      sample: [couchdb@10.0.0.1, couchdb@10.0.0.2, couchdb@10.0.0.3]
restart_required:
  description: Whether the nodes must restart, because the task changed their handlers of authentication.
  type: bool
  returned: success
  sample: false
nodes_down:
  description: Names of the nodes that are down. Run the task again once they are up.
  type: list
  elements: str
  returned: success, and failure because nodes are down
  sample: [couchdb@10.0.0.3]
"""

from ansible_collections.couchpy.couchdb.plugins.module_utils._engine.module import run
from ansible_collections.couchpy.couchdb.plugins.module_utils._resources.jwt_keys import RESOURCE


def main() -> None:
    """Run the module."""
    run(RESOURCE)


if __name__ == "__main__":
    main()
