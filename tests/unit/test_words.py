# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The words that a person reads: one term a thing, and CouchDB's and Ansible's own terms."""

from __future__ import annotations

import ast
import io
import re
import tokenize
import typing as t
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLACES = (
    "plugins",
    "roles",
    "playbooks",
    "examples",
    "docs",
    "README.md",
    "CONTRIBUTING.md",
    "MAINTAINERS.md",
    "SECURITY.md",
    "changelogs",
    "noxfile.py",
)
TESTS = ("tests", "extensions")
KINDS = (".py", ".yml", ".md", ".rst", ".j2")

# What must not be written, and what is written instead.
WORDS: dict[str, str] = {
    r"\b(tell|tells|told|telling)\b": "report, return, show, list, say",
    r"\bside by side\b": "in parallel, at the same time",
    r"\blets? in\b": "log in as",
    r"\bstands? (in|before|for|behind)\b": "is in, means",
    r"\b(is|are|was|were|isn't|aren't|not|still|already) there\b(?! (is|are|was|were|a|an|no)\b)": "exists, is missing",
    r"\bwhat there is\b": "current",
    r"\bheld\b": "current, contains, has",
    r"\banew\b": "again",
    r"\banother try\b|\btr(y|ies|ied) again\b": "retry",
    r"\bsomebody\b": "another client, another user",
    r"\b(get|gets|getting) on\b": "make progress",
    r"\blists? of texts\b|\b(be a|is no|are no) texts?\b": "string",
    r"\b(is|are) no (CouchDB|JSON|URL|address|document|mapping|member|node)\b": "is not a ...",
    r"\bin the way of\b": "with",
    r"\bof no use\b": "has no effect",
    r"\bwhoever\b": "if, any client that",
    r"\btaken? out\b": "remove",
    r"\b(is|not|cluster) whole\b": "in sync",
    r"\b(is|come|comes|came) back\b": "is up",
}


def read_lines(path: Path) -> t.Iterator[tuple[int, str]]:
    """The lines of a file that a person reads: of Python, its comments and strings; of a test, no data."""
    source = path.read_text(encoding="utf-8")
    data = path.relative_to(ROOT).parts[0] in TESTS
    if path.suffix != ".py":
        lines = enumerate(source.splitlines(), 1)
        yield from ((number, line) for number, line in lines if not data or re.match(r"\s*(#|- name:)", line))
        return
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and data:
            yield from ((getattr(node, "lineno", 1), line) for line in (ast.get_docstring(node) or "").splitlines())
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value and not data:
            yield from ((node.lineno, line) for line in node.value.splitlines())


FILES = sorted(
    path
    for place in (*PLACES, *TESTS)
    for path in ([ROOT / place] if (ROOT / place).is_file() else (ROOT / place).rglob("*"))
    if path.suffix in KINDS and path != Path(__file__) and not {"node_modules", "output"} & set(path.parts)
)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_text_uses_the_terms(path: Path) -> None:
    found = [
        f"line {number}: {match.group()!r} in {line.strip()!r}. Say: {instead}"
        for number, line in read_lines(path)
        for words, instead in WORDS.items()
        for match in [re.search(words, line, re.IGNORECASE)]
        if match
    ]
    assert found == []
