# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When two JSON values are the same to CouchDB. Pure."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping


def equal(one: t.Any, other: t.Any) -> bool:
    """Whether two JSON values are the same: 1 is 1.0 but not true; the order of keys does not matter.

    CouchDB stores 1.0 as it is sent and PouchDB stores it as 1, so that they are no difference to fix. -0.0 is 0.0, and a
    number that CouchDB cannot store is the one that it stores instead. Compares values of any depth.
    """
    waiting = [(one, other)]
    while waiting:
        one, other = waiting.pop()
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            if one.keys() != other.keys():
                return False
            waiting += [(value, other[name]) for name, value in one.items()]
        elif isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
            if len(one) != len(other):
                return False
            waiting += zip(one, other)
        elif isinstance(one, bool) != isinstance(other, bool) or one != other:
            return False
    return True
