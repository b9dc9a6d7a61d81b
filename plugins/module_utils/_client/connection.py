# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Connection: HTTP with one server: credentials, headers, TLS, timeouts, retries.

All requests of the modules, with all their headers, go through it. It knows no paths of CouchDB.
"""

from __future__ import annotations

import io
import json
import os
import re
import socket
import ssl
import time
import traceback
import typing as t
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPResponse, RemoteDisconnected
from urllib.parse import quote, urlencode

from .. import errors
from .._rules.names import check_json, check_string, check_type
from .._rules.secrets import Secrets, is_secret_header, mask_text
from .._rules.urls import basic_authorization, basic_credentials, server_url
from .answers import Answer, Received, error_of, not_as_expected, parsed, retry_after, session_cookie
from .parallel import AT_ONCE
from .wait import seconds_left

REQUESTS_IMPORT_ERROR: str | None
try:
    import requests
    import urllib3
    from requests import adapters, exceptions
    from urllib3 import connection
    from urllib3.util.ssl_ import create_urllib3_context
except ImportError:
    REQUESTS_IMPORT_ERROR = traceback.format_exc()
else:
    REQUESTS_IMPORT_ERROR = None

LARGEST_ANSWER = 64 * 1024 * 1024
"""The bytes that an answer may have, decompressed. A larger one is not read to its end: it would fill the memory."""

_SAFE_TO_REPEAT = frozenset(["GET", "HEAD"])
_GATEWAY_FAILURES = frozenset([502, 503, 504])
_SHORTEST = 1.0
"""The least seconds for a request at the end of a wait: the last look gets an answer too."""

_LONGEST_TIMEOUT = 1_000_000
_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 5.0
_CHUNK = 65536
_CLOSED = (ConnectionResetError, ConnectionAbortedError, BrokenPipeError, RemoteDisconnected)
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_ONE_SESSION = re.compile(r"AuthSession=[^;,\s]+\Z")
_HEADER_VALUE = re.compile(r"(?![ \t])[\t\x20-\x7e\x80-\xff]*\Z")

if REQUESTS_IMPORT_ERROR is None:

    class _Response(HTTPResponse):
        """An answer whose head and body are read within the timeout of the connection, even slow ones."""

        def __init__(self, sock: t.Any, *arguments: t.Any, **options: t.Any) -> None:
            super().__init__(sock, *arguments, **options)
            timeout = sock.gettimeout()
            if timeout is not None:
                self.fp = io.BufferedReader(_InTime(self.fp.detach(), sock, time.monotonic() + timeout))

    class _InTime(io.RawIOBase):
        """Reads from a socket until a deadline."""

        def __init__(self, raw: t.Any, sock: t.Any, deadline: float) -> None:
            super().__init__()
            self._raw = raw
            self._sock = sock
            self._deadline = deadline

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: t.Any) -> int | None:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise socket.timeout("the answer did not end in time")
            self._sock.settimeout(left)
            return t.cast("int | None", self._raw.readinto(buffer))

        def close(self) -> None:
            super().close()
            self._raw.close()

    class _HTTPConnection(connection.HTTPConnection):
        response_class = _Response

    class _HTTPSConnection(connection.HTTPSConnection):
        response_class = _Response

    class _HTTPPool(urllib3.HTTPConnectionPool):
        ConnectionCls = _HTTPConnection

    class _HTTPSPool(urllib3.HTTPSConnectionPool):
        ConnectionCls = _HTTPSConnection

    _POOLS = {"http": _HTTPPool, "https": _HTTPSPool}

    class _Adapter(adapters.HTTPAdapter):
        """Connections whose answers are read in time, with a TLS context if there is a client certificate."""

        def __init__(self, context: ssl.SSLContext | None) -> None:
            self._context: dict[str, t.Any] = {} if context is None else {"ssl_context": context}
            self._pool: t.Any = None
            super().__init__(pool_connections=1, pool_maxsize=AT_ONCE)

        def get_connection_with_tls_context(self, *arguments: t.Any, **options: t.Any) -> t.Any:
            """The pool of the only server, looked for once."""
            if self._pool is None:
                self._pool = super().get_connection_with_tls_context(*arguments, **options)
            return self._pool

        def close(self) -> None:
            """Close the connections. The manager of pools only forgets them."""
            super().close()
            if self._pool is not None:
                self._pool.close()
                self._pool = None

        def init_poolmanager(self, *arguments: t.Any, **options: t.Any) -> None:
            super().init_poolmanager(*arguments, **{**options, **self._context})
            self.poolmanager.pool_classes_by_scheme = _POOLS

        def proxy_manager_for(self, *arguments: t.Any, **options: t.Any) -> t.Any:
            manager = super().proxy_manager_for(*arguments, **{**options, **self._context})
            manager.pool_classes_by_scheme = _POOLS
            return manager


@dataclass
class Options:
    """The connection options, as the module documentation describes them.

    ``timeout`` limits one request from its start to the end of its answer, in seconds;
    ``retries`` is the number of times that a request may be sent again.
    """

    username: str | None = None
    password: str | None = None
    cookie: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    validate_certs: bool = True
    ca_path: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    client_key_passphrase: str | None = None
    timeout: float = 30
    retries: int = 3


class Connection:
    """The connection to one server. Safe to use from several threads.

    Raises ImportError if the library C(requests) is missing, and InvalidInput if an option
    can't work.
    """

    def __init__(self, url: str, options: Options) -> None:
        if REQUESTS_IMPORT_ERROR is not None:
            raise ImportError("couchpy.couchdb needs the Python library requests")
        check_string(url, "url")
        _check_types(options)
        given = server_url(url)
        self.url, self.host = given.plain, given.host
        self.username = options.username if options.username is not None else given.username
        self.password = options.password if options.password is not None else given.password
        self.cookie = options.cookie
        self.timeout = options.timeout
        self.retries = options.retries
        self.headers = dict(options.headers)
        self._take_login_from_headers()
        self.last_asked = "none"
        self.validates = options.validate_certs
        self._check(options)
        self._defaults = dict(requests.utils.default_headers())
        # The environment is read once, here.
        self._proxies = dict(requests.utils.get_environ_proxies(self.url, no_proxy=None))
        bundle = options.ca_path or os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
        self._verify = (bundle or True) if options.validate_certs else False
        # A requests.Session would add credentials from .netrc, keep cookies, and double the time of a request.
        self._adapter = _Adapter(_client_certificate(options))

    def _take_login_from_headers(self) -> None:
        """Log in as headers do that hold a name and a password, or a session: then it can be seen as whom, and changed."""
        for header, value in list(self.headers.items()) if not self.cookie else ():
            login = basic_credentials(str(value)) if header.lower() == "authorization" else None
            if login is not None:
                self.username, self.password = login
            elif header.lower() == "cookie" and _ONE_SESSION.match(str(value)):
                self.cookie = str(value)
            else:
                continue
            del self.headers[header]

    def _check(self, options: Options) -> None:
        if self.username is not None and ":" in self.username:
            raise errors.InvalidInput(
                "username", "contains a colon, which Basic authentication does not allow. Use a cookie"
            )
        if not 0 < options.timeout <= _LONGEST_TIMEOUT:
            limits = f"more than 0 and at most {_LONGEST_TIMEOUT} seconds"
            raise errors.InvalidInput("timeout", f"is {options.timeout}. Set {limits}")
        if options.retries < 0:
            raise errors.InvalidInput("retries", f"is {options.retries}. Set 0 or more")
        if options.client_key and not options.client_cert:
            raise errors.InvalidInput("client_key", "has no effect without client_cert")
        if options.client_key_passphrase and not options.client_cert:
            raise errors.InvalidInput("client_key_passphrase", "has no effect without client_cert")
        for option in ("ca_path", "client_cert", "client_key"):
            path = getattr(options, option)
            if path and not os.path.exists(path):
                raise errors.InvalidInput(option, f"the file {path} does not exist")
        _check_headers(self.headers)
        if not _HEADER_VALUE.match(self.cookie or ""):
            raise errors.InvalidInput("cookie", "contains characters that a header can't contain")

    @property
    def has_credentials(self) -> bool:
        """Whether requests have a name, a cookie, or a header with credentials."""
        return self.username is not None or bool(self.cookie) or any(map(is_secret_header, self.headers))

    def __repr__(self) -> str:
        return f"<Connection {self.url}>"

    def address(self, path: t.Sequence[str] = ()) -> str:
        """The URL of a path, each part of it encoded, without credentials."""
        for part in path:
            check_string(part, "name")
            if part in (".", ".."):
                raise errors.InvalidInput("name", f"{part!r} can't be part of a URL. Use another name")
            check_json(part, "name", repr(part))
        return self.url + "/".join(quote(part, safe="@:") if part else "" for part in path)

    def request(
        self,
        method: str,
        path: t.Sequence[str] = (),
        *,
        query: t.Mapping[str, t.Any] | None = None,
        body: t.Any = None,
        headers: t.Mapping[str, str] | None = None,
        repeatable: bool | None = None,
        text: bool = False,
        raw: bool = False,
        accept: t.Collection[int] = (),
        anonymous: bool = False,
        timeout: float | None = None,
        retries: int | None = None,
        expect: t.Callable[[t.Any], bool] | None = None,
    ) -> Answer:
        """Send one request and return its answer.

        ``path`` is a sequence of parts, each encoded here. ``query`` values are sent as they are, True and
        False as true and false, None is left out. ``body`` is sent as JSON unless it is None.
        ``repeatable`` says whether the request may be sent twice (by default GET and HEAD may);
        a refused connection is always retried, as nothing was sent. ``text`` expects plain text
        rather than JSON, ``raw`` bytes of any kind. ``accept`` lists statuses from 300 on that are not errors here.
        ``anonymous`` leaves the credentials out. ``timeout`` (seconds) and ``retries`` are those of this request, instead
        of the connection's. ``expect(body)`` says whether a successful answer has CouchDB's form.

        Raises Unreachable, TimedOut, TooLarge, NotCouchDB, or the error of the answer's status.
        """
        _check_headers(headers or {})
        check_type(timeout, (int, float, type(None)), "timeout", "a number of seconds")
        check_type(retries, (int, type(None)), "retries", "a number")
        if repeatable is None:
            repeatable = method in _SAFE_TO_REPEAT
        send: dict[str, t.Any] = {
            "method": method,
            "url": self.address(path),
            # requests is slow with mappings.
            "params": urlencode({name: _spelling(value) for name, value in (query or {}).items() if value is not None}),
            "data": None if body is None else _written(body),
            "headers": self._request_headers(headers, body is not None, anonymous),
        }
        self.last_asked = f"{method} {send['url']}"
        most = self.retries if retries is None else retries
        for attempt in range(most + 1):
            limit = min(self.timeout if timeout is None else timeout, max(seconds_left(), _SHORTEST))
            try:
                answer = self._send(send, limit)
                if answer.status < 300 or answer.status in accept:
                    body = answer.content if raw else parsed(answer, text)
                    if expect and answer.status < 300 and not expect(body):
                        raise not_as_expected(answer)
                    return Answer(answer.status, answer.headers, body)
                raise self._refusal(answer, limit)
            except _NoGoodAnswer as failure:
                pause = min(_FIRST_PAUSE * 2**attempt, _LONGEST_PAUSE) if failure.pause is None else failure.pause
                last = attempt == most or pause >= seconds_left()
                if last or not failure.retry or (failure.sent and not repeatable):
                    raise failure.error from None
                time.sleep(pause)
        raise AssertionError("a request ends with an answer or an error")

    def _refusal(self, answer: Received, limit: float) -> _NoGoodAnswer:
        """The error of an answer with a status from 300 on, and whether and when to retry the request."""
        error = error_of(answer, self._secrets())
        if answer.status == 401 and not self.has_credentials:
            error.args = (f"{error} (the request had no credentials)",)
        overloaded = answer.status == 429
        pause = retry_after(answer.headers) if overloaded or answer.status == 503 else None
        patient = pause is None or pause <= limit
        if not patient:
            error.args = (f"{error}; it asks to wait for {pause:.0f} s, longer than timeout ({limit:g} s)",)
        return _NoGoodAnswer(
            error,
            retry=patient and (overloaded or answer.status in _GATEWAY_FAILURES),
            # Status 429 means that the server has not carried out the request.
            sent=not overloaded,
            pause=pause,
        )

    def _send(self, send: dict[str, t.Any], limit: float) -> Received:
        try:
            # For connecting and answering together, see _Response.
            timeout: t.Any = urllib3.Timeout(total=limit)
            request = requests.PreparedRequest()
            request.prepare(**send)
            response = self._adapter.send(request, True, timeout, self._verify, proxies=self._proxies)
            content = self._read(response, send)
        except (exceptions.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise _failure_of(error, send, limit) from error
        if self.cookie:
            # CouchDB renews a cookie that is about to expire.
            self.cookie = session_cookie(response.headers) or self.cookie
        return Received(send["method"], send["url"], response.status_code, response.headers, content)

    def _secrets(self) -> Secrets:
        """The secrets that this connection sends, plain and encoded: no error may show them."""
        found = {self.cookie, (self.cookie or "").partition("=")[2], self.password}
        if self.username is not None:
            found |= {
                basic_authorization(self.username, self.password).partition(" ")[2],
                quote(self.password or "", safe=""),
            }
        return Secrets(found)

    def _request_headers(self, extra: t.Mapping[str, str] | None, has_body: bool, anonymous: bool) -> dict[str, str]:
        headers = {**self._defaults, "Accept": "application/json"}
        if has_body:
            headers["Content-Type"] = "application/json"
        if self.cookie and not anonymous:
            headers["Cookie"] = self.cookie if "=" in self.cookie else f"AuthSession={self.cookie}"
        elif self.username is not None and not anonymous:
            headers["Authorization"] = basic_authorization(self.username, self.password)
        for source in (self.headers, extra or {}):
            for name, value in source.items():
                for known in [known for known in headers if known.lower() == name.lower()]:
                    del headers[known]
                headers[name] = str(value)
        return headers

    @staticmethod
    def _read(response: requests.Response, send: dict[str, t.Any]) -> bytes:
        length = response.headers.get("Content-Length", "")
        # A length without the content, or before it is decompressed, is not that of what is read.
        known = send["method"] != "HEAD" and length.isdigit() and "Content-Encoding" not in response.headers
        content, size = bytearray(), int(length) if known else 0
        for piece in response.iter_content(_CHUNK) if size <= LARGEST_ANSWER else ():
            content += piece
            if len(content) > LARGEST_ANSWER:
                break
        if max(size, len(content)) > LARGEST_ANSWER:
            response.close()
            raise _too_large(response.status_code, send)
        return bytes(content)

    def close(self) -> None:
        """Close the pooled connections."""
        self._adapter.close()


def _check_types(options: Options) -> None:
    """Raise InvalidInput for an option of another type than it has."""
    for name in ("username", "password", "cookie", "ca_path", "client_cert", "client_key", "client_key_passphrase"):
        check_type(getattr(options, name), (str, type(None)), name, "a string")
    check_type(options.headers, Mapping, "headers", "a mapping")
    check_type(options.timeout, (int, float), "timeout", "a number of seconds")
    check_type(options.retries, int, "retries", "a number")


def _check_headers(headers: t.Mapping[str, t.Any]) -> None:
    """Raise InvalidInput, without showing the value, for a header that can't be sent unchanged."""
    for name, value in headers.items():
        if not _HEADER_NAME.match(name):
            raise errors.InvalidInput("headers", f"{name.strip()!r} can't be the name of a header")
        if not _HEADER_VALUE.match(str(value)):
            raise errors.InvalidInput(
                "headers",
                f"the value of {name} begins with a space, or contains characters that a header can't contain",
            )


