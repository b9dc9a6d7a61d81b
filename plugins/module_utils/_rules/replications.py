# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Replications: declared ones, the documents that each version of CouchDB needs, equal ones, and their states. Pure.

https://docs.couchdb.org/en/stable/json-structure.html#replication-settings
"""

from __future__ import annotations

import contextlib
import copy
import json
import re
import typing as t
from dataclasses import dataclass, field
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from ..errors import CouchDBError, InvalidInput, listed
from .dialect import Dialect
from .names import check_database_name, check_user_name, path_problem
from .secrets import MASK, document_secrets, is_secret_header, mask_document, mask_text, mask_url, url_secrets
from .selectors import meaning
from .urls import basic_authorization, basic_credentials, server_url, split_url
from .values import equal

REPLICATOR = "_replicator"
"""The database in which CouchDB looks for replications, and the ending of the names of others."""

CHOICES = ("doc_ids", "selector", "filter")
"""The options that choose the documents to copy: one of them at most."""

FIELDS = (
    "continuous",
    "create_target",
    "create_target_params",
    *CHOICES,
    "query_params",
    "source_proxy",
    "target_proxy",
    "user_ctx",
)
"""The options that become fields of the document with the same names."""

_ENDS = ("source", "target")
_PROXIES = ("source_proxy", "target_proxy")
_ENDPOINT = ("url", "database", "username", "password", "headers", "auth")
_NUMBERS = frozenset(
    [
        "checkpoint_interval",
        "connection_timeout",
        "http_connections",
        "retries_per_request",
        "worker_batch_size",
        "worker_processes",
    ]
)
_SWITCHES = {
    "continuous": False,
    "create_target": False,
    "use_bulk_get": True,
    "use_checkpoints": True,
    "winning_revs_only": False,
}
_PORTS = {"http": 80, "https": 443}
_PROXY = re.compile(r"(https?|socks5)://[^/\s]", re.IGNORECASE)
NOTHING: dict[str, t.Any] = {"state": None, "info": None, "id": None, "start_time": None}
"""The state of a replication that the server has not started, or that does not exist."""

GONE: dict[str, t.Any] = {
    **NOTHING,
    "state": "failed",
    "info": {
        "error": "it has stopped, and CouchDB keeps the reason for a replication without a document only in its log"
    },
}
"""The state of a replication without a document that was started and has stopped."""

BROKEN = frozenset(["crashing", "error", "failed"])


@dataclass(frozen=True)
class Endpoint:
    """The parts of one end of a replication: a ``database`` of this server or a ``url``, and the login there.

    ``username`` and ``password`` are None if they are not declared. ``others`` are fields of CouchDB's own object.
    """

    database: str | None = None
    url: str | None = None
    username: str | None = None
    password: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    others: dict[str, t.Any] = field(default_factory=dict)

    @property
    def has_login(self) -> bool:
        """Whether it has a login of its own."""
        return self.username is not None or bool(self.headers or self.others)


@dataclass(frozen=True)
class Here:
    """The server that replicates: its dialect, the ``url`` at which it reaches itself, and the login of the task.

    ``headers`` have a login of another kind, such as a session's cookie. It may expire, so a name and password are used
    instead if there are both and the replication should last.
    """

    dialect: Dialect
    url: str
    username: str | None = None
    password: str | None = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class EndpointServer:
    """A server whose users get the passwords with which the replications log in there.

    ``username`` and ``password`` are those of a server admin there. ``logins``: user → password. ``where`` is the prefix of
    its options in errors.
    """

    where: str
    url: str
    username: str
    password: str
    logins: dict[str, str]


@dataclass(frozen=True)
class Replication:
    """A declared replication. ``where`` is the prefix of its options' names in errors."""

    where: str
    name: str | None
    present: bool
    persistent: bool
    wait: bool
    source: Endpoint | None
    target: Endpoint | None
    fields: dict[str, t.Any]
    restart: bool = False
    restart_failed: bool = False

    @property
    def label(self) -> str:
        """Its name, or its ends if it has none."""
        return self.name or " to ".join(_label(end) for end in self.ends if end)

    @property
    def ends(self) -> tuple[Endpoint | None, Endpoint | None]:
        """Source and target."""
        return self.source, self.target

    @property
    def continuous(self) -> bool:
        """Whether it continues with later changes."""
        return bool(self.fields.get("continuous"))

    @property
    def databases(self) -> list[str]:
        """The databases of this server that it uses or creates."""
        return [end.database for end in self.ends if self.present and end and end.database]

    def unmet(self, missing: t.Container[str]) -> InvalidInput | None:
        """The error if one of the databases that must exist is among the ``missing``."""
        for option, end in zip(_ENDS, self.ends):
            created = option == "target" and self.fields.get("create_target")
            if self.present and end and end.database in missing and not created:
                advice = "Create it first" if option == "source" else "Create it first, or set create_target: true"
                return InvalidInput(
                    f"{self.where}{option}", f"the database {end.database} does not exist on this server. {advice}"
                )
        return None

    def restarts(self, state: str | None) -> bool:
        """Whether a replication that is as declared should start again, by its state."""
        return self.restart or (self.restart_failed and state in BROKEN)

    @property
    def waits(self) -> bool:
        """Whether the task waits for it."""
        return self.wait and self.present and (self.persistent or self.continuous)

    def stores_login(self, here: Here) -> bool:
        """Whether its document contains the credentials of the task, as one of its databases is on this server and has none."""
        ends = [end for end in self.ends if end is not None and is_written_with_login(end, here)]
        return self.present and self.persistent and bool(ends) and bool(here.username or here.headers)

    def document(self, here: Here) -> dict[str, t.Any]:
        """The document for CouchDB, without its id. Raises InvalidInput for what this version or login can't do."""
        dialect = here.dialect
        written: dict[str, t.Any] = {}
        for option, end in zip(_ENDS, self.ends):
            if end is not None:
                written[option] = written_endpoint(end, here, f"{self.where}{option}", lasting=self.persistent)
        lacking = () if dialect.clustered else ("selector", "create_target_params", *_PROXIES)
        for option in lacking:
            if option in self.fields:
                raise InvalidInput(
                    f"{self.where}{option}",
                    f"{dialect.product} {dialect.version} does not have it, and would ignore it. Remove it",
                )
        return {**written, **copy.deepcopy(self.fields)}


