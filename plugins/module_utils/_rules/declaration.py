# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From the state of a server to the options of couchdb_server that declare it, part by part. Pure.

Each function returns the entries of a part as the options of its module spell them. What no option can declare goes to
``omitted``, with the reason. Applied to the same server, a declaration changes nothing.
"""

from __future__ import annotations

import copy
import typing as t
from fnmatch import fnmatchcase

from ..errors import InvalidInput
from . import defaults, indexes, jwt_keys, passwords, replications, users
from .config import check_setting, same_setting
from .dialect import Dialect
from .names import USER_PREFIX, check_database_name, path_problem
from .secrets import MASK, mask_document, mask_setting, mask_url
from .security import GROUPS, LISTS, check_security
from .values import setting_string

PARTS = ("settings", "admins", "jwt_keys", "databases", "users", "documents", "indexes", "replications")
"""The parts of a declaration: options of couchdb_server."""

WHOLE_PART = "*"
"""The name for a whole part that is omitted because the login may not read it."""

SYSTEM_DESIGNS = frozenset([("_users", "_design/_auth"), ("_replicator", "_design/_replicator")])
"""Design documents that CouchDB writes by itself, in the databases with these names or endings."""

_OPTIONS = {"section": "section", "key": "key", "value": "value"}

OF_INSTALLATION = {
    ("couchdb", "database_dir"): "where this installation keeps databases",
    ("couchdb", "view_index_dir"): "where this installation keeps indexes",
    ("couchdb", "uri_file"): "a file of this installation",
    ("couchdb", "util_driver_dir"): "a directory of this installation",
    ("couchdb", "plugin_dir"): "a directory of this installation",
    ("couchdb", "single_node"): "set by the first start of this installation",
    ("couchdb", "uuid"): "the identity of this server, which replication checkpoints refer to",
    ("smoosh", "state_dir"): "a directory of this installation",
    ("log", "file"): "a file of this installation",
    ("chttpd", "port"): "where this server listens",
    ("chttpd", "bind_address"): "where this server listens",
    ("httpd", "port"): "where this server listens",
    ("httpd", "bind_address"): "where this server listens",
    ("ssl", "port"): "where this server listens",
    ("ssl", "bind_address"): "where this server listens",
    ("prometheus", "port"): "where this server listens",
    ("prometheus", "bind_address"): "where this server listens",
    ("chttpd_auth", "secret"): "signs the sessions of this server; set it in a file, as CouchDB logs what it is sent",
    (
        "couch_httpd_auth",
        "secret",
    ): "signs the sessions of this server; set it in a file, as CouchDB logs what it is sent",
    ("couchdb", "maintenance_mode"): "a state of the node, not a declaration",
}

OF_RELEASE = frozenset(["vendor", "couchdb_engines", "indexers", "feature_flags"])
"""Sections that belong to the release: their settings are never declared, and never listed as omitted."""

OF_PARTS = frozenset(["admins", jwt_keys.SECTION])
"""Sections that are parts of a declaration themselves."""

Entry = t.Dict[str, t.Any]


class Omitted:
    """What a server has and a declaration can't express: a list of part, name and reason.

    ``removable`` has the names, by part, of those that a declaration can still remove.
    """

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.removable: dict[str, list[str]] = {}

    def add(self, part: str, name: str, reason: str, *, removable: bool = False) -> None:
        """Note one thing. ``reason`` completes the sentence "is not declared: ..."."""
        self.entries.append({"part": part, "name": name, "reason": reason})
        if removable:
            self.removable.setdefault(part, []).append(name)


def is_pattern(name: str) -> bool:
    """Whether a name is a shell pattern, which no name of a database can be."""
    return any(sign in name for sign in "*?[")


def chosen(names: t.Iterable[str], patterns: t.Sequence[str] | None) -> list[str]:
    """The names that match one of the shell patterns, in their order; all names without patterns."""
    if patterns is None:
        return list(names)
    return [name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)]


def settings(
    found: t.Mapping[str, t.Mapping[str, t.Mapping[str, t.Any]]], dialect: Dialect, omitted: Omitted, *, secrets: bool
) -> dict[str, dict[str, t.Any]]:
    """The settings that differ from the defaults of the version: section → key → value.

    ``found`` has all settings by node. A setting that this server has and a fresh one lacks is declared as it
    is; one that a fresh server has and this one lacks is null. Settings that differ between nodes are omitted.
    """
    fresh = defaults.of_version(dialect.number)
    if fresh is None:
        omitted.add(
            "settings", dialect.version, "the defaults of this version are unknown, so all settings are declared"
        )
        fresh = {}
    keys = {
        (section, key) for config in [*found.values(), fresh] for section, entries in config.items() for key in entries
    }
    declared: dict[str, dict[str, t.Any]] = {}
    for section, key in sorted(keys):
        if section in OF_PARTS or section in OF_RELEASE:
            continue
        values = {node: config.get(section, {}).get(key) for node, config in found.items()}
        first = next(iter(values.values()))
        default = fresh.get(section, {}).get(key)
        problem = OF_INSTALLATION.get((section, key)) or _problem_of_setting(section, key, first)
        alike = problem is not None or all(same_setting(_spelt(first), value) for value in values.values())
        if first == default or (problem is None and alike and same_setting(default, first)):
            continue
        if problem is None and not alike:
            shown = {node: mask_setting(section, key, value) for node, value in values.items()}
            problem = "differs between nodes: " + ", ".join(f"{node} has {value}" for node, value in shown.items())
        if problem is not None:
            omitted.add("settings", f"{section}/{key}", problem)
            continue
        declared.setdefault(section, {})[key] = first if secrets else mask_setting(section, key, first)
    return declared


def _spelt(value: t.Any) -> str | None:
    return None if value is None else setting_string(value)


def _problem_of_setting(section: str, key: str, value: t.Any) -> str | None:
    """Why couchdb_config can't declare this setting, None if it can."""
    try:
        check_setting(section, key, _spelt(value), _OPTIONS)
    except InvalidInput as error:
        return error.problem
    return None


