# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documents: those of several databases, and design documents, which are compiled and built before they take effect."""

from __future__ import annotations

import contextlib
import functools
import time
import typing as t
from collections.abc import Mapping

from .. import errors
from .._rules import documents as rules
from .._rules.names import check_type
from .answers import is_object, is_ok
from .database import Database as _Database
from .database import bare, docpath
from .databases import Databases
from .parallel import in_parallel
from .server import Headers
from .wait import wait_until

_IDLE = 5.0
"""The seconds without progress after which the copies of an index are no longer waited for."""

_CLOSED = "Design document was updated or deleted."
"""CouchDB's answer to a query whose index it closes; for a missing design document it is missing, or deleted."""

_UNKNOWN_LANGUAGE = "unknown_query_language"

_PROBE = "-functions"
_NEVER = "~"
"""A function that never compiles, after all that might: CouchDB compiles functions in the order of their source."""


class DesignDatabase(_Database):
    """The part of Database for design documents."""

    def put_design_document(
        self, document: t.Mapping[str, t.Any], files: t.Mapping[str, str] | None = None, hthdrs: Headers = None
    ) -> dict[str, str]:
        """Write a design document. Returns its C(id) and C(rev).

        Raises BadRequest, with CouchDB's message, if a function doesn't compile, or requires a module that the document
        lacks; ``files`` has the file of each field, such as C(views/by-date/map), for the message. CouchDB compiles only the
        functions of views, and a validate_doc_update that doesn't compile would stop every write to the
        database. So the others are compiled first, in a document that CouchDB always refuses.

        https://docs.couchdb.org/en/stable/api/ddoc/common.html#put--db-_design-ddoc
        """
        check_type(document, Mapping, "document", "a mapping")
        path = docpath(document.get("_id", ""))
        with _files_named(files or {}):
            self._compile(document, hthdrs)
            return t.cast("dict[str, str]", self._ask("PUT", *path, body=document, hthdrs=hthdrs, expect=is_ok))

    def _compile(self, document: t.Mapping[str, t.Any], hthdrs: Headers) -> None:
        """Raise BadRequest if a function can't work that CouchDB does not check itself. Nothing is written.

        They are sent as views, with a last one that never compiles. CouchDB compiles them in the order of
        their source and refuses the document at the first that fails.
        """
        if not self.client.dialect.compiles_views:
            return
        functions = rules.functions(document)
        left = dict(functions)
        while left:
            views = {name: {"map": code} for name, code in left.items()}
            probe = {"_id": f"{document['_id']}{_PROBE}", "views": {**views, _NEVER: {"map": _NEVER}}}
            (row,) = self.bulk_docs([probe], hthdrs)
            name, why = rules.failed_function(row.get("reason", ""), left)
            if name is None:
                break
            if not rules.may_need_a_module(left[name], why):
                raise errors.BadRequest(
                    f"{name} does not compile: {why}", status=400, error="compilation_error", reason=f"{name}: {why}"
                )
            # As a view it has no modules. Check the functions that CouchDB compiles after it.
            del left[name]
        for name, code in functions.items():
            path = rules.missing_module(code, document)
            if path is not None:
                why = f"requires {path!r}, and {document['_id']} has no such module. Add it, or correct the path"
                raise errors.BadRequest(
                    f"{name} {why}", status=400, error="invalid_require_path", reason=f"{name}: {why}"
                )

    def switch_design_document(
        self,
        document: t.Mapping[str, t.Any],
        wait_timeout: float,
        files: t.Mapping[str, str] | None = None,
        hthdrs: Headers = None,
    ) -> dict[str, str]:
        """Write a design document once its views are built. Returns its C(id) and C(rev).

        They are built in a second document with C(-staged) after its id, which is then
        removed. CouchDB finds an index by its views, so the design document has it as soon as it is written. If
        the views aren't built after ``wait_timeout`` seconds, TimedOut is raised; the document with
        C(-staged) stays, so that the next call continues where this one ended.
        """
        check_type(document, Mapping, "document", "a mapping")
        docpath(document.get("_id", ""))
        staging = rules.staging(document)
        with _files_named(files or {}):
            # Before hours of building.
            self._compile(document, hthdrs)
            current = self.bulk_get([staging["_id"]], hthdrs)[staging["_id"]]
        wanted = rules.merged(staging, current, "replace")
        rev = wanted.get("_rev")
        if not rules.same(wanted, current):
            rev = self.put_design_document(wanted, files, hthdrs)["rev"]
        staged = {**staging, "_rev": rev, "_deleted": True}
        try:
            self.build_views(document["_id"] + rules.STAGED, rules.views(document), wait_timeout, hthdrs)
        except errors.ServerError as error:
            if error.error != _UNKNOWN_LANGUAGE:
                raise
            self.bulk_docs([staged], hthdrs)
            message = (
                f"{document['_id']}: language is {document.get('language')!r}, and the server has no query server for it. Use "
                "javascript, or configure one on each node"
            )
            raise error.reworded(message, errors.BadRequest) from None
        written = self.put_design_document(document, files, hthdrs)
        # If the only document through which an index was queried is deleted, CouchDB closes the index and its queries fail.
        self.build_views(document["_id"], rules.views(document), wait_timeout, hthdrs)
        self.bulk_docs([staged], hthdrs)
        return written

    def build_views(self, ddoc: str, views: t.Sequence[str], wait_timeout: float, hthdrs: Headers = None) -> None:
        """Wait until the views of a design document are built for the documents that existed at the start.

        They are queried repeatedly, as building takes longer than one request may. That covers one copy
        of each shard; then, on a cluster, the others are waited for, unless they make no progress. Raises TimedOut, with
        the progress, after ``wait_timeout`` seconds.

        https://docs.couchdb.org/en/stable/api/ddoc/common.html#get--db-_design-ddoc-_info
        """
        deadline = time.monotonic() + wait_timeout
        counts = self.client.dialect.counts_pending_updates
        # CouchDB builds all views of a design document together, PouchDB each on its own.
        looks: list[t.Callable[[], str]] = [
            functools.partial(self._view_lacks, ddoc, view, hthdrs) for view in (views[:1] if counts else views)
        ]
        if views and counts:
            looks.append(self._copies_look(ddoc, views[0], hthdrs))
        for look in looks:
            what = f"the views of {self.name}/{ddoc}"
            lacking = wait_until(look, deadline - time.monotonic(), what, self.client.progress)
            if lacking:
                late = errors.TimedOut(
                    f"{what} are not built after {wait_timeout:g} s: {lacking}. CouchDB continues to build them. Run the task "
                    "again, or set a longer wait_timeout"
                )
                # Every request has its answer: the wait failed, and nothing after it was sent.
                late.sent = False
                raise late

    def _copies_look(self, ddoc: str, view: str, hthdrs: Headers) -> t.Callable[[], str]:
        """A function that returns what the copies of an index lack: "" once they are built, or make no progress."""
        least: int | None = None
        moved = time.monotonic()

        def look() -> str:
            nonlocal least, moved
            info = self._view_info(ddoc, hthdrs)
            pending = info.get("updates_pending", {}).get("total", 0)
            if info.get("updater_running") or least is None or pending < least:
                moved = time.monotonic()
            if not pending or time.monotonic() - moved >= _IDLE:
                return ""
            least = pending if least is None else min(least, pending)
            # Each copy that gets this request begins to build; none is waited for.
            with contextlib.suppress(errors.BadRequest, errors.NotFound, errors.ServerError):
                self._ask_view(ddoc, view, hthdrs, update="lazy")
            return _pending(pending)

        return look

    def _ask_view(self, ddoc: str, view: str, hthdrs: Headers, **query: t.Any) -> None:
        """Query a view for no rows, so that it is built.

        A view of a partitioned database can't be queried as a whole, so one partition of each shard is queried.
        """
        query = {"limit": 0, "reduce": False, **query}
        path = ("_design", bare(ddoc), "_view", view)

        def ask(*partition: str) -> None:
            self._ask("GET", *partition, *path, query=query, repeatable=False, hthdrs=hthdrs)

        try:
            ask()
        except errors.BadRequest as error:
            if error.error != "query_parse_error":
                raise
            in_parallel(lambda partition: ask("_partition", partition), self._partitions(hthdrs))

    def _partitions(self, hthdrs: Headers) -> list[str]:
        """The names of partitions, one in each shard, even if it has no documents.

        https://docs.couchdb.org/en/stable/api/database/shard.html#get--db-_shards
        """
        answer = self._ask("GET", "_shards", hthdrs=hthdrs, expect=lambda body: is_object(body) and "shards" in body)
        return rules.partitions(answer["shards"])

    def _view_lacks(self, ddoc: str, view: str, hthdrs: Headers) -> str:
        """What a view lacks to be built: "" if it answers before the timeout of a request."""
        try:
            self._ask_view(ddoc, view, hthdrs)
        except errors.TimedOut:
            pass
        except errors.ServerError as error:
            # CouchDB, or a proxy, has a timeout of its own.
            if error.error != "timeout" and error.status not in (502, 503, 504):
                raise
        except errors.NotFound as error:
            # Another document with the same views was just deleted, which closed their index.
            if error.reason != _CLOSED:
                raise
        else:
            return ""
        return _pending(self._view_info(ddoc, hthdrs).get("updates_pending", {}).get("total"))

    def _view_info(self, ddoc: str, hthdrs: Headers) -> dict[str, t.Any]:
        body = self._ask("GET", "_design", bare(ddoc), "_info", hthdrs=hthdrs)
        return t.cast("dict[str, t.Any]", body["view_index"])