def _client_certificate(options: Options) -> ssl.SSLContext | None:
    """A TLS context with the client certificate, None without one. Raises InvalidInput if it can't be used.

    OpenSSL asks for a missing passphrase at the terminal, so it always gets one.
    """
    if not options.client_cert:
        return None
    context = create_urllib3_context()
    passphrase = options.client_key_passphrase or ""
    asked: list[bool] = []

    def give() -> str:
        asked.append(True)
        return passphrase

    try:
        context.load_cert_chain(options.client_cert, options.client_key, give)
    except (OSError, ValueError) as error:
        key = options.client_key or options.client_cert
        if asked:
            what = "is not the passphrase of" if passphrase else "is missing. Set it for the key in"
            raise errors.InvalidInput("client_key_passphrase", f"{what} {key}") from None
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or type(error).__name__
        raise errors.InvalidInput(
            "client_key" if options.client_key else "client_cert",
            f"{options.client_cert} and {key} do not contain a certificate and its key in PEM ({reason})",
        ) from None
    return context


class _NoGoodAnswer(Exception):
    """A request without a successful answer: the error to raise, and the conditions of a retry."""

    def __init__(self, error: errors.CouchDBError, *, retry: bool, sent: bool, pause: float | None = None) -> None:
        super().__init__(str(error))
        self.error = error
        self.retry = retry
        self.sent = sent
        self.pause = pause


