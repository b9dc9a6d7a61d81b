# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A gathered declaration: applied to its own server it writes nothing, applied to an empty one it makes the same."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import embedded
import modules
import proxy
import pytest
from conftest import ADMIN
from couch import PREFIX as SHARED
from couch import Couch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tally import TRIED

PREFIX = f"{SHARED}_declared"
# A replication of a real CouchDB logs in to its own source, through the proxy.
READS = ("_all_docs", "_bulk_get", "_dbs_info", "_session")
HASH = "-pbkdf2-33dd85e33618b30a29bec5d9175eace4e4c92aaf,{salt},10"
GATHER = {"gather_subset": ["declaration"], "include_secrets": True, "databases": [f"{PREFIX}_*"]}

# Strings that YAML could misread, and whatever JSON can hold.
likely = st.sampled_from(["no", "1e3", "~", "null", "0x10", "1_0", "a: b", "- x", "é", "", "'", '"', "{{ x }}"])
words = st.one_of(likely, st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12))
names = st.from_regex(r"[a-z][a-z0-9_$()+/-]{0,12}", fullmatch=True).filter(lambda name: not name.endswith("/"))
roles = st.lists(words.filter(lambda word: word and word[0] != "_"), max_size=3, unique=True)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**53) + 1, 2**53 - 1), words),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(words, inner, max_size=2)),
    max_leaves=4,
)
attribute_names = words.filter(lambda name: name and name[0] != "_" and name not in ("name", "type", "roles"))
databases = st.dictionaries(
    names.map(lambda name: f"{PREFIX}_{name}"),
    st.fixed_dictionaries(
        {},
        optional={
            "security": st.fixed_dictionaries(
                {},
                optional={
                    group: st.fixed_dictionaries({"roles": roles, "names": roles}) for group in ("admins", "members")
                },
            ),
            "revs_limit": st.integers(1, 5000),
        },
    ),
    min_size=1,
    max_size=3,
)
users = st.dictionaries(
    words.filter(lambda word: word and word[0] != "_" and ":" not in word).map(lambda word: f"{PREFIX} {word}"),
    st.fixed_dictionaries(
        {"roles": roles}, optional={"attributes": st.dictionaries(attribute_names, values, max_size=2)}
    ),
    max_size=3,
)
settings_values = st.dictionaries(
    st.from_regex(r"[a-z0-9_]{1,8}", fullmatch=True),
    likely.filter(lambda word: word.strip() and word != "é"),
    max_size=3,
)

LIVE = settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def empty() -> Iterator[Couch]:
    """A second server, to be made the same as the first."""
    with embedded.server(dialect="3", admin=ADMIN) as server:
        yield Couch(server.url, server.username or "", server.password or "")


def task(module: str, url: str, couch: Couch, options: dict[str, Any], *, check_mode: bool = False) -> dict[str, Any]:
    """Run a task that must succeed."""
    run = modules.run(module, {**couch.login, "url": url, **options}, check_mode=check_mode, no_log=True)
    assert not run.crash, run.crash
    assert not run.failed, run.message
    return run.result


def clear(couch: Couch) -> None:
    """Remove what an example made."""
    for name in couch.ask("GET", "_all_dbs")[1]:
        if name.startswith(PREFIX):
            couch.delete(name)
    for database, start in (("_users", f"org.couchdb.user:{PREFIX}"), ("_replicator", PREFIX)):
        query = f'startkey="{start}"&endkey="{start}~~"'.replace('"', "%22").replace(" ", "%20")
        for row in couch.ask("GET", database, "_all_docs", query=query)[1].get("rows", []):
            couch.ask("DELETE", database, row["id"], query=f"rev={row['value']['rev']}")
    for section in couch.ask("GET", "_node", "_local", "_config")[1]:
        if section.startswith(PREFIX):
            for key in couch.ask("GET", "_node", "_local", "_config", section)[1]:
                couch.ask("DELETE", "_node", "_local", "_config", section, key)


def declaration(databases: dict[str, Any], users: dict[str, Any], values: dict[str, str]) -> dict[str, Any]:
    """The options of couchdb_server for a made-up server: in each database a view, an index and a replication."""
    listed = list(databases)
    view = {"_id": "_design/app", "views": {"all": {"map": "function (doc) { emit(doc._id); }"}}}
    return {
        "settings": {f"{PREFIX}_section": values} if values else {},
        "databases": [{"name": name, **options} for name, options in databases.items()],
        "users": [
            {"name": name, "password_hash": HASH.format(salt=f"salt{number}"), **options}
            for number, (name, options) in enumerate(users.items())
        ],
        "documents": [{"database": name, "documents": [view]} for name in listed],
        "indexes": [{"database": name, "ddoc": "ix", "name": "by-a", "fields": ["a", "b"]} for name in listed],
        "replications": [
            {
                "name": f"{PREFIX}_{number}",
                "source": name,
                "target": {"url": "http://127.0.0.1:9/t", "username": "u", "password": "c4n4ry"},
                "continuous": True,
            }
            for number, name in enumerate(listed)
        ],
    }


