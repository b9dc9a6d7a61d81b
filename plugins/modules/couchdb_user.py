#!/usr/bin/python

# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

"""couchdb_user: users are there with their roles, attributes and passwords, or are not."""

from __future__ import annotations

DOCUMENTATION = r"""
module: couchdb_user
short_description: Manage users of CouchDB
version_added: 1.0.0
author: CouchPy contributors (@couchpy)
description:
  - Creates, changes and removes users, which are documents in the database C(_users).
  - Takes one user, or any number of them in O(users). All are read together, and those that differ are written together.
  - Passwords are hashed by the module, in the way of the server's version, and are not sent. Whether a user has a password already is
    found out by computing its hash, never by a login. That takes about 0.2 seconds of one core for each user from CouchDB 3.4 on, and
    none with O(update_password=on_create). All cores are used.
extends_documentation_fragment:
  - couchpy.couchdb.connection
  - couchpy.couchdb.attributes
  - couchpy.couchdb.attributes.writing
options:
  name:
    description:
      - Name of a single user. It must not hold a colon or begin with an underscore.
    type: str
  password:
    description:
      - Password that the user is to have.
      - Without it and O(password_hash), a new user has none and can't log in with one.
    type: str
  password_hash:
    description:
      - Hash of the password, written as CouchDB writes those of server admins. It is taken as it is.
      - The filter P(couchpy.couchdb.password_hash#filter) makes one.
      - A new password needs a new salt. From CouchDB 3.4 on, a hash with the salt of the one that is there is refused, as CouchDB would
        go on taking the old password.
    type: str
  roles:
    description:
      - All roles of the user, in any order. If not set, those that there are stay, and a new user has none.
      - A role must not begin with an underscore. Such roles are CouchDB's own.
    type: list
    elements: str
  attributes:
    description:
      - Other fields of the user's document. Those that are given are set, all others stay.
    type: dict
  state:
    description:
      - Whether the user is to be there.
    type: str
    choices: [present, absent]
    default: present
  update_password:
    description:
      - V(always) sees that a user who is there has this password.
      - V(on_create) leaves the password of a user who is there alone.
    type: str
    choices: [always, on_create]
    default: always
  users:
    description:
      - Several users, each with the options of a single one. O(state) and O(update_password) apply to those that have none of their own.
    type: list
    elements: dict
    suboptions:
      name:
        description:
          - Name of the user.
        type: str
        required: true
      password:
        description:
          - Password that the user is to have.
        type: str
      password_hash:
        description:
          - Hash of the password, as in O(password_hash).
        type: str
      roles:
        description:
          - All roles of the user, as in O(roles).
        type: list
        elements: str
      attributes:
        description:
          - Other fields of the user's document, as in O(attributes).
        type: dict
      state:
        description:
          - Whether the user is to be there. If not set, O(state) applies.
        type: str
        choices: [present, absent]
      update_password:
        description:
          - Whether the password of a user who is there is looked at. If not set, O(update_password) applies.
        type: str
        choices: [always, on_create]
notes:
  - A O(password) in the C(module_defaults) of the action group is refused, as it would become the password of managed accounts.
    Set O(login_user) and O(login_password) there.
  - As passwords are sent hashed, the server's setting C(chttpd_auth/password_regexp) is not applied to them.
seealso:
  - name: Users
    description: The documents that CouchDB keeps them in.
    link: https://docs.couchdb.org/en/stable/intro/security.html#authentication-database
  - module: couchpy.couchdb.couchdb_admin
  - module: couchpy.couchdb.couchdb_database
  - plugin: couchpy.couchdb.password_hash
    plugin_type: filter
"""

EXAMPLES = r"""
- name: One user
  couchpy.couchdb.couchdb_user:
    url: http://db.example.com:5984/
    login_user: admin
    login_password: "{{ couchdb_admin_password }}"
    name: ann
    password: "{{ couchdb_ann_password }}"
    roles: [shop]
    attributes:
      email: ann@example.com

- name: Many users, whose passwords are theirs once they are there
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

- name: Change roles, and nothing else
  couchpy.couchdb.couchdb_user:
    name: ann
    roles: [shop, ops]
"""

RETURN = r"""
users:
  description: The users as they are after the task, or would be in check mode, in the order of the task.
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
      description: Whether the user is there.
      type: bool
      returned: always
      sample: true
    roles:
      description: Roles of the user. V(null) when not there.
      type: list
      elements: str
      returned: always
      sample: [shop]
    attributes:
      description: Other fields of the user's document, secrets masked. V(null) when not there.
      type: dict
      returned: always
      sample: {"email": "ann@example.com"}
    scheme:
      description: How the password is hashed, V(pbkdf2) or V(simple). V(null) when there is no password, or its hash is none that is known.
      type: str
      returned: always
      sample: pbkdf2
    iterations:
      description: Rounds of the hash. V(null) when it has none.
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
