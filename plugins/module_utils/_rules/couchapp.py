# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documents from files: a JSON file, or a directory laid out as couchapps are. Pure, but for the files that it reads.

A directory is a database, whose children are documents, or is one document, whose files are its fields:
see read(). The mapping is that of the tools couchapp, erica and couchdb-compile.
"""

from __future__ import annotations

import base64
import json
import os
import stat
import typing as t
from dataclasses import dataclass, field

from ..errors import InvalidInput
from .names import DEEPEST, is_deeper

MOST_BYTES = 128 * 1024 * 1024
"""The number of bytes that the files of one source may have together: all of them are kept in memory."""

_PACKED = "couchpy.couchdb documents"
_PACKED_START = f'{{"{_PACKED}":'.encode()
_PREFIXES = ("_design", "_local")
_SECURITY = ("_security", "_security.json")
_NO_ATTACHMENTS = frozenset(
    [
        ".DS_Store",
        ".bzr",
        ".couchappignore",
        ".directory",
        ".git",
        ".gitattributes",
        ".gitignore",
        ".gitkeep",
        ".hg",
        ".svn",
    ]
)
"""Names in C(_attachments) that belong to version control and file managers. Others may begin with a dot: C(.well-known)."""

_MODULES = (".js", ".coffee")
_MODULE = "is a JavaScript module, which would have to be run. Compile it with couchdb-compile, and use the JSON"
_OF_DESIGNS = frozenset(["views", "lists", "shows", "updates", "filters", "validate_doc_update.js", "language"])

# The characters that JavaScript trims at the ends of a string: the tools above trim files with it.
_SPACE = "\t\n\v\f\r \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"

# The types of attachments by the ending of their name. Python's own table differs between releases and hosts, and an
# attachment must not change with the host that reads it.
_TYPES = {
    "atom": "application/atom+xml",
    "appcache": "text/cache-manifest",
    "avif": "image/avif",
    "bmp": "image/bmp",
    "css": "text/css",
    "csv": "text/csv",
    "eot": "application/vnd.ms-fontobject",
    "gif": "image/gif",
    "gz": "application/gzip",
    "htm": "text/html",
    "html": "text/html",
    "ico": "image/vnd.microsoft.icon",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "js": "application/javascript",
    "json": "application/json",
    "less": "text/less",
    "manifest": "text/cache-manifest",
    "map": "application/json",
    "md": "text/markdown",
    "mjs": "application/javascript",
    "mp3": "audio/mpeg",
    "mp4": "video/mp4",
    "ogg": "audio/ogg",
    "otf": "font/otf",
    "pdf": "application/pdf",
    "png": "image/png",
    "rss": "application/rss+xml",
    "rtf": "application/rtf",
    "svg": "image/svg+xml",
    "tsv": "text/tab-separated-values",
    "ttf": "font/ttf",
    "txt": "text/plain",
    "wasm": "application/wasm",
    "webm": "video/webm",
    "webmanifest": "application/manifest+json",
    "webp": "image/webp",
    "woff": "font/woff",
    "woff2": "font/woff2",
    "xhtml": "application/xhtml+xml",
    "xml": "application/xml",
    "yaml": "text/yaml",
    "yml": "text/yaml",
    "zip": "application/zip",
}

Load = t.Callable[[str], bytes]


@dataclass(frozen=True)
class Source:
    """A document that was read: ``path`` is its file or directory, ``files`` has the file of each field, such as C(views/by-date/map)."""

    document: dict[str, t.Any]
    path: str
    files: dict[str, str] = field(default_factory=dict)


def read(path: str, load: Load | None = None) -> list[Source]:
    """The documents of a JSON file or of a directory, in the order of their names.

    A JSON file contains one document, a list of documents, or C({"docs": [...]}). A directory is one document
    if it contains a file C(_id) or a directory C(_attachments), or is in a directory C(_design) or C(_local); every
    other is a database. C(_design) and C(_local) themselves are the part of a database with these documents.
    ``load`` reads a file; by default as it is.

    Raises InvalidInput, naming the file and for JSON its line, for anything else, and for two sources of one document
    or field.
    """
    if not path:
        raise InvalidInput("src", "is empty")
    reader = _Reader(load or _load)
    path = os.path.abspath(path)
    _check_part(path)
    if os.path.isfile(path):
        found = reader.file(path)
    elif not os.path.isdir(path):
        raise InvalidInput("src", f"the file or directory {path} does not exist")
    elif os.path.basename(path) in _PREFIXES:
        found = reader.part(path, set())
    elif reader.is_document(path):
        found = reader.document(path, _id_of(path))
    else:
        found = reader.database(path)
    check_twice((source.document.get("_id"), source.path) for source in found)
    return found


def _check_part(path: str) -> None:
    """Raise InvalidInput for a path inside a document of C(_design): its files are fields, not documents."""
    parent, name = os.path.split(os.path.dirname(path))
    while name:
        parent, above = os.path.split(parent)
        if above == "_design" and os.path.isdir(os.path.join(parent, above, name)):
            whole = os.path.join(parent, above, name)
            raise InvalidInput("src", f"{path} is a part of the document {above}/{name}. Use {whole}")
        name = above


def check_twice(documents: t.Iterable[tuple[t.Any, str]], option: str = "src") -> None:
    """Raise InvalidInput, naming both sources, if two of the documents, each an id and its source, have the same id."""
    seen: dict[t.Any, str] = {}
    for docid, where in documents:
        if docid in seen:
            raise InvalidInput(option, f"the document {docid} has two sources: {seen[docid]} and {where}")
        seen[docid] = where


def pack(sources: t.Sequence[Source]) -> str:
    """Documents that were read on one host as a JSON string, which read() accepts on another."""
    return json.dumps({_PACKED: [vars(source) for source in sources]})


class _Reader:
    """Reads files, up to a limit of bytes."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._bytes = 0

    def file(self, path: str) -> list[Source]:
        """The documents of a JSON file."""
        value = self._json(path)
        if isinstance(value, dict) and list(value) == [_PACKED]:
            return [Source(**source) for source in value[_PACKED]]
        if isinstance(value, dict) and set(value) in ({"docs"}, {"docs", "new_edits"}):
            value = value["docs"]
        if not isinstance(value, list):
            return [self._of_json(path, value, _id_of(path))]
        for number, document in enumerate(value):
            if not isinstance(document, dict):
                raise InvalidInput("src", f"{path}: entry {number} of its list is not a document. Use JSON objects")
        return [Source(document, f"{path}[{number}]") for number, document in enumerate(value)]

    def is_document(self, path: str) -> bool:
        """Whether the directory of the option is one document rather than a database."""
        names = [name for name in os.listdir(path) if not _is_hidden(name)]
        if any(_key(name) == "_id" or name == "_attachments" for name in names):
            return True
        if os.path.basename(os.path.dirname(path)) in _PREFIXES:
            return True
        looks = sorted(_OF_DESIGNS.intersection(names))
        if looks:
            raise InvalidInput(
                "src",
                f"{path} holds {looks[0]}, as design documents do, but no file _id, and is not in a directory _design: "
                "add the file, or move it to such a directory",
            )
        return False

    def database(self, path: str) -> list[Source]:
        """The documents of a directory that is a database."""
        found: list[Source] = []
        for name, child in self._children(path, {os.path.realpath(path)}):
            if name in _SECURITY:
                # The security object is not a document; couchdb_database sets it.
                continue
            if name in _PREFIXES and os.path.isdir(child):
                found += self.part(child, {os.path.realpath(path)})
            elif name.startswith("_"):
                raise InvalidInput(
                    "src",
                    f"{child} is not a document: names that begin with an underscore are CouchDB's own. Rename or remove it",
                )
            else:
                found += self._child(child, _stem(child, name))
        return found

    def part(self, path: str, above: set[str]) -> list[Source]:
        """The documents of a directory C(_design) or C(_local)."""
        found: list[Source] = []
        for name, child in self._children(path, above | {os.path.realpath(path)}):
            found += self._child(child, f"{os.path.basename(path)}/{_stem(child, name)}")
        return found

    def _child(self, path: str, docid: str) -> list[Source]:
        if os.path.isdir(path):
            return self.document(path, docid)
        if path.endswith(".json"):
            return [self._of_json(path, self._json(path), docid)]
        if path.endswith(_MODULES):
            raise InvalidInput("src", f"{path} {_MODULE}")
        raise InvalidInput(
            "src",
            f"{path} is not a document: it is neither a JSON file nor a directory. If its directory is a document, add a file _id",
        )

    def document(self, path: str, docid: str) -> list[Source]:
        """The document in a directory; none if it has no files."""
        above = {os.path.realpath(path)}
        attachments = os.path.join(path, "_attachments")
        files: dict[str, str] = {}
        fields = self._fields(path, "", files, above)
        if "module.exports" in str(fields.get("index")) and files["index"].endswith(_MODULES):
            raise InvalidInput("src", f"{files['index']} {_MODULE}")
        if os.path.isdir(attachments):
            content = self._attachments(attachments, "", above | {os.path.realpath(attachments)})
            if content:
                fields["_attachments"] = {**fields.get("_attachments", {}), **content}
        if not fields:
            return []
        if not isinstance(fields.get("_id", ""), str) or fields.get("_id") == "":
            raise InvalidInput("src", f"{files['_id']} does not contain a string. Write the id of the document in it")
        return [Source({"_id": docid, **fields}, path, files)]

    def _fields(self, path: str, prefix: str, files: dict[str, str], above: set[str]) -> dict[str, t.Any]:
        """The fields in a directory; ``files`` gets the file of each."""
        fields: dict[str, t.Any] = {}
        sources: dict[str, str] = {}
        for name, child in self._children(path, above):
            if name == "_attachments" and not prefix and os.path.isdir(child):
                continue
            key = name if os.path.isdir(child) else _key(name)
            if key in sources:
                raise InvalidInput("src", f"the field {prefix}{key} has two sources: {sources[key]} and {child}")
            if os.path.isdir(child):
                inner = self._fields(child, f"{prefix}{key}/", files, above | {os.path.realpath(child)})
                if not inner:
                    continue
                fields[key] = inner
            else:
                fields[key] = self._json(child) if name.endswith(".json") else self._text(child).strip(_SPACE)
                files[prefix + key] = child
            sources[key] = child
        return fields

    def _attachments(self, path: str, prefix: str, above: set[str]) -> dict[str, t.Any]:
        found: dict[str, t.Any] = {}
        for name, child in self._children(path, above, _is_no_attachment):
            if os.path.isdir(child):
                found.update(self._attachments(child, f"{prefix}{name}/", above | {os.path.realpath(child)}))
            else:
                data = base64.b64encode(self._content(child)).decode("ascii")
                found[prefix + name] = {"content_type": _type(name), "data": data}
        return found

    def _of_json(self, path: str, value: t.Any, docid: str) -> Source:
        if not isinstance(value, dict):
            raise InvalidInput("src", f"{path} is not a document. It must contain a JSON object")
        return Source({"_id": docid, **value}, path)

    def _json(self, path: str) -> t.Any:
        def refuse(name: str) -> t.NoReturn:
            raise InvalidInput("src", f"{path} is not JSON: it contains {name}")

        try:
            text = self._text(path)
            if path.endswith(_MODULES):
                raise InvalidInput("src", f"{path} {_MODULE}")
            value = json.loads(text, parse_constant=refuse)
        except json.JSONDecodeError as error:
            raise InvalidInput(
                "src", f"{path} is not JSON: line {error.lineno}, column {error.colno}: {error.msg}"
            ) from None
        except RecursionError:
            value = None
            deeper = True
        else:
            deeper = is_deeper(value, DEEPEST)
        if deeper:
            raise InvalidInput("src", f"{path} has lists or objects nested deeper than {DEEPEST} levels")
        return value

    def _text(self, path: str) -> str:
        content = self._content(path)
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            raise InvalidInput("src", f"{path} is not UTF-8 text: line {line}") from None

    def _content(self, path: str) -> bytes:
        try:
            # Packed documents were counted on the host that packed them, before their attachments were encoded.
            self._bytes += 0 if _is_packed(path) else os.path.getsize(path)
            if self._bytes > MOST_BYTES:
                raise InvalidInput(
                    "src",
                    f"with {path} its files have more than {MOST_BYTES // 1024**2} MB, which is too much for one source. Use several tasks",
                )
            return self._load(path)
        except OSError as error:
            raise InvalidInput("src", f"{path} can't be read: {error.strerror}") from None

    @staticmethod
    def _children(
        path: str, above: set[str], skip: t.Callable[[str], bool] | None = None
    ) -> t.Iterator[tuple[str, str]]:
        """The name and path of each entry of a directory, but for those to skip. ``above`` are the directories that contain it."""
        try:
            names = sorted(os.listdir(path))
        except OSError as error:
            raise InvalidInput("src", f"{path} can't be read: {error.strerror}") from None
        for name in names:
            if (skip or _is_hidden)(name):
                continue
            if any("\ud800" <= character <= "\udfff" for character in name):
                raise InvalidInput("src", f"{path} contains {os.fsencode(name)!r}, and this name is not UTF-8")
            child = os.path.join(path, name)
            if os.path.isdir(child):
                if os.path.realpath(child) in above:
                    raise InvalidInput("src", f"{child} is a link to a directory that contains it. Remove the link")
            elif not os.path.exists(child):
                raise InvalidInput("src", f"{child} is a link to a file that does not exist. Remove the link")
            elif not stat.S_ISREG(os.stat(child).st_mode):
                raise InvalidInput("src", f"{child} is neither a file nor a directory")
            yield name, child


