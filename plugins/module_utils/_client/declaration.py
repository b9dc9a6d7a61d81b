# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Declaration: reads everything on a server that can be declared, and returns the options that declare it."""

from __future__ import annotations

import contextlib
import json
import typing as t

from .. import errors
from .._rules import declaration as rules
from .._rules import jwt_keys
from .._rules.names import USER_PREFIX
from .cluster import Members
from .parallel import in_parallel
from .replications import Replications

_PAGE = 500
"""The number of documents that one request reads."""

_AFTER_USERS = "org.couchdb.user;"
"""The first key after those of all users."""

Entry = t.Dict[str, t.Any]


class Declaration(Members, Replications):
    """The part of Client that reads a server as couchdb_server would declare it."""

    def declaration(
        self,
        databases: t.Sequence[str] | None = None,
        users: t.Sequence[str] | None = None,
        *,
        secrets: bool = False,
    ) -> tuple[Entry, rules.Omitted]:
        """The options of couchdb_server that declare this server, and what they can't declare, with the reason.

        ``databases`` and ``users`` are shell patterns of names; None takes all. Without ``secrets`` passwords, hashes
        and the like are masked. What this login may not read is listed as not declared. For server admins.
        """
        omitted = rules.Omitted()
        declared: Entry = {}
        configs, members = self._of_nodes(omitted)
        users_database = self.dialect.authentication_database(next(iter(configs.values()), {}))
        if configs:
            declared["settings"] = rules.settings(configs, self.dialect, omitted, secrets=secrets)
            hashes = {node: config.get("admins", {}) for node, config in configs.items()}
            declared["admins"] = rules.admins(hashes, omitted, secrets=secrets)
            keys = {node: config.get(jwt_keys.SECTION, {}) for node, config in configs.items()}
            declared["jwt_keys"] = rules.keys(keys, self.dialect, omitted, secrets=secrets)
        infos = self._infos(databases, omitted)
        declared["databases"] = self._databases_declared(infos, omitted)
        declared["users"] = self._users_declared(users_database, users, omitted, secrets)
        designs = self._designs(infos, omitted)
        partitioned = {name: bool((info.get("props") or {}).get("partitioned")) for name, info in infos.items()}
        documents = [(name, rules.designs(name, found, omitted)) for name, found in designs.items()]
        declared["documents"] = [{"database": name, "documents": found} for name, found in documents if found]
        declared["indexes"] = [
            index for name, found in designs.items() for index in rules.mango(name, found, partitioned[name], omitted)
        ]
        declared["replications"] = self._replications_declared(omitted, secrets)
        self._omit_replications(infos, omitted)
        if len(members) > 1:
            declared["members"] = members
        return {part: found for part, found in declared.items() if found}, omitted

    @contextlib.contextmanager
    def _allowed(self, part: str, omitted: rules.Omitted, name: str = rules.WHOLE_PART) -> t.Iterator[None]:
        """Instead of failing, note what the login may not read."""
        try:
            yield
        except (errors.Unauthorized, errors.Forbidden) as error:
            omitted.add(part, name, f"this login may not read it ({error.reason or error.error or error})")

    def _of_nodes(self, omitted: rules.Omitted) -> tuple[dict[str, t.Any], list[str]]:
        """The settings of the nodes that are up, by their names, and the names of all members."""
        found: dict[str, t.Any] = {}
        members: list[str] = []
        with self._allowed("members", omitted):
            members = self.nodes(["all"])
        with self._allowed("settings", omitted):
            for node, config in self.config_of_nodes(members or ["all"]).items():
                if config is None:
                    omitted.add("settings", node, "this node is down")
                else:
                    found[node] = config
        return found, members

    def _infos(self, patterns: t.Sequence[str] | None, omitted: rules.Omitted) -> dict[str, Entry]:
        with self._allowed("databases", omitted):
            # All of them, or their names first, as there may be many more than those that are asked for.
            found = self.dbs_info(None if patterns is None else rules.chosen(self.database_names(), patterns))
            for name in filter(rules.is_foreign, found):
                omitted.add("databases", name, "CouchDB would not create a database of this name")
            return {name: info for name, info in found.items() if info is not None and not rules.is_foreign(name)}
        return {}

    def _databases_declared(self, infos: t.Mapping[str, Entry], omitted: rules.Omitted) -> list[Entry]:
        def ask(name: str) -> tuple[t.Any, int | None] | errors.CouchDBError:
            database = self.Database(name)
            try:
                security = database.security()
            except (errors.Unauthorized, errors.Forbidden, errors.NotFound) as error:
                return error
            # PouchDB Server has no such limit.
            with contextlib.suppress(errors.NotFound):
                return security, database.revs_limit()
            return security, None

        answers = dict(zip(infos, in_parallel(ask, list(infos))))
        # The others were deleted since their names were read.
        found = {name: info for name, info in infos.items() if not isinstance(answers[name], errors.NotFound)}
        read = {name: answer for name, answer in answers.items() if isinstance(answer, tuple)}
        for name in found:
            if name not in read:
                omitted.add("databases", name, "this login may not read its security object")
        securities = {name: security for name, (security, _limit) in read.items()}
        limits = {name: limit for name, (_security, limit) in read.items() if limit is not None}
        return rules.databases(found, securities, limits, self.dialect, omitted)

    def _users_declared(
        self, database: str, patterns: t.Sequence[str] | None, omitted: rules.Omitted, secrets: bool
    ) -> list[Entry]:
        declared: list[Entry] = []
        with self._allowed("users", omitted), contextlib.suppress(errors.NotFound):
            for rows in self._pages(database, startkey=json.dumps(USER_PREFIX), endkey=json.dumps(_AFTER_USERS)):
                names = {row["id"][len(USER_PREFIX) :]: row["doc"] for row in rows}
                found = (rules.user(names[name], omitted, secrets=secrets) for name in rules.chosen(names, patterns))
                declared += [user for user in found if user is not None]
        return declared

    def _replications_declared(self, omitted: rules.Omitted, secrets: bool) -> list[Entry]:
        declared: list[Entry] = []
        here = self.replication_here()
        with self._allowed("replications", omitted), contextlib.suppress(errors.NotFound):
            for rows in self._pages("_replicator"):
                found = (rules.replication(row["doc"], here, omitted, secrets=secrets) for row in rows)
                declared += [replication for replication in found if replication is not None]
        return declared

    def _omit_replications(self, infos: t.Mapping[str, Entry], omitted: rules.Omitted) -> None:
        """Note the replications that no document in C(_replicator) declares."""
        with self._allowed("replications", omitted, "replications without a document"):
            for job in self.replication_jobs() or ():
                omitted.add(
                    "replications", rules.name_of_job(job), "it has no document, and ends when its server restarts"
                )
            for database, info in infos.items():
                if rules.is_other_replicator(database) and info.get("doc_count"):
                    reason = "couchdb_server declares those in _replicator. Use couchdb_replication with replicator"
                    with contextlib.suppress(errors.NotFound):
                        for row in self.Database(database).all_docs():
                            if not row["id"].startswith("_design/"):
                                omitted.add("replications", f"{database}/{row['id']}", reason)

    def _pages(self, database: str, **query: t.Any) -> t.Iterator[list[Entry]]:
        """The rows of all documents of a database, page by page."""
        while True:
            rows = self.Database(database).all_docs(include_docs=True, limit=_PAGE, **query)
            yield [row for row in rows if row.get("doc")]
            if len(rows) < _PAGE:
                return
            query = {**query, "startkey": json.dumps(rows[-1]["id"]), "skip": 1}

    def _designs(self, infos: t.Mapping[str, Entry], omitted: rules.Omitted) -> dict[str, list[Entry]]:
        """The design documents of each database that has documents, with the contents of their attachments."""

        def ask(name: str) -> list[Entry] | errors.CouchDBError:
            try:
                rows = self.Database(name).all_docs(
                    startkey='"_design/"', endkey='"_design0"', include_docs=True, attachments=True
                )
            except (errors.Unauthorized, errors.Forbidden, errors.NotFound) as error:
                return error
            return [row["doc"] for row in rows if row.get("doc")]

        names = [name for name, info in infos.items() if info.get("doc_count")]
        found: dict[str, list[Entry]] = {}
        for name, documents in zip(names, in_parallel(ask, names)):
            if isinstance(documents, list):
                found[name] = documents
            elif not isinstance(documents, errors.NotFound):
                omitted.add("documents", name, "this login may not read its design documents")
        return found
