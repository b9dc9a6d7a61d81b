# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Restart: one node out of service, asked to restart, waited for until that is proved, and back in service."""

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

if t.TYPE_CHECKING:
    from .restart import Restarts

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 1.0

_REFUSALS = (errors.Unauthorized, errors.Forbidden, errors.Unsupported)


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
            kind = type(error) if isinstance(error, _REFUSALS) else errors.RestartFailed
            raise kind(f"{error}{self._undone()}", **errors.describe(error)) from error
        except BaseException:
            self._undone()
            raise

    @property
    def _drains(self) -> bool:
        return self._drain_time is not None and not in_maintenance(self._mode)

    def _await_whole(self) -> None:
        """Wait until the cluster can do without the node; at most as long as for the node itself."""
        begun = time.monotonic()
        while True:
            try:
                lacks = self._cluster_lacks()
            except _REFUSALS:
                raise
            except errors.CouchDBError as error:
                lacks = str(error)
            if not lacks:
                return
            waited = time.monotonic() - begun
            if waited >= self._wait_timeout:
                raise errors.RestartFailed(
                    f"{self._node} was not asked to restart, as the cluster is not whole: {lacks}"
                )
            time.sleep(min(_pause(waited), self._wait_timeout - waited))

    def _restarted(self) -> dict[str, t.Any]:
        self._own = self._node in (LOCAL, self._client.local_node())
        self._before = self._client.sighting(self._node)
        self._asked = time.monotonic()
        clock = time.strftime("%H:%M:%S UTC", time.gmtime())
        try:
            self._client.restart(self._node)
        except errors.Unreachable as error:
            # It may be down before its answer is out.
            if not error.sent:
                raise
        result: dict[str, t.Any] | None = None
        while True:
            limits = {"timeout": min(self._client.timeout, max(self._wait_timeout - self._waited, 1)), "retries": 0}
            try:
                if result is None:
                    seen, lacks = self._look(limits)
                    if not lacks:
                        result = {
                            "name": self._node,
                            "uptime_before": self._before.uptime,
                            "uptime_after": seen.uptime,
                            "seconds_away": round(self._waited, 2),
                        }
                if result is not None:
                    lacks = self._cluster_lacks(**limits)
                    if not lacks:
                        return result
            except _REFUSALS:
                # Not asked again: CouchDB locks a name out after a few logins that failed.
                raise
            except errors.CouchDBError as error:
                self._refused = self._refused or (isinstance(error, errors.Unreachable) and not error.sent)
                lacks = str(error)
            waited = self._waited
            if waited >= self._wait_timeout:
                missing = "is not back" if result is None else "is back, and the cluster is not whole"
                raise errors.RestartFailed(
                    f"{self._node} was asked to restart at {clock}, and {waited:.0f} s later {missing}; last of all: {lacks}"
                )
            time.sleep(min(_pause(waited), self._wait_timeout - waited))

    @property
    def _waited(self) -> float:
        """Seconds since the node was asked to restart."""
        return time.monotonic() - self._asked

    def _look(self, limits: dict[str, t.Any]) -> tuple[Sighting, str]:
        """Look at the node, and say what it lacks to be back; nothing when it is."""
        waited = self._waited
        seen = self._client.sighting(self._node, **limits)
        if not proves_restart(self._before, seen, waited, self._refused):
            uptime = "" if seen.uptime is None else f", with an uptime of {seen.uptime} s"
            return seen, f"{self._node} answered as one that has not restarted{uptime}"
        if self._drains or in_maintenance(self._mode):
            # Before it listens, if that can be.
            self._restore()
        if not seen.listens:
            return seen, f"{self._node} had started, and did not listen yet"
        status, body = self._client.up(**limits) if self._own else (200, None)
        if status == 404 and not in_maintenance(self._mode):
            return seen, f"{self._client.url}_up answered 404 {json.dumps(body)}"
        return seen, ""

    def _cluster_lacks(self, **limits: t.Any) -> str:
        """What the cluster lacks to be whole; nothing when it is."""
        return "; ".join(self._client.cluster_seen(**limits).gaps(self._without))

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


def _pause(waited: float) -> float:
    """How long to wait before asking again: the longer, the longer it takes."""
    return min(_FIRST_PAUSE + waited / 20, _LONGEST_PAUSE)