# Declared replications


def check_replicator(name: str, option: str = "replicator") -> None:
    """Raise InvalidInput unless the name is one of a replicator database."""
    check_database_name(name, option)
    if name != REPLICATOR and not name.endswith(f"/{REPLICATOR}"):
        raise InvalidInput(
            option, f"{name} is not a replicator database. Their names are {REPLICATOR} or end in /{REPLICATOR}"
        )


def check_dialect(replicator: str, dialect: Dialect) -> None:
    """Raise InvalidInput for a replicator database that this version ignores."""
    if replicator != REPLICATOR and not dialect.clustered:
        raise InvalidInput(
            "replicator", f"{dialect.product} {dialect.version} has one replicator database, {REPLICATOR}"
        )


def declared(given: t.Mapping[str, t.Any], where: str = "") -> Replication:
    """A replication from its options, checked. Raises InvalidInput, naming the option, for options that can't work."""
    name, present, persistent = given["name"], given["state"] != "absent", given["persistent"]
    if persistent and not name:
        raise InvalidInput(f"{where}name", "is missing. Set the id of the replication's document")
    if name and name.startswith("_"):
        raise InvalidInput(
            f"{where}name", f"{name!r} begins with an underscore, which CouchDB reserves. Use another name"
        )
    problem = path_problem(name or "")
    if problem:
        raise InvalidInput(f"{where}name", f"{name!r} can't be the id of a document: it {problem}. Use another name")
    ends: list[Endpoint | None] = []
    for option in _ENDS:
        if given[option] is not None:
            ends.append(endpoint(given[option], f"{where}{option}"))
        elif present or not persistent:
            raise InvalidInput(
                f"{where}{option}", "is missing. Set a database name, a URL, or a mapping with one of them"
            )
        else:
            ends.append(None)
    fields = _fields(given, where)
    return Replication(
        where,
        name,
        present,
        persistent,
        given["wait"],
        ends[0],
        ends[1],
        fields,
        restart=given["state"] == "restarted",
        restart_failed=given["restart_failed"],
    )


