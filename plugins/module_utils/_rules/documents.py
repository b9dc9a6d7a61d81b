# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Declared documents: which are refused, what a write stores, when two are equal, how large they are. Pure.

https://docs.couchdb.org/en/stable/api/document/common.html#special-fields
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import itertools
import json
import re
import typing as t
import zlib
from dataclasses import dataclass, field

from ..errors import InvalidInput
from . import couchapp
from .names import USER_PREFIX, check_database_name, check_json, path_problem
from .values import equal

DESIGN = "_design/"
LOCAL = "_local/"
STAGED = "-staged"

_SERVERS = frozenset(["_rev", "_revisions", "_revs_info", "_conflicts", "_deleted_conflicts", "_local_seq"])
"""The fields that CouchDB adds to a document that is read; a document can be declared with them."""

_FUNCTIONS = ("filters", "updates", "shows", "lists")
_CODE = re.compile(
    r"""(?P<require>(?<![\w$.])require\b)(?:\s*\(\s*(["'])(?P<path>[^"'\\\n]*)\2\s*\))?"""
    r"""|//[^\n]*|/\*(?:[^*]|\*(?!/))*|"(?:[^"\\\n]|\\.)*"?|'(?:[^'\\\n]|\\.)*'?|`(?:[^`\\]|\\.)*`?""",
    re.DOTALL,
)
"""The calls of require in a function, and what is not code in it: comments and strings."""
_GZIP_LEVEL, _GZIP_WINDOW = 8, 31
_PORTION = 1000
_PORTION_BYTES = 16 * 1024 * 1024

Document = t.Mapping[str, t.Any]
Key = t.Tuple[str, str]
"""The database and the id of a document."""

_Item = t.TypeVar("_Item")


@dataclass(frozen=True)
class Wanted:
    """A document that should exist, or not; then only its C(_id) counts.

    ``where`` is the option or file that declares it. ``files`` has the file of each field of a design document.
    ``left_over`` marks a document in which an earlier task built views, and which it could not remove.
    """

    database: str
    document: dict[str, t.Any]
    present: bool
    mode: str = "replace"
    build: bool = False
    staged: bool = False
    where: str = "documents"
    files: dict[str, str] = field(default_factory=dict)
    left_over: bool = False

    @property
    def id(self) -> str:
        """The document's id."""
        return t.cast(str, self.document["_id"])

    @property
    def key(self) -> Key:
        """The unique key of the document."""
        return self.database, self.id

    @property
    def is_design(self) -> bool:
        """Whether it is a design document."""
        return self.id.startswith(DESIGN)


@dataclass(frozen=True)
class Compared:
    """The documents of a database: revisions of those that are as declared, None for none; and those that differ, in full."""

    database: str
    missing: bool
    revs: dict[Key, str | None] = field(default_factory=dict)
    differing: dict[Key, dict[str, t.Any] | None] = field(default_factory=dict)


def declared(options: Document, where: str = "") -> t.Iterator[Wanted]:
    """The documents that a task declares for one database, including those in files.

    ``where`` is the prefix of the options' names in errors. Raises InvalidInput for options that can't work.
    """
    database, present = options["database"], options["state"] == "present"
    check_database_name(database, f"{where}database")
    if options["ids"] is not None and present:
        raise InvalidInput(f"{where}ids", "has no effect without state: absent")
    common = {name: options[name] for name in ("mode", "build", "staged")}
    given = [
        couchapp.Source(document, f"{where}documents[{number}]")
        for number, document in enumerate(options["documents"] or [])
    ]
    given += [
        couchapp.Source({"_id": docid}, f"{where}ids[{number}]") for number, docid in enumerate(options["ids"] or [])
    ]
    if options["src"] is not None:
        given += couchapp.read(options["src"])
    for source in given:
        if present:
            check_document(source.document, source.path, database)
        else:
            check_id(source.document.get("_id"), source.path)
        one = Wanted(database, source.document, present, where=source.path, files=source.files, **common)
        yield one
        if one.staged and one.is_design and present:
            yield Wanted(database, {"_id": one.id + STAGED}, False, where=f"{source.path}, staged", left_over=True)


