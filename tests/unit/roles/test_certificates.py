# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role's check of TLS certificates, on certificates of every unfit kind."""

from __future__ import annotations

import datetime
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

SCRIPT = Path(__file__).parents[3] / "roles" / "server" / "files" / "certificates.py"
PAST = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
FUTURE = datetime.datetime(2999, 1, 1, tzinfo=datetime.UTC)
HOST = "db1.example.com"


@pytest.fixture(scope="module", name="files")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Files of certificates and keys, by name: whole chains, and the authorities."""
    folder = tmp_path_factory.mktemp("certificates")
    authority, stranger = trustme.CA(), trustme.CA()
    certificates = {
        "fit": authority.issue_cert(HOST),
        "address": authority.issue_cert("10.0.0.1"),
        "other": authority.issue_cert("db2.example.com"),
        "rsa": authority.issue_cert(HOST, key_type=trustme.KeyType.RSA),
        "expired": authority.issue_cert(HOST, not_after=PAST),
        "future": authority.issue_cert(HOST, not_before=FUTURE, not_after=FUTURE + datetime.timedelta(days=1)),
        "stranger": stranger.issue_cert(HOST),
    }
    found = {}
    for name, certificate in certificates.items():
        for kind, parts in (("pem", certificate.cert_chain_pems), ("key", [certificate.private_key_pem])):
            path = folder / f"{name}.{kind}"
            path.write_bytes(b"".join(part.bytes() for part in parts))
            found[path.name] = str(path)
    (folder / "ca.pem").write_bytes(authority.cert_pem.bytes())
    (folder / "text").write_text("no certificate")
    (folder / "encrypted.key").write_bytes(_encrypted(certificates["fit"].private_key_pem.bytes()))
    for name in ("ca.pem", "text", "encrypted.key", "missing"):
        found[name] = str(folder / name)
    return {**found, "": ""}


def _encrypted(pem: bytes) -> bytes:
    key = serialization.load_pem_private_key(pem, None)
    form, kind = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(form, kind, serialization.BestAvailableEncryption(b"passphrase-canary"))


def said(files: dict[str, str], *rows: tuple[str, str, str, str, str]) -> str:
    arguments: list[str] = []
    for option, certificate, key, ca, host in rows:
        arguments += [option, files[certificate], files[key], files[ca], host]
    run = subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    return run.stdout


CASES: list[tuple[tuple[str, str, str, str], str]] = [
    (("fit.pem", "fit.key", "", HOST), ""),
    (("fit.pem", "fit.key", "", ""), ""),
    (("address.pem", "address.key", "", "10.0.0.1"), ""),
    (("rsa.pem", "rsa.key", "", HOST), ""),
    (("stranger.pem", "stranger.key", "", HOST), ""),
    (("fit.pem", "other.key", "", ""), "{fit.pem} does not belong to the key in {other.key}."),
    (("fit.pem", "rsa.key", "", ""), "{fit.pem} does not belong to the key in {rsa.key}."),
    (("expired.pem", "expired.key", "", ""), "{expired.pem}, or one that it depends on, has expired."),
    (("future.pem", "future.key", "", ""), "is not valid yet"),
    (("other.pem", "other.key", "", HOST), "{other.pem} is not for " + HOST + "."),
    (("fit.pem", "fit.key", "", "10.0.0.1"), "{fit.pem} is not for 10.0.0.1."),
    (("address.pem", "address.key", "", "10.0.0.2"), "{address.pem} is not for 10.0.0.2."),
    (("text", "fit.key", "", ""), "{text} contains no certificate in PEM format."),
    (("fit.key", "fit.key", "", ""), "{fit.key} contains no certificate in PEM format."),
    (("fit.pem", "text", "", ""), "{text} contains no key in PEM format."),
    (("fit.pem", "ca.pem", "", ""), "{ca.pem} contains no key in PEM format."),
    (("fit.pem", "encrypted.key", "", ""), ""),
    (("fit.pem", "encrypted.key", "ca.pem", HOST), "{encrypted.key} has a passphrase, which nodes cannot enter."),
    (("fit.pem", "fit.key", "ca.pem", HOST), ""),
    (("address.pem", "address.key", "ca.pem", ""), ""),
    (("other.pem", "other.key", "ca.pem", HOST), "{other.pem} is not for " + HOST + "."),
    (("expired.pem", "expired.key", "ca.pem", HOST), "has expired"),
    (("stranger.pem", "stranger.key", "ca.pem", HOST), "{stranger.pem} is not signed by the authorities in {ca.pem}: "),
    (("fit.pem", "fit.key", "text", HOST), "{text} contains no certificate in PEM format."),
    # The role reports missing files itself.
    (("missing", "fit.key", "", ""), ""),
    (("fit.pem", "missing", "", ""), ""),
    (("fit.pem", "fit.key", "missing", ""), ""),
]


@pytest.mark.parametrize(("row", "expected"), CASES)
def test_an_unfit_certificate_is_reported(files: dict[str, str], row: tuple[str, str, str, str], expected: str) -> None:
    for name in sorted(files, key=len, reverse=True):
        expected = expected.replace(f"{{{name}}}", files[name])
    found = said(files, ("couchdb_tls_certificate", *row))
    assert found.count("\n") == bool(expected)
    assert expected in found
    if expected:
        assert found.startswith("unfit couchdb_tls_certificate: ")
    assert "canary" not in found


def test_all_certificates_are_checked(files: dict[str, str]) -> None:
    bad: t.Any = ("fit.pem", "other.key", "", "")
    found = said(files, ("one", *bad), ("two", "fit.pem", "fit.key", "ca.pem", HOST), ("three", *bad))
    assert [line.split()[1] for line in found.splitlines()] == ["one:", "three:"]