class Documents(Databases):
    """The part of Client for documents, including design documents."""

    _KIND: type[_Database] = DesignDatabase

    def Database(self, name: str, *args: t.Any, **kwargs: t.Any) -> DesignDatabase:
        """The database of this name: see Client.Database."""
        return t.cast(DesignDatabase, super().Database(name, *args, **kwargs))

    def documents(
        self,
        portions: t.Sequence[tuple[str, t.Sequence[str]]],
        look: t.Callable[[str, t.Sequence[str], dict[str, dict[str, t.Any] | None] | None], t.Any],
    ) -> list[t.Any]:
        """The results of ``look`` for the documents of each portion, a database and ids, read in parallel.

        It gets the name of the database, the ids, and the documents by id, None for a missing document, or None
        if the database is missing. Only a few portions are in memory at the same time.
        """

        def ask(portion: tuple[str, t.Sequence[str]]) -> t.Any:
            name, ids = portion
            try:
                found: dict[str, dict[str, t.Any] | None] | None = self.Database(name).bulk_get(ids, conflicts=True)
            except errors.NotFound:
                found = None
            return look(name, ids, found)

        return in_parallel(ask, portions)

    def attachments(self, wanted: t.Sequence[tuple[str, str, str]]) -> list[bytes]:
        """The contents of attachments, each named by database, document and name, read in parallel."""
        return in_parallel(lambda one: self.Database(one[0]).attachment(one[1], one[2]), wanted)

    def build_views(self, wanted: t.Sequence[tuple[str, str, t.Sequence[str]]], wait_timeout: float) -> None:
        """Wait until views are built, each named by database, design document and views: see Database.build_views."""
        in_parallel(lambda one: self.Database(one[0]).build_views(one[1], one[2], wait_timeout), wanted)

    def max_document_size(self) -> int | None:
        """The largest document, in bytes, that the server accepts; None if that is unknown.

        https://docs.couchdb.org/en/stable/config/couchdb.html#couchdb/max_document_size
        """
        try:
            setting = self.config("couchdb").get("max_document_size", self.dialect.max_document_size)
        except (errors.Unauthorized, errors.Forbidden, errors.NotFound):
            return None
        return int(setting) if str(setting).isdigit() else None


def _pending(updates: int | None) -> str:
    """What an index lacks whose copies still lack so many updates."""
    return "they are being built" if updates is None else f"its copies still lack {updates} updates"


@contextlib.contextmanager
def _files_named(files: t.Mapping[str, str]) -> t.Iterator[None]:
    """Add the file of the function to the error for a function that doesn't compile."""
    try:
        yield
    except errors.BadRequest as error:
        reason = error.reason or ""
        name = rules.failed_field(reason)
        if name not in files:
            raise
        raise error.reworded(f"{error} (in {files[name]})", errors.BadRequest) from None