def admins(found: t.Mapping[str, t.Mapping[str, str]], omitted: Omitted, *, secrets: bool) -> list[Entry]:
    """The server admins with the hashes of their passwords. ``found`` has name → hash by node."""
    declared = []
    for name in sorted({name for entries in found.values() for name in entries}):
        hashes = {entries.get(name) for entries in found.values()}
        if len(hashes) > 1:
            omitted.add("admins", name, "not the same on all nodes", removable=True)
        elif passwords.parse_or_none(next(iter(hashes)) or "") is None:
            omitted.add(
                "admins", name, "the password is stored in a form that CouchDB hashes at its next start", removable=True
            )
        else:
            declared.append({"name": name, "password_hash": next(iter(hashes)) if secrets else MASK})
    return declared


def keys(
    found: t.Mapping[str, t.Mapping[str, str]], dialect: Dialect, omitted: Omitted, *, secrets: bool
) -> list[Entry]:
    """The keys that verify JSON web tokens, as couchdb_jwt_key declares them.

    ``found`` are the settings that hold them, key → value, by node.
    """
    declared = []
    for name in sorted({name for stored in found.values() for name in stored}):
        kind, _colon, kid = name.partition(":")
        problem = _problem_of_key(kind, kid)
        if problem is not None:
            omitted.add("jwt_keys", name, problem)
            continue
        strings = [settings.get(name) for settings in found.values()]
        try:
            stored = [None if string is None else jwt_keys.read(kind, string) for string in strings]
        except InvalidInput as error:
            omitted.add("jwt_keys", name, f"what is stored {error.problem}", removable=True)
            continue
        key = stored[0]
        if key is None or any(other != key for other in stored):
            omitted.add("jwt_keys", name, "not the same on all nodes", removable=True)
        elif kind not in dialect.jwt_key_types:
            omitted.add("jwt_keys", name, "this version has no keys of this type", removable=True)
        else:
            declared.append({"kid": kid, **key.options(), **({} if secrets else {"key": MASK})})
    return declared


