# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation of the options of a replication, for couchdb_replication and couchdb_server."""

from __future__ import annotations

from textwrap import indent

_OPTIONS = r"""
name:
  description:
    - Name of the replication, which is the id of its document. It must not begin with an underscore.
    - Required unless C(persistent=false). A replication without a document only uses it in results.
  type: str
source:
  description:
    - Database to copy from. The name of a database of this server, an C(http) or C(https) URL, or a mapping.
    - A mapping contains C(url) or C(database), and may contain C(username) and C(password), C(headers), a mapping of HTTP headers, and
      C(auth), CouchDB's own object for other kinds of authentication.
    - A name and password in a URL are used, and are never shown. Percent-encode characters such as V(@), V(/) and V(:) in them.
    - A database of this server is written in the form that its version of CouchDB needs. From 3.0 on, that is its full URL (see
      C(local_url)) with the credentials of the task, unless the mapping has others. The session of a C(cookie) expires, so it is refused
      for a replication with a document.
    - The document of a replication holds these credentials in plain text, for every server admin to read. So the module warns when they are
      those of the task. Give the replication a user of its own, with C(username) and C(password), that may only read the source and write
      the target.
    - If a database of this server does not exist, the task fails before it writes anything. In check mode, it warns.
  type: raw
target:
  description:
    - Database to copy to, in the same forms as C(source). It must exist, unless C(create_target) is set.
  type: raw
continuous:
  description:
    - Whether the replication continues after everything is copied.
  type: bool
create_target:
  description:
    - Whether CouchDB creates the target if it does not exist.
  type: bool
create_target_params:
  description:
    - Parameters for the creation of the target, such as C(q), C(n) and C(partitioned).
  type: dict
doc_ids:
  description:
    - Ids of the documents to copy, in any order. Cannot be combined with C(selector) or C(filter).
  type: list
  elements: str
selector:
  description:
    - Mango selector of the documents to copy. Cannot be combined with C(doc_ids) or C(filter). Requires CouchDB 2.
  type: dict
filter:
  description:
    - Filter function of the source that selects the documents to copy, as C(design/filter). Cannot be combined with C(doc_ids) or
      C(selector).
  type: str
query_params:
  description:
    - Parameters for the filter function. Numbers and booleans are sent as strings, as in a URL.
  type: dict
source_proxy:
  description:
    - URL of a proxy for the source, C(http), C(https) or C(socks5).
  type: str
target_proxy:
  description:
    - URL of a proxy for the target, C(http), C(https) or C(socks5).
  type: str
user_ctx:
  description:
    - The user, with C(name) and C(roles), as whom CouchDB before 3.0 uses databases that are given by name. For server admins it is
      optional, but without the role V(_admin) no design documents are written there.
    - The module adds nothing to it. From CouchDB 3.0 on, the credentials of source and target count.
  type: dict
options:
  description:
    - Other fields of CouchDB's document, such as C(worker_processes), C(http_connections), C(use_checkpoints) and C(since_seq).
  type: dict
"""

_ENTRY = r"""
state:
  description:
    - V(present) ensures that the replication exists. V(absent) removes its document, which also stops it; with C(persistent=false), it
      stops the running replication between C(source) and C(target). V(restarted) is V(present), and starts it again in every run. If not
      set, the C(state) of the task applies, else V(present).
  type: str
  choices: [present, absent, restarted]
persistent:
  description:
    - Whether the replication is a document, and so survives a restart of the server. If not set, the C(persistent) of the task applies,
      else V(true).
  type: bool
wait:
  description:
    - Whether to wait until the replication is completed or, if it is continuous, has reached both databases. If not set, the C(wait) of
      the task applies, else V(false).
  type: bool
restart_failed:
  description:
    - Whether to start the replication again if it failed or is crashing. If not set, the C(restart_failed) of the task applies, else
      V(false).
  type: bool
"""

_ENDPOINT_ADMINS = r"""
endpoint_admins:
  description:
    - Server admins of the servers at which the replications log in. With them, the task also sets the passwords there, so that one task
      changes a password at both ends.
    - For each C(source) and C(target) with a URL of such a server, a username and a password, it ensures that the user there has this
      password. If it must change, the task first deletes the documents of the replications that log in as the user, then sets the
      password, then creates the documents again. So no login fails, and the replications continue from their checkpoints.
    - The user must exist there, and must not be a server admin. M(couchpy.couchdb.couchdb_user) creates it.
    - If another replication of the replicator database logs in as the user, the task fails before it writes anything.
      Replications of other servers that do so are not known here, so use a user for each server that replicates.
    - If the task fails in between, run it again.
  type: list
  elements: dict
  suboptions:
    url:
      description:
        - URL of the server, without credentials. The URLs of the endpoints must begin with it.
      type: str
      required: true
    login_user:
      description:
        - Name of a server admin there.
      type: str
      required: true
    login_password:
      description:
        - Password of O(endpoint_admins[].login_user).
      type: str
      required: true
"""


class ModuleDocFragment:
    """C(couchpy.couchdb.replications) for couchdb_replication, C(.server) for couchdb_server."""

    DOCUMENTATION: str = f"""
options:
{indent(_OPTIONS + _ENDPOINT_ADMINS, "  ")}
  replications:
    description:
      - Several replications, each with the options of a single one. O(state), O(persistent) and O(wait) apply to the replications that do
        not set them.
    type: list
    elements: dict
    suboptions:
{indent(_OPTIONS + _ENTRY, "      ")}
"""

    SERVER: str = f"""
options:
{indent(_ENDPOINT_ADMINS, "  ")}
  replications:
    description:
      - Replications, as M(couchpy.couchdb.couchdb_replication) manages them.
    type: list
    elements: dict
    suboptions:
{indent(_OPTIONS + _ENTRY, "      ")}
"""
