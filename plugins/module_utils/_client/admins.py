# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Admins: the server admins, and who this client is to the server."""

from __future__ import annotations

import base64
import re
import typing as t

from .._rules import passwords
from .._rules.dialect import LOCAL
from .._rules.names import check_admin_name
from .answers import session_cookie
from .server import Headers, Server


class Admins(Server):
    """The part of Client for server admins and sessions."""

    def admins(self, hthdrs: Headers = None, node: str = LOCAL) -> dict[str, str]:
        """The server admins of a node and their password hashes.

        https://docs.couchdb.org/en/stable/config/auth.html#admins
        """
        return t.cast("dict[str, str]", self.config("admins", hthdrs=hthdrs, node=node))

    def addadmin(self, name: str, password: str, hthdrs: Headers = None, node: str = LOCAL) -> bool:
        """Make a server admin of a node, or give an existing one a new password. True when it is done.

        The password is hashed here, as the server's version does it: it reaches neither the server nor its log.
        When it is the admin whom this client logs in as, the new password is used from then on. Raises
        InvalidInput for a name or password that can't work.

        https://docs.couchdb.org/en/stable/config/auth.html#admins
        """
        check_admin_name(name)
        hashed = passwords.derive(password, **self.dialect.hashing(self.config(node=node, hthdrs=hthdrs)))
        self.set_admin(name, str(hashed), password, node=node, hthdrs=hthdrs)
        return True

    def set_admin(
        self, name: str, hashed: str, password: str | None = None, node: str = LOCAL, hthdrs: Headers = None
    ) -> None:
        """Store the hash of a server admin's password on a node.

        With its ``password``, this client goes on as that admin when it was logged in as it, with a password
        or a cookie, or not at all (on a CouchDB 1.x without admins).

        https://docs.couchdb.org/en/stable/config/auth.html#admins
        """
        own, session = self.logs_in_as(name), self._http.cookie
        self.config("admins", name, value=hashed, hthdrs=hthdrs, node=node)
        if password is None:
            return
        if own and session:
            self.login(name, password)
        elif own or self.is_anonymous:
            self._http.username, self._http.password = name, password

    def deladmin(self, name: str, hthdrs: Headers = None, node: str = LOCAL) -> bool:
        """Take a server admin from a node. True when it is done; raises NotFound when there is no such admin.

        https://docs.couchdb.org/en/stable/config/auth.html#admins
        """
        self.config("admins", name, delete=True, hthdrs=hthdrs, node=node)
        return True

    @property
    def is_anonymous(self) -> bool:
        """Whether this client's requests log in with nothing."""
        return self._http.username is None and not self._http.cookie

    def logs_in_as(self, name: str) -> bool:
        """Whether this client's requests log in with this name, by their cookie or their password."""
        if self._http.cookie:
            return _cookie_name(self._http.cookie) == name
        return self._http.username == name

    def login(
        self, username: str, password: str, hthdrs: Headers = None
    ) -> tuple[int, t.Mapping[str, str], dict[str, t.Any]]:
        """Log in for a session cookie, and use it for all that follows, until logout().

        Gives the status, headers and payload of the answer. Status 401 (wrong name or password) and 403
        (locked after too many failed logins) raise nothing: nobody is logged in then, and whoever was
        before still is. Such a login is not tried again, as CouchDB 3.4 and later locks an account after five.

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
        """End the session and forget its cookie. True when the server took it.

        A client that was made with a name and password uses these again.

        https://docs.couchdb.org/en/stable/api/server/authn.html#delete--session
        """
        try:
            answer = self.request("DELETE", ("_session",), hthdrs=hthdrs)
        finally:
            self._http.cookie = None
        return bool(answer.body and answer.body.get("ok"))

    def authsession(self, hthdrs: Headers = None) -> dict[str, t.Any]:
        """Who this client is to the server: C(userCtx) with C(name) and C(roles), and how that was found out.

        https://docs.couchdb.org/en/stable/api/server/authn.html#get--session
        """
        return t.cast("dict[str, t.Any]", self.request("GET", ("_session",), hthdrs=hthdrs).body)


def _cookie_name(cookie: str) -> str | None:
    """Whose session a cookie is: CouchDB writes C(name:time:digest) in it, in Base64 for URLs."""
    found = re.search(r"AuthSession=([A-Za-z0-9_-]+)", cookie) or re.match(r"([A-Za-z0-9_-]+)\Z", cookie)
    if not found:
        return None
    text = found.group(1)
    try:
        content = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        return content.split(b":")[0].decode()
    except ValueError:
        return None
