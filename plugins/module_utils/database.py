# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Database and Document: one database of a server, and what is in it. Public.

A Database is had from a Client (C(client["orders"])), whether or not the server has it. Its calls
raise the errors of the module C(errors), NotFound above all, when the database or a document is not there.

The API of CouchDB: https://docs.couchdb.org/en/stable/api/database/index.html
"""

from __future__ import annotations

import contextlib
import copy
import re
import time
import typing as t

from . import errors
from ._http import is_object, is_ok, side_by_side
from ._lazy import Lazy

if t.TYPE_CHECKING:
    from . import _documents, _indexes
    from .client import Client, Headers
else:
    _documents, _indexes = map(Lazy, ("_documents", "_indexes"))

_BULK = 1000
"""How many documents one bulk request carries, at most."""

_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 5.0
_IDLE = 5
"""How often in a row the copies of an index may be seen not to get on before they are no longer waited for."""

_CLOSED = "Design document was updated or deleted."
"""CouchDB's answer to a query whose index it closes; a design document that isn't there is only missing, or deleted."""

_PROBE = "-functions"
_NEVER = "~"
"""A function that never compiles, and that stands behind all that might: CouchDB compiles them as their texts are sorted."""


class Document(t.Dict[str, t.Any]):
    """A document taken from, or to be written to, a Database: a dict that knows whether it was changed.

    C(client.commit()) writes those that were. Set C(doc["_deleted"] = True) to have it deleted.
    """

    def __init__(self, fields: t.Mapping[str, t.Any], *, stored: bool) -> None:
        super().__init__(copy.deepcopy(dict(fields)))
        self._stored: dict[str, t.Any] | None = copy.deepcopy(dict(fields)) if stored else None

    @property
    def id(self) -> str:
        """The document's id."""
        return t.cast(str, self["_id"])

    @property
    def changed(self) -> bool:
        """Whether it differs from what the server was last seen to hold."""
        return self._stored != self

    def was_stored(self, rev: str) -> None:
        """Note that the server holds it as it is, in this revision."""
        self["_rev"] = rev
        self._stored = copy.deepcopy(dict(self))


