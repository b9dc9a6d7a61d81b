# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

"""TLS and proxies: trusted certificates, client certificates, and warnings."""

from __future__ import annotations

import datetime
import os
import ssl
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import modules
import proxy
import pytest
import trustme
from couch import Couch
from cryptography.hazmat.primitives import serialization

PASSPHRASE = "couchpy trust passphrase"
HOST = "127.0.0.1"
TRUSTED = {"server": {"couchdb": "Welcome"}}


@dataclass(frozen=True)
class Authority:
    """A test CA, and the files of its certificates."""

    authority: trustme.CA
    folder: Path

    @property
    def ca_path(self) -> str:
        """Its certificate, as a file."""
        path = self.folder / "ca.pem"
        self.authority.cert_pem.write_to_path(str(path))
        return str(path)

    def server_context(self, *names: str) -> ssl.SSLContext:
        """The TLS context of a server with these names."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.authority.issue_cert(*names).configure_cert(context)
        return context

    def client_files(self) -> dict[str, str]:
        """The files of a client: its certificate, its key, both in one, its key encrypted, both in one encrypted."""
        issued = self.authority.issue_cert("couchpy@example.org")
        certificate = issued.cert_chain_pems[0].bytes()
        key = serialization.load_pem_private_key(issued.private_key_pem.bytes(), None)
        encryption = serialization.BestAvailableEncryption(PASSPHRASE.encode())
        encrypted = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, encryption
        )
        contents = {
            "certificate": certificate,
            "key": issued.private_key_pem.bytes(),
            "both": issued.private_key_pem.bytes() + certificate,
            "encrypted": encrypted,
            "both encrypted": encrypted + certificate,
            "another key": self.authority.issue_cert("other@example.org").private_key_pem.bytes(),
            "nothing": b"nothing",
        }
        for name, content in contents.items():
            (self.folder / name).write_bytes(content)
        return {name: str(self.folder / name) for name in contents}


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The CA that modules trust."""
    return Authority(trustme.CA(), tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def secure(couch: Couch, ours: Authority) -> Iterator[proxy.Proxy]:
    """The server behind TLS, with a certificate of the CA."""
    with proxy.Proxy(couch.url, tls=ours.server_context(HOST)) as standing:
        yield standing


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def look(couch: Couch, url: str, **options: Any) -> modules.Run:
    """Read the version of a server."""
    given = {**couch.login, "url": url, "gather_subset": ["server"], "retries": 0, "timeout": 10, **options}
    with warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always")
        run = modules.run("couchdb_info", given)
    assert [str(warning.message) for warning in raised] == []
    assert not run.crash, run.crash
    return run


def warned(run: modules.Run) -> list[str]:
    """The warnings of a run, without those of Ansible itself."""
    return [text for text in map(str, run.result.get("warnings", [])) if "http" in text]


def test_a_certificate_of_a_trusted_authority_is_trusted(couch: Couch, secure: proxy.Proxy, ours: Authority) -> None:
    run = look(couch, secure.url, ca_path=ours.ca_path)
    assert not run.failed, run.message
    assert run.result["server"]["couchdb"] == "Welcome"
    assert warned(run) == []


def test_the_ca_can_be_set_in_the_environment(
    couch: Couch, secure: proxy.Proxy, ours: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", ours.ca_path)
    assert not look(couch, secure.url).failed


def test_the_certificate_is_reported_if_it_is_validated(couch: Couch, secure: proxy.Proxy, ours: Authority) -> None:
    gather = {"gather_subset": ["certificate", "health"]}
    run = look(couch, secure.url, ca_path=ours.ca_path, **gather)
    certificate = run.result["certificate"]
    assert certificate["names"] == [HOST]
    assert certificate["days_left"] > 0
    assert run.result["health"]["certificate"]["not_after"] == certificate["not_after"]
    for url, options in ((secure.url, {"validate_certs": False}), (couch.url, {})):
        assert look(couch, url, **gather, **options).result["certificate"] is None


def test_a_certificate_that_expires_soon_degrades_the_health(couch: Couch, ours: Authority) -> None:
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=3, hours=1)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ours.authority.issue_cert(HOST, not_after=soon).configure_cert(context)
    with proxy.Proxy(couch.url, tls=context) as secure:
        health = look(couch, secure.url, ca_path=ours.ca_path, gather_subset=["health"]).result["health"]
    assert health["status"] == "degraded"
    assert any("expires in 3 days" in problem for problem in health["problems"])


def test_any_other_certificate_is_refused_before_credentials_are_sent(
    couch: Couch, secure: proxy.Proxy, tmp_path: Path
) -> None:
    secure.disarm()
    theirs = Authority(trustme.CA(), tmp_path)
    for options in ({}, {"ca_path": theirs.ca_path}):
        run = look(couch, secure.url, **options)
        assert run.failed
        assert "no trusted TLS connection" in run.message
        assert secure.url in run.message
    assert secure.journal() == []


def test_a_wrong_host_name_is_refused(couch: Couch, ours: Authority) -> None:
    with proxy.Proxy(couch.url, tls=ours.server_context("other.example")) as other:
        run = look(couch, other.url, ca_path=ours.ca_path)
        assert run.failed
        assert "no trusted TLS connection" in run.message
        assert other.journal() == []


def test_an_expired_certificate_is_refused(couch: Couch, ours: Authority) -> None:
    import datetime

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    past = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    ours.authority.issue_cert(HOST, not_before=past - datetime.timedelta(days=1), not_after=past).configure_cert(
        context
    )
    with proxy.Proxy(couch.url, tls=context) as old:
        run = look(couch, old.url, ca_path=ours.ca_path)
        assert run.failed
        assert "expired" in run.message


def test_validate_certs_false_trusts_any_server_and_warns_once(couch: Couch, secure: proxy.Proxy) -> None:
    run = look(couch, secure.url, validate_certs=False, gather_subset=["server", "databases", "session"])
    assert not run.failed, run.message
    assert len(warned(run)) == 1
    assert "validate_certs is false" in warned(run)[0]
    assert couch.password not in run.output


def test_plain_http_to_a_tls_port_is_reported(couch: Couch, secure: proxy.Proxy) -> None:
    run = look(couch, secure.url.replace("https", "http"))
    assert run.failed
    assert "\n" not in run.message


def test_tls_to_a_plain_http_port_is_reported(couch: Couch, between: proxy.Proxy) -> None:
    between.disarm()
    run = look(couch, between.url.replace("http", "https"))
    assert run.failed
    assert "TLS" in run.message


# Client certificates


@pytest.fixture(scope="module")
def choosy(couch: Couch, ours: Authority) -> Iterator[proxy.Proxy]:
    """The server behind TLS, with a client certificate required."""
    context = ours.server_context(HOST)
    ours.authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    with proxy.Proxy(couch.url, tls=context) as standing:
        yield standing


@pytest.mark.parametrize(
    "given",
    [
        {"client_cert": "certificate", "client_key": "key"},
        {"client_cert": "both"},
        {"client_cert": "certificate", "client_key": "encrypted", "client_key_passphrase": PASSPHRASE},
        {"client_cert": "both encrypted", "client_key_passphrase": PASSPHRASE},
    ],
)
def test_a_client_certificate_is_accepted(
    given: dict[str, str], couch: Couch, choosy: proxy.Proxy, ours: Authority
) -> None:
    run = look(couch, choosy.url, ca_path=ours.ca_path, **files(given, ours))
    assert not run.failed, run.message
    assert PASSPHRASE not in run.output


def test_a_missing_client_certificate_is_refused(couch: Couch, choosy: proxy.Proxy, ours: Authority) -> None:
    choosy.disarm()
    run = look(couch, choosy.url, ca_path=ours.ca_path)
    assert run.failed
    assert choosy.journal() == []


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"client_cert": "certificate", "client_key": "encrypted"}, "client_key_passphrase"),
        ({"client_cert": "both encrypted"}, "client_key_passphrase"),
        (
            {"client_cert": "certificate", "client_key": "encrypted", "client_key_passphrase": "wrong passphrase"},
            "client_key_passphrase",
        ),
        ({"client_cert": "certificate", "client_key": "another key"}, "client_key"),
        ({"client_cert": "certificate"}, "client_cert"),
        ({"client_cert": "nothing"}, "client_cert"),
        ({"client_cert": "not there"}, "client_cert"),
        ({"client_key": "key"}, "client_key"),
        ({"client_key_passphrase": PASSPHRASE}, "client_key_passphrase"),
    ],
)
def test_an_invalid_client_certificate_is_refused_before_anything_is_sent(
    given: dict[str, str], named: str, couch: Couch, choosy: proxy.Proxy, ours: Authority
) -> None:
    choosy.disarm()
    run = look(couch, choosy.url, ca_path=ours.ca_path, **files(given, ours))
    assert run.failed
    assert run.message.startswith(f"{named}: "), run.message
    assert run.seconds < 5
    assert "passphrase" not in run.message.replace("client_key_passphrase", "").replace("is not the passphrase", "")
    assert PASSPHRASE not in run.output
    assert choosy.journal() == []


