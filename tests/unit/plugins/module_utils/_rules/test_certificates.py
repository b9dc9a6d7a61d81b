# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Certificates: what is reported of one, and when it is a problem, as tables."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules import certificates

CERTIFICATE: dict[str, t.Any] = {
    "subject": ((("organizationName", "Example"),), (("commonName", "db.example.com"),)),
    "issuer": ((("commonName", "Example CA"),),),
    "notBefore": "Jan  1 00:00:00 2026 GMT",
    "notAfter": "Jan 31 00:00:00 2026 GMT",
    "subjectAltName": (("DNS", "db.example.com"), ("IP Address", "10.0.0.1")),
}
NEW_YEAR = 1767225600.0
DAY = 86400.0


def test_what_matters_of_a_certificate() -> None:
    assert certificates.report(CERTIFICATE, NEW_YEAR) == {
        "subject": "organizationName=Example, commonName=db.example.com",
        "issuer": "commonName=Example CA",
        "names": ["db.example.com", "10.0.0.1"],
        "not_before": "2026-01-01T00:00:00Z",
        "not_after": "2026-01-31T00:00:00Z",
        "days_left": 30,
    }


@pytest.mark.parametrize(
    ("days", "problem"),
    [(0, None), (1, "expires in 29 days"), (29.5, "expires in 0 days"), (30.5, "expired at 2026-01-31T00:00:00Z")],
)
def test_a_certificate_that_expires_soon_is_a_problem(days: float, problem: str | None) -> None:
    found = certificates.problem(certificates.report(CERTIFICATE, NEW_YEAR + days * DAY))
    assert (found is None) == (problem is None)
    assert problem is None or problem in str(found)


def test_no_certificate_is_no_problem() -> None:
    assert certificates.problem(None) is None
