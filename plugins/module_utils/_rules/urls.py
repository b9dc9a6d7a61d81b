# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""URLs of servers and databases: taken apart, checked, and the credentials that may be in them. Pure."""

from __future__ import annotations

import base64
import ipaddress
import json
import re
import typing as t
from urllib.parse import unquote, urlsplit

from ..errors import InvalidInput
from .secrets import mask_url

_UNSAFE = re.compile(r"[\s\x00-\x1f]")


class Url(t.NamedTuple):
    """The parts of a URL: ``plain`` is the URL without credentials; ``host`` is in lower case."""

    plain: str
    host: str
    path: str
    username: str | None
    password: str | None


def split_url(url: str, option: str = "url", other: str = "") -> Url:
    """Split an http or https URL into its parts.

    Raises InvalidInput, naming ``option``, unless it is the URL of a server, or of a path on it. ``other`` says what
    else the option accepts.
    """
    shown = mask_url(url)
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        raise InvalidInput(
            option, f"{shown} is not a URL; characters such as / : @ # in a password must be percent-encoded"
        ) from None
    problem = ""
    if parts.scheme not in ("http", "https"):
        problem = f"must be {other}a URL that begins with http:// or https://"
    elif not parts.hostname:
        problem = "has no host. Use http://HOST:PORT"
    elif port == 0:
        problem = "has port 0, which is not a port"
    elif parts.query or parts.fragment:
        problem = "must not have a query or a fragment"
    elif "@" in parts.netloc and "@" in parts.path:
        problem = "has an @ in its path. A slash or an @ in a password must be percent-encoded, as %2F and %40"
    elif _UNSAFE.search(parts.netloc + parts.path):
        problem = "contains a space or a control character"
    if problem:
        raise InvalidInput(option, f"{shown} {problem}")
    return Url(
        plain=f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}",
        host=t.cast(str, parts.hostname),
        path=parts.path,
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password is not None else None,
    )


def server_url(url: str, option: str = "url") -> Url:
    """The same for a server, whose ``plain`` URL ends in a slash."""
    found = split_url(url, option)
    return found._replace(plain=found.plain.rstrip("/") + "/")


def is_loopback(host: str) -> bool:
    """Whether requests to this host stay on this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def in_clear_text(url: str) -> str:
    """The warning about credentials that go over plain HTTP to another machine."""
    return f"credentials go to {url} in clear text, which the network can read. Use https"


def basic_authorization(username: str | None, password: str | None) -> str:
    """The value of the header Authorization for a name and a password."""
    return "Basic " + base64.b64encode(f"{username}:{password or ''}".encode()).decode("ascii")


def basic_credentials(authorization: str) -> tuple[str, str] | None:
    """The name and the password in a value of the header Authorization, None if it is of another kind."""
    kind, _space, text = authorization.strip().partition(" ")
    if kind.lower() != "basic":
        return None
    try:
        name, colon, password = base64.b64decode(text.strip(), validate=True).decode().partition(":")
    except ValueError:
        return None
    return (name, password) if colon else None


_KEY_TYPES = {"HS": "hmac", "RS": "rsa", "ES": "ec", "Ed": "ed"}


def token_key(authorization: str) -> str | None:
    """The key, such as C(hmac:KID), of the token in a value of the header Authorization; None without one."""
    try:
        head = json.loads(base64.urlsafe_b64decode(authorization.split("Bearer ")[1].split(".")[0] + "=="))
        return f"{_KEY_TYPES[head['alg'][:2]]}:{head.get('kid', '_default')}"
    except (AttributeError, LookupError, TypeError, ValueError):
        return None
