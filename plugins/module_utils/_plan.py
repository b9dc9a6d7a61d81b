# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Change and Plan: what is to be done, as plain data. Pure.

A plan is made from what a server has and what it should have. Check mode shows it, a real run
sends it; nothing is decided in between.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ._secrets import mask_change


@dataclass(frozen=True)
class Change:
    """One request that changes the server.

    ``action`` is C(create), C(update) or C(delete), ``what`` the kind of thing, ``path`` where it stands
    in the diff, such as ``("orders", "security")``. ``before`` and ``after`` are what is there and
    what will be; None means nothing. ``call`` names the method that sends it, of the database
    ``database`` if that is given, else of the Client, with the keyword ``arguments``.

    Changes of a lower ``stage`` are done before those of a higher one; those of one stage side by side.
    ``may_be_void`` marks a request that the server may accept without anything changing.
    """

    action: str
    what: str
    path: tuple[str, ...]
    before: t.Any
    after: t.Any
    call: str
    arguments: dict[str, t.Any] = field(default_factory=dict)
    database: str | None = None
    stage: int = 0
    may_be_void: bool = False

    def __str__(self) -> str:
        return f"{self.action} {self.what} {'/'.join(self.path)}"


@dataclass(frozen=True)
class Plan:
    """The changes, and ``predicted``: what observing the server again would show once they are done.

    ``cuts_off`` says that the server may not answer at the same address any more when they are.
    """

    changes: tuple[Change, ...] = ()
    predicted: t.Any = None
    warnings: tuple[str, ...] = ()
    cuts_off: bool = False

    def stages(self) -> t.Iterator[list[Change]]:
        """The changes in the order in which they must be done; those of one list may go side by side."""
        for stage in sorted({change.stage for change in self.changes}):
            yield [change for change in self.changes if change.stage == stage]


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
