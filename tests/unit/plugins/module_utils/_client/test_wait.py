# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""_client/wait: one back-off, one deadline for all requests of a wait, and its progress."""

from __future__ import annotations

import socket
import threading
import time
import typing as t

import pytest
from ansible_collections.couchpy.couchdb.plugins.module_utils import errors
from ansible_collections.couchpy.couchdb.plugins.module_utils._client import wait
from ansible_collections.couchpy.couchdb.plugins.module_utils._client.connection import Connection, Options
from ansible_collections.couchpy.couchdb.plugins.module_utils._client.parallel import attempt_in_parallel
from ansible_collections.couchpy.couchdb.tests.unit.clock import Clock


def test_what_lacks_nothing_is_looked_at_once(clock: Clock) -> None:
    assert wait.wait_until(lambda: "", 10, "it") == ""
    assert clock.pauses == []


def test_the_last_word_is_returned_when_it_takes_too_long(clock: Clock) -> None:
    looks: list[float] = []

    def look() -> str:
        looks.append(clock.now - 1000)
        return f"look {len(looks)}"

    assert wait.wait_until(look, 300, "it") == f"look {len(looks)}"
    assert looks[0] == 0
    assert looks[-1] == pytest.approx(300)
    assert clock.pauses[0] < 0.5
    assert max(clock.pauses) == 5
    assert sorted(clock.pauses[:-1]) == clock.pauses[:-1]


def test_an_error_ends_a_wait(clock: Clock) -> None:
    def look() -> str:
        raise errors.Unauthorized("no")

    with pytest.raises(errors.Unauthorized):
        wait.wait_until(look, 10, "it")
    assert wait.seconds_left() == float("inf")


def test_progress_is_reported_at_each_look(clock: Clock) -> None:
    seen: list[t.Any] = []
    left = iter(["2 left", "1 left", ""])
    wait.wait_until(lambda: next(left), 10, "it", lambda *report: seen.append(report))
    assert [(what, how_far) for what, how_far, _seconds in seen] == [("it", "2 left"), ("it", "1 left"), ("it", "")]
    assert [seconds for _what, _how_far, seconds in seen] == pytest.approx([0, 0.1, 0.2125])


def test_progress_is_reported_again_while_a_look_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wait, "_REMINDER", 0.05)
    seen: list[t.Any] = []
    left = iter(["1 left", ""])

    def look() -> str:
        time.sleep(0.4)
        return next(left)

    wait.wait_until(look, 10, "it", lambda *report: seen.append(report))
    # A report that had begun may still come.
    time.sleep(0.2)
    reported = [lacking for _what, lacking, _seconds in seen]
    assert reported.count("no response yet") >= 2
    assert reported.count("1 left") >= 3
    assert [seconds for _what, _lacking, seconds in seen] == sorted(seconds for _what, _lacking, seconds in seen)
    time.sleep(0.2)
    assert len(seen) == len(reported)


def test_progress_moves_the_deadline_of_a_stalled_wait(clock: Clock) -> None:
    def look() -> str:
        # 1 of 4 is done every 8 seconds, until 3 are done.
        return f"{min(int((clock.now - 1000) / 8), 3)} of 4"

    assert wait.wait_until(look, 10, "it", stalled=True) == "3 of 4"
    assert clock.now - 1000 == pytest.approx(34, abs=2)


def test_a_request_of_a_stalled_wait_may_take_what_is_left_of_it(clock: Clock) -> None:
    left: list[float] = []

    def look() -> str:
        left.append(wait.seconds_left())
        clock.now += 4
        # Progress is made once, at the third look.
        return "2 left" if len(left) < 3 else "1 left"

    assert wait.wait_until(look, 10, "it", stalled=True) == "1 left"
    assert left[0] == 10
    assert left[1] == pytest.approx(10, abs=0.5)
    assert left[2] < 6
    assert left[3] == pytest.approx(10, abs=0.5)
    assert left[4] < 6
    assert wait.seconds_left() == float("inf")


def test_what_must_hold_is_looked_at_three_times(clock: Clock) -> None:
    answers = iter(["1 left", "", "1 left", "", "", ""])
    assert wait.wait_until(lambda: next(answers), 10, "it", holds=1) == ""
    assert clock.pauses[-2:] == [0.5, 0.5]
    assert next(answers, None) is None


def test_what_holds_too_late_is_not_enough(clock: Clock) -> None:
    answers = iter(["1 left"] * 5)
    assert wait.wait_until(lambda: next(answers, ""), 1, "it", holds=1) == "nothing, but for less than 1 s"


def test_a_wait_inside_a_wait_has_the_earlier_deadline(clock: Clock) -> None:
    with wait.within(5), wait.within(10):
        assert wait.seconds_left() == 5
    with wait.within(10):
        with wait.within(5):
            assert wait.seconds_left() == 5
        assert wait.seconds_left() == 10


@pytest.fixture
def silent() -> t.Iterator[str]:
    """The URL of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepted: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    accepted.append(listener.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)
        for each in accepted:
            each.close()


@pytest.mark.parametrize("stalled", [False, True])
def test_the_deadline_holds_for_each_request_of_a_wait(silent: str, stalled: bool) -> None:
    connections = [Connection(silent, Options(timeout=60, retries=3)) for _number in range(3)]

    def look() -> str:
        outcomes = attempt_in_parallel(lambda each: each.request("GET"), connections, (errors.TimedOut,))
        assert all(outcome and isinstance(outcome.error, errors.TimedOut) for outcome in outcomes)
        return "an answer"

    begun = time.monotonic()
    assert wait.wait_until(look, 2, "it", stalled=stalled) == "an answer"
    assert time.monotonic() - begun < 6
