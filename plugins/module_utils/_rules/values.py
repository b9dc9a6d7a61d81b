# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Values to CouchDB: when two JSON values are equal, and the string that a setting's value becomes. Pure."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from ..errors import InvalidInput
from .names import end_problem, text_problem


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


def setting_string(value: t.Any, option: str = "value") -> str:
    """The string that CouchDB stores for the value of a setting: true and false, numbers, strings without outer spaces.

    Raises InvalidInput, naming ``option``, for what a setting can't hold: lists, mappings, nothing,
    control characters, line ends, characters beyond Latin-1.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if not isinstance(value, str):
        kind = {"dict": "a mapping", "list": "a list", "NoneType": "empty"}.get(type(value).__name__, "of another type")
        raise InvalidInput(option, f"is {kind}. Set a string, a number or a boolean")
    string = value.strip(" \t")
    problem = text_problem(string) or end_problem(string)
    if problem:
        raise InvalidInput(option, problem)
    return string
