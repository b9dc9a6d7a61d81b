# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Mango indexes: which can be declared, which are in design documents, and which are equal. Pure.

https://docs.couchdb.org/en/stable/api/database/find.html#db-index
"""

from __future__ import annotations

import copy
import json
import typing as t
from dataclasses import dataclass

from ..errors import InvalidInput
from .names import path_problem
from .selectors import meaning, normal
from .values import equal

DESIGN = "_design/"
MANGO = "query"
"""The language of design documents with Mango indexes."""

JSON, TEXT, NOUVEAU = TYPES = ("json", "text", "nouveau")

_FIELD_TYPES = {TEXT: ("string", "number", "boolean"), NOUVEAU: ("text", "string", "number", "boolean")}
_TEXT_DEFAULTS = {"default_analyzer": "keyword", "default_field": {}, "index_array_lengths": True}
SECTIONS = {JSON: "views", TEXT: "indexes", NOUVEAU: "nouveau"}
"""The field of a design document with the indexes of a type."""

OPTIONS = ("name", "ddoc", "fields", "selector", "type", "partitioned", *_TEXT_DEFAULTS)
"""The options that define an index."""

Definition = t.Dict[str, t.Any]


@dataclass(frozen=True)
class Index:
    """An index that exists, or will exist.

    ``ddoc`` is without C(_design/); it and ``name`` are None if CouchDB will choose them. ``partitioned``
    is None if the design document leaves it to the database, and the database was not read. ``definition`` is as
    CouchDB lists it.
    """

    ddoc: str | None
    name: str | None
    type: str
    partitioned: bool | None
    definition: Definition

    def shown(self) -> dict[str, t.Any]:
        """The index as diff mode shows it."""
        said = {} if self.partitioned is None else {"partitioned": self.partitioned}
        return {"type": self.type, **said, "def": self.definition}


@dataclass(frozen=True)
class Design:
    """A design document to which indexes may be added: its language, and C(options.partitioned)."""

    language: str
    partitioned: bool | None


@dataclass(frozen=True)
class Wanted:
    """An index that should exist, or not. ``where`` is the prefix of its options in errors.

    ``definition`` is as CouchDB will list it, None if the index is only named; ``sent`` is the object that is sent to
    CouchDB.
    """

    where: str
    database: str
    ddoc: str | None
    name: str | None
    present: bool
    type: str | None
    partitioned: bool | None
    definition: Definition | None
    sent: Definition

    @property
    def rank(self) -> int:
        """How exactly it is named: if several entries of a task match an index, the most exact one gets it."""
        return (self.name is None) * 2 + (self.ddoc is None)

    def means(self, index: Index) -> bool:
        """Whether this entry matches the index: by its names, and without a name by its definition."""
        if self.ddoc is not None and self.ddoc != index.ddoc:
            return False
        if self.name is not None:
            return self.name == index.name and (self.present or self.type in (None, index.type))
        return self.matches(index)

    def matches(self, index: Index) -> bool:
        """Whether an index has the desired definition. An unset C(partitioned) matches both."""
        return (
            index.type == (self.type or JSON)
            and self.partitioned in (None, index.partitioned)
            and self.definition is not None
            and same(index.type, self.definition, index.definition)
        )

    def index(self, ddoc: str | None, name: str | None, partitioned: bool | None) -> Index:
        """The index that it will be under these names."""
        return Index(ddoc, name, self.type or JSON, partitioned, t.cast(Definition, self.definition))

    def path(self, index: Index) -> tuple[str, ...]:
        """The path of a matching index in the diff."""
        return (self.database, *filter(None, [index.ddoc]), index.name or label(index.definition))

    def __str__(self) -> str:
        return self.name or label(t.cast(Definition, self.definition))


def wanted(given: t.Mapping[str, t.Any], where: str = "") -> Wanted:
    """One index from its options. Raises InvalidInput, naming the option, for an index that CouchDB refuses.

    CouchDB itself accepts an empty list of fields, and one that names a field twice; no query can use the first, and
    CouchDB changes the second.
    """
    ddoc, name = given["ddoc"], given["name"]
    if ddoc is not None and ddoc.startswith(DESIGN):
        ddoc = ddoc[len(DESIGN) :]
    for option, string in (("ddoc", ddoc), ("name", name)):
        if string == "":
            raise InvalidInput(f"{where}{option}", "is empty. Set a name, or remove the option")
        problem = path_problem(string or "")
        if problem:
            raise InvalidInput(f"{where}{option}", f"{string!r} {problem}. Use another name")
    if name == "_all_docs" and ddoc is None:
        raise InvalidInput(f"{where}name", "_all_docs is CouchDB's own index, which can't be changed or removed")
    kind = given["type"] or JSON
    _check_type_options(given, kind, where)
    present = given["state"] == "present"
    defined = given["fields"] is not None or (kind != JSON and (present or name is None))
    if present and not defined:
        raise InvalidInput(f"{where}fields", "is missing. List the fields of the index")
    if name is None and not defined:
        raise InvalidInput(f"{where}name", "is missing. Set name or fields to say which index to remove")
    return Wanted(
        where=where,
        database=given["database"],
        ddoc=ddoc,
        name=name,
        present=present,
        type=given["type"] if not present and name is not None else kind,
        partitioned=given["partitioned"],
        definition=_definition(given, kind, where) if defined else None,
        sent=_sent(given, kind),
    )


def label(definition: Definition) -> str:
    """An index without a name, in words: its fields, and the documents in it."""
    fields = ",".join(field for pair in definition["fields"] for field in pair) or "all fields"
    selector = definition.get("partial_filter_selector")
    return f"{fields} where {json.dumps(selector)}" if selector else fields


def _check_type_options(given: t.Mapping[str, t.Any], kind: str, where: str) -> None:
    for option in _TEXT_DEFAULTS:
        if kind == JSON and given[option] is not None:
            raise InvalidInput(
                f"{where}{option}", f"is for the types {TEXT} and {NOUVEAU} only. Set type, or remove the option"
            )


def _definition(given: t.Mapping[str, t.Any], kind: str, where: str) -> Definition:
    """The definition as CouchDB will list it."""
    option = f"{where}fields"
    if kind == JSON:
        definition: Definition = {"fields": _sorting(given["fields"], option)}
    else:
        definition = dict(_TEXT_DEFAULTS)
        definition["fields"] = [_typed(field, kind, option) for field in given["fields"] or []]
        definition.update((name, value) for name, value in _text_options(given).items())
    names = [name for pair in definition["fields"] for name in pair]
    for name in names:
        if names.count(name) > 1:
            raise InvalidInput(option, f"{name} is listed twice. Remove one")
    selector = normal(given["selector"] or {})
    return {**definition, "partial_filter_selector": selector} if selector else definition


def _sent(given: t.Mapping[str, t.Any], kind: str) -> Definition:
    """The C(index) that CouchDB is sent: as declared, because CouchDB derives names from the spelling."""
    sent = {} if kind == JSON else _text_options(given)
    if given["fields"] is not None:
        sent["fields"] = given["fields"]
    if given["selector"]:
        sent["partial_filter_selector"] = given["selector"]
    return sent


def _text_options(given: t.Mapping[str, t.Any]) -> Definition:
    options = {name: given[name] for name in _TEXT_DEFAULTS if given[name] is not None}
    if "default_field" in options:
        options["default_field"] = {
            name: value for name, value in options["default_field"].items() if value is not None
        }
    return options


def _sorting(fields: list[t.Any], option: str) -> list[dict[str, str]]:
    """The fields of a json index, each with its direction. C("a") is C({"a": "asc"})."""
    if not fields:
        raise InvalidInput(option, "is empty. List at least one field")
    pairs = [{field: "asc"} if isinstance(field, str) else field for field in fields]
    for pair in pairs:
        pair_is_one = isinstance(pair, dict) and len(pair) == 1
        if not pair_is_one or not all(name and isinstance(name, str) for name in pair):
            raise InvalidInput(
                option, f"{json.dumps(pair)} is neither the name of a field nor a mapping of a field to its direction"
            )
        for direction in pair.values():
            if direction not in ("asc", "desc"):
                raise InvalidInput(
                    option, f"{json.dumps(pair)} has a direction that is neither asc nor desc. Use one of them"
                )
    if len({direction for pair in pairs for direction in pair.values()}) > 1:
        raise InvalidInput(option, "are sorted in two directions. Use one direction for all fields of an index")
    return pairs


def _typed(field: t.Any, kind: str, option: str) -> dict[str, str]:
    """A field of a text index, as CouchDB lists it: its name with its type."""
    if not isinstance(field, dict) or set(field) != {"name", "type"} or not isinstance(field["name"], str):
        raise InvalidInput(
            option, f"{json.dumps(field)} is not a mapping of name and type, which the type {kind} needs"
        )
    if not field["name"]:
        raise InvalidInput(option, "has a field with an empty name. Name it")
    if field["type"] not in _FIELD_TYPES[kind]:
        known = ", ".join(_FIELD_TYPES[kind])
        raise InvalidInput(option, f"{field['name']} has the type {field['type']}. Use one of {known}")
    return {field["name"]: field["type"]}


# Indexes in design documents


def designs(documents: t.Iterable[t.Mapping[str, t.Any]]) -> dict[str, Design]:
    """Design documents by their name, without C(_design/)."""
    return {
        document["_id"][len(DESIGN) :]: Design(
            str(document.get("language") or "javascript"), _object(document.get("options")).get("partitioned")
        )
        for document in documents
    }


def existing(documents: t.Iterable[t.Mapping[str, t.Any]], partitioned: bool | None = None) -> list[Index]:
    """The Mango indexes in design documents, without other views and documents of other languages.

    ``partitioned`` is what the database is, if that is known.
    """
    return [
        Index(
            document["_id"][len(DESIGN) :],
            name,
            kind,
            _object(document.get("options")).get("partitioned", partitioned),
            definition,
        )
        for document in documents
        if document.get("language") == MANGO
        for kind, section in SECTIONS.items()
        for name, stored in _object(document.get(section)).items()
        for definition in _stored_definition(kind, _object(stored))
    ]


def without(document: t.Mapping[str, t.Any], kind: str, name: str) -> dict[str, t.Any] | None:
    """A design document without one of its indexes, None if it does not have the index.

    A document that is empty then is marked C(_deleted).
    """
    section = SECTIONS[kind]
    if name not in _object(document.get(section)):
        return None
    left = {other: stored for other, stored in document[section].items() if other != name}
    rest = {field: value for field, value in document.items() if field != section}
    if left:
        return {**rest, section: left}
    if set(rest) <= {"_id", "_rev", "language", "options"}:
        return {"_id": rest["_id"], "_rev": rest["_rev"], "_deleted": True}
    return rest


def _stored_definition(kind: str, stored: t.Mapping[str, t.Any]) -> t.Iterator[Definition]:
    """The definition as CouchDB lists it; none for anything but an index."""
    if kind == JSON:
        mapped = stored.get("map")
        options = _object(stored.get("options")).get("def")
        if not isinstance(mapped, dict) or not isinstance(mapped.get("fields"), dict) or not isinstance(options, dict):
            return
        # PouchDB stores the selector only in the definition, and as it was sent.
        selector = mapped.get("partial_filter_selector") or normal(options.get("partial_filter_selector") or {})
        definition: Definition = {"fields": [{name: order} for name, order in mapped["fields"].items()]}
    else:
        index = _object(stored.get("index"))
        if not index:
            return
        fields = [field for field in _list(index.get("fields")) if isinstance(field, dict)]
        definition = {name: index.get(name, default) for name, default in _TEXT_DEFAULTS.items()}
        definition["fields"] = [
            {field["name"]: field["type"]} if set(field) == {"name", "type"} else field for field in fields
        ]
        selector = index.get("partial_filter_selector") or index.get("selector")
    yield {**definition, "partial_filter_selector": selector} if selector else definition


def _object(value: t.Any) -> dict[str, t.Any]:
    return value if isinstance(value, dict) else {}


def _list(value: t.Any) -> list[t.Any]:
    return value if isinstance(value, list) else []


# Matching entries and indexes


def check_once(items: t.Sequence[Wanted]) -> None:
    """Raise InvalidInput for an index that is declared twice."""
    seen = set()
    for item in items:
        meant = item.name or _meaning(item.type or JSON, t.cast(Definition, item.definition))
        identity = (item.database, item.ddoc, item.name is None, meant)
        if identity in seen:
            raise InvalidInput(f"{item.where}{'name' if item.name else 'fields'}", f"{item} is listed twice")
        seen.add(identity)


def claimed(items: t.Sequence[Wanted], indexes: t.Mapping[str, t.Sequence[Index]]) -> list[list[Index]]:
    """For each item the indexes in its database that it matches. An index belongs to one item only."""
    free = {database: list(found) for database, found in indexes.items()}
    matched: dict[int, list[Index]] = {}
    for number in sorted(range(len(items)), key=lambda number: items[number].rank):
        item = items[number]
        matched[number] = [index for index in free[item.database] if item.means(index)]
        free[item.database] = [index for index in free[item.database] if index not in matched[number]]
    return [matched[number] for number in range(len(items))]


def undecided(items: t.Sequence[Wanted], indexes: t.Mapping[str, t.Sequence[Index]]) -> list[str]:
    """The databases to read for whether they are partitioned: the design documents of matching indexes don't say it."""
    return list(
        dict.fromkeys(
            item.database
            for item, matched in zip(items, claimed(items, indexes))
            if item.partitioned is not None and not any(index.partitioned == item.partitioned for index in matched)
        )
    )


