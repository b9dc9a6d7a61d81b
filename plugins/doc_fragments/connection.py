# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options with which every module connects to a server. Their argument spec is CONNECTION in module_utils/_engine/module.py."""

from __future__ import annotations


class ModuleDocFragment:
    """C(couchpy.couchdb.connection)."""

    DOCUMENTATION = r"""
options:
  url:
    description:
      - URL of the CouchDB server, C(http) or C(https). It may have a path if a proxy serves CouchDB under one.
      - A name and password in the URL are used, and are never shown. Percent-encode characters such as V(@), V(/) and V(:) in them.
      - Redirects are not followed, so that the credentials go to no other server.
      - If not set, the environment variable E(COUCHDB_URL) is used, else V(http://localhost:5984/).
    type: str
  login_user:
    description:
      - Name to log in with. Modules that write need a server admin.
      - If not set, the name in O(url) is used, else the environment variable E(COUCHDB_USERNAME).
    type: str
  login_password:
    description:
      - Password to log in with.
      - If not set, the password in O(url) is used if O(login_user) is the name in O(url) or not set, else the environment variable
        E(COUCHDB_PASSWORD).
      - A wrong password is sent only once, as CouchDB 3.4 and later locks an account after five failed logins.
    type: str
  cookie:
    description:
      - Session cookie (C(AuthSession)) to use instead of a name and password.
    type: str
  headers:
    description:
      - HTTP headers to send with every request. They override the headers of the module.
    type: dict
    default: {}
  validate_certs:
    description:
      - Whether to validate the server's TLS certificate.
    type: bool
    default: true
  ca_path:
    description:
      - File or directory of certificate authorities to trust instead of the system's.
      - If not set, the environment variables E(REQUESTS_CA_BUNDLE) and E(CURL_CA_BUNDLE) are honored.
    type: path
  client_cert:
    description:
      - File with a TLS client certificate (PEM). It also holds the key unless O(client_key) is set.
    type: path
  client_key:
    description:
      - File with the key of O(client_cert) (PEM).
    type: path
  client_key_passphrase:
    description:
      - Passphrase of the key of O(client_cert), if the key is encrypted.
    type: str
  timeout:
    description:
      - Maximum time of one request in seconds, from its start to the end of the response. If a server asks for a longer pause
        (C(Retry-After)), the request is not retried.
    type: int
    default: 30
  retries:
    description:
      - How often to retry a request if the connection was refused or closed before a response, or if a gateway answered with 502, 503
        or 504. Only requests that are safe to send twice are retried.
      - After 429, with which a server says that it has not processed the request, every request is retried at the time that
        C(Retry-After) gives.
    type: int
    default: 3
requirements:
  - Python 3.8 or later on the host that runs the module
  - requests (Python library) 2.20 or later on the host that runs the module; with Python 3.12 or later, requests 2.25.1 or later
notes:
  - The file C(.netrc) is not read. Proxies are set in the environment (E(http_proxy), E(https_proxy), E(no_proxy)).
  - With a local connection, or delegated to the controller, a task runs in Ansible's own process, which takes a fraction of the time and
    gives the same result. This needs a host whose C(ansible_python_interpreter) is the Python that runs Ansible
    (C({{ ansible_playbook_python }})), no C(become), no C(async), and no macOS. Otherwise the module runs as usual.
  - Set the variable C(couchdb_direct) to V(false), or the environment variable E(ANSIBLE_COUCHDB_DIRECT) to V(0), to always run the module.
  - While a task waits for something, it shows its progress every 5 to 10 seconds, unless the environment variable
    E(ANSIBLE_COUCHDB_PROGRESS) is V(0), or the connection allows only one command at a time.
  - A task that fails returns C(status), C(error) and C(reason) of CouchDB's answer, if there was one, and lists in C(changes_done),
    C(changes_failed), C(changes_unsure) (sent, without an answer) and C(changes_undone) what became of its changes, if it had begun to make them.
  - CouchDB 1.x, 2.x and 3.x are supported, and PouchDB Server, which has the API of 1.x.
"""
