# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""TLS certificates: what is reported of the one that a server presents. Pure."""

from __future__ import annotations

import datetime
import ssl
import typing as t

_DAY = 86400.0

SOON = 30.0
"""A certificate that expires within so many days is a problem of the server's health."""


def report(certificate: t.Mapping[str, t.Any], now: float) -> dict[str, t.Any]:
    """What matters of a certificate, as ``SSLSocket.getpeercert()`` decodes it. ``now`` is in seconds since the epoch.

    https://docs.python.org/3/library/ssl.html#ssl.SSLSocket.getpeercert
    """
    expires = ssl.cert_time_to_seconds(certificate["notAfter"])
    return {
        "subject": _name(certificate.get("subject", ())),
        "issuer": _name(certificate.get("issuer", ())),
        "names": [value for _kind, value in certificate.get("subjectAltName", ())],
        "not_before": _iso(ssl.cert_time_to_seconds(certificate["notBefore"])),
        "not_after": _iso(expires),
        "days_left": int((expires - now) // _DAY),
    }


def problem(reported: t.Mapping[str, t.Any] | None) -> str | None:
    """What is wrong with a certificate as report() gives it, None if nothing is."""
    if reported is None or reported["days_left"] >= SOON:
        return None
    if reported["days_left"] < 0:
        return f"the TLS certificate expired at {reported['not_after']}"
    return f"the TLS certificate expires in {reported['days_left']} days, at {reported['not_after']}"


def _name(parts: t.Iterable[t.Iterable[tuple[str, str]]]) -> str:
    return ", ".join(f"{kind}={value}" for part in parts for kind, value in part)


def _iso(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
