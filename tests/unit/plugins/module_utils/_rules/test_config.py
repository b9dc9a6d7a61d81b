# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Settings that CouchDB can hold are accepted as it spells them, and no others."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules import config
from ansible_collections.couchpy.couchdb.plugins.module_utils.errors import InvalidInput

OPTIONS = {"section": "the section", "key": "the key", "value": "the value"}


@pytest.mark.parametrize(
    ("section", "key", "text", "named"),
    [
        ("admins", "bob", "x", "couchdb_admin"),
        ("query_servers", "js", "x", "the section"),
        ("feature_flags", "js", None, "the section"),
        ("", "a", "x", "the section"),
        ("a]b", "a", "x", "the section"),
        ("a b", "a", "x", "the section"),
        ("a\n", "a", "x", "the section"),
        ("a", "", "x", "the key"),
        ("a", " a", "x", "the key"),
        ("a", "a ", "x", "the key"),
        ("a", "a[b", "x", "the key"),
        ("a", "a\nb", "x", "the key"),
        ("a", ";a", "x", "the key"),
        ("a", "a ;b", "x", "the key"),
        ("a", "a = b", "x", "the key"),
        ("a", "voilà", "x", "the key"),
        ("a", "..", "x", "the key"),
        ("..", "a", "x", "the section"),
        ("chttpd", "port", "x", "the value"),
        ("chttpd", "port", "0", "the value"),
        ("chttpd", "port", "65536", "the value"),
        ("chttpd", "port", "-1", "the value"),
        ("chttpd", "port", "", "the value"),
        ("httpd", "port", "5984 ", "the value"),
        ("ssl", "port", "x", "the value"),
        ("chttpd", "bind_address", "localhost", "the value"),
        ("chttpd", "bind_address", "", "the value"),
        ("chttpd", "bind_address", "*", "the value"),
        ("chttpd_auth", "password_scheme", "md5", "the value"),
        ("chttpd_auth", "pbkdf2_prf", "md5", "the value"),
    ],
)
def test_a_setting_that_must_not_be_written_is_refused(section: str, key: str, text: str | None, named: str) -> None:
    with pytest.raises(InvalidInput, match=named):
        config.check_setting(section, key, text, OPTIONS)


@pytest.mark.parametrize(
    ("section", "key", "text"),
    [
        ("chttpd", "port", "5984"),
        ("chttpd", "port", None),
        ("chttpd", "bind_address", "any"),
        ("chttpd", "bind_address", "0.0.0.0"),
        ("chttpd", "bind_address", "::1"),
        ("chttpd_auth", "pbkdf2_prf", "sha512"),
        ("other", "port", "x"),
        ("a.b_c-d", "a/b c", "x"),
        ("a", "a=b;c%", "x"),
    ],
)
def test_a_setting_that_can_be_written_is_let_through(section: str, key: str, text: str | None) -> None:
    config.check_setting(section, key, text, OPTIONS)


@pytest.mark.parametrize(
    ("wanted", "held", "same"),
    [
        ("a", "a", True),
        ("a", " a ", True),
        ("a", "b", False),
        ("a", None, False),
        (None, None, True),
        (None, "a", False),
        (None, "", True),
        ("", None, True),
        ("", "", True),
        ("", "a", False),
        ("true", True, True),
        ("5", 5, True),
        ("a", 5, False),
        ("[1, 2]", [1, 2], True),
    ],
)
def test_same_setting(wanted: str | None, held: t.Any, same: bool) -> None:
    assert config.same_setting(wanted, held) is same


def test_what_needs_a_restart_and_what_becomes_a_comment_is_known() -> None:
    assert config.needs_restart("couchdb", "database_dir")
    assert not config.needs_restart("log", "level")
    assert config.comment_warning("a", "b", "x ; y") is not None
    assert config.comment_warning("a", "b", ";x") is not None
    assert config.comment_warning("a", "b", "x;y") is None
