# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keys that verify JSON web tokens: which are refused, how CouchDB stores them, when two are equal. Pure.

https://docs.couchdb.org/en/stable/api/server/authn.html#jwt-authentication
"""

from __future__ import annotations

import base64
import binascii
import re
import typing as t
from dataclasses import dataclass

from ..errors import InvalidInput
from .names import check_json, key_problem

SECTION = "jwt_keys"
TYPES = ("hmac", "rsa", "ec", "ed")

HANDLERS = ("chttpd", "authentication_handlers")
DEFAULT_HANDLERS = "{chttpd_auth, cookie_authentication_handler}, {chttpd_auth, default_authentication_handler}"
"""What CouchDB 3 uses if the setting is not set."""

_HANDLER = "{chttpd_auth, jwt_authentication_handler}"
_HANDLER_PATTERN = re.compile(r"\{\s*(?:chttpd_auth|couch_httpd_auth)\s*,\s*jwt_authentication_handler\s*\}")

_BEGIN, _END, _DASHES = "-----BEGIN ", "-----END ", "-----"
_PUBLIC, _RSA_PUBLIC = "PUBLIC KEY", "RSA PUBLIC KEY"

_SEQUENCE, _INTEGER, _BITS, _NULL, _NAME = 0x30, 0x02, 0x03, 0x05, 0x06

_ALGORITHMS = {
    "2a864886f70d010101": "rsa",
    "2a8648ce3d0201": "ec",
    "2b6570": "ed",
    "2b6571": "ed",
}
"""The types by the object identifiers of algorithms. RFC 3279, RFC 5480, RFC 8410."""

_RSA_ALGORITHM = bytes.fromhex("300d06092a864886f70d0101010500")

_CURVES = {"2a8648ce3d030107": "P-256", "2b81040022": "P-384", "2b81040023": "P-521"}
"""The curves that CouchDB's algorithms ES256, ES384 and ES512 use."""


@dataclass(frozen=True)
class Key:
    """A key that verifies tokens: its type, and the secret or the DER of a SubjectPublicKeyInfo."""

    type: str
    content: bytes

    def setting(self) -> str:
        """The key as CouchDB stores it in a setting: a secret in Base64, else PEM with C(\\n) for its line ends."""
        string = base64.b64encode(self.content).decode("ascii")
        if self.type == "hmac":
            return string
        lines = [string[at : at + 64] for at in range(0, len(string), 64)]
        return "\\n".join([f"{_BEGIN}{_PUBLIC}{_DASHES}", *lines, f"{_END}{_PUBLIC}{_DASHES}", ""])

    def options(self) -> dict[str, t.Any]:
        """The options of couchdb_jwt_key that declare it: C(type), C(key), and C(base64) for a secret."""
        if self.type == "hmac":
            return {"type": self.type, "key": self.setting(), "base64": True}
        return {"type": self.type, "key": self.setting().replace("\\n", "\n")}


def check_kid(kid: str, option: str) -> None:
    """Raise InvalidInput, naming ``option``, unless CouchDB can find a key by this key id.

    The setting is called TYPE:KID, and is a key of an ini file.
    """
    check_json(kid, option)
    problem = key_problem(f"hmac:{kid}") if kid else "is empty"
    if not problem and (":" in kid or "=" in kid):
        problem = "contains a colon or an equals sign, which divide the names and values of settings"
    if problem:
        raise InvalidInput(option, f"{kid!r} {problem}. Use another key id, also in the header kid of the tokens")


def setting_key(kind: str, kid: str) -> str:
    """The key of the setting that holds a key: C(rsa:KID)."""
    return f"{kind}:{kid}"


def declared(kind: str, string: str, encoded: bool, option: str) -> Key:
    """The key that a task declares. ``encoded``: a secret in Base64.

    Raises InvalidInput, naming ``option``, for anything but a key of this type. No message contains the key.
    """
    if kind == "hmac":
        return Key(kind, _secret(string, encoded, option))
    der = _public(string, option)
    found = _type_of(der)
    if found is None:
        raise InvalidInput(
            option, "contains a public key of an unknown algorithm. Use a key for RSA or for an elliptic curve"
        )
    if found != kind:
        raise InvalidInput(
            option, f"contains a key of the type {found}. Set type: {found}, or use a key of the type {kind}"
        )
    if kind == "ec" and _curve(der) is None:
        raise InvalidInput(
            option, f"contains a key of a curve that no algorithm of tokens uses. Use {', '.join(_CURVES.values())}"
        )
    return Key(kind, der)


def stored(kind: str, string: str) -> Key | None:
    """The key in a setting, None if it is not one that can be compared."""
    try:
        if kind == "hmac":
            return Key(kind, base64.b64decode("".join(string.split()), validate=True))
        der = _public(string.replace("\\n", "\n"), "")
    except (ValueError, InvalidInput):
        return None
    return Key(kind, der) if _type_of(der) == kind else None


def read(kind: str, string: str) -> Key:
    """The key in a setting. Raises InvalidInput for one that no task can declare."""
    secret = kind == "hmac"
    return declared(kind, string if secret else string.replace("\\n", "\n"), secret, "key")


