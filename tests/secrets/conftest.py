# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

"""Fixtures of the tests of secrets: the embedded server, and ansible-playbook with everything that it writes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "server"), str(HERE.parent / "tools")]

import embedded
from plays import Ansible


def pytest_configure(config: pytest.Config) -> None:
    """Playbooks take longer than other tests."""
    config.addinivalue_line(
        "markers", "timeout(seconds): how long a test may take, for pytest-timeout if it is installed"
    )


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The folder of the server's log, settings and databases."""
    folder = tmp_path / "server"
    folder.mkdir()
    return folder


@pytest.fixture
def server(data: Path, tmp_path: Path) -> Iterator[embedded.Server]:
    """A CouchDB 3.4 with an admin of its own."""
    with embedded.server(dialect="3", data=data, journal=tmp_path / "journal.jsonl") as running:
        yield running


@pytest.fixture
def ansible(tmp_path: Path) -> Ansible:
    """ansible-playbook, with its output, log, facts and messages to syslog in a directory."""
    folder = tmp_path / "ansible"
    folder.mkdir()
    return Ansible(folder)
