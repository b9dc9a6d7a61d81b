# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Maintenance: takes the copies on a node out of reads and writes, and puts them back with what was written meanwhile."""

from __future__ import annotations

import contextlib
import threading
import time
import typing as t
from dataclasses import dataclass

from .. import errors
from .._rules.service import checkpoint_id, other_copies
from .._rules.shards import RESTS, Map, Member, shard_map
from .parallel import in_parallel
from .sync import Sync
from .wait import wait_until, within

_PUSH_EVERY = 5.0
"""Seconds until the internal replication of a database is started again, if a copy lacks something by then."""

_PUSH_PAUSE = 0.05
_CLOSE = 0.5
_PATIENCE = 30.0
_NEAR = 1.2
"""Seconds that it takes to copy what was just written before a node leaves maintenance mode. If it takes longer, it is repeated. After
C(_PATIENCE) seconds, it is enough if it takes no more than so many times what it took at best, and after twice that time anything is."""

_LAST_REQUEST = 2.0
"""Seconds for which a last request is waited for."""

Copy = t.Tuple[str, str]
"""A copy of a shard: its range, and the node that has it."""


@dataclass(frozen=True)
class State:
    """How far a copy is: its UUID, its number of documents and deleted ones, and the number of its last change of a document."""

    uuid: str
    documents: int
    seq: int


Marks = t.Dict[t.Tuple[Copy, Copy], State]
"""How far the sources of a copy were when they were first read: (the copy, its source) → state."""

Lack = t.Callable[[Map, Copy, t.Collection[str], Marks], str]
"""What a copy lacks, in words, from the map, the nodes that are up, and the marks of its sources, to which it adds."""


