# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A database's security object: what can be declared, and the merge with the current object. Pure."""

from __future__ import annotations

import copy
import typing as t

from ..errors import InvalidInput

GROUPS = ("admins", "members")
LISTS = ("names", "roles")


def check_security(security: t.Any, option: str = "security") -> None:
    """Raise InvalidInput, naming ``option``, unless it is an object whose admins and members have lists of strings."""
    if not isinstance(security, t.Mapping):
        raise InvalidInput(option, "must be a mapping with admins and members")
    for group in GROUPS:
        lists = security.get(group, {})
        if not isinstance(lists, t.Mapping):
            raise InvalidInput(f"{option}.{group}", "must be a mapping with names and roles")
        for kind in LISTS:
            listed = lists.get(kind, [])
            if not isinstance(listed, list) or not all(isinstance(item, str) for item in listed):
                raise InvalidInput(f"{option}.{group}.{kind}", "must be a list of strings")


def given_security(security: t.Mapping[str, t.Any], option: str = "security") -> dict[str, dict[str, list[str]]]:
    """The declared security object, without values that are None.

    Raises InvalidInput, naming ``option``, for anything but lists of strings in names and roles, in
    admins and members.
    """
    given = {group: lists for group, lists in security.items() if lists is not None}
    for group, lists in given.items():
        if group not in GROUPS:
            raise InvalidInput(option, f"has no {group}. Use {' and '.join(GROUPS)}")
        if isinstance(lists, t.Mapping):
            given[group] = {kind: listed for kind, listed in lists.items() if listed is not None}
            for kind in given[group]:
                if kind not in LISTS:
                    raise InvalidInput(f"{option}.{group}", f"has no {kind}. Use {' and '.join(LISTS)}")
    check_security(given, option)
    return given


def merged_security(
    security: t.Mapping[str, t.Any], given: t.Mapping[str, t.Mapping[str, list[str]]]
) -> dict[str, t.Any]:
    """A security object with the declared lists, and all else as it was.

    A list with the same items in another order is equal, and stays as it was.
    """
    merged = copy.deepcopy(dict(security))
    for group, lists in given.items():
        for kind, wanted in lists.items():
            current = merged.get(group, {}).get(kind, [])
            if sorted(set(current)) != sorted(set(wanted)):
                merged.setdefault(group, {})[kind] = list(dict.fromkeys(wanted))
    return merged
