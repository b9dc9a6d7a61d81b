# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Requests in parallel: a limited number at the same time, with their results in the order of the items."""

from __future__ import annotations

import contextvars
import threading
import typing as t
from dataclasses import dataclass

from .. import errors

AT_ONCE = 8
"""The most requests at the same time."""

_Item = t.TypeVar("_Item")
_Result = t.TypeVar("_Result")


@dataclass(frozen=True)
class Outcome(t.Generic[_Result]):
    """The outcome for one item: its result, or its error."""

    result: _Result | None = None
    error: errors.CouchDBError | None = None


def in_parallel(work: t.Callable[[_Item], _Result], items: t.Sequence[_Item]) -> list[_Result]:
    """Do the work for each item, several at the same time, and return the results in the order of the items.

    The first error is raised once the started work has ended; work that was not started is left out.
    """
    outcomes = attempt_in_parallel(work, items)
    for outcome in outcomes:
        if outcome is not None and outcome.error is not None:
            raise outcome.error
    return [t.cast(_Result, outcome.result) for outcome in outcomes if outcome is not None]


def attempt_in_parallel(
    work: t.Callable[[_Item], _Result],
    items: t.Sequence[_Item],
    harmless: tuple[type[errors.CouchDBError], ...] = (),
) -> list[Outcome[_Result] | None]:
    """Like in_parallel, but return the outcome for each item: None for those that were not started because another failed.

    After a ``harmless`` error the others are started all the same. The deadline of a wait applies to all of them.
    """
    outcomes: list[Outcome[_Result] | None] = [None] * len(items)
    failed = False

    def one(index: int) -> None:
        nonlocal failed
        if failed:
            return
        try:
            outcomes[index] = Outcome(work(items[index]))
        except errors.CouchDBError as error:
            failed = failed or not isinstance(error, harmless)
            outcomes[index] = Outcome(error=error)

    if len(items) < 2:
        for index in range(len(items)):
            one(index)
        return outcomes
    left, lock, bugs = iter(range(len(items))), threading.Lock(), []

    def following() -> int | None:
        with lock:
            return next(left, None)

    def several() -> None:
        nonlocal failed
        try:
            for index in iter(following, None):
                one(index)
        except BaseException as bug:
            failed = True
            bugs.append(bug)

    # A process waits at its end for the threads of the library's pools, also for a request that hangs after Ansible's timeout
    # of the task. It does not wait for these.
    threads = [
        threading.Thread(target=contextvars.copy_context().run, args=(several,), daemon=True)
        for _number in range(min(AT_ONCE, len(items)))
    ]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except BaseException:
        # That timeout, or an interrupt: start nothing more.
        failed = True
        raise
    if bugs:
        raise bugs[0]
    return outcomes
