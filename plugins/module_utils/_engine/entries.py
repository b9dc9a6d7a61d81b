# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""entries(): the things that a task declares, with its own options or as a list, for every resource. Pure."""

from __future__ import annotations

import typing as t

from ..errors import InvalidInput

Params = t.Dict[str, t.Any]


def entries(params: Params, option: str, inherited: t.Iterable[str]) -> t.Iterator[tuple[Params, str]]:
    """Each thing that a task declares: its options, and their prefix in errors, such as C(users[3].).

    That is the task itself, with an empty prefix, unless it has the list ``option``. An item of the list has the task's
    value of each ``inherited`` option that it leaves out.
    """
    if params[option] is None:
        yield params, ""
        return
    for number, item in enumerate(params[option]):
        given = {name: params[name] if item.get(name) is None else item[name] for name in inherited}
        yield {**item, **given}, f"{option}[{number}]."


def add_once(found: dict[str, t.Any], name: str, entry: t.Any, prefix: str) -> None:
    """Add an entry to those found by name. Raises InvalidInput for a duplicate."""
    if name in found:
        raise InvalidInput(f"{prefix}name", f"{name} is listed twice")
    found[name] = entry