def _written(body: t.Any) -> bytes:
    """A body as JSON. Raises InvalidInput for values that JSON lacks; modules refuse them earlier, and name the option."""
    try:
        return json.dumps(body, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError):
        raise errors.InvalidInput(
            "body", "contains something that JSON cannot express, such as NaN or Infinity"
        ) from None


def _too_large(status: int, send: dict[str, t.Any]) -> errors.TooLarge:
    method, url = send["method"], send["url"]
    message = f"{method} {url} answered {status} with more than {LARGEST_ANSWER >> 20} MB, which is not read"
    return errors.TooLarge(message, status=status, method=method, url=url)


def _failure_of(error: Exception, send: dict[str, t.Any], timeout: float) -> _NoGoodAnswer:
    """The error of a request without an answer, whether to retry it, and whether it was sent."""
    method, url = send["method"], send["url"]
    causes = list(_causes(error))
    begun = isinstance(error, exceptions.ChunkedEncodingError)

    def unreachable(message: str, *, retry: bool = False, sent: bool = True) -> _NoGoodAnswer:
        unreachable_error = errors.Unreachable(message, method=method, url=url)
        unreachable_error.sent = sent
        return _NoGoodAnswer(unreachable_error, retry=retry, sent=sent)

    if isinstance(error, exceptions.Timeout) or any(isinstance(cause, TimeoutError) for cause in causes):
        late = errors.TimedOut(
            f"no whole answer from {url} to {method} within {round(timeout, 1):g} s", method=method, url=url
        )
        return _NoGoodAnswer(late, retry=False, sent=True)
    if isinstance(error, exceptions.SSLError) or any(isinstance(cause, ssl.SSLError) for cause in causes):
        return unreachable(f"no trusted TLS connection to {url}: {mask_text(str(causes[-1]))}", sent=False)
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return unreachable(f"nothing answers at {url}: connection refused", retry=True, sent=False)
    if begun:
        return unreachable(f"the answer of {url} to {method} was cut short")
    if any(isinstance(cause, _CLOSED) for cause in causes):
        return unreachable(f"the connection to {url} was closed before the answer to {method}", retry=True)
    return unreachable(f"no answer from {url} to {method}: {mask_text(_innermost(causes))}")


def _spelling(value: t.Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _causes(error: BaseException) -> t.Iterator[BaseException]:
    """An error and its causes: requests and urllib3 wrap the system's error several times."""
    seen: list[BaseException] = []
    waiting: list[t.Any] = [error]
    while waiting:
        current = waiting.pop(0)
        if isinstance(current, BaseException) and not any(current is known for known in seen):
            seen.append(current)
            yield current
            waiting.extend([*current.args, getattr(current, "reason", None), current.__cause__, current.__context__])


def _innermost(causes: list[BaseException]) -> str:
    """The message of the system's own error, such as a name that does not resolve."""
    for cause in causes:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
    return str(causes[-1]) or type(causes[-1]).__name__
