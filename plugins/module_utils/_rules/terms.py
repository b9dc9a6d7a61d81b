# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Erlang terms, which some settings of CouchDB contain: tuples, lists, atoms, numbers and strings. Pure.

https://www.erlang.org/doc/system/data_types.html
"""

from __future__ import annotations

import re
import typing as t

_TOKEN = re.compile(
    r"""\s*(?:(?P<number>[+-]?[0-9]+(?:\.[0-9]+(?:[eE][+-]?[0-9]+)?)?)|(?P<atom>[a-z][A-Za-z0-9_@]*)|(?P<quoted>'[^'\\]*')"""
    r"""|(?P<string>"[^"\\]*")|(?P<sign>[][{},])|(?P<end>\Z))"""
)
_DEEPEST = 20


class Atom(str):
    """An atom, such as C(true)."""


class NotATerm(ValueError):
    """The string is not an Erlang term, or one that is not understood here."""


def parse(string: str) -> t.Any:
    """The term in a string: a tuple, a list, an Atom, a number, or bytes for an Erlang string. Raises NotATerm."""
    tokens = list(_tokens(string))
    value, at = _term(tokens, 0, 0)
    if at != len(tokens):
        raise NotATerm(f"{string!r} goes on after its end")
    return value


def _tokens(string: str) -> t.Iterator[tuple[str, str]]:
    at = 0
    while True:
        found = _TOKEN.match(string, at)
        if not found:
            raise NotATerm(f"{string[at : at + 10]!r} does not belong into an Erlang term")
        if found.lastgroup == "end":
            return
        at = found.end()
        yield t.cast(str, found.lastgroup), t.cast(str, found.group(t.cast(str, found.lastgroup)))


def _term(tokens: list[tuple[str, str]], at: int, depth: int) -> tuple[t.Any, int]:
    if at == len(tokens) or depth > _DEEPEST:
        raise NotATerm("it ends too early" if at == len(tokens) else "it is nested too deeply")
    kind, string = tokens[at]
    if kind == "number":
        return (float(string) if "." in string else int(string[:20])), at + 1
    if kind in ("atom", "quoted"):
        return Atom(string.strip("'")), at + 1
    if kind == "string":
        return string[1:-1].encode(), at + 1
    if string not in ("[", "{"):
        raise NotATerm(f"{string!r} is not a value")
    closing = ("sign", "]" if string == "[" else "}")
    items: list[t.Any] = []
    at += 1
    while tokens[at : at + 1] != [closing]:
        if items:
            if tokens[at : at + 1] != [("sign", ",")]:
                raise NotATerm(f"a comma or {closing[1]} is missing")
            at += 1
        value, at = _term(tokens, at, depth + 1)
        items.append(value)
    return (items if string == "[" else tuple(items)), at + 1