class Database:
    """One database of a server. Nothing is sent until something is asked of it."""

    def __init__(self, client: Client, name: str) -> None:
        self.client = client
        self.name = name
        self.hthdrs: dict[str, str] = {}
        self._open: dict[str, Document] = {}

    def __repr__(self) -> str:
        return f"<Database {self.name!r}>"

    def path(self, *parts: str) -> tuple[str, ...]:
        """The path of the database, or of something in it."""
        return (self.name, *parts)

    def _ask(self, method: str, *parts: str, hthdrs: Headers = None, **options: t.Any) -> t.Any:
        headers = {**self.hthdrs, **(hthdrs or {})}
        return self.client.request(method, self.path(*parts), hthdrs=headers, **options).body

    # The database itself

    def ispresent(self, hthdrs: Headers = None) -> bool:
        """Whether the server has it. https://docs.couchdb.org/en/stable/api/database/common.html#head--db"""
        try:
            self._ask("HEAD", hthdrs=hthdrs)
        except errors.NotFound:
            return False
        return True

    def info(self, hthdrs: Headers = None) -> dict[str, t.Any]:
        """What the server tells of it: number of documents, C(sizes) in bytes, C(cluster) with its q and n.

        https://docs.couchdb.org/en/stable/api/database/common.html#get--db
        """
        return t.cast("dict[str, t.Any]", self._ask("GET", hthdrs=hthdrs))

    def put(
        self,
        *,
        shards: int | None = None,
        replicas: int | None = None,
        partitioned: bool | None = None,
        hthdrs: Headers = None,
    ) -> Database:
        """Create it, and give it. Raises AlreadyExists when it is there.

        ``shards`` (q) and ``partitioned`` can't be changed later. More ``replicas`` (n) than there are
        nodes are taken, and cut to their number. Raises InvalidInput or Unsupported where the
        server's version has no such thing.

        https://docs.couchdb.org/en/stable/api/database/common.html#put--db
        """
        dialect = self.client.dialect
        dialect.check_databases([self.name])
        query = dialect.creation_query(shards, replicas, partitioned)
        self._ask("PUT", query=query, hthdrs=hthdrs, expect=is_ok)
        return self

    def delete_database(self, hthdrs: Headers = None) -> bool:
        """Delete it and all that is in it. True when it is done.

        https://docs.couchdb.org/en/stable/api/database/common.html#delete--db
        """
        if self.client.dialect.deletes_what_is_not_there and not self.ispresent(hthdrs):
            raise errors.NotFound(f"there is no database {self.name}", status=404, error="not_found", reason="missing")
        self._ask("DELETE", hthdrs=hthdrs, expect=is_ok)
        self._open.clear()
        return True

    def security(self, hthdrs: Headers = None) -> dict[str, t.Any]:
        """Its security object: C(admins) and C(members), each with C(names) and C(roles).

        https://docs.couchdb.org/en/stable/api/database/security.html
        """
        return t.cast("dict[str, t.Any]", self._ask("GET", "_security", hthdrs=hthdrs, expect=is_object))

    def set_security(self, security: t.Mapping[str, t.Any], hthdrs: Headers = None) -> None:
        """Replace its security object. CouchDB keeps no revisions of it: the last one wins.

        Raises InvalidInput when it is no object of lists, which CouchDB answers with a 500.

        https://docs.couchdb.org/en/stable/api/database/security.html#put--db-_security
        """
        check_security(security)
        self._ask("PUT", "_security", body=dict(security), repeatable=True, hthdrs=hthdrs, expect=is_ok)

    def merge_security(self, given: t.Mapping[str, t.Mapping[str, list[str]]], hthdrs: Headers = None) -> None:
        """Set what is given in its security object, and leave the rest as it is."""
        self.set_security(merged_security(self.security(hthdrs), given), hthdrs)

    def revs_limit(self, hthdrs: Headers = None) -> int:
        """How many revisions of a document it remembers.

        https://docs.couchdb.org/en/stable/api/database/misc.html#db-revs-limit
        """
        return int(self._ask("GET", "_revs_limit", hthdrs=hthdrs))

    def set_revs_limit(self, limit: int, hthdrs: Headers = None) -> None:
        """Set how many revisions it remembers. Raises InvalidInput below 1, which CouchDB answers with a 500."""
        if limit < 1:
            raise errors.InvalidInput("revs_limit", f"is {limit}, and must be 1 or more")
        self._ask("PUT", "_revs_limit", body=limit, repeatable=True, hthdrs=hthdrs, expect=is_ok)

    def compact(self, ddoc: str | None = None, hthdrs: Headers = None) -> bool:
        """Start compacting it, or the views of a design document. True when the server took it, not when it is done.

        https://docs.couchdb.org/en/stable/api/database/compact.html
        """
        parts = ("_compact",) if ddoc is None else ("_compact", _bare(ddoc))
        return bool(self._ask("POST", *parts, body={}, hthdrs=hthdrs).get("ok"))

    def view_cleanup(self, hthdrs: Headers = None) -> bool:
        """Remove the view files that no design document needs any more. True when the server took it.

        https://docs.couchdb.org/en/stable/api/database/compact.html#db-view-cleanup
        """
        return bool(self._ask("POST", "_view_cleanup", body={}, hthdrs=hthdrs).get("ok"))

    # Documents, one

    def __getitem__(self, docid: str) -> Document:
        return self.get(docid)

    def __contains__(self, docid: object) -> bool:
        if not isinstance(docid, str):
            return False
        try:
            self._ask("HEAD", *_docpath(docid))
        except errors.NotFound:
            return False
        return True

    def get(self, docid: str, rev: str | None = None, hthdrs: Headers = None) -> Document:
        """A document. Taken again, it is the same object, and what was changed in it and not committed stays.

        A certain revision, asked for with ``rev``, is not part of a commit.

        https://docs.couchdb.org/en/stable/api/document/common.html#get--db-docid
        """
        opened = self._open.get(docid)
        if rev is None and opened is not None and opened.changed:
            return opened
        document = Document(self._ask("GET", *_docpath(docid), query={"rev": rev}, hthdrs=hthdrs), stored=True)
        if rev is None:
            if opened is not None:
                opened.clear()
                opened.update(document)
                opened.was_stored(document["_rev"])
                return opened
            self._open[docid] = document
        return document

    def new(self, fields: t.Mapping[str, t.Any]) -> Document:
        """A new document, to be written by commit(). Without an C(_id) it gets a UUID made here.

        Raises InvalidInput when a changed document of that id is open already.
        """
        import uuid

        fields = {"_id": uuid.uuid4().hex, **fields}
        opened = self._open.get(fields["_id"])
        if opened is not None and opened.changed:
            raise errors.InvalidInput("_id", f"the document {fields['_id']} is open and changed already")
        document = self._open[fields["_id"]] = Document(fields, stored=False)
        return document

    def put_document(self, document: t.Mapping[str, t.Any], hthdrs: Headers = None) -> str:
        """Write one document, of the C(_id) it holds, at once. Gives the new revision.

        Raises Conflict when its C(_rev) is not the newest, or none was given and the document exists.

        https://docs.couchdb.org/en/stable/api/document/common.html#put--db-docid
        """
        docid = document.get("_id")
        if not isinstance(docid, str) or not docid:
            raise errors.InvalidInput("_id", "the document has none")
        answer = self._ask("PUT", *_docpath(docid), body=dict(document), hthdrs=hthdrs, expect=is_ok)
        rev = t.cast(str, answer["rev"])
        if isinstance(document, Document):
            document.was_stored(rev)
        return rev

    def delete(self, document: str | t.Mapping[str, t.Any], rev: str | None = None, hthdrs: Headers = None) -> str:
        """Delete a document, named by its id and ``rev`` or as it was taken. Gives the revision of its deletion.

        https://docs.couchdb.org/en/stable/api/document/common.html#delete--db-docid
        """
        if isinstance(document, str):
            docid = document
        else:
            docid, rev = document["_id"], rev or document.get("_rev")
        answer = self._ask("DELETE", *_docpath(docid), query={"rev": rev}, hthdrs=hthdrs)
        self._open.pop(docid, None)
        return t.cast(str, answer["rev"])

    # Documents, many

    def all_docs(
        self, keys: t.Sequence[str] | None = None, *, include_docs: bool = False, hthdrs: Headers = None, **query: t.Any
    ) -> list[dict[str, t.Any]]:
        """The rows of C(_all_docs): C(id), C(key), C(value.rev), with ``include_docs`` the C(doc).

        With ``keys`` a row for each of them, in their order; one that is not there holds C(error), one
        that was deleted C(value.deleted). Other query parameters go as they are: C(startkey='"a"').

        https://docs.couchdb.org/en/stable/api/database/bulk-api.html#db-all-docs
        """
        query["include_docs"] = include_docs or None
        if keys is None:
            body = self._ask("GET", "_all_docs", query=query, hthdrs=hthdrs)
        else:
            sent = {"keys": list(keys)}

            def has_each(body: t.Any) -> bool:
                return isinstance(body, dict) and len(body.get("rows", ())) == len(sent["keys"])

            body = self._ask(
                "POST", "_all_docs", query=query, body=sent, repeatable=True, hthdrs=hthdrs, expect=has_each
            )
        return t.cast("list[dict[str, t.Any]]", body["rows"])

    def bulk_get(
        self, ids: t.Sequence[str], hthdrs: Headers = None, *, conflicts: bool = False
    ) -> dict[str, dict[str, t.Any] | None]:
        """Several documents at once: id → document, None for one that is not there.

        With ``conflicts``, a document of which there are others besides, which replication brought, tells
        their revisions in C(_conflicts).

        https://docs.couchdb.org/en/stable/api/database/bulk-api.html#db-bulk-get
        """
        found: dict[str, dict[str, t.Any] | None] = dict.fromkeys(ids)
        local = [docid for docid in ids if docid.startswith(_documents.LOCAL)]
        alone = local if local and not self._lists_local() else []
        listed = [docid for docid in ids if docid not in set(alone)] if alone else ids
        query = {"conflicts": True} if conflicts else {}
        waiting = list(_portions(listed))
        while waiting:
            portion = waiting.pop(0)
            try:
                rows = self.all_docs(portion, include_docs=True, hthdrs=hthdrs, **query)
            except errors.TooLarge:
                # Large documents: fewer of them at a time.
                middle = len(portion) // 2
                if not middle:
                    raise
                waiting[:0] = [portion[:middle], portion[middle:]]
                continue
            for docid, row in zip(portion, rows):
                found[docid] = row.get("doc")
        found.update(zip(alone, side_by_side(lambda docid: self._read_alone(docid, hthdrs), alone)))
        return found

    def _lists_local(self) -> bool:
        return self.client.dialect.lists_local_documents

    def _read_alone(self, docid: str, hthdrs: Headers) -> dict[str, t.Any] | None:
        try:
            return t.cast("dict[str, t.Any]", self._ask("GET", *_docpath(docid), hthdrs=hthdrs))
        except errors.NotFound:
            return None

    def attachment(self, docid: str, name: str, hthdrs: Headers = None) -> bytes:
        """The content of an attachment. https://docs.couchdb.org/en/stable/api/document/attachments.html"""
        return t.cast(bytes, self._ask("GET", *_docpath(docid), *name.split("/"), raw=True, hthdrs=hthdrs))

    def bulk_docs(self, documents: t.Sequence[t.Mapping[str, t.Any]], hthdrs: Headers = None) -> list[dict[str, str]]:
        """Write several documents at once. A dict for each, in their order: C(id) and C(rev), or C(error) and C(reason).

        https://docs.couchdb.org/en/stable/api/database/bulk-api.html#db-bulk-docs
        """
        answers: list[dict[str, str]] = []
        for portion in _portions(documents):
            sent = {"docs": [dict(document) for document in portion]}

            def answers_each(body: t.Any, count: int = len(portion)) -> bool:
                return isinstance(body, list) and len(body) == count and all(map(_tells, body))

            answers += self._ask("POST", "_bulk_docs", body=sent, hthdrs=hthdrs, expect=answers_each)
        return answers

    def write_documents(
        self, documents: t.Sequence[t.Mapping[str, t.Any]], hthdrs: Headers = None
    ) -> list[dict[str, str]]:
        """Like bulk_docs, but raises NotFound, saying what to do, when there is no such database."""
        with self._must_be_there():
            return self.bulk_docs(documents, hthdrs)

    @contextlib.contextmanager
    def _must_be_there(self) -> t.Iterator[None]:
        try:
            yield
        except errors.NotFound as error:
            raise errors.NotFound(
                f"there is no database {self.name}: create it first, with couchdb_database",
                status=error.status,
                error=error.error,
                reason=error.reason,
                method=error.method,
                url=error.url,
            ) from None

    def commit(self, hthdrs: Headers = None) -> list[dict[str, str]]:
        """Write the changed documents of this database: see Client.commit."""
        changed = [document for document in self._open.values() if document.changed]
        written: list[dict[str, str]] = []
        refused: list[dict[str, str]] = []
        for portion in _portions(changed):
            for document, answer in zip(portion, self._write(portion, hthdrs)):
                row = {"database": self.name, "id": document.id}
                if "error" in answer:
                    refused.append({**row, "error": str(answer["error"]), "reason": str(answer.get("reason", ""))})
                    continue
                written.append({**row, "rev": answer["rev"]})
                if document.get("_deleted"):
                    self._open.pop(document.id)
                document.was_stored(answer["rev"])
        if refused:
            raise errors.CommitFailed(written, refused)
        return written

    def _write(self, documents: t.Sequence[Document], hthdrs: Headers) -> list[dict[str, str]]:
        """Like bulk_docs, but what stops the whole request is the refusal of each document."""
        try:
            return self.bulk_docs(documents, hthdrs)
        except errors.CouchDBError as error:
            refusal = {"error": error.error or type(error).__name__, "reason": error.reason or str(error)}
            return [refusal for document in documents]

    # Design documents and indexes

    def design_documents(self, hthdrs: Headers = None) -> list[dict[str, t.Any]]:
        """Its design documents, whole.

        https://docs.couchdb.org/en/stable/api/database/bulk-api.html#db-design-docs
        """
        rows = self.all_docs(include_docs=True, startkey='"_design/"', endkey='"_design0"', hthdrs=hthdrs)
        return [row["doc"] for row in rows]

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
        with self._must_be_there(), _files_named(files or {}):
            self._compile(document, hthdrs)
            return t.cast(
                "dict[str, str]",
                self._ask("PUT", *_docpath(document["_id"]), body=document, hthdrs=hthdrs, expect=is_ok),
            )

    def _compile(self, document: t.Mapping[str, t.Any], hthdrs: Headers) -> None:
        """Raise BadRequest when a function doesn't compile that CouchDB doesn't compile itself. Nothing is written.

        They are sent as views, with a last one that never compiles. CouchDB compiles them in the order of
        their text and refuses the document at the first that fails.
        """
        functions = _documents.functions(document)
        if not functions or not self.client.dialect.compiles_views:
            return
        views = {name: {"map": code} for name, code in functions.items()}
        probe = {"_id": f"{document['_id']}{_PROBE}", "views": {**views, _NEVER: {"map": _NEVER}}}
        (row,) = self.bulk_docs([probe], hthdrs)
        reason = row.get("reason", "")
        found = re.search(r"the map function in the '(.*?)' view failed: (.*)", reason, re.DOTALL)
        # A function may need a module of its design document already when it is compiled; as a view, it has none.
        if found and found.group(1) in functions and "ReferenceError" not in reason:
            name, why = found.groups()
            raise errors.BadRequest(
                f"{name} doesn't compile: {why}", status=400, error="compilation_error", reason=f"{name}: {why}"
            )

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
        staging = _documents.staging(document)
        with self._must_be_there(), _files_named(files or {}):
            # Not after hours of building.
            self._compile(document, hthdrs)
            held = self.bulk_get([staging["_id"]], hthdrs)[staging["_id"]]
        wanted = _documents.merged(staging, held, "replace")
        rev = wanted.get("_rev")
        if not _documents.same(wanted, held):
            rev = self.put_design_document(wanted, files, hthdrs)["rev"]
        self.build_views(document["_id"] + _documents.STAGED, _documents.views(document), wait_timeout, hthdrs)
        written = self.put_design_document(document, files, hthdrs)
        # CouchDB closes an index, and fails the queries of it, when the only document by which it was asked is deleted.
        self.build_views(document["_id"], _documents.views(document), wait_timeout, hthdrs)
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
        for view in views[:1] if counts else views:
            while not self._view_answers(ddoc, view, deadline, hthdrs):
                self._still_building(ddoc, deadline, wait_timeout, hthdrs)
        if views and counts:
            self._wait_for_copies(ddoc, views[0], deadline, wait_timeout, hthdrs)

    def _wait_for_copies(self, ddoc: str, view: str, deadline: float, wait_timeout: float, hthdrs: Headers) -> None:
        least, idle, pause = None, 0, _FIRST_PAUSE
        while True:
            info = self._view_info(ddoc, hthdrs)
            pending = info.get("updates_pending", {}).get("total", 0)
            getting_on = info.get("updater_running") or least is None or pending < least
            idle = 0 if getting_on else idle + 1
            if not pending or idle == _IDLE:
                return
            self._still_building(ddoc, deadline, wait_timeout, hthdrs)
            least = pending if least is None else min(least, pending)
            # Each copy that hears this begins to build, and none is waited for.
            with contextlib.suppress(errors.BadRequest, errors.NotFound, errors.ServerError):
                self._ask_view(ddoc, view, hthdrs, update="lazy")
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _ask_view(self, ddoc: str, view: str, hthdrs: Headers, timeout: float | None = None, **query: t.Any) -> None:
        """Ask a view for nothing, so that it is built.

        A view of a partitioned database can't be asked as a whole, and is asked in a partition of each shard.
        """
        query = {"limit": 0, "reduce": False, **query}
        path = ("_design", _bare(ddoc), "_view", view)

        def ask(*partition: str) -> None:
            self._ask("GET", *partition, *path, query=query, timeout=timeout, repeatable=False, hthdrs=hthdrs)

        try:
            ask()
        except errors.BadRequest as error:
            if error.error != "query_parse_error":
                raise
            side_by_side(lambda partition: ask("_partition", partition), self._partitions(hthdrs))

    def _partitions(self, hthdrs: Headers) -> list[str]:
        """The names of partitions, one in each shard, whether or not there are documents in it.

        https://docs.couchdb.org/en/stable/api/database/shard.html#get--db-_shards
        """
        answer = self._ask("GET", "_shards", hthdrs=hthdrs, expect=lambda body: is_object(body) and "shards" in body)
        return _documents.partitions(answer["shards"])

    def _view_answers(self, ddoc: str, view: str, deadline: float, hthdrs: Headers) -> bool:
        """Whether a view answers before the timeout of a request: then it is built."""
        patience = min(self.client.timeout, max(deadline - time.monotonic(), 1))
        try:
            self._ask_view(ddoc, view, hthdrs, timeout=patience)
        except errors.TimedOut:
            return False
        except errors.ServerError as error:
            # CouchDB, or a proxy before it, has a timeout of its own.
            if error.error != "timeout" and error.status not in (502, 503, 504):
                raise
            time.sleep(_FIRST_PAUSE)
            return False
        except errors.NotFound as error:
            # Another document with the same views was deleted at this moment, and their index closed with it.
            if error.reason != _CLOSED:
                raise
            time.sleep(_FIRST_PAUSE)
            return False
        return True

    def _view_info(self, ddoc: str, hthdrs: Headers) -> dict[str, t.Any]:
        body = self._ask("GET", "_design", _bare(ddoc), "_info", hthdrs=hthdrs)
        return t.cast("dict[str, t.Any]", body["view_index"])

    def _still_building(self, ddoc: str, deadline: float, wait_timeout: float, hthdrs: Headers) -> None:
        """Raise TimedOut after the deadline, telling how far building is."""
        if time.monotonic() < deadline:
            return
        pending = self._view_info(ddoc, hthdrs).get("updates_pending", {}).get("total")
        left = "" if pending is None else f"; {pending} updates are still to be seen by its copies"
        late = errors.TimedOut(
            f"the views of {self.name}/{ddoc} are not built after {wait_timeout:g} s{left}. CouchDB goes on building: "
            "run the task again, or give it a longer wait_timeout"
        )
        # No request is without its answer: what was waited for has not come about, and what comes after it was not done.
        late.sent = False
        raise late

    def indexes(self, hthdrs: Headers = None) -> list[dict[str, t.Any]]:
        """Its Mango indexes: a dict each with C(ddoc), C(name), C(type), C(def).

        https://docs.couchdb.org/en/stable/api/database/find.html#get--db-_index
        """
        return t.cast("list[dict[str, t.Any]]", self._ask("GET", "_index", hthdrs=hthdrs)["indexes"])

    def create_index(self, index: t.Mapping[str, t.Any], hthdrs: Headers = None) -> dict[str, t.Any]:
        """Create a Mango index from CouchDB's object: C(index.fields), C(name), C(ddoc), C(type).

        Gives C(result) (C(created) or C(exists)), C(id) and C(name).

        https://docs.couchdb.org/en/stable/api/database/find.html#db-index
        """
        return t.cast(
            "dict[str, t.Any]", self._ask("POST", "_index", body=dict(index), hthdrs=hthdrs, expect=_tells_of_index)
        )

    def delete_index(self, ddoc: str, name: str, kind: str = "json", hthdrs: Headers = None) -> bool:
        """Delete a Mango index. True when it is done.

        https://docs.couchdb.org/en/stable/api/database/find.html#delete--db-_index-designdoc-json-name
        """
        parts = ("_index", f"_design/{_bare(ddoc)}", kind, name)
        return bool(self._ask("DELETE", *parts, hthdrs=hthdrs, expect=is_ok))

    def put_index(self, index: t.Mapping[str, t.Any], hthdrs: Headers = None) -> dict[str, t.Any]:
        """Like create_index, but what is there under the same C(ddoc) and C(name) is replaced on each server.

        Raises Conflict when its design document was written at the same time, Forbidden when only others may
        write it; CouchDB answers both with a 500. Raises NotFound, saying what to do, when there is no such database.
        """
        if not self.client.dialect.replaces_indexes and "ddoc" in index and "name" in index:
            with contextlib.suppress(errors.NotFound):
                self.remove_index(index["ddoc"], index["name"], hthdrs=hthdrs)
        with self._must_be_there():
            try:
                return self.create_index(index, hthdrs)
            except errors.ServerError as error:
                raise _of_saving(error) from error

    def remove_index(self, ddoc: str, name: str, kind: str = "json", hthdrs: Headers = None) -> None:
        """Take a Mango index out of its design document, and delete that when nothing is left in it.

        Unlike delete_index this works at once: a cluster finds a new index for deletion only after some seconds.
        Raises NotFound when it is not there, Conflict when the design document was written at the same time.
        """
        docid = f"_design/{_bare(ddoc)}"
        left = _indexes.without(self._ask("GET", *_docpath(docid), hthdrs=hthdrs), kind, name)
        if left is None:
            raise errors.NotFound(f"there is no index {name} in {docid}", status=404, error="not_found")
        self.put_document(left, hthdrs)


