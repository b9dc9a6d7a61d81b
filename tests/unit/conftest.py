# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures of the unit tests."""

from __future__ import annotations

import hashlib
import typing as t

import pytest
import responses
from ansible_collections.couchpy.couchdb.plugins.module_utils._client import documents, restart, wait
from ansible_collections.couchpy.couchdb.plugins.module_utils._resources import replications
from ansible_collections.couchpy.couchdb.tests.unit.clock import Clock
from ansible_collections.couchpy.couchdb.tests.unit.wire import Wire


@pytest.fixture
def wire() -> t.Iterator[Wire]:
    """A server made of a table, a CouchDB 3.4.3 with nothing in it."""
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield Wire(mock)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time of all that waits: it passes in pauses alone."""
    made = Clock()
    for waiting in (wait, restart, documents, replications):
        monkeypatch.setattr(waiting, "time", made.module)
    return made


@pytest.fixture
def derivations(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The functions of the key derivations that a test made, one entry each."""
    made: list[str] = []
    original = hashlib.pbkdf2_hmac

    def count(name: str, *arguments: t.Any) -> bytes:
        made.append(name)
        return original(name, *arguments)

    monkeypatch.setattr(hashlib, "pbkdf2_hmac", count)
    return made