def endpoint(given: t.Any, option: str) -> Endpoint:
    """The parts of one end: a database name, a URL, or a mapping of C(_ENDPOINT).

    Raises InvalidInput, naming ``option``, for anything else.
    """
    if isinstance(given, str):
        return _address(given, option) if "://" in given else _local(given, option)
    if not isinstance(given, t.Mapping):
        raise InvalidInput(option, "must be a database name, an http(s) URL, or a mapping with one of them")
    for name in given:
        if name not in _ENDPOINT:
            raise InvalidInput(option, f"has no {name}. Use {', '.join(_ENDPOINT)}")
    named = [name for name in ("url", "database") if given.get(name) is not None]
    if len(named) != 1 or not isinstance(given[named[0]], str):
        raise InvalidInput(option, "must contain either a url or a database, as a string")
    where = given[named[0]]
    end = _address(where, option) if named == ["url"] and "://" in where else _local(where, option)
    return _with_login(end, given, option)


def _address(given: str, option: str) -> Endpoint:
    url = split_url(given, option, "a database of this server, or ")
    if not url.path.strip("/"):
        raise InvalidInput(option, f"{url.plain} has no database in its path. Add it")
    if not url.username:
        return Endpoint(url=url.plain)
    return Endpoint(url=url.plain, username=url.username, password=url.password or "")


def _local(given: str, option: str) -> Endpoint:
    try:
        check_database_name(given)
    except InvalidInput as error:
        shown = InvalidInput("name", "it contains an @, as URLs with a login do") if "@" in given else error
        raise InvalidInput(option, f"is neither a database name nor an http(s) URL ({shown})") from None
    return Endpoint(database=given)


def _with_login(end: Endpoint, given: t.Mapping[str, t.Any], option: str) -> Endpoint:
    """The end with the login of its mapping, which overrides one in its URL."""
    for name in ("headers", "auth"):
        if not isinstance(given.get(name) or {}, t.Mapping):
            raise InvalidInput(option, f"{name} must be a mapping")
    headers = {str(name): str(value) for name, value in (given.get("headers") or {}).items()}
    for name, value in headers.items():
        if not name.strip() or re.search(r"[\r\n\x00]", name + value):
            raise InvalidInput(
                option, f"the header {name.strip()!r} can't be sent. Remove line ends and other control characters"
            )
    others = copy.deepcopy(dict(given.get("auth") or {}))
    basic = others.pop("basic", None) or {}
    username, password = (
        str(value) if value is not None else None
        for value in (given.get(name, basic.get(name)) for name in ("username", "password"))
    )
    if username is None and password is not None:
        raise InvalidInput(option, "has a password and no username. Set both")
    if username is not None and password is None and end.username != username:
        raise InvalidInput(option, "has a username and no password. Set both")
    if username is None or password is None:
        username, password = end.username, end.password
    if username is not None and ":" in username:
        raise InvalidInput(option, "has a username with a colon, which Basic authentication does not allow")
    if username is not None and "authorization" in {name.lower() for name in headers}:
        raise InvalidInput(option, "has a username and a header Authorization. Remove one of them")
    return Endpoint(end.database, end.url, username, password, headers, {"auth": others} if others else {})


