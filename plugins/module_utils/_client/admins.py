# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Admins: the server admins, sessions, and the login of this client."""

from __future__ import annotations

import base64
import contextlib
import re
import threading
import typing as t

from .. import errors
from .._rules import passwords
from .._rules.dialect import LOCAL
from .._rules.names import check_admin_name, check_string, check_type
from .answers import Answer, session_cookie
from .server import Headers, Server


class Admins(Server):
    """The part of Client for server admins and sessions."""

    _following: _Following | None = None

    def follow_password(self, password: str) -> None:
        """Continue with this password if another client changes that of this client's login to it.

        CouchDB 3.4 and later locks an account after five failed logins. So until the password changes, requests are sent one
        after the other, and with a session, whose end does not count as a failed login. If nobody can log in with a session here,
        they are sent with the password as before.
        """
        if (self._http.username is not None and self._http.password != password) or self._http.cookie:
            self._following = _Following(password, has_session=bool(self._http.cookie))

    def request(self, method: str, path: t.Sequence[str] = (), **options: t.Any) -> Answer:
        following = self._following
        if following is None or options.get("anonymous"):
            return super().request(method, path, **options)
        with following.lock:
            if following.refused is not None:
                raise following.refused
            if self._following is None:
                return super().request(method, path, **options)
            if not following.has_session:
                self._begin_session(following)
            try:
                return super().request(method, path, **options)
            except errors.Unauthorized as error:
                if self._following is None or not self._has_ended():
                    raise
                following.refused = error
                self._continue_with(following.password)
                with contextlib.suppress(errors.Unauthorized):
                    answer = super().request(method, path, **options)
                    following.refused = None
                    return answer
                raise error from None

    def _begin_session(self, following: _Following) -> None:
        """Log in once, with the password of before or, if that fails, the one that follows it."""
        following.has_session = True
        name, before = t.cast(str, self._http.username), self._http.password
        with contextlib.suppress(errors.NotFound, errors.BadRequest, errors.NotCouchDB, errors.ServerError):
            status, _headers, _body = self.login(name, before or "")
            if status == 401:
                self._continue_with(following.password)
            elif not self._has_session():
                self._http.cookie = None

    def _has_ended(self) -> bool:
        """Whether the login that a request was refused with is one no more, rather than not an admin's."""
        return self._http.cookie is None or not self._has_session()

    def _has_session(self) -> bool:
        try:
            body = super().request("GET", ("_session",)).body
        except errors.Unauthorized:
            return False
        return isinstance(body, dict) and bool((body.get("userCtx") or {}).get("name"))

    def _continue_with(self, password: str) -> None:
        """Log in with this password, and no session, from now on."""
        self._http.username = (self._http.cookie and _cookie_name(self._http.cookie)) or self._http.username
        self._http.password, self._http.cookie, self._following = password, None, None

    def admins(self, hthdrs: Headers = None, node: str = LOCAL) -> dict[str, str]:
        """The server admins of a node and their password hashes.

        https://docs.couchdb.org/en/stable/config/auth.html#admins
        """
        return t.cast("dict[str, str]", self.config("admins", hthdrs=hthdrs, node=node))

    def addadmin(self, name: str, password: str, hthdrs: Headers = None, node: str = LOCAL) -> bool:
        """Create a server admin on a node, or change the password of an existing one. True when it is done.

        The password is hashed here, with the hash scheme of the server's version, so it reaches neither the server nor its
        log. If it is the admin that this client logs in as, the client uses the new password from then on. Raises
        InvalidInput for a name or password that can't work.

        https://docs.couchdb.org/en/stable/config/auth.html#admins
        """
        check_admin_name(name)
        check_string(password, "password")
        hashed = passwords.derive(password, **self.dialect.hashing(self.config(node=node, hthdrs=hthdrs)))
        self.set_admin(name, str(hashed), password, node=node, hthdrs=hthdrs)
        return True

    def set_admin(
        self, name: str, hashed: str, password: str | None = None, node: str = LOCAL, hthdrs: Headers = None
    ) -> None:
        """Store the hash of a server admin's password on a node.

        With its ``password``, this client stays logged in as that admin if it was, with a password
        or a cookie, or if it was not logged in (on a CouchDB 1.x without admins).

        https://docs.couchdb.org/en/stable/config/auth.html#admins
        """
        check_admin_name(name)
        check_string(hashed, "hashed")
        check_type(password, (str, type(None)), "password", "a string")
        own, session, following = self.logs_in_as(name), self._http.cookie, self._following is not None
        self.config("admins", name, value=hashed, hthdrs=hthdrs, node=node)
        if password is None:
            return
        if own and following:
            self._continue_with(password)
        elif own and session:
            self.login(name, password)
        elif own or self.is_anonymous:
            self._http.username, self._http.password = name, password

    def deladmin(self, name: str, hthdrs: Headers = None, node: str = LOCAL) -> bool:
        """Remove a server admin from a node. True when it is done; raises NotFound if it does not exist.

        https://docs.couchdb.org/en/stable/config/auth.html#admins
        """
        check_string(name, "name")
        self.config("admins", name, delete=True, hthdrs=hthdrs, node=node)
        return True

    @property
    def is_anonymous(self) -> bool:
        """Whether this client's requests have no credentials."""
        return not self._http.has_credentials and not any(
            name.lower().startswith("x-auth-") for name in self._http.headers
        )

    def logs_in_as(self, name: str) -> bool:
        """Whether this client's requests log in with this name, by their cookie or their password."""
        if self._http.cookie:
            return _cookie_name(self._http.cookie) == name
        return self._http.username == name

    def login(
        self, username: str, password: str, hthdrs: Headers = None
    ) -> tuple[int, t.Mapping[str, str], dict[str, t.Any]]:
        """Log in for a session cookie, and use it for all later requests, until logout().

        Returns the status, headers and payload of the answer. Status 401 (wrong name or password) and 403
        (locked after too many failed logins) raise nothing; an earlier login stays. Such a login is not retried, as
        CouchDB 3.4 and later lock an account after five.

        https://docs.couchdb.org/en/stable/api/server/authn.html#post--session
        """
        answer = self.request(
            "POST",
            ("_session",),
            body={"name": username, "password": password},
            hthdrs=hthdrs,
            anonymous=True,
            accept=(401, 403),
        )
        if answer.status < 300:
            self._http.cookie = session_cookie(answer.headers)
        return answer.status, answer.headers, answer.body

    def logout(self, hthdrs: Headers = None) -> bool:
        """End the session and forget its cookie. True if the server accepted it.

        A client that was created with a name and password uses these again.

        https://docs.couchdb.org/en/stable/api/server/authn.html#delete--session
        """
        try:
            answer = self.request("DELETE", ("_session",), hthdrs=hthdrs)
        finally:
            self._http.cookie = None
        return bool(answer.body and answer.body.get("ok"))

    def authsession(self, hthdrs: Headers = None) -> dict[str, t.Any]:
        """The login of this client: C(userCtx) with C(name) and C(roles), and the handler that accepted it.

        https://docs.couchdb.org/en/stable/api/server/authn.html#get--session
        """
        return t.cast("dict[str, t.Any]", self.request("GET", ("_session",), hthdrs=hthdrs).body)


class _Following:
    """A password that may become that of a client's login while it works."""

    def __init__(self, password: str, has_session: bool) -> None:
        self.password = password
        self.has_session = has_session
        self.lock = threading.Lock()
        self.refused: errors.Unauthorized | None = None


def _cookie_name(cookie: str) -> str | None:
    """The name in a session's cookie, which is C(name:time:digest) in Base64 for URLs."""
    found = re.search(r"AuthSession=([A-Za-z0-9_-]+)", cookie) or re.match(r"([A-Za-z0-9_-]+)\Z", cookie)
    if not found:
        return None
    text = found.group(1)
    try:
        content = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        return content.split(b":")[0].decode()
    except ValueError:
        return None
