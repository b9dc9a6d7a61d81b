# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation of the options of a key of JSON web tokens, for couchdb_jwt_key and couchdb_server."""

from __future__ import annotations

from textwrap import indent

_OPTIONS = r"""
key:
  description:
    - For C(type=hmac), the secret that signs and verifies the tokens.
    - For any other type, the public key in PEM, as C(openssl pkey -pubout) prints it. A private key is refused.
    - Required to ensure that the key exists.
  type: str
"""

_ENTRY = r"""
kid:
  description:
    - Key id, as in the header C(kid) of the tokens. V(_default) verifies tokens without one.
    - It must not contain a colon or an equals sign.
  type: str
  required: true
type:
  description:
    - Type of the key. V(hmac) verifies the algorithms HS256 to HS512, V(rsa) RS256 to RS512, and V(ec) ES256 to ES512.
    - No release of CouchDB up to 3.5 has V(ed).
    - Required, unless the task sets C(type).
  type: str
  choices: [hmac, rsa, ec, ed]
base64:
  description:
    - Whether the secret is encoded in Base64, for C(type=hmac). If not set, the C(base64) of the task applies, else V(false).
  type: bool
state:
  description:
    - V(present) ensures that the key exists, V(absent) removes it. If not set, the C(state) of the task applies, else V(present).
  type: str
  choices: [present, absent]
"""


class ModuleDocFragment:
    """C(couchpy.couchdb.jwt_keys) for couchdb_jwt_key, C(.server) for couchdb_server."""

    DOCUMENTATION: str = f"""
options:
{indent(_OPTIONS, "  ")}
  jwt_keys:
    description:
      - Several keys, each with the options of a single one.
    type: list
    elements: dict
    suboptions:
{indent(_ENTRY + _OPTIONS, "      ")}
"""

    SERVER: str = f"""
options:
  jwt_keys:
    description:
      - Keys that verify JSON web tokens, the same on every node, as M(couchpy.couchdb.couchdb_jwt_key) manages them.
    type: list
    elements: dict
    suboptions:
{indent(_ENTRY + _OPTIONS, "      ")}
"""
