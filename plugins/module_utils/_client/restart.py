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
from .._rules.shards import RESTS
from .answers import is_ok
from .server import Headers
from .sync import Sync
from .wait import wait_until, within

_CONNECTIONS = 6
"""The number of new connections on which a server is asked which node answers."""

_CLOSE = 0.5
_PATIENCE = 30.0
"""Seconds that it takes to copy what was just written before a node goes back into service. If it takes longer, it is repeated, for
C(_PATIENCE) seconds at most."""

_REFUSALS = (errors.Unauthorized, errors.Forbidden, errors.Unsupported)


class Restarts(Sync):
    """The part of Client for restarts and maintenance mode."""

    def restart(self, node: str = LOCAL, hthdrs: Headers = None) -> bool:
        """Ask a node to restart. True if it accepted the request, not once it is up again. For server admins.

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
        """Raise Unsupported if this server has no restart call, or lacks the desired maintenance mode."""
        self.dialect.restart(LOCAL)
        if maintenance_mode and not self.dialect.clustered:
            raise self.dialect.lacks("maintenance mode")

    def restart_and_wait(
        self,
        node: str = LOCAL,
        wait_timeout: float = 120,
        drain_time: float | None = None,
        without: t.Collection[str] = (),
        shards: bool = True,
    ) -> dict[str, t.Any]:
        """Restart a node, and wait for a proof that it restarted, and until it serves again and the cluster is in sync.

        With ``drain_time`` the node is in maintenance mode for so many seconds first: its C(_up) returns 404, so that
        load balancers take it out of service. In a cluster it stays so, in its files, until it has the last writes. If this process ends
        before that, the node is marked, and rejoin() ends its maintenance mode. A node that was in maintenance mode before is so afterwards.
        ``without`` names members that may be down or in maintenance mode. Without ``shards``, only the members must be in sync.

        Returns C(name), C(uptime_before) and C(uptime_after) in seconds (None on CouchDB 1.x, which does not report it), and
        C(seconds_away), from the request until it served again. Raises RestartFailed if the cluster is not in sync, so that
        no request was sent; and if the node is not up, or the cluster not in sync again, after ``wait_timeout`` seconds.

        https://docs.couchdb.org/en/stable/api/server/common.html#node-node-name-restart
        """
        return Restart(self, node, wait_timeout, drain_time, without, shards).run()

    def drain(
        self,
        node: str = LOCAL,
        wait_timeout: float = 120,
        drain_time: float = 0,
        without: t.Collection[str] = (),
        shards: bool = True,
    ) -> None:
        """Take a node out of service, so that another tool can restart it: the first half of restart_and_wait(), with its arguments.

        Raises RestartFailed, and leaves the node in service, if the cluster can't do without it after ``wait_timeout`` seconds.
        """
        Restart(self, node, wait_timeout, drain_time, without, shards).drain()

    def rejoin(self, node: str = LOCAL, mode: str = "false", wait_timeout: float = 120) -> None:
        """Put a node that restarted back into service: end its maintenance mode once the cluster is in sync.

        ``mode`` is the maintenance mode to give it, in its memory only. One that a task has marked gets the mode that it had before.
        CouchDB sends no writes to a node in maintenance mode, and copies what it lacks only seconds later. So this is copied right
        before and after. Raises NotInSync if the cluster is not in sync in time.

        https://docs.couchdb.org/en/stable/config/couchdb.html#couchdb/maintenance_mode
        """
        before = self.states_on(node)
        self.await_sync(wait_timeout, [node])
        self.serve(node, mode, before)

    def serve(self, node: str, mode: str, before: t.Mapping[str, t.Any], without: t.Collection[str] = ()) -> None:
        """Put a node into service, with the last writes to the databases whose states are no longer as ``before``."""
        first = time.monotonic()
        while True:
            begun = time.monotonic()
            busy = self.written_since(before)
            self._push_through(busy, node, without)
            now = time.monotonic()
            if not busy or now - begun < _CLOSE or now - first >= _PATIENCE:
                break
        self.end_maintenance(node, mode)
        self._push_through(busy, node, without)

    def end_maintenance(self, node: str, mode: str) -> None:
        """Give a node this maintenance mode, in its memory only; one that a task has marked the mode that it had before."""
        now, mark = self.maintenance(node)
        if mark is None:
            self.set_maintenance_mode(node, mode)
            return
        if now == RESTS:
            self.release(node, mark)
        self.unmark(node)

    def written_since(self, before: t.Mapping[str, t.Any]) -> list[str]:
        """The databases whose states are no longer as ``before``."""
        states = self.database_states(list(before))
        return [name for name in before if states.get(name) != before[name]]

    def states_on(self, node: str) -> dict[str, t.Any]:
        """The states of the databases with copies on a node, by name, as far as this version shows where these are."""
        maps = self.shard_maps() if self.dialect.has_shard_map else {}
        own = self.local_node() if node == LOCAL else node
        return self.database_states(
            sorted(name for name, map_ in maps.items() if any(own in nodes for nodes in map_.ranges.values()))
        )

    def _push_through(self, databases: t.Sequence[str], node: str, without: t.Collection[str]) -> None:
        """Have the last writes to these databases copied now, and wait until they are, for a while at most."""

        def look() -> str:
            return "; ".join(self.sync_gaps(without, [node], shards=False))

        self.push(databases)
        wait_until(look, _PATIENCE, f"the last writes to be copied to {node}", self.progress)

    def answering_node(self) -> str:
        """The name of the one node that answers at this URL; C(_local) on CouchDB 1.x.

        It is read on several new connections, as a load balancer passes these to different nodes. Raises
        InvalidInput, naming C(nodes), if different nodes answer.
        """
        seen: dict[tuple[str, t.Any], None] = {}
        for _connection in range(_CONNECTIONS):
            self.close()
            seen[self.local_node(), self().get("uuid")] = None
        if len(seen) > 1:
            names = ", ".join(sorted({name for name, _uuid in seen}))
            raise errors.InvalidInput(
                "nodes",
                f"different nodes answer at {self.url} ({names}), so {LOCAL} could be any of them. "
                "Name the nodes, or use the URL of one",
            )
        return next(iter(seen))[0]


class Restart:
    """The restart of one node, from first to last: see Client.restart_and_wait."""

    def __init__(
        self,
        client: Restarts,
        node: str,
        wait_timeout: float,
        drain_time: float | None,
        without: t.Collection[str],
        shards: bool,
    ) -> None:
        self._client = client
        self._node = node
        self._wait_timeout = wait_timeout
        self._drain_time = drain_time
        self._without = without
        self._shards = shards
        self._mode: str | None = None
        self._held = False
        self._left = "was not asked to restart"
        self._states: dict[str, t.Any] = {}
        self._before = Sighting()
        self._own = False
        self._refused = False
        self._asked = 0.0

    def run(self) -> dict[str, t.Any]:
        """Restart it, and return the result. A failure does not leave the node in maintenance mode."""
        with _signals_raised():
            return self._run()

    def drain(self) -> None:
        """Take it out of service. A failure does not leave the node in maintenance mode."""
        self._left = "was not drained"
        with _signals_raised(), self._undone_on_failure():
            self._await_sync()
            self._drain(kept=False)

    def _run(self) -> dict[str, t.Any]:
        with self._undone_on_failure():
            # Nothing serves instead of a node that is alone.
            with within(self._wait_timeout):
                kept = self._drains and len(self._client.cluster_seen().members) > 1
            self._drain(kept=kept)
            return self._restarted()

    def _drain(self, *, kept: bool) -> None:
        if self._drains:
            with within(self._wait_timeout):
                if kept:
                    self._held = True
                    self._client.mark(self._node, self._mode or "false")
                    self._client.hold(self._node)
                else:
                    self._client.set_maintenance_mode(self._node, RESTS)
            time.sleep(self._drain_time or 0)
        # Not earlier: the cluster can change while a node drains.
        self._await_sync()

    @contextlib.contextmanager
    def _undone_on_failure(self) -> t.Iterator[None]:
        with within(self._wait_timeout):
            self._mode = self._client.maintenance_mode(self._node)
        try:
            yield
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

    def _await_sync(self) -> None:
        """Wait until the cluster can do without the node; at most as long as for the node itself."""
        lacking = self._wait(self._cluster_lacks, self._wait_timeout, f"the cluster to do without {self._node}")
        if lacking:
            raise errors.RestartFailed(
                f"{self._node} {self._left}, as the cluster is not in sync: {lacking}. "
                f"The requests went to {self._client.url}"
            )

    def _wait(self, look: t.Callable[[], str], seconds: float, what: str) -> str:
        """Wait until nothing is lacking. An error counts as lacking, unless it is a refusal.

        A refused request is not retried: CouchDB locks a name out after a few failed logins.
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
        with within(self._wait_timeout):
            self._own = self._node in (LOCAL, self._client.local_node())
            self._before = self._client.sighting(self._node)
            self._states = self._client.states_on(self._node)
        self._refused = False
        self._asked = time.monotonic()
        clock = time.strftime("%H:%M:%S UTC", time.gmtime())
        try:
            with within(self._wait_timeout):
                self._client.restart(self._node)
        except errors.CouchDBError as error:
            # It may be down before its answer is here, which a proxy reports as a failure of its own.
            if not error.unsure:
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
                # CouchDB itself begins seconds later.
                self._client.push(self._client.written_since(self._states))
            return self._cluster_lacks()

        lacking = self._wait(look, self._wait_timeout - self._waited, f"{self._node} to restart")
        if not lacking:
            if self._held:
                with within(self._wait_timeout):
                    self._client.serve(self._node, "false", self._states, self._without)
                result["seconds_away"] = round(self._waited, 2)
            return result
        missing = "is up, and the cluster is not in sync" if result else "is not up"
        raise errors.RestartFailed(
            f"{self._node} was asked to restart at {clock}, and {self._waited:.0f} s later {missing}: {lacking}. "
            f"The request went to {self._client.url}",
            asked=True,
        )

    @property
    def _waited(self) -> float:
        """Seconds since the node was asked to restart."""
        return time.monotonic() - self._asked

    def _look(self) -> tuple[Sighting, str]:
        """Look at the node, and return what it lacks to be up again; "" if nothing."""
        waited = self._waited
        seen = self._client.sighting(self._node, retries=0)
        if not proves_restart(self._before, seen, waited, self._refused):
            uptime = "" if seen.uptime is None else f", with an uptime of {seen.uptime} s"
            return seen, f"{self._node} has not restarted yet{uptime}"
        if not self._held and (self._drains or in_maintenance(self._mode)):
            # Before it listens, if possible.
            self._restore()
        if not seen.listens:
            return seen, f"{self._node} has started, and does not listen yet"
        status, body = self._client.up(retries=0) if self._own else (200, None)
        if status == 404 and not (self._held or in_maintenance(self._mode)):
            return seen, f"{self._client.url}_up returned 404 {json.dumps(body)}"
        return seen, ""

    def _cluster_lacks(self) -> str:
        """What the cluster lacks to be in sync; "" if nothing. The node itself may be in maintenance mode."""
        return "; ".join(self._client.sync_gaps(self._without, [self._node], self._shards, retries=0))

    def _restore(self) -> None:
        """Give the node the maintenance mode that it had before."""
        if self._held:
            self._client.end_maintenance(self._node, "false")
        elif self._client.maintenance_mode(self._node) != self._mode:
            self._client.set_maintenance_mode(self._node, self._mode)

    def _undone(self) -> str:
        """Restore what can be restored after a failure, and return the problem if it could not."""
        try:
            with within(self._wait_timeout):
                self._restore()
        except errors.CouchDBError as error:
            if not self._drains:
                return ""
            return (
                f". It was put in maintenance mode, which could not be undone ({error}). Run the task again, or end it with "
                "couchdb_restart and phase: rejoin"
            )
        return ""


@contextlib.contextmanager
def _signals_raised() -> t.Iterator[None]:
    """Raise SystemExit on the signals that would end this process at once, so that changes can be undone."""

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