class Maintenance(Sync):
    """The part of Client that works on a node in maintenance mode, of a cluster that serves."""

    def __init__(self, *arguments: t.Any, **options: t.Any) -> None:
        super().__init__(*arguments, **options)
        #: node → database → what identifies its state when the node went into maintenance mode.
        self._states: dict[str, dict[str, t.Any]] = {}

    def members_seen(self) -> list[Member]:
        """The members of the cluster with their maintenance modes. Takes a request, and one for each member.

        https://docs.couchdb.org/en/stable/config/couchdb.html#couchdb/maintenance_mode
        """
        membership = self.membership()

        def ask(name: str) -> Member:
            if name not in membership["all_nodes"]:
                return Member(name, up=False)
            try:
                mode, mark = self.maintenance(name)
            except errors.NodeDown:
                return Member(name, up=False)
            return Member(name, mode=mode, marked=mark is not None)

        return in_parallel(ask, membership["cluster_nodes"])

    def enter_maintenance(self, node: str, databases: t.Sequence[str], refill: bool = False) -> None:
        """Put a node in maintenance mode, so that its copies take no part in reads and writes.

        The mode that it had is kept in its settings, which survives a restart of the node, and the end of this process.
        C(databases) are those with copies on the node. With C(refill), another user may have put it in maintenance mode, which
        leave_maintenance() ends too. Raises Conflict if one did without it.

        https://docs.couchdb.org/en/stable/config/couchdb.html#couchdb/maintenance_mode
        """
        mode, mark = self.maintenance(node)
        if mark is None:
            if mode == RESTS and not refill:
                raise errors.Conflict(f"{node} was put in maintenance mode meanwhile", status=409)
            self.mark(node, "false" if mode == RESTS else mode)
        if mode != RESTS:
            self._states[node] = self.database_states(databases)
            self.hold(node)

    def leave_maintenance(
        self, node: str, databases: t.Sequence[str], changed: t.Sequence[str] = (), wait_timeout: float = 3600
    ) -> None:
        """End the maintenance mode of enter_maintenance(), with the copies of the node as current as can be.

        C(databases) are those with copies on the node, C(changed) those whose copies there were filled or split. Writes of the
        meantime are copied to it right before and after. Raises NotInSync if that doesn't end in time.
        """
        mode, mark = self.maintenance(node)
        if mark is None:
            return
        before = self._states.pop(node, {})

        def busy() -> list[str]:
            now = self.database_states(databases)
            return sorted({*changed, *(name for name, state in now.items() if before.get(name) != state)})

        if mode == RESTS:
            # CouchDB sends no writes to a node in maintenance mode. What it lacks when that ends is missing from reads
            # until it has been copied, so it is copied without a pause meanwhile.
            with self._pushing(busy()) as pushed:
                first, best = time.monotonic(), float("inf")
                while True:
                    pushed[:] = busy()
                    begun = time.monotonic()
                    self._await_current(node, pushed, wait_timeout)
                    took, tried = time.monotonic() - begun, begun - first
                    best = min(best, took)
                    if took < _CLOSE or tried >= 2 * _PATIENCE or (tried >= _PATIENCE and took <= best * _NEAR):
                        break
                self.release(node, mark)
                self._await_current(node, pushed, wait_timeout)
        else:
            self._await_current(node, busy(), wait_timeout)
        self._in_service(changed)
        self.unmark(node)

    def _in_service(self, databases: t.Sequence[str]) -> None:
        """Do what has to be done once the changed copies of these databases are in service."""

    def _await_current(self, node: str, databases: t.Sequence[str], wait_timeout: float) -> None:
        """Wait until the copies of a node hold all that was written to these databases when this began."""

        def wait(name: str) -> None:
            try:
                with within(wait_timeout):
                    map_ = self._map(name)
            except errors.NodeDown:
                raise
            except errors.NotFound:
                # It was deleted in the meantime.
                return
            copies = [(range_, node) for range_, nodes in map_.ranges.items() if node in nodes]
            self._await_full(name, copies, wait_timeout, self._lack)

        in_parallel(wait, list(databases))

    @contextlib.contextmanager
    def _pushing(self, databases: t.Sequence[str]) -> t.Iterator[list[str]]:
        """Start the internal replication of databases again and again meanwhile. Gives the list of them, which may change."""
        pushed, end = list(databases), threading.Event()

        def push() -> None:
            while not end.is_set():
                # What is wrong shows in what is waited for.
                with contextlib.suppress(errors.CouchDBError):
                    self.push(pushed)
                end.wait(_PUSH_PAUSE)

        thread = threading.Thread(target=push, daemon=True)
        thread.start()
        try:
            yield pushed
        finally:
            end.set()
            # A request that hangs must not keep the task from its end.
            thread.join(_LAST_REQUEST)

    def _map_path(self, database: str, node: str = "") -> tuple[str, ...]:
        return (*self.dialect.shard_map(node or self._own_node())[:-1], database)

    def _map(self, database: str) -> Map:
        return shard_map(self.request("GET", self._map_path(database)).body)

    def _await_full(self, database: str, copies: t.Sequence[Copy], wait_timeout: float, lack: Lack) -> None:
        """Wait until these copies have everything that the full copies of their ranges had at the start."""
        lacking = self._await_copies(database, copies, wait_timeout, lack, stalled=True)
        if lacking:
            raise errors.NotInSync(
                f"copies of {database} are not full after {wait_timeout:g} s without progress: {lacking}"
            )

    def _await_copies(
        self, database: str, copies: t.Sequence[Copy], seconds: float, lack: Lack, *, stalled: bool
    ) -> str:
        """Wait as _await_full() does, and return what is lacking at the end."""
        with within(seconds):
            map_ = self._map(database)
            up = self.membership()["all_nodes"]
        pushed = float("-inf")
        marks: Marks = {}
        left = list(copies)

        def look() -> str:
            nonlocal pushed
            lacks = {}
            for copy in left:
                try:
                    lacks[copy] = lack(map_, copy, up, marks)
                except errors.NodeDown:
                    raise
                except errors.NotFound:
                    lacks[copy] = "it does not exist yet"
            left[:] = [copy for copy in left if lacks[copy]]
            if left and time.monotonic() - pushed >= _PUSH_EVERY:
                self.push([database])
                pushed = time.monotonic()
            return errors.listed([f"{range_} on {node}: {lacks[range_, node]}" for range_, node in left], "; ")

        return wait_until(look, seconds, f"the copies of {database} to be full", self.progress, stalled=stalled)

    def _lack(self, map_: Map, copy: Copy, up: t.Collection[str], marks: Marks) -> str:
        """What a copy lacks of the content that the other full copies of its range had when they were first read; "" if it is full."""
        range_, node = copy
        others = other_copies(map_, range_, node)
        sources = [other for other in others if other[1] in up]
        if node in map_.filling.get(range_, ()) and others and not sources:
            return f"the nodes with full copies are down: {errors.listed([name for _range, name in others])}"
        for source in sources:
            if (copy, source) not in marks:
                marks[copy, source] = self._state(map_.shard(source[0]), source[1])
        shard = map_.shard(range_)
        info = self.request("GET", ("_node", node, shard)).body
        for source in sources:
            state = marks[copy, source]
            checkpoint = self._checkpoint(shard, state.uuid, node, info["uuid"])
            if checkpoint < state.seq:
                documents = info["doc_count"] + info["doc_del_count"]
                return f"it has {documents} documents, and change {checkpoint} of {state.seq} of {source[1]}"
        return ""

    def _state(self, shard: str, node: str) -> State:
        """How far a copy is now: its UUID, documents, and the number of its last change of a document."""
        info = self.request("GET", ("_node", node, shard)).body
        # The number of the database itself is higher, as changes of its settings count too.
        rows = self.request("GET", ("_node", node, shard, "_changes"), query={"descending": True, "limit": 1}).body[
            "results"
        ]
        return State(info["uuid"], info["doc_count"] + info["doc_del_count"], rows[0]["seq"] if rows else 0)

    def _checkpoint(self, shard: str, source: str, node: str, target: str) -> int:
        """Up to which change of the source, a copy's UUID, the internal replication has brought its copy on a node."""
        path = ("_node", node, shard, "_local", checkpoint_id(source, target))
        answer = self.request("GET", path, accept=(404,))
        return int(answer.body["seq"]) if answer.status == 200 else 0
