# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Differences between versions of CouchDB: paths, limits, what a version lacks. Nothing else knows versions. Pure.

There are two dialects. CouchDB 1.x, and PouchDB Server, which has the same API, is one node with its
settings at the root. CouchDB 2 and 3 are clusters of one or more nodes; settings, statistics and
restart belong to a node. See https://docs.couchdb.org/en/stable/whatsnew/index.html for what each version brought.
"""

from __future__ import annotations

import re
import typing as t

from .. import errors

MOST_ITERATIONS = 1_000_000_000
"""CouchDB's own limit by default, chttpd_auth/max_iterations."""

LOCAL = "_local"
"""The node that answers the request."""

Path = t.Tuple[str, ...]


class Hash(t.Protocol):
    """The part of a PasswordHash that is used here: most modules are sent without C(passwords)."""

    @property
    def scheme(self) -> str: ...

    @property
    def prf(self) -> str: ...

    @property
    def salt(self) -> str: ...


class Dialect:
    """What all versions share, and what CouchDB 2 and 3 do.

    ``product`` is C(CouchDB) or C(PouchDB Server), ``version`` the server's version as a string,
    ``number`` the version as a tuple of three ints, for comparisons.
    """

    clustered = True

    def __init__(self, product: str, version: str) -> None:
        self.product = product
        self.version = version
        digits = [int(part) for part in re.findall(r"\d+", version)[:3]]
        self.number = tuple(([*digits, 0, 0, 0])[:3])

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.product} {self.version}>"

    def lacks(self, what: str) -> errors.Unsupported:
        """The error for something that this server lacks."""
        return errors.Unsupported(f"{self.product} {self.version} has no {what}")

    # Paths

    def node(self, node: str) -> Path:
        """A node itself, which returns its name."""
        return ("_node", node)

    def settings(self, node: str, *names: str) -> Path:
        """The settings of a node, of a section, of a key."""
        return ("_node", node, "_config", *names)

    def statistics(self, node: str, *names: str) -> Path:
        """The statistics of a node, or a part of them."""
        return ("_node", node, "_stats", *names)

    def system(self, node: str) -> Path:
        """The state of the Erlang virtual machine of a node."""
        return ("_node", node, "_system")

    def versions(self, node: str) -> Path:
        """The versions of a node's components. Raises Unsupported before CouchDB 3.3, which brought them."""
        if self.number < (3, 3, 0):
            raise self.lacks("list of versions; it came with 3.3")
        return ("_node", node, "_versions")

    def smoosh(self, node: str) -> Path:
        """The state of automatic compaction. Raises Unsupported before CouchDB 3.4, which brought it."""
        if self.number < (3, 4, 0):
            raise self.lacks("state of automatic compaction; it came with 3.4")
        return ("_node", node, "_smoosh", "status")

    def restart(self, node: str) -> Path:
        """The restart of a node. Raises Unsupported before CouchDB 2.3, which brought it."""
        if self.number < (2, 3, 0):
            raise self.lacks("restart call, which 2.3 brought again. Restart the service instead")
        return ("_node", node, "_restart")

    def member(self, node: str, name: str) -> Path:
        """A member of the cluster as this node lists it. Raises Unsupported before CouchDB 3.0."""
        self.check_cluster()
        return ("_node", node, "_nodes", name)

    def shard_map(self, node: str) -> Path:
        """Where the shards of all databases are, as this node knows it. Raises Unsupported before CouchDB 3.0."""
        self.check_cluster()
        return ("_node", node, "_dbs", "_all_docs")

    @property
    def has_shard_map(self) -> bool:
        """The databases C(_nodes) and C(_dbs) of a node, since 3.0; before, they are at a port of their own."""
        return self.number >= (3, 0, 0)

    def check_cluster(self) -> None:
        """Raise Unsupported if this server's members can't be managed at its usual port, as before 3.0."""
        if not self.has_shard_map:
            raise self.lacks("members that can be managed at this port; it came with 3.0")

    def log(self) -> Path:
        """The log over HTTP. Raises Unsupported: CouchDB 2 and 3 have none."""
        raise self.lacks("log over HTTP")

    # Features

    @property
    def has_dbs_info(self) -> bool:
        """POST /_dbs_info, since 2.2."""
        return self.number >= (2, 2, 0)

    @property
    def has_dbs_info_listing(self) -> bool:
        """GET /_dbs_info, since 3.2."""
        return self.number >= (3, 2, 0)

    @property
    def has_scheduler(self) -> bool:
        """GET /_scheduler/docs, since 2.1."""
        return self.number >= (2, 1, 0)

    lists_local_documents = True
    """Whether _all_docs returns documents below C(_local/) by their keys."""

    counts_pending_updates = True
    """Whether a design document's C(_info) has the number of updates that its index still lacks."""

    compiles_views = True
    """Whether CouchDB refuses a design document if a function of its views doesn't compile."""

    @property
    def max_document_size(self) -> int | None:
        """The largest document, in bytes, that the server accepts by default; since 3.0."""
        return 8_000_000 if self.number >= (3, 0, 0) else None

    @property
    def deletes_what_is_not_there(self) -> bool:
        """Whether the server reports success for the deletion of a database that does not exist."""
        return self.product != "CouchDB"

    @property
    def needs_admin(self) -> bool:
        """Whether the server doesn't start without a server admin, since 3.0."""
        return self.number >= (3, 0, 0)

    # Forms

    def hashing(self, settings: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        """The hash function (``prf``) and ``iterations`` that this server uses for new passwords.

        ``settings`` are those of a node; for missing ones, this version's default applies. See
        https://docs.couchdb.org/en/stable/config/auth.html#chttpd_auth/iterations
        """
        known = {**settings.get("couch_httpd_auth", {}), **settings.get("chttpd_auth", {})}
        since_34 = self.number >= (3, 4, 0)
        return {
            "prf": known.get("pbkdf2_prf", "sha256") if since_34 else "sha",
            "iterations": _iterations(known, 600000 if since_34 else 10),
        }

    def authentication_database(self, settings: t.Mapping[str, t.Any]) -> str:
        """The database with this server's users; ``settings`` are those of a node.

        https://docs.couchdb.org/en/stable/config/auth.html#chttpd_auth/authentication_db
        """
        section = settings.get("chttpd_auth" if self.clustered else "couch_httpd_auth", {})
        return str(section.get("authentication_db") or "_users")

    def hash_problem(self, wanted: Hash, current: t.Iterable[Hash] = ()) -> str | None:
        """Why this version must not get the hash if it has the ``current`` ones; None if it can."""
        if self.number < (3, 4, 0):
            if wanted.prf != "sha":
                return f"{self.product} {self.version} does not support hashes with {wanted.prf}. They came with 3.4"
            return None
        if any(stored.salt == wanted.salt and stored != wanted for stored in current):
            # Its cache of correct passwords is keyed by name and salt.
            return (
                "has the salt of the current password, so CouchDB 3.4 and later would accept the old password until it "
                "restarts. Hash each password with a salt of its own"
            )
        return None

    def check_databases(
        self,
        names: t.Iterable[str] = (),
        *,
        shards: int | None = None,
        replicas: int | None = None,
        partitioned: bool | None = None,
        revs_limit: int | None = None,
    ) -> None:
        """Raise InvalidInput, naming the option, for an option of databases that this version lacks."""
        if partitioned and self.number < (3, 0, 0):
            raise errors.InvalidInput("partitioned", f"{self.product} {self.version} has none; they came with 3.0")

    def creation_query(self, shards: int | None, replicas: int | None, partitioned: bool | None) -> dict[str, t.Any]:
        """The query of ``PUT /db``. Raises InvalidInput if this version lacks an option."""
        self.check_databases(shards=shards, replicas=replicas, partitioned=partitioned)
        return {"q": shards, "n": replicas, "partitioned": partitioned or None}

    def new_database(
        self, name: str, nodes: int, shards: int | None, replicas: int | None, partitioned: bool | None
    ) -> dict[str, t.Any]:
        """What ``GET /db`` will return for a database that does not exist yet, as far as that is known."""
        q = shards or (2 if self.number >= (3, 0, 0) else 8)
        n = min(replicas or 3, nodes)
        majority = n // 2 + 1
        return {
            "instance_start_time": "0",
            "db_name": name,
            "purge_seq": "0",
            "update_seq": "0",
            "sizes": {"file": 0, "external": 0, "active": 0},
            "props": {"partitioned": True} if partitioned else {},
            "doc_del_count": 0,
            "doc_count": 0,
            "disk_format_version": 8,
            "compact_running": False,
            "cluster": {"q": q, "n": n, "w": majority, "r": majority},
        }

    @property
    def has_default_security(self) -> bool:
        """Whether the setting C(couchdb/default_security) decides the security object of a new database, since 3.0."""
        return self.clustered and self.number >= (3, 0, 0)

    def new_security(self, setting: str = "admin_only") -> dict[str, t.Any]:
        """The security object of a new database: since 3.0 for server admins only, unless a setting says otherwise.

        https://docs.couchdb.org/en/stable/config/couchdb.html#couchdb/default_security
        """
        if self.has_default_security and setting == "admin_only":
            return {"members": {"roles": ["_admin"]}, "admins": {"roles": ["_admin"]}}
        return {}

    new_revs_limit = 1000
    """The number of revisions that a new database keeps."""

    def check_indexes(self) -> None:
        """Raise Unsupported if the server has no Mango indexes."""

    def index_problem(self, index: t.Mapping[str, t.Any], features: t.Collection[str]) -> tuple[str, str] | None:
        """The option, and why this server can't have an index with it; None if it can.

        ``index`` is the body of the request. ``features`` are those of the server's welcome object, which since 3.0 include
        full-text search.
        """
        kind = index["type"]
        has = f"{self.product} {self.version} has no"
        if "partitioned" in index and self.number < (3, 0, 0):
            return "partitioned", f"{has} partitioned indexes; they came with 3.0"
        if kind == "nouveau" and self.number < (3, 4, 0):
            return "type", f"{has} indexes of the type nouveau; they came with 3.4"
        if kind == "nouveau" and "nouveau" not in features:
            return "type", "this CouchDB has no indexes of the type nouveau. Set nouveau/enable to true"
        if kind == "text" and "search" not in features and self.number >= (3, 0, 0):
            return "type", "this CouchDB has no indexes of the type text. Connect it with Clouseau"
        return None

    @property
    def jwt_key_types(self) -> tuple[str, ...]:
        """The types of keys that verify JSON web tokens: since 3.1, and none of them C(ed) up to 3.5."""
        return ("hmac", "rsa", "ec") if self.number >= (3, 1, 0) else ()

    replaces_indexes = True
    """Whether creating an index again with another definition changes it."""

    @property
    def takes_local_endpoints(self) -> bool:
        """Whether a replication may name a database of this server without its URL, as before 3.0."""
        return self.number < (3, 0, 0)

    @property
    def takes_endpoint_auth(self) -> bool:
        """Whether a replication endpoint may have ``auth``, since 3.2; before, it has a header."""
        return self.number >= (3, 2, 0)


class OneX(Dialect):
    """CouchDB 1.x and PouchDB Server: one node, with its settings at the root."""

    clustered = False

    def _only_node(self, node: str) -> None:
        if node != LOCAL:
            raise errors.NodeDown(
                f"no such node: {node}; {self.product} {self.version} is one node, {LOCAL}",
                status=404,
                error="not_found",
                reason=f"no such node: {node}",
            )

    def settings(self, node: str, *names: str) -> Path:
        self._only_node(node)
        return ("_config", *names)

    def statistics(self, node: str, *names: str) -> Path:
        self._only_node(node)
        return ("_stats", *names)

    def system(self, node: str) -> Path:
        raise self.lacks("system information")

    def restart(self, node: str) -> Path:
        self._only_node(node)
        return ("_restart",)

    has_shard_map = False

    def check_cluster(self) -> None:
        raise self.lacks("cluster: it is one node")

    def log(self) -> Path:
        return ("_log",)

    has_dbs_info = False
    has_dbs_info_listing = False
    has_scheduler = False
    lists_local_documents = False
    counts_pending_updates = False
    compiles_views = False
    max_document_size = None
    needs_admin = False
    jwt_key_types = ()
    takes_local_endpoints = True
    takes_endpoint_auth = False

    replaces_indexes = False

    def check_indexes(self) -> None:
        if self.product == "CouchDB":
            raise self.lacks("Mango indexes; they came with 2.0")

    def index_problem(self, index: t.Mapping[str, t.Any], features: t.Collection[str]) -> tuple[str, str] | None:
        if index["type"] != "json":
            return "type", f"{self.product} {self.version} has no indexes of the type {index['type']}"
        if "partitioned" in index:
            return "partitioned", f"{self.product} {self.version} doesn't divide its databases"
        for option in ("ddoc", "name"):
            if "/" in index.get(option, ""):
                return option, f"{self.product} {self.version} can't use an index with a slash in it: {index[option]}"
        return None

    def hashing(self, settings: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        return {"prf": "sha", "iterations": _iterations(settings.get("couch_httpd_auth", {}), 10)}

    def hash_problem(self, wanted: Hash, current: t.Iterable[Hash] = ()) -> str | None:
        if wanted.prf != "sha":
            return f"{self.product} {self.version} does not support hashes with {wanted.prf}"
        if self.product != "CouchDB" and (wanted.scheme != "pbkdf2" or not re.match(r"[0-9a-f]+\Z", wanted.salt)):
            return f"{self.product} {self.version} supports only hashes with pbkdf2 and a salt of hex digits"
        return None

    def check_databases(
        self,
        names: t.Iterable[str] = (),
        *,
        shards: int | None = None,
        replicas: int | None = None,
        partitioned: bool | None = None,
        revs_limit: int | None = None,
    ) -> None:
        for option, given in (("shards", shards), ("replicas", replicas), ("partitioned", partitioned)):
            if given:
                raise errors.InvalidInput(option, f"{self.product} {self.version} doesn't divide its databases")
        if self.product == "CouchDB":
            return
        if revs_limit is not None:
            raise errors.InvalidInput("revs_limit", f"{self.product} {self.version} has none")
        for name in names:
            if "/" in name:
                raise errors.InvalidInput("name", f"{self.product} {self.version} drops the slash of {name}")

    def new_database(
        self, name: str, nodes: int, shards: int | None, replicas: int | None, partitioned: bool | None
    ) -> dict[str, t.Any]:
        if self.product == "CouchDB":
            return {
                "db_name": name,
                "doc_count": 0,
                "doc_del_count": 0,
                "update_seq": 0,
                "purge_seq": 0,
                "compact_running": False,
                "disk_size": 0,
                "data_size": 0,
                "instance_start_time": "0",
                "disk_format_version": 6,
                "committed_update_seq": 0,
            }
        return {
            "db_name": name,
            "doc_count": 0,
            "update_seq": 0,
            "instance_start_time": "0",
            "auto_compaction": False,
            "adapter": None,
            "backend_adapter": None,
        }


def _iterations(settings: t.Mapping[str, t.Any], default: int) -> int:
    text = str(settings.get("iterations", ""))
    return min(int(text), MOST_ITERATIONS) if re.match(r"[1-9][0-9]*\Z", text) else default


def of_welcome(welcome: t.Any, url: str) -> Dialect:
    """The dialect of the server that answered ``GET /`` with this object. Raises NotCouchDB for another server."""
    if isinstance(welcome, dict):
        version = welcome.get("version")
        if "couchdb" in welcome and isinstance(version, str):
            kind = OneX if version.startswith(("0.", "1.")) else Dialect
            return kind("CouchDB", version)
        if any(name in welcome for name in ("express-pouchdb", "pouchdb-server")):
            return OneX("PouchDB Server", str(version or "of unknown version"))
    raise errors.NotCouchDB(
        f"{url} is not a CouchDB server: its welcome object names neither couchdb nor a version",
        url=url,
    )