def reading(wanted: t.Iterable[Wanted]) -> list[tuple[str, list[str]]]:
    """The databases and ids to read, in portions of bounded size."""
    by_database: dict[str, list[Wanted]] = {}
    for one in wanted:
        by_database.setdefault(one.database, []).append(one)
    return [
        (database, [one.id for one in portion])
        for database, documents in by_database.items()
        for portion in portions(documents, lambda one: sent_size(one.document) if one.present else 0)
    ]


def compared(
    wanted: t.Mapping[Key, Wanted], database: str, ids: t.Sequence[str], current: t.Mapping[str, t.Any] | None
) -> Compared:
    """Compare the documents of a database, read by their ids; ``current`` is None if the database is missing."""
    found = Compared(database, current is None)
    for docid in ids:
        one, found_one = wanted[database, docid], (current or {}).get(docid)
        if to_write(one, found_one) is found_one:
            found.revs[one.key] = rev_of(found_one)
        else:
            found.differing[one.key] = found_one
    return found


def rev_of(current: Document | None) -> str | None:
    """The revision of a document, None for none."""
    return None if current is None else t.cast(str, current["_rev"])


def deletions(current: Document) -> list[dict[str, t.Any]]:
    """The body that deletes a document and its conflicting revisions, of which CouchDB would show one next."""
    revs = [current["_rev"], *current.get("_conflicts", [])]
    return [{"_id": current["_id"], "_rev": rev, "_deleted": True} for rev in revs]


def to_write(wanted: Wanted, current: Document | None, limit: int | None = None) -> Document | None:
    """The desired document: the current one itself if nothing has to change, None for none.

    Raises InvalidInput if it has more than ``limit`` bytes.
    """
    if not wanted.present:
        return None
    document = merged(wanted.document, current, wanted.mode, wanted.database, wanted.where)
    if same(document, current, wanted.database):
        return current
    size = body_size(document)
    if limit is not None and size > limit:
        raise InvalidInput(
            wanted.where,
            f"the document {wanted.id} has {size} bytes, and the server accepts {limit} at most. Make it smaller, or raise "
            "couchdb/max_document_size",
        )
    return document


def shown(document: Document | None) -> dict[str, t.Any] | None:
    """A document as a diff shows it: without its revision, and without the content of attachments."""
    if document is None:
        return None
    fields = {name: value for name, value in document.items() if name not in _SERVERS}
    if "_attachments" in fields:
        fields["_attachments"] = {name: _shown_attachment(current) for name, current in fields["_attachments"].items()}
    return fields


def check_id(docid: t.Any, option: str) -> None:
    """Raise InvalidInput, naming ``option``, unless CouchDB accepts this id.

    https://docs.couchdb.org/en/stable/json-structure.html#couchdb-document
    """
    if docid is None or docid == "":
        raise InvalidInput(option, "has a document without _id. Add one")
    if not isinstance(docid, str):
        raise InvalidInput(option, f"the _id {docid!r} is not a string. Write it in quotes")
    if docid.startswith("_") and not (docid.startswith((DESIGN, LOCAL)) and docid.partition("/")[2]):
        raise InvalidInput(
            option,
            f"{docid!r} is not an id for a document. Only _design/NAME and _local/NAME may begin with an underscore",
        )
    if docid.startswith((DESIGN, LOCAL)) and docid.partition("/")[2] in (".", ".."):
        raise InvalidInput(option, f"{docid!r} is not an id for a document, as it is a step in the path of a URL")
    check_json(docid, option, repr(docid))


