# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keys of tokens: how they are read, stored and compared, and which are refused, without a word of them in the error."""

from __future__ import annotations

import base64

import pytest
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules import jwt_keys as rules
from ansible_collections.couchpy.couchdb.plugins.module_utils.errors import InvalidInput

RSA = """-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDVVz9vdVEx+oB6ScIwYe95qvsc
hHJ70uwXtSWzx8xpEVLnajvq8IIuvP6KTdcPj0fudDEEzYUtTexC+LwhC0j3GQrI
4HAI/QtUxCwqwqxAdtRPvYC2IrL2Uly7MoV1vubvdB8qJSwM2nz7VoGqy9bxmIr+
ChyaaKTIhP5L0BB0nQIDAQAB
-----END PUBLIC KEY-----
"""
EC = """-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE4mffUA+JH4hUDlQsLc8UUSFt0b7v
y62B6DhwhsDsX0NG61KJfXxYUPK2lXcRcgwqkkpOOk6JGrfeFNLGoqY2hg==
-----END PUBLIC KEY-----
"""
ED = """-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----
"""


def pem(label: str, content: bytes = b"c4n4ry") -> str:
    return f"-----BEGIN {label}-----\n{base64.b64encode(content).decode()}\n-----END {label}-----\n"


def body(text: str) -> bytes:
    return base64.b64decode("".join(text.strip().splitlines()[1:-1]))


# The same key without the name of its algorithm: PKCS #1.
PKCS1 = pem("RSA PUBLIC KEY", body(RSA)[22:])


@pytest.mark.parametrize(("kind", "text"), [("rsa", RSA), ("ec", EC), ("ed", ED)])
def test_a_public_key_is_stored_as_couchdb_needs_it(kind: str, text: str) -> None:
    key = rules.declared(kind, text, False, "key")
    assert key.setting() == text.replace("\n", "\\n")
    assert rules.stored(kind, key.setting()) == key


@pytest.mark.parametrize(
    "text",
    [
        RSA.strip(),
        RSA.replace("\n", "\r\n"),
        "\n  " + RSA.replace("\n", "\n  "),
        "\n".join(["-----BEGIN PUBLIC KEY-----", base64.b64encode(body(RSA)).decode(), "-----END PUBLIC KEY-----"]),
        PKCS1,
    ],
)
def test_a_key_is_the_same_however_it_is_spelt(text: str) -> None:
    assert rules.declared("rsa", text, False, "key") == rules.declared("rsa", RSA, False, "key")
    assert rules.stored("rsa", text.strip().replace("\r", "").replace("\n", "\\n")) == rules.declared(
        "rsa", RSA, False, "key"
    )


def test_a_secret_is_stored_in_base64() -> None:
    assert rules.declared("hmac", "hello", False, "key").setting() == "aGVsbG8="
    assert rules.declared("hmac", " aGVs\nbG8=\n", True, "key") == rules.declared("hmac", "hello", False, "key")
    assert rules.stored("hmac", "aGVsbG8=") == rules.declared("hmac", "hello", False, "key")
    assert rules.declared("hmac", "other", False, "key") != rules.declared("hmac", "hello", False, "key")


@pytest.mark.parametrize(
    ("kind", "text"),
    [("hmac", "no Base64!"), ("rsa", "x"), ("rsa", EC.replace("\n", "\\n")), ("ec", ""), ("rsa", pem("PUBLIC KEY"))],
)
def test_what_is_stored_may_be_anything(kind: str, text: str) -> None:
    assert rules.stored(kind, text) is None