def endpoint_servers(
    given: t.Sequence[t.Mapping[str, t.Any]] | None, replications: t.Sequence[Replication]
) -> list[EndpointServer]:
    """The servers of the option C(endpoint_admins), with the logins that the replications have there.

    Raises InvalidInput, naming the option, for a server that is listed twice or that no replication logs in to, and for
    replications that do not agree on a password.
    """
    found: dict[str, EndpointServer] = {}
    for number, item in enumerate(given or []):
        where = f"endpoint_admins[{number}]."
        url = server_url(item["url"], f"{where}url")
        if url.username or url.password:
            raise InvalidInput(f"{where}url", "contains credentials. Use login_user and login_password")
        server = normal_url(url.plain)[0]
        if server in found:
            raise InvalidInput(f"{where}url", f"{url.plain} is listed twice")
        logins = _logins(server, item["login_user"], replications)
        if not logins:
            raise InvalidInput(
                f"{where}url",
                f"no replication logs in to {url.plain} with a username and a password. Use the scheme, host and port of "
                "their endpoints, or remove this entry",
            )
        found[server] = EndpointServer(where, url.plain, item["login_user"], item["login_password"], logins)
    return list(found.values())


def _logins(server: str, admin: str, replications: t.Sequence[Replication]) -> dict[str, str]:
    """The users and passwords with which the replications log in to a server."""
    logins: dict[str, str] = {}
    for each in replications:
        for option, end in zip(_ENDS, each.ends):
            if not each.present or end is None or end.username is None or not _is_on(end.url, server):
                continue
            where = f"{each.where}{option}"
            check_user_name(end.username, where)
            if not end.password:
                raise InvalidInput(where, f"contains an empty password for {end.username}")
            if end.username == admin:
                raise InvalidInput(
                    where, f"logs in as {admin}, the server admin of endpoint_admins. Use another user for replications"
                )
            if logins.setdefault(end.username, end.password) != end.password:
                raise InvalidInput(where, f"contains another password for {end.username} than another replication")
    return logins


def _is_on(url: str | None, server: str) -> bool:
    """Whether a URL is one of this server, whose URL is in the spelling of normal_url()."""
    return url is not None and normal_url(url)[0].startswith(f"{server}/")


def logs_in(document: t.Mapping[str, t.Any], server: str, username: str) -> bool:
    """Whether the replication of a document logs in to a server as this user."""
    ends = [_normal_end(document.get(end)) for end in _ENDS]
    return any(
        end["login"][0] == username and _is_on(end["url"], normal_url(server)[0])
        for end in ends
        if isinstance(end, t.Mapping) and end["login"]
    )


def is_over(document: t.Mapping[str, t.Any]) -> bool:
    """Whether the replication of a document has ended."""
    return document.get("_replication_state") in ("completed", "failed")


def _fields(given: t.Mapping[str, t.Any], where: str) -> dict[str, t.Any]:
    """The fields of the document besides its ends, checked, without those that have no effect."""
    options = given["options"] or {}
    for name in options:
        if str(name).startswith("_") or name in (*_ENDS, *FIELDS, "owner", "cancel"):
            raise InvalidInput(
                f"{where}options", f"{name} can't be set here: it is an option of its own, or CouchDB's field"
            )
    fields = {name: given[name] for name in FIELDS}
    fields.update(options)
    fields = {name: _field(name, value, where) for name, value in fields.items() if value is not None}
    fields = {name: value for name, value in fields.items() if value != _SWITCHES.get(name)}
    chosen = [name for name in CHOICES if name in fields]
    if len(chosen) > 1:
        raise InvalidInput(f"{where}{chosen[1]}", f"can't be used together with {chosen[0]}. Use one of them")
    if "proxy" in fields and any(name in fields for name in _PROXIES):
        raise InvalidInput(
            f"{where}options", "proxy can't be used together with source_proxy or target_proxy. Use one of them"
        )
    for name in (*_PROXIES, "proxy"):
        if name in fields and not (isinstance(fields[name], str) and _PROXY.match(fields[name])):
            raise InvalidInput(f"{where}{name}", "must be a URL that begins with http://, https:// or socks5://")
    return fields


