# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Secrets are hidden, and everything else is shown."""

from __future__ import annotations

import json
import typing as t

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
        f"http://admin:p@ss/{CANARY}@host/",
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
        ("aws", "secret_access_key"),
        ("mail", "smtp_pass"),
        ("custom", "client-secret"),
        ("custom", "encryptionKey"),
        ("custom", "db_passwords"),
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
        ("chttpd_auth", "proxy_use_secret", "true"),
        ("chttpd_auth", "x_auth_token", "X-Auth-CouchDB-Token"),
        ("cors", "credentials", "true"),
        ("cors:shop.example.org", "credentials", "true"),
        ("chttpd_auth", "allow_persistent_cookies", "true"),
        ("ssl", "key_file", "/etc/key.pem"),
    ],
)
def test_other_settings_are_shown(section: str, key: str, value: str | None) -> None:
    assert rules.mask_setting(section, key, value) == value


@pytest.mark.parametrize(
    "document",
    [
        {"password": CANARY},
        {"derived_key": CANARY, "salt": CANARY, "password_sha": CANARY},
        {
            "password1": CANARY,
            "token_2": CANARY,
            "password_hash": CANARY,
            "secret_key_base": CANARY,
            "ssh_key": CANARY,
            "otp": CANARY,
        },
        {"source": {"url": "http://h/", "auth": {"basic": {"username": "u", "password": CANARY}}}},
        {"source": f"http://u:{CANARY}@h/db"},
        {"target": {"headers": {"Authorization": CANARY, "Cookie": CANARY}}},
        {"list": [{"deep": [{"api_key": CANARY}]}]},
        {"secret": {"any": {"shape": CANARY}}},
        {"accessToken": CANARY},
        {"secretkey": CANARY},
        {"encryption_key": CANARY},
        {"authorization": CANARY},
        {"Pass": CANARY},
        {"tokens": [CANARY]},
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


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("Authorization", True),
        ("X-Auth-Key", True),
        ("X-Session", True),
        ("X-Auth-CouchDB-Token", True),
        ("X-Auth-CouchDB-UserName", False),
        ("X-Author", False),
        ("X-Pass", True),
        ("X-Passenger", False),
        ("Accept", False),
    ],
)
def test_a_header_is_secret_by_its_name(name: str, secret: bool) -> None:
    assert rules.is_secret_header(name) is secret


def test_a_deeply_nested_document_is_masked() -> None:
    document: dict[str, object] = {"password": CANARY}
    for _level in range(5000):
        document = {"a": [document]}
    shown = rules.mask_document(document)
    for _level in range(5000):
        shown = shown["a"][0]
    assert shown == {"password": MASK}
    assert rules.document_secrets(document) == {CANARY}


LOGGED = "[notice] 2026-01-01T00:00:00.000000Z node@host <0.1.0> a1b2 config: [{}] {} set to {} for reason nil"


def test_the_log_is_shown_without_secret_settings() -> None:
    lines = [
        LOGGED.format("chttpd_auth", "secret", f"{CANARY} for reason x"),
        LOGGED.format("log", "level", "debug"),
        LOGGED.format("jwt_keys", "hmac:a", CANARY),
        f"[error] could not open http://admin:{CANARY}@host/",
        "[notice] config: [chttpd_auth] secret deleted for reason nil",
    ]
    shown = rules.mask_log("\n".join(lines))
    assert CANARY not in shown
    assert shown.splitlines()[1] == lines[1]
    assert shown.splitlines()[2].endswith(f"hmac:a set to {MASK} for reason nil")
    assert shown.splitlines()[4] == lines[4]


@pytest.mark.parametrize(
    "text",
    [
        f"http://u:{CANARY}@h/ and http://v:{CANARY}@i/",
        f'"http://u:{CANARY}@h/","http://h:80/","http://v:{CANARY}/x@i/"',
        f"http://u:{CANARY}@h/,http://v:{CANARY}@i/",
        f"http://u:p@ss{CANARY}@h/",
        f"a://b://u:{CANARY}@h",
    ],
)
def test_the_credentials_of_each_url_in_a_string_are_hidden(text: str) -> None:
    shown = rules.mask_text(text)
    assert CANARY not in shown
    assert shown.count(MASK) == text.count(CANARY)
    assert any(CANARY in secret for secret in rules.text_secrets(text))


@pytest.mark.parametrize("secret", ["a", "data", "admin", "created", "true", "5984", "no", "admins-of"])
def test_a_result_stays_usable_if_a_secret_is_short_or_common(secret: str) -> None:
    result = {
        "changed": True,
        "status": "created",
        "databases": [{"name": "data", "admins": ["admins", "admin", "5984"], "n": 5984, "ok": "true"}],
    }
    assert rules.Secrets([secret]).mask_result(result) == result