@contextlib.contextmanager
def _files_named(files: t.Mapping[str, str]) -> t.Iterator[None]:
    """Add to the error for a function that doesn't compile the file that it stands in."""
    try:
        yield
    except errors.BadRequest as error:
        reason = error.reason or ""
        view = re.search(r"the (map|reduce) function in the '(.*?)' view", reason)
        name = f"views/{view.group(2)}/{view.group(1)}" if view else reason.partition(":")[0]
        if name not in files:
            raise
        raise errors.BadRequest(
            f"{error} (in {files[name]})",
            status=error.status,
            error=error.error,
            reason=error.reason,
            method=error.method,
            url=error.url,
        ) from None


_GROUPS = ("admins", "members")
_LISTS = ("names", "roles")


def check_security(security: t.Any, option: str = "security") -> None:
    """Raise InvalidInput, naming ``option``, unless it is an object whose admins and members hold lists of texts."""
    if not isinstance(security, t.Mapping):
        raise errors.InvalidInput(option, "must be a mapping with admins and members")
    for group in _GROUPS:
        lists = security.get(group, {})
        if not isinstance(lists, t.Mapping):
            raise errors.InvalidInput(f"{option}.{group}", "must be a mapping with names and roles")
        for kind in _LISTS:
            listed = lists.get(kind, [])
            if not isinstance(listed, list) or not all(isinstance(item, str) for item in listed):
                raise errors.InvalidInput(f"{option}.{group}.{kind}", "must be a list of texts")


