# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation of the options of a server admin, for couchdb_admin and couchdb_server."""

from __future__ import annotations

from textwrap import indent

_OPTIONS = r"""
password:
  description:
    - Password to set for the server admin.
  type: str
password_hash:
  description:
    - Hash of the password. It is stored unchanged.
    - The filter P(couchpy.couchdb.password_hash#filter) creates one.
    - A new password needs a new salt. For CouchDB 3.4 and later, a hash with the salt of the current hash is refused, as CouchDB would
      still accept the old password.
  type: str
"""

_ENTRY = r"""
name:
  description:
    - Name of the server admin.
  type: str
  required: true
state:
  description:
    - V(present) ensures that the admin exists, V(absent) removes it. If not set, the C(state) of the task applies, else V(present).
  type: str
  choices: [present, absent]
update_password:
  description:
    - V(always) updates the password of an existing admin if it differs, V(on_create) keeps it. If not set, the C(update_password) of the
      task applies, else V(always).
  type: str
  choices: [always, on_create]
"""


class ModuleDocFragment:
    """C(couchpy.couchdb.admins) for couchdb_admin, C(.server) for couchdb_server."""

    DOCUMENTATION: str = f"""
options:
{indent(_OPTIONS, "  ")}
  admins:
    description:
      - Several server admins, each with the options of a single one.
    type: list
    elements: dict
    suboptions:
{indent(_ENTRY + _OPTIONS, "      ")}
"""

    SERVER: str = f"""
options:
  admins:
    description:
      - Server admins, the same on every node, as M(couchpy.couchdb.couchdb_admin) manages them.
    type: list
    elements: dict
    suboptions:
{indent(_ENTRY + _OPTIONS, "      ")}
"""
