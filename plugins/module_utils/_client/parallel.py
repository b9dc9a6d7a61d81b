# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Requests in parallel: a bounded number at the same time, their results in the order in which they were asked for."""

from __future__ import annotations

import contextvars
import typing as t
from dataclasses import dataclass

from .. import errors

AT_ONCE = 8
"""How many requests go out at the same time, at most."""

_Item = t.TypeVar("_Item")
_Result = t.TypeVar("_Result")


@dataclass(frozen=True)
class Outcome(t.Generic[_Result]):
    """What became of one piece of work: its result, or its error."""

    result: _Result | None = None
    error: errors.CouchDBError | None = None


def in_parallel(work: t.Callable[[_Item], _Result], items: t.Sequence[_Item]) -> list[_Result]:
    """Do the work for each item, several at the same time, and return the results in the order of the items.

    The first error is raised, once the work that had begun has ended; what had not begun is left out.
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
    """Like in_parallel, but return the outcome for each item: None for those not begun because another had failed.

    After a ``harmless`` error the others are begun all the same. The deadline of a wait holds for all of them.
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
    # Imported here, as most tasks send nothing in parallel and the import is not free.
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(min(AT_ONCE, len(items)))
    try:
        for begun in [pool.submit(contextvars.copy_context().run, one, index) for index in range(len(items))]:
            begun.result()
    except BaseException:
        # Ansible's limit of the task's time, an interrupt, or a fault: nothing more begins, and nobody waits for the rest.
        failed = True
        pool.shutdown(wait=False)
        raise
    pool.shutdown()
    return outcomes
