# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Change and Plan: the changes of a task as plain data. Pure.

A plan is made from the current and the desired state. Check mode shows it, a real run
sends it; nothing is decided in between.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from .._rules.secrets import mask_change
from .._rules.values import equal
from ..errors import CouchDBError, NodeDown, NotFound, listed

ASK, TRY, DONT = "ask", "try", "don't"

BULK = 500
"""The most changes in one request: it limits the memory, and the number of changes that depend on one answer."""

BULK_BYTES = 8 * 1024 * 1024
"""The most bytes in one request; a larger change is sent alone."""


Method = t.Callable[..., t.Any]
"""A method of a class of the client, such as C(IndexedDatabase.put_index): its first argument is the object."""


@dataclass(frozen=True, init=False)
class Change:
    """One request that changes the server. All fields are keyword arguments.

    ``action`` is C(create), C(update) or C(delete), ``what`` the kind of thing, ``path`` its path
    in the diff, such as ``("orders", "security")``. ``before`` and ``after`` are the current and
    the desired value; None means none. ``call`` is the method that sends it, such as C(IndexedDatabase.put_index): of the
    resource's client or, if ``database`` is set, of that database. It gets the keyword ``arguments``.

    Changes of a lower ``stage`` are done before those of a higher one; those of one stage in parallel.
    ``bulk`` changes with the same stage, call and database are sent together: the one argument of each is
    an item of the list that the call accepts, and the call returns a row for each, as C(_bulk_docs) does. ``size`` is about
    the number of bytes of an item.
    ``may_be_void`` marks a request that the server may accept without a change. ``void_if`` are fields of the call's
    result that show that it has changed nothing. ``result`` is the result of the call.
    """

    action: str
    what: str
    path: tuple[str, ...]
    before: t.Any
    after: t.Any
    call: Method
    arguments: dict[str, t.Any]
    database: str | None
    stage: int
    bulk: bool
    size: int
    may_be_void: bool
    void_if: t.Mapping[str, t.Any] | None
    result: t.Any = field(compare=False)

    # Written out, as dataclasses have keyword-only fields only since Python 3.10.
    def __init__(
        self,
        *,
        action: str,
        what: str,
        path: tuple[str, ...],
        before: t.Any,
        after: t.Any,
        call: Method,
        arguments: dict[str, t.Any] | None = None,
        database: str | None = None,
        stage: int = 0,
        bulk: bool = False,
        size: int = 0,
        may_be_void: bool = False,
        void_if: t.Mapping[str, t.Any] | None = None,
        result: t.Any = None,
    ) -> None:
        given = {**locals(), "arguments": {} if arguments is None else arguments}
        del given["self"]
        vars(self).update(given)

    @property
    def is_void(self) -> bool:
        """Whether the call was made and has changed nothing."""
        if self.void_if is None or self.result is None:
            return False
        return all(equal(self.result.get(name), value) for name, value in self.void_if.items())

    def __str__(self) -> str:
        return f"{self.action} {self.what} {'/'.join(self.path)}"


@dataclass(frozen=True)
class Plan:
    """The changes, and ``predicted``: the state that observing the server again would return after them.

    ``afterwards`` says whether the server can be read then: C(ASK), C(TRY) if it may have moved, or C(DONT) if the task
    can't log in any more. Reading it then may take ``limit`` seconds, of a task that waits. ``moved_to`` is the host and the
    port at which it listens then, None for one that stays; None if unknown. ``unanswered`` is what to do if the server does
    not answer after the changes. ``shortfall`` is the error for what the plan must leave out; the task ends with it once all
    else is done. ``unmet`` is the error for what must exist before anything is sent; in check mode it is a warning, as an
    earlier task may create it. ``again``: plan again after the changes, as the server's own settings affect their result.
    """

    changes: tuple[Change, ...] = ()
    predicted: t.Any = None
    warnings: tuple[str, ...] = ()
    afterwards: str = ASK
    limit: float = float("inf")
    unanswered: str = ""
    moved_to: tuple[str | None, str | None] | None = None
    shortfall: CouchDBError | None = None
    unmet: CouchDBError | None = None
    again: bool = False

    def stages(self) -> t.Iterator[list[Change]]:
        """The changes in the order in which they must be done; those of one list can be sent in parallel."""
        for stage in sorted({change.stage for change in self.changes}):
            yield [change for change in self.changes if change.stage == stage]


def missing_databases(names: t.Iterable[str]) -> NotFound | None:
    """The error of a plan without these databases; None if none is missing."""
    missing = list(dict.fromkeys(names))
    if not missing:
        return None
    what, them = ("database", "it") if len(missing) == 1 else ("databases", "them")
    is_or_are = "is" if len(missing) == 1 else "are"
    return NotFound(
        f"{what} {', '.join(missing)} {is_or_are} missing. Create {them} first, with couchdb_database",
        status=404,
        error="not_found",
        reason="Database does not exist.",
    )


def node_shortfall(down: t.Sequence[str], missed: t.Sequence[str]) -> NodeDown | None:
    """The shortfall of a plan for nodes that are down: their names, and the changes that they missed; None without any."""
    if not down:
        return None
    names = ", ".join(down)
    error = NodeDown(
        f"{names}: down, and missed {listed(missed)}. The other nodes are done. Run the task again once every node is up"
    )
    error.down = names
    error.in_check_mode = (
        f"{names}: down, and would miss {listed(missed)}. A real run changes the other nodes, and then fails"
    )
    return error


def units(changes: t.Iterable[Change]) -> t.Iterator[list[Change]]:
    """The changes of one stage as they are sent: one by one, or in bulk, with at most C(BULK) changes or C(BULK_BYTES)."""
    together: dict[tuple[Method, str | None], list[Change]] = {}
    sizes: dict[tuple[Method, str | None], int] = {}
    for change in changes:
        if not change.bulk:
            yield [change]
            continue
        kind = (change.call, change.database)
        if kind in together and (len(together[kind]) == BULK or sizes[kind] + change.size > BULK_BYTES):
            yield together.pop(kind)
            sizes[kind] = 0
        together.setdefault(kind, []).append(change)
        sizes[kind] = sizes.get(kind, 0) + change.size
    yield from together.values()


def diff(changes: t.Iterable[Change]) -> dict[str, t.Any]:
    """The diff for Ansible's diff mode: C(before) and C(after) of everything that changes, with secrets masked.

    A missing thing has no entry on its side.
    """
    before: dict[str, t.Any] = {}
    after: dict[str, t.Any] = {}
    for change in changes:
        shown_before, shown_after = mask_change(change.what, change.path, change.before, change.after)
        if shown_before is not None:
            _inner(before, change.path).setdefault(change.path[-1], shown_before)
        if shown_after is not None:
            _inner(after, change.path)[change.path[-1]] = shown_after
    return {"before": before, "after": after}


def _inner(tree: dict[str, t.Any], path: tuple[str, ...]) -> dict[str, t.Any]:
    for name in path[:-1]:
        tree = tree.setdefault(name, {})
    return tree
