# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""CouchDB's password hashes: parse, verify, derive. Pure.

An admin's hash is one string in the section C(admins); a user's is several fields of the user's
document. The forms, and the version that brought each:

* ``-hashed-SHA1,salt``: SHA-1 over password and salt (before 1.3);
* ``-pbkdf2-KEY,salt,iterations``: PBKDF2 with SHA-1 (1.3);
* ``-pbkdf2:PRF-KEY,salt,iterations``: PBKDF2 with the named function, SHA-256 by default (3.4).

The derivation uses the salt as a string, not as the bytes of its hex digits.

See https://docs.couchdb.org/en/stable/config/auth.html#admins and
https://docs.couchdb.org/en/stable/intro/security.html#authentication-database.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import typing as t
from dataclasses import dataclass

from ..errors import InvalidInput
from .dialect import MOST_ITERATIONS
from .names import check_json, text_problem

_Item = t.TypeVar("_Item")
_Result = t.TypeVar("_Result")

SIMPLE = "simple"
PBKDF2 = "pbkdf2"

# CouchDB's names of the pseudo-random functions and hashlib's; "sha" is how CouchDB spells SHA-1.
_HASHLIB_NAME = {
    "sha": "sha1",
    "sha224": "sha224",
    "sha256": "sha256",
    "sha384": "sha384",
    "sha512": "sha512",
}