def steps(item: Wanted, matched: t.Sequence[Index]) -> list[tuple[Index | None, Index | None]]:
    """The steps for the indexes that an item matches: each as it is and as it should be, None for none.

    Raises InvalidInput if several indexes could be meant.
    """
    if not item.present:
        return [(index, None) for index in matched]
    if any(item.matches(index) for index in matched):
        # If two types have the same name, the other one is left from an earlier declaration.
        return [(index, None) for index in matched if item.ddoc is not None and not item.matches(index)]
    if not matched:
        return [(None, item.index(item.ddoc, item.name, item.partitioned))]
    places = sorted({index.ddoc or "" for index in matched})
    if len(places) > 1:
        raise InvalidInput(
            f"{item.where}name",
            f"{item.database} has several indexes {item.name}, in the design documents {', '.join(places)}. "
            "Set ddoc as well",
        )
    alike = [index for index in matched if index.type == item.type]
    new = item.index(places[0], item.name, matched[0].partitioned if item.partitioned is None else item.partitioned)
    # The new one first: if CouchDB refuses it, the old one still exists.
    return [(alike[0] if alike else None, new), *((index, None) for index in matched if index.type != item.type)]


def check_place(item: Wanted, index: Index, design: Design | None, partitioned: bool | None) -> None:
    """Raise InvalidInput if an index can't be created: ``design`` is its design document, if it exists already.

    ``partitioned`` is what the database is, if that is known.
    """
    if item.partitioned and partitioned is False:
        raise InvalidInput(f"{item.where}partitioned", f"the database {item.database} is not partitioned. Set false")
    if design is None:
        return
    place = f"the design document {index.ddoc} of {item.database}"
    if design.language != MANGO:
        raise InvalidInput(
            f"{item.where}ddoc",
            f"{place} has the language {design.language}, so it can't contain Mango indexes. Use another ddoc",
        )
    current_partitioned = partitioned if design.partitioned is None else design.partitioned
    if None not in (item.partitioned, current_partitioned) and item.partitioned != current_partitioned:
        raise InvalidInput(
            f"{item.where}partitioned",
            f"{place} {'is' if current_partitioned else 'is not'} partitioned, and CouchDB can't change that. Use another "
            "ddoc, or remove its indexes first",
        )


