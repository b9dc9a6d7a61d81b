# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Database and Document: the calls that every part of a database shares, for the database itself and its documents."""

from __future__ import annotations

import copy
import typing as t
from collections.abc import Mapping

from .. import errors
from .._rules.names import check_deletable, check_string, check_type, path_problem
from .._rules.security import check_security, merged_security
from .answers import is_object, is_ok
from .parallel import in_parallel

if t.TYPE_CHECKING:
    from .server import Headers, Server

_BULK = 1000
"""The most documents in one bulk request."""

_LOCAL = "_local/"


class Document(t.Dict[str, t.Any]):
    """A document that was read from a Database, or will be written to it: a dict that knows whether it was changed.

    C(client.commit()) writes the changed ones. Set C(doc["_deleted"] = True) to delete it.
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
        """Whether it differs from the server's document when it was last read or written."""
        return self._stored != self

    def was_stored(self, rev: str) -> None:
        """Note that the server has it as it is, in this revision."""
        self["_rev"] = rev
        self._stored = copy.deepcopy(dict(self))


class Database:
    """The part of Database that every module needs: see Database."""

    def __init__(self, client: Server, name: str) -> None:
        self.client = client
        self.name = name
        self.hthdrs: dict[str, str] = {}
        self._open: dict[str, Document] = {}

    def set_options(self, hthdrs: Headers = None) -> None:
        """Set what C(Client.Database) passes on: HTTP headers for each request, which are added to those before."""
        self.hthdrs.update(hthdrs or {})

    def __repr__(self) -> str:
        return f"<Database {self.name!r}>"

    def path(self, *parts: str) -> tuple[str, ...]:
        """The path of the database, or of something in it."""
        return (self.name, *parts)

    def _ask(self, method: str, *parts: str, hthdrs: Headers = None, **options: t.Any) -> t.Any:
        headers = {**self.hthdrs, **(hthdrs or {})}
        return self.client.request(method, self.path(*parts), hthdrs=headers, **options).body

    def ispresent(self, hthdrs: Headers = None) -> bool:
        """Whether the server has it. https://docs.couchdb.org/en/stable/api/database/common.html#head--db"""
        try:
            self._ask("HEAD", hthdrs=hthdrs)
        except errors.NotFound:
            return False
        return True

    def info(self, hthdrs: Headers = None) -> dict[str, t.Any]:
        """The information of the database: number of documents, C(sizes) in bytes, C(cluster) with its q and n.

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
        """Create it, and return it. Raises AlreadyExists if it exists.

        ``shards`` (q) and ``partitioned`` can't be changed later. CouchDB cuts ``replicas`` (n) to the number of
        nodes. Raises InvalidInput or Unsupported if the server's version lacks an option.

        https://docs.couchdb.org/en/stable/api/database/common.html#put--db
        """
        dialect = self.client.dialect
        dialect.check_databases([self.name])
        query = dialect.creation_query(shards, replicas, partitioned)
        self._ask("PUT", query=query, hthdrs=hthdrs, expect=is_ok)
        return self

    def delete_database(self, hthdrs: Headers = None) -> bool:
        """Delete it with all its documents. True when it is done.

        https://docs.couchdb.org/en/stable/api/database/common.html#delete--db
        """
        check_deletable(self.name, "name")
        if self.client.dialect.deletes_what_is_not_there and not self.ispresent(hthdrs):
            raise errors.NotFound(
                f"the database {self.name} does not exist", status=404, error="not_found", reason="missing"
            )
        self._ask("DELETE", hthdrs=hthdrs, expect=is_ok)
        self._open.clear()
        return True

    def security(self, hthdrs: Headers = None) -> dict[str, t.Any]:
        """Its security object: C(admins) and C(members), each with C(names) and C(roles).

        https://docs.couchdb.org/en/stable/api/database/security.html
        """
        return t.cast("dict[str, t.Any]", self._ask("GET", "_security", hthdrs=hthdrs, expect=is_object))

    def set_security(self, security: t.Mapping[str, t.Any], hthdrs: Headers = None) -> None:
        """Replace its security object. CouchDB keeps no revisions of it: the last write wins.

        Raises InvalidInput unless it is an object of lists; CouchDB would return status 500.

        https://docs.couchdb.org/en/stable/api/database/security.html#put--db-_security
        """
        check_security(security)
        self._ask("PUT", "_security", body=dict(security), repeatable=True, hthdrs=hthdrs, expect=is_ok)

    def merge_security(
        self,
        given: t.Mapping[str, t.Mapping[str, list[str]]],
        before: t.Mapping[str, t.Any] | None = None,
        hthdrs: Headers = None,
    ) -> None:
        """Set the lists in its security object, and leave the rest as it is.

        Raises Conflict if the object differs from ``before``.
        """
        current = self.security(hthdrs)
        if before is not None and current != before:
            raise errors.Conflict(f"the security object of {self.name} was changed meanwhile", status=409)
        self.set_security(merged_security(current, given), hthdrs)

    def revs_limit(self, hthdrs: Headers = None) -> int:
        """The number of revisions that it keeps of a document.

        https://docs.couchdb.org/en/stable/api/database/misc.html#db-revs-limit
        """
        return int(self._ask("GET", "_revs_limit", hthdrs=hthdrs))

    def set_revs_limit(self, limit: int, hthdrs: Headers = None) -> None:
        """Set the number of revisions that it keeps. Raises InvalidInput below 1; CouchDB would return status 500."""
        check_type(limit, int, "revs_limit", "a number")
        if limit < 1:
            raise errors.InvalidInput("revs_limit", f"is {limit}. Set 1 or more")
        self._ask("PUT", "_revs_limit", body=limit, repeatable=True, hthdrs=hthdrs, expect=is_ok)

    def compact(self, ddoc: str | None = None, hthdrs: Headers = None) -> bool:
        """Start its compaction, or that of a design document's views. True if the server accepted it, not when it is done.

        https://docs.couchdb.org/en/stable/api/database/compact.html
        """
        parts = ("_compact",) if ddoc is None else ("_compact", bare(ddoc))
        return bool(self._ask("POST", *parts, body={}, hthdrs=hthdrs).get("ok"))

    def view_cleanup(self, hthdrs: Headers = None) -> bool:
        """Remove the view files that no design document needs any more. True if the server accepted it.

        https://docs.couchdb.org/en/stable/api/database/compact.html#db-view-cleanup
        """
        return bool(self._ask("POST", "_view_cleanup", body={}, hthdrs=hthdrs).get("ok"))

    def __getitem__(self, docid: str) -> Document:
        return self.get(docid)

    def __contains__(self, docid: object) -> bool:
        if not isinstance(docid, str):
            return False
        try:
            self._ask("HEAD", *docpath(docid))
        except errors.NotFound:
            return False
        return True

    def get(self, docid: str, rev: str | None = None, hthdrs: Headers = None) -> Document:
        """A document. A second call returns the same object, with the changes that were not committed.

        A revision that was read with ``rev`` is not part of a commit.

        https://docs.couchdb.org/en/stable/api/document/common.html#get--db-docid
        """
        check_string(docid, "_id")
        opened = self._open.get(docid)
        if rev is None and opened is not None and opened.changed:
            return opened
        document = Document(self._ask("GET", *docpath(docid), query={"rev": rev}, hthdrs=hthdrs), stored=True)
        if rev is None:
            if opened is not None:
                opened.clear()
                opened.update(document)
                opened.was_stored(document["_rev"])
                return opened
            self._open[docid] = document
        return document

    def new(self, fields: t.Mapping[str, t.Any]) -> Document:
        """A new document, which commit() writes. Without an C(_id) it gets a UUID.

        Raises InvalidInput if a changed document with that id is open already.
        """
        import uuid

        check_type(fields, Mapping, "document", "a mapping")
        fields = {"_id": uuid.uuid4().hex, **fields}
        opened = self._open.get(fields["_id"])
        if opened is not None and opened.changed:
            raise errors.InvalidInput(
                "_id", f"the document {fields['_id']} is open and changed already. Commit it first"
            )
        document = self._open[fields["_id"]] = Document(fields, stored=False)
        return document

    def put_document(self, document: t.Mapping[str, t.Any], hthdrs: Headers = None) -> str:
        """Write one document under its C(_id) immediately. Returns the new revision.

        Raises Conflict if its C(_rev) is not the newest, or if it has none and the document exists.

        https://docs.couchdb.org/en/stable/api/document/common.html#put--db-docid
        """
        check_type(document, Mapping, "document", "a mapping")
        docid = document.get("_id")
        if not isinstance(docid, str) or not docid:
            raise errors.InvalidInput("_id", "is missing in the document. Add one")
        answer = self._ask("PUT", *docpath(docid), body=dict(document), hthdrs=hthdrs, expect=is_ok)
        rev = t.cast(str, answer["rev"])
        if isinstance(document, Document):
            document.was_stored(rev)
        return rev

    def delete(self, document: str | t.Mapping[str, t.Any], rev: str | None = None, hthdrs: Headers = None) -> str:
        """Delete a document, by its id and ``rev`` or as it was read. Returns the revision of its deletion.

        https://docs.couchdb.org/en/stable/api/document/common.html#delete--db-docid
        """
        if isinstance(document, str):
            docid = document
        else:
            check_type(document, Mapping, "document", "an id or a mapping")
            docid, rev = document.get("_id", ""), rev or document.get("_rev")
        answer = self._ask("DELETE", *docpath(docid), query={"rev": rev}, hthdrs=hthdrs)
        self._open.pop(docid, None)
        return t.cast(str, answer["rev"])

    def all_docs(
        self, keys: t.Sequence[str] | None = None, *, include_docs: bool = False, hthdrs: Headers = None, **query: t.Any
    ) -> list[dict[str, t.Any]]:
        """The rows of C(_all_docs): C(id), C(key), C(value.rev), with ``include_docs`` the C(doc).

        With ``keys`` a row for each of them, in their order; a missing one has C(error), a deleted one
        C(value.deleted). Other query parameters are sent as they are: C(startkey='"a"').

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
        """Several documents in one request: id → document, None for a missing one.

        With ``conflicts``, a document with conflicting revisions, from a replication, lists
        them in C(_conflicts).

        https://docs.couchdb.org/en/stable/api/database/bulk-api.html#db-bulk-get
        """
        check_type(ids, (list, tuple), "ids", "a list of ids")
        for docid in ids:
            check_string(docid, "_id")
        found: dict[str, dict[str, t.Any] | None] = dict.fromkeys(ids)
        local = [docid for docid in ids if docid.startswith(_LOCAL)]
        alone = local if local and not self._lists_local() else []
        listed = [docid for docid in ids if docid not in set(alone)] if alone else ids
        query = {"conflicts": True} if conflicts else {}
        waiting = list(_portions(listed))
        while waiting:
            portion = waiting.pop(0)
            try:
                rows = self.all_docs(portion, include_docs=True, hthdrs=hthdrs, **query)
            except errors.TooLarge:
                # The documents are large: read fewer of them with one request.
                middle = len(portion) // 2
                if not middle:
                    raise
                waiting[:0] = [portion[:middle], portion[middle:]]
                continue
            for docid, row in zip(portion, rows):
                found[docid] = row.get("doc")
        found.update(zip(alone, in_parallel(lambda docid: self._read_alone(docid, hthdrs), alone)))
        return found

    def _lists_local(self) -> bool:
        return self.client.dialect.lists_local_documents

    def _read_alone(self, docid: str, hthdrs: Headers) -> dict[str, t.Any] | None:
        try:
            return t.cast("dict[str, t.Any]", self._ask("GET", *docpath(docid), hthdrs=hthdrs))
        except errors.NotFound:
            return None

    def attachment(self, docid: str, name: str, hthdrs: Headers = None) -> bytes:
        """The content of an attachment. https://docs.couchdb.org/en/stable/api/document/attachments.html"""
        check_string(name, "name")
        return t.cast(bytes, self._ask("GET", *docpath(docid), *name.split("/"), raw=True, hthdrs=hthdrs))

    def bulk_docs(self, documents: t.Sequence[t.Mapping[str, t.Any]], hthdrs: Headers = None) -> list[dict[str, str]]:
        """Write several documents in one request. A dict for each, in their order: C(id) and C(rev), or C(error) and C(reason).

        https://docs.couchdb.org/en/stable/api/database/bulk-api.html#db-bulk-docs
        """
        check_type(documents, (list, tuple), "documents", "a list of mappings")
        for document in documents:
            check_type(document, Mapping, "document", "a mapping")
        answers: list[dict[str, str]] = []
        for portion in _portions(documents):
            sent = {"docs": [dict(document) for document in portion]}

            def answers_each(body: t.Any, count: int = len(portion)) -> bool:
                return isinstance(body, list) and len(body) == count and all(map(_is_result, body))

            answers += self._ask("POST", "_bulk_docs", body=sent, hthdrs=hthdrs, expect=answers_each)
        return answers

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
        """Like bulk_docs, but an error of the whole request becomes the error of each document."""
        try:
            return self.bulk_docs(documents, hthdrs)
        except errors.CouchDBError as error:
            refusal = {"error": error.error or type(error).__name__, "reason": error.reason or str(error)}
            return [refusal for document in documents]

    def design_documents(self, also: t.Iterable[str] = (), hthdrs: Headers = None) -> list[dict[str, t.Any]]:
        """Its design documents, in full.

        On a cluster, a list comes from one copy of each shard, which may lack the last writes.
        Documents that are requested by their ids are read from several copies. So the list provides the ids only, and those in
        ``also`` are requested as well.

        https://docs.couchdb.org/en/stable/api/database/bulk-api.html#db-design-docs
        """
        rows = self.all_docs(startkey='"_design/"', endkey='"_design0"', hthdrs=hthdrs)
        found = self.bulk_get(list(dict.fromkeys([*(row["id"] for row in rows), *also])), hthdrs)
        return [document for document in found.values() if document is not None]


def _is_result(row: t.Any) -> bool:
    """Whether a row of an answer to C(_bulk_docs) has the result for a document."""
    return isinstance(row, dict) and ("rev" in row or "error" in row)


def bare(ddoc: str) -> str:
    check_string(ddoc, "ddoc")
    return ddoc[len("_design/") :] if ddoc.startswith("_design/") else ddoc


def docpath(docid: str) -> tuple[str, ...]:
    """The path of a document: the slash of _design/ and _local/ parts, any other is encoded."""
    check_string(docid, "_id")
    folder, slash, name = docid.partition("/")
    path = (folder, name) if slash and folder in ("_design", "_local") else (docid,)
    problem = "is empty" if not docid else path_problem(path[-1])
    if problem:
        raise errors.InvalidInput("_id", f"{docid!r} {problem}. Use another id")
    return path


def _portions(items: t.Sequence[t.Any]) -> t.Iterator[t.Sequence[t.Any]]:
    for start in range(0, len(items), _BULK):
        yield items[start : start + _BULK]
