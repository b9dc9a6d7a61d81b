# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Server: one CouchDB server, and the calls that every module may need: its settings and its nodes."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import typing as t
from collections.abc import Mapping
from dataclasses import fields
from http.cookies import SimpleCookie
from urllib.parse import urlsplit

from .. import errors
from .._rules.dialect import LOCAL, Dialect, Path, of_welcome
from .._rules.names import check_names, check_type
from .._rules.secrets import is_secret_setting
from .._rules.urls import is_loopback, server_url, token_key
from .._rules.values import setting_string
from .answers import Answer, is_list, is_object, is_text
from .connection import Connection, Options
from .parallel import in_parallel
from .wait import Progress

DEFAULT_URL = "http://localhost:5984/"

Headers = t.Optional[t.Mapping[str, str]]

_Server = t.TypeVar("_Server", bound="Server")

IN_MEMORY = {"X-Couch-Persist": "false"}
"""The header that keeps a setting in memory only: the next start of the node forgets it."""

SESSION_SECRETS = (("chttpd_auth", "secret"), ("couch_httpd_auth", "secret"))
"""The settings whose change ends all sessions."""

_ANY_ADDRESS = ("any", "0.0.0.0", "::")
_LOOKS = 5
"""The number of attempts to find a server that may have moved, a second apart."""

_LOGS_NOTICES = frozenset(["debug", "info", "notice"])
_QUIET = "warning"
_RESTORING = 3
"""The number of attempts to restore the log level."""


