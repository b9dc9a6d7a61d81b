# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filters that the role server uses: to_ini, secret_settings, masked, unknown_names."""

from __future__ import annotations

import configparser
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.couchpy.couchdb.plugins.filter.masked import masked
from ansible_collections.couchpy.couchdb.plugins.filter.secret_settings import secret_settings
from ansible_collections.couchpy.couchdb.plugins.filter.to_ini import to_ini
from ansible_collections.couchpy.couchdb.plugins.filter.unknown_names import unknown_names


def test_an_ini_file_holds_the_settings_in_one_order() -> None:
    settings = {
        "log": {"level": "info", "file": None},
        "couchdb": {"single_node": True, "max_document_size": 8},
        "empty": {},
        "only": {"nothing": None},
    }
    text = to_ini(settings)
    assert text == "[couchdb]\nmax_document_size = 8\nsingle_node = true\n\n[log]\nlevel = info"
    parser = configparser.RawConfigParser()
    parser.read_string(text)
    assert parser.sections() == ["couchdb", "log"]


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ("text", "settings: must be a mapping"),
        ({"log": "level"}, "log: must be a mapping"),
        ({"a]\n[b": {"x": 1}}, "a]\n[b: the name of the section"),
        ({"log": {"le = vel": "x"}}, "log/le = vel: the key"),
        ({"log": {"level": "info\nadmin = plain"}}, "log/level: "),
        ({"log": {"level": ["info"]}}, "log/level: is a list"),
        ({"log": {"level": "info ; not more"}}, "log/level: contains a semicolon"),
        ({"log": {"level": ";info"}}, "log/level: contains a semicolon"),
        ({"vendor": {"name": "voilà"}}, "vendor/name: ends with"),
        ({"uuids": {"algorithm": "foo"}}, "uuids/algorithm: 'foo' would stop the server"),
        ({"chttpd": {"port": "x"}}, "chttpd/port: 'x' would stop the server"),
        ({"chttpd": {"bind_address": "nowhere"}}, "chttpd/bind_address: 'nowhere' would stop the server"),
    ],
)
def test_what_an_ini_file_can_not_hold_is_refused(settings: t.Any, named: str) -> None:
    with pytest.raises(AnsibleFilterError) as caught:
        to_ini(settings)
    assert f"couchpy.couchdb.to_ini: {named}" in str(caught.value)


def test_secrets_are_hidden_the_longest_first_and_those_in_addresses() -> None:
    text = "pass and password at http://ann:tulip@db.example.com/"
    shown = masked(text, ["pass", "password", ""])
    assert "pass" not in shown.replace("********", "")
    assert "tulip" not in shown
    assert "db.example.com" in shown


def test_password_hashes_are_hidden() -> None:
    text = "[admins] admin = -pbkdf2:sha256-00ff,salt,600000 and bob = -pbkdf2-00ff,salt,10 and -hashed-00ff,salt ."
    assert "00ff" not in masked(text)


@pytest.mark.parametrize("secrets", ["secret", [1]])
def test_secrets_must_be_a_list_of_texts(secrets: t.Any) -> None:
    with pytest.raises(AnsibleFilterError, match="secrets: must be a list"):
        masked("text", secrets)


@pytest.mark.parametrize(
    ("names", "allowed", "expected"),
    [
        (["couchdb_users"], [], []),
        (["couchdb_usres", "couchdb_users"], [], ["couchdb_usres (did you mean couchdb_users?)"]),
        (["couchdb_databses"], [], ["couchdb_databses (did you mean couchdb_databases?)"]),
        (["couchdb_mine", "couchdb_also"], [], ["couchdb_also", "couchdb_mine"]),
        (["couchdb_mine", "couchdb_my_own"], ["couchdb_m*"], []),
        (["couchdb_mine"], ["mine", "couchdb_"], ["couchdb_mine"]),
    ],
)
def test_unknown_names_are_named_with_what_may_be_meant(
    names: list[str], allowed: list[str], expected: list[str]
) -> None:
    assert unknown_names(names, {"couchdb_users": {}, "couchdb_databases": {}}, allowed) == expected


@pytest.mark.parametrize("given", [("text", [], []), ([], "text", []), ([], [], "text"), ([1], [], [])])
def test_names_must_be_texts(given: t.Any) -> None:
    with pytest.raises(AnsibleFilterError, match="must be a list of strings"):
        unknown_names(*given)


def test_an_ini_file_can_hold_the_secrets_alone_or_all_but_them() -> None:
    settings = {
        "admins": {"admin": "-pbkdf2-hash"},
        "chttpd_auth": {"secret": "s", "timeout": 600, "proxy_use_secret": True},
        "replicator": {"proxy": "http://ann:tulip@proxy.example.com/"},
        "log": {"level": "info"},
    }
    shown, hidden = to_ini(settings, secrets=False), to_ini(settings, secrets=True)
    assert "tulip" not in shown
    assert "hash" not in shown
    assert "secret = s" not in shown
    assert "level = info" in shown
    assert "timeout = 600" in shown
    assert "level" not in hidden
    assert sorted((shown + "\n" + hidden).replace("[chttpd_auth]", "").split()) == sorted(
        to_ini(settings).replace("[chttpd_auth]", "").split()
    )


def test_secret_settings_are_named() -> None:
    settings = {
        "admins": {"ann": "tulip"},
        "chttpd_auth": {"secret": "s", "timeout": 600, "proxy_use_secret": True},
        "cors": {"credentials": True, "origins": "https://app.example.org"},
        "jwt_keys": {"hmac:shop": "a2V5", "hmac:old": None},
        "replicator": {"password": "tulip", "proxy": "http://ann:tulip@proxy.example.com/"},
    }
    assert secret_settings(settings) == [
        *("admins/ann", "chttpd_auth/secret", "jwt_keys/hmac:shop", "replicator/password", "replicator/proxy")
    ]
    assert secret_settings({}) == []


@pytest.mark.parametrize("settings", [[], {"log": "info"}, {"chttpd": {"server_options": "[{"}}])
def test_what_couchdb_can_not_have_is_refused_as_by_to_ini(settings: t.Any) -> None:
    with pytest.raises(AnsibleFilterError) as of_file:
        to_ini(settings)
    with pytest.raises(AnsibleFilterError) as of_names:
        secret_settings(settings)
    assert str(of_names.value) == str(of_file.value).replace("to_ini", "secret_settings")


def test_no_example_of_the_role_declares_a_secret_over_http() -> None:
    """With a package, the role refuses them."""
    found = []
    for path in sorted((Path(__file__).parents[4] / "examples").rglob("*.yml")):
        if "couchdb_settings:" not in path.read_text():
            continue
        (loaded,) = [yaml.safe_load(path.read_text())]
        found += [loaded] if isinstance(loaded, dict) else [use["vars"] for play in loaded for use in play["roles"]]
    declared = [variables["couchdb_settings"] for variables in found]
    assert len(declared) > 2
    assert [secret_settings(settings) for settings in declared] == [[] for _settings in declared]