def given_security(security: t.Mapping[str, t.Any], option: str = "security") -> dict[str, dict[str, list[str]]]:
    """What is given for a security object, without what is None.

    Raises InvalidInput, naming ``option``, for anything but lists of texts called names and roles, in
    admins and members.
    """
    given = {group: lists for group, lists in security.items() if lists is not None}
    for group, lists in given.items():
        if group not in _GROUPS:
            raise errors.InvalidInput(option, f"has no {group}, only {' and '.join(_GROUPS)}")
        if isinstance(lists, t.Mapping):
            given[group] = {kind: listed for kind, listed in lists.items() if listed is not None}
            for kind in given[group]:
                if kind not in _LISTS:
                    raise errors.InvalidInput(f"{option}.{group}", f"has no {kind}, only {' and '.join(_LISTS)}")
    check_security(given, option)
    return given


def merged_security(
    security: t.Mapping[str, t.Any], given: t.Mapping[str, t.Mapping[str, list[str]]]
) -> dict[str, t.Any]:
    """A security object with what is given set in it, and all else as it was.

    A list that holds the same in another order is the same, and stays as it was.
    """
    merged = copy.deepcopy(dict(security))
    for group, lists in given.items():
        for kind, wanted in lists.items():
            held = merged.get(group, {}).get(kind, [])
            if sorted(set(held)) != sorted(set(wanted)):
                merged.setdefault(group, {})[kind] = list(dict.fromkeys(wanted))
    return merged


