# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What must not be shown: masks URLs, texts, documents, settings and diffs. Pure.

A setting is secret by its section and key (https://docs.couchdb.org/en/stable/config/index.html),
a field of a document by its name. Everything else is shown as it is, but for credentials in URLs.
"""

from __future__ import annotations

import re
import typing as t
from urllib.parse import unquote

MASK = "********"
CHANGED = " (changed)"

_SECRET_SECTIONS = frozenset(["admins", "jwt_keys"])
_SECRET_SETTING = re.compile(r"(^|_)(password|passwd|secret|passphrase|token|api_?key|private_key)$", re.IGNORECASE)
_SECRET_FIELD = re.compile(
    r"^(.*[_-])?(password|passwd|secret|passphrase|token|api[_-]?key)$"
    r"|^(derived_key|password_sha|salt|authorization|proxy-authorization|cookie|set-cookie)$",
    re.IGNORECASE,
)
_SECRET_HEADER = re.compile(r"authorization|cookie|token|secret|password|api-?key", re.IGNORECASE)
# Up to the last @ before the path; after a colon that no port follows, up to the last @ of all: a slash in a password.
_URL_CREDENTIALS = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*://)(?:[^/\s\"'<>]*@|[^/\s\"'<>@:]*:(?!\d{1,5}/)[^\s\"'<>]*@)", re.IGNORECASE
)


def is_secret_setting(section: str, key: str) -> bool:
    """Whether the value of a setting is one to hide: C(admins), C(jwt_keys), passwords, secrets, tokens."""
    return section in _SECRET_SECTIONS or bool(_SECRET_SETTING.search(key))


def is_secret_header(name: str) -> bool:
    """Whether the value of an HTTP header is one to hide: credentials, cookies, tokens, keys."""
    return bool(_SECRET_HEADER.search(name))


def mask_url(url: str) -> str:
    """An address without its credentials, also when they hold characters that should have been encoded."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return MASK + "@" + url.rpartition("@")[2] if "@" in url else url
    authority, slash, path = rest.partition("/")
    if "@" in authority:
        return scheme + separator + MASK + "@" + authority.rpartition("@")[2] + slash + path
    if "@" in path and ":" in authority and not re.match(r"[0-9]{1,5}\Z", authority.rpartition(":")[2]):
        # An unencoded slash in the password: all up to the last @ is secret.
        return scheme + separator + MASK + "@" + path.rpartition("@")[2]
    return url


def mask_text(text: str, secrets: t.Iterable[str] = ()) -> str:
    """A text without the credentials of the URLs in it, and without any of the given secrets."""
    masked = _URL_CREDENTIALS.sub(lambda found: found.group("scheme") + MASK + "@", text)
    for secret in secrets:
        if secret:
            masked = masked.replace(secret, MASK)
    return masked


def mask_value(value: t.Any, secrets: t.Collection[str]) -> t.Any:
    """A JSON value with each of the given secrets masked in every string, however deep; keys stay as they are."""
    if isinstance(value, t.Mapping):
        return {name: mask_value(item, secrets) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [mask_value(item, secrets) for item in value]
    if not isinstance(value, str):
        return value
    # The longest first: one secret may be a part of another.
    for secret in sorted(secrets, key=len, reverse=True):
        value = value.replace(secret, MASK)
    return value


def mask_setting(section: str, key: str, value: t.Any) -> t.Any:
    """The value of a setting as it may be shown. None (no such setting) stays None."""
    if value is None:
        return None
    if is_secret_setting(section, key):
        return MASK
    return mask_text(value) if isinstance(value, str) else value


def mask_settings(settings: t.Mapping[str, t.Mapping[str, t.Any]]) -> dict[str, dict[str, t.Any]]:
    """All settings of a node (section → key → value) as they may be shown."""
    return {
        section: {key: mask_setting(section, key, value) for key, value in keys.items()}
        for section, keys in settings.items()
    }


def mask_document(value: t.Any) -> t.Any:
    """A JSON value with every secret field hidden, however deep, and URLs without credentials."""
    if isinstance(value, t.Mapping):
        return {
            name: MASK
            if isinstance(name, str) and _SECRET_FIELD.match(name) and held not in (None, "", {}, [])
            else mask_document(held)
            for name, held in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [mask_document(item) for item in value]
    return mask_text(value) if isinstance(value, str) else value


def mask_change(what: str, path: t.Sequence[str], before: t.Any, after: t.Any) -> tuple[t.Any, t.Any]:
    """Both sides of a difference as they may be shown.

    ``what`` is the kind of thing; for a C(setting) the last two parts of ``path`` are its section and
    key. A secret that changes is shown as hidden and changed, so that the difference can be seen and
    the secret can't.
    """
    if what == "setting":
        section, key = path[-2:]
        shown_before, shown_after = (mask_setting(section, key, value) for value in (before, after))
    else:
        shown_before, shown_after = mask_document(before), mask_document(after)
    return shown_before, _mark_changed(before, after, shown_before, shown_after)


def _mark_changed(before: t.Any, after: t.Any, shown_before: t.Any, shown_after: t.Any) -> t.Any:
    """``shown_after``, with a mark at each hidden text that is another than before."""
    if isinstance(shown_after, dict) and isinstance(shown_before, dict):
        return {
            name: _mark_changed(before[name], after[name], shown_before[name], value) if name in shown_before else value
            for name, value in shown_after.items()
        }
    if before != after and shown_before == shown_after and isinstance(shown_after, str):
        return shown_after + CHANGED
    return shown_after


def url_secrets(url: str) -> set[str]:
    """The password inside an address, as written and decoded, also when characters in it should have been encoded."""
    credentials = url.rpartition("@")[0].rpartition("://")[2]
    password = credentials.partition(":")[2]
    return {password, unquote(password)} - {""}


def text_secrets(text: str) -> set[str]:
    """The passwords inside the URLs of a text, as written and decoded, for those who must hide them."""
    found: set[str] = set()
    for match in _URL_CREDENTIALS.finditer(text):
        password = match.group()[len(match.group("scheme")) : -1].partition(":")[2]
        found |= {password, unquote(password)} - {""}
    return found


def setting_secrets(settings: t.Mapping[t.Any, t.Any]) -> set[str]:
    """The texts to hide in settings that somebody declares (section → key → value), whatever their shape.

    These are the values of secret keys, and the passwords in addresses.
    """
    found: set[str] = set()
    for section, keys in settings.items():
        for key, value in keys.items() if isinstance(keys, t.Mapping) else ():
            secret = is_secret_setting(str(section), str(key))
            for text in _texts(value):
                found |= {text, text.strip()} if secret else text_secrets(text)
    return found


def document_secrets(value: t.Any) -> set[str]:
    """The texts to hide in a document that somebody declares: what mask_document would hide of it."""
    found: set[str] = set()
    if isinstance(value, t.Mapping):
        for name, held in value.items():
            if isinstance(name, str) and _SECRET_FIELD.match(name):
                found.update(_texts(held))
            else:
                found |= document_secrets(held)
    elif isinstance(value, (list, tuple)):
        for item in value:
            found |= document_secrets(item)
    elif isinstance(value, str):
        found |= text_secrets(value)
    return found


def _texts(value: t.Any) -> t.Iterator[str]:
    """The texts and numbers in a value, however deep, as texts."""
    if isinstance(value, t.Mapping):
        for held in value.values():
            yield from _texts(held)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)
    elif value is not None and not isinstance(value, bool):
        yield str(value)
