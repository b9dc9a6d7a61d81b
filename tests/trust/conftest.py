# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

"""What the tests of trust are given: a server with bystanders on it, and a proxy before it that can do harm.

They run on the embedded server, and on the one that COUCHDB_URL names, with COUCHDB_USERNAME and COUCHDB_PASSWORD,
when it is set. With ``--soak`` they run whole, else a sample that is always the same.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "server"), str(HERE.parent / "tools")]

import embedded
import proxy
from couch import Couch
from tally import TRIED

# Read once: tests change the environment, and no module is to find a login there.
GIVEN = {name: os.environ.pop(f"COUCHDB_{name.upper()}", None) for name in ("url", "username", "password")}

ADMIN = "admin:couchpy trust @ 1"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the whole be asked for."""
    parser.addoption("--soak", action="store_true", help="run the whole matrix of faults, not a sample of it")


def pytest_configure(config: pytest.Config) -> None:
    """Some tests take longer than others."""
    config.addinivalue_line("markers", "timeout(seconds): how long a test may take, for pytest-timeout if it is there")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell how much was tried."""
    for what, count in TRIED.items():
        terminalreporter.write_line(f"{count} {what}")


@pytest.fixture(scope="session")
def whole(request: pytest.FixtureRequest) -> bool:
    """Whether all is to be run, not a sample."""
    return bool(request.config.getoption("--soak"))


@pytest.fixture(scope="session", params=["embedded", *(["COUCHDB_URL"] if GIVEN["url"] else [])])
def couch(request: pytest.FixtureRequest) -> Iterator[Couch]:
    """A running server that holds what no task names."""
    with contextlib.ExitStack() as stack:
        if request.param == "embedded":
            server = stack.enter_context(embedded.server(dialect="3", admin=ADMIN))
            running = Couch(server.url, server.username or "", server.password or "")
        else:
            running = Couch(GIVEN["url"] or "", GIVEN["username"] or "", GIVEN["password"] or "")
        stack.callback(running.remove_bystanders)
        running.add_bystanders()
        yield running


@pytest.fixture(scope="session")
def elsewhere() -> Iterator[proxy.Proxy]:
    """A server that nobody named: to what reaches it, somebody was led."""
    with proxy.Proxy() as strange:
        yield strange


@pytest.fixture(scope="session")
def between(couch: Couch, elsewhere: proxy.Proxy) -> Iterator[proxy.Proxy]:
    """The server behind an address where things go wrong."""
    with proxy.Proxy(couch.url) as standing:
        standing.elsewhere = elsewhere.url
        yield standing