def _load(path: str) -> bytes:
    with open(path, "rb") as opened:
        return opened.read()


def _is_hidden(name: str) -> bool:
    """Whether a file belongs to an editor or version control: C(.git), C(map.js~)."""
    return name.startswith(".") or name.endswith("~")


def _is_no_attachment(name: str) -> bool:
    return name in _NO_ATTACHMENTS or name.endswith("~") or (name.startswith(".") and name.endswith((".swp", ".swo")))


def _is_packed(path: str) -> bool:
    with open(path, "rb") as opened:
        return opened.read(len(_PACKED_START)) == _PACKED_START


def _key(name: str) -> str:
    """The field of a file: its name without its last extension."""
    stem, dot, _ending = name.rpartition(".")
    return stem if dot else name


def _stem(path: str, name: str) -> str:
    return name[: -len(".json")] if name.endswith(".json") and not os.path.isdir(path) else name


def _id_of(path: str) -> str:
    """The id of the document in a file or directory, by its name and that of the directory that contains it."""
    parent, name = os.path.split(path)
    stem = _stem(path, name)
    above = os.path.basename(parent)
    return f"{above}/{stem}" if above in _PREFIXES else stem


def _type(name: str) -> str:
    return _TYPES.get(name.rpartition(".")[2].lower(), "application/octet-stream")
