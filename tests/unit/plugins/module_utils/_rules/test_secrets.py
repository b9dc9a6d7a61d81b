# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""_secrets: what must not be shown is not, and all else is."""

from __future__ import annotations

import pytest
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules import secrets as rules
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules.secrets import MASK

CANARY = "c4n4ry"


@pytest.mark.parametrize(
    "url",
    [
        f"http://admin:{CANARY}@host:5984/",
        f"http://{CANARY}@host/",
        f"https://admin:a{CANARY}%40b@host/path",
        f"http://admin:{CANARY}/with/slashes@host:5984/db",
        f"http://admin:p@{CANARY}@host/",
        f"admin:{CANARY}@host",
    ],
)
def test_a_url_is_shown_without_credentials(url: str) -> None:
    shown = rules.mask_url(url)
    assert CANARY not in shown
    assert "host" in shown


@pytest.mark.parametrize("url", ["http://host:5984/", "http://host/_node/couchdb@10.0.0.1/_config", "host"])
def test_a_url_without_credentials_is_shown_whole(url: str) -> None:
    assert rules.mask_url(url) == url


@pytest.mark.parametrize(
    ("url", "secrets"),
    [
        ("http://admin:a%40b@host/", {"a%40b", "a@b"}),
        ("http://admin:a/b@c@host/", {"a/b@c"}),
        ("http://admin@host/", set()),
        ("admin:a@host:5984", {"a"}),
        ("http://host/_node/n@h", set()),
    ],
)
def test_the_password_of_a_url_is_found(url: str, secrets: set[str]) -> None:
    assert rules.url_secrets(url) == secrets


def test_the_secrets_of_a_declared_document_are_found() -> None:
    document = {"a": [{"token": "t1", "plain": "p"}], "password": 7, "url": "http://u:t2@h/", "salt": {"deep": ["t3"]}}
    assert rules.document_secrets(document) == {"t1", "7", "t2", "t3"}


def test_a_text_is_shown_without_the_credentials_of_its_urls() -> None:
    text = f"could not open http://admin:{CANARY}@host/db: see https://{CANARY}@other/"
    assert CANARY not in rules.mask_text(text)
    assert "could not open http://" in rules.mask_text(text)
    assert rules.mask_text(f"the password {CANARY} is wrong", [CANARY]) == f"the password {MASK} is wrong"


@pytest.mark.parametrize(
    ("section", "key"),
    [
        ("admins", "anybody"),
        ("jwt_keys", "hmac:foo"),
        ("chttpd_auth", "secret"),
        ("couch_httpd_auth", "secret"),
        ("replicator", "password"),
        ("ssl", "password"),
        ("chttpd_auth", "proxy_auth_secret"),
        ("custom", "api_key"),
        ("custom", "access_token"),
    ],
)
def test_secret_settings_are_hidden(section: str, key: str) -> None:
    assert rules.mask_settings({section: {key: CANARY}}) == {section: {key: MASK}}


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("chttpd_auth", "password_scheme", "pbkdf2"),
        ("chttpd_auth", "password_regexp", "[]"),
        ("chttpd_auth", "iterations", "600000"),
        ("log", "level", "debug"),
        ("log", "level", None),
        ("admins", "gone", None),
    ],
)
def test_other_settings_are_shown(section: str, key: str, value: str | None) -> None:
    assert rules.mask_setting(section, key, value) == value


@pytest.mark.parametrize(
    "document",
    [
        {"password": CANARY},
        {"derived_key": CANARY, "salt": CANARY, "password_sha": CANARY},
        {"source": {"url": "http://h/", "auth": {"basic": {"username": "u", "password": CANARY}}}},
        {"source": f"http://u:{CANARY}@h/db"},
        {"target": {"headers": {"Authorization": CANARY, "Cookie": CANARY}}},
        {"list": [{"deep": [{"api_key": CANARY}]}]},
        {"secret": {"any": {"shape": CANARY}}},
    ],
)
def test_a_document_is_shown_without_secrets(document: dict[str, object]) -> None:
    assert CANARY not in str(rules.mask_document(document))


def test_the_rest_of_a_document_is_shown() -> None:
    document = {"name": "ann", "roles": ["ops"], "iterations": 10, "password_scheme": "pbkdf2", "password": ""}
    assert rules.mask_document(document) == document


def test_a_changed_secret_is_seen_to_change() -> None:
    path = ("node", "chttpd_auth", "secret")
    assert rules.mask_change("setting", path, "old", "new") == (MASK, MASK + rules.CHANGED)
    assert rules.mask_change("setting", path, None, "new") == (None, MASK)
    assert rules.mask_change("setting", ("node", "log", "level"), "info", "debug") == ("info", "debug")
    assert rules.mask_change("user", ("ann",), {"salt": "a", "b": "c"}, {"salt": "d", "b": "c"}) == (
        {"salt": MASK, "b": "c"},
        {"salt": MASK + rules.CHANGED, "b": "c"},
    )
    assert rules.mask_change("database", ("secret",), None, {"doc_count": 0}) == (None, {"doc_count": 0})


def test_the_secrets_of_declared_settings_are_found_whatever_their_shape() -> None:
    settings = {
        "chttpd_auth": {"secret": f" {CANARY} ", "timeout": 600},
        "broken": ["no mapping"],
        "jwt_keys": {"list": ["listed"], "mapping": {"a": "mapped"}},
        "replicator": {"proxy": f"http://u:p%20{CANARY}@h/"},
    }
    found = rules.setting_secrets(settings)
    assert {f" {CANARY} ", CANARY, f"p%20{CANARY}", f"p {CANARY}", "listed", "mapped"} <= found
    assert "600" not in found


def test_values_are_masked_at_any_depth_and_the_longest_secret_first() -> None:
    value = {"pass": ["a pass", ("password", 4, None)], "b": {"c": "no password here"}}
    assert rules.mask_value(value, ["pass", "password"]) == {
        "pass": ["a ********", ["********", 4, None]],
        "b": {"c": "no ******** here"},
    }
