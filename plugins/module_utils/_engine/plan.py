# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Change and Plan: what is to be done, as plain data. Pure.

A plan is made from what a server has and what it should have. Check mode shows it, a real run
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
"""How many changes go out together, at most: it bounds what is held in memory and what one answer decides."""

BULK_BYTES = 8 * 1024 * 1024
"""How many bytes go out together, at most; a change that is larger than that goes out alone."""


Method = t.Callable[..., t.Any]
"""A method of a class of the client, such as C(IndexedDatabase.put_index): its first argument is the object."""


@dataclass(frozen=True, init=False)
class Change:
    """One request that changes the server. All its fields are given by their names.

    ``action`` is C(create), C(update) or C(delete), ``what`` the kind of thing, ``path`` where it stands
    in the diff, such as ``("orders", "security")``. ``before`` and ``after`` are what is there and
    what will be; None means nothing. ``call`` is the method that sends it, such as C(IndexedDatabase.put_index): of the
    resource's client or, if ``database`` is given, of that database. It gets the keyword ``arguments``.

    Changes of a lower ``stage`` are done before those of a higher one; those of one stage side by side.
    ``bulk`` changes that have stage, call and database in common go out together: the one argument of each is
    an item of the list that the call takes, and the call gives a row for each, as C(_bulk_docs) does. ``size`` is about how
    many bytes an item takes.
    ``may_be_void`` marks a request that the server may accept without anything changing. ``void_if`` is what the result of
    the call holds when it has changed nothing. ``result`` is what the call gave, once it was made.
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

    # Written out, as dataclasses have keyword-only fields since Python 3.10 alone.
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
    """The changes, and ``predicted``: what observing the server again would show once they are done.

    ``afterwards`` says whether the server can be asked then: C(ASK), C(TRY) when it may have moved, or C(DONT) when the task
    can't log in any more. ``moved_to`` is the host and the port at which it listens then, None for what stays; None if that is
    not known. ``unanswered`` is what to do if the server does not answer after the changes. ``shortfall`` is the error for what
    the plan must leave out; the task ends with it once all else is done. ``unmet`` is the error for what must be there before
    anything is sent; in check mode it is a warning, as an earlier task may be what brings it. ``again``: what the server
    made of the changes is to be planned again, as its own settings have a part in it.
    """

    changes: tuple[Change, ...] = ()
    predicted: t.Any = None
    warnings: tuple[str, ...] = ()
    afterwards: str = ASK
    unanswered: str = ""
    moved_to: tuple[str | None, str | None] | None = None
    shortfall: CouchDBError | None = None
    unmet: CouchDBError | None = None
    again: bool = False

    def stages(self) -> t.Iterator[list[Change]]:
        """The changes in the order in which they must be done; those of one list may go side by side."""
        for stage in sorted({change.stage for change in self.changes}):
            yield [change for change in self.changes if change.stage == stage]


def missing_databases(names: t.Iterable[str]) -> NotFound | None:
    """What a plan lacks when these databases are missing; None when there are none."""
    missing = list(dict.fromkeys(names))
    if not missing:
        return None
    what, them = ("database", "it") if len(missing) == 1 else ("databases", "them")
    is_or_are = "is" if len(missing) == 1 else "are"
    return NotFound(
        f"{what} {', '.join(missing)} {is_or_are} missing: create {them} first, with couchdb_database",
        status=404,
        error="not_found",
        reason="Database does not exist.",
    )


def node_shortfall(down: t.Sequence[str], missed: t.Sequence[str]) -> NodeDown | None:
    """The shortfall of a plan for nodes that are down: who they are, and what they missed; None when there are none."""
    if not down:
        return None
    return NodeDown(
        f"{', '.join(down)}: down, and missed {listed(missed)}. The other nodes are done; run the task "
        "again once every node is back"
    )


def units(changes: t.Iterable[Change]) -> t.Iterator[list[Change]]:
    """The changes of one stage as they are sent: one by one, those in bulk together, C(BULK) or C(BULK_BYTES) at most."""
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
    """What Ansible's diff mode shows: C(before) and C(after) of what the changes touch, secrets masked.

    A thing that is not there has no entry on that side.
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
