# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

"""Fixtures of the trust tests: a server with bystanders, and a proxy in front of it that causes faults.

They run on the embedded server and, if COUCHDB_URL is set, on that server with COUCHDB_USERNAME and COUCHDB_PASSWORD.
With ``--soak`` all cases run, else a fixed sample.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "server"), str(HERE.parent / "tools")]

import embedded
import proxy
from couch import Couch
from tally import TRIED

# Read once: tests change the environment, and no module must find a login there.
GIVEN = {name: os.environ.pop(f"COUCHDB_{name.upper()}", None) for name in ("url", "username", "password", "empty_url")}

ADMIN = "admin:couchpy trust @ 1"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option --soak."""
    parser.addoption("--soak", action="store_true", help="run the whole matrix of faults, not a sample of it")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker timeout."""
    config.addinivalue_line(
        "markers", "timeout(seconds): how long a test may take, for pytest-timeout if it is installed"
    )


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Add what a worker of pytest-xdist counted."""
    TRIED.update(getattr(node, "workeroutput", {}).get("tried", {}))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Report what this process counted, if it is a worker of pytest-xdist."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["tried"] = dict(TRIED)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Report how many cases were tried."""
    for what, count in TRIED.items():
        terminalreporter.write_line(f"{count} {what}")


@pytest.fixture(scope="session")
def whole(request: pytest.FixtureRequest) -> bool:
    """Whether to run all cases, not a sample."""
    return bool(request.config.getoption("--soak"))


@pytest.fixture(scope="session", params=["embedded", *(["COUCHDB_URL"] if GIVEN["url"] else [])])
def couch(request: pytest.FixtureRequest) -> Iterator[Couch]:
    """A running server with bystanders: databases, settings and users that no task names."""
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
def twin(couch: Couch) -> Iterator[Couch]:
    """A second server of the same version, with nothing on it: embedded, or COUCHDB_EMPTY_URL with the same login."""
    if couch.url != GIVEN["url"]:
        with embedded.server(dialect="3", admin=ADMIN) as server:
            yield Couch(server.url, server.username or "", server.password or "")
    elif GIVEN["empty_url"]:
        yield Couch(GIVEN["empty_url"], couch.username, couch.password)
    else:
        pytest.skip("COUCHDB_EMPTY_URL names no second server")


@pytest.fixture(scope="session")
def elsewhere() -> Iterator[proxy.Proxy]:
    """A server that no task names: a request that reaches it followed a redirect."""
    with proxy.Proxy() as strange:
        yield strange


@pytest.fixture(scope="session")
def between(couch: Couch, elsewhere: proxy.Proxy) -> Iterator[proxy.Proxy]:
    """A proxy in front of the server, which causes faults."""
    with proxy.Proxy(couch.url) as standing:
        standing.elsewhere = elsewhere.url
        yield standing
