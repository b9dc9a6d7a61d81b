# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""wait_until(): the only way to wait for something on a server, and the deadline of its requests.

It is in this layer, not in the engine, as methods of the client wait too: for a node to connect, for views,
for a restart.
"""

from __future__ import annotations

import contextlib
import contextvars
import threading
import time
import typing as t

Progress = t.Callable[[str, str, float], None]
"""Called after each look, and every five seconds, with the subject of the wait, what it still lacks, and the seconds since the start."""

_REMINDER = 5.0
"""Seconds after which progress is reported again, also during a request that takes long."""

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0

# Each thread has its own, so that parallel waits do not share a deadline; in_parallel() passes it on.
_deadline: contextvars.ContextVar[float | None] = contextvars.ContextVar("deadline", default=None)


@contextlib.contextmanager
def within(seconds: float) -> t.Iterator[None]:
    """Limit every request inside, to any server, to so many seconds from now."""
    end, outer = time.monotonic() + seconds, _deadline.get()
    token = _deadline.set(end if outer is None else min(end, outer))
    try:
        yield
    finally:
        _deadline.reset(token)


def seconds_left() -> float:
    """Seconds to the deadline; infinite if there is none."""
    end = _deadline.get()
    return float("inf") if end is None else end - time.monotonic()


@contextlib.contextmanager
def _reporting(progress: Progress | None, what: str) -> t.Iterator[t.Callable[[str], None]]:
    """Give a function that reports what is lacking, and report it again meanwhile."""
    if progress is None:
        yield lambda lacking: None
        return
    begun, last, lock, ended = time.monotonic(), "no response yet", threading.Lock(), threading.Event()

    def report(lacking: str) -> None:
        nonlocal last
        with lock:
            last = lacking
            progress(what, lacking, time.monotonic() - begun)

    def remind() -> None:
        while not ended.wait(_REMINDER):
            report(last)

    threading.Thread(target=remind, daemon=True).start()
    try:
        yield report
    finally:
        ended.set()


def wait_until(
    look: t.Callable[[], str],
    seconds: float,
    what: str,
    progress: Progress | None = None,
    *,
    stalled: bool = False,
    holds: float = 0.0,
) -> str:
    """Look again and again until nothing is lacking, or for so many seconds. Return what was lacking last: "" for nothing.

    ``look`` says what is lacking; an error that it raises ends the wait. It is called at once, and then after pauses that
    grow with the time. Each of its requests ends at the deadline.

    With ``stalled`` the seconds count from the last change of what is lacking, so each look that sees progress moves the deadline.
    With ``holds`` nothing may be lacking for so many seconds, at three looks.
    """
    changed, last, since = time.monotonic(), "", None
    with _reporting(progress, what) as report:
        while True:
            with within(changed + seconds - time.monotonic()):
                lacking = look()
            report(lacking)
            now = time.monotonic()
            since = None if lacking else now if since is None else since
            if since is not None and now - since >= holds:
                return ""
            if stalled and lacking != last:
                changed, last = now, lacking
            waited = now - changed
            if waited >= seconds:
                return lacking or f"nothing, but for less than {holds:g} s"
            pause = min(_FIRST_PAUSE + waited / 8, _LONGEST_PAUSE) if lacking else holds / 2
            time.sleep(min(pause, seconds - waited))