def _field(name: str, value: t.Any, where: str) -> t.Any:
    if name in _NUMBERS:
        try:
            return int(str(value))
        except ValueError:
            raise InvalidInput(f"{where}options", f"{name} is {value!r}. Set a whole number") from None
    if name in _SWITCHES:
        if str(value).lower() not in ("true", "false", "yes", "no"):
            raise InvalidInput(f"{where}options", f"{name} is {value!r}. Set true or false")
        return str(value).lower() in ("true", "yes")
    if name in ("query_params", "create_target_params"):
        return {str(key): _parameter(inner) for key, inner in value.items() if inner is not None} or None
    if name == "doc_ids":
        return list(dict.fromkeys(value))
    return copy.deepcopy(value)


def _parameter(value: t.Any) -> str:
    """A value of a query as a string, as CouchDB reads it."""
    return value if isinstance(value, str) else json.dumps(value)


# The document for CouchDB


def is_written_with_login(end: Endpoint, here: Here) -> bool:
    """Whether an end is a database of this server that gets the credentials of the task."""
    return end.url is None and not end.has_login and not here.dialect.takes_local_endpoints


def written_endpoint(end: Endpoint, here: Here, option: str, *, lasting: bool) -> t.Any:
    """One end as this version of CouchDB needs it: a string if that is enough, else an object.

    ``lasting`` is for a document, in which a session's cookie would expire. Raises InvalidInput, naming ``option``, for a
    login that can't be written.
    """
    username, password, headers = end.username, end.password, dict(end.headers)
    if end.url is not None:
        url = end.url
    elif here.dialect.takes_local_endpoints and not end.has_login:
        return t.cast(str, end.database)
    else:
        url = here.url + quote(t.cast(str, end.database), safe="")
        own = is_written_with_login(end, here)
        if own and here.username is not None and (lasting or not here.headers):
            username, password = here.username, here.password
        elif own:
            headers = dict(here.headers)
            if lasting and "Cookie" in headers:
                raise InvalidInput(
                    option,
                    "the task is logged in with a cookie, which expires, so a replication can't use it. "
                    "Set login_user and login_password of the task, or username and password here",
                )
    written: dict[str, t.Any] = {"url": url, **copy.deepcopy(end.others)}
    if username is not None:
        if here.dialect.takes_endpoint_auth:
            basic = {"username": username, "password": password or ""}
            written["auth"] = {"basic": basic, **written.get("auth", {})}
        else:
            headers["Authorization"] = basic_authorization(username, password)
    if headers:
        written["headers"] = headers
    return written if len(written) > 1 else url


def declared_endpoint(value: t.Any, here: Here) -> t.Any:
    """An end of an existing document, as the options ``source`` and ``target`` declare it.

    A database of this server with the task's own login becomes its name alone.
    """
    given = {"url": value} if isinstance(value, str) else value
    if not isinstance(given, t.Mapping) or not isinstance(given.get("url"), str):
        return copy.deepcopy(value)
    if given["url"].startswith(here.url):
        database = unquote(given["url"][len(here.url) :].rstrip("/"))
        with contextlib.suppress(InvalidInput):
            check_database_name(database)
            own = written_endpoint(Endpoint(database), here, "source", lasting=True)
            if equal(_normal_end(own), _normal_end(value)):
                return database
    _url, login = normal_url(given["url"])
    if isinstance(value, str) and login is None:
        return value
    end = {name: copy.deepcopy(inner) for name, inner in given.items() if name != "auth"}
    auth = dict(_mapping(given.get("auth")))
    basic = auth.pop("basic", None)
    if isinstance(basic, t.Mapping):
        end.update((name, basic.get(name)) for name in ("username", "password"))
    elif login is not None:
        # As couchdb_replication writes it, so that this declaration is gathered from what it makes.
        end.update(url=_without_login(given["url"]), username=login[0], password=login[1])
    if auth:
        end["auth"] = copy.deepcopy(auth)
    return end


def problem_of_declaration(entry: t.Mapping[str, t.Any], document: t.Mapping[str, t.Any], here: Here) -> str | None:
    """Why these options don't declare an existing document, None if they do."""
    names = ("name", *_ENDS, *FIELDS, "options", "state", "persistent", "wait", "restart_failed")
    defaults = {"state": "present", "persistent": True, "wait": False, "restart_failed": False}
    try:
        written = declared({**dict.fromkeys(names), **defaults, **entry}).document(here)
    except InvalidInput as error:
        return f"{error.option} {error.problem}"
    if not same(written, document):
        return "the options of couchdb_replication would change it"
    if here.password and here.password in document_secrets(dict(entry)):
        return "contains the password of this task's own login, which Ansible masks in results"
    return None


