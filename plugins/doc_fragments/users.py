# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation of the options of a user, for couchdb_user and couchdb_server."""

from __future__ import annotations

from textwrap import indent

_OPTIONS = r"""
password:
  description:
    - Password to set for the user.
    - Without C(password) and C(password_hash), a new user has no password and cannot log in with one.
  type: str
password_hash:
  description:
    - Hash of the password, in the format that CouchDB uses for server admins. It is stored unchanged.
    - The filter P(couchpy.couchdb.password_hash#filter) creates one.
    - A new password needs a new salt. For CouchDB 3.4 and later, a hash with the salt of the current hash is refused, as CouchDB would
      still accept the old password.
  type: str
roles:
  description:
    - All roles of the user, in any order. If not set, the current roles stay, and a new user has none.
    - A role must not begin with an underscore. CouchDB reserves such roles.
  type: list
  elements: str
attributes:
  description:
    - Other fields of the user's document. Fields that are not listed stay as they are.
  type: dict
"""

_ENTRY = r"""
name:
  description:
    - Name of the user. It must not contain a colon or begin with an underscore.
  type: str
  required: true
state:
  description:
    - V(present) ensures that the user exists, V(absent) removes it. If not set, the C(state) of the task applies, else V(present).
  type: str
  choices: [present, absent]
update_password:
  description:
    - V(always) updates the password of an existing user if it differs, V(on_create) keeps it. If not set, the C(update_password) of the
      task applies, else V(always).
  type: str
  choices: [always, on_create]
"""


class ModuleDocFragment:
    """C(couchpy.couchdb.users) for couchdb_user, C(.server) for couchdb_server."""

    DOCUMENTATION: str = f"""
options:
{indent(_OPTIONS, "  ")}
  users:
    description:
      - Several users, each with the options of a single one.
    type: list
    elements: dict
    suboptions:
{indent(_ENTRY + _OPTIONS, "      ")}
"""

    SERVER: str = f"""
options:
  users:
    description:
      - Users, as M(couchpy.couchdb.couchdb_user) manages them.
    type: list
    elements: dict
    suboptions:
{indent(_ENTRY + _OPTIONS, "      ")}
"""
