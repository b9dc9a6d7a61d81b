# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Values that stop CouchDB are refused, and all that it takes are accepted."""

from __future__ import annotations

import re
import typing as t

import pytest
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules import config, ini, terms
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules.forms import FORMS
from ansible_collections.couchpy.couchdb.plugins.module_utils.errors import InvalidInput

COOKIE, DEFAULT = "{chttpd_auth, cookie_authentication_handler}", "{chttpd_auth, default_authentication_handler}"

FINE = {
    "nouveau/url": ["", "http://127.0.0.1:5987", "https://search.example.com:443/n", "http://[::1]:5987"],
    "ssl/verify_ssl_certificates": ["", "true", "false"],
    "ssl/secure_renegotiate": ["", "true", "undefined"],
    "ssl/ssl_certificate_max_depth": ["", "0", "3"],
    "ssl/tls_versions": ["", "['tlsv1.2']", "['tlsv1.3', 'tlsv1.2']", "[tlsv1, 'tlsv1.1', 'tlsv1.2']", "undefined"],
    "ssl/ciphers": ["", '["ECDHE-RSA-AES256-GCM-SHA384"]', "undefined"],
    "ssl/signature_algs": ["", "[{sha256, rsa}]", "[rsa_pss_pss_sha256]"],
    "ssl/ecc_curves": ["", "[x25519, secp256r1]"],
    "smoosh.ratio_dbs/capacity": ["", "9999"],
    "mem3/shards_db": ["_dbs", "dbs"],
    "chttpd_auth/max_iterations": ["", "1000000000"],
    "chttpd_auth/min_iterations": ["1", "600000"],
    "couchdb/idle_check_timeout": ["", "61000", "infinity"],
    "cluster/reconnect_interval_sec": ["", "37"],
    "chttpd_auth_cache/max_objects": ["", "0", "10000"],
    "replicator/interval": ["60000"],
    "mem3/writer_idle_timeout": ["", "30000"],
    "fabric/request_timeout": ["60000", "1", "infinity"],
    "chttpd/max_http_request_size": ["1024", "4294967296"],
    "couch_peruser/database_prefix": ["userdb-", "tenant/u", "a"],
    "chttpd/port": ["5984", "1", "65535"],
    "chttpd/bind_address": ["any", "::", "127.0.0.1"],
    "chttpd/socket_options": ["[{sndbuf, 262144}, {nodelay, true}]", "[]", "[{linger, {true, 5}}]"],
    "chttpd/server_options": [
        "[{recbuf, undefined}, {acceptor_pool_size, 32}, {max, 65536}]",
        "[{backlog, 128}, {acceptor_pool_size, 16}]",
    ],
    "httpd/socket_options": ["[{recbuf, undefined}, {sndbuf, 262144}, {nodelay, true}]"],
    "chttpd/authentication_handlers": [
        f"{COOKIE}, {DEFAULT}",
        f"{{chttpd_auth, jwt_authentication_handler}},{COOKIE} , {DEFAULT}",
        f"{{my_plugin, my_handler}}, {DEFAULT}",
    ],
    "uuids/algorithm": ["sequential", "utc_random", "utc_id", "random"],
    "couchdb/default_security": ["admin_only", "admin_local", "everyone"],
    "couchdb/file_compression": ["none", "snappy", "deflate_0", "deflate_9"],
    "chttpd/max_uri_length": ["8000", "100"],
}