@LIVE
@given(made_up=databases, people=users, values=settings_values)
@pytest.mark.timeout(600)
def test_a_gathered_declaration_changes_nothing_and_makes_another_server_the_same(
    made_up: Any, people: Any, values: Any, couch: Couch, between: proxy.Proxy, empty: Couch
) -> None:
    TRIED["made-up servers"] += 1
    between.disarm()
    try:
        task("couchdb_server", between.url, couch, declaration(made_up, people, values))
        found = task("couchdb_info", between.url, couch, GATHER)["declaration"]
        assert {database["name"] for database in found["databases"]} == set(made_up)
        again = {part: value for part, value in found.items() if part not in ("members", "admins")}
        between.disarm()
        assert not task("couchdb_server", between.url, couch, again)["changed"]
        sent = [str(request) for request in between.journal()]
        assert [
            line for line in sent if not line.startswith(("GET ", "HEAD ")) and not any(map(line.__contains__, READS))
        ] == []

        elsewhere = copy.deepcopy(again)
        for database in elsewhere["databases"]:
            database.pop("replicas", None)
        task("couchdb_server", empty.url, empty, elsewhere)
        copied = task("couchdb_info", empty.url, empty, GATHER)["declaration"]
        for part in ("users", "documents", "indexes", "replications"):
            assert copied.get(part) == found.get(part), part
        for one, other in zip(copied["databases"], found["databases"], strict=True):
            assert {**one, "replicas": 0} == {**other, "replicas": 0}
        section = f"{PREFIX}_section"
        assert copied.get("settings", {}).get(section) == found.get("settings", {}).get(section)
    finally:
        clear(couch)
        clear(empty)


def test_secrets_are_masked_unless_asked_for_and_then_the_task_must_log_nothing(couch: Couch) -> None:
    try:
        people = {f"{PREFIX} ann": {"roles": [], "attributes": {"token": "c4n4ry"}}}
        task("couchdb_server", couch.url, couch, declaration({f"{PREFIX}_d": {}}, people, {"password": "c4n4ry"}))
        masked = task("couchdb_info", couch.url, couch, {**GATHER, "include_secrets": False})
        assert "c4n4ry" not in json.dumps(masked)
        assert "33dd85e3" not in json.dumps(masked)
        refused = modules.run("couchdb_info", {**couch.login, "url": couch.url, **GATHER})
        assert refused.failed
        assert "no_log: true" in refused.message
    finally:
        clear(couch)


def test_a_login_that_may_not_see_everything_gets_what_is_left_out(couch: Couch) -> None:
    try:
        task("couchdb_server", couch.url, couch, declaration({f"{PREFIX}_d": {}}, {}, {}))
        couch.ask(
            "PUT",
            "_users",
            "org.couchdb.user:" + PREFIX,
            body={
                "name": PREFIX,
                "type": "user",
                "roles": [],
                "password": "weak",
            },
        )
        run = modules.run(
            "couchdb_info", {"url": couch.url, "login_user": PREFIX, "login_password": "weak", **GATHER}, no_log=True
        )
        assert not run.failed, run.message
        left_out = {(entry["part"], entry["name"]) for entry in run.result["not_declared"]}
        assert {("settings", "*"), ("users", "*")} <= left_out
        assert all(entry["reason"] for entry in run.result["not_declared"])
        assert "settings" not in run.result["declaration"]
    finally:
        clear(couch)


def test_exclusive_parts_remove_what_is_not_declared_and_name_it_in_check_mode(
    couch: Couch, between: proxy.Proxy
) -> None:
    """Only parts that other tests leave alone or create again are exclusive here: replications, and the indexes of their databases."""
    keep, go = f"{PREFIX}_keep", f"{PREFIX}_go"
    try:
        made = declaration({keep: {}, go: {}}, {}, {})
        # Without the replications that other tests left.
        task("couchdb_server", couch.url, couch, {**made, "exclusive": ["replications"]})
        mine = {f"{keep}/ix/by-a", f"{go}/ix/by-a"}
        wanted = {
            "databases": made["databases"],
            "replications": made["replications"][:1],
            "indexes": made["indexes"][:1],
            "exclusive": ["replications", "indexes"],
        }
        between.disarm()
        checked = task("couchdb_server", between.url, couch, wanted, check_mode=True)
        assert checked["changed"]
        assert checked["extra"]["replications"] == [f"{PREFIX}_1"]
        assert mine & set(checked["extra"]["indexes"]) == {f"{go}/ix/by-a"}
        assert not {keep, go} & set(checked["extra"]["databases"])
        assert not any(str(request).startswith(("PUT ", "DELETE ")) for request in between.journal())
        task("couchdb_server", couch.url, couch, wanted)
        left = task("couchdb_server", couch.url, couch, {**wanted, "report_extra": True})
        assert not left["changed"]
        assert left["extra"]["replications"] == []
        assert not mine - {f"{keep}/ix/by-a"} & set(left["extra"]["indexes"])
    finally:
        clear(couch)