_SIMPLE_TEXT = re.compile(r"^-hashed-(?P<key>[0-9a-f]{40}),(?P<salt>[^,\s]+)\Z", re.IGNORECASE)
_PBKDF2_TEXT = re.compile(
    r"^-pbkdf2(:(?P<prf>[a-z0-9]+))?-(?P<key>[0-9a-f]+),(?P<salt>[^,\s]+),(?P<iterations>[1-9][0-9]*)\Z",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class PasswordHash:
    """A parsed hash: ``scheme`` simple or pbkdf2, ``prf`` in CouchDB's spelling, ``key`` in hex digits."""

    scheme: str
    prf: str
    key: str
    salt: str
    iterations: int | None = None

    def __str__(self) -> str:
        """The string in the section C(admins)."""
        if self.scheme == SIMPLE:
            return f"-hashed-{self.key},{self.salt}"
        prf = "" if self.prf == "sha" else ":" + self.prf
        return f"-pbkdf2{prf}-{self.key},{self.salt},{self.iterations}"

    def __repr__(self) -> str:
        return f"<PasswordHash {self.scheme} {self.prf} {self.iterations}>"

    def user_fields(self) -> dict[str, t.Any]:
        """The fields of a user's document for this hash."""
        if self.scheme == SIMPLE:
            return {"password_scheme": SIMPLE, "password_sha": self.key, "salt": self.salt}
        fields = {
            "password_scheme": PBKDF2,
            "derived_key": self.key,
            "salt": self.salt,
            "iterations": self.iterations,
        }
        if self.prf != "sha":
            fields["pbkdf2_prf"] = self.prf
        return fields


def parse(text: str) -> PasswordHash:
    """Read a hash as the section C(admins) has it. Raises ValueError unless CouchDB knows its form."""
    found = _SIMPLE_TEXT.match(text)
    if found:
        return PasswordHash(SIMPLE, "sha", found.group("key").lower(), found.group("salt"))
    found = _PBKDF2_TEXT.match(text)
    if not found:
        raise ValueError("not a password hash of CouchDB")
    prf = (found.group("prf") or "sha").lower()
    if int(found.group("iterations")) > MOST_ITERATIONS:
        raise ValueError("a password hash with more iterations than can be computed")
    if prf not in _HASHLIB_NAME:
        raise ValueError(f"a password hash with the function {prf}, which CouchDB does not know")
    key = found.group("key").lower()
    if len(key) != 2 * hashlib.new(_HASHLIB_NAME[prf]).digest_size:
        raise ValueError(f"a password hash whose key has {len(key)} digits, which is not the length that {prf} gives")
    return PasswordHash(PBKDF2, prf, key, found.group("salt"), int(found.group("iterations")))


def parse_or_none(text: str) -> PasswordHash | None:
    """Like parse, but None for anything but a hash that CouchDB knows."""
    try:
        return parse(text)
    except ValueError:
        return None


def parse_user(document: t.Mapping[str, t.Any]) -> PasswordHash | None:
    """The hash in a user's document, None if it has none that can be verified here."""
    scheme = document.get("password_scheme", SIMPLE if "password_sha" in document else None)
    try:
        if scheme == SIMPLE:
            return parse(f"-hashed-{document['password_sha']},{document['salt']}")
        if scheme == PBKDF2:
            prf = document.get("pbkdf2_prf", "sha")
            return parse(f"-pbkdf2:{prf}-{document['derived_key']},{document['salt']},{document['iterations']}")
    except (KeyError, ValueError):
        return None
    return None


def _pbkdf2(password: str, prf: str, salt: str, iterations: int) -> str:
    return hashlib.pbkdf2_hmac(_HASHLIB_NAME[prf], password.encode(), salt.encode(), iterations).hex()


def verify(password: str, stored: PasswordHash) -> bool:
    """Whether the hash is that of the password. Takes one derivation, and sends nothing."""
    if stored.scheme == SIMPLE:
        key = hashlib.sha1((password + stored.salt).encode()).hexdigest()
    else:
        key = _pbkdf2(password, stored.prf, stored.salt, stored.iterations or 1)
    return hmac.compare_digest(key, stored.key)


def new_salt() -> str:
    """A random salt of 128 bits, as hex digits."""
    return secrets.token_hex(16)


def derive(password: str, *, prf: str, iterations: int, salt: str | None = None) -> PasswordHash:
    """Hash a password with PBKDF2. Without ``salt`` (a string), a random one of 128 bits is used.

    Raises InvalidInput if the password is empty, CouchDB does not know the function, or the
    iterations are below 1.
    """
    if not password:
        raise InvalidInput("password", "is empty, which CouchDB refuses. Set a password")
    if prf not in _HASHLIB_NAME:
        raise InvalidInput("prf", f"is {prf}. Use one of {', '.join(_HASHLIB_NAME)}")
    if not 1 <= iterations <= MOST_ITERATIONS:
        raise InvalidInput("iterations", f"is {iterations}. Set 1 to {MOST_ITERATIONS}")
    if salt is None:
        salt = new_salt()
    if not salt or re.search(r"[,\s]", salt):
        raise InvalidInput("salt", "must be a string without commas and spaces")
    problem = text_problem(salt)
    if problem:
        raise InvalidInput("salt", f"{problem}. Use letters and digits")
    return PasswordHash(PBKDF2, prf, _pbkdf2(password, prf, salt, iterations), salt, iterations)


def in_threads(work: t.Callable[[_Item], _Result], items: t.Sequence[_Item]) -> list[_Result]:
    """Do work that derives keys for each item, as many at the same time as the host has cores; results in the order of the items."""
    cores = os.cpu_count() or 1
    if len(items) < 2 or cores < 2:
        return [work(item) for item in items]
    # Threads are enough: hashlib releases the interpreter's lock while it derives.
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(cores) as pool:
        return list(pool.map(work, items))


def check_given(given: t.Mapping[str, t.Any], where: str = "", *, in_settings: bool = False) -> None:
    """Raise InvalidInput for an empty C(password), or a C(password_hash) that is not a hash.

    ``where`` is the prefix of the options in the error. ``in_settings``: the hash must fit into a setting, as an admin's.
    """
    if given["password"] == "":
        raise InvalidInput(f"{where}password", "is empty, which CouchDB refuses. Set a password")
    check_json(given["password"], f"{where}password")
    if given["password_hash"] is not None:
        try:
            parse(given["password_hash"])
        except ValueError as error:
            raise InvalidInput(f"{where}password_hash", f"is {error}") from None
        problem = in_settings and text_problem(given["password_hash"])
        if problem:
            raise InvalidInput(f"{where}password_hash", f"{problem}. Make it with another salt")


def settle(
    stored: t.Sequence[PasswordHash],
    password: str | None,
    password_hash: str | None,
    hashing: t.Mapping[str, t.Any],
    salt: str,
) -> PasswordHash:
    """The desired hash for a password or a prepared hash, if these are ``stored``.

    A stored hash of the password is kept. Otherwise a new one is made with ``salt`` and ``hashing`` (C(prf),
    C(iterations)).
    Takes a derivation for each stored hash until one fits, and one for a new hash.
    """
    if password_hash is not None:
        return parse(password_hash)
    wanted = password or ""
    for known in stored:
        if verify(wanted, known):
            return known
    return derive(wanted, salt=salt, **hashing)
