# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Client: a CouchDB server. Public.

Serves every module of this collection, and plain Python as well::

    from ansible_collections.couchpy.couchdb.plugins.module_utils.client import Client

    couch = Client("http://localhost:5984/", config={"username": "admin", "password": "secret"})
    couch.put("orders")
    couch.config("log", "level", value="debug")

CouchDB 1.x (and PouchDB Server, which speaks like it), 2.x and 3.x are served alike. Every call that
talks to the server raises the errors of the module C(errors): Unreachable when there is no answer,
Unauthorized (401), Forbidden (403), NotFound (404) and so on. Only what a call raises beyond these is
said with it.

The API of CouchDB: https://docs.couchdb.org/en/stable/api/index.html
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import threading
import time
import typing as t
from dataclasses import fields, replace
from http.cookies import SimpleCookie
from urllib.parse import urlsplit

from . import _dialect, _passwords, errors
from ._dialect import LOCAL
from ._http import (
    Answer,
    Connection,
    Options,
    is_list,
    is_ok,
    is_text,
    session_cookie,
    side_by_side,
    split_address,
)
from ._lazy import Lazy
from ._names import check_admin_name, check_database_name
from ._settings import setting_text
from ._users import PREFIX as USER_PREFIX
from .database import Database as _Database

if t.TYPE_CHECKING:
    from . import _cluster, _replications, _restart, _rolling
else:
    _cluster, _replications, _restart, _rolling = map(Lazy, ("_cluster", "_replications", "_restart", "_rolling"))

DEFAULT_URL = "http://localhost:5984/"

Headers = t.Optional[t.Mapping[str, str]]

_DBS_INFO_KEYS = 100
"""How many databases one POST to _dbs_info may name; CouchDB's own limit, max_db_number_for_dbs_info_req."""

_DBS_INFO_PAGE = 1000
_UUIDS_AT_ONCE = 1000
_SCHEDULER_PAGE = 1000
_SHARDS_PAGE = 1000

_POLL = 0.25
"""Seconds between two questions while something is waited for."""

_SETTLING = 5
"""Seconds that a server may take, at most, until its list of members shows what was written."""

LOOK_AT = (
    "Look at these: does its name resolve on the other nodes to the address that it listens at, do all have the same "
    "Erlang cookie, and are port 4369 and those of Erlang's distribution (inet_dist_listen_min to _max) open between them"
)
"""What keeps a node from connecting, which nothing over HTTP can tell apart."""

_CONNECTIONS = 6
"""On how many connections of their own a server is asked which node answers."""

_MAINTENANCE = ("couchdb", "maintenance_mode")
_IN_MEMORY = {"X-Couch-Persist": "false"}
"""The header with which a setting is kept in memory only: the next start of the node forgets it."""
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 5.0
"""Seconds between two looks at replications that are waited for."""