class Server:
    """The part that all parts of Client share: see Client."""

    def __init__(
        self,
        url: str | None = None,
        config: t.Mapping[str, t.Any] | None = None,
        hthdrs: Headers = None,
        cookie: str | SimpleCookie | None = None,
    ) -> None:
        check_type(config, (Mapping, type(None)), "config", "a mapping")
        check_type(hthdrs, (Mapping, type(None)), "hthdrs", "a mapping")
        check_type(cookie, (str, SimpleCookie, type(None)), "cookie", "a string or a SimpleCookie")
        given = dict(config or {})
        known = {field.name for field in fields(Options)}
        unknown = sorted(set(given) - known)
        if unknown:
            raise errors.InvalidInput("config", f"has no {', '.join(unknown)}. Use {', '.join(sorted(known))}")
        options = Options(**given)
        check_type(options.headers, Mapping, "headers", "a mapping")
        options.headers = {**options.headers, **(hthdrs or {})}
        if cookie is not None:
            options.cookie = _cookie_text(cookie)
        self._config = given
        self._http = Connection((os.environ.get("COUCHDB_URL") or DEFAULT_URL) if url in (None, "") else url, options)
        self.progress: Progress | None = None
        """Called during a wait: see the module C(wait)."""
        self.sending: t.Callable[[str], None] | None = None
        """Called with each change right before it is sent."""
        self._others: dict[str, t.Any] = {}
        self._settings_lock = threading.Lock()
        self._present: bool | None = None
        self._dialect: Dialect | None = None
        self._welcome: dict[str, t.Any] | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.url!r}>"

    def __enter__(self: _Server) -> _Server:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def __deepcopy__(self: _Server, memo: dict[int, t.Any]) -> _Server:
        """A client of its own, with the same options and credentials."""
        login = {"username": self._http.username, "password": self._http.password, "cookie": self._http.cookie}
        return type(self)(self.url, config={**self._config, **login, "headers": dict(self._http.headers)})

    @property
    def url(self) -> str:
        """The server's URL, without credentials."""
        return self._http.url

    @property
    def is_local(self) -> bool:
        """Whether the server is on this machine."""
        return is_loopback(self._http.host)

    @property
    def timeout(self) -> float:
        """Seconds that one request may take."""
        return self._http.timeout

    @property
    def username(self) -> str | None:
        """The name that requests log in with, or None."""
        return self._http.username

    @property
    def login_settings(self) -> dict[tuple[str, str], str]:
        """The settings whose change ends the login of requests, each with the option that contains it."""
        headers = {name.lower(): str(value) for name, value in self._http.headers.items()}
        key = token_key(headers.get("authorization", ""))
        found = {("jwt_keys", key): "headers"} if key else {}
        session = self._http.cookie or "AuthSession" in headers.get("cookie", "")
        if self._http.password is None and (session or "x-auth-couchdb-token" in headers):
            found.update(dict.fromkeys(SESSION_SECRETS, "cookie" if self._http.cookie else "headers"))
        return found

    def prefer_password(self) -> None:
        """Log in with the name and the password from now on, if there are both, and no cookie."""
        if self._http.username is not None and self._http.password is not None:
            self._http.cookie = None

    @property
    def last_asked(self) -> str:
        """The method and URL of the last request, for errors."""
        return self._http.last_asked

    @property
    def sends_in_clear(self) -> bool:
        """Whether credentials go to the server without TLS."""
        return self._http.url.startswith("http:") and self._http.has_credentials

    @property
    def trusts_anybody(self) -> bool:
        """Whether the server's TLS certificate is not validated."""
        return self._http.url.startswith("https:") and not self._http.validates

    def request(self, method: str, path: t.Sequence[str] = (), **options: t.Any) -> Answer:
        """Send one request to the server: see Connection.request in C(connection) for the options.

        ``hthdrs`` are the headers of this request.
        """
        return self._http.request(method, path, headers=options.pop("hthdrs", None), **options)

    def __call__(self, hthdrs: Headers = None) -> dict[str, t.Any]:
        """The server's welcome object, with its version.

        https://docs.couchdb.org/en/stable/api/server/common.html#get--
        """
        welcome = self.request("GET", hthdrs=hthdrs).body
        self._dialect = of_welcome(welcome, self.url)
        self._welcome = t.cast("dict[str, t.Any]", welcome)
        return self._welcome

    def welcome(self) -> dict[str, t.Any]:
        """The server's welcome object; read once."""
        return self() if self._welcome is None else self._welcome

    @property
    def dialect(self) -> Dialect:
        """The dialect of the server's version; read once."""
        if self._dialect is None:
            self()
        return t.cast(Dialect, self._dialect)

    def version(self) -> str:
        """The server's version, such as C(3.4.3); read once."""
        return self.dialect.version

    def __bool__(self) -> bool:
        """Whether the server is available; read once. ispresent() asks again."""
        if self._present is None:
            self.ispresent()
        return bool(self._present)

    def ispresent(self, hthdrs: Headers = None) -> bool:
        """Whether the server answers now, even if it requires a login. Sends HEAD.

        https://docs.couchdb.org/en/stable/api/basics.html#request-format-and-responses
        """
        try:
            self.request("HEAD", hthdrs=hthdrs)
        except (errors.Unauthorized, errors.Forbidden):
            self._present = True
        except errors.CouchDBError:
            self._present = False
        else:
            self._present = True
        return self._present

    def up(self, **limits: t.Any) -> tuple[int, t.Any]:
        """The status and body of C(_up): 200 if the node is in service, 404 if it is in maintenance mode or still starting.

        Sent without credentials, so that it works for a locked-out login too; the status is 401 if the server requires a login
        for it. ``limits``: the C(timeout) and C(retries) of the request. CouchDB 1.x has no C(_up), and is up if it answers.

        https://docs.couchdb.org/en/stable/api/server/common.html#up
        """
        path = ("_up",) if self.dialect.clustered else ()
        answer = self.request("GET", path, anonymous=True, accept=(401, 403, 404), **limits)
        return answer.status, answer.body

    def membership(self, hthdrs: Headers = None) -> dict[str, list[str]]:
        """The nodes: C(cluster_nodes) are members, C(all_nodes) are those connected. One node on CouchDB 1.x.

        https://docs.couchdb.org/en/stable/api/server/common.html#membership
        """
        if not self.dialect.clustered:
            return {"all_nodes": [LOCAL], "cluster_nodes": [LOCAL]}
        answer = self.request("GET", ("_membership",), hthdrs=hthdrs, expect=_is_membership)
        return t.cast("dict[str, list[str]]", answer.body)

    def nodes(self, names: t.Sequence[str]) -> list[str]:
        """The nodes of a list of names, in which C(all) means each member of the cluster, C(_local) the node that answers.

        Each is named once: C(_local) beside other names becomes the node's own name. Raises InvalidInput for an empty list.
        """
        check_names(names, "nodes")
        if not names:
            raise errors.InvalidInput("nodes", "is empty. Name at least one node")
        if "all" in names:
            return self.membership()["cluster_nodes"]
        named = list(dict.fromkeys(names))
        if LOCAL not in named or len(named) == 1:
            return named
        own = self.local_node()
        return list(dict.fromkeys(own if name == LOCAL else name for name in named))

    def answering(self, names: t.Collection[str]) -> str | None:
        """Which of these names of nodes is that of the node that answers; None if it is none of them."""
        if LOCAL in names:
            return LOCAL
        own = self.local_node()
        return own if own in names else None

    def local_node(self, hthdrs: Headers = None) -> str:
        """The name of the node that answers; C(_local) on CouchDB 1.x.

        https://docs.couchdb.org/en/stable/api/server/common.html#node-node-name
        """
        if not self.dialect.clustered:
            return LOCAL
        try:
            return t.cast(str, self.request("GET", self.dialect.node(LOCAL), hthdrs=hthdrs).body["name"])
        except errors.NotFound:
            # Not every CouchDB 2 returns it. If there is one node, it is that one.
            connected = self.membership(hthdrs)["all_nodes"]
            if len(connected) != 1:
                raise
            return connected[0]

    def at(self: _Server, url: str) -> _Server:
        """The client of another server, such as another node of the cluster, with this one's options and credentials.

        Credentials in ``url`` win. The same URL returns the same object. It does not retry requests, as those that
        wait for a server repeat them anyway. Raises InvalidInput for anything but a URL, or for a name without a password.
        """
        if url not in self._others:
            given = server_url(url)
            if given.username is not None and given.password is None:
                raise errors.InvalidInput(
                    "url", f"{given.plain} has a username and no password. Add it, or remove the username"
                )
            options = {**self._config, "headers": self._http.headers, "retries": 0}
            if given.username is None:
                options.update(username=self._http.username, password=self._http.password, cookie=self._http.cookie)
            else:
                options.update(username=given.username, password=given.password)
            self._others[url] = type(self)(url, config=options)
        return t.cast(_Server, self._others[url])

    def config(
        self,
        section: str | None = None,
        key: str | None = None,
        hthdrs: Headers = None,
        node: str = LOCAL,
        **change: t.Any,
    ) -> t.Any:
        """The settings of a node: read all, a section or a key; set or delete a key. For server admins.

        Without ``section``: a dict of sections, each a dict of keys and values. With it: a dict of keys
        and values, empty if the section is missing. With ``key``: its value; raises NotFound if
        it is missing. With C(value=...): sets the key, and returns the old value, C("") if there was none.
        With C(delete=True): deletes the key, and returns the old value. A default from the server's files
        can stay readable after that. Values are strings; booleans and numbers become strings as in CouchDB.

        Raises InvalidInput for a key without a section, or a change without a key.

        https://docs.couchdb.org/en/stable/api/server/configuration.html
        """
        unknown = sorted(set(change) - {"value", "delete"})
        if unknown:
            raise TypeError(f"config() has no argument {unknown[0]}")
        check_type(section, (str, type(None)), "section", "a string")
        check_type(key, (str, type(None)), "key", "a string")
        names = tuple(name for name in (section, key) if name is not None)
        if key is not None and section is None:
            raise errors.InvalidInput("section", "is missing. Set it with a key")
        if change and key is None:
            raise errors.InvalidInput("key", "is missing. Set it to set or delete a setting")
        if "value" in change and (change["value"] is None or change.get("delete")):
            problem = (
                "is None. Use delete=True to delete a setting"
                if change["value"] is None
                else "can't be set and deleted. Use one of both"
            )
            raise errors.InvalidInput("value", problem)
        path = self.dialect.settings(node, *names)
        # PouchDB Server has values that are not strings.
        expect = is_text if self.dialect.clustered else None
        secret = change.get("value") is not None and is_secret_setting(section or "", key or "")
        with self._undisturbed(node, hthdrs, secret=secret and section != "admins"):
            if change.get("value") is not None:
                body = setting_string(change["value"])
                return self.request("PUT", path, body=body, hthdrs=hthdrs, repeatable=True, expect=expect).body
            if change.get("delete"):
                return self.request("DELETE", path, hthdrs=hthdrs, expect=expect).body
        return self.request("GET", path, hthdrs=hthdrs, expect=(_is_settings, is_object, expect)[len(names)]).body

    @contextlib.contextmanager
    def _undisturbed(self, node: str, hthdrs: Headers, *, secret: bool) -> t.Iterator[None]:
        """Protect a request for settings: no other change is lost, and no ``secret`` is logged.

        CouchDB logs each change with its value, as a notice; it masks only those of server admins. So while a secret
        changes, the node logs only warnings and worse. That is set in memory: if this task is killed, the next start of
        the node resets it.

        https://docs.couchdb.org/en/stable/config/logging.html#log/level
        """
        if not self.dialect.clustered:
            # PouchDB Server loses settings that are written at the same time.
            with self._settings_lock:
                yield
            return
        if not secret:
            yield
            return
        path, in_memory = self.dialect.settings(node, "log", "level"), {**(hthdrs or {}), **IN_MEMORY}
        # Two at the same time would read the level that the other has set as the original one.
        with self._settings_lock:
            level = self.config("log", hthdrs=hthdrs, node=node).get("level")
            if level is not None and level not in _LOGS_NOTICES:
                yield
                return
            try:
                self.request("PUT", path, body=_QUIET, hthdrs=in_memory, repeatable=True, expect=is_text)
                yield
            except BaseException as error:
                # The first error is the one that matters.
                try:
                    self._restore_log_level(path, level, in_memory, "")
                except errors.LogLevelLost as lost:
                    error.args = (f"{error}; {lost}",)
                raise
            self._restore_log_level(path, level, in_memory, "the secret was set; ")

    def _restore_log_level(self, path: Path, level: str | None, in_memory: Headers, done: str) -> None:
        """Restore it, and retry if a proxy answers instead: nothing else would restore it until the node restarts."""
        for left in range(_RESTORING, 0, -1):
            try:
                if level is None:
                    self.request("DELETE", path, hthdrs=in_memory, expect=is_text)
                else:
                    self.request("PUT", path, body=level, hthdrs=in_memory, repeatable=True, expect=is_text)
                return
            except errors.CouchDBError as error:
                if left > 1 and not isinstance(error, (errors.Unauthorized, errors.Forbidden)):
                    continue
                message = f"{error} ({done}until its next start {path[1]} logs warnings only)"
                raise error.reworded(message, errors.LogLevelLost) from None

    def config_of_nodes(self, names: t.Sequence[str]) -> dict[str, dict[str, dict[str, str]] | None]:
        """All settings of several nodes: node → section → key → value. C(all) means each member.

        A member that is down has None. Raises InvalidInput, naming C(nodes), for a node that is not in the cluster.
        """
        nodes = self.nodes(names)

        def ask(node: str) -> dict[str, dict[str, str]] | errors.NodeDown:
            try:
                return t.cast("dict[str, dict[str, str]]", self.config(node=node))
            except errors.NodeDown as error:
                return error

        found = dict(zip(nodes, in_parallel(ask, nodes)))
        down = [node for node, answer in found.items() if isinstance(answer, errors.NodeDown)]
        # CouchDB reports a node that left the cluster as down, too.
        members = self.membership()["cluster_nodes"] if down else []
        for node in down:
            if node not in members:
                raise errors.InvalidInput("nodes", f"no such node: {node}. Use one of {', '.join(members)}")
        return {node: None if isinstance(answer, errors.NodeDown) else answer for node, answer in found.items()}

    def listens(self, host: str | None = None, port: str | None = None) -> bool | None:
        """Whether the server listens at another host or port of its machine now; None if that is not visible from here.

        ``host`` is an IP address; None, or the IP address for all, means the host of this client's URL. Waits for it for a while.
        """
        parts = urlsplit(self.url)
        own = parts.hostname or ""
        if host is not None and is_loopback(host) and not is_loopback(own):
            return None
        at = own if host is None or host in _ANY_ADDRESS else host
        there = Server(
            f"http://{f'[{at}]' if ':' in at else at}:{port or parts.port or 80}/", {"timeout": 1, "retries": 0}
        )
        for _attempt in range(_LOOKS):
            try:
                there.welcome()
                return True
            except errors.CouchDBError as error:
                # Another program may listen there.
                if error.status and not isinstance(error, errors.NotCouchDB):
                    return True
            time.sleep(1)
        return False if is_loopback(own) else None

    def close(self) -> None:
        """Close the pooled connections. The client can still be used; it opens new ones."""
        self._http.close()


def _is_membership(body: t.Any) -> bool:
    """Whether an answer lists the members and the connected nodes."""
    return is_object(body) and all(is_list(body.get(name)) for name in ("all_nodes", "cluster_nodes"))


def _is_settings(body: t.Any) -> bool:
    """Whether an answer is an object of sections, at least one, each an object of keys."""
    return is_object(body) and body != {} and all(is_object(keys) for keys in body.values())


def _cookie_text(cookie: str | SimpleCookie) -> str:
    if not isinstance(cookie, SimpleCookie):
        return cookie
    if "AuthSession" not in cookie:
        raise errors.InvalidInput("cookie", "contains no AuthSession. Log in first")
    return f"AuthSession={cookie['AuthSession'].value}"
