# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Declarations as variables of the role: each secret in a variable of its own, everything else as it was."""

from __future__ import annotations

from ansible_collections.couchpy.couchdb.plugins.module_utils._rules import adoption
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules.declaration import PARTS

HASH = "-pbkdf2:sha256-aa,bb,600000"
EMPTY = {f"couchdb_{part}": {} if part == "settings" else [] for part in PARTS}


def test_each_part_gets_a_variable_also_when_it_is_empty() -> None:
    assert adoption.variables({}) == (EMPTY, {})


def test_secrets_become_references() -> None:
    declared = {
        "settings": {"smtp": {"password": "c4n4ry"}, "log": {"level": "debug"}},
        "jwt_keys": [{"kid": "_default", "type": "hmac", "key": "YzRuNHJ5", "base64": True}],
        "admins": [{"name": "admin", "password_hash": HASH}, {"name": "Ops", "password_hash": HASH}],
        "users": [{"name": "ann", "roles": ["a"], "password_hash": HASH, "attributes": {"api_key": ["k"], "x": 1}}],
        "replications": [{"name": "r", "source": "http://u:pw@h/a", "target": {"url": "http://h/b", "password": "p"}}],
        "members": ["a@127.0.0.1", "b@127.0.0.1"],
    }
    plain, secrets = adoption.variables(declared, login="admin")
    assert secrets == {
        "vault_couchdb_settings_smtp_password": "c4n4ry",
        "vault_couchdb_jwt_keys_default_key": "YzRuNHJ5",
        "vault_couchdb_admins_ops_password_hash": HASH,
        "vault_couchdb_users_ann_password_hash": HASH,
        "vault_couchdb_users_ann_attributes_api_key": ["k"],
        "vault_couchdb_replications_r_source": "http://u:pw@h/a",
        "vault_couchdb_replications_r_target_password": "p",
    }
    assert plain == {
        **EMPTY,
        "couchdb_settings": {
            "smtp": {"password": "vault_couchdb_settings_smtp_password"},
            "log": {"level": "debug"},
        },
        "couchdb_jwt_keys": [
            {"kid": "_default", "type": "hmac", "key": "vault_couchdb_jwt_keys_default_key", "base64": True}
        ],
        "couchdb_admins": [{"name": "Ops", "password_hash": "vault_couchdb_admins_ops_password_hash"}],
        "couchdb_users": [
            {
                "name": "ann",
                "roles": ["a"],
                "password_hash": "vault_couchdb_users_ann_password_hash",
                "attributes": {"api_key": "vault_couchdb_users_ann_attributes_api_key", "x": 1},
            }
        ],
        "couchdb_replications": [
            {
                "name": "r",
                "source": "vault_couchdb_replications_r_source",
                "target": {"url": "http://h/b", "password": "vault_couchdb_replications_r_target_password"},
            }
        ],
        "couchdb_cluster_members": ["a@127.0.0.1", "b@127.0.0.1"],
    }
    assert isinstance(plain["couchdb_admins"][0]["password_hash"], adoption.Reference)
    assert not isinstance(plain["couchdb_users"][0]["name"], adoption.Reference)


def test_names_that_become_the_same_stay_apart() -> None:
    users = [{"name": name, "password_hash": HASH + name} for name in ("a-b", "a b", "Ä", "~")]
    _plain, secrets = adoption.variables({"users": users})
    assert list(secrets) == [
        "vault_couchdb_users_a_b_password_hash",
        "vault_couchdb_users_a_b_password_hash_2",
        "vault_couchdb_users_password_hash",
        "vault_couchdb_users_password_hash_2",
    ]
    assert list(secrets.values()) == [HASH + name for name in ("a-b", "a b", "Ä", "~")]
