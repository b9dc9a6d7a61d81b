# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""URLs are taken apart, and credentials that are not encoded are refused without showing them."""

from __future__ import annotations

import base64

import pytest
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules import urls
from ansible_collections.couchpy.couchdb.plugins.module_utils.errors import InvalidInput


@pytest.mark.parametrize(
    ("url", "plain", "username", "password"),
    [
        ("http://host:5984", "http://host:5984/", None, None),
        ("http://admin:p%40ss%2Fword@host:5984/", "http://host:5984/", "admin", "p@ss/word"),
        ("http://admin:p@ss@host/", "http://host/", "admin", "p@ss"),
        ("https://host/at@path", "https://host/at@path/", None, None),
    ],
)
def test_a_url_is_taken_apart(url: str, plain: str, username: str | None, password: str | None) -> None:
    found = urls.server_url(url)
    assert (found.plain, found.username, found.password) == (plain, username, password)


@pytest.mark.parametrize(
    "url",
    [
        "http://admin:c4n@ry/c4n4ry@host:5984/",
        "http://admin:c4n4ry/c4n4ry@host/",
        "http://admin:c4n@4ry#c4n4ry@host/",
        "http://admin:c4n@4ry?c4n4ry@host/",
    ],
)
def test_a_password_that_is_not_encoded_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(InvalidInput, match="^url: ") as caught:
        urls.server_url(url)
    assert "c4n" not in str(caught.value)
    assert "4ry" not in str(caught.value)


@pytest.mark.parametrize(
    ("authorization", "found"),
    [
        (urls.basic_authorization("ann", "p:é w"), ("ann", "p:é w")),
        ("basic  YTpi", ("a", "b")),
        ("Bearer YTpi", None),
        ("Basic YQ==", None),
        ("Basic !", None),
        ("Basic //8=", None),
        ("", None),
    ],
)
def test_the_name_and_the_password_of_a_header(authorization: str, found: tuple[str, str] | None) -> None:
    assert urls.basic_credentials(authorization) == found


@pytest.mark.parametrize(
    ("head", "found"),
    [
        ('{"alg": "HS512", "kid": "a"}', "hmac:a"),
        ('{"alg": "RS256", "kid": "a b"}', "rsa:a b"),
        ('{"alg": "ES256"}', "ec:_default"),
        ('{"alg": "none"}', None),
        ('{"alg": 7}', None),
        ('{"kid": "a"}', None),
        ("[]", None),
        ('"HS256"', None),
        ("no JSON", None),
    ],
)
def test_the_key_of_a_token(head: str, found: str | None) -> None:
    encoded = base64.urlsafe_b64encode(head.encode()).decode().rstrip("=")
    assert urls.token_key(f"Bearer {encoded}.e30.c2ln") == found
    assert urls.token_key(f"Basic {encoded}.e30.c2ln") is None


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer ", "Bearer !", "Bearer a.b.c", "Bearer é"])
def test_what_is_not_a_token_has_no_key(authorization: str) -> None:
    assert urls.token_key(authorization) is None
