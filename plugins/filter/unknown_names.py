# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter unknown_names: which of some names are not known, each with the known one that may be meant."""

from __future__ import annotations

import difflib
import fnmatch
import typing as t

from ansible.errors import AnsibleFilterError


def unknown_names(names: t.Any, known: t.Any, allowed: t.Any = ()) -> list[str]:
    """The names, sorted, that are neither ``known`` nor match a pattern of ``allowed``."""
    for option, value in (("names", names), ("known", known), ("allowed", allowed)):
        if isinstance(value, str) or not all(isinstance(item, str) for item in value):
            raise AnsibleFilterError(f"couchpy.couchdb.unknown_names: {option}: must be a list of strings")
    unknown = {
        str(name)
        for name in names
        if name not in known and not any(fnmatch.fnmatchcase(name, item) for item in allowed)
    }
    return [_with_hint(name, [str(item) for item in known]) for name in sorted(unknown)]


def _with_hint(name: str, known: list[str]) -> str:
    # A beginning that all of them share says nothing.
    prefix = _common_beginning([name, *known])
    near = difflib.get_close_matches(name[len(prefix) :], [string[len(prefix) :] for string in known], n=1, cutoff=0.7)
    return f"{name} (did you mean {prefix}{near[0]}?)" if near else name


def _common_beginning(names: list[str]) -> str:
    length = 0
    while length < len(names[0]) and len({string[: length + 1] for string in names}) == 1:
        length += 1
    return names[0][:length]


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, t.Callable[..., list[str]]]:
        """Give them by name."""
        return {"unknown_names": unknown_names}
