# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Mango selectors: their normal form, and whether two are equal. Pure.

https://docs.couchdb.org/en/stable/api/database/find.html#selector-syntax
"""

from __future__ import annotations

import json
import typing as t

_ALL_OR_ANY = ("$and", "$or", "$nor")
_INSIDE = ("$elemMatch", "$allMatch", "$keyMapMatch")
_NEGATIONS = {"$lt": "$gte", "$lte": "$gt", "$eq": "$ne", "$in": "$nin"}
_NEGATIONS.update({negated: operator for operator, negated in _NEGATIONS.items()})

_Node = t.Dict[str, t.Any]
"""An object of the normal form, which has one key."""


def meaning(selector: t.Mapping[str, t.Any]) -> str:
    """A string that is the same for selectors with the same meaning, in any order and spelling."""
    return json.dumps(_ordered(normal(selector)))


def normal(selector: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """A selector as CouchDB stores it: operators spelt out, fields pushed down to them, negations resolved.

    C({"a": 1, "b": {"c": 2}}) is C({"$and": [{"a": {"$eq": 1}}, {"b.c": {"$eq": 2}}]}). An unknown operator
    stays as it is.

    https://docs.couchdb.org/en/stable/api/database/find.html#selector-syntax
    """
    return _resolved(_pushed_down(_spelt_out(selector), ())) if selector else {}


def _spelt_out(condition: t.Any) -> _Node:
    """With the implied $eq and $and. Each object has one key then."""
    if not isinstance(condition, dict) or not condition:
        return {"$eq": condition}
    if len(condition) > 1:
        return {"$and": [_spelt_out({name: value}) for name, value in condition.items()]}
    ((name, value),) = condition.items()
    if name in _ALL_OR_ANY and isinstance(value, list):
        return {name: [_spelt_out(item) for item in value]}
    if name in ("$not", *_INSIDE) and isinstance(value, dict):
        return {name: _spelt_out(value)}
    if name == "$text":
        return {"$default": condition}
    return condition if name.startswith("$") else {name: _spelt_out(value)}


def _pushed_down(node: _Node, path: tuple[str, ...]) -> _Node:
    """With the fields' paths as close to the operators as can be."""
    ((name, value),) = node.items()
    if name in _ALL_OR_ANY and isinstance(value, list):
        return {name: [_pushed_down(item, path) for item in value]}
    if name == "$not" and isinstance(value, dict):
        return {name: _pushed_down(value, path)}
    if name in _INSIDE and isinstance(value, dict):
        return {".".join(path): {name: _pushed_down(value, ())}}
    if name == "$default":
        return node
    if name.startswith("$"):
        return {".".join(path): node}
    return _pushed_down(value, (*path, name))


def _resolved(node: _Node) -> _Node:
    """Without $nor, and with $not only if no other operator can express it."""
    ((name, value),) = node.items()
    if name == "$not" and isinstance(value, dict):
        return _negated(value)
    if name == "$nor" and isinstance(value, list):
        return {"$and": [_negated(item) for item in value]}
    if name in ("$and", "$or") and isinstance(value, list):
        return {name: [_resolved(item) for item in value]}
    return node


def _negated(node: _Node) -> _Node:
    ((name, value),) = node.items()
    if name == "$not" and isinstance(value, dict):
        return _resolved(value)
    if name == "$nor" and isinstance(value, list):
        return {"$or": [_resolved(item) for item in value]}
    if name in ("$and", "$or") and isinstance(value, list):
        return {"$or" if name == "$and" else "$and": [_negated(item) for item in value]}
    if name in _NEGATIONS:
        return {_NEGATIONS[name]: value}
    if name == "$exists" and isinstance(value, bool):
        return {name: not value}
    return {"$not": node} if name.startswith("$") else {name: _negated(value)}


def _ordered(node: t.Any) -> t.Any:
    """A selector in normal form, with one order for whatever may have any order, and without duplicates."""
    if not isinstance(node, dict) or len(node) != 1:
        return _number(node)
    ((name, value),) = node.items()
    if name in ("$and", "$or") and isinstance(value, list):
        parts = list(_flat(name, [_ordered(item) for item in value]))
        unique = {json.dumps(part): part for part in parts}
        return parts[0] if len(unique) == 1 else {name: [unique[text] for text in sorted(unique)]}
    if name in ("$in", "$nin", "$all") and isinstance(value, list):
        return {name: sorted((_number(item) for item in value), key=json.dumps)}
    if name in ("$not", *_INSIDE) or not name.startswith("$"):
        return {name: _ordered(value)}
    return {name: _number(value)}


def _flat(name: str, parts: t.Iterable[_Node]) -> t.Iterator[_Node]:
    for part in parts:
        if isinstance(part, dict) and list(part) == [name]:
            yield from _flat(name, part[name])
        else:
            yield part


def _number(value: t.Any) -> t.Any:
    """A value with 1.0 spelt 1, as the two are the same to CouchDB."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {name: _number(item) for name, item in value.items()}
    return [_number(item) for item in value] if isinstance(value, list) else value
