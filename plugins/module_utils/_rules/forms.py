# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Settings that stop CouchDB if their value is wrong, and the form that it must have. Pure.

Found with wrong values for each setting that CouchDB 3.5.0 and 3.4.3 read (C(tests/trust/wrong_settings.py)), and
by reading how their applications use them. ``Form.source`` is the module of CouchDB that stops, with the change or at its next
start, as APPLICATION/MODULE.
"""

from __future__ import annotations

import ipaddress
import re
import typing as t
from dataclasses import dataclass

from . import terms
from .names import begins_database_name


@dataclass(frozen=True)
class Form:
    """The form of a value: in words, as a function, and where CouchDB's source needs it."""

    must_be: str
    fits: t.Callable[[str], bool]
    source: str


def _integer(string: str) -> bool:
    return bool(re.match(r"[+-]?[0-9]{1,18}\Z", string))


def _at_least(least: int) -> t.Callable[[str], bool]:
    return lambda string: _integer(string) and int(string) >= least


def _milliseconds(string: str) -> bool:
    return string == "infinity" or _at_least(1)(string)


def _from_to(least: int, most: int) -> t.Callable[[str], bool]:
    return lambda string: _integer(string) and least <= int(string) <= most


def _port(string: str) -> bool:
    return bool(re.match(r"[0-9]{1,5}\Z", string)) and 0 < int(string) < 65536


def _address(string: str) -> bool:
    if string == "any":
        return True
    try:
        ipaddress.ip_address(string)
    except ValueError:
        return False
    return True


def _one_of(*choices: str) -> tuple[str, t.Callable[[str], bool]]:
    return "one of " + ", ".join(filter(None, choices)), lambda string: string in choices


def _whole(least: int) -> tuple[str, t.Callable[[str], bool]]:
    return f"a number of at least {least}", _at_least(least)


def _number(least: int, most: int = 10**18, unit: str = "") -> tuple[str, t.Callable[[str], bool]]:
    """A number, or an empty value, which CouchDB reads as the default."""
    limits = f"from {least} to {most}" if most < 10**18 else f"of at least {least}"
    return f"a number{unit} {limits}", lambda string: not string or _from_to(least, most)(string)


def _milliseconds_from(least: int) -> tuple[str, t.Callable[[str], bool]]:
    """What a timer of Erlang takes."""
    return _number(least, 2**32 - 1, " of milliseconds")


