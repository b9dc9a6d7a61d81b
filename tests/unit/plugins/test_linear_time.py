# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whatever searches strings takes time in proportion to their length: every regular expression, and what hides secrets."""

from __future__ import annotations

import ast
import itertools
import re
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.couchpy.couchdb.plugins.filter.masked import masked
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules import secrets

PLUGINS = Path(__file__).resolve().parents[3] / "plugins"

SEARCHES = ("compile", "match", "search", "fullmatch", "sub", "subn", "split", "findall", "finditer")

PARTS = (
    "a",
    "A",
    "0",
    " ",
    "@",
    ":",
    "/",
    "://",
    "a:",
    "=",
    "-",
    "_",
    ".",
    "'",
    '"',
    "[",
    "]",
    "{",
    ";",
    "%",
    "\n",
    "é",
)

SHORT, TIMES = 500, 8
"""A string of SHORT characters and one of SHORT * TIMES: in proportion, the second takes TIMES as long."""

UNMEASURABLE = 0.004
"""Seconds below which a search is fast enough: the load of the machine weighs more."""


ANCHORED = {"match", "fullmatch"}


def patterns() -> t.Iterator[tuple[str, re.Pattern[str], bool]]:
    """The place and the pattern of each regular expression of the collection, and whether it is searched for anywhere."""
    for path in sorted(PLUGINS.rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(source)):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            name = node.func
            if not (isinstance(name.value, ast.Name) and name.value.id == "re" and name.attr in SEARCHES):
                continue
            given = node.args[0]
            where = f"{path.relative_to(PLUGINS)}:{node.lineno}"
            if isinstance(given, ast.JoinedStr):
                # What is filled in is a name of the collection's own.
                text = "".join(str(part.value) if isinstance(part, ast.Constant) else "name" for part in given.values)
            else:
                text = str(ast.literal_eval(given))
            flags = 0
            for flag in ast.walk(node):
                if isinstance(flag, ast.Attribute) and flag.attr.isupper():
                    flags |= int(getattr(re, flag.attr))
            used = {name.attr}
            if name.attr == "compile":
                constant = source.splitlines()[node.lineno - 1].partition(" = ")[0]
                used = set(re.findall(rf"\b{re.escape(constant)}\.(\w+)", source)) & set(SEARCHES)
                assert used, where
            yield where, re.compile(text, flags), not used <= ANCHORED


PATTERNS = {where: (pattern, anywhere) for where, pattern, anywhere in patterns()}


def pieces(pattern: str) -> list[str]:
    """Strings of which long ones may be hard for a pattern: what it has of literal characters, alone and after one another."""
    literal = re.sub(r"\(\?[^)]*?[:>=!]|\(\?P<\w+>|\\[a-zA-Z]|[\[\](){}?*+|^$.]", "\0", pattern).replace("\\", "")
    own = [part for part in literal.split("\0") if part.strip()][:8]
    return list(dict.fromkeys([*PARTS, *own, *("".join(pair) for pair in itertools.permutations(own, 2))]))


def seconds(work: t.Callable[[str], object], text: str) -> float:
    """The processor's seconds of the fastest of some tries."""
    best = float("inf")
    for _try in range(3):
        start = time.thread_time()
        work(text)
        best = min(best, time.thread_time() - start)
        if best < UNMEASURABLE:
            break
    return best


def check(work: t.Callable[[str], object], unit: str) -> None:
    """A string made of this unit, and one that is longer, take time in proportion: twice of that is allowed."""
    for start, end in (("", ""), (unit[:1], "\0")):
        long = seconds(work, start + unit * (SHORT * TIMES // len(unit)) + end)
        if long >= UNMEASURABLE:
            short = seconds(work, start + unit * (SHORT // len(unit)) + end)
            assert long / short < TIMES * 2.5, f"{unit!r}: {short:.4f} s, and {TIMES} times as long: {long:.4f} s"


def test_the_regular_expressions_are_found() -> None:
    assert len(PATTERNS) > 25


@pytest.mark.parametrize("where", PATTERNS)
def test_a_regular_expression_takes_time_in_proportion(where: str) -> None:
    pattern, anywhere = PATTERNS[where]
    for unit in pieces(pattern.pattern):
        check((lambda text: sum(1 for _found in pattern.finditer(text))) if anywhere else pattern.match, unit)


def test_a_quadratic_one_is_noticed() -> None:
    with pytest.raises(AssertionError):
        check(lambda text: re.search(r"[a-z][a-z0-9+.-]*://", text), "a")


HARD = (
    *PARTS,
    "://a:b",
    "://h:80/",
    "://a@b/",
    "http://a:b@c/d@",
    "config: [",
    "config: [a] b set to ",
    "-hashed-",
    "-pbkdf2:sha-0",
)

SEARCHERS: dict[str, t.Callable[[str], object]] = {
    "mask_text": secrets.mask_text,
    "mask_url": secrets.mask_url,
    "mask_log": secrets.mask_log,
    "text_secrets": secrets.text_secrets,
    "url_secrets": secrets.url_secrets,
    "mask_document": lambda text: secrets.mask_document({"a": [text]}),
    "masked": masked,
    "few secrets": secrets.Secrets(["c4n4ry", "word"]).mask_message,
    "many secrets": secrets.Secrets([f"c4n4ry{n}" for n in range(100)]).mask_message,
}


@pytest.mark.parametrize("name", SEARCHERS)
def test_hiding_takes_time_in_proportion(name: str) -> None:
    for unit in HARD:
        check(SEARCHERS[name], unit)
        check(lambda text: SEARCHERS[name](f"http://{text}@"), unit)
        check(lambda text: SEARCHERS[name](f"http://a:{text}"), unit)


def test_eight_megabytes_are_searched_at_once() -> None:
    text = "a" * (8 * 1024 * 1024)
    start = time.thread_time()
    assert len(secrets.mask_text(text)) > 0
    assert time.thread_time() - start < 20


def test_many_secrets_are_hidden_in_much_at_once() -> None:
    users = [{"name": f"user{n}", "roles": ["a", "b"], "attributes": {"n": n}} for n in range(10_000)]
    hiding = secrets.Secrets([f"password-of-{n}" for n in range(10_000)])
    start = time.thread_time()
    assert hiding.mask_result({"users": users}) == {"users": users}
    assert hiding.mask_options({"users": users}) == {"users": users}
    assert time.thread_time() - start < 10
