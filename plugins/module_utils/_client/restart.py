# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Restarts: asks a node to restart, and waits until it serves again and the cluster is in sync."""

from __future__ import annotations

import contextlib
import json
import signal
import threading
import time
import typing as t

from .. import errors
from .._rules.dialect import LOCAL
from .._rules.restart import Sighting, in_maintenance, proves_restart
from .answers import is_ok
from .nodes import Nodes
from .server import Headers
from .wait import wait_until

_CONNECTIONS = 6
"""On how many connections of their own a server is asked which node answers."""

_REFUSALS = (errors.Unauthorized, errors.Forbidden, errors.Unsupported)


class Restarts(Nodes):
    """The part of Client for restarts and maintenance mode."""

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
        return Restart(self, node, wait_timeout, drain_time, without).run()

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


class Restart:
    """The restart of one node, from first to last: see Client.restart_and_wait."""

    def __init__(
        self, client: Restarts, node: str, wait_timeout: float, drain_time: float | None, without: t.Collection[str]
    ) -> None:
        self._client = client
        self._node = node
        self._wait_timeout = wait_timeout
        self._drain_time = drain_time
        self._without = without
        self._mode: str | None = None
        self._before = Sighting()
        self._own = False
        self._refused = False
        self._asked = 0.0

    def run(self) -> dict[str, t.Any]:
        """Do it, and tell how it went. Whatever fails, the node is not left in maintenance mode by this."""
        with _signals_raised():
            return self._run()

    def _run(self) -> dict[str, t.Any]:
        self._mode = self._client.maintenance_mode(self._node)
        try:
            if self._drains:
                self._client.set_maintenance_mode(self._node, "true")
                time.sleep(self._drain_time or 0)
            # Not earlier: much can happen while a node drains.
            self._await_whole()
            return self._restarted()
        except errors.CouchDBError as error:
            if isinstance(error, _REFUSALS):
                raise error.reworded(f"{error}{self._undone()}", type(error)) from error
            asked = isinstance(error, errors.RestartFailed) and error.asked
            raise errors.RestartFailed(f"{error}{self._undone()}", asked=asked, **errors.describe(error)) from error
        except BaseException:
            self._undone()
            raise

    @property
    def _drains(self) -> bool:
        return self._drain_time is not None and not in_maintenance(self._mode)

    def _await_whole(self) -> None:
        """Wait until the cluster can do without the node; at most as long as for the node itself."""
        lacking = self._wait(self._cluster_lacks, self._wait_timeout, f"the cluster to do without {self._node}")
        if lacking:
            raise errors.RestartFailed(f"{self._node} was not asked to restart, as the cluster is not whole: {lacking}")

    def _wait(self, look: t.Callable[[], str], seconds: float, what: str) -> str:
        """Wait until nothing is lacking. An error is what is lacking then, unless it is a refusal.

        Those are not asked again: CouchDB locks a name out after a few logins that failed.
        """

        def ask() -> str:
            try:
                return look()
            except _REFUSALS:
                raise
            except errors.CouchDBError as error:
                self._refused = self._refused or (isinstance(error, errors.Unreachable) and not error.sent)
                return str(error)

        return wait_until(ask, seconds, what, self._client.progress)

    def _restarted(self) -> dict[str, t.Any]:
        self._own = self._node in (LOCAL, self._client.local_node())
        self._before = self._client.sighting(self._node)
        self._refused = False
        self._asked = time.monotonic()
        clock = time.strftime("%H:%M:%S UTC", time.gmtime())
        try:
            self._client.restart(self._node)
        except errors.Unreachable as error:
            # It may be down before its answer is out.
            if not error.sent:
                raise
        result: dict[str, t.Any] = {}

        def look() -> str:
            if not result:
                seen, lacking = self._look()
                if lacking:
                    return lacking
                result.update(
                    name=self._node,
                    uptime_before=self._before.uptime,
                    uptime_after=seen.uptime,
                    seconds_away=round(self._waited, 2),
                )
            return self._cluster_lacks()

        lacking = self._wait(look, self._wait_timeout - self._waited, f"{self._node} to restart")
        if not lacking:
            return result
        missing = "is back, and the cluster is not whole" if result else "is not back"
        raise errors.RestartFailed(
            f"{self._node} was asked to restart at {clock}, and {self._waited:.0f} s later {missing}; last of all: {lacking}",
            asked=True,
        )

    @property
    def _waited(self) -> float:
        """Seconds since the node was asked to restart."""
        return time.monotonic() - self._asked

    def _look(self) -> tuple[Sighting, str]:
        """Look at the node, and say what it lacks to be back; nothing when it is."""
        waited = self._waited
        seen = self._client.sighting(self._node, retries=0)
        if not proves_restart(self._before, seen, waited, self._refused):
            uptime = "" if seen.uptime is None else f", with an uptime of {seen.uptime} s"
            return seen, f"{self._node} answered as one that has not restarted{uptime}"
        if self._drains or in_maintenance(self._mode):
            # Before it listens, if that can be.
            self._restore()
        if not seen.listens:
            return seen, f"{self._node} had started, and did not listen yet"
        status, body = self._client.up(retries=0) if self._own else (200, None)
        if status == 404 and not in_maintenance(self._mode):
            return seen, f"{self._client.url}_up answered 404 {json.dumps(body)}"
        return seen, ""

    def _cluster_lacks(self) -> str:
        """What the cluster lacks to be whole; nothing when it is."""
        return "; ".join(self._client.cluster_seen(retries=0).gaps(self._without))

    def _restore(self) -> None:
        """Give the node the maintenance mode that it had before."""
        if self._client.maintenance_mode(self._node) != self._mode:
            self._client.set_maintenance_mode(self._node, self._mode)

    def _undone(self) -> str:
        """Restore what can be restored after a failure, and say what could not."""
        try:
            self._restore()
        except errors.CouchDBError as error:
            if not self._drains:
                return ""
            return (
                f". It was in maintenance mode for this, in memory only, and that could not be undone ({error}): its next "
                "start ends it, or couchdb/maintenance_mode must be set to false"
            )
        return ""


@contextlib.contextmanager
def _signals_raised() -> t.Iterator[None]:
    """Have the signals that would end this process at once raise SystemExit instead, so that things can be undone."""

    def leave(number: int, frame: t.Any) -> None:
        raise SystemExit(128 + number)

    # Only the main thread may set them.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