def _problem_of_key(kind: str, kid: str) -> str | None:
    """Why couchdb_jwt_key can't name the key of this type and ID, None if it can."""
    if kind not in jwt_keys.TYPES:
        return f"its name does not start with a type and a colon. The types are {', '.join(jwt_keys.TYPES)}"
    try:
        jwt_keys.check_kid(kid, "kid")
    except InvalidInput as error:
        return error.problem
    return None


def databases(
    infos: t.Mapping[str, Entry],
    securities: t.Mapping[str, t.Any],
    limits: t.Mapping[str, int],
    dialect: Dialect,
    omitted: Omitted,
) -> list[Entry]:
    """The databases: shards, replicas and partitioned as they are; security and revs_limit unless they are the default."""
    declared = []
    for name, info in infos.items():
        entry: Entry = {"name": name}
        cluster = info.get("cluster") or {}
        entry.update((option, cluster[key]) for option, key in (("shards", "q"), ("replicas", "n")) if key in cluster)
        if (info.get("props") or {}).get("partitioned"):
            entry["partitioned"] = True
        if name in securities:
            entry.update(_security(name, securities[name], dialect, omitted))
        if limits.get(name, dialect.new_revs_limit) != dialect.new_revs_limit:
            entry["revs_limit"] = limits[name]
        declared.append(entry)
    return declared


def _security(name: str, security: t.Any, dialect: Dialect, omitted: Omitted) -> Entry:
    try:
        check_security(security)
    except InvalidInput as error:
        omitted.add("databases", name, f"{error.option} {error.problem}")
        return {}
    for field in sorted(set(security) - set(GROUPS)):
        omitted.add("databases", name, f"the field {field} of its security object belongs to others")
    for group in GROUPS:
        for field in sorted(set(security.get(group, {})) - set(LISTS)):
            omitted.add("databases", name, f"the field {group}.{field} of its security object belongs to others")
    lists, fresh = _lists(security), _lists(dialect.new_security())
    return {} if lists == fresh else {"security": lists}


def _lists(security: t.Mapping[str, t.Any]) -> dict[str, dict[str, list[str]]]:
    return {group: {kind: list(security.get(group, {}).get(kind, [])) for kind in LISTS} for group in GROUPS}


def user(document: t.Mapping[str, t.Any], omitted: Omitted, *, secrets: bool) -> Entry | None:
    """A user from its document, None for a document that couchdb_user can't declare."""
    docid = str(document.get("_id"))
    if docid.startswith(indexes.DESIGN):
        return None
    name = document.get("name")
    if docid != f"{USER_PREFIX}{name}" or document.get("type") != "user":
        omitted.add("users", docid, "not a user: its _id, name and type do not fit")
        return None
    stored = passwords.parse_user(document)
    if stored is None and users.has_password(document):
        omitted.add("users", str(name), "the password is stored in an unknown form", removable=True)
        return None
    attributes = users.attributes(document)
    entry: Entry = {"name": name, "roles": document.get("roles", [])}
    if attributes:
        entry["attributes"] = copy.deepcopy(attributes) if secrets else mask_document(attributes)
    try:
        users.check_fields({"roles": entry["roles"], "attributes": attributes})
    except InvalidInput as error:
        omitted.add("users", str(name), f"{error.option} {error.problem}", removable=True)
        return None
    if stored is not None:
        entry["password_hash"] = str(stored) if secrets else MASK
    return entry


def designs(database: str, documents: t.Iterable[t.Mapping[str, t.Any]], omitted: Omitted) -> list[Entry]:
    """The design documents of a database without Mango indexes, as couchdb_document declares them."""
    declared = []
    for document in documents:
        if (database.rpartition("/")[2], document["_id"]) in SYSTEM_DESIGNS or document.get(
            "language"
        ) == indexes.MANGO:
            continue
        problem = path_problem(document["_id"][len(indexes.DESIGN) :])
        if problem:
            omitted.add("documents", f"{database}/{document['_id']}", f"the name {problem}")
            continue
        kept = {field: copy.deepcopy(value) for field, value in document.items() if field != "_rev"}
        for name, attachment in (document.get("_attachments") or {}).items():
            if "data" not in attachment:
                omitted.add(
                    "documents", f"{database}/{document['_id']}", f"the content of its attachment {name} was not read"
                )
                break
            kept["_attachments"][name] = {field: attachment[field] for field in ("content_type", "data")}
        else:
            declared.append(kept)
    return declared


