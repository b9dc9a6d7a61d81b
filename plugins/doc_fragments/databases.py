# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation of the options of a database, for couchdb_database and couchdb_server."""

from __future__ import annotations

from textwrap import indent

_OPTIONS = r"""
shards:
  description:
    - Number of shards (C(q)) of a new database. If not set, the server's setting C(cluster/q) applies.
    - An existing database gets more only with C(reshard=true), by splitting. Otherwise the task fails if it has another number.
  type: int
replicas:
  description:
    - Number of copies (C(n)) of each shard of a new database. If not set, the server's setting C(cluster/n) applies.
    - CouchDB accepts more copies than there are nodes, and creates one for each node.
    - This module cannot change it after creation, but M(couchpy.couchdb.couchdb_shards) can.
    - The task warns if an existing database has another number of copies, as far as the number of nodes allows this one.
  type: int
partitioned:
  description:
    - Whether a new database is partitioned. Requires CouchDB 3.0.
    - It cannot change after creation. The task fails if an existing database differs.
  type: bool
security:
  description:
    - Who may use the database, as a mapping with C(admins) and C(members). Admins may change design documents and this security object,
      members may read and write documents. Each is a mapping with C(names), a list of user names, and C(roles), a list of roles.
    - Parts that are missing stay as they are. The order of names and roles does not matter.
    - If C(members) has no names and no roles, anyone may read and write.
  type: dict
revs_limit:
  description:
    - How many revisions of a document the database remembers, V(1) or more.
  type: int
reshard:
  description:
    - Whether the shards of an existing database are split, if C(shards) is twice, four times and so on the number that it has.
    - CouchDB splits the shards with its resharding jobs while the cluster serves requests. The task waits until they have ended, retries
      failed ones once, resumes those that are stopped, and removes them. Requires CouchDB 3.0.
    - One node after the other splits its copies, in maintenance mode. If the others have too few copies of something to do without the node, it
      splits them in service and the task warns, as reads can lack the writes of the last seconds then.
  type: bool
  version_added: 1.0.0
"""

_ENTRY = r"""
name:
  description:
    - Name of the database. It begins with a lowercase letter and consists of lowercase letters, digits and any of V(_ $ ( \) + - /).
      The names of CouchDB's system databases, such as V(_users), are also valid.
  type: str
  required: true
state:
  description:
    - V(present) ensures that the database exists, V(absent) deletes it, B(with all its documents). If not set, the C(state) of the task
      applies, else V(present).
  type: str
  choices: [present, absent]
"""


class ModuleDocFragment:
    """C(couchpy.couchdb.databases) for couchdb_database, C(.server) for couchdb_server."""

    DOCUMENTATION: str = f"""
options:
{indent(_OPTIONS, "  ")}
  databases:
    description:
      - Several databases with options of their own. The options of the task apply to the databases that do not set them.
    type: list
    elements: dict
    suboptions:
{indent(_ENTRY + _OPTIONS, "      ")}
"""

    SERVER: str = f"""
options:
  databases:
    description:
      - Databases, as M(couchpy.couchdb.couchdb_database) manages them.
    type: list
    elements: dict
    suboptions:
{indent(_ENTRY + _OPTIONS, "      ")}
"""