def _seconds(least: int) -> tuple[str, t.Callable[[str], bool]]:
    return _number(least, (2**32 - 1) // 1000, " of seconds")


def _path_of_file(string: str) -> bool:
    return bool(string) and not string.endswith("/")


_NUMBER, _SWITCH, _LINGER = "a number", "true or false", "{true, SECONDS}"

_SOCKET_OPTIONS = {
    **dict.fromkeys(
        ("buffer", "recbuf", "sndbuf", "high_watermark", "low_watermark", "priority", "tos", "ttl"), _NUMBER
    ),
    **dict.fromkeys(("high_msgq_watermark", "low_msgq_watermark", "send_timeout", "tclass"), _NUMBER),
    **dict.fromkeys(("delay_send", "dontroute", "keepalive", "nodelay", "reuseaddr", "send_timeout_close"), _SWITCH),
    "linger": _LINGER,
}
"""The options of a socket that leave HTTP as it is. https://www.erlang.org/doc/apps/kernel/inet.html#setopts/2"""

_SERVER_OPTIONS = {
    **dict.fromkeys(("backlog", "acceptor_pool_size", "max", "recbuf", "buffer"), _NUMBER),
    "nodelay": _SWITCH,
}
"""The options that mochiweb_socket_server of CouchDB's mochiweb 3.2 knows, without those that CouchDB sets itself."""

_MAY_BE_UNDEFINED = ("recbuf", "buffer")


def _fits_option(kind: str, value: t.Any) -> bool:
    if kind == _NUMBER:
        return isinstance(value, int) and 0 < value < 2**31
    if kind == _SWITCH:
        return value in (terms.Atom("true"), terms.Atom("false"))
    return (
        isinstance(value, tuple) and len(value) == 2 and _fits_option(_SWITCH, value[0]) and isinstance(value[1], int)
    )


def _list_of(fits: t.Callable[[t.Any], bool], empty: bool = False) -> t.Callable[[str], bool]:
    """An Erlang list all of whose items fit."""

    def fitting(string: str) -> bool:
        try:
            term = terms.parse(string)
        except terms.NotATerm:
            return False
        return isinstance(term, list) and (empty or bool(term)) and all(map(fits, term))

    return fitting


def _options(known: t.Mapping[str, str], undefined: t.Collection[str] = ()) -> t.Callable[[str], bool]:
    def fits(option: t.Any) -> bool:
        if not (isinstance(option, tuple) and len(option) == 2 and option[0] in known):
            return False
        name, value = option
        return _fits_option(known[name], value) or (name in undefined and value == terms.Atom("undefined"))

    return _list_of(fits, empty=True)


_URL = re.compile(r"(https?://([^/?#@\s]+@)?([^/?#@:\s]+|\[[0-9a-fA-F:.]+\]):[0-9]{1,5}(/\S*)?)?\Z")

_SEPARATED = re.compile(r"(?<=})\s*,\s*(?={)")

_HANDLERS = {
    "chttpd_auth": "default cookie proxy jwt",
    "couch_httpd_auth": "default cookie proxy jwt null",
}
"""The authentication handlers of CouchDB's own modules, which end in C(_authentication_handler)."""


def _old_handlers(string: str) -> bool:
    """Handlers of the port 5986, whose names CouchDB reads from the sixth word of the string."""
    return _handlers(string) and all(len(re.split(r"[\W_]", part)) > 5 for part in _SEPARATED.split(string))


def _handlers(string: str) -> bool:
    """Whether these are authentication handlers: {MODULE, FUNCTION}, with commas between; those of CouchDB's own modules exist."""
    try:
        handlers = terms.parse(f"[{string}]")
    except terms.NotATerm:
        return False
    # CouchDB separates them at a comma between braces.
    if not handlers or len(_SEPARATED.split(string)) != len(handlers):
        return False
    for handler in handlers:
        if not _atoms(handler):
            return False
        module, function = handler
        known = [f"{name}_authentication_handler" for name in _HANDLERS.get(module, "").split()]
        if known and function not in (*known, "party_mode_handler"):
            return False
    return True


def _or_default(fits: t.Callable[[str], bool]) -> t.Callable[[str], bool]:
    """Also the default, as an empty value or by name."""
    return lambda string: string in ("", "undefined") or fits(string)


_TLS = ("tlsv1", "tlsv1.1", "tlsv1.2", "tlsv1.3")


def _versions(string: str) -> bool:
    """Versions of TLS without a gap between them, with which Erlang does not start the listener."""
    if not _list_of(_TLS.__contains__)(string):
        return False
    places = {_TLS.index(version) for version in terms.parse(string)}
    return max(places) - min(places) < len(places)


def _atom(value: t.Any) -> bool:
    return isinstance(value, terms.Atom)


def _atoms(value: t.Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(map(_atom, value))


_SOCKET = "an Erlang list of socket options, such as [{sndbuf, 262144}, {nodelay, true}]"
_SERVER = "an Erlang list of options of the listener, such as [{backlog, 128}, {acceptor_pool_size, 16}, {max, 65536}]"
_AUTHENTICATION = (
    "handlers, such as {chttpd_auth, cookie_authentication_handler}, {chttpd_auth, default_authentication_handler}"
)

WRITABLE = "the path of a file, in a directory that exists, that CouchDB can write"

_CHTTPD = "chttpd/chttpd"

_PORT = "a port (1 to 65535)"
_ADDRESS = "an IP address or any"


def _same(names: str, must_be: str, fits: t.Callable[[str], bool], source: str) -> dict[tuple[str, str], Form]:
    """The same form for several settings, each C(section/key)."""
    form = Form(must_be, fits, source)
    return {t.cast("tuple[str, str]", tuple(name.split("/"))): form for name in names.split()}


FORMS: dict[tuple[str, str], Form] = {
    **_same("chttpd/port httpd/port ssl/port prometheus/port", _PORT, _port, _CHTTPD),
    **_same(
        "chttpd/bind_address httpd/bind_address ssl/bind_address prometheus/bind_address",
        _ADDRESS,
        _address,
        "couch/couch_httpd",
    ),
    **_same("chttpd/socket_options", _SOCKET, _options(_SOCKET_OPTIONS), _CHTTPD),
    **_same("httpd/socket_options", _SOCKET, _options(_SOCKET_OPTIONS, ("recbuf",)), "couch/couch_httpd"),
    **_same(
        "chttpd/server_options httpd/server_options httpsd/server_options",
        _SERVER,
        _options(_SERVER_OPTIONS, _MAY_BE_UNDEFINED),
        "mochiweb/mochiweb_socket_server",
    ),
    **_same("chttpd/authentication_handlers", _AUTHENTICATION, _handlers, _CHTTPD),
    **_same("httpd/authentication_handlers", _AUTHENTICATION, _old_handlers, "couch/couch_httpd"),
    **_same("chttpd/max_uri_length httpd/max_uri_length", *_whole(100), _CHTTPD),
    **_same(
        "global_changes/max_event_delay global_changes/max_write_delay",
        *_whole(0),
        "global_changes/global_changes_server",
    ),
    **_same("ken/incremental_channels ken/batch_channels ken/max_incremental_updates", *_whole(0), "ken/ken_server"),
    # Every login asks for a document of the user, also that of an admin.
    **_same(
        "fabric/request_timeout",
        "a number of milliseconds of at least 1, or infinity",
        _milliseconds,
        "fabric/fabric_util",
    ),
    **_same(
        "couch_peruser/database_prefix",
        "the beginning of a database's name: a lowercase letter, then lowercase letters, digits and any of _ $ ( ) + - /",
        begins_database_name,
        "couch_peruser/couch_peruser",
    ),
    # With less, CouchDB refuses the request that would restore it.
    **_same(
        "chttpd/max_http_request_size httpd/max_http_request_size",
        "a number of bytes of at least 1024",
        _at_least(1024),
        _CHTTPD,
    ),
    **_same("couchdb/btree_chunk_size", *_whole(1), "couch/couch_btree"),
    **_same(
        "couchdb/idle_check_timeout",
        "a number of milliseconds of at least 1, or infinity",
        lambda string: not string or _milliseconds(string),
        "couch/couch_db_updater",
    ),
    **_same("mem3/shard_cache_size", *_whole(1), "mem3/mem3_shards"),
    **_same("ioq/concurrency", *_number(1), "ioq/ioq"),
    **_same("mem3/sync_frequency", *_whole(1), "mem3/mem3_sync_event_listener"),
    **_same(
        "replicator/connection_close_interval",
        "a number of milliseconds from 0 to 4294967295",
        _from_to(0, 2**32 - 1),
        "couch_replicator/couch_replicator_connection",
    ),
    **_same(
        "couch_scanner/interval_sec",
        "a number of seconds from 1 to 4294967",
        _from_to(1, 4294967),
        "couch_scanner/couch_scanner_server",
    ),
    **_same(
        "couch_scanner/db_rate_limit couch_scanner/shard_rate_limit couch_scanner/doc_rate_limit",
        *_number(1),
        "couch_scanner/couch_scanner_rate_limiter",
    ),
    **_same(
        "couch_peruser/cluster_start_period couch_peruser/cluster_quiet_period",
        *_seconds(0),
        "couch_peruser/couch_peruser",
    ),
    **_same("replicator/cluster_start_period", *_seconds(0), "couch_replicator/couch_replicator_doc_processor"),
    **_same("replicator/interval", *_milliseconds_from(1), "couch_replicator/couch_replicator_scheduler"),
    **_same(
        "chttpd_auth_cache/max_objects chttpd_auth_cache/max_size chttpd_auth_lockout/max_objects couch_passwords_cache/max_objects",
        *_number(0),
        "ets_lru/ets_lru",
    ),
    **_same(
        "chttpd_auth_cache/max_lifetime chttpd_auth_lockout/max_lifetime couch_passwords_cache/max_idle",
        *_milliseconds_from(0),
        "ets_lru/ets_lru",
    ),
    **_same("smoosh/wait_secs", *_seconds(0), "smoosh/smoosh_channel"),
    **_same("stats/interval", *_seconds(1), "couch_stats/couch_stats_util"),
    **_same("cluster/reconnect_interval_sec", *_seconds(1), "mem3/mem3_distribution"),
    **_same("mem3/shard_write_timeout mem3/writer_idle_timeout", *_milliseconds_from(1), "mem3/mem3_shards"),
    **_same("nouveau/max_sessions nouveau/max_pipeline_size", *_number(1), "nouveau/nouveau_index_manager"),
    **_same("ssl/verify_ssl_certificates ssl/fail_if_no_peer_cert", *_one_of("", "true", "false"), _CHTTPD),
    **_same("ssl/secure_renegotiate", *_one_of("", "true", "false", "undefined"), _CHTTPD),
    **_same("ssl/ssl_certificate_max_depth", *_number(0, 255), _CHTTPD),
    **_same(
        "ssl/tls_versions",
        "an Erlang list of versions that follow each other, such as ['tlsv1.2', 'tlsv1.3']",
        _or_default(_versions),
        _CHTTPD,
    ),
    **_same(
        "ssl/ciphers",
        'an Erlang list of strings, such as ["ECDHE-RSA-AES256-GCM-SHA384"]',
        _or_default(_list_of(lambda cipher: isinstance(cipher, bytes) and bool(cipher))),
        _CHTTPD,
    ),
    **_same(
        "ssl/signature_algs",
        "an Erlang list, such as [{sha256, rsa}]",
        _or_default(_list_of(lambda name: _atom(name) or _atoms(name))),
        _CHTTPD,
    ),
    **_same("ssl/ecc_curves", "an Erlang list, such as [x25519]", _or_default(_list_of(_atom)), _CHTTPD),
    **_same(
        "nouveau/url",
        "a URL with a host and a port, such as http://127.0.0.1:5987",
        lambda string: bool(_URL.match(string)),
        "nouveau/nouveau_index_manager",
    ),
    # Of every channel, and of every engine.
    **_same("smoosh.*/capacity", *_number(1), "smoosh/smoosh_utils"),
    **_same("couchdb_engines/*", *_one_of("couch_bt_engine"), "couch/couch_server"),
    **_same(
        "mem3/shards_db mem3/nodes_db",
        "the name of a database, such as _dbs or _nodes",
        lambda string: begins_database_name(string[string.startswith("_") :]),
        "mem3/mem3_shards",
    ),
    **_same("couchdb/uri_file", WRITABLE, _path_of_file, "chttpd/chttpd_sup"),
    **_same("log/file", WRITABLE, _path_of_file, "couch_log/couch_log_writer_file"),
    **_same("uuids/algorithm", *_one_of("sequential", "random", "utc_random", "utc_id"), "couch/couch_uuids"),
    **_same("couchdb/default_security", *_one_of("admin_only", "admin_local", "everyone"), "couch/couch_db_updater"),
    **_same(
        "couchdb/file_compression",
        *_one_of("none", "snappy", *(f"deflate_{level}" for level in range(10))),
        "couch/couch_compress",
    ),
    **_same(
        "chttpd_auth/min_iterations couch_httpd_auth/min_iterations chttpd_auth/max_iterations couch_httpd_auth/max_iterations",
        *_number(1, 1000000000),
        "couch/couch_httpd_auth",
    ),
    **_same(
        "chttpd_auth/password_scheme couch_httpd_auth/password_scheme",
        *_one_of("pbkdf2", "simple"),
        "couch/couch_passwords",
    ),
    **_same(
        "chttpd_auth/pbkdf2_prf couch_httpd_auth/pbkdf2_prf",
        *_one_of("sha", "sha224", "sha256", "sha384", "sha512"),
        "couch/couch_passwords",
    ),
}
