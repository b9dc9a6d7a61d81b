# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documents: those of several databases at once, and design documents, written with care and with their views built."""

from __future__ import annotations

import contextlib
import functools
import time
import typing as t

from .. import errors
from .._rules import documents as rules
from .answers import is_object, is_ok
from .database import Database as _Database
from .database import bare, docpath
from .databases import Databases
from .parallel import in_parallel
from .server import Headers
from .wait import wait_until

_IDLE = 5.0
"""For how many seconds the copies of an index may be seen not to get on before they are no longer waited for."""

_CLOSED = "Design document was updated or deleted."
"""CouchDB's answer to a query whose index it closes; a design document that isn't there is only missing, or deleted."""

_PROBE = "-functions"
_NEVER = "~"
"""A function that never compiles, and that stands behind all that might: CouchDB compiles them as their texts are sorted."""


class DesignDatabase(_Database):
    """The part of Database for design documents."""

    def put_design_document(
        self, document: t.Mapping[str, t.Any], files: t.Mapping[str, str] | None = None, hthdrs: Headers = None
    ) -> dict[str, str]:
        """Write a design document. Gives its C(id) and C(rev).

        Raises BadRequest, with CouchDB's message, when a function doesn't compile; ``files`` tells for a
        field, such as C(views/by-date/map), in which file it stands, to be named then. CouchDB compiles the
        functions of views only, and a validate_doc_update that doesn't compile would stop every write to the
        database; so these others are compiled first, in a document that CouchDB is sure to refuse.

        https://docs.couchdb.org/en/stable/api/ddoc/common.html#put--db-_design-ddoc
        """
        with _files_named(files or {}):
            self._compile(document, hthdrs)
            return t.cast(
                "dict[str, str]",
                self._ask("PUT", *docpath(document["_id"]), body=document, hthdrs=hthdrs, expect=is_ok),
            )

    def _compile(self, document: t.Mapping[str, t.Any], hthdrs: Headers) -> None:
        """Raise BadRequest when a function doesn't compile that CouchDB doesn't compile itself. Nothing is written.

        They are sent as views, with a last one that never compiles. CouchDB compiles them in the order of
        their text and refuses the document at the first that fails.
        """
        functions = rules.functions(document)
        while functions and self.client.dialect.compiles_views:
            views = {name: {"map": code} for name, code in functions.items()}
            probe = {"_id": f"{document['_id']}{_PROBE}", "views": {**views, _NEVER: {"map": _NEVER}}}
            (row,) = self.bulk_docs([probe], hthdrs)
            name, why = rules.failed_function(row.get("reason", ""), functions)
            if name is None:
                return
            if not rules.may_need_a_module(functions[name], why):
                raise errors.BadRequest(
                    f"{name} does not compile: {why}", status=400, error="compilation_error", reason=f"{name}: {why}"
                )
            # As a view it has no modules. Functions that CouchDB compiles after it are still to be checked.
            del functions[name]

    def switch_design_document(
        self,
        document: t.Mapping[str, t.Any],
        wait_timeout: float,
        files: t.Mapping[str, str] | None = None,
        hthdrs: Headers = None,
    ) -> dict[str, str]:
        """Write a design document once its views are built. Gives its C(id) and C(rev).

        They are built beside the one that is there, in a document with C(-staged) after its id, which is then
        removed. An index is found by its views, so the design document has it as soon as it is written. When
        the views aren't built after ``wait_timeout`` seconds, TimedOut is raised; the document with
        C(-staged) stays, so that the next call goes on where this one ended.
        """
        staging = rules.staging(document)
        with _files_named(files or {}):
            # Not after hours of building.
            self._compile(document, hthdrs)
            held = self.bulk_get([staging["_id"]], hthdrs)[staging["_id"]]
        wanted = rules.merged(staging, held, "replace")
        rev = wanted.get("_rev")
        if not rules.same(wanted, held):
            rev = self.put_design_document(wanted, files, hthdrs)["rev"]
        self.build_views(document["_id"] + rules.STAGED, rules.views(document), wait_timeout, hthdrs)
        written = self.put_design_document(document, files, hthdrs)
        # CouchDB closes an index, and fails the queries of it, when the only document by which it was asked is deleted.
        self.build_views(document["_id"], rules.views(document), wait_timeout, hthdrs)
        self.bulk_docs([{**staging, "_rev": rev, "_deleted": True}], hthdrs)
        return written

    def build_views(self, ddoc: str, views: t.Sequence[str], wait_timeout: float, hthdrs: Headers = None) -> None:
        """Wait until the views of a design document are built, as far as documents were there when it began.

        They are asked for, again and again, as building takes longer than any one request may. That tells of one copy
        of each shard; then, on a cluster, the others are waited for, unless these don't get on. Raises TimedOut, telling
        how far it is, after ``wait_timeout`` seconds.

        https://docs.couchdb.org/en/stable/api/ddoc/common.html#get--db-_design-ddoc-_info
        """
        deadline = time.monotonic() + wait_timeout
        counts = self.client.dialect.tells_pending_updates
        # CouchDB builds all views of a design document together, PouchDB each for itself.
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
                    f"{what} are not built after {wait_timeout:g} s: {lacking}. CouchDB goes on building: run the task "
                    "again, or give it a longer wait_timeout"
                )
                # No request is without its answer: what was waited for has not come about, and what comes after it was not done.
                late.sent = False
                raise late

    def _copies_look(self, ddoc: str, view: str, hthdrs: Headers) -> t.Callable[[], str]:
        """What says what the copies of an index lack; nothing once they are built, or don't get on."""
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
            # Each copy that hears this begins to build, and none is waited for.
            with contextlib.suppress(errors.BadRequest, errors.NotFound, errors.ServerError):
                self._ask_view(ddoc, view, hthdrs, update="lazy")
            return _pending(pending)

        return look

    def _ask_view(self, ddoc: str, view: str, hthdrs: Headers, **query: t.Any) -> None:
        """Ask a view for nothing, so that it is built.

        A view of a partitioned database can't be asked as a whole, and is asked in a partition of each shard.
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
        """The names of partitions, one in each shard, whether or not there are documents in it.

        https://docs.couchdb.org/en/stable/api/database/shard.html#get--db-_shards
        """
        answer = self._ask("GET", "_shards", hthdrs=hthdrs, expect=lambda body: is_object(body) and "shards" in body)
        return rules.partitions(answer["shards"])

    def _view_lacks(self, ddoc: str, view: str, hthdrs: Headers) -> str:
        """What a view lacks to be built: nothing when it answers before the timeout of a request."""
        try:
            self._ask_view(ddoc, view, hthdrs)
        except errors.TimedOut:
            pass
        except errors.ServerError as error:
            # CouchDB, or a proxy before it, has a timeout of its own.
            if error.error != "timeout" and error.status not in (502, 503, 504):
                raise
        except errors.NotFound as error:
            # Another document with the same views was deleted at this moment, and their index closed with it.
            if error.reason != _CLOSED:
                raise
        else:
            return ""
        return _pending(self._view_info(ddoc, hthdrs).get("updates_pending", {}).get("total"))

    def _view_info(self, ddoc: str, hthdrs: Headers) -> dict[str, t.Any]:
        body = self._ask("GET", "_design", bare(ddoc), "_info", hthdrs=hthdrs)
        return t.cast("dict[str, t.Any]", body["view_index"])


class Documents(Databases):
    """The part of Client for documents, design documents among them."""

    _KIND: type[_Database] = DesignDatabase

    def Database(self, name: str, hthdrs: Headers = None) -> DesignDatabase:
        """The database of this name: see Client.Database."""
        return t.cast(DesignDatabase, super().Database(name, hthdrs))

    def documents(
        self,
        portions: t.Sequence[tuple[str, t.Sequence[str]]],
        look: t.Callable[[str, t.Sequence[str], dict[str, dict[str, t.Any] | None] | None], t.Any],
    ) -> list[t.Any]:
        """What ``look`` makes of the documents of each portion, a database and ids, read side by side.

        It gets the name of the database, the ids, and the documents by id, None for one that is not there, or None
        when there is no such database. Only a few portions are held at a time.
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
        """The contents of attachments, each named by database, document and name, read side by side."""
        return in_parallel(lambda one: self.Database(one[0]).attachment(one[1], one[2]), wanted)

    def build_views(self, wanted: t.Sequence[tuple[str, str, t.Sequence[str]]], wait_timeout: float) -> None:
        """Wait until views are built, each named by database, design document and views: see Database.build_views."""
        in_parallel(lambda one: self.Database(one[0]).build_views(one[1], one[2], wait_timeout), wanted)

    def max_document_size(self) -> int | None:
        """The largest document, in bytes, that the server takes; None when it doesn't tell.

        https://docs.couchdb.org/en/stable/config/couchdb.html#couchdb/max_document_size
        """
        try:
            setting = self.config("couchdb").get("max_document_size", self.dialect.max_document_size)
        except (errors.Unauthorized, errors.Forbidden, errors.NotFound):
            return None
        return int(setting) if str(setting).isdigit() else None


def _pending(updates: int | None) -> str:
    """What an index lacks of which so many updates are not yet seen by its copies."""
    return "they are being built" if updates is None else f"{updates} updates are still to be seen by its copies"


@contextlib.contextmanager
def _files_named(files: t.Mapping[str, str]) -> t.Iterator[None]:
    """Add to the error for a function that doesn't compile the file that it stands in."""
    try:
        yield
    except errors.BadRequest as error:
        reason = error.reason or ""
        name = rules.failed_field(reason)
        if name not in files:
            raise
        raise error.reworded(f"{error} (in {files[name]})", errors.BadRequest) from None