def mango(
    database: str, documents: t.Iterable[t.Mapping[str, t.Any]], partitioned: bool, omitted: Omitted
) -> list[Entry]:
    """The Mango indexes of a database, as couchdb_index declares them."""
    listed = [document for document in documents if document.get("language") == indexes.MANGO]
    found = indexes.existing(listed, partitioned)
    for document in listed:
        stored = sum(len(document.get(section) or {}) for section in indexes.SECTIONS.values())
        if stored != sum(1 for index in found if indexes.DESIGN + str(index.ddoc) == document["_id"]):
            omitted.add("indexes", f"{database}/{document['_id']}", "contains something that is not a Mango index")
    declared = []
    for index in found:
        problem = path_problem(str(index.ddoc)) or path_problem(str(index.name))
        if problem:
            omitted.add("indexes", f"{database}/{indexes.DESIGN}{index.ddoc}/{index.name}", f"the name {problem}")
        else:
            declared.append(indexes.declaration(database, index, partitioned))
    return declared


def replication(
    document: t.Mapping[str, t.Any], here: replications.Here, omitted: Omitted, *, secrets: bool
) -> Entry | None:
    """A replication from its document in _replicator, None for a document that couchdb_replication can't declare."""
    name = str(document.get("_id"))
    if name.startswith(indexes.DESIGN):
        return None
    entry: Entry = {"name": name}
    options: Entry = {}
    fields = replications.declared_fields(document)
    for field, value in fields.items():
        if replications.same({name: each for name, each in fields.items() if name != field}, fields):
            # CouchDB's default, written out.
            continue
        if field in ("source", "target"):
            entry[field] = replications.declared_endpoint(value, here)
        elif field in replications.FIELDS:
            entry[field] = copy.deepcopy(value)
        else:
            options[field] = copy.deepcopy(value)
    if options:
        entry["options"] = options
    problem = replications.problem_of_declaration(entry, document, here)
    if problem is not None:
        omitted.add("replications", name, problem, removable=not path_problem(name))
        return None
    return entry if secrets else t.cast(Entry, mask_document(entry))


def name_of_job(job: t.Mapping[str, t.Any]) -> str:
    """What a replication without a document is called: where it copies from and to."""
    return f"{mask_url(str(job['source']))} to {mask_url(str(job['target']))}"


def is_other_replicator(database: str) -> bool:
    """Whether CouchDB starts the replications of this database, as it does those of C(_replicator)."""
    return database.endswith(f"/{replications.REPLICATOR}")


def extra_settings(
    found: t.Mapping[str, t.Mapping[str, t.Any]], declared: t.Container[tuple[str, str]]
) -> list[tuple[str, str]]:
    """The section and key of the settings that differ from the defaults and are not declared."""
    return [(section, key) for section, entries in found.items() for key in entries if (section, key) not in declared]


def extra_indexes(found: t.Sequence[Entry], declared: t.Sequence[indexes.Wanted]) -> list[Entry]:
    """The indexes, as mango() lists them, that match none of the declared ones."""
    left = []
    for entry in found:
        one = indexes.wanted({**dict.fromkeys(indexes.OPTIONS), "state": "present", **entry})
        index = one.index(one.ddoc, one.name, one.partitioned)
        if not any(item.database == one.database and item.means(index) for item in declared):
            left.append(entry)
    return left


def is_foreign(name: str) -> bool:
    """Whether CouchDB would refuse to create a database of this name, so that nothing can declare it."""
    try:
        check_database_name(name)
    except InvalidInput:
        return True
    return False
