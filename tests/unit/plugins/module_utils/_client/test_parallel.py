# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""_client/parallel: work in parallel, and its results in order."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest
from ansible_collections.couchpy.couchdb.plugins.module_utils import errors
from ansible_collections.couchpy.couchdb.plugins.module_utils._client import parallel, wait


def test_work_is_done_in_parallel_and_its_results_are_in_order() -> None:
    together = threading.Barrier(parallel.AT_ONCE, timeout=10)

    def work(item: int) -> int:
        together.wait()
        return item * 2

    items = list(range(2 * parallel.AT_ONCE))
    assert parallel.in_parallel(work, items) == [2 * item for item in items]


def test_work_stops_at_the_first_error() -> None:
    begun = []

    def work(item: int) -> int:
        begun.append(item)
        if item == 0:
            raise errors.NotFound("0 is not there")
        return item

    with pytest.raises(errors.NotFound):
        parallel.in_parallel(work, list(range(1000)))
    assert len(begun) < 1000


def test_the_deadline_of_a_wait_holds_for_work_in_parallel() -> None:
    with wait.within(5):
        left = parallel.in_parallel(lambda _item: wait.seconds_left(), [1, 2, 3])
    assert all(4 < seconds <= 5 for seconds in left)
    assert parallel.in_parallel(lambda _item: wait.seconds_left(), [1, 2, 3]) == [float("inf")] * 3


class Interrupt(BaseException):
    """Ansible's timeout of a task, or Ctrl-C."""


def test_an_interrupt_ends_the_work_and_leaves_nothing_that_a_process_waits_for_at_its_end() -> None:
    begun: list[int] = []
    hanging = threading.Event()

    def interrupt(*_arguments: object) -> None:
        raise Interrupt

    def work(item: int) -> None:
        begun.append(item)
        if len(begun) == parallel.AT_ONCE:
            os.kill(os.getpid(), signal.SIGALRM)
        hanging.wait(30)

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with pytest.raises(Interrupt):
            parallel.in_parallel(work, list(range(100)))
    finally:
        signal.signal(signal.SIGALRM, before)
    main = threading.main_thread()
    assert [thread for thread in threading.enumerate() if thread is not main and not thread.daemon] == []
    assert len(begun) == parallel.AT_ONCE
    hanging.set()
    time.sleep(0.2)
    assert len(begun) == parallel.AT_ONCE


def test_a_bug_in_the_work_is_raised() -> None:
    def work(item: int) -> int:
        return 1 // item

    with pytest.raises(ZeroDivisionError):
        parallel.in_parallel(work, [1, 0, 2])