@pytest.mark.parametrize("number", [1, 1000])
def test_a_distinct_secret_is_hidden_wherever_it_is(number: int) -> None:
    hiding = rules.Secrets([f"{CANARY}{n}" for n in range(number)] + ["hunter2"])
    result = {"msg": f"no {CANARY}0!", "list": [{"deep": f"x{CANARY}0{CANARY}0x", "n": 1, "b": False, "none": None}]}
    shown = hiding.mask_result(result)
    assert CANARY not in str(shown)
    assert shown == {"msg": f"no {MASK}!", "list": [{"deep": f"x{MASK}{MASK}x", "n": 1, "b": False, "none": None}]}
    assert hiding.mask("hunter2") == MASK


def test_the_longest_of_many_secrets_is_hidden_first() -> None:
    hiding = rules.Secrets([f"secret-{n}" for n in range(100)] + ["secret-1-and-more"])
    assert hiding.mask("a secret-1-and-more, a secret-1, a secret-") == f"a {MASK}, a {MASK}, a secret-"


def test_a_word_that_is_a_secret_is_hidden_in_messages() -> None:
    hiding = rules.Secrets(["admin", "data", "a", "5984"])
    assert hiding.mask_message("admin of the database data: admins, a port 5984.") == (
        f"{MASK} of the database {MASK}: admins, a port {MASK}."
    )
    assert hiding.mask_result({"reason": "data", "name": "data"}) == {"reason": MASK, "name": "data"}


@pytest.mark.parametrize("secret", ["data", "77777777", "hunter-", "-hunter", "hunter--two", "1234.", "_____", "12-34"])
def test_a_message_never_shows_a_secret_that_stands_on_its_own(secret: str) -> None:
    for message in ("{} is wrong", "wrong: {}", "<{}>", "'{}', 1"):
        assert rules.Secrets([secret]).mask_message(message.format(secret)) == message.format(MASK)


def test_an_option_is_hidden_if_its_whole_value_is_a_secret() -> None:
    hiding = rules.Secrets(["a", "7", CANARY])
    options = {
        "password": "a",
        "documents": [{"token": 7, "flag": True, "text": f"a {CANARY}", "other": "ab", "n": None}],
    }
    assert hiding.mask_options(options) == {
        "password": MASK,
        "documents": [{"token": MASK, "flag": True, "text": f"a {MASK}", "other": "ab", "n": None}],
    }


def test_a_password_in_a_url_of_an_option_is_hidden_though_it_is_a_plain_word() -> None:
    hiding = rules.Secrets(["hidden"])
    shown = hiding.mask_options(
        {"members": [{"name": "a@h", "url": "http://ann:hidden@a.example:5984/"}], "x": "hidden"}
    )
    assert shown == {"members": [{"name": "a@h", "url": f"http://{MASK}@a.example:5984/"}], "x": MASK}


@pytest.mark.parametrize(
    ("secrets", "handed"),
    [
        (["a", "data", "true", CANARY], {CANARY}),
        ([f"{CANARY}{n}" for n in range(1000)], set()),
        ([None, ""], set()),
        (["correcthorsebatterystaple"], {"correcthorsebatterystaple"}),
    ],
)
def test_ansible_is_handed_only_distinct_secrets_and_few(secrets: list[str | None], handed: set[str]) -> None:
    assert rules.Secrets(secrets).for_ansible == handed


def nested(levels: int, innermost: t.Any) -> t.Any:
    for level in range(levels):
        innermost = {"a": innermost} if level % 2 else [innermost]
    return innermost


@pytest.mark.parametrize("levels", [150, 5000])
def test_a_difference_shows_no_deeper_levels_than_ansible_prints(levels: int) -> None:
    one, other = rules.mask_change("document", ("db", "id"), {"x": 1}, {"x": 1, "deep": nested(levels, 1)})
    assert one == {"x": 1}
    assert "nested deeper than is shown" in json.dumps(other)
    assert rules.mask_change("document", ("d",), nested(90, "x"), None) == (nested(90, "x"), None)


def test_a_difference_marks_what_changes_deeper_than_it_shows() -> None:
    one: t.Any = 1
    other: t.Any = 2
    for _level in range(1000):
        one, other = {"a": one}, {"a": other}
    assert "(changed)" in json.dumps(rules.mask_change("document", ("d",), one, other)[1])
    assert "(changed)" not in json.dumps(rules.mask_change("document", ("d",), one, {"a": one["a"]})[1])