def shown(item: Wanted, matched: t.Sequence[Index]) -> dict[str, t.Any]:
    """The index as a module returns it."""
    empty = dict.fromkeys(("ddoc", "type", "partitioned", "def"))
    found = [index for index in matched if item.matches(index)] or matched
    if not found:
        return {"database": item.database, "exists": False, "name": item.name, **empty}
    index = found[0]
    return {
        "database": item.database,
        "exists": True,
        "name": index.name,
        "ddoc": index.ddoc and DESIGN + index.ddoc,
        "type": index.type,
        "partitioned": index.partitioned,
        "def": index.definition,
    }


def declaration(database: str, index: Index, partitioned: bool) -> dict[str, t.Any]:
    """An index that exists as the options of couchdb_index. ``partitioned`` is what its database is."""
    entry: dict[str, t.Any] = {"database": database, "ddoc": index.ddoc, "name": index.name}
    if index.type != JSON:
        entry["type"] = index.type
    entry["fields"] = copy.deepcopy(index.definition["fields"])
    if index.definition.get("partial_filter_selector"):
        entry["selector"] = copy.deepcopy(index.definition["partial_filter_selector"])
    if index.partitioned is not None and index.partitioned != partitioned:
        entry["partitioned"] = index.partitioned
    if index.type != JSON:
        for option, default in _TEXT_DEFAULTS.items():
            if not equal(index.definition[option], default):
                entry[option] = copy.deepcopy(index.definition[option])
    return entry


# Equal definitions


def same(kind: str, one: Definition, other: Definition) -> bool:
    """Whether two definitions of a type mean the same, in any spelling."""
    return _meaning(kind, one) == _meaning(kind, other)


def _meaning(kind: str, definition: Definition) -> str:
    selector = meaning(definition.get("partial_filter_selector") or {})
    if kind == JSON:
        return json.dumps([definition["fields"], selector])
    field = definition["default_field"]
    field = {"enabled": field} if isinstance(field, bool) else _object(field)
    default_field = [field.get("enabled", True), field.get("analyzer", "standard")]
    fields = sorted(json.dumps(pair) for pair in definition["fields"])
    rest = [definition["default_analyzer"], bool(definition["index_array_lengths"])]
    return json.dumps([fields, default_field, rest, selector], sort_keys=True)