class Client:
    """A CouchDB server.

    ``url``: its address, http or https, with a path where a proxy puts it there. Without it the
    environment's C(COUCHDB_URL), else C(http://localhost:5984/). Credentials in it are used, and never
    shown. ``config``: a mapping of connection options: ``username``, ``password``, ``validate_certs``,
    ``ca_path``, ``client_cert``, ``client_key``, ``client_key_passphrase``, ``timeout`` (seconds for one request, 30), ``retries``
    (3). ``hthdrs``: HTTP headers for every request; those given to a call are added and win.
    ``cookie``: the C(AuthSession) cookie of an earlier login, as a text or a SimpleCookie.

    Nothing is sent yet. Raises InvalidInput for options that can't work, ImportError when the Python
    library C(requests) is missing.
    """

    def __init__(
        self,
        url: str | None = None,
        config: t.Mapping[str, t.Any] | None = None,
        hthdrs: Headers = None,
        cookie: str | SimpleCookie | None = None,
    ) -> None:
        given = dict(config or {})
        known = {field.name for field in fields(Options)}
        unknown = sorted(set(given) - known)
        if unknown:
            raise errors.InvalidInput("config", f"has no {', '.join(unknown)}; there are {', '.join(sorted(known))}")
        options = Options(**given)
        options.headers = {**options.headers, **(hthdrs or {})}
        if cookie is not None:
            options.cookie = _cookie_text(cookie)
        self._config = given
        self._http = Connection(url or os.environ.get("COUCHDB_URL") or DEFAULT_URL, options)
        self._databases: dict[str, _Database] = {}
        self._others: dict[str, Client] = {}
        self._settings_lock = threading.Lock()
        self._present: bool | None = None
        self._dialect: _dialect.Dialect | None = None
        self._welcome: dict[str, t.Any] | None = None

    def __repr__(self) -> str:
        return f"<Client {self.url!r}>"

    @property
    def url(self) -> str:
        """The server's address, without credentials."""
        return self._http.url

    @property
    def timeout(self) -> float:
        """Seconds that one request may take."""
        return self._http.timeout

    @property
    def username(self) -> str | None:
        """The name that requests log in with, or None."""
        return self._http.username

    @property
    def last_asked(self) -> str:
        """The method and address of the last request, for errors."""
        return self._http.last_asked

    @property
    def sends_in_clear(self) -> bool:
        """Whether credentials go to the server without TLS."""
        return self._http.url.startswith("http:") and self._http.has_credentials

    @property
    def trusts_anybody(self) -> bool:
        """Whether the server's TLS certificate is not looked at."""
        return self._http.url.startswith("https:") and not self._http.validates

    def request(self, method: str, path: t.Sequence[str] = (), **options: t.Any) -> Answer:
        """Send one request to the server: see Connection.request of the module C(_http) for the options.

        ``hthdrs`` are the headers of this request.
        """
        return self._http.request(method, path, headers=options.pop("hthdrs", None), **options)

    # The server

    def __call__(self, hthdrs: Headers = None) -> dict[str, t.Any]:
        """The server's welcome object, with its version.

        https://docs.couchdb.org/en/stable/api/server/common.html#get--
        """
        welcome = self.request("GET", hthdrs=hthdrs).body
        self._dialect = _dialect.of_welcome(welcome, self.url)
        self._welcome = t.cast("dict[str, t.Any]", welcome)
        return self._welcome

    def welcome(self) -> dict[str, t.Any]:
        """The server's welcome object; asked once, remembered."""
        return self() if self._welcome is None else self._welcome

    @property
    def dialect(self) -> _dialect.Dialect:
        """How this server wants to be spoken to; asked once, remembered."""
        if self._dialect is None:
            self()
        return t.cast(_dialect.Dialect, self._dialect)

    def version(self) -> str:
        """The server's version, such as C(3.4.3). Asked once, remembered."""
        return self.dialect.version

    def __bool__(self) -> bool:
        """Whether the server is available. Asked once, remembered; ispresent() asks afresh."""
        if self._present is None:
            self.ispresent()
        return bool(self._present)

    def ispresent(self, hthdrs: Headers = None) -> bool:
        """Whether the server answers now, if only to ask for a login. Sends HEAD.

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
        """The status and body of C(_up): 200 when the node is in service, 404 when it is in maintenance mode or still starting.

        Asked without credentials, as it then answers those who are locked out too; 401 from one that wants a login for
        it. ``limits``: the C(timeout) and C(retries) of the request. CouchDB 1.x has none, and is up when it answers.

        https://docs.couchdb.org/en/stable/api/server/common.html#up
        """
        path = ("_up",) if self.dialect.clustered else ()
        answer = self.request("GET", path, anonymous=True, accept=(401, 403, 404), **limits)
        return answer.status, answer.body

    def active_tasks(self, hthdrs: Headers = None, node: str | None = None) -> list[dict[str, t.Any]]:
        """What runs: compactions, indexers, replications, a dict each. For server admins.

        CouchDB 2 and 3 tell of all nodes that are connected, and with each task its C(node). With ``node``: what runs there.
        CouchDB 1.x is one node, C(_local).

        https://docs.couchdb.org/en/stable/api/server/common.html#active-tasks
        """
        tasks = t.cast("list[dict[str, t.Any]]", self.request("GET", ("_active_tasks",), hthdrs=hthdrs).body)
        if node is None:
            return tasks
        name = self.local_node(hthdrs) if node == LOCAL else node
        return [task for task in tasks if task.get("node", LOCAL) == name]

    def stats(self, *paths: str, hthdrs: Headers = None, node: str = LOCAL) -> dict[str, t.Any]:
        """The statistics of a node, all of them or those below a path of names.

        C(stats("couchdb", "request_time")) answers C({"couchdb": {"request_time": {...}}}). Raises
        NotFound for a statistic that the server doesn't have.

        https://docs.couchdb.org/en/stable/api/server/common.html#node-node-name-stats
        """
        body = self.request("GET", self.dialect.statistics(node, *paths), hthdrs=hthdrs).body
        if not self.dialect.clustered and isinstance(body, dict):
            found: t.Any = body
            for name in paths:
                found = found.get(name) if isinstance(found, dict) else None
            body = found
        if body is None:
            raise errors.NotFound(
                f"{self.url} has no statistic {'/'.join(paths)}", status=404, error="not_found", reason="missing"
            )
        for name in reversed(paths):
            body = {name: body}
        return t.cast("dict[str, t.Any]", body)

    def system(self, node: str = LOCAL, hthdrs: Headers = None) -> dict[str, t.Any]:
        """What the Erlang machine of a node tells of itself: C(uptime) in seconds, memory in bytes, queues.

        Raises Unsupported on CouchDB 1.x.

        https://docs.couchdb.org/en/stable/api/server/common.html#node-node-name-system
        """
        return t.cast("dict[str, t.Any]", self.request("GET", self.dialect.system(node), hthdrs=hthdrs).body)

    def uuids(self, count: int | None = None, hthdrs: Headers = None) -> list[str]:
        """New UUIDs made by the server, C(count) of them, 1 by default.

        CouchDB gives 1000 at most for one request; more are asked for in as many as it takes. Raises
        InvalidInput when count is below 1.

        https://docs.couchdb.org/en/stable/api/server/common.html#uuids
        """
        wanted = 1 if count is None else count
        if wanted < 1:
            raise errors.InvalidInput("count", f"is {wanted}, and must be 1 or more")
        found: list[str] = []
        while len(found) < wanted:
            portion = min(_UUIDS_AT_ONCE, wanted - len(found))
            found += self.request("GET", ("_uuids",), query={"count": portion}, hthdrs=hthdrs).body["uuids"]
        return found

    def log(self, bytes: int | None = None, offset: int | None = None, hthdrs: Headers = None) -> str:
        """The end of the server's log as text: C(bytes) of it (1000), ending C(offset) bytes before its end (0).

        CouchDB 1.x has a call for it. CouchDB 2 and 3 have none: there the file is read that the
        server's settings name (C([log] writer = file), C(file)), when the server is on this machine.
        Raises Unsupported otherwise.

        https://docs.couchdb.org/en/stable/config/logging.html
        """
        size, skip = 1000 if bytes is None else bytes, offset or 0
        if size < 0 or skip < 0:
            raise errors.InvalidInput("bytes" if size < 0 else "offset", "must be 0 or more")
        if not self.dialect.clustered:
            query = {"bytes": size, "offset": skip}
            text = self.request("GET", self.dialect.log(), query=query, text=True, hthdrs=hthdrs).body
            return t.cast(str, text or "")
        return _tail(self._log_file(hthdrs), size, skip)

    def _log_file(self, hthdrs: Headers) -> str:
        settings = self.config("log", hthdrs=hthdrs)
        lacks = f"{self.dialect.product} {self.dialect.version} has no log over HTTP"
        if settings.get("writer") != "file" or not settings.get("file"):
            raise errors.Unsupported(f"{lacks}, and its settings don't say that it logs to a file ([log] writer, file)")
        host = urlsplit(self.url).hostname or ""
        if not (host in ("localhost", "::1") or host.startswith("127.")):
            raise errors.Unsupported(f"{lacks}, and its log file is on {host}, not on this machine")
        if not os.access(settings["file"], os.R_OK):
            raise errors.Unsupported(f"{lacks}, and its log file {settings['file']} can't be read here")
        return t.cast(str, settings["file"])

    def restart(self, node: str = LOCAL, hthdrs: Headers = None) -> bool:
        """Ask a node to restart. True when it took the request, not when it is back. For server admins.

        Raises Unsupported before CouchDB 2.3, which brought the call back, and on PouchDB Server.

        https://docs.couchdb.org/en/stable/api/server/common.html#node-node-name-restart
        """
        path = self.dialect.restart(node)
        try:
            answer = self.request("POST", path, body={}, hthdrs=hthdrs, repeatable=False, expect=is_ok)
        except errors.NotFound:
            if self.dialect.clustered:
                raise
            raise self.dialect.lacks("restart call") from None
        self._present = None
        return bool(answer.body and answer.body.get("ok"))

    def check_restart(self, maintenance_mode: bool = False) -> None:
        """Raise Unsupported when this server has no restart call, or no maintenance mode where that is wanted."""
        self.dialect.restart(LOCAL)
        if maintenance_mode and not self.dialect.clustered:
            raise self.dialect.lacks("maintenance mode")

    def restart_and_wait(
        self,
        node: str = LOCAL,
        wait_timeout: float = 120,
        drain_time: float | None = None,
        without: t.Collection[str] = (),
    ) -> dict[str, t.Any]:
        """Restart a node, and wait until it is proved to have restarted, serves again, and the cluster is whole.

        With ``drain_time`` the node is in maintenance mode for so many seconds first: its C(_up) answers 404, so that
        balancers take it out of service. That is kept in the node's memory only: its restart ends it, also when nobody is
        there any more to undo it. A node that was in maintenance mode before is so afterwards. ``without`` names
        members that may be missing.

        Gives C(name), C(uptime_before) and C(uptime_after) in seconds (None on CouchDB 1.x, which doesn't tell), and
        C(seconds_away), from asking until it served again. Raises RestartFailed when the cluster is not whole,
        so that nothing was asked; and when it is not back, or the cluster not whole again, after ``wait_timeout`` seconds.

        https://docs.couchdb.org/en/stable/api/server/common.html#node-node-name-restart
        """
        return _rolling.Restart(self, node, wait_timeout, drain_time, without).run()

    def sighting(self, node: str = LOCAL, **limits: t.Any) -> _restart.Sighting:
        """What a node tells of itself now. ``limits``: the C(timeout) and C(retries) of the request."""
        if self.dialect.clustered:
            return _restart.of_system(self.request("GET", self.dialect.system(node), **limits).body)
        path = self.dialect.statistics(node, "httpd", "requests")
        return _restart.of_statistics(self.request("GET", path, accept=(404,), **limits).body)

    def cluster_seen(self, **limits: t.Any) -> _restart.Cluster:
        """The members, and what each that is connected tells of itself. Takes a request for each, side by side."""
        if not self.dialect.clustered:
            return _restart.Cluster((LOCAL,), {LOCAL: self.sighting(**limits)})
        listed = self.request("GET", ("_membership",), **limits).body
        members = listed["cluster_nodes"]
        connected = [name for name in members if name in listed["all_nodes"]]

        def look(name: str) -> _restart.Sighting | None:
            try:
                return self.sighting(name, **limits)
            except errors.NodeDown:
                # It has just gone, and is listed for a moment longer.
                return None

        seen = zip(connected, side_by_side(look, connected))
        return _restart.Cluster(tuple(members), {name: sighting for name, sighting in seen if sighting is not None})

    def maintenance_mode(self, node: str = LOCAL) -> str | None:
        """The setting C(couchdb/maintenance_mode) of a node; None when it has none, as on CouchDB 1.x.

        https://docs.couchdb.org/en/stable/config/couchdb.html#couchdb/maintenance_mode
        """
        if not self.dialect.clustered:
            return None
        try:
            return t.cast(str, self.config(*_MAINTENANCE, node=node))
        except errors.NodeDown:
            raise
        except errors.NotFound:
            return None

    def set_maintenance_mode(self, node: str, mode: str | None) -> None:
        """Set C(couchdb/maintenance_mode) of a node, or delete it, in its memory only: its next start forgets it.

        Raises Unsupported on CouchDB 1.x.

        https://docs.couchdb.org/en/stable/config/couchdb.html#couchdb/maintenance_mode
        """
        if not self.dialect.clustered:
            raise self.dialect.lacks("maintenance mode")
        change: dict[str, t.Any] = {"delete": True} if mode is None else {"value": mode}
        self.config(*_MAINTENANCE, node=node, hthdrs=_IN_MEMORY, **change)

    # Nodes

    def answering_node(self) -> str:
        """The name of the one node that answers at this address; C(_local) on CouchDB 1.x.

        It is asked on several connections of their own, as a balancer hands these to different nodes. Raises
        InvalidInput, naming C(nodes), when not one and the same answers all of them.
        """
        seen: dict[tuple[str, t.Any], None] = {}
        for _connection in range(_CONNECTIONS):
            self.close()
            seen[self.local_node(), self().get("uuid")] = None
        if len(seen) > 1:
            names = ", ".join(sorted({name for name, _uuid in seen}))
            raise errors.InvalidInput(
                "nodes",
                f"different nodes answer at {self.url} ({names}), so {LOCAL} could be any of them: "
                "name the nodes, or give the address of one",
            )
        return next(iter(seen))[0]

    def membership(self, hthdrs: Headers = None) -> dict[str, list[str]]:
        """The nodes: C(cluster_nodes) are members, C(all_nodes) are those connected. One node on CouchDB 1.x.

        https://docs.couchdb.org/en/stable/api/server/common.html#membership
        """
        if not self.dialect.clustered:
            return {"all_nodes": [LOCAL], "cluster_nodes": [LOCAL]}
        return t.cast("dict[str, list[str]]", self.request("GET", ("_membership",), hthdrs=hthdrs).body)

    def nodes(self, names: t.Sequence[str]) -> list[str]:
        """The nodes that a list of names means: C(all) stands for each member of the cluster.

        Raises InvalidInput for an empty list.
        """
        if not names:
            raise errors.InvalidInput("nodes", "names no node")
        if "all" in names:
            return self.membership()["cluster_nodes"]
        return list(dict.fromkeys(names))

    def at(self, url: str) -> Client:
        """The client of another server, such as another node of the cluster, with this one's options and credentials.

        Credentials in ``url`` win. It is the same object for the same address. It doesn't try a request again, as who
        waits for a server asks again anyway. Raises InvalidInput for what is no address, or has a name without a password.
        """
        if url not in self._others:
            address, username, password = split_address(url)
            if username is not None and password is None:
                raise errors.InvalidInput("url", f"{address} is given with a name to log in with and no password")
            options = {**self._config, "headers": self._http.headers, "retries": 0}
            if username is None:
                options.update(username=self._http.username, password=self._http.password, cookie=self._http.cookie)
            else:
                options.update(username=username, password=password)
            self._others[url] = Client(url, config=options)
        return self._others[url]

    # Members of the cluster

    def shards(self, node: str = LOCAL, hthdrs: Headers = None) -> dict[str, _cluster.Placement]:
        """Where the shards of every database are, by the database's name, as a node knows it. For server admins.

        Takes a request for each thousand databases. Raises Unsupported before CouchDB 3.0.

        https://docs.couchdb.org/en/stable/cluster/sharding.html#updating-cluster-metadata-to-reflect-the-new-target-shard-s
        """
        path = self.dialect.shard_map(node)
        found: dict[str, _cluster.Placement] = {}
        after: dict[str, t.Any] = {}
        while True:
            query = {"include_docs": True, "limit": _SHARDS_PAGE, **after}
            rows = self.request("GET", path, query=query, hthdrs=hthdrs).body["rows"]
            found.update(
                (row["id"], _cluster.placement(row["doc"])) for row in rows if not row["id"].startswith("_design/")
            )
            if len(rows) < _SHARDS_PAGE:
                return found
            after = {"start_key": json.dumps(rows[-1]["id"]), "skip": 1}

    def cluster_nodes(self, hthdrs: Headers = None) -> tuple[list[_cluster.Node], dict[str, _cluster.Placement]]:
        """The members and who else is connected, what is known of each, and where the shards of every database are.

        Each connected node is asked through this one, side by side, whether it is in maintenance. Before CouchDB 3.0
        nothing is known of shards, and on 1.x there is one node. For server admins.

        https://docs.couchdb.org/en/stable/config/couchdb.html#couchdb/maintenance_mode
        """
        membership = self.membership(hthdrs)
        members, connected = membership["cluster_nodes"], membership["all_nodes"]
        knows_shards = self.dialect.has_shard_map
        shards = self.shards(hthdrs=hthdrs) if knows_shards else {}
        held = _cluster.copies(shards)

        def ask(name: str) -> _cluster.Node:
            node = _cluster.Node(name, name in members, name in connected, held.get(name, 0) if knows_shards else None)
            if not node.connected or not self.dialect.clustered:
                return node
            try:
                mode = self.config("couchdb", node=name, hthdrs=hthdrs).get("maintenance_mode", "false")
            except (errors.Unreachable, errors.ServerError, errors.NodeDown) as error:
                return replace(node, problem=error.reason or str(error))
            return replace(node, maintenance_mode=mode)

        names = [*members, *(name for name in connected if name not in members)]
        return side_by_side(ask, names), shards

    def server(self, closely: bool = False) -> _cluster.Server:
        """What the node that answers tells of itself: its name, version and the section C(cluster) of its settings.

        ``closely``: all its settings, its members and its shards as well, which takes two requests more. For server admins.
        """
        node, version = self.local_node(), self.version()
        if not closely or not self.dialect.clustered:
            return _cluster.Server(node, version, {"cluster": self.config("cluster")})
        return _cluster.Server(node, version, self.config(), self.membership()["cluster_nodes"], self.shards())

    def servers(
        self, urls: t.Mapping[str, str], closely: t.Collection[str] = ()
    ) -> dict[str, _cluster.Server | errors.CouchDBError]:
        """What answers at some addresses, asked side by side with the credentials of this client: a name each → its address.

        ``closely`` are the names of those that are asked for all. Where no good answer comes, it is the error that is given.
        """

        def ask(name: str) -> _cluster.Server | errors.CouchDBError:
            try:
                return self.at(urls[name]).server(closely=name in closely)
            except errors.CouchDBError as error:
                return error

        names = list(urls)
        return dict(zip(names, side_by_side(ask, names)))

    def join_node(
        self, name: str, node: str = LOCAL, wait_timeout: float | None = None, hthdrs: Headers = None
    ) -> dict[str, t.Any]:
        """Make a node a member of the cluster, as the list of ``node`` has it, and wait until it is connected.

        When it is not within ``wait_timeout`` seconds, it is taken out again and NotConnected raised, so that no
        name stays behind that CouchDB would place shards on. Without a timeout nothing is waited for. Raises Conflict
        when it is a member already.

        https://docs.couchdb.org/en/stable/cluster/nodes.html#adding-a-node
        """
        answer = self.request("PUT", self.dialect.member(node, name), body={}, hthdrs=hthdrs, expect=is_ok)
        if wait_timeout is None or self._comes_about(lambda: self._is_connected(name, hthdrs), wait_timeout):
            return t.cast("dict[str, t.Any]", answer.body)
        outcome = "was taken out again"
        try:
            self.leave_node(name, node, hthdrs)
        except errors.NotFound:
            pass
        except errors.CouchDBError as error:
            outcome = f"could not be taken out again ({error})"
        raise errors.NotConnected(f"{name} did not connect within {wait_timeout:g} s and {outcome}. {LOOK_AT}")

    def _is_connected(self, name: str, hthdrs: Headers) -> bool:
        membership = self.membership(hthdrs)
        return name in membership["all_nodes"] and name in membership["cluster_nodes"]

    def leave_node(self, name: str, node: str = LOCAL, hthdrs: Headers = None) -> bool:
        """Take a node out of the cluster, out of the list of ``node``, which spreads. True when it is done.

        What it holds is not moved. It goes on listing the members itself. Raises NotFound when it is no member.

        https://docs.couchdb.org/en/stable/cluster/nodes.html#removing-a-node
        """
        path = self.dialect.member(node, name)
        rev = self.request("GET", path, hthdrs=hthdrs).body["_rev"]
        left = bool(self.request("DELETE", path, query={"rev": rev}, hthdrs=hthdrs, expect=is_ok).body)
        # The list of members follows a moment later; who asks for it next would still find the node there.
        self._comes_about(lambda: name not in self.membership(hthdrs)["cluster_nodes"], _SETTLING)
        return left

    def await_members(
        self, names: t.Sequence[str], urls: t.Sequence[str] = (), wait_timeout: float = 60, exclusive: bool = False
    ) -> dict[str, list[str]]:
        """Wait until these nodes are members and connected, and with ``exclusive`` nobody else is a member.

        This server is asked, and each of ``urls`` with the same credentials, until all say so. Gives this server's
        membership. Raises NotConnected, with what each said last, when that takes more than ``wait_timeout`` seconds.
        """
        clients = list({client.url: client for client in [*(self.at(url) for url in urls), self]}.values())
        told: dict[str, dict[str, list[str]] | str] = {}
        problems: list[str] = []

        def agreed() -> bool:
            told.update((client.url, answer) for client, answer in zip(clients, side_by_side(_membership, clients)))
            problems[:] = _cluster.disagreements(names, told, exclusive=exclusive)
            return not problems

        if not self._comes_about(agreed, wait_timeout):
            said = "; ".join(problems)
            raise errors.NotConnected(f"the nodes did not agree on the members within {wait_timeout:g} s: {said}")
        return t.cast("dict[str, list[str]]", told[self.url])

    def put_system_database(
        self, name: str, members: t.Sequence[str], urls: t.Sequence[str] = (), wait_timeout: float = 60
    ) -> _Database:
        """Create one of CouchDB's own databases once its members agree, so that each can get a copy.

        Raises NotConnected when they don't in time, AlreadyExists when it is there.

        https://docs.couchdb.org/en/stable/setup/cluster.html#cluster-setup-api
        """
        self.await_members(members, urls, wait_timeout)
        return self.put(name)

    @staticmethod
    def _comes_about(condition: t.Callable[[], bool], wait_timeout: float) -> bool:
        """Whether a condition becomes true within some seconds; asked at once, then again and again."""
        deadline = time.monotonic() + wait_timeout
        while not condition():
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL)
        return True

    # Settings

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
        and values, empty when there is no such section. With ``key``: its value; raises NotFound when
        there is none. With C(value=...): sets the key, and gives the old value, C("") if there was none.
        With C(delete=True): deletes the key, and gives the old value. A default from the server's files
        can stay readable after that. Values are texts; booleans and numbers are spelt as CouchDB does.

        Raises InvalidInput when a key is given without a section, or a change without a key.

        https://docs.couchdb.org/en/stable/api/server/configuration.html
        """
        unknown = sorted(set(change) - {"value", "delete"})
        if unknown:
            raise TypeError(f"config() has no argument {unknown[0]}")
        names = tuple(name for name in (section, key) if name is not None)
        if key is not None and section is None:
            raise errors.InvalidInput("section", "must be given with a key")
        if change and key is None:
            raise errors.InvalidInput("key", "must be given to set or delete a setting")
        path = self.dialect.settings(node, *names)
        # PouchDB Server has values that are no texts.
        expect = is_text if self.dialect.clustered else None
        # PouchDB Server loses settings that are written at the same time.
        with contextlib.nullcontext() if self.dialect.clustered else self._settings_lock:
            if change.get("value") is not None:
                body = setting_text(change["value"])
                return self.request("PUT", path, body=body, hthdrs=hthdrs, repeatable=True, expect=expect).body
            if change.get("delete"):
                return self.request("DELETE", path, hthdrs=hthdrs, expect=expect).body
        return self.request("GET", path, hthdrs=hthdrs).body

    def config_of_nodes(self, names: t.Sequence[str]) -> dict[str, dict[str, dict[str, str]] | None]:
        """All settings of several nodes: node → section → key → value. C(all) stands for each member.

        None stands for a member that is down. Raises InvalidInput, naming C(nodes), for a node that the cluster doesn't have.
        """
        nodes = self.nodes(names)

        def ask(node: str) -> dict[str, dict[str, str]] | errors.NodeDown:
            try:
                return t.cast("dict[str, dict[str, str]]", self.config(node=node))
            except errors.NodeDown as error:
                return error

        found = dict(zip(nodes, side_by_side(ask, nodes)))
        down = [node for node, answer in found.items() if isinstance(answer, errors.NodeDown)]
        # A node that left the cluster is told to be down, too.
        members = self.membership()["cluster_nodes"] if down else []
        for node in down:
            if node not in members:
                raise errors.InvalidInput("nodes", f"no such node: {node}; there are {', '.join(members)}")
        return {node: None if isinstance(answer, errors.NodeDown) else answer for node, answer in found.items()}

    # Server admins

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
        hashed = _passwords.derive(password, **self.dialect.hashing(self.config(node=node, hthdrs=hthdrs)))
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

    @property
    def is_anonymous(self) -> bool:
        """Whether this client's requests log in with nothing."""
        return self._http.username is None and not self._http.cookie

    def logs_in_as(self, name: str) -> bool:
        """Whether this client's requests log in with this name, by their cookie or their password."""
        if self._http.cookie:
            return _cookie_name(self._http.cookie) == name
        return self._http.username == name

    def local_node(self, hthdrs: Headers = None) -> str:
        """The name of the node that answers; C(_local) on CouchDB 1.x.

        https://docs.couchdb.org/en/stable/api/server/common.html#node-node-name
        """
        if not self.dialect.clustered:
            return LOCAL
        try:
            return t.cast(str, self.request("GET", self.dialect.node(LOCAL), hthdrs=hthdrs).body["name"])
        except errors.NotFound:
            # Not every CouchDB 2 tells; where there is one node, it is that.
            connected = self.membership(hthdrs)["all_nodes"]
            if len(connected) != 1:
                raise
            return connected[0]

    def deladmin(self, name: str, hthdrs: Headers = None, node: str = LOCAL) -> bool:
        """Take a server admin from a node. True when it is done; raises NotFound when there is no such admin.

        https://docs.couchdb.org/en/stable/config/auth.html#admins
        """
        self.config("admins", name, delete=True, hthdrs=hthdrs, node=node)
        return True

    def hashing(self, node: str = LOCAL) -> dict[str, t.Any]:
        """How the server hashes new passwords, C(prf) and C(iterations), by its settings where these may be read."""
        try:
            settings = self.config(node=node)
        except (errors.Unauthorized, errors.Forbidden):
            settings = {}
        return self.dialect.hashing(settings)

    # Users

    def users(self, names: t.Sequence[str], hthdrs: Headers = None) -> dict[str, dict[str, t.Any] | None]:
        """The documents of these users by name, read together; None for those that are not there.

        Raises NotFound, saying what to do, when the server has no database C(_users).

        https://docs.couchdb.org/en/stable/intro/security.html#authentication-database
        """
        ids = [USER_PREFIX + name for name in names]
        try:
            found = self.Database("_users").bulk_get(ids, hthdrs)
        except errors.NotFound as error:
            raise errors.NotFound(
                "the server has no database _users, which holds its users: set the server up, or create it with couchdb_database",
                status=error.status,
                error=error.error,
                reason=error.reason,
            ) from None
        return {name: found[docid] for name, docid in zip(names, ids)}

    # Sessions

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

    # Databases

    def Database(self, name: str, hthdrs: Headers = None) -> _Database:
        """The database of this name, whether or not the server has it. The same object for the same name.

        ``hthdrs`` are HTTP headers for each of its requests. Raises InvalidInput for an illegal name.
        """
        check_database_name(name)
        database = self._opened(name)
        database.hthdrs.update(hthdrs or {})
        return database

    def _opened(self, name: str) -> _Database:
        return self._databases.setdefault(name, _Database(self, name))

    def __getitem__(self, name: str) -> _Database:
        return self.Database(name)

    def __delitem__(self, name: str) -> None:
        self.delete(name)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.has_database(name)

    def __iter__(self) -> t.Iterator[_Database]:
        return iter(self.all_dbs())

    def __len__(self) -> int:
        return len(self.database_names())

    def database_names(self, hthdrs: Headers = None, **query: t.Any) -> list[str]:
        """The names of all databases, or of those that ``query`` takes, as the server sorts them.

        https://docs.couchdb.org/en/stable/api/server/common.html#all-dbs
        """
        return t.cast("list[str]", self.request("GET", ("_all_dbs",), query=query, hthdrs=hthdrs, expect=is_list).body)

    def all_dbs(self, hthdrs: Headers = None) -> list[_Database]:
        """All databases of the server, as Database objects.

        https://docs.couchdb.org/en/stable/api/server/common.html#all-dbs
        """
        # Not by Database(): PouchDB Server has databases with names that CouchDB would not take.
        return [self._opened(name) for name in self.database_names(hthdrs)]

    def has_database(self, name: str, hthdrs: Headers = None) -> bool:
        """Whether the server has a database of this name.

        https://docs.couchdb.org/en/stable/api/database/common.html#head--db
        """
        return self.Database(name).ispresent(hthdrs)

    def put(self, name: str, hthdrs: Headers = None, **creation: t.Any) -> _Database:
        """Create a database. ``creation``: the shards, replicas and partitioned of Database.put.

        Raises AlreadyExists when it is there, InvalidInput for an illegal name.
        """
        return self.Database(name).put(hthdrs=hthdrs, **creation)

    def delete(self, db: str | _Database, hthdrs: Headers = None) -> bool:
        """Delete a database and all that is in it. True when it is done; raises NotFound when there is none."""
        name = db.name if isinstance(db, _Database) else db
        return self.Database(name).delete_database(hthdrs)

    def dbs_info(self, names: t.Sequence[str] | None = None, hthdrs: Headers = None) -> dict[str, t.Any]:
        """What the server tells of these databases, or of all: name → information, None for one that is not there.

        Takes a request for each hundred names (for each thousand databases when all are asked for, or so many that
        this is less), another when one of the names is not there, and on CouchDB before 2.2 one for each database that is
        there. Raises ServerError for a name whose database is there, while no node that holds it is in service.

        https://docs.couchdb.org/en/stable/api/server/common.html#dbs-info
        """
        if names is None and self.dialect.has_dbs_info_listing:
            try:
                return self._dbs_info_listing(hthdrs)
            except errors.Unreachable as error:
                if not error.sent or isinstance(error, errors.TimedOut):
                    raise
                # CouchDB cuts this answer short at a database that no node in service holds. By their names, it can be told which.
                names = self.database_names(hthdrs)
        if not self.dialect.has_dbs_info:
            there = self.database_names(hthdrs)
            asked = there if names is None else [name for name in names if name in set(there)]
            infos = dict(zip(asked, side_by_side(lambda name: self._opened(name).info(hthdrs), asked)))
            return {name: infos.get(name) for name in (there if names is None else names)}
        wanted = self.database_names(hthdrs) if names is None else list(names)
        if names is None:
            return self._dbs_info_portions(wanted, hthdrs)
        if len(wanted) > _DBS_INFO_PAGE:
            return self._many_dbs_info(wanted, hthdrs)
        infos = self._dbs_info_portions(wanted, hthdrs)
        return {**infos, **self._infos_after_all([name for name, info in infos.items() if info is None], hthdrs)}

    def _infos_after_all(self, missing: list[str], hthdrs: Headers) -> dict[str, t.Any]:
        """What there is of databases that C(_dbs_info) doesn't know.

        It says not_found also of one whose nodes are all down or in maintenance. That one is listed, and asked for
        by itself it says so; taken for missing, it would be reported as deleted, or created once more.
        """
        query = {name: json.dumps(missing[0]) for name in ("start_key", "end_key")} if len(missing) == 1 else {}
        try:
            listed = self.database_names(hthdrs, **query) if missing else []
        except (errors.Unauthorized, errors.Forbidden):
            # The list is for server admins.
            return {}

        def ask(name: str) -> dict[str, t.Any] | None:
            try:
                return self._opened(name).info(hthdrs)
            except errors.NotFound:
                return None

        asked = sorted(set(missing).intersection(listed))
        return dict(zip(asked, side_by_side(ask, asked)))

    def _many_dbs_info(self, names: list[str], hthdrs: Headers) -> dict[str, t.Any]:
        """What dbs_info() gives for so many names that it is worth a request to see which are there."""
        there = self.database_names(hthdrs)
        asked = sorted(set(names).intersection(there))
        listed = self.dialect.has_dbs_info_listing and len(there) < len(asked) * (_DBS_INFO_PAGE // _DBS_INFO_KEYS)
        infos = self._dbs_info_listing(hthdrs) if listed else self._dbs_info_portions(asked, hthdrs)
        return {name: infos.get(name) for name in names}

    def _dbs_info_portions(self, wanted: list[str], hthdrs: Headers) -> dict[str, t.Any]:
        portions = [wanted[start : start + _DBS_INFO_KEYS] for start in range(0, len(wanted), _DBS_INFO_KEYS)]

        def ask(keys: list[str]) -> list[dict[str, t.Any]]:
            rows = self.request(
                "POST", ("_dbs_info",), body={"keys": keys}, repeatable=True, hthdrs=hthdrs, expect=is_list
            ).body
            return t.cast("list[dict[str, t.Any]]", rows)

        return dict(_info_of(row) for rows in side_by_side(ask, portions) for row in rows)

    def _dbs_info_listing(self, hthdrs: Headers) -> dict[str, t.Any]:
        found: dict[str, t.Any] = {}
        after: dict[str, t.Any] = {}
        while True:
            query = {"limit": _DBS_INFO_PAGE, **after}
            rows = self.request("GET", ("_dbs_info",), query=query, hthdrs=hthdrs, expect=is_list).body
            found.update(_info_of(row) for row in rows)
            if len(rows) < _DBS_INFO_PAGE:
                return found
            after = {"start_key": json.dumps(rows[-1]["key"]), "skip": 1}

    def securities(self, names: t.Sequence[str]) -> dict[str, dict[str, t.Any]]:
        """The security objects of these databases by name, read side by side: see Database.security."""
        return dict(zip(names, side_by_side(lambda name: self.Database(name).security(), names)))

    def revs_limits(self, names: t.Sequence[str]) -> dict[str, int]:
        """How many revisions these databases remember, by name, read side by side: see Database.revs_limit."""
        return dict(zip(names, side_by_side(lambda name: self.Database(name).revs_limit(), names)))

    def design_documents(self, names: t.Sequence[str]) -> dict[str, list[dict[str, t.Any]] | None]:
        """The design documents of these databases by name, read side by side; None for one that is not there."""

        def ask(name: str) -> list[dict[str, t.Any]] | None:
            try:
                return self.Database(name).design_documents()
            except errors.NotFound:
                return None

        return dict(zip(names, side_by_side(ask, names)))

    # Many documents, replication

    def documents(
        self,
        portions: t.Sequence[tuple[str, t.Sequence[str]]],
        look: t.Callable[[str, t.Sequence[str], dict[str, dict[str, t.Any] | None] | None], t.Any],
    ) -> list[t.Any]:
        """What ``look`` makes of the documents of each portion, a database and ids, read side by side.

        It gets the name of the database, the ids, and the documents by id, None for one that is not there, or None
        when there is no such database. Only a few portions are held at a time.
        """

        def ask(portion: tuple[str, t.Sequence[str]]) -> t.Any:
            name, ids = portion
            try:
                found: dict[str, dict[str, t.Any] | None] | None = self.Database(name).bulk_get(ids, conflicts=True)
            except errors.NotFound:
                found = None
            return look(name, ids, found)

        return side_by_side(ask, portions)

    def attachments(self, wanted: t.Sequence[tuple[str, str, str]]) -> list[bytes]:
        """The contents of attachments, each named by database, document and name, read side by side."""
        return side_by_side(lambda one: self.Database(one[0]).attachment(one[1], one[2]), wanted)

    def build_views(self, wanted: t.Sequence[tuple[str, str, t.Sequence[str]]], wait_timeout: float) -> None:
        """Wait until views are built, each named by database, design document and views: see Database.build_views."""
        side_by_side(lambda one: self.Database(one[0]).build_views(one[1], one[2], wait_timeout), wanted)

    def max_document_size(self) -> int | None:
        """The largest document, in bytes, that the server takes; None when it doesn't tell.

        https://docs.couchdb.org/en/stable/config/couchdb.html#couchdb/max_document_size
        """
        try:
            setting = self.config("couchdb").get("max_document_size", self.dialect.max_document_size)
        except (errors.Unauthorized, errors.Forbidden, errors.NotFound):
            return None
        return int(setting) if str(setting).isdigit() else None

    def replications(self, hthdrs: Headers = None) -> list[dict[str, t.Any]]:
        """All replications of the server, those in documents and those that only run.

        A dict each: C(name) (of the document, None when it only runs), C(database) of the document, C(state),
        C(source), C(target), C(info). For server admins.

        https://docs.couchdb.org/en/stable/api/server/common.html#scheduler-docs
        """
        if not self.dialect.has_scheduler:
            rows = self.Database("_replicator").all_docs(include_docs=True, hthdrs=hthdrs)
            documents = [row["doc"] for row in rows if not row["id"].startswith("_design/")]
            return [_replication(document["_id"], "_replicator", document) for document in documents]
        found = []
        for kind in ("docs", "jobs"):
            found += [
                _replication(row["doc_id"], row["database"], row)
                for row in self._scheduled(kind, hthdrs=hthdrs)
                if kind == "docs" or not row["doc_id"]
            ]
        return found

    def _scheduled(self, kind: str, *replicator: str, hthdrs: Headers = None) -> list[dict[str, t.Any]]:
        """The rows of C(_scheduler/docs), those of one replicator database or all, or of C(_scheduler/jobs)."""
        found: list[dict[str, t.Any]] = []
        while True:
            query = {"limit": _SCHEDULER_PAGE, "skip": len(found)}
            page = self.request("GET", ("_scheduler", kind, *replicator), query=query, hthdrs=hthdrs).body
            found += page[kind]
            if not page[kind] or len(found) >= page["total_rows"]:
                return found

    def replication_documents(self, replicator: str, names: t.Sequence[str]) -> dict[str, dict[str, t.Any] | None]:
        """The documents of these replications by name, read together; None for those that are not there.

        Raises NotFound, saying what to do, when the server has no such replicator database.

        https://docs.couchdb.org/en/stable/replication/replicator.html
        """
        try:
            return self.Database(replicator).bulk_get(names)
        except errors.NotFound as error:
            raise errors.NotFound(
                f"the server has no database {replicator}, which holds its replications: set the server up, or create it "
                "with couchdb_database",
                status=error.status,
                error=error.error,
                reason=error.reason,
            ) from None

    def replication_states(self, replicator: str, names: t.Sequence[str]) -> dict[str, dict[str, t.Any]]:
        """What has become of the replications of a replicator database, by the names of their documents.

        A dict each: C(state), None until the server has taken it up, C(info), C(id) of the job, C(start_time). One request
        (for each thousand that there are).

        https://docs.couchdb.org/en/stable/api/server/common.html#scheduler-docs-replicator-db
        """
        rows: dict[str, t.Any] = {}
        if names and not self.dialect.has_scheduler:
            rows = {name: document or {} for name, document in self.replication_documents(replicator, names).items()}
        elif len(names) == 1:
            # A replication that is deleted at this moment has no state.
            with contextlib.suppress(errors.NotFound):
                rows[names[0]] = self.request("GET", ("_scheduler", "docs", replicator, names[0])).body
        elif names:
            rows = {row["doc_id"]: row for row in self._scheduled("docs", replicator)}
        return {name: _replications.state(rows.get(name, {})) for name in names}

    def await_replications(
        self,
        ask: t.Callable[[], t.Mapping[str, t.Mapping[str, t.Any]]],
        continuous: t.Mapping[str, bool],
        timeout: float,
    ) -> None:
        """Ask again and again until each replication is completed or, when it is continuous, has begun to copy.

        ``ask`` gives their states by name, as replication_states does. At first it is asked twice a second, later every
        five seconds. Raises a CouchDBError with CouchDB's reason for those that are crashing or failed, or that are not
        there yet after ``timeout`` seconds.
        """
        begun, pause = time.monotonic(), _FIRST_PAUSE
        while True:
            rows = ask()
            # Asked only where it matters: a state doesn't tell whether a replication has reached its ends.
            doubtful = any(row["state"] == "running" and not row["info"] for row in rows.values())
            started = self.started_replications() if doubtful else ()
            verdicts = {name: _replications.verdict(row, continuous[name], started) for name, row in rows.items()}
            broken = [name for name, verdict in verdicts.items() if verdict == "broken"]
            late = [name for name, verdict in verdicts.items() if verdict == "open"]
            left = begun + timeout - time.monotonic()
            if broken or (late and left <= 0):
                raise _replications.problem({name: rows[name] for name in broken or late}, None if broken else timeout)
            if not late:
                return
            time.sleep(max(0, min(pause, left)))
            pause = min(pause * 1.5, _LONGEST_PAUSE)

    def replication_jobs(self) -> list[dict[str, t.Any]] | None:
        """The replications that run without a document: C(id), C(source), C(target), C(continuous), C(state), C(info).

        None on PouchDB Server, which doesn't tell. On CouchDB before 2.1 those that have reached their ends.

        https://docs.couchdb.org/en/stable/api/server/common.html#scheduler-jobs
        """
        if self.dialect.has_scheduler:
            jobs = [row for row in self._scheduled("jobs") if not row["doc_id"]]
            return [{**_job(row, row["id"]), "state": "running"} for row in jobs]
        if self.dialect.product != "CouchDB":
            return None
        tasks = [task for task in self._replication_tasks() if not task.get("doc_id")]
        return [{**_job(task, task["replication_id"]), "state": "running", "info": task} for task in tasks]

    def _replication_tasks(self) -> list[dict[str, t.Any]]:
        return [task for task in self.active_tasks() if task.get("type") == "replication"]

    def started_replications(self) -> set[str]:
        """The ids of the jobs that have reached both their ends.

        https://docs.couchdb.org/en/stable/api/server/common.html#active-tasks
        """
        return {str(task.get("replication_id")) for task in self._replication_tasks()}

    def commit(self, hthdrs: Headers = None) -> list[dict[str, str]]:
        """Write every changed document of every open Database, in bulk.

        Changed documents are those taken from a Database of this client (C(client["orders"]["1"])) or
        made there (C(client["orders"].new({...}))) and then changed; with C(doc["_deleted"] = True) they
        are deleted. Gives a dict for each document written: C(database), C(id), C(rev).

        Whatever can be written is, in all databases; then, if some were refused, CommitFailed is
        raised, which lists both. The refused keep their changes for another commit.

        https://docs.couchdb.org/en/stable/api/database/bulk-api.html#db-bulk-docs
        """
        written: list[dict[str, str]] = []
        refused: list[dict[str, str]] = []
        for database in self._databases.values():
            try:
                written += database.commit(hthdrs)
            except errors.CommitFailed as failure:
                written += failure.written
                refused += failure.refused
        if refused:
            raise errors.CommitFailed(written, refused)
        return written

    def replicate(
        self,
        source: str | _Database | t.Mapping[str, t.Any],
        target: str | _Database | t.Mapping[str, t.Any],
        hthdrs: Headers = None,
        timeout: float | None = None,
        **options: t.Any,
    ) -> dict[str, t.Any]:
        """Start, configure or stop a replication that lives until the server restarts.

        ``source`` and ``target``: a database of this server (its name, or the Database), an http(s)
        URL, or an object with C(url) and C(headers) or C(auth), as CouchDB's, or with C(username) and C(password). They are
        written as this version of CouchDB needs them. Options: ``cancel`` (stop the one that was started
        with the same other arguments), ``continuous``, ``create_target``, ``doc_ids`` (a list),
        ``proxy`` (its URL), and any other that CouchDB knows, such as ``selector``.

        Without C(continuous) it gives the history once all is copied, which takes as long as it takes:
        ``timeout`` seconds at most, the client's if not set. With it, C({"ok": True, "_local_id": ...}) at once. Raises
        NotFound when there is none to cancel, InvalidInput for endpoints that are neither.

        https://docs.couchdb.org/en/stable/api/server/common.html#replicate
        """
        ends = {
            option: end.name if isinstance(end, _Database) else end
            for option, end in (("source", source), ("target", target))
        }
        parts = {option: _replications.endpoint(end, option) for option, end in ends.items()}
        here = self.replication_here()
        written = {
            option: _replications.written_endpoint(end, here, option, lasting=False) for option, end in parts.items()
        }
        return self.send_replication({**written, **options}, timeout, hthdrs)

    def replicate_once(self, document: t.Mapping[str, t.Any], timeout: float) -> dict[str, t.Any]:
        """Copy what there is to copy, and tell how much that was: C(docs_read), C(docs_written), C(doc_write_failures).

        Raises TimedOut, saying so, when it takes more than ``timeout`` seconds; the server may go on with it.
        """
        try:
            return _replications.copied(self.send_replication(document, timeout))
        except errors.TimedOut as error:
            raise errors.TimedOut(
                f"{error}, which is wait_timeout; the server may go on with the replication",
                method=error.method,
                url=error.url,
            ) from error

    def cancel_replication(self, document: t.Mapping[str, t.Any]) -> dict[str, bool]:
        """Stop a replication that runs without a document. C(cancelled) tells whether there was one.

        https://docs.couchdb.org/en/stable/api/server/common.html#canceling-replication
        """
        try:
            self.send_replication({**document, "cancel": True})
        except errors.NotFound:
            return {"cancelled": False}
        return {"cancelled": True}

    def send_replication(
        self, document: t.Mapping[str, t.Any], timeout: float | None = None, hthdrs: Headers = None
    ) -> dict[str, t.Any]:
        """Start, configure or stop a replication that is written already: see replicate().

        https://docs.couchdb.org/en/stable/api/server/common.html#replicate
        """
        body = {name: value for name, value in document.items() if value is not None and value is not False}
        path = ("_replicate",)
        answer = self.request("POST", path, body=body, hthdrs=hthdrs, repeatable=False, timeout=timeout)
        return t.cast("dict[str, t.Any]", answer.body)

    def replication_here(self, local_url: str | None = None) -> _replications.Here:
        """This server as its own replications reach it: at ``local_url``, or at this client's address.

        Raises InvalidInput, naming C(local_url), for what is no address, or one with a login.
        """
        url, username, password = self.url, self._http.username, self._http.password
        if local_url is not None:
            try:
                url, stray, hidden = split_address(local_url)
            except errors.InvalidInput as error:
                raise errors.InvalidInput("local_url", str(error).partition(": ")[2]) from None
            if stray or hidden:
                raise errors.InvalidInput("local_url", "must hold no login: the task's own is used")
        headers = {name: value for name, value in self._http.headers.items() if name.lower() == "authorization"}
        if headers:
            username = password = None
        elif self._http.cookie:
            headers = {"Cookie": self._http.cookie if "=" in self._http.cookie else f"AuthSession={self._http.cookie}"}
        return _replications.Here(self.dialect, url, username, password, headers)

    def close(self) -> None:
        """Close the pooled connections. The client can still be used; it opens new ones."""
        self._http.close()


def _cookie_text(cookie: str | SimpleCookie) -> str:
    if not isinstance(cookie, SimpleCookie):
        return cookie
    if "AuthSession" not in cookie:
        raise errors.InvalidInput("cookie", "holds no AuthSession")
    return f"AuthSession={cookie['AuthSession'].value}"


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


def _membership(client: Client) -> dict[str, list[str]] | str:
    """What a server says of the members, or why it says nothing now. Raises when it refuses the login."""
    try:
        return client.membership()
    except (errors.Unreachable, errors.ServerError, errors.NotFound) as error:
        return str(error)


def _info_of(row: dict[str, t.Any]) -> tuple[str, dict[str, t.Any] | None]:
    """A row of _dbs_info as a name and its information. Raises ServerError when the server could not tell."""
    name, info = row["key"], row.get("info")
    if info is None and row.get("error") != "not_found":
        raise errors.ServerError(
            f"the server could not tell about the database {name}: {row.get('error')}",
            error=row.get("error"),
            reason=row.get("reason"),
        )
    return name, info


def _replication(name: str | None, database: str | None, row: dict[str, t.Any]) -> dict[str, t.Any]:
    return {
        "name": name,
        "database": database,
        "state": row.get("state", row.get("_replication_state", "running" if name is None else None)),
        "source": row.get("source"),
        "target": row.get("target"),
        "info": row.get("info", row.get("_replication_stats")),
    }


def _job(row: t.Mapping[str, t.Any], name: str) -> dict[str, t.Any]:
    told = {field: row.get(field) for field in ("source", "target", "info", "start_time")}
    return {"id": name, **told, "continuous": "+continuous" in name or bool(row.get("continuous"))}


def _tail(path: str, size: int, skip: int) -> str:
    """The last ``size`` bytes of a file that end ``skip`` bytes before its end, as text."""
    with open(path, "rb") as log:
        end = max(log.seek(0, os.SEEK_END) - skip, 0)
        start = max(end - size, 0)
        log.seek(start)
        return log.read(end - start).decode("utf-8", "replace")