def login_warning(names: t.Sequence[str], here: Here) -> str:
    """The warning for replications whose documents contain the credentials of the task."""
    one = len(names) == 1
    user = f", {here.username}," if here.username else ""
    return (
        f"the {'document' if one else 'documents'} of {'the replication' if one else 'the replications'} {listed(names)} "
        f"{'contains' if one else 'contain'} the credentials of this task{user} in plain text, which every server admin can read. "
        f"Create a user for {'it' if one else 'them'} that may only use these databases, and set its username and password "
        "in source and target"
    )


_UNREPORTED = ("selector", "doc_ids", "filter", "query_params", "since_seq", "winning_revs_only")
"""What decides which documents a replication copies, and CouchDB does not report of one without a document."""


def running_warning(name: str, document: t.Mapping[str, t.Any]) -> str | None:
    """The warning for a replication without a document that runs already, if it may copy other documents than declared."""
    given = [option for option in _UNREPORTED if document.get(option) is not None]
    if not given:
        return None
    return (
        f"the replication {name} runs already, and CouchDB does not report its {listed(given)}. If that changed, stop the "
        "replication with state: absent, and start it again"
    )


# Equal replications


def same(one: t.Mapping[str, t.Any], other: t.Mapping[str, t.Any]) -> bool:
    """Whether two documents ask for the same replication, with the same logins."""
    return equal(normal(one), normal(other))