def check_document(document: t.Any, option: str, database: str) -> None:
    """Raise InvalidInput, naming ``option``, for a document that CouchDB can't store, or that another module manages."""
    if not isinstance(document, t.Mapping):
        raise InvalidInput(option, "is not a document. Use a mapping")
    check_id(document.get("_id"), option)
    docid: str = document["_id"]
    for name in document:
        known = name in _SERVERS or name in ("_id", "_attachments") or _is_replications(name, database)
        if name == "_deleted":
            raise InvalidInput(option, f"{docid} contains _deleted. Use state: absent instead")
        if str(name).startswith("_") and not known:
            raise InvalidInput(
                option,
                f"{docid} contains {name}, and fields that begin with an underscore are CouchDB's own. Rename it",
            )
    # The server's database of users may have any name.
    is_user = docid.startswith(USER_PREFIX) or (_is(database, "_users") and not docid.startswith(DESIGN))
    if document.get("password") is not None and is_user:
        raise InvalidInput(option, f"{docid} contains a password, which CouchDB would hash. Use couchdb_user")
    check_json(document, option, docid)
    _check_attachments(document, option)


def merged(
    given: Document, current: Document | None, mode: str, database: str = "", where: str = "documents"
) -> dict[str, t.Any]:
    """The document to write so that the server has the declared one.

    With the mode C(merge), fields and attachments that aren't declared stay as they are; a declared field is
    replaced as a whole. Equal attachments become the current stubs, so that they are not sent again.

    Raises InvalidInput, naming ``where``, for the stub of an attachment that the server lacks.
    """
    fields = _own(given, database)
    attachments = given.get("_attachments")
    if current is None:
        current = {}
    elif mode == "merge":
        fields = {**_own(current, database), **fields}
        attachments = {**current.get("_attachments", {}), **(attachments or {})}
    elif "owner" in current and _is(database, "_replicator"):
        # CouchDB stores the owner of a replication.
        fields.setdefault("owner", current["owner"])
    document = {"_id": given["_id"], **({"_rev": current["_rev"]} if "_rev" in current else {}), **fields}
    if attachments:
        document["_attachments"] = {
            name: _attachment(f"{given['_id']}/{name}", attachment, current.get("_attachments", {}).get(name), where)
            for name, attachment in attachments.items()
        }
    return document


def same(document: Document, current: Document | None, database: str = "") -> bool:
    """Whether writing this document, as merged() returns it, would change nothing."""
    if current is None:
        return False
    return equal(_own(document, database), _own(current, database)) and equal(
        document.get("_attachments") or {}, current.get("_attachments") or {}
    )


def undecided(wanted: Wanted, current: Document | None) -> list[str]:
    """The attachments whose stubs don't show whether they are equal: their content must be read.

    CouchDB compresses content of textual types, and the digest is then that of the compressed content. Another
    compression library may produce the same length and other bytes.
    """
    stubs = (current or {}).get("_attachments", {})
    return [
        name
        for name, attachment in (wanted.document.get("_attachments") or {}).items()
        if wanted.present
        and name in stubs
        and "data" in attachment
        and _type(attachment) == stubs[name].get("content_type")
        and _length(attachment) == stubs[name].get("length")
        and stubs[name].get("digest") not in _digests(_content(attachment))
    ]


def digest(content: bytes) -> str:
    """The digest of an attachment that CouchDB stores without compression."""
    return "md5-" + base64.b64encode(hashlib.md5(content).digest()).decode("ascii")


def body_size(document: Document) -> int:
    """The bytes of a document's own fields, as CouchDB counts them for its setting C(couchdb/max_document_size)."""
    own = {name: value for name, value in document.items() if not name.startswith("_")}
    return len(json.dumps(own, separators=(",", ":"), ensure_ascii=False).encode())


def sent_size(document: Document) -> int:
    """About how many bytes a request with the document has, attachments included."""
    attachments = (document.get("_attachments") or {}).values()
    return body_size(document) + sum(len(attachment.get("data", "")) for attachment in attachments)


def portions(items: t.Sequence[_Item], size: t.Callable[[_Item], int]) -> t.Iterator[list[_Item]]:
    """The items in portions of limited number and bytes; a larger item gets a portion of its own."""
    portion: list[_Item] = []
    total = 0
    for item in items:
        if portion and (len(portion) == _PORTION or total + size(item) > _PORTION_BYTES):
            yield portion
            portion, total = [], 0
        portion.append(item)
        total += size(item)
    if portion:
        yield portion