def _secret(string: str, encoded: bool, option: str) -> bytes:
    if _BEGIN in string:
        raise InvalidInput(
            option, "contains PEM, and a key of the type hmac is a secret. Set the type of the public key"
        )
    if not encoded:
        secret = string.encode("utf-8", "surrogatepass")
    else:
        try:
            secret = base64.b64decode("".join(string.split()), validate=True)
        except (binascii.Error, ValueError):
            raise InvalidInput(option, "is not Base64. Encode it, or remove base64") from None
    if not secret:
        raise InvalidInput(option, "is empty, so anyone could sign tokens. Set a secret")
    return secret


def _public(string: str, option: str) -> bytes:
    """The DER of the SubjectPublicKeyInfo in PEM. Raises InvalidInput for anything else."""
    lines = [line.strip() for line in string.strip().splitlines()]
    begins = [line for line in lines if line.startswith(_BEGIN)]
    if len(begins) > 1:
        raise InvalidInput(option, f"contains {len(begins)} PEM blocks. CouchDB reads one: use a key id for each")
    if not begins or not begins[0].endswith(_DASHES):
        raise InvalidInput(option, f"is not PEM. Use a public key that starts with {_BEGIN}{_PUBLIC}{_DASHES}")
    label = begins[0][len(_BEGIN) : -len(_DASHES)]
    if "PRIVATE KEY" in label:
        raise InvalidInput(
            option,
            "contains a private key, which no CouchDB needs. Use the public key: openssl pkey -in FILE -pubout prints it",
        )
    if label not in (_PUBLIC, _RSA_PUBLIC):
        advice = ": openssl x509 -in FILE -pubkey -noout prints it" if label == "CERTIFICATE" else ""
        raise InvalidInput(option, f"contains PEM of the type {label}. Use a public key{advice}")
    if lines[0] != begins[0] or lines[-1] != f"{_END}{label}{_DASHES}":
        raise InvalidInput(
            option, f"is PEM with something before or after the key, or without its line {_END}{label}{_DASHES}"
        )
    try:
        der = base64.b64decode("".join(lines[1:-1]), validate=True)
        if label == _RSA_PUBLIC:
            _check_rsa(der)
            der = _element(_SEQUENCE, _RSA_ALGORITHM + _element(_BITS, b"\0" + der))
        _check_public(der)
    except ValueError:
        raise InvalidInput(option, "is PEM whose content is not a public key. Was it cut or changed?") from None
    return der


# DER, as far as public keys need it. https://www.itu.int/rec/T-REC-X.690


def _element(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def _elements(content: bytes) -> list[tuple[int, bytes]]:
    """The elements of DER: tag and content. Raises ValueError if it is cut."""
    found = []
    while content:
        if len(content) < 2:
            raise ValueError("cut")
        tag, size, start = content[0], content[1], 2
        if size >= 0x80:
            start = 2 + (size & 0x7F)
            size = int.from_bytes(content[2:start], "big")
        if start > len(content) or start + size > len(content):
            raise ValueError("cut")
        found.append((tag, content[start : start + size]))
        content = content[start + size :]
    return found


def _inside(content: bytes, *tags: int) -> list[bytes]:
    """The contents of the elements, which must have these tags. Raises ValueError."""
    found = _elements(content)
    if [tag for tag, _content in found] != list(tags):
        raise ValueError("other elements")
    return [inner for _tag, inner in found]


def _check_rsa(der: bytes) -> None:
    (numbers,) = _inside(der, _SEQUENCE)
    _inside(numbers, _INTEGER, _INTEGER)


def _check_public(der: bytes) -> None:
    (whole,) = _inside(der, _SEQUENCE)
    algorithm, bits = _inside(whole, _SEQUENCE, _BITS)
    if not algorithm or not bits or bits[0] != 0:
        raise ValueError("no key")
    if _type_of(der) == "rsa":
        _check_rsa(bits[1:])


def _algorithm(der: bytes) -> list[tuple[int, bytes]]:
    (whole,) = _inside(der, _SEQUENCE)
    return _elements(_elements(whole)[0][1])


def _type_of(der: bytes) -> str | None:
    tag, name = _algorithm(der)[0]
    return _ALGORITHMS.get(name.hex()) if tag == _NAME else None


def _curve(der: bytes) -> str | None:
    parts = _algorithm(der)
    return _CURVES.get(parts[1][1].hex()) if len(parts) == 2 and parts[1][0] == _NAME else None


# The handler of requests with a token


def with_handler(handlers: str | None, wanted: bool) -> str | None:
    """The setting of the authentication handlers, with or without the one for tokens; all others stay.

    ``handlers`` is the current setting, None if it is not set. The one for tokens comes first: the others ignore its header.
    """
    current = DEFAULT_HANDLERS if handlers is None else handlers
    has = bool(_HANDLER_PATTERN.search(current))
    if has == wanted:
        return handlers
    if wanted:
        return f"{_HANDLER}, {current}"
    others = [
        part.strip() for part in re.split(r"(?<=\})\s*,\s*(?=\{)", current) if not _HANDLER_PATTERN.match(part.strip())
    ]
    return ", ".join(others)
