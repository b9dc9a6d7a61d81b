# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

"""Tokens log in with the keys that are declared, and with no others: on the CouchDB that COUCHDB_URL names, as the embedded one has no JWT.

The server restarts if it does not authenticate tokens yet.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import modules
import pytest
from couch import PREFIX, Couch

jwt = pytest.importorskip("jwt")
asymmetric = pytest.importorskip("cryptography.hazmat.primitives.asymmetric")

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

SECRET = "a secret that signs the tokens of a test, with enough bytes for each of the algorithms, which is 64"


def public(key: Any) -> str:
    """The public key in PEM."""
    encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    return str(key.public_key().public_bytes(encoding, form).decode())


def private(key: Any) -> str:
    """The private key in PEM."""
    form, encryption = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return str(key.private_bytes(serialization.Encoding.PEM, form, encryption).decode())


def name_of(couch: Couch, key: Any, algorithm: str, kid: str | None) -> str | None:
    """As whom a token signed with this key logs in; None if CouchDB does not accept it."""
    claims = {"sub": "ann", "exp": int(time.time()) + 600}
    token = jwt.encode(claims, key, algorithm=algorithm, headers={"kid": kid} if kid else None)
    request = urllib.request.Request(f"{couch.url.rstrip('/')}/_session", headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            name: str | None = json.load(answer)["userCtx"]["name"]
            return name
    except urllib.error.HTTPError as error:
        if error.code == 400:
            return None
        raise


def declare(couch: Couch, **options: Any) -> modules.Run:
    """Run the module."""
    run = modules.run("couchdb_jwt_key", {"url": couch.url, **couch.login, **options})
    assert not run.crash, run.crash
    return run


@pytest.fixture
def verifying(couch: Couch, request: pytest.FixtureRequest) -> Iterator[Couch]:
    """A real server that authenticates tokens."""
    if "express-pouchdb" in str(couch.ask("GET")[1]) or request.node.callspec.params["couch"] == "embedded":
        pytest.skip("the embedded server has no JWT")
    run = declare(couch, authentication_handler=True)
    assert not run.failed, run.message
    if run.result["restart_required"]:
        again = modules.run(
            "couchdb_restart", {"url": couch.url, **couch.login, "nodes": couch.nodes, "wait_timeout": 120}
        )
        assert not again.failed, again.message
        time.sleep(10)
    yield couch
    declare(
        couch,
        jwt_keys=[{"kid": kid, "type": kind, "state": "absent"} for kid in KIDS for kind in ("hmac", "rsa", "ec")],
    )


KIDS = (f"{PREFIX}_old", f"{PREFIX}_new", f"{PREFIX} 3/x")


def test_tokens_log_in_exactly_as_declared(verifying: Couch) -> None:
    old, new, other = KIDS
    signing = {
        ("rsa", old, "RS256"): rsa.generate_private_key(65537, 2048),
        ("rsa", new, "RS512"): rsa.generate_private_key(65537, 2048),
        ("ec", old, "ES256"): ec.generate_private_key(ec.SECP256R1()),
        ("ec", new, "ES384"): ec.generate_private_key(ec.SECP384R1()),
        ("ec", other, "ES512"): ec.generate_private_key(ec.SECP521R1()),
    }
    entries: list[dict[str, Any]] = [
        {"kid": kid, "type": kind, "key": public(key)} for (kind, kid, _algorithm), key in signing.items()
    ]
    entries.append({"kid": other, "type": "hmac", "key": SECRET})
    run = declare(verifying, jwt_keys=entries)
    assert run.result["changed"], run.message
    assert not declare(verifying, jwt_keys=entries).result["changed"]
    for (_kind, kid, algorithm), key in signing.items():
        assert name_of(verifying, private(key), algorithm, kid) == "ann", (kid, algorithm)
        assert name_of(verifying, private(key), algorithm, "unknown") is None
    assert name_of(verifying, SECRET, "HS256", other) == "ann"
    assert name_of(verifying, SECRET + "!", "HS256", other) is None
    stranger = rsa.generate_private_key(65537, 2048)
    assert name_of(verifying, private(stranger), "RS256", old) is None

    # Rotation: both keys, then the new one alone.
    assert declare(verifying, kid=old, type="rsa", state="absent").result["changed"]
    assert name_of(verifying, private(signing["rsa", old, "RS256"]), "RS256", old) is None
    assert name_of(verifying, private(signing["rsa", new, "RS512"]), "RS512", new) == "ann"

    # A key is replaced at once.
    assert declare(verifying, kid=new, type="rsa", key=public(stranger)).result["changed"]
    assert name_of(verifying, private(stranger), "RS256", new) == "ann"
    assert name_of(verifying, private(signing["rsa", new, "RS512"]), "RS512", new) is None


def test_an_algorithm_that_the_server_lacks_is_refused(verifying: Couch) -> None:
    run = declare(verifying, kid=KIDS[0], type="ed", key=public(ed25519.Ed25519PrivateKey.generate()))
    assert run.failed
    assert "has no JWT keys of the type ed" in run.message
