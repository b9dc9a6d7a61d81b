# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""_passwords: the hash formats, checked against hashes that real servers made."""

from __future__ import annotations

import hashlib
import typing as t

import pytest
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules import passwords as rules
from ansible_collections.couchpy.couchdb.plugins.module_utils.errors import InvalidInput

# (password, hash), as CouchDB 3.4.3 made and took them.
RECORDED = [
    (
        "pw",
        "-pbkdf2:sha256-1f51af2fb9f68315e279491de02b8cc00290db8fbf2ea81e3ae562c0884abea5,"
        "684ab5f3fe657e6a1e7399657c45834e,600000",
    ),
    ("fargo", "-pbkdf2-33dd85e33618b30a29bec5d9175eace4e4c92aaf,7aa3f5773278176f22d87a545877a35e,10"),
]


@pytest.mark.parametrize(("password", "text"), RECORDED)
def test_a_recorded_hash_is_verified(password: str, text: str) -> None:
    stored = rules.parse(text)
    assert str(stored) == text
    assert rules.verify(password, stored)
    assert not rules.verify(password + "x", stored)


def test_the_oldest_scheme_is_sha1_over_password_and_salt() -> None:
    text = f"-hashed-{hashlib.sha1(b'secretsalt').hexdigest()},salt"
    assert rules.verify("secret", rules.parse(text))
    assert not rules.verify("Secret", rules.parse(text))
    assert str(rules.parse(text)) == text


@pytest.mark.parametrize("prf", ["sha", "sha224", "sha256", "sha384", "sha512"])
def test_what_is_derived_is_verified(prf: str) -> None:
    derived = rules.derive("pässword", prf=prf, iterations=3)
    assert rules.verify("pässword", rules.parse(str(derived)))
    assert rules.parse_user(derived.user_fields()) == derived


def test_the_same_salt_gives_the_same_hash_and_none_gives_another_each_time() -> None:
    def derive(salt: str | None = None) -> str:
        return str(rules.derive("secret", prf="sha256", iterations=1, salt=salt))

    assert derive("abc") == derive("abc")
    assert derive() != derive()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "secret",
        "-pbkdf2-",
        "-pbkdf2-xyz,salt,10",
        "-pbkdf2-33dd,salt,10",
        "-pbkdf2:md5-33dd85e33618b30a29bec5d9175eace4e4c92aaf,salt,10",
        "-pbkdf2:sha256-33dd85e33618b30a29bec5d9175eace4e4c92aaf,salt,10",
        "-pbkdf2-33dd85e33618b30a29bec5d9175eace4e4c92aaf,salt,0",
        "-pbkdf2-33dd85e33618b30a29bec5d9175eace4e4c92aaf,,10",
        "-hashed-33dd,salt",
        "-hashed-33dd85e33618b30a29bec5d9175eace4e4c92aaf",
    ],
)
def test_what_is_no_hash_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="password hash"):
        rules.parse(text)


@pytest.mark.parametrize(
    "document",
    [{}, {"password_scheme": "pbkdf2"}, {"password_scheme": "new", "derived_key": "x"}, {"password_sha": "x"}],
)
def test_a_user_without_a_known_hash_has_none(document: dict[str, str]) -> None:
    assert rules.parse_user(document) is None


@pytest.mark.parametrize(
    "wrong", [{"password": ""}, {"prf": "md5"}, {"iterations": 0}, {"salt": "a,b"}, {"salt": "a b"}, {"salt": ""}]
)
def test_what_can_not_be_derived_is_refused(wrong: dict[str, object]) -> None:
    given: dict[str, t.Any] = {"password": "secret", "prf": "sha256", "iterations": 1, "salt": "abc", **wrong}
    with pytest.raises(InvalidInput, match=next(iter(wrong))):
        rules.derive(**given)


def test_no_hash_is_in_its_repr() -> None:
    derived = rules.derive("secret", prf="sha256", iterations=1)
    assert derived.key not in repr(derived)
    assert derived.salt not in repr(derived)


@pytest.mark.parametrize("salt", ["", "a,b", "a b", "☃", "a\x7f"])
def test_a_salt_that_no_setting_can_have_is_refused(salt: str) -> None:
    with pytest.raises(InvalidInput, match="^salt: "):
        rules.derive("pw", prf="sha256", iterations=1, salt=salt)


def test_a_hash_for_an_admin_must_fit_into_a_setting() -> None:
    given = {"password": None, "password_hash": "-pbkdf2:sha256-" + "0" * 64 + ",☃,1"}
    rules.check_given(given)
    with pytest.raises(InvalidInput, match=r"^admins\[0\].password_hash: contains '☃', which Latin-1 does not have"):
        rules.check_given(given, "admins[0].", in_settings=True)