# Design documents


def views(document: Document) -> list[str]:
    """The names of the views of a design document; C(lib), the code that they share, is not a view."""
    current = document.get("views")
    return [name for name in current if name != "lib"] if isinstance(current, t.Mapping) else []


def staging(document: Document) -> dict[str, t.Any]:
    """The design document for building the index of this one in advance: its signed fields, and nothing that has an effect.

    CouchDB identifies the index of views by their signature, which is that of their functions, options and language.
    """
    return {"_id": document["_id"] + STAGED, **_signed(document)}


def needs_building(document: Document, current: Document | None) -> bool:
    """Whether a design document has other views than the current one."""
    return bool(views(document)) and (current is None or not equal(_signed(document), _signed(current)))


def has_known_language(document: Document) -> bool:
    """Whether every server has a query server for a design document's language. What others it has can't be read."""
    return document.get("language") in (None, "javascript", "query")


def partitions(shards: t.Iterable[str]) -> list[str]:
    """The name of a partition in each of the ``shards``, named by their ranges, such as C(00000000-7fffffff).

    CouchDB places a partition by the CRC of its name. https://docs.couchdb.org/en/stable/partitioned-dbs/index.html
    """
    ranges = [tuple(int(end, 16) for end in shard.split("-")) for shard in shards]
    found: dict[tuple[int, ...], str] = {}
    for name in map(str, itertools.count()):
        if len(found) == len(ranges):
            return [found[each] for each in ranges]
        hashed = zlib.crc32(name.encode())
        for low, high in ranges:
            if low <= hashed <= high:
                found.setdefault((low, high), name)
    return []


def functions(document: Document) -> dict[str, str]:
    """Functions that CouchDB doesn't compile before it stores a design document, by their field."""
    if document.get("language", "javascript") != "javascript":
        return {}
    found = {name: document.get(name) for name in ("validate_doc_update", "rewrites")}
    for kind in _FUNCTIONS:
        current = document.get(kind)
        found.update(
            {f"{kind}/{name}": code for name, code in current.items()} if isinstance(current, t.Mapping) else {}
        )
    return {name: code for name, code in found.items() if isinstance(code, str)}


_MAP, _REDUCE, _FAILED = "the map function in the '", "the reduce function in the '", "' view failed: "


def failed_function(reason: str, functions: t.Collection[str]) -> tuple[str | None, str]:
    """The one of the functions, sent as views, that CouchDB could not compile, and why; None if it was none of them."""
    name, _failed, why = reason.partition(_MAP)[2].partition(_FAILED)
    return (name, why) if name in functions else (None, "")


def failed_field(reason: str) -> str:
    """The field of a design document, such as C(views/by-date/map), with the function that CouchDB could not compile."""
    for found, function in ((_MAP, "map"), (_REDUCE, "reduce")):
        if found in reason:
            return f"views/{reason.partition(found)[2].partition(_FAILED)[0]}/{function}"
    return reason.partition(":")[0]


def may_need_a_module(code: str, why: str) -> bool:
    """Whether a function may have failed only because it was compiled without modules.

    It may require them while it is compiled, and use what they export. A syntax error remains an error: C(SyntaxError) in
    QuickJS and newer versions of SpiderMonkey, C(Line N:) in older ones, where the code is parsed beforehand.
    """
    syntax = "SyntaxError" in why or 'new Error("Line ' in why or "does not eval to a function" in why
    return re.search(r"\brequire\b", code) is not None and ("ReferenceError" in why or not syntax)


def missing_module(code: str, document: Document) -> str | None:
    """The path of a module that a function requires and that its design document lacks; None if there is none for sure.

    CouchDB looks for it from the root of the design document. A function that catches errors may do without it, and one with
    other uses of C(require) may have a C(require) of its own.

    https://docs.couchdb.org/en/stable/query-server/javascript.html#require
    """
    required = [found["path"] for found in _CODE.finditer(code) if found["require"]]
    if None in required or re.search(r"\b(?:try|exports)\b", code):
        return None
    return next((path for path in required if not _has_module(document, path)), None)


