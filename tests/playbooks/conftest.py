# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures of the tests that run playbooks by name."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import embedded
import pytest

sys.path.append(str(Path(__file__).parent))

from named_runs import PASSWORD, Runs


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    """What runs playbooks for a test."""
    return Runs(tmp_path)


@pytest.fixture(scope="module")
def server() -> Iterator[embedded.Server]:
    """A server that the tests of a module share."""
    with embedded.server(dialect="3", admin=f"admin:{PASSWORD}") as started:
        yield started
