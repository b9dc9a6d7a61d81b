# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options with which every module reaches a server; module_utils/_engine/module.py has their argument spec."""

from __future__ import annotations


class ModuleDocFragment:
    """C(couchpy.couchdb.connection)."""

    DOCUMENTATION = r"""
options:
  url:
    description:
      - Address of the CouchDB server, C(http) or C(https), with a path where a proxy puts it there.
      - A name and password inside it are used, and are never shown. Percent-encode characters such as V(@), V(/) and V(:) in them.
      - Redirects are not followed, so that credentials go nowhere else.
      - If not set, the environment variable E(COUCHDB_URL) is used, else V(http://localhost:5984/).
    type: str
  login_user:
    description:
      - Name to log in with. The modules that write need a server admin.
      - If not set, the name in O(url) is used, else the environment variable E(COUCHDB_USERNAME).
    type: str
  login_password:
    description:
      - Password to log in with.
      - If not set, the password in O(url) is used if O(login_user) is the name in O(url) or not set, else the environment variable
        E(COUCHDB_PASSWORD).
      - The module sends a wrong password only once, as CouchDB 3.4 and later locks an account after five failed logins.
    type: str
  cookie:
    description:
      - Session cookie (C(AuthSession)) to use instead of a name and password.
    type: str
  headers:
    description:
      - HTTP headers to send with every request. They win over those that the module would send.
    type: dict
    default: {}
  validate_certs:
    description:
      - Whether the server's TLS certificate must be trusted.
    type: bool
    default: true
  ca_path:
    description:
      - File or directory of certificate authorities to trust instead of the system's.
      - If not set, the environment variables E(REQUESTS_CA_BUNDLE) and E(CURL_CA_BUNDLE) are honoured.
    type: path
  client_cert:
    description:
      - File with a TLS client certificate (PEM), with its key unless O(client_key) is given.
    type: path
  client_key:
    description:
      - File with the key of O(client_cert) (PEM).
    type: path
  client_key_passphrase:
    description:
      - Passphrase of the key of O(client_cert), if it is encrypted.
    type: str
  timeout:
    description:
      - Seconds that one request may take, from its start to the end of its answer. A server that asks to be left alone for longer
        (C(Retry-After)) is not asked again.
    type: int
    default: 30
  retries:
    description:
      - How often a request is sent again when the connection was refused, or was closed before an answer, or when a gateway answered
        with 502, 503 or 504. Only requests that may be sent twice are.
      - After 429, by which a server says that it has done nothing, any request is sent again, when C(Retry-After) says.
    type: int
    default: 3
requirements:
  - Python 3.8 or later on the host that runs the module
  - requests (Python library) 2.20 or later on the host that runs the module
notes:
  - The file C(.netrc) is not read. Proxies are taken from the environment (E(http_proxy), E(https_proxy), E(no_proxy)).
  - CouchDB 1.x, 2.x and 3.x are spoken to, and PouchDB Server, which speaks like 1.x.
"""