WRONG = {
    "nouveau/url": ["wrong", "http://host/", "http://host", "0", "host:5987"],
    "ssl/verify_ssl_certificates": ["wrong", "0", "True"],
    "ssl/fail_if_no_peer_cert": ["wrong"],
    "ssl/secure_renegotiate": ["wrong", "{"],
    "ssl/ssl_certificate_max_depth": ["wrong", "-1", "256"],
    "ssl/tls_versions": ["wrong", "[]", "{", "['tlsv1.3', 'tlsv1.1']", "[tlsv1.2]", "'tlsv1.2'", "[sslv9]"],
    "ssl/ciphers": ["{", "[]", "[wrong]", "0"],
    "ssl/signature_algs": ["{", "[1]"],
    "ssl/ecc_curves": ["{", '["x25519"]'],
    "smoosh.slack_views/capacity": ["wrong", "1.5"],
    "mem3/shards_db": ["", "1.5", "__dbs", "[wrong]"],
    "mem3/nodes_db": ["", "_", "Nodes"],
    "ioq/concurrency": ["0", "-1", "x"],
    "couch_passwords_cache/max_idle": ["-1"],
    "smoosh/wait_secs": ["-1"],
    "stats/interval": ["0", "4294968"],
    "chttpd_auth_cache/max_size": ["-1"],
    "chttpd_auth_lockout/max_lifetime": ["-1", "4294967296"],
    "replicator/interval": ["0", "4294967296"],
    "replicator/cluster_start_period": ["-1", "4294968"],
    "cluster/reconnect_interval_sec": ["0", "4294968"],
    "couch_peruser/cluster_start_period": ["99999999999999999999"],
    "couch_scanner/doc_rate_limit": ["99999999999999999999", "0"],
    "mem3/shard_write_timeout": ["0", "4294967296"],
    "mem3/writer_idle_timeout": ["0", "-1"],
    "nouveau/max_sessions": ["0"],
    "chttpd_auth/max_iterations": ["0", "-1", "many", "99999999999999999999"],
    "couch_httpd_auth/min_iterations": ["1000000001"],
    "couchdb/idle_check_timeout": ["wrong", "0", "-1", "1.5"],
    "fabric/request_timeout": ["x", "", "0", "-1", "1.5"],
    "chttpd/max_http_request_size": ["0", "-1", "1023"],
    "mem3/sync_frequency": ["0", "x"],
    "replicator/connection_close_interval": ["-1", "4294967296", ""],
    "couch_scanner/interval_sec": ["-1", "0", "4294968"],
    "couch_peruser/database_prefix": ["", "0", "-1", "Userdb-", "_users", "a b"],
    "chttpd/port": ["x", "0", "65536", "", "-1", "1.5"],
    "chttpd/bind_address": ["localhost", "*", "", "1.2.3"],
    "chttpd/socket_options": [
        "",
        "xyz",
        "[xyz]",
        "{sndbuf, 1}",
        "[{sndbuf, true}]",
        "[{sndbuf, 0}]",
        "[{active, true}]",
        "[{nodelay, tru}]",
    ],
    "chttpd/server_options": ["", "xyz", "[{recbuf, undefined]", "[{acceptor_pool, 3}]", "[{port, 1}]", "[{max, -1}]"],
    "chttpd/authentication_handlers": [
        "",
        "xyz",
        "{chttpd_auth}",
        "{chttpd_auth, cookie_handler}",
        f"{COOKIE} {DEFAULT}",
        f"{COOKIE}, xyz",
        f"[{COOKIE}]",
        '{"a", "b"}',
        f"{{chttpd_auth, cookie_authentication_handler, x}}, {DEFAULT}",
    ],
    "httpd/authentication_handlers": ["xyz", "", "{my, f}"],
    "global_changes/max_write_delay": ["x", "-1", ""],
    "ken/batch_channels": ["x", "-1", "1.5"],
    "couchdb/btree_chunk_size": ["x", "0"],
    "mem3/shard_cache_size": ["x", "0", "1.5"],
    "couchdb_engines/couch": ["x"],
    "couchdb_engines/foo": ["bar"],
    "smoosh.mine/capacity": ["wrong"],
    "couchdb/uri_file": ["", "/var/run/"],
    "log/file": ["", "/var/log/"],
    "uuids/algorithm": ["foo", "", "Random"],
    "couchdb/default_security": ["x", "", "admins"],
    "couchdb/file_compression": ["gzip", "deflate_x", "deflate", ""],
    "chttpd/max_uri_length": ["x", "", "1.5", "-1", "10"],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in FINE.items() for value in values])
def test_a_value_that_couchdb_takes_is_accepted(name: str, value: str) -> None:
    section, key = name.split("/")
    config.check_setting(section, key, value, dict.fromkeys(("section", "key", "value"), "settings"))
    assert f"{key} = {value}" in ini.content({section: {key: value}})


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_value_that_stops_couchdb_is_refused_with_the_form_it_must_have(name: str, value: str) -> None:
    section, key = name.split("/")
    with pytest.raises(InvalidInput, match=f"^settings: .*would stop the server. {name} must be ") as caught:
        config.check_setting(section, key, value, dict.fromkeys(("section", "key", "value"), "settings"))
    assert any(form.must_be in caught.value.problem for form in FORMS.values())
    with pytest.raises(InvalidInput, match="would stop the server"):
        ini.content({section: {key: value}})


def test_each_form_names_its_source() -> None:
    for form in FORMS.values():
        assert form.must_be
        assert re.fullmatch(r"[a-z0-9_]+/[a-z0-9_]+", form.source)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[]", []),
        (" [ {a, 1} , {'b c', 1.5e3}, {d, \"e\"} ] ", [("a", 1), ("b c", 1500.0), ("d", b"e")]),
        ("{}", ()),
        ("-5", -5),
        ("true", "true"),
    ],
)
def test_a_term_is_read(text: str, value: t.Any) -> None:
    assert terms.parse(text) == value


@pytest.mark.parametrize(
    "text", ["", "[", "]", "[a", "[a b]", "{a,}", "[,a]", "A", "a b", "#{}", "<<1>>", "[" * 50 + "]" * 50, "1.", "'a"]
)
def test_what_is_not_a_term_is_refused(text: str) -> None:
    with pytest.raises(terms.NotATerm):
        terms.parse(text)
