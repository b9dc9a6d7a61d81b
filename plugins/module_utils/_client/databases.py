# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Databases: all databases of a server, and requests for many of them."""

from __future__ import annotations

import contextlib
import json
import typing as t
from http.cookies import SimpleCookie

from .. import errors
from .._rules.names import check_database_name, check_names
from .answers import is_list
from .database import Database as _Database
from .parallel import in_parallel
from .server import Headers, Server

_DBS_INFO_KEYS = 100
"""The most databases in one POST to _dbs_info; CouchDB's own limit, max_db_number_for_dbs_info_req."""

_DBS_INFO_PAGE = 1000


class Databases(Server):
    """The part of Client for databases."""

    _KIND: type[_Database] = _Database
    """The class of this client's databases, with a part for each part of the client."""

    def __init__(
        self,
        url: str | None = None,
        config: t.Mapping[str, t.Any] | None = None,
        hthdrs: Headers = None,
        cookie: str | SimpleCookie | None = None,
    ) -> None:
        super().__init__(url, config, hthdrs, cookie)
        self._databases: dict[str, _Database] = {}

    def Database(self, name: str, *args: t.Any, **kwargs: t.Any) -> _Database:
        """The database of this name, whether or not the server has it. The same object for the same name.

        Passes on all other arguments to the Database: see its set_options(). Raises InvalidInput for an illegal name.
        """
        check_database_name(name)
        database = self._opened(name)
        database.set_options(*args, **kwargs)
        return database

    def _opened(self, name: str) -> _Database:
        return self._databases.setdefault(name, self._KIND(self, name))

    def __getitem__(self, name: str) -> _Database:
        return self.Database(name)

    def __delitem__(self, name: str) -> None:
        self.delete(name)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.has_database(name)

    def __iter__(self) -> t.Iterator[_Database]:
        return iter(self.all_dbs())

    def __len__(self) -> int:
        return len(self.database_names())

    def database_names(self, hthdrs: Headers = None, **query: t.Any) -> list[str]:
        """The names of all databases, or of those that ``query`` selects, in the server's order.

        https://docs.couchdb.org/en/stable/api/server/common.html#all-dbs
        """
        return t.cast("list[str]", self.request("GET", ("_all_dbs",), query=query, hthdrs=hthdrs, expect=is_list).body)

    def all_dbs(self, hthdrs: Headers = None) -> list[_Database]:
        """All databases of the server, as Database objects.

        https://docs.couchdb.org/en/stable/api/server/common.html#all-dbs
        """
        # Not with Database(): PouchDB Server has databases with names that CouchDB would refuse.
        return [self._opened(name) for name in self.database_names(hthdrs)]

    def has_database(self, name: str, hthdrs: Headers = None) -> bool:
        """Whether the server has a database of this name, also without permission to read it. False for an illegal name.

        Raises Unauthorized or Forbidden if the server requires a login for everything.

        https://docs.couchdb.org/en/stable/api/database/common.html#head--db
        """
        try:
            database = self.Database(name)
        except errors.InvalidInput:
            return False
        try:
            return database.ispresent(hthdrs)
        except (errors.Unauthorized, errors.Forbidden):
            # A failed login is refused everywhere. Without one, CouchDB refuses access only to a database that exists.
            seen = self.request("HEAD", (name,), anonymous=True, accept=(401, 403, 404)).status
            if seen in (401, 403) and self.request("HEAD", anonymous=True, accept=(401, 403)).status >= 300:
                raise
            return seen != 404

    def put(self, name: str, hthdrs: Headers = None, **creation: t.Any) -> _Database:
        """Create a database. ``creation``: the shards, replicas and partitioned of Database.put.

        Raises AlreadyExists if it exists, InvalidInput for an illegal name.
        """
        return self.Database(name).put(hthdrs=hthdrs, **creation)

    def delete(self, db: str | _Database, hthdrs: Headers = None) -> bool:
        """Delete a database with all its documents. True when it is done; raises NotFound if it is missing."""
        name = db.name if isinstance(db, _Database) else db
        if isinstance(db, _Database) and db.client is not self:
            raise errors.InvalidInput("db", f"{db!r} is a database of another client. Use its name, or its own client")
        return self.Database(name).delete_database(hthdrs)

    def dbs_info(self, names: t.Sequence[str] | None = None, hthdrs: Headers = None) -> dict[str, t.Any]:
        """The information of these databases, or of all: name → information, None for a missing one.

        Takes a request for each hundred names (for each thousand databases if all are requested, or if that is
        less), another if a database is missing, and on CouchDB before 2.2 one for each existing database.
        Raises ServerError for an existing database of which no copy is in service.

        https://docs.couchdb.org/en/stable/api/server/common.html#dbs-info
        """
        if names is not None:
            check_names(names, "names")
        elif self.dialect.has_dbs_info_listing:
            listed = self._dbs_info_listing(hthdrs)
            if listed is not None:
                return listed
        wanted = self.database_names(hthdrs) if names is None else list(names)
        if not self.dialect.has_dbs_info:
            asked = wanted if names is None else sorted({*wanted}.intersection(self.database_names(hthdrs)))
            infos = dict(zip(asked, in_parallel(lambda name: self._opened(name).info(hthdrs), asked)))
            return {name: infos.get(name) for name in wanted}
        if names is not None and len(wanted) > _DBS_INFO_PAGE:
            return self._many_dbs_info(wanted, hthdrs)
        return self._completed(self._dbs_info_portions(wanted, hthdrs), hthdrs)

    def _completed(self, infos: dict[str, t.Any], hthdrs: Headers) -> dict[str, t.Any]:
        """The information of databases, asked for once more where C(_dbs_info) reports none.

        It reports not_found also for a database whose nodes are all down or in maintenance mode. Such a database is listed,
        and a request for it returns that error. Otherwise it would be reported as missing, or created again.
        """
        missing = [name for name, info in infos.items() if info is None]
        query = {name: json.dumps(missing[0]) for name in ("start_key", "end_key")} if len(missing) == 1 else {}
        try:
            listed = self.database_names(hthdrs, **query) if missing else []
        except (errors.Unauthorized, errors.Forbidden):
            # The list is for server admins.
            return infos

        def ask(name: str) -> dict[str, t.Any] | None:
            try:
                return self._opened(name).info(hthdrs)
            except errors.NotFound:
                return None

        asked = sorted(set(missing).intersection(listed))
        return {**infos, **dict(zip(asked, in_parallel(ask, asked)))}

    def _many_dbs_info(self, names: list[str], hthdrs: Headers) -> dict[str, t.Any]:
        """The result of dbs_info() for so many names that a request for the existing ones is worthwhile."""
        there = self.database_names(hthdrs)
        asked = sorted(set(names).intersection(there))
        listed = self.dialect.has_dbs_info_listing and len(there) < len(asked) * (_DBS_INFO_PAGE // _DBS_INFO_KEYS)
        infos = (self._dbs_info_listing(hthdrs) if listed else None) or self._dbs_info_portions(asked, hthdrs)
        return {**dict.fromkeys(names), **self._completed({name: infos.get(name) for name in asked}, hthdrs)}

    def _dbs_info_portions(self, wanted: list[str], hthdrs: Headers) -> dict[str, t.Any]:
        portions = [wanted[start : start + _DBS_INFO_KEYS] for start in range(0, len(wanted), _DBS_INFO_KEYS)]

        def ask(keys: list[str]) -> list[dict[str, t.Any]]:
            rows = self.request(
                "POST", ("_dbs_info",), body={"keys": keys}, repeatable=True, hthdrs=hthdrs, expect=is_list
            ).body
            return t.cast("list[dict[str, t.Any]]", rows)

        return dict(_info_of(row) for rows in in_parallel(ask, portions) for row in rows)

    def _dbs_info_listing(self, hthdrs: Headers) -> dict[str, t.Any] | None:
        """The information of all databases. None if CouchDB cuts the answer short, at one without a copy in service."""
        found: dict[str, t.Any] = {}
        after: dict[str, t.Any] = {}
        while True:
            query = {"limit": _DBS_INFO_PAGE, **after}
            try:
                rows = self.request("GET", ("_dbs_info",), query=query, hthdrs=hthdrs, expect=is_list).body
            except errors.Unreachable as error:
                if not error.sent or isinstance(error, errors.TimedOut):
                    raise
                return None
            found.update(_info_of(row) for row in rows)
            if len(rows) < _DBS_INFO_PAGE:
                return found
            after = {"start_key": json.dumps(rows[-1]["key"]), "skip": 1}

    def new_security(self) -> dict[str, t.Any]:
        """The security object that the server gives a new database, as far as its settings may be read.

        https://docs.couchdb.org/en/stable/config/couchdb.html#couchdb/default_security
        """
        settings: dict[str, str] = {}
        if self.dialect.has_default_security:
            with contextlib.suppress(errors.Unauthorized, errors.Forbidden, errors.NotFound):
                settings = self.config("couchdb")
        return self.dialect.new_security(settings.get("default_security", "admin_only"))

    def securities(self, names: t.Sequence[str]) -> dict[str, dict[str, t.Any]]:
        """The security objects of these databases by name, read in parallel: see Database.security."""
        return dict(zip(names, in_parallel(lambda name: self.Database(name).security(), names)))

    def revs_limits(self, names: t.Sequence[str]) -> dict[str, int]:
        """The number of revisions that these databases keep, by name, read in parallel: see Database.revs_limit."""
        return dict(zip(names, in_parallel(lambda name: self.Database(name).revs_limit(), names)))

    def commit(self, hthdrs: Headers = None) -> list[dict[str, str]]:
        """Write every changed document of every open Database, in bulk.

        Changed documents are those read from a Database of this client (C(client["orders"]["1"])) or
        created there (C(client["orders"].new({...}))) and then changed; with C(doc["_deleted"] = True) they
        are deleted. Returns a dict for each document written: C(database), C(id), C(rev).

        All documents that can be written are written, in all databases. If some were refused, CommitFailed is then
        raised, which lists both. The refused ones keep their changes for another commit.

        https://docs.couchdb.org/en/stable/api/database/bulk-api.html#db-bulk-docs
        """
        written: list[dict[str, str]] = []
        refused: list[dict[str, str]] = []
        for database in self._databases.values():
            try:
                written += database.commit(hthdrs)
            except errors.CommitFailed as failure:
                written += failure.written
                refused += failure.refused
        if refused:
            raise errors.CommitFailed(written, refused)
        return written


def _info_of(row: dict[str, t.Any]) -> tuple[str, dict[str, t.Any] | None]:
    """A row of _dbs_info as a name and its information. Raises ServerError if the server could not read it."""
    name, info = row["key"], row.get("info")
    if info is None and row.get("error") != "not_found":
        raise errors.ServerError(
            f"the server could not read the database {name}: {row.get('error')}",
            error=row.get("error"),
            reason=row.get("reason"),
        )
    return name, info
