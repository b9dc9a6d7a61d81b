# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks the files of TLS certificates before CouchDB gets them, and prints a line for each problem.

``certificates.py OPTION CERTIFICATE KEY CA HOST ...``, five arguments for each certificate. HOST is the host that clients
connect to, empty if that is not known. CA are the authorities that must have signed it, for servers and for clients; empty if
that is not to be checked. Runs on the host, and needs no library: two ends of a TLS connection in memory find all of it.
"""

from __future__ import annotations

import contextlib
import ssl
import sys

# Trusts a certificate itself, regardless of its issuer. A constant of the module ssl since Python 3.10.
PARTIAL_CHAIN = 0x80000
EXPIRED, NOT_YET_VALID = 10, 9
UNSUITABLE = 26
OTHER_HOST = (62, 64)


def problem(certificate: str, key: str, ca: str, host: str) -> str:
    """What makes a certificate unfit, an empty string if nothing does. Files that are missing are not looked at."""
    encrypted = []

    def passphrase() -> str:
        encrypted.append(key)
        return ""

    server, client = context(ssl.PROTOCOL_TLS_SERVER), context(ssl.PROTOCOL_TLS_CLIENT)
    try:
        client.load_verify_locations(certificate)
    except FileNotFoundError:
        return ""
    except (OSError, ValueError):
        return f"{certificate} contains no certificate in PEM format."
    try:
        server.load_cert_chain(certificate, key, passphrase)
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        if encrypted:
            # Only CouchDB knows the passphrase. Nodes have none to use.
            return f"{key} has a passphrase, which nodes cannot enter." if ca else ""
        # The latter if one is for RSA and the other for an elliptic curve.
        if str(getattr(error, "reason", "")) in ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"):
            return f"{certificate} does not belong to the key in {key}."
        return f"{key} contains no key in PEM format."
    if ca:
        client = context(ssl.PROTOCOL_TLS_CLIENT)
        try:
            client.load_verify_locations(ca)
            server.load_verify_locations(ca)
        except FileNotFoundError:
            return ""
        except (OSError, ValueError):
            return f"{ca} contains no certificate in PEM format."
        client.load_cert_chain(certificate, key)
        server.verify_mode = ssl.CERT_REQUIRED
    else:
        client.verify_flags |= PARTIAL_CHAIN
    client.check_hostname = bool(host)
    try:
        connect(client, server, host or None)
    except ssl.SSLCertVerificationError as error:
        return reason(error, certificate, ca, host)
    except ssl.SSLError:
        # Nothing that is known to be wrong with a certificate, so nothing to refuse.
        return ""
    return ""


def context(protocol: int) -> ssl.SSLContext:
    """A context that accepts weak keys, which are no concern here."""
    made = ssl.SSLContext(protocol)
    made.set_ciphers("DEFAULT:@SECLEVEL=0")
    return made


def connect(client: ssl.SSLContext, server: ssl.SSLContext, host: str | None) -> None:
    """Connect both ends in memory."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=host),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _round in range(10):
        for end in ends:
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()


def reason(error: ssl.SSLCertVerificationError, certificate: str, ca: str, host: str) -> str:
    """A refusal in words."""
    if error.verify_code == EXPIRED:
        return f"{certificate}, or one that it depends on, has expired."
    if error.verify_code == NOT_YET_VALID:
        return f"{certificate}, or one that it depends on, is not valid yet. Compare the clock of the host."
    if error.verify_code in OTHER_HOST:
        return f"{certificate} is not for {host}."
    if error.verify_code == UNSUITABLE:
        return f"{certificate} is not for {'both servers and clients' if ca else 'servers'}."
    if ca:
        return f"{certificate} is not signed by the authorities in {ca}: {error.verify_message}."
    return ""


def main(arguments: list[str]) -> None:
    """Print ``unfit OPTION PROBLEM`` for each certificate that is unfit."""
    for first in range(0, len(arguments), 5):
        option, *files = arguments[first : first + 5]
        found = problem(*files)
        if found:
            print("unfit", f"{option}:", found)


if __name__ == "__main__":
    main(sys.argv[1:])