def files(given: dict[str, str], ours: Authority) -> dict[str, str]:
    """Options with the paths of files in place of their names."""
    paths = ours.client_files()
    return {
        name: value if name.endswith("passphrase") else paths.get(value, str(ours.folder / value))
        for name, value in given.items()
    }


# Proxies


def test_plain_http_uses_the_proxy_of_the_environment(
    couch: Couch, between: proxy.Proxy, elsewhere: proxy.Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    between.disarm()
    elsewhere.disarm()
    monkeypatch.setenv("http_proxy", f"http://user:{PASSPHRASE.replace(' ', '')}@{HOST}:{elsewhere.port}/")
    run = look(couch, between.url)
    assert not run.failed, run.message
    assert [request.target for request in elsewhere.journal()] == [between.url]
    assert len(between.journal()) == 1
    elsewhere.disarm()


def test_tls_uses_the_proxy_of_the_environment_as_a_tunnel(
    couch: Couch, secure: proxy.Proxy, ours: Authority, elsewhere: proxy.Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    secure.disarm()
    elsewhere.disarm()
    monkeypatch.setenv("https_proxy", f"http://{HOST}:{elsewhere.port}/")
    run = look(couch, secure.url, ca_path=ours.ca_path)
    assert not run.failed, run.message
    (asked,) = elsewhere.journal()
    assert (asked.method, asked.target) == ("CONNECT", f"{HOST}:{secure.port}")
    assert "Authorization" not in asked.headers
    assert len(secure.journal()) == 1
    elsewhere.disarm()


def test_no_proxy_is_respected(
    couch: Couch, between: proxy.Proxy, elsewhere: proxy.Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere.disarm()
    monkeypatch.setenv("http_proxy", f"http://{HOST}:{elsewhere.port}/")
    monkeypatch.setenv("no_proxy", HOST)
    assert not look(couch, between.url).failed
    assert elsewhere.journal() == []


@pytest.mark.parametrize("kind", ["http", "https"])
def test_a_failing_proxy_is_reported_without_its_password(
    kind: str, couch: Couch, secure: proxy.Proxy, between: proxy.Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    word = "proxypassw0rd"
    monkeypatch.setenv(f"{kind}_proxy", f"http://user:{word}@{HOST}:9/")
    run = look(couch, between.url if kind == "http" else secure.url)
    assert run.failed
    assert word not in run.output
    assert "\n" not in run.message


# Credentials in clear text


@pytest.mark.parametrize(
    ("url", "login", "expected"),
    [
        ("http://couch.example:5984/", True, 1),
        ("http://10.0.0.1:5984/", True, 1),
        ("http://couch.example:5984/", False, 0),
        ("http://localhost:5984/", True, 0),
        ("http://127.8.9.1:5984/", True, 0),
        ("http://[::1]:5984/", True, 0),
        ("http://couch.localhost:5984/", True, 0),
        ("http://localhost.example:5984/", True, 1),
        ("http://127.0.0.1.example:5984/", True, 1),
        ("https://couch.example:5984/", True, 0),
    ],
)
def test_credentials_in_clear_text_cause_one_warning(
    url: str, login: bool, expected: int, couch: Couch, between: proxy.Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The proxy of the environment gets the request, whatever its host; nothing leaves this machine.
    for kind in ("http", "https"):
        monkeypatch.setenv(f"{kind}_proxy", f"http://{HOST}:9/")
    credentials = {} if login else {"login_user": None, "login_password": None}
    run = look(couch, url, **credentials)
    found = [text for text in warned(run) if "in clear text" in text]
    assert len(found) == expected
    assert couch.password not in run.output


def test_the_environment_has_no_login_for_these_tests() -> None:
    assert not any(name.startswith("COUCHDB_") for name in os.environ)
