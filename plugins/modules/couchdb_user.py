#!/usr/bin/python

# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

"""couchdb_user: users with their roles, attributes and passwords."""

from __future__ import annotations

DOCUMENTATION = r"""
module: couchdb_user
short_description: Manage users of CouchDB
version_added: 1.0.0
author: CouchPy contributors (@couchpy)
description:
  - Creates, changes and removes users, which are documents in the database C(_users).
  - Manages one user, or several with O(users). All are read together, and all that differ are written together.
  - The module hashes passwords with the hash scheme that the server's version uses, and does not send them. Whether a user has a password
    already is checked against the stored hash, never by a login. For CouchDB 3.4 and later, each check takes about 0.2 seconds of one
    core, and all cores are used. With O(update_password=on_create), there are no checks.
extends_documentation_fragment:
  - couchpy.couchdb.connection
  - couchpy.couchdb.users
  - couchpy.couchdb.attributes
  - couchpy.couchdb.attributes.writing
options:
  name:
    description:
      - Name of a single user. It must not contain a colon or begin with an underscore.
    type: str
  state:
    description:
      - V(present) ensures that the user exists, V(absent) removes it.
      - For O(users), it applies to the users that do not set it.
    type: str
    choices: [present, absent]
    default: present
  update_password:
    description:
      - V(always) updates the password of an existing user if it differs.
      - V(on_create) keeps the password of an existing user.
      - For O(users), it applies to the users that do not set it.
    type: str
    choices: [always, on_create]
    default: always
notes:
  - Attributes are compared as JSON values. V(1) and V(true) differ, V(1) and V(1.0) do not.
  - The task is refused if C(module_defaults) of the action group sets C(password), as it would become the password of managed accounts.
    Set O(login_user) and O(login_password) there.
  - As passwords are sent hashed, the server's setting C(chttpd_auth/password_regexp) does not apply to them.
seealso:
  - name: Users
    description: The documents that CouchDB stores them in.
    link: https://docs.couchdb.org/en/stable/intro/security.html#authentication-database
  - module: couchpy.couchdb.couchdb_admin
  - module: couchpy.couchdb.couchdb_database
  - plugin: couchpy.couchdb.password_hash
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Create a user
  couchpy.couchdb.couchdb_user:
    url: http://db.example.com:5984/
    login_user: admin
    login_password: "{{ couchdb_admin_password }}"
    name: ann
    password: "{{ couchdb_ann_password }}"
    roles: [shop]
    attributes:
      email: ann@example.com

- name: Manage several users, who may change their passwords later
  couchpy.couchdb.couchdb_user:
    users:
      - name: ben
        password: "{{ couchdb_ben_password }}"
        roles: [shop, ops]
        update_password: on_create
      - name: sensor
        password_hash: "{{ couchdb_sensor_hash }}"
      - name: carl
        state: absent

- name: Change only the roles of a user
  couchpy.couchdb.couchdb_user:
    name: ann
    roles: [shop, ops]
"""

RETURN = r"""
users:
  description: The users after the task, or as predicted in check mode, in the order of the task.
  type: list
  elements: dict
  returned: success
  contains:
    name:
      description: Name of the user.
      type: str
      returned: always
      sample: ann
    exists:
      description: Whether the user exists.
      type: bool
      returned: always
      sample: true
    roles:
      description: Roles of the user. V(null) if the user does not exist.
      type: list
      elements: str
      returned: always
      sample: [shop]
    attributes:
      description: Other fields of the user's document, secrets masked. V(null) if the user does not exist.
      type: dict
      returned: always
      sample: {"email": "ann@example.com"}
    scheme:
      description: How the password is hashed, V(pbkdf2) or V(simple). V(null) if the user has no password, or the hash scheme is unknown.
      type: str
      returned: always
      sample: pbkdf2
    iterations:
      description: Iterations of the hash. V(null) if it has none.
      type: int
      returned: always
      sample: 600000
"""

from ansible_collections.couchpy.couchdb.plugins.module_utils._engine.module import run
from ansible_collections.couchpy.couchdb.plugins.module_utils._resources.users import RESOURCE


def main() -> None:
    """Run the module."""
    run(RESOURCE)


if __name__ == "__main__":
    main()
