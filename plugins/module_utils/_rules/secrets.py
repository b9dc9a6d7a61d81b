# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Secrets: which values are secret, and how URLs, strings, documents, settings and diffs are masked. Pure.

A setting is secret by its section and key (https://docs.couchdb.org/en/stable/config/index.html),
a field of a document by its name. Everything else is shown as it is, but for credentials in URLs.
"""

from __future__ import annotations

import re
import typing as t
from collections.abc import Mapping
from urllib.parse import unquote

from .names import is_deeper
from .values import equal

MASK = "********"
CHANGED = " (changed)"

_MESSAGES = frozenset(["msg", "reason", "exception", "warnings"])
"""The return values that a person reads."""

_SHORTEST = 4
"""Shorter secrets are not searched for in other strings: they would be found in every word."""

_SHORTEST_WORD = 16
"""A secret that is a word or a number is searched for in other strings only from this length on."""

_SHOWN_LEVELS = 100
"""How deep a difference shows lists and mappings: Ansible prints no deeper ones."""

_DEEPER = "(nested deeper than is shown)"

_HAND_TO_ANSIBLE = 50
"""The number of secrets that Ansible gets at most: it searches for each of them in each string of a result."""

_SECRET_SECTIONS = frozenset(["admins", "jwt_keys"])
_NOT_SECRET = {("chttpd_auth", "x_auth_token"), ("couch_httpd_auth", "x_auth_token"), ("cors", "credentials")}
"""Settings that sound secret: the name of a header, a switch, also of cors:host."""

_SECRET_ENDS = (
    *("password", "passwd", "passphrase", "secret", "token", "credential", "authorization", "cookie", "passwordsha"),
    *("apikey", "privatekey", "secretkey", "accesskey", "encryptionkey", "authkey", "signingkey", "sharedkey"),
    *("sessionkey", "masterkey", "derivedkey", "passwordhash", "secretkeybase", "sshkey"),
)
_SECRET_WORDS = frozenset(["pass", "pwd", "salt", "otp"])
_SECRET_HEADER = re.compile(
    r"auth(?!or)|authorization|cookie|token|secret|pass(w|$)|pwd|session|credential|signature|key$", re.IGNORECASE
)
_PUBLIC_HEADER = re.compile(r"x-auth-couchdb-(username|roles)$", re.IGNORECASE)

_AFTER_URL = re.compile(r"[\s\"'<>]")
_WORDS = re.compile(r"[A-Za-z0-9_]+(?:[.-][A-Za-z0-9_]+)*")
_PLAIN = re.compile(r"[A-Za-z_-]*\Z|[0-9._-]*\Z")
_PORT = re.compile(r"[0-9]{1,5}\Z")
_SETTING_LOGGED = re.compile(r"config: \[([^\[\]\n]*)\] ([^\n]*)")


def is_secret_name(name: str) -> bool:
    """Whether a field of a document, or a key of a setting, with this name is secret, in any spelling of its words."""
    words = _words(name)
    if not words or words[-2:] == ["use", "secret"]:
        return False
    joined = "".join(words)
    joined = joined[:-1] if joined.endswith(("tokens", "secrets", "passwords", "keys", "credentials")) else joined
    return words[-1] in _SECRET_WORDS or joined.endswith(_SECRET_ENDS)


def _words(name: str) -> list[str]:
    """The words of a name such as C(smtp_pass), C(client-secret) or C(accessToken2), in lower case, without a number at its end."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name.rstrip("0123456789"))
    return [word.lower() for word in re.split(r"[^A-Za-z0-9]", spaced) if word]


def is_secret_setting(section: str, key: str) -> bool:
    """Whether the value of a setting is secret: C(admins), C(jwt_keys), passwords, secrets, tokens."""
    return section in _SECRET_SECTIONS or (is_secret_name(key) and (section.partition(":")[0], key) not in _NOT_SECRET)


def is_secret_header(name: str) -> bool:
    """Whether the value of an HTTP header is secret: credentials, cookies, tokens, keys."""
    return bool(_SECRET_HEADER.search(name)) and not _PUBLIC_HEADER.match(name)


def mask_url(url: str) -> str:
    """A URL without its credentials, also if they contain characters that should be encoded."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return MASK + "@" + url.rpartition("@")[2] if "@" in url else url
    end = _end_of_credentials(rest, 0, len(rest), rest.rfind("@"))
    return url if end is None else scheme + separator + MASK + rest[end - 1 :]


def mask_text(text: str, secrets: t.Iterable[str] = ()) -> str:
    """A string without the credentials of the URLs in it, and without any of the secrets."""
    if "://" in text:
        shown, at = [], 0
        for start, end in _credentials(text):
            shown += [text[at:start], MASK]
            at = end - 1
        text = "".join([*shown, text[at:]])
    for secret in secrets:
        if secret:
            text = text.replace(secret, MASK)
    return text


def mask_log(log: str) -> str:
    """The server's log without secret settings, which CouchDB logs when they are set, and without credentials in URLs."""
    return mask_text(_SETTING_LOGGED.sub(_mask_logged, log))


def _mask_logged(found: re.Match[str]) -> str:
    section, rest = found.groups()
    key, what, value = rest.partition(" set to ")
    if not what or not is_secret_setting(section, key):
        return found.group()
    before_reason, reason, why = value.rpartition(" for reason ")
    return f"config: [{section}] {key}{what}{MASK}{reason}{why if before_reason or reason else ''}"


def _credentials(text: str) -> t.Iterator[tuple[int, int]]:
    """Where the credentials of URLs start and end in a string, the @ included. Takes time in proportion to its length."""
    found = text.find("://")
    limit = last = -1
    while found >= 0:
        start = found + 3
        if start > limit:
            # A space or quotation mark ends the URL.
            after = _AFTER_URL.search(text, start)
            limit = after.start() if after else len(text)
            last = text.rfind("@", start, limit)
        end = _end_of_credentials(text, start, limit, last)
        if end is not None:
            yield start, end
            start = end
        found = text.find("://", start)


def _end_of_credentials(text: str, start: int, limit: int, last: int) -> int | None:
    """The end of a URL's credentials, after their @; None if it has none. ``start`` is that of its credentials or host.

    They end before the path; if a password contains an unencoded slash, after the ``last`` @ of all, and if it contains an
    unencoded @, after the last one before another URL.
    """
    if last < start:
        return None
    slash = text.find("/", start, limit)
    authority = limit if slash < 0 else slash
    colon = text.find(":", start, authority)
    at = text.rfind("@", start, authority)
    if 0 <= colon < at:
        following = text.find("://", start, limit)
        return text.rfind("@", start, limit if following < 0 else following) + 1
    if at >= 0:
        return at + 1
    if colon >= 0 and not _PORT.match(text, colon + 1, authority):
        return last + 1
    return None


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
    """A JSON value with every secret field masked, at any depth, and URLs without credentials."""

    def shown(item: t.Any, name: t.Any) -> t.Any:
        if isinstance(name, str) and item not in (None, "", {}, []) and is_secret_name(name):
            return MASK
        return mask_text(item) if isinstance(item, str) else item

    return _mapped(value, shown)


def _mapped(value: t.Any, shown: t.Callable[[t.Any, t.Any], t.Any]) -> t.Any:
    """A JSON value with each value in it replaced by the result of ``shown``, outer ones first.

    Items of a list have the name of the list. Works at any depth, as it does not call itself.
    """
    outermost: list[t.Any] = [None]
    waiting: list[tuple[t.Any, t.Any, t.Any, t.Any]] = [(value, None, outermost, 0)]
    while waiting:
        item, name, place, at = waiting.pop()
        item = shown(item, name)
        if isinstance(item, str):
            place[at] = item
        elif isinstance(item, Mapping):
            place[at] = inner = dict.fromkeys(item)
            waiting += [(each, key, inner, key) for key, each in item.items()]
        elif isinstance(item, (list, tuple)):
            place[at] = items = [None] * len(item)
            waiting += [(each, name, items, number) for number, each in enumerate(item)]
        else:
            place[at] = item
    return outermost[0]


def mask_change(what: str, path: t.Sequence[str], before: t.Any, after: t.Any) -> tuple[t.Any, t.Any]:
    """Both sides of a difference as they may be shown.

    ``what`` is the kind of thing; for a C(setting) the last two parts of ``path`` are its section and
    key. A secret that changes is shown as masked and changed, so that the difference is visible and
    the secret isn't.
    """
    if what == "setting":
        section, key = path[-2:]
        shown_before, shown_after = (mask_setting(section, key, value) for value in (before, after))
    else:
        shown_before, shown_after = mask_document(_shallow(before)), mask_document(_shallow(after))
    return shown_before, _mark_changed(before, after, shown_before, shown_after)


def _shallow(value: t.Any) -> t.Any:
    """A JSON value without what is nested deeper than a difference shows."""
    if not is_deeper(value, _SHOWN_LEVELS):
        return value
    outermost: list[t.Any] = [None]
    waiting: list[tuple[t.Any, int, t.Any, t.Any]] = [(value, 0, outermost, 0)]
    while waiting:
        held, level, place, at = waiting.pop()
        if not isinstance(held, (Mapping, list, tuple)):
            place[at] = held
        elif level == _SHOWN_LEVELS:
            place[at] = _DEEPER
        elif isinstance(held, Mapping):
            place[at] = inner = dict.fromkeys(held)
            waiting += [(each, level + 1, inner, key) for key, each in held.items()]
        else:
            place[at] = items = [None] * len(held)
            waiting += [(each, level + 1, items, number) for number, each in enumerate(held)]
    return outermost[0]


def _mark_changed(before: t.Any, after: t.Any, shown_before: t.Any, shown_after: t.Any) -> t.Any:
    """``shown_after``, with a mark at each masked string that changed."""
    if isinstance(shown_after, dict) and isinstance(shown_before, dict):
        return {
            name: _mark_changed(before[name], after[name], shown_before[name], value) if name in shown_before else value
            for name, value in shown_after.items()
        }
    if isinstance(shown_after, str) and shown_before == shown_after and not equal(before, after):
        return shown_after + CHANGED
    return shown_after


def url_secrets(url: str) -> set[str]:
    """The password in a URL, as written and decoded, also if characters in it should be encoded."""
    credentials = url.rpartition("@")[0].rpartition("://")[2]
    password = credentials.partition(":")[2]
    return {password, unquote(password)} - {""}


def text_secrets(text: str) -> set[str]:
    """The passwords in the URLs of a string, as written and decoded."""
    found: set[str] = set()
    for start, end in _credentials(text):
        password = text[start : end - 1].partition(":")[2]
        found |= {password, unquote(password)} - {""}
    return found


def setting_secrets(settings: t.Mapping[t.Any, t.Any]) -> set[str]:
    """The secrets in declared settings (section → key → value), in any shape.

    These are the values of secret keys, and the passwords in URLs.
    """
    found: set[str] = set()
    for section, keys in settings.items():
        for key, value in keys.items() if isinstance(keys, Mapping) else ():
            secret = is_secret_setting(str(section), str(key))
            for text in _texts(value):
                found |= {text, text.strip()} if secret else text_secrets(text)
    return found


def document_secrets(value: t.Any) -> set[str]:
    """The secrets in a declared document: the values that mask_document() masks."""
    found: set[str] = set()

    def look(item: t.Any, name: t.Any) -> t.Any:
        if isinstance(name, str) and is_secret_name(name):
            found.update(_texts(item))
            return None
        if isinstance(item, str):
            found.update(text_secrets(item))
        return item

    _mapped(value, look)
    return found


class Secrets:
    """The secrets of a task, which mask what it returns.

    A secret is hidden where it is the whole value of an option, however short and common it is. In any other string it is
    searched for only if it is distinct: at least four characters, and no mere word or number of fewer than 16. Otherwise a
    result would be unusable: a user's password C(data) would hide a part of each C(databases). Such plain words are hidden
    in messages, where they are words of their own.

    Takes time in proportion to what is searched, however many secrets there are.
    """

    def __init__(self, secrets: t.Iterable[t.Any] = ()) -> None:
        self._all = {str(secret) for secret in secrets if secret not in (None, "")}
        long = {secret for secret in self._all if len(secret) >= _SHORTEST}
        self._distinct = {secret for secret in long if len(secret) >= _SHORTEST_WORD or not _is_plain(secret)}
        self._plain = long - self._distinct
        self._longest_first = sorted(self._distinct, key=len, reverse=True)
        self._lengths: dict[str, dict[int, None]] = {}
        for secret in self._longest_first:
            self._lengths.setdefault(secret[:_SHORTEST], {})[len(secret)] = None

    @property
    def for_ansible(self) -> set[str]:
        """Those that Ansible may search for as well, as they are distinct and few; else none."""
        return set(self._distinct) if len(self._distinct) <= _HAND_TO_ANSIBLE else set()

    def mask(self, text: str) -> str:
        """A string without the distinct secrets."""
        if len(self._distinct) <= _HAND_TO_ANSIBLE:
            for secret in self._longest_first:
                text = text.replace(secret, MASK)
            return text
        shown, at, place = [], 0, 0
        end = len(text) - _SHORTEST
        while place <= end:
            lengths = self._lengths.get(text[place : place + _SHORTEST])
            for length in lengths or ():
                if text[place : place + length] in self._distinct:
                    shown += [text[at:place], MASK]
                    at = place + length
                    place = at - 1
                    break
            place += 1
        return "".join([*shown, text[at:]]) if shown else text

    def mask_message(self, text: str) -> str:
        """A message without the distinct secrets, and without those that are words of their own in it."""
        text = self.mask(text)
        if not self._plain:
            return text
        return _WORDS.sub(lambda found: MASK if found.group() in self._plain else found.group(), text)

    def mask_result(self, value: t.Any) -> t.Any:
        """What a module returns, without secrets: the same keys, booleans and numbers."""

        def shown(item: t.Any, name: t.Any) -> t.Any:
            if not isinstance(item, str):
                return item
            return self.mask_message(item) if name in _MESSAGES else self.mask(item)

        return _mapped(value, shown) if self._all else value

    def mask_options(self, value: t.Any) -> t.Any:
        """The options of a task: whatever is a secret as a whole is hidden, numbers too, and the distinct ones in strings.

        URLs are without credentials, as a plain word that is a password in one is hidden nowhere else.
        """

        def shown(item: t.Any, name: t.Any) -> t.Any:
            if isinstance(item, str):
                return MASK if item in self._all else self.mask(mask_text(item))
            if item is None or isinstance(item, (bool, dict, list, tuple, Mapping)):
                return item
            return MASK if str(item) in self._all else item

        return _mapped(value, shown)


def _is_plain(secret: str) -> bool:
    """Whether a secret is a mere word or number, which a message has as a word of its own."""
    return bool(_PLAIN.match(secret) and _WORDS.fullmatch(secret))


def _texts(value: t.Any) -> set[str]:
    """The strings and numbers in a value, however deep, as strings."""
    found: set[str] = set()

    def look(item: t.Any, name: t.Any) -> t.Any:
        if item is not None and not isinstance(item, (bool, Mapping, list, tuple)):
            found.add(str(item))
        return item

    _mapped(value, look)
    return found
