# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Indexes: the Mango indexes of a database, and the design documents of several databases that contain them."""

from __future__ import annotations

import contextlib
import typing as t
from collections.abc import Mapping

from .. import errors
from .._rules import indexes as rules
from .._rules.names import check_string, check_type, path_problem
from .answers import is_ok
from .database import Database as _Database
from .database import bare, docpath
from .databases import Databases
from .parallel import in_parallel
from .server import Headers


class IndexedDatabase(_Database):
    """The part of Database for Mango indexes."""

    def indexes(self, hthdrs: Headers = None) -> list[dict[str, t.Any]]:
        """Its Mango indexes: a dict each with C(ddoc), C(name), C(type), C(def).

        https://docs.couchdb.org/en/stable/api/database/find.html#get--db-_index
        """
        return t.cast("list[dict[str, t.Any]]", self._ask("GET", "_index", hthdrs=hthdrs)["indexes"])

    def create_index(self, index: t.Mapping[str, t.Any], hthdrs: Headers = None) -> dict[str, t.Any]:
        """Create a Mango index from CouchDB's object: C(index.fields), C(name), C(ddoc), C(type).

        Returns C(result) (C(created) or C(exists)), C(id) and C(name).

        https://docs.couchdb.org/en/stable/api/database/find.html#db-index
        """
        _check(index)
        return t.cast(
            "dict[str, t.Any]", self._ask("POST", "_index", body=dict(index), hthdrs=hthdrs, expect=_is_result)
        )

    def delete_index(self, ddoc: str, name: str, kind: str = "json", hthdrs: Headers = None) -> bool:
        """Delete a Mango index. True when it is done.

        https://docs.couchdb.org/en/stable/api/database/find.html#delete--db-_index-designdoc-json-name
        """
        parts = ("_index", f"_design/{bare(ddoc)}", kind, name)
        return bool(self._ask("DELETE", *parts, hthdrs=hthdrs, expect=is_ok))

    def put_index(self, index: t.Mapping[str, t.Any], hthdrs: Headers = None) -> dict[str, t.Any]:
        """Like create_index, but replace an index with the same C(ddoc) and C(name) on every version.

        Raises Conflict if its design document was written at the same time, Forbidden if this login may not
        write it; CouchDB returns status 500 for both.
        """
        _check(index)
        if not self.client.dialect.replaces_indexes and "ddoc" in index and "name" in index:
            with contextlib.suppress(errors.NotFound):
                self.remove_index(index["ddoc"], index["name"], hthdrs=hthdrs)
        try:
            return self.create_index(index, hthdrs)
        except errors.ServerError as error:
            raise _of_saving(error) from error

    def remove_index(self, ddoc: str, name: str, kind: str = "json", hthdrs: Headers = None) -> None:
        """Remove a Mango index from its design document, and delete the document if it is empty then.

        Unlike delete_index this works at once: on a cluster, a new index can be deleted only after some seconds.
        Raises NotFound if it is missing, Conflict if the design document was written at the same time.
        """
        docid = f"_design/{bare(ddoc)}"
        left = rules.without(self._ask("GET", *docpath(docid), hthdrs=hthdrs), kind, name)
        if left is None:
            raise errors.NotFound(f"{docid} has no index {name}", status=404, error="not_found")
        self.put_document(left, hthdrs)


class Indexes(Databases):
    """The part of Client for Mango indexes."""

    _KIND: type[_Database] = IndexedDatabase

    def Database(self, name: str, *args: t.Any, **kwargs: t.Any) -> IndexedDatabase:
        """The database of this name: see Client.Database."""
        return t.cast(IndexedDatabase, super().Database(name, *args, **kwargs))

    def design_documents(self, wanted: t.Mapping[str, t.Iterable[str]]) -> dict[str, list[dict[str, t.Any]] | None]:
        """The design documents of databases by their names, read in parallel; None for a missing database.

        ``wanted`` has the databases, and the names of design documents to look for in each.
        """

        def ask(name: str) -> list[dict[str, t.Any]] | None:
            try:
                return self.Database(name).design_documents(f"_design/{bare(ddoc)}" for ddoc in wanted[name])
            except errors.NotFound:
                return None

        names = list(wanted)
        return dict(zip(names, in_parallel(ask, names)))


def _check(index: t.Mapping[str, t.Any]) -> None:
    """Raise InvalidInput for an index whose names could not be part of a URL; CouchDB would create it."""
    check_type(index, Mapping, "index", "a mapping")
    for option in ("ddoc", "name"):
        name = index.get(option, "")
        check_string(name, option)
        problem = path_problem(bare(name))
        if problem:
            raise errors.InvalidInput(option, f"{name!r} {problem}. Use another name")


def _of_saving(error: errors.ServerError) -> errors.CouchDBError:
    """The error behind C(error_saving_ddoc): CouchDB has the real one in its reason."""
    reason, message = error.reason or "", str(error)
    kind: type[errors.CouchDBError] = errors.ServerError
    if error.error == "error_saving_ddoc" and "conflict" in reason:
        kind = errors.Conflict
    elif error.error == "error_saving_ddoc" and reason.endswith(("forbidden", "unauthorized")):
        kind = errors.Forbidden
        message += ". Log in as an admin of the server or of the database"
    return error.reworded(message, kind)


def _is_result(body: t.Any) -> bool:
    """Whether an answer to C(POST _index) has the result for the index."""
    return isinstance(body, dict) and body.get("result") in ("created", "exists")