def _of_saving(error: errors.ServerError) -> errors.CouchDBError:
    """The error that C(error_saving_ddoc) stands for: CouchDB has the real one in its reason."""
    reason, message = error.reason or "", str(error)
    kind: type[errors.CouchDBError] = errors.ServerError
    if error.error == "error_saving_ddoc" and "conflict" in reason:
        kind = errors.Conflict
    elif error.error == "error_saving_ddoc" and reason.endswith(("forbidden", "unauthorized")):
        kind = errors.Forbidden
        message += "; only an admin of the server or of the database may write indexes"
    return kind(
        message, status=error.status, error=error.error, reason=error.reason, method=error.method, url=error.url
    )


def _tells_of_index(body: t.Any) -> bool:
    """Whether an answer to C(POST _index) says what became of the index."""
    return isinstance(body, dict) and body.get("result") in ("created", "exists")


def _tells(row: t.Any) -> bool:
    """Whether a row of an answer to C(_bulk_docs) says what became of a document."""
    return isinstance(row, dict) and ("rev" in row or "error" in row)


def _bare(ddoc: str) -> str:
    return ddoc[len("_design/") :] if ddoc.startswith("_design/") else ddoc


def _docpath(docid: str) -> tuple[str, ...]:
    """The path of a document: the slash of _design/ and _local/ parts, any other is encoded."""
    for prefix in ("_design", "_local"):
        if docid.startswith(prefix + "/"):
            return (prefix, docid[len(prefix) + 1 :])
    if not docid:
        raise errors.InvalidInput("_id", "is empty")
    return (docid,)


def _portions(items: t.Sequence[t.Any]) -> t.Iterator[t.Sequence[t.Any]]:
    for start in range(0, len(items), _BULK):
        yield items[start : start + _BULK]
