# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

"""Properties that hold for any input, tested with generated inputs.

Whatever CouchDB can hold survives a round: set it, read it, set it again is ok. All else is refused before a request.
Hashes are parsed as they are printed. No secret comes out of what masks it, wherever it stands.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any
from urllib.parse import quote

import modules
import proxy
import pytest
from ansible_collections.couchpy.couchdb.plugins.module_utils import errors
from ansible_collections.couchpy.couchdb.plugins.module_utils._client import answers, connection
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules import passwords as hashes
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules import secrets as masking
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules.security import (
    check_security,
    given_security,
    merged_security,
)
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules.urls import basic_authorization, split_url
from cases import PREFIX
from couch import Couch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tally import TRIED

CONTRACT = Path(__file__).resolve().parents[1] / "server" / "contract"

# The same examples each time, so that a failing test keeps failing.
PURE = settings(max_examples=300, deadline=None, derandomize=True, database=None)
LIVE = settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

any_text = st.text(st.characters(), max_size=20)
likely_text = st.text(st.sampled_from("abz09 ._-;=/:@%[]\"'\\é\t\n$()+_"), max_size=12)
texts = st.one_of(likely_text, any_text)

# The embedded server counts in JavaScript's numbers.
numbers = st.one_of(st.integers(-(2**53) + 1, 2**53 - 1), st.floats(-1e9, 1e9, width=32))
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=8,
)


# Rounds on a server


def round_of(module: str, options: dict[str, Any], couch: Couch, between: proxy.Proxy) -> bool:
    """Run a task twice. Returns whether it was accepted: then the second run changed nothing, else nothing was sent."""
    TRIED["made-up tasks"] += 1
    connection = {**couch.login, "url": between.url}
    between.disarm()
    first = modules.run(module, {**options, **connection})
    assert not first.crash, first.crash
    if first.failed:
        assert between.journal() == [], first.message
        assert ": " in first.message
        return False
    second = modules.run(module, {**options, **connection})
    assert not second.failed, second.message
    assert not second.result["changed"], second.result
    return True


@LIVE
@given(section=texts, key=texts, value=st.one_of(texts, st.booleans(), st.integers(), st.floats(), json_values))
@pytest.mark.timeout(300)
def test_any_setting_survives_a_round_or_is_refused(
    section: str, key: str, value: Any, couch: Couch, between: proxy.Proxy
) -> None:
    accepted = round_of("couchdb_config", {"settings": {PREFIX + section: {key: value}}}, couch, between)
    if accepted and isinstance(value, str) and value.strip(" \t"):
        assert couch.setting(PREFIX + section, key) == value.strip(" \t")


@LIVE
@given(value=st.one_of(texts, st.booleans(), st.integers(), st.floats()))
@pytest.mark.timeout(300)
def test_any_value_of_a_good_setting_survives_a_round_or_is_refused(
    value: Any, couch: Couch, between: proxy.Proxy
) -> None:
    accepted = round_of("couchdb_config", {"section": PREFIX, "key": "any", "value": value}, couch, between)
    if accepted and isinstance(value, str) and value.strip(" \t"):
        assert couch.setting(PREFIX, "any") == value.strip(" \t")


@LIVE
@given(name=st.one_of(st.from_regex(r"[a-z][a-z0-9_$()+/-]{0,20}", fullmatch=True), texts.map(lambda text: f"x{text}")))
@pytest.mark.timeout(300)
def test_any_name_of_a_database_survives_a_round_or_is_refused(name: str, couch: Couch, between: proxy.Proxy) -> None:
    name = f"{PREFIX}_{name}"
    if round_of("couchdb_database", {"name": [name]}, couch, between):
        assert couch.ask("GET", name)[1]["db_name"] == name
        couch.delete(name)


lists = st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8), max_size=3)
groups = st.fixed_dictionaries({}, optional={"names": lists, "roles": lists})
securities = st.fixed_dictionaries({}, optional={"admins": groups, "members": groups})


@LIVE
@given(
    security=st.one_of(
        securities, st.dictionaries(texts, json_values, max_size=2), st.fixed_dictionaries({"admins": json_values})
    )
)
@pytest.mark.timeout(300)
def test_any_security_survives_a_round_or_is_refused(security: Any, couch: Couch, between: proxy.Proxy) -> None:
    database = f"{PREFIX}_security"
    couch.create(database)
    if round_of("couchdb_database", {"name": [database], "security": security}, couch, between):
        held = couch.ask("GET", database, "_security")[1]
        for group, kinds in security.items():
            for kind, listed in (kinds or {}).items():
                assert set(held.get(group, {}).get(kind, [])) == set(listed or held.get(group, {}).get(kind, []))


@LIVE
@given(attributes=st.dictionaries(texts, json_values, max_size=4), roles=st.lists(texts, max_size=3))
@pytest.mark.timeout(300)
def test_any_user_survives_a_round_or_is_refused(
    attributes: dict[str, Any], roles: list[str], couch: Couch, between: proxy.Proxy
) -> None:
    user = {"name": f"{PREFIX}_any", "attributes": attributes, "roles": roles}
    if round_of("couchdb_user", user, couch, between):
        held = couch.document("_users", f"org.couchdb.user:{PREFIX}_any") or {}
        assert {name: held[name] for name in attributes} == attributes
        assert set(held["roles"]) == set(roles)


@LIVE
@given(name=texts)
@pytest.mark.timeout(300)
def test_any_name_of_a_user_survives_a_round_or_is_refused(name: str, couch: Couch, between: proxy.Proxy) -> None:
    name = PREFIX + name
    if round_of("couchdb_user", {"name": name, "roles": []}, couch, between):
        assert (couch.document("_users", f"org.couchdb.user:{name}") or {})["name"] == name
        couch.put("_users", f"org.couchdb.user:{name}", None)


@LIVE
@given(docid=texts, fields=st.dictionaries(texts, json_values, max_size=4))
@pytest.mark.timeout(300)
def test_any_document_survives_a_round_or_is_refused(
    docid: str, fields: dict[str, Any], couch: Couch, between: proxy.Proxy
) -> None:
    database = f"{PREFIX}_any"
    couch.create(database)
    document = {**fields, "_id": docid}
    if round_of("couchdb_document", {"database": database, "documents": [document]}, couch, between):
        held = couch.document(database, docid) or {}
        assert {name: value for name, value in held.items() if name != "_rev"} == document
        couch.put(database, docid, None)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "\ud800", ["\udfff"]], ids=repr)
@pytest.mark.parametrize(
    ("module", "option"),
    [("couchdb_user", "attributes"), ("couchdb_document", "documents")],
)
def test_what_json_can_not_hold_is_refused(
    module: str, option: str, value: Any, couch: Couch, between: proxy.Proxy
) -> None:
    couch.create(f"{PREFIX}_any")
    given_options: dict[str, Any] = {
        "attributes": {"name": f"{PREFIX}_any", "attributes": {"field": value}},
        "documents": {"database": f"{PREFIX}_any", "documents": [{"_id": "any", "field": value}]},
    }[option]
    assert not round_of(module, given_options, couch, between)


# Security objects


@PURE
@given(
    held=securities,
    wanted=securities,
    others=st.dictionaries(st.sampled_from(["cloudant", "x"]), json_values, max_size=2),
)
def test_merging_a_security_twice_is_merging_it_once(held: Any, wanted: Any, others: Any) -> None:
    merged = merged_security({**held, **others}, given_security(wanted))
    check_security(merged)
    assert merged_security(merged, given_security(wanted)) == merged
    assert {name: merged[name] for name in others} == others
    for group in ("admins", "members"):
        for kind in ("names", "roles"):
            expected = wanted.get(group, {}).get(kind, held.get(group, {}).get(kind, []))
            assert set(merged.get(group, {}).get(kind, [])) == set(expected)


# Hashes

prfs = st.sampled_from(["sha", "sha224", "sha256", "sha384", "sha512"])
salts = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=",;"), min_size=1, max_size=40)
passwords = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)


@PURE
@given(password=passwords, other=passwords, prf=prfs, salt=salts, iterations=st.integers(1, 20))
def test_a_hash_is_parsed_as_it_is_printed(password: str, other: str, prf: str, salt: str, iterations: int) -> None:
    made = hashes.derive(password, prf=prf, salt=salt, iterations=iterations)
    assert hashes.parse(str(made)) == made
    assert hashes.parse_user(made.user_fields()) == made
    assert hashes.verify(password, made)
    # HMAC pads a short key with zeros: a password with trailing zeros is the same.
    assume(password.rstrip("\0") != other.rstrip("\0"))
    assert not hashes.verify(other, made)


@PURE
@given(
    text=st.one_of(
        texts,
        st.from_regex(r"-(pbkdf2(:[a-z0-9]{3,6})?|hashed)-[0-9a-f]{0,64},[0-9a-f]{0,8}(,[0-9]{0,9})?", fullmatch=True),
    )
)
def test_any_text_is_a_hash_that_prints_as_it_is_or_none(text: str) -> None:
    found = hashes.parse_or_none(text)
    assert found is None or hashes.parse(str(found)) == found


RECORDED = [
    (exchange, name)
    for name in ("couchdb-3.3.3.json", "couchdb-3.4.3.json", "couchdb-3.5.2.json")
    for exchange in [json.loads((CONTRACT / name).read_text("utf-8"))]
]


def recorded_hashes() -> list[tuple[str, str]]:
    """Each plain password of an admin that was set on a real CouchDB, with the hash that was read next."""
    found = []
    for recording, _name in RECORDED:
        plain: dict[str, str] = {}
        for exchange in recording["exchanges"]:
            request, text = exchange["request"], exchange["response"].get("body")
            path, body = request["path"], request.get("json")
            name = path.rpartition("/")[2]
            if "/_config/admins/" not in path:
                continue
            if request["method"] == "GET" and isinstance(text, str) and name in plain and text.startswith("-"):
                found.append((plain[name], text))
            if request["method"] == "PUT" and isinstance(body, str) and not body.startswith("-"):
                plain[name] = body
    return found


def test_verify_agrees_with_what_couchdb_recorded() -> None:
    recorded = recorded_hashes()
    assert len(recorded) >= 3
    for password, text in recorded:
        stored = hashes.parse(text)
        assert hashes.verify(password, stored)
        assert not hashes.verify(password + "x", stored)


# Masking

# Long enough and unique here: if it is found, it is the secret.
cores = st.text(st.sampled_from("QXZJKW789"), min_size=8, max_size=16)
ends = st.text(st.sampled_from("ab:@/%#?é \"'<>&=+;,"), max_size=4)


@st.composite
def secrets(draw: st.DrawFn) -> tuple[str, str]:
    """A secret with a part that can be recognised, and that part."""
    core = draw(cores)
    return draw(ends) + core + draw(ends), core


def refusal_of(url: str) -> str:
    """The error for a URL that is refused."""
    try:
        split_url(url)
    except errors.InvalidInput as error:
        return str(error)
    return ""


@PURE
@given(
    secret=secrets(),
    user=st.sampled_from(["", "user", "us%40er"]),
    where=st.sampled_from(["host", "host:5984", "[::1]:5984"]),
)
def test_no_secret_of_a_url_is_shown(secret: tuple[str, str], user: str, where: str) -> None:
    text, core = secret
    for password in (text, quote(text, safe="")):
        url = f"http://{user}:{password}@{where}/path"
        assert core not in masking.mask_url(url)
        assert core not in refusal_of(url)
    encoded = f"see http://{user}:{quote(text, safe='')}@{where}/path, it fails"
    assert core not in masking.mask_text(encoded)
    assert core not in str(masking.mask_document({"any": [encoded]}))
    assert core not in str(masking.mask_settings({"any": {"any": encoded}}))
    assert any(core in found for found in masking.text_secrets(encoded))


@PURE
@given(
    secret=secrets(),
    name=st.sampled_from(
        ["password", "secret", "api_key", "Authorization", "derived_key", "salt", "Cookie", "access_token"]
    ),
    path=st.lists(st.one_of(st.sampled_from(["a", "b"]), st.integers(0, 2)), max_size=4),
)
def test_no_secret_of_a_document_is_shown(secret: tuple[str, str], name: str, path: list[str | int]) -> None:
    text, core = secret
    for held in (text, [text], {"deep": text}):
        document: Any = {name: held, "plain": "shown"}
        for step in path:
            document = {step: document} if isinstance(step, str) else [*([None] * step), document]
        assert core not in str(masking.mask_document(document))
        assert "shown" in str(masking.mask_document(document))
        assert text in masking.document_secrets(document)
        before, after = masking.mask_change(
            "document", ("db", "id"), {}, document if isinstance(document, dict) else {}
        )
        assert core not in str(before) + str(after)


@PURE
@given(
    secret=secrets(),
    setting=st.sampled_from(
        [
            ("jwt_keys", "hmac:any"),
            ("admins", "any"),
            ("chttpd_auth", "secret"),
            ("replicator", "password"),
            ("any", "my_api_key"),
        ]
    ),
)
def test_no_secret_setting_is_shown(secret: tuple[str, str], setting: tuple[str, str]) -> None:
    text, core = secret
    section, key = setting
    assert core not in str(masking.mask_settings({section: {key: text}}))
    assert core not in str(masking.mask_change("setting", ("node", section, key), None, text))
    assert text in masking.setting_secrets({section: {key: text}})


@PURE
@given(secret=secrets(), words=st.sampled_from(["{} is wrong", "wrong: {}", "<{}>"]))
def test_no_secret_that_a_server_repeats_is_shown(secret: tuple[str, str], words: str) -> None:
    text, core = secret
    made = connection.Connection("http://host/", connection.Options(username="admin", password=text))
    for form in (text, quote(text, safe=""), basic_authorization("admin", text)):
        body = json.dumps({"error": "unauthorized", "reason": words.format(form)}).encode()
        error = answers.error_of(answers.Received("GET", "http://host/", 401, {}, body), made._secrets())
        for shown in (str(error), error.reason or ""):
            assert core not in shown
            assert form not in shown