@pytest.mark.parametrize(
    ("kind", "text", "encoded", "says"),
    [
        ("rsa", "c4n4ry", False, "is not PEM"),
        ("rsa", "", False, "is not PEM"),
        ("rsa", base64.b64encode(body(RSA)).decode(), False, "is not PEM"),
        ("rsa", pem("PRIVATE KEY"), False, "private key, which no CouchDB needs. .*-pubout"),
        ("ec", pem("EC PRIVATE KEY"), False, "private key"),
        ("rsa", pem("ENCRYPTED PRIVATE KEY"), False, "private key"),
        ("rsa", pem("CERTIFICATE"), False, "PEM of the type CERTIFICATE. Use a public key: openssl x509"),
        ("rsa", pem("EC PARAMETERS"), False, "PEM of the type EC PARAMETERS"),
        ("rsa", RSA + EC, False, "contains 2 PEM blocks"),
        ("rsa", "c4n4ry\n" + RSA, False, "something before or after the key"),
        ("rsa", RSA.strip().rpartition("\n")[0], False, "without its line -----END PUBLIC KEY-----"),
        ("rsa", pem("PUBLIC KEY"), False, "content is not a public key"),
        ("rsa", pem("PUBLIC KEY", body(RSA)[:-1]), False, "content is not a public key"),
        ("rsa", pem("PUBLIC KEY", body(RSA) + b"x"), False, "content is not a public key"),
        ("rsa", pem("RSA PUBLIC KEY", body(RSA)), False, "content is not a public key"),
        ("rsa", pem("PUBLIC KEY", b""), False, "content is not a public key"),
        ("rsa", RSA.replace("MIGf", "MI!f"), False, "content is not a public key"),
        ("ec", RSA, False, "key of the type rsa. Set type: rsa, or use a key of the type ec"),
        ("rsa", EC, False, "key of the type ec"),
        ("ed", RSA, False, "key of the type rsa"),
        (
            "ec",
            pem("PUBLIC KEY", body(EC).replace(bytes.fromhex("2a8648ce3d030107"), bytes.fromhex("2a8648ce3d030101"))),
            False,
            "curve",
        ),
        (
            "ec",
            pem("PUBLIC KEY", body(EC).replace(bytes.fromhex("2a8648ce3d0201"), bytes.fromhex("2a8648ce3d0209"))),
            False,
            "unknown algorithm",
        ),
        ("hmac", RSA, False, "contains PEM"),
        ("hmac", "", False, "is empty"),
        ("hmac", " ", True, "is empty"),
        ("hmac", "c4n4ry!", True, "is not Base64"),
    ],
)
def test_what_is_not_a_key_of_its_type_is_refused(kind: str, text: str, encoded: bool, says: str) -> None:
    with pytest.raises(InvalidInput, match=f"^jwt_keys\\[0\\].key: .*{says}") as caught:
        rules.declared(kind, text, encoded, "jwt_keys[0].key")
    assert "c4n4ry" not in str(caught.value)
    assert all(line not in str(caught.value) for line in text.splitlines() if len(line) > 40)


@pytest.mark.parametrize("kid", ["_default", "a", "2026-01", "a b", "a/b", "é"])
def test_a_key_id_is_accepted(kid: str) -> None:
    rules.check_kid(kid, "kid")
    assert rules.setting_key("rsa", kid) == f"rsa:{kid}"


@pytest.mark.parametrize("kid", ["", "a:b", "a=b", "=", "[a]", "a ", "a\nb", "a ;b", "☃", "\ud800", "voilà"])
def test_a_key_id_that_no_setting_can_have_is_refused(kid: str) -> None:
    with pytest.raises(InvalidInput, match="^kid: "):
        rules.check_kid(kid, "kid")


JWT = "{chttpd_auth, jwt_authentication_handler}"
COOKIE, BASIC = "{chttpd_auth, cookie_authentication_handler}", "{chttpd_auth, default_authentication_handler}"


@pytest.mark.parametrize(
    ("handlers", "wanted", "expected"),
    [
        (None, True, f"{JWT}, {COOKIE}, {BASIC}"),
        (None, False, None),
        (f"{COOKIE}, {BASIC}", True, f"{JWT}, {COOKIE}, {BASIC}"),
        (f"{{mine, own}},{BASIC}", True, f"{JWT}, {{mine, own}},{BASIC}"),
        (f"{COOKIE},{JWT} , {BASIC}", True, f"{COOKIE},{JWT} , {BASIC}"),
        (f"{COOKIE},{{ chttpd_auth,jwt_authentication_handler }} , {BASIC}", False, f"{COOKIE}, {BASIC}"),
        (f"{JWT}, {{mine, own}}, {BASIC}", False, f"{{mine, own}}, {BASIC}"),
        (f"{COOKIE}, {BASIC}", False, f"{COOKIE}, {BASIC}"),
    ],
)
def test_the_handler_of_tokens_comes_and_goes_and_others_stay(
    handlers: str | None, wanted: bool, expected: str | None
) -> None:
    assert rules.with_handler(handlers, wanted) == expected
