# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The differences between a server and its declaration, by part, from the results of tasks in check mode. Pure."""

from __future__ import annotations

import difflib
import json
import typing as t

MISSING, EXTRA, DIFFERS = "missing", "not wanted", "differs"
"""How a thing differs: the server lacks it, has it although it is declared absent, or has it with other values."""

_DEPTHS = {
    "settings": 3,
    "admins": 2,
    "jwt_keys": 2,
    "databases": 1,
    "users": 1,
    "documents": 2,
    "indexes": 3,
    "replications": 1,
    "members": 1,
}
"""How many levels of a part's diff name a thing."""

_BY_NODE = ("settings", "admins", "jwt_keys")
"""The parts whose first level is the node."""

_CONTEXT = 2

Entry = t.Dict[str, t.Any]


def of_result(result: t.Mapping[str, t.Any]) -> list[Entry]:
    """The differences in the result of couchdb_server in check and diff mode: a list of C(part), C(things) and C(lines).

    C(things) have a C(name), a C(change) (missing, not wanted, or differs) and the C(fields) that differ. C(lines) are the
    two sides, see lines(). A part that failed has its C(error), and no things.
    """
    found = []
    diffs = {diff.get("before_header"): diff for diff in result.get("diff") or [] if isinstance(diff, t.Mapping)}
    for part, outcome in (result.get("parts") or {}).items():
        if outcome.get("failed"):
            found.append({"part": part, "things": [], "lines": [], "error": str(outcome.get("msg"))})
        elif outcome.get("changed"):
            diff = diffs.get(part, {})
            found.append(_part(part, diff.get("before") or {}, diff.get("after") or {}))
    return found


def of_cluster(result: t.Mapping[str, t.Any]) -> list[Entry]:
    """The differences in the result of couchdb_cluster in check and diff mode. The part is called C(members)."""
    if not result.get("changed"):
        return []
    diff = result.get("diff") or {}
    return [_part("members", diff.get("before") or {}, diff.get("after") or {})]


def _part(part: str, before: t.Mapping[str, t.Any], after: t.Mapping[str, t.Any]) -> Entry:
    depth = _DEPTHS.get(part, 1)
    current, desired = dict(_leaves(before, depth)), dict(_leaves(after, depth))
    things: dict[str, Entry] = {}
    for path in sorted({*current, *desired}):
        name = "/".join(path[1:] if part in _BY_NODE else path)
        change = MISSING if path not in current else EXTRA if path not in desired else DIFFERS
        things.setdefault(
            name,
            {
                "name": name,
                "change": change,
                "fields": _fields(current.get(path), desired.get(path)) if change == DIFFERS else [],
            },
        )
    return {"part": part, "things": list(things.values()), "lines": lines(before, after), "error": None}


def _leaves(tree: t.Any, depth: int, path: tuple[str, ...] = ()) -> t.Iterator[tuple[tuple[str, ...], t.Any]]:
    if depth and isinstance(tree, t.Mapping):
        for name, inner in tree.items():
            yield from _leaves(inner, depth - 1, (*path, str(name)))
    elif path:
        yield path, tree


def _fields(current: t.Any, desired: t.Any) -> list[str]:
    if not isinstance(current, t.Mapping) or not isinstance(desired, t.Mapping):
        return []
    return sorted(
        str(name) for name in {*current, *desired} if current.get(name) != desired.get(name) and name != "_rev"
    )


def lines(before: t.Any, after: t.Any) -> list[Entry]:
    """Two values line by line, in two columns: a list of C(kind), C(before) and C(after).

    C(kind) is same, changed, removed, added or gap. A gap replaces equal lines that are left out. A side without such a
    line is null.
    """
    left, right = _text(before), _text(after)
    found: list[Entry] = []
    for number, group in enumerate(difflib.SequenceMatcher(None, left, right, False).get_grouped_opcodes(_CONTEXT)):
        if number:
            found.append({"kind": "gap", "before": None, "after": None})
        for kind, start, end, other_start, other_end in group:
            for offset in range(max(end - start, other_end - other_start)):
                one = left[start + offset] if start + offset < end else None
                other = right[other_start + offset] if other_start + offset < other_end else None
                word = (
                    "same" if kind == "equal" else "added" if one is None else "removed" if other is None else "changed"
                )
                found.append({"kind": word, "before": one, "after": other})
    return found


def _text(value: t.Any) -> list[str]:
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False).splitlines() if value else []


def sentences(found: t.Iterable[Entry]) -> list[str]:
    """A line for each part that differs, such as C(users: ann (roles))."""
    said = []
    for entry in found:
        if entry["error"] is not None:
            said.append(f"{entry['part']}: failed: {entry['error']}")
        else:
            said.append(f"{entry['part']}: " + ", ".join(map(_thing, entry["things"])))
    return said


def _thing(thing: Entry) -> str:
    how = ", ".join(thing["fields"]) if thing["fields"] else thing["change"]
    return f"{thing['name']} ({how})" if how != DIFFERS else str(thing["name"])
