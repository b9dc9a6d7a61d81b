# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

"""What every test of the client is given: a running server, clients of it, and databases that are removed again.

Each test that asks for ``server``, or for anything made from it, runs on every server: the embedded
one as CouchDB 3.4, 3.3 and 1.x, and the one that COUCHDB_URL names, with COUCHDB_USERNAME and
COUCHDB_PASSWORD, when it is set.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "server")]

from ansible_collections.couchpy.couchdb.plugins.module_utils import errors
from ansible_collections.couchpy.couchdb.plugins.module_utils.client import Client
from ansible_collections.couchpy.couchdb.plugins.module_utils.database import Database
from servers import NAMES, Server, running, unique
from wire import Wire, forward, listen


@pytest.fixture(scope="session", params=NAMES)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A running server; the tests run on each in turn."""
    stack = contextlib.ExitStack()
    yield stack.enter_context(running(request.param))
    stack.close()


@pytest.fixture
def connect(server: Server) -> Iterator[Callable[..., Client]]:
    """Makes clients: ``connect(url=None, hthdrs=None, cookie=None, **config)``, as the server's admin.

    With ``username=None`` there is no login, with another ``username`` and ``password`` another user.
    """
    made: list[Client] = []

    def connected(url: str | None = None, hthdrs: Any = None, cookie: Any = None, **config: Any) -> Client:
        options = config if "username" in config else {**server.credentials, **config}
        options = {name: value for name, value in options.items() if value is not None}
        made.append(Client(url or server.url, config=options, hthdrs=hthdrs, cookie=cookie))
        return made[-1]

    yield connected
    for client in made:
        client.close()


@pytest.fixture
def couch(connect: Callable[..., Client]) -> Client:
    """A client of the server, as its admin."""
    return connect()


@pytest.fixture
def wire(server: Server) -> Iterator[Wire]:
    """The server behind an address where what is asked of it is written down."""
    with listen(forward(server.url)) as before:
        yield before


@pytest.fixture
def new_name(couch: Client) -> Iterator[Callable[..., str]]:
    """Makes database names; what was created under them is deleted afterwards."""
    given: list[str] = []

    def name(suffix: str = "") -> str:
        given.append(unique(suffix))
        return given[-1]

    yield name
    for one in given:
        with contextlib.suppress(errors.NotFound):
            couch.delete(one)


@pytest.fixture
def db(couch: Client, new_name: Callable[..., str]) -> Database:
    """A new, empty database."""
    return couch.put(new_name())


@pytest.fixture
def new_admin(couch: Client) -> Iterator[Callable[[], str]]:
    """Makes names for server admins; those that were added are taken away afterwards."""
    given: list[str] = []

    def name() -> str:
        given.append(unique())
        return given[-1]

    yield name
    for one in given:
        with contextlib.suppress(errors.NotFound):
            couch.deladmin(one)


@pytest.fixture
def section(couch: Client) -> Iterator[str]:
    """A section of the settings that nothing reads; its keys are deleted afterwards."""
    name = unique()
    yield name
    for key in couch.config(name):
        couch.config(name, key, delete=True)
