# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures of the tests that run playbooks."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from playbook_runs import Plays


@pytest.fixture
def plays(tmp_path: Path) -> Plays:
    """What runs plays for a test."""
    return Plays(tmp_path)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option --whole."""
    parser.addoption(
        "--whole", action="store_true", help="run all of each target both ways, not only the life of its thing"
    )