def _has_module(document: Document, path: str) -> bool:
    """Whether the path leads to a string in a design document, or may do so."""
    current: t.Any = document
    for name in path.split("/"):
        if name in (".", "..") or isinstance(current, list):
            return True
        current = current.get(name) if isinstance(current, t.Mapping) else None
    return isinstance(current, str)


def _signed(document: Document) -> dict[str, t.Any]:
    return {name: document[name] for name in ("language", "options", "views") if name in document}


def _own(document: Document, database: str) -> dict[str, t.Any]:
    """The document's own fields, without those that CouchDB adds and without attachments."""
    return {
        name: value
        for name, value in document.items()
        if not name.startswith("_")
        or not (name in _SERVERS or name in ("_id", "_attachments") or _is_replications(name, database))
    }


def _is_replications(name: str, database: str) -> bool:
    """Whether CouchDB writes the state of a replication to this field."""
    return str(name).startswith("_replication_") and _is(database, "_replicator")


def _is(database: str, system: str) -> bool:
    return database == system or database.endswith("/" + system)


# Attachments


def _check_attachments(document: Document, option: str) -> None:
    attachments = document.get("_attachments")
    if attachments is None:
        return
    where = f"{document['_id']} contains"
    if not isinstance(attachments, t.Mapping):
        raise InvalidInput(option, f"{where} _attachments that are not a mapping. Use names as keys")
    if attachments and document["_id"].startswith(LOCAL):
        raise InvalidInput(option, f"{where} _attachments, which CouchDB doesn't keep in _local documents")
    for name, attachment in attachments.items():
        where = f"{document['_id']} contains the attachment {name}"
        if not name or name.startswith("_"):
            raise InvalidInput(option, f"{where}. The name must not be empty or begin with an underscore")
        problem = next(filter(None, map(path_problem, name.split("/"))), None)
        if problem:
            raise InvalidInput(option, f"{where}. A part of the name {problem}")
        if not isinstance(attachment, t.Mapping) or not (
            isinstance(attachment.get("data"), str) or "stub" in attachment
        ):
            raise InvalidInput(option, f"{where} without data. Add its content in Base64")
        if not isinstance(attachment.get("content_type", ""), str):
            raise InvalidInput(
                option, f"{where} with a content_type that is not a string. Use a type such as image/png"
            )
        try:
            _content(attachment)
        except (ValueError, binascii.Error):
            raise InvalidInput(option, f"{where} with data that is not Base64. Encode its content") from None


def _attachment(name: str, given: Document, current: Document | None, where: str) -> dict[str, t.Any]:
    """An attachment as it is sent: the current stub if it is equal, else in full."""
    if "data" not in given:
        if current is None:
            raise InvalidInput(where, f"the attachment {name} is a stub, and the server does not have it. Add its data")
        return dict(current)
    if (
        current is not None
        and current.get("content_type") == _type(given)
        and current.get("digest") in _digests(_content(given))
    ):
        return dict(current)
    return {"content_type": _type(given), "data": given["data"]}


def _shown_attachment(attachment: Document) -> dict[str, t.Any]:
    length = _length(attachment) if "data" in attachment else attachment.get("length")
    return {"content_type": _type(attachment), "length": length}


def _type(attachment: Document) -> str:
    return t.cast(str, attachment.get("content_type") or "application/octet-stream")


def _content(attachment: Document) -> bytes:
    return base64.b64decode("".join(attachment.get("data", "").split()), validate=True)


def _length(attachment: Document) -> int:
    return len(_content(attachment))


def _digests(content: bytes) -> set[str]:
    """The digests that CouchDB may store for a content: that of the plain and that of the compressed content."""
    compressor = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)
    return {digest(content), digest(compressor.compress(content) + compressor.flush())}
