# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Health: the certificate of a server, and its replications without progress."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import time
import typing as t
from urllib.parse import urlsplit

from .._rules import certificates
from .._rules import replications as rules
from .replications import Replications

LOOKS_APART = 5.0
"""Seconds between the two readings that distinguish a stalled replication from one that makes progress."""


class Health(Replications):
    """The part of Client for monitoring a server from outside."""

    def certificate(self) -> dict[str, t.Any] | None:
        """The TLS certificate of the server: subject, issuer, names, not_before, not_after (UTC), days_left.

        None without TLS, if this client does not validate certificates, or behind a proxy that the server can't be
        reached without. Opens a connection of its own.
        """
        parts = urlsplit(self.url)
        if parts.scheme != "https" or self.trusts_anybody:
            return None
        with contextlib.suppress(OSError):
            context = self._tls_context()
            address = (parts.hostname or "", parts.port or 443)
            with socket.create_connection(address, timeout=self.timeout) as connection, context.wrap_socket(
                connection, server_hostname=parts.hostname
            ) as secured:
                found = secured.getpeercert()
            return certificates.report(found, time.time()) if found else None
        return None

    def _tls_context(self) -> ssl.SSLContext:
        """The TLS context of this client's requests: it validates the server and has the client certificate."""
        bundle = self._config.get("ca_path") or os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
        folder = bundle is not None and os.path.isdir(bundle)
        context = ssl.create_default_context(cafile=None if folder else bundle, capath=bundle if folder else None)
        if self._config.get("client_cert"):
            passphrase = self._config.get("client_key_passphrase") or ""
            context.load_cert_chain(self._config["client_cert"], self._config.get("client_key"), passphrase)
        return context

    def replication_problems(self, looks_apart: float = LOOKS_APART) -> dict[str, list[dict[str, t.Any]]]:
        """The replications without progress, by ``failed``, ``crashing`` and ``stalled``.

        A dict each: name, database, reason. A stalled one runs, has changes to copy, and has copied none of them between
        two readings ``looks_apart`` seconds apart. The second one is made only if a replication has changes
        to copy.

        https://docs.couchdb.org/en/stable/replication/replicator.html#replication-states
        """
        first = self.replications()
        second = None
        if any(rules.has_pending_changes(row) for row in first):
            time.sleep(looks_apart)
            second = self.replications()
        return rules.problems(first, second)
