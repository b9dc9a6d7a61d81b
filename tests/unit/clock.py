# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A time that passes only while something sleeps."""

from __future__ import annotations

import time
from types import SimpleNamespace


class Clock:
    """The time of whatever waits, in the module C(time) that it sees as ``module``; ``pauses`` are those that it made."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.pauses: list[float] = []
        self.module = SimpleNamespace(
            monotonic=self.monotonic,
            sleep=self.sleep,
            strftime=time.strftime,
            gmtime=lambda: time.gmtime(self.now),
        )

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.pauses.append(seconds)
        # A pause that is too short for the precision of the time would last forever.
        self.now += max(seconds, 1e-6)