def normal(document: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """A document in normal form: the same for each spelling, and without the fields that CouchDB adds.

    A field of a shape that CouchDB would refuse stays as it is.
    """
    found: dict[str, t.Any] = {}
    for name, value in declared_fields(document).items():
        if name in _ENDS:
            found[name] = _normal_end(value)
        elif name == "proxy":
            found.update({proxy: _normal_proxy(value) for proxy in _PROXIES})
        elif name in _PROXIES:
            found[name] = _normal_proxy(value)
        elif name == "doc_ids":
            found[name] = sorted(set(map(str, value))) if isinstance(value, list) else value
        elif name == "selector" and isinstance(value, t.Mapping):
            found[name] = meaning(value)
        elif name == "user_ctx" and isinstance(value, t.Mapping):
            found[name] = {"name": value.get("name"), "roles": sorted(map(str, value.get("roles") or []))}
        else:
            try:
                kept = _field(name, value, "")
            except (InvalidInput, AttributeError, TypeError):
                kept = value
            if kept is not None and kept != _SWITCHES.get(name):
                found[name] = kept
    return found


def declared_fields(document: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The declared fields of a document: all but its id, and those that CouchDB adds."""
    added = ("_id", "_rev", "_conflicts", "owner")
    return {
        name: value
        for name, value in document.items()
        if name not in added and not name.startswith("_replication_") and value is not None
    }


def _normal_end(value: t.Any) -> t.Any:
    given = {"url": value} if isinstance(value, str) else value
    if not isinstance(given, t.Mapping) or not isinstance(given.get("url"), str):
        return value
    url, login = normal_url(given["url"])
    auth = dict(_mapping(given.get("auth")))
    basic = auth.pop("basic", None)
    if isinstance(basic, t.Mapping):
        login = (str(basic.get("username")), str(basic.get("password")))
    sent = {str(name).lower(): str(inner) for name, inner in _mapping(given.get("headers")).items()}
    by_header = basic_credentials(sent.get("authorization", ""))
    if by_header and login in (None, by_header):
        login = by_header
        del sent["authorization"]
    rest = {
        name: inner for name, inner in given.items() if name not in ("url", "auth", "headers") and inner is not None
    }
    return {"url": url, "login": login, "auth": auth, "headers": sent, **rest}


def _normal_proxy(value: t.Any) -> t.Any:
    return normal_url(value) if isinstance(value, str) else value


def normal_url(url: str) -> tuple[str, tuple[str, str] | None]:
    """A URL in normal form without its login, and that login. A bare name stays as it is."""
    try:
        parts = urlsplit(url.strip())
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        return url, None
    if not parts.scheme or not host:
        return url, None
    login = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
    shown_port = "" if port in (None, _PORTS.get(parts.scheme)) else f":{port}"
    path = "/".join(quote(unquote(part), safe="") for part in parts.path.rstrip("/").split("/"))
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.scheme}://{host}{shown_port}{path}{query}", login


def _without_login(url: str) -> str:
    parts = urlsplit(url.strip())
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


# States


def state(row: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The state of a replication, from a row of C(_scheduler/docs) or, before CouchDB 2.1, from its document."""
    noted = row.get("_replication_state_reason")
    info = row.get("info", {"error": noted} if noted else row.get("_replication_stats"))
    told = row.get("state", row.get("_replication_state"))
    return {"state": told, "info": info, "id": row.get("id"), "start_time": row.get("start_time")}


def fits_job(document: t.Mapping[str, t.Any], job: t.Mapping[str, t.Any]) -> bool:
    """Whether a job without a document has these ends, and is continuous if this is.

    CouchDB reports no more of it.
    """
    ends = all(normal_url(_url(document[end]))[0] == normal_url(str(job[end]))[0] for end in _ENDS)
    return ends and bool(document.get("continuous")) == bool(job["continuous"])


def is_locked(document: t.Mapping[str, t.Any], dialect: Dialect) -> bool:
    """Whether the document can't be changed as it runs, before CouchDB 2.1; it can be deleted."""
    return not dialect.has_scheduler and document.get("_replication_state") == "triggered"


def new_job(document: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The job of a document that is sent to the server, as far as it is known."""
    ends = {end: _url(document[end]) for end in _ENDS}
    return {**NOTHING, **ends, "continuous": bool(document.get("continuous"))}


def suffixes(job: t.Mapping[str, t.Any] | None) -> dict[str, bool]:
    """The fields that a request to stop a job needs, from the job's id."""
    return {"create_target": "+create_target" in job["id"]} if job and job["id"] else {}


def verdict(row: t.Mapping[str, t.Any], continuous: bool, started: t.Collection[str]) -> str:
    """The verdict on a state: C(done), C(broken), or C(open).

    CouchDB reports a replication as running before it has reached its ends. ``started`` has the ids of those that have.
    """
    state = row["state"]
    if state in BROKEN:
        return "broken"
    if state == "completed":
        return "done"
    if continuous and state in ("running", "triggered"):
        return "done" if state == "triggered" or row["info"] or row["id"] in started else "open"
    return "open"


def has_pending_changes(row: t.Mapping[str, t.Any]) -> bool:
    """Whether a replication runs and has changes to copy. ``row`` has its state and info."""
    info = row.get("info")
    return row.get("state") == "running" and isinstance(info, t.Mapping) and bool(info.get("changes_pending"))


def problems(
    first: t.Sequence[t.Mapping[str, t.Any]], second: t.Sequence[t.Mapping[str, t.Any]] | None = None
) -> dict[str, list[dict[str, t.Any]]]:
    """The replications that make no progress, by failed, crashing and stalled, from one reading or two.

    A stalled one had changes to copy at both readings and has read none in between.
    """
    found: dict[str, list[dict[str, t.Any]]] = {"failed": [], "crashing": [], "stalled": []}
    before = {_identity(row): row for row in first}
    for row in first if second is None else second:
        state = row.get("state")
        kind = {"failed": "failed", "crashing": "crashing", "error": "crashing"}.get(str(state))
        reason = _reason(row.get("info"))
        if kind is None and second is not None and has_pending_changes(row):
            earlier = before.get(_identity(row))
            if earlier is not None and has_pending_changes(earlier) and _progress(earlier) == _progress(row):
                kind, reason = "stalled", f"{row['info']['changes_pending']} changes are pending, and none was read"
        if kind is not None:
            found[kind].append({"name": row.get("name"), "database": row.get("database"), "reason": reason})
    return found


def _identity(row: t.Mapping[str, t.Any]) -> tuple[t.Any, ...]:
    return tuple(_text(row.get(field)) for field in ("database", "name", "source", "target"))


def _progress(row: t.Mapping[str, t.Any]) -> tuple[t.Any, ...]:
    counters = ("docs_read", "docs_written", "doc_write_failures", "revisions_checked", "checkpointed_source_seq")
    return tuple(row["info"].get(name) for name in counters)


def _text(value: t.Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def copied(session: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """What a completed replication has copied: the counts of its own session, all 0 if there was nothing new."""
    names = ("docs_read", "docs_written", "doc_write_failures")
    own = {} if session.get("no_changes") else (session.get("history") or [session])[0]
    return {name: own.get(name) or 0 for name in names}


# Reports


def shown_end(value: t.Any) -> str | None:
    """One end of a document as it may be shown: its URL without a login, or the name of a database."""
    return None if value is None else mask_url(_url(value)).replace(f"{MASK}@", "")


def shown_info(info: t.Any) -> t.Any:
    """The information of a state, without secrets."""
    return mask_document(info)


def shown_document(document: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """A document for a diff: its declared fields, with secret headers masked."""
    found = copy.deepcopy(declared_fields(document))
    for end in _ENDS:
        headers = _mapping(_mapping(found.get(end)).get("headers"))
        for name in headers:
            # The diff masks the others, and marks those that differ.
            if is_secret_header(name) and mask_document({name: "x"}) == {name: "x"}:
                headers[name] = MASK
    return found


def problem(rows: t.Mapping[str, t.Mapping[str, t.Any]], seconds: float | None = None) -> CouchDBError:
    """The error of replications that failed, or that were not done after so many ``seconds``: name → state."""
    said = []
    for name, row in rows.items():
        reason, state = _reason(row["info"]), row["state"] or "not started by the server"
        state = "in the state error" if state == "error" else state
        said.append(f"the replication {name} is {state if seconds is None else f'still {state} after {seconds:g} s'}")
        if reason:
            said[-1] += f": {reason}"
    first = next(iter(rows.values()))
    advice = "" if seconds is None else ". If it is slow, set a longer wait_timeout"
    return CouchDBError("; ".join(said) + advice, error=first["state"], reason=_reason(first["info"]))


def _reason(info: t.Any) -> str | None:
    """CouchDB's own reason why a replication fails."""
    reason = info.get("error") if isinstance(info, t.Mapping) else info
    if not reason:
        return None
    return mask_text(" ".join((reason if isinstance(reason, str) else json.dumps(reason)).split()))


def secrets(given: t.Mapping[str, t.Any]) -> set[str]:
    """The strings to mask in the options of a replication, in any shape."""
    found = document_secrets([given.get(name) for name in ("query_params", "options", "selector")])
    for option in (*_ENDS, *_PROXIES):
        found |= _end_secrets(given.get(option))
    if isinstance(given.get("options"), t.Mapping):
        found |= _end_secrets(given["options"].get("proxy"))
    return found


def _end_secrets(value: t.Any) -> set[str]:
    if isinstance(value, str):
        return url_secrets(value)
    if not isinstance(value, t.Mapping):
        return set()
    found = document_secrets(value) | _end_secrets(value.get("url")) | _end_secrets(value.get("database"))
    for name, inner in _mapping(value.get("headers")).items():
        if is_secret_header(str(name)):
            found |= {str(inner), str(inner).partition(" ")[2]}
    found |= {quote(secret, safe="") for secret in found}
    return found - {""}


def _label(end: Endpoint) -> str:
    return end.database or mask_url(t.cast(str, end.url))


def _mapping(value: t.Any) -> dict[str, t.Any]:
    return value if isinstance(value, dict) else {}


def _url(value: t.Any) -> str:
    return str(value.get("url")) if isinstance(value, t.Mapping) else str(value)
