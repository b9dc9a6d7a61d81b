# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

"""Every call that the documented API of Client names, on a running server of every dialect.

The sections are the rows of the table of that API, in its order, each under the words of its row. What
needs more is elsewhere: sessions, commit and replication have files of their own.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.couchpy.couchdb.plugins.module_utils import errors
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules.restart import proves_restart
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules.urls import basic_authorization
from ansible_collections.couchpy.couchdb.plugins.module_utils.client import Client
from ansible_collections.couchpy.couchdb.plugins.module_utils.database import Database
from servers import Server, unique
from wire import Asked, Reply, Wire, free_port, listen, until

Connect = Callable[..., Client]
Name = Callable[..., str]

# --- bool(client): available? asked once, remembered; ispresent() asks afresh (HEAD)


def test_bool_asks_once_and_remembers(connect: Connect, wire: Wire) -> None:
    couch = connect(wire.url)
    assert bool(couch) is True
    assert bool(couch) is True
    assert wire.asked() == ["HEAD /"]


def test_ispresent_asks_afresh(connect: Connect, wire: Wire) -> None:
    couch = connect(wire.url)
    assert couch.ispresent() is True
    assert couch.ispresent() is True
    assert wire.asked() == ["HEAD /", "HEAD /"]


def test_bool_remembers_that_there_was_none() -> None:
    port = free_port()
    couch = Client(f"http://127.0.0.1:{port}/", config={"retries": 0})
    assert bool(couch) is False
    with listen(lambda asked: Reply(200, {"couchdb": "Welcome", "version": "3.4.3"}), port):
        assert bool(couch) is False
        assert couch.ispresent() is True
        assert bool(couch) is True
    assert bool(couch) is True
    assert couch.ispresent() is False


# --- client(): the welcome object; version(): its version


def test_call_gives_the_welcome_object(couch: Client, server: Server) -> None:
    welcome = couch()
    assert "Welcome" in welcome["couchdb" if server.clustered else next(iter(welcome))]
    assert welcome == couch()


def test_version(connect: Connect, wire: Wire) -> None:
    couch = connect(wire.url)
    assert couch.version() == couch()["version"]
    assert re.match(r"\d+\.\d+", couch.version())
    assert wire.asked() == ["GET /", "GET /"]


# --- iter(client), all_dbs(): Database objects; len(client): their number


def test_iter_and_all_dbs_give_databases(couch: Client, db: Database) -> None:
    listed = couch.all_dbs()
    assert all(isinstance(one, Database) for one in listed)
    assert [one.name for one in listed] == [one.name for one in couch]
    assert db in listed
    assert {"_users", "_replicator"} <= {one.name for one in couch}


def test_len_is_the_number_of_databases(couch: Client, new_name: Name) -> None:
    before = len(couch)
    couch.put(new_name())
    couch.put(new_name())
    assert len(couch) == before + 2 == len(couch.all_dbs())


def test_iter_with_a_name_that_only_this_server_takes(couch: Client, server: Server) -> None:
    """PouchDB Server takes names that CouchDB refuses; one of them must not hide all others."""
    odd = unique().capitalize()
    if server.clustered:
        with pytest.raises(errors.BadRequest, match="illegal_database_name"):
            couch.request("PUT", (odd,))
        return
    couch.request("PUT", (odd,))
    try:
        assert odd in [one.name for one in couch]
    finally:
        couch.request("DELETE", (odd,))


# --- name in client, has_database(name): is it there


def test_in_and_has_database(couch: Client, db: Database, new_name: Name) -> None:
    absent = new_name()
    assert db.name in couch
    assert "_users" in couch
    assert couch.has_database(db.name) is True
    assert absent not in couch
    assert couch.has_database(absent) is False


def test_in_asks_every_time(couch: Client, new_name: Name) -> None:
    name = new_name()
    assert name not in couch
    couch.put(name)
    assert name in couch
    couch.delete(name)
    assert name not in couch


# --- client[name], Database(name, ...): the Database object, whether or not it exists on the server


def test_a_database_object_needs_no_database(connect: Connect, wire: Wire) -> None:
    couch = connect(wire.url)
    name = unique()
    assert isinstance(couch[name], Database)
    assert couch[name].name == name
    assert repr(couch[name]) == f"<Database '{name}'>"
    assert couch.Database(name) is couch[name]
    assert wire.requests == []


def test_a_database_object_of_a_database(couch: Client, db: Database) -> None:
    assert couch[db.name] is db
    assert couch[db.name].ispresent() is True


def test_a_database_object_of_an_illegal_name(connect: Connect, wire: Wire) -> None:
    with pytest.raises(errors.InvalidInput, match="Bad Name"):
        connect(wire.url)["Bad Name"]
    assert wire.requests == []


# --- put(name): creates it, returns the Database


def test_put_creates_a_database(couch: Client, new_name: Name) -> None:
    name = new_name()
    created = couch.put(name)
    assert isinstance(created, Database)
    assert created.name == name
    assert name in couch
    assert created.info()["db_name"] == name


def test_put_of_one_that_exists(couch: Client, db: Database) -> None:
    with pytest.raises(errors.AlreadyExists) as caught:
        couch.put(db.name)
    assert (caught.value.status, caught.value.error) == (412, "file_exists")


def test_put_with_shards(couch: Client, server: Server, new_name: Name) -> None:
    if server.clustered:
        assert couch.put(new_name(), shards=3).info()["cluster"]["q"] == 3
    else:
        with pytest.raises(errors.InvalidInput, match="doesn't divide"):
            couch.put(new_name(), shards=3)


# --- del client[name], delete(name or Database): deletes it


def test_del_deletes(couch: Client, new_name: Name) -> None:
    name = new_name()
    couch.put(name)
    del couch[name]
    assert name not in couch


def test_delete_takes_a_name(couch: Client, new_name: Name) -> None:
    name = new_name()
    couch.put(name)
    assert couch.delete(name) is True
    assert name not in couch


def test_delete_takes_a_database(couch: Client, new_name: Name) -> None:
    created = couch.put(new_name())
    assert couch.delete(created) is True
    assert created.ispresent() is False


def test_delete_of_one_that_is_missing(couch: Client) -> None:
    name = unique()
    with pytest.raises(errors.NotFound) as caught:
        couch.delete(name)
    assert caught.value.status == 404
    with pytest.raises(errors.NotFound):
        del couch[name]


def bare_pouchdb(asked: Asked) -> Reply:
    """Answer as PouchDB Server does, without what the embedded server adds to it."""
    if asked.path == "/":
        return Reply(200, {"express-pouchdb": "Welcome!", "version": "4.2.0"})
    if asked.path == "/_stats":
        return Reply(200, {"pouchdb-server": "has not impemented _stats yet. PRs welcome!"})
    return Reply(404, {"error": "not_found", "reason": "no_db_file"})


# --- active_tasks(), stats(*path), uuids(count): stats('couchdb', 'request_time') answers nested


def test_active_tasks(couch: Client, server: Server, db: Database, new_name: Name) -> None:
    target = couch.put(new_name())
    assert isinstance(couch.active_tasks(), list)
    couch.replicate(db, target, continuous=True)
    try:
        if server.clustered:
            tasks = until(lambda: [task for task in couch.active_tasks() if db.name in str(task.get("source"))])
            assert tasks[0]["type"] == "replication"
    finally:
        couch.replicate(db, target, continuous=True, cancel=True)


def test_active_tasks_of_a_node(connect: Connect, server: Server) -> None:
    told = [{"type": "indexer", "node": "n1@h"}, {"type": "indexer", "node": "n2@h"}]
    answers = {
        "/": {"couchdb": "Welcome", "version": "3.4.3"},
        "/_node/_local": {"name": "n1@h"},
        "/_active_tasks": told,
    }
    with listen(lambda asked: Reply(200, answers[asked.path])) as fake:
        couch = Client(fake.url)
        assert couch.active_tasks() == told
        assert couch.active_tasks(node="_local") == told[:1]
        assert couch.active_tasks(node="n2@h") == told[1:]
        assert couch.active_tasks(node="n3@h") == []
    assert isinstance(connect().active_tasks(node="_local"), list)


def test_stats_of_everything(couch: Client) -> None:
    assert "request_time" in couch.stats()["couchdb"]


def test_stats_of_one_statistic(couch: Client, server: Server) -> None:
    found = couch.stats("couchdb", "request_time")
    assert list(found) == ["couchdb"]
    assert list(found["couchdb"]) == ["request_time"]
    told = found["couchdb"]["request_time"]
    assert told["desc" if server.clustered else "description"] == "length of a request inside CouchDB without MochiWeb"


def test_stats_of_a_section(couch: Client) -> None:
    found = couch.stats("couchdb")
    assert list(found) == ["couchdb"]
    assert set(found["couchdb"]) == set(couch.stats()["couchdb"])


def test_stats_that_are_missing(couch: Client) -> None:
    with pytest.raises(errors.NotFound) as caught:
        couch.stats("couchdb", "no_such_statistic")
    assert caught.value.status == 404


def test_stats_where_pouchdb_has_none() -> None:
    with listen(bare_pouchdb) as fake:
        assert Client(fake.url).stats()
        with pytest.raises(errors.NotFound, match="couchdb/request_time"):
            Client(fake.url).stats("couchdb", "request_time")


def test_uuids(couch: Client) -> None:
    assert len(couch.uuids()) == 1
    several = couch.uuids(3)
    assert len(set(several)) == 3
    assert all(re.fullmatch("[0-9a-f-]{32,36}", one) for one in several)


def test_uuids_beyond_what_one_request_gives(connect: Connect, wire: Wire) -> None:
    couch = connect(wire.url)
    assert len(set(couch.uuids(2500))) == 2500
    assert [asked.target for asked in wire.requests] == [f"/_uuids?count={count}" for count in (1000, 1000, 500)]


def test_uuids_of_no_number(connect: Connect, wire: Wire) -> None:
    with pytest.raises(errors.InvalidInput, match="count"):
        connect(wire.url).uuids(0)
    assert wire.requests == []


# --- log(bytes, offset): 1.x: the server's log. 2.x/3.x: the file that the settings name, else a clear error


def readable_log(couch: Client, server: Server) -> str | None:
    """The log file of a CouchDB 2 or 3 on this machine, as its settings say, or None."""
    settings = couch.config("log")
    here = re.match(r"https?://(localhost|127\.[0-9.]+|\[::1\])[:/]", server.url)
    file = settings.get("file", "")
    return file if here and settings.get("writer") == "file" and os.access(file, os.R_OK) else None


def test_log(couch: Client, server: Server) -> None:
    if server.clustered and not readable_log(couch, server):
        with pytest.raises(errors.Unsupported, match=r"has no log over HTTP, and its (settings|log file)"):
            couch.log()
        return
    name = unique()
    assert name not in couch
    until(lambda: name in couch.log(bytes=20000))
    assert isinstance(couch.log(), str)
    assert couch.log().splitlines()


def test_log_of_some_bytes(couch: Client, server: Server) -> None:
    if server.clustered and not readable_log(couch, server):
        with pytest.raises(errors.Unsupported):
            couch.log(offset=100, bytes=10)
        return
    until(lambda: couch() and len(couch.log(bytes=300)) == 300)
    assert len(couch.log(offset=100, bytes=10)) == 10


def test_log_offset_is_from_the_end(couch: Client, server: Server) -> None:
    if server.clustered and not readable_log(couch, server):
        with pytest.raises(errors.Unsupported):
            couch.log(100, 50)
        return
    name = unique()
    assert name not in couch
    until(lambda: couch.ispresent() and name in couch.log(bytes=8000, offset=1000))
    assert name not in couch.log(bytes=500, offset=0)
    assert name in couch.log(bytes=20000)


def test_log_of_a_negative_number(connect: Connect, wire: Wire) -> None:
    couch = connect(wire.url)
    with pytest.raises(errors.InvalidInput, match="bytes"):
        couch.log(bytes=-1)
    with pytest.raises(errors.InvalidInput, match="offset"):
        couch.log(offset=-1)
    assert wire.requests == []


def test_log_that_goes_to_no_file(couch: Client, server: Server) -> None:
    if not server.clustered:
        assert couch.log()
        return
    memory_only = {"X-Couch-Persist": "false"}
    before = couch.config("log", "writer", value="stderr", hthdrs=memory_only)
    try:
        with pytest.raises(errors.Unsupported, match="don't say that it logs to a file"):
            couch.log()
    finally:
        if before:
            couch.config("log", "writer", value=before, hthdrs=memory_only)
        else:
            couch.config("log", "writer", delete=True, hthdrs=memory_only)


def test_log_of_a_server_elsewhere(
    connect: Connect, server: Server, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy makes the server look as if it were on another machine."""
    monkeypatch.setenv("http_proxy", wire.url)
    for name in ("no_proxy", "NO_PROXY", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    couch = connect("http://couch.example.test:5984/")
    if server.clustered:
        with pytest.raises(errors.Unsupported, match="has no log over HTTP, and its (settings|log file is on couch)"):
            couch.log()
    else:
        assert couch.log()
    assert wire.asked()[0] == "GET /"


# --- restart(): true when the server took it


def restarts(couch: Client) -> Callable[[], bool]:
    """Return what says, after the node was asked to restart, whether it has: its answers go on for a moment."""
    before, begun = couch.sighting(), time.monotonic()

    def has_restarted() -> bool:
        asked = time.monotonic()
        try:
            return proves_restart(before, couch.sighting(), asked - begun, refused=False)
        except errors.CouchDBError:
            return False

    return has_restarted


def test_restart(couch: Client, connect: Connect, server: Server) -> None:
    if server.clustered:
        has_restarted = restarts(couch)
        assert couch.restart() is True
        until(has_restarted)
    else:
        # 1.x does not report its uptime: it was down, and is up again.
        hasty = connect(retries=0)
        assert couch.restart() is True
        until(lambda: not hasty.ispresent())
        until(hasty.ispresent)
    assert couch.version()


def test_restart_and_wait(couch: Client, server: Server) -> None:
    told = couch.restart_and_wait(couch.local_node())
    assert told["name"] == couch.local_node()
    assert told["seconds_away"] > 0
    assert couch.ispresent()
    assert couch.up()[0] == 200
    if server.clustered:
        assert told["uptime_after"] <= told["seconds_away"]
        assert couch.system()["uptime"] <= told["seconds_away"] + 30
    else:
        assert told["uptime_before"] is None
        assert told["uptime_after"] is None


def test_restart_and_wait_in_maintenance_mode(connect: Connect, server: Server, wire: Wire) -> None:
    couch = connect(wire.url)
    couch.local_node()
    wire.forget()
    if not server.clustered:
        with pytest.raises(errors.Unsupported, match="maintenance mode"):
            couch.restart_and_wait(drain_time=0)
        assert "POST /_restart" not in wire.asked()
        return
    couch.restart_and_wait(drain_time=0)
    setting = "/_node/_local/_config/couchdb/maintenance_mode"
    asked = [line for line in wire.asked("PUT", "POST", "DELETE") if not line.endswith(("/_dbs_info", "/_sync_shards"))]
    # Nothing serves instead of it, so the restart itself ends it.
    assert asked == [f"PUT {setting}", "POST /_node/_local/_restart"]
    assert couch.maintenance() == ("false", None)
    assert couch.up()[0] == 200


def test_the_halves_of_a_restart(couch: Client, server: Server) -> None:
    if not server.clustered:
        with pytest.raises(errors.Unsupported, match="maintenance mode"):
            couch.drain()
        return
    couch.drain()
    assert couch.maintenance() == ("true", None)
    couch.rejoin()
    assert couch.maintenance() == ("false", None)
    couch.mark("_local", "false")
    couch.hold("_local")
    couch.rejoin(mode="true")
    assert couch.maintenance() == ("false", None)


def test_maintenance_mode(couch: Client, server: Server) -> None:
    assert couch.maintenance_mode() is None
    if not server.clustered:
        with pytest.raises(errors.Unsupported, match="maintenance mode"):
            couch.set_maintenance_mode(couch.local_node(), "true")
        return
    couch.set_maintenance_mode("_local", "true")
    assert couch.maintenance_mode() == "true"
    assert couch.up()[0] == 404
    couch.set_maintenance_mode("_local", None)
    assert couch.maintenance_mode() is None
    assert couch.up()[0] == 200


def test_the_cluster_as_it_is_seen(couch: Client, server: Server) -> None:
    seen = couch.cluster_seen()
    assert list(seen.members) == couch.nodes(["all"])
    assert seen.gaps() == seen.down == []
    assert couch.answering_node() in seen.members
    assert (seen.sightings[couch.local_node()].uptime is not None) is server.clustered


def test_restart_forgets_whether_it_exists(connect: Connect, server: Server, wire: Wire) -> None:
    couch = connect(wire.url, retries=0)
    assert couch
    has_restarted = restarts(couch)
    assert couch.restart() is True
    wire.forget()
    bool(couch)
    assert wire.asked() == ["HEAD /"]
    if server.clustered:
        until(has_restarted)
    else:
        until(lambda: not couch.ispresent())
        until(couch.ispresent)


def test_restart_needs_an_admin(connect: Connect) -> None:
    with pytest.raises(errors.Unauthorized):
        connect(username=None).restart()


@pytest.mark.parametrize("version", ["2.0.0", "2.2.0"])
def test_restart_where_couchdb_has_none(version: str) -> None:
    with listen(lambda asked: Reply(200, {"couchdb": "Welcome", "version": version})) as fake:
        with pytest.raises(errors.Unsupported, match=f"CouchDB {version} has no restart"):
            Client(fake.url).restart()
        assert fake.asked() == ["GET /"]


def test_restart_where_pouchdb_has_none() -> None:
    """PouchDB Server as it comes has neither restart nor statistics, which CouchDB 1.x has."""
    with listen(bare_pouchdb) as fake, pytest.raises(errors.Unsupported, match="PouchDB Server 4.2.0 has no restart"):
        Client(fake.url).restart()


# --- config(section, key, value=, delete=True): read all, a section, a key; set; delete


def test_config_reads(couch: Client, section: str) -> None:
    couch.config(section, "one", value="a")
    couch.config(section, "two", value="b")
    everything = couch.config()
    assert everything[section] == {"one": "a", "two": "b"}
    assert everything["admins"] == couch.config(section="admins")
    assert couch.config(section=section) == {"one": "a", "two": "b"}
    assert couch.config(section=section, key="one") == "a"


def test_config_sets_and_deletes(couch: Client, section: str) -> None:
    assert couch.config(section, "key", value="one") == ""
    assert couch.config(section, "key") == "one"
    assert couch.config(section, "key", value="two") == "one"
    assert couch.config(section) == {"key": "two"}
    assert couch.config()[section] == {"key": "two"}
    assert couch.config(section, "key", delete=True) == "two"
    with pytest.raises(errors.NotFound, match="unknown_config_value"):
        couch.config(section, "key")
    with pytest.raises(errors.NotFound):
        couch.config(section, "key", delete=True)


def test_config_of_an_unknown_section_is_empty(couch: Client) -> None:
    assert couch.config(unique()) == {}


@pytest.mark.parametrize(("value", "spelt"), [(True, "true"), (False, "false"), (5, "5"), ("  a b ", "a b")])
def test_config_spells_values_as_couchdb_does(couch: Client, section: str, value: Any, spelt: str) -> None:
    couch.config(section, "key", value=value)
    assert couch.config(section, "key") == spelt


@pytest.mark.parametrize("key", ["a b", "a/b", "a+b", "a;b", "a%2Fb", "é"])
def test_config_of_odd_keys(couch: Client, section: str, key: str) -> None:
    couch.config(section, key, value="x")
    assert couch.config(section, key) == "x"
    assert couch.config(section) == {key: "x"}
    assert couch.config(section, key, delete=True) == "x"


def test_config_refuses_what_it_cannot_hold(connect: Connect, wire: Wire) -> None:
    couch = connect(wire.url)
    couch.version()
    wire.forget()
    for value in (["a"], {"a": 1}, "a\nb", "\N{GREEK SMALL LETTER ALPHA}"):
        with pytest.raises(errors.InvalidInput):
            couch.config("couchpy_ct", "key", value=value)
    with pytest.raises(errors.InvalidInput, match="section"):
        couch.config(key="key")
    with pytest.raises(errors.InvalidInput, match="key"):
        couch.config("couchpy_ct", value="a")
    with pytest.raises(errors.InvalidInput, match="key"):
        couch.config("couchpy_ct", delete=True)
    with pytest.raises(TypeError):
        couch.config("couchpy_ct", "key", valeu="a")
    assert wire.requests == []


def test_config_of_a_node_that_is_none(couch: Client) -> None:
    with pytest.raises(errors.NotFound, match="no such node: couchdb@nowhere"):
        couch.config("log", node="couchdb@nowhere")


# --- addadmin, deladmin, admins: server admins


def test_addadmin_and_deladmin(couch: Client, connect: Connect, server: Server, new_admin: Name) -> None:
    name = new_admin()
    assert couch.addadmin(name, "joe123") is True
    assert couch.admins()[name].startswith("-pbkdf2:sha256-" if server.number >= (3, 4) else "-pbkdf2-")
    assert connect(username=name, password="joe123").authsession()["userCtx"] == {"name": name, "roles": ["_admin"]}
    assert couch.deladmin(name) is True
    assert name not in couch.admins()


def test_admins_holds_this_clients_own(couch: Client, server: Server) -> None:
    assert server.username in couch.admins()


def test_addadmin_sends_no_password(connect: Connect, wire: Wire, new_admin: Name) -> None:
    name = new_admin()
    connect(wire.url).addadmin(name, "joe123")
    sent = [asked for asked in wire.requests if asked.method == "PUT"]
    assert [asked.path.rpartition("/")[2] for asked in sent] == [name]
    assert b"joe123" not in sent[0].body


def test_addadmin_gives_a_new_password(couch: Client, connect: Connect, new_admin: Name) -> None:
    name = new_admin()
    couch.addadmin(name, "first")
    couch.addadmin(name, "pass word:\N{LATIN SMALL LETTER E WITH ACUTE}/@")
    other = connect(username=name, password="pass word:\N{LATIN SMALL LETTER E WITH ACUTE}/@")
    assert other.authsession()["userCtx"]["name"] == name


def test_addadmin_of_itself_goes_on_with_the_new_password(couch: Client, connect: Connect, new_admin: Name) -> None:
    name = new_admin()
    couch.addadmin(name, "first")
    itself = connect(username=name, password="first")
    assert itself.authsession()["userCtx"]["name"] == name
    itself.addadmin(name, "second")
    assert itself.authsession()["userCtx"]["name"] == name
    assert name in itself.admins()


@pytest.mark.parametrize("suffix", [" x", "/x", ";x", "=x", "+x", "%x", "é"])
def test_admins_of_odd_names(couch: Client, connect: Connect, suffix: str) -> None:
    name = unique(suffix)
    couch.addadmin(name, "joe123")
    try:
        assert name in couch.admins()
        assert connect(username=name, password="joe123").authsession()["userCtx"]["name"] == name
    finally:
        couch.deladmin(name)
    assert name not in couch.admins()


@pytest.mark.parametrize("name", ["", ";joe", " joe", "joe[1]", "joe = x", "joe\nx"])
def test_addadmin_of_an_impossible_name(connect: Connect, wire: Wire, name: str) -> None:
    with pytest.raises(errors.InvalidInput, match="name"):
        connect(wire.url).addadmin(name, "joe123")
    assert wire.asked("PUT") == []


def test_deladmin_of_none(couch: Client) -> None:
    with pytest.raises(errors.NotFound):
        couch.deladmin(unique())


# --- login, logout, authsession: cookie session, kept for what follows; login returns (status, headers, payload)


def test_login_and_logout(connect: Connect, server: Server) -> None:
    couch = connect(username=None)
    assert couch.authsession()["userCtx"] == {"name": None, "roles": []}
    status, headers, payload = couch.login(server.username or "", server.password or "")
    assert status == 200
    assert headers["Set-Cookie"].startswith("AuthSession=")
    assert payload == {"ok": True, "name": server.username, "roles": ["_admin"]}
    session = couch.authsession()
    assert session["userCtx"] == {"name": server.username, "roles": ["_admin"]}
    assert session["info"]["authenticated"] == "cookie"
    assert couch.logout() is True
    assert couch.authsession()["userCtx"] == {"name": None, "roles": []}


# --- commit(): writes every changed document of every open Database in bulk


def test_documents_and_attachments_of_several_databases(couch: Client, db: Database, new_name: Name) -> None:
    other = couch.put(new_name())
    db.put_document({"_id": "a", "_attachments": {"c": {"content_type": "text/plain", "data": "YQ=="}}})
    other.put_document({"_id": "b"})
    portions = [(db.name, ["a", "none"]), (other.name, ["b"]), (new_name(), ["c"])]

    def look(name: str, ids: Any, found: Any) -> Any:
        return name, list(ids), None if found is None else [docid for docid, document in found.items() if document]

    assert couch.documents(portions, look) == [
        (db.name, ["a", "none"], ["a"]),
        (other.name, ["b"], ["b"]),
        (portions[2][0], ["c"], None),
    ]
    assert couch.attachments([(db.name, "a", "c")]) == [b"a"]


def test_build_views_of_several_databases(couch: Client, db: Database, new_name: Name) -> None:
    views = {"all": {"map": "function (doc) { emit(null); }"}}
    wanted = [(name, "_design/app", ["all"]) for name in (db.name, couch.put(new_name()).name)]
    for name, docid, _views in wanted:
        couch[name].put_design_document({"_id": docid, "views": views})
    couch.build_views(wanted, 30)


def test_max_document_size(couch: Client, server: Server) -> None:
    if server.number < (3,):
        assert couch.max_document_size() in (None, 4 * 1024**3)
        return
    assert couch.max_document_size() == 8_000_000
    couch.config("couchdb", "max_document_size", value=4_000_000)
    try:
        assert couch.max_document_size() == 4_000_000
    finally:
        couch.config("couchdb", "max_document_size", delete=True)


def test_timeout(connect: Connect) -> None:
    assert connect(timeout=7).timeout == 7


def test_commit(couch: Client, db: Database, new_name: Name) -> None:
    other = couch.put(new_name())
    db.new({"_id": "a", "colour": "red"})
    other.new({"_id": "b"})
    written = couch.commit()
    assert {(row["database"], row["id"]) for row in written} == {(db.name, "a"), (other.name, "b")}
    assert db["a"]["colour"] == "red"
    assert db["a"]["_rev"] == written[0]["rev"]


# --- replicate(source, target, cancel=, continuous=, create_target=, doc_ids=, proxy=)


def test_replicate(couch: Client, db: Database, new_name: Name) -> None:
    db.put_document({"_id": "a", "colour": "red"})
    target = new_name()
    answer = couch.replicate(db.name, target, create_target=True)
    assert answer["ok"] is True
    assert couch[target]["a"]["colour"] == "red"


# --- Client(url=None, config=None, hthdrs=None, cookie=None, ...)


def test_client_takes_its_url_from_the_environment(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUCHDB_URL", server.url)
    couch = Client(config=server.credentials)
    assert couch.url == server.url
    assert couch.version()
    couch.close()


def test_client_without_any_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COUCHDB_URL", raising=False)
    assert Client().url == "http://localhost:5984/"
    monkeypatch.setenv("COUCHDB_URL", "")
    assert Client().url == "http://localhost:5984/"


def test_a_url_that_is_given_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUCHDB_URL", "http://couch.example.test:5984/")
    assert Client("http://127.0.0.1:5984").url == "http://127.0.0.1:5984/"


def test_credentials_in_the_url_are_used_and_not_shown(connect: Connect, server: Server) -> None:
    url = server.url.replace("://", f"://{server.username}:{server.password}@")
    couch = connect(url, username=None)
    assert couch.authsession()["userCtx"]["name"] == server.username
    assert couch.url == server.url
    assert str(server.password) not in repr(couch)


def test_a_path_before_the_server(connect: Connect, server: Server) -> None:
    def respond(asked: Any) -> Reply:
        return Reply(200, {"path": asked.path})

    with listen(respond) as proxy:
        assert connect(f"{proxy.url}couch/db").request("GET", ("_up",)).body == {"path": "/couch/db/_up"}


def test_config_that_is_none() -> None:
    with pytest.raises(errors.InvalidInput, match="pasword"):
        Client("http://127.0.0.1:5984/", config={"pasword": "secret"})


# --- hthdrs given to a call is added to, and wins over, the instance's


def test_hthdrs_of_the_instance_go_with_every_request(connect: Connect, wire: Wire) -> None:
    couch = connect(wire.url, hthdrs={"X-Test": "instance"})
    couch()
    couch.database_names()
    assert [asked.headers["X-Test"] for asked in wire.requests] == ["instance", "instance"]


def test_hthdrs_of_a_call_are_added_and_win(connect: Connect, wire: Wire, new_name: Name) -> None:
    couch = connect(wire.url, hthdrs={"X-Test": "instance", "X-Other": "kept"})
    name = new_name()
    calls: list[Callable[..., Any]] = [
        couch,
        couch.ispresent,
        couch.active_tasks,
        couch.uuids,
        couch.all_dbs,
        couch.authsession,
        couch.config,
        couch.admins,
        couch.stats,
        lambda hthdrs: couch.put(name, hthdrs=hthdrs),
        lambda hthdrs: couch.has_database(name, hthdrs=hthdrs),
        lambda hthdrs: couch[name].info(hthdrs=hthdrs),
        lambda hthdrs: couch.replicate(name, name, cancel=True, hthdrs=hthdrs),
        lambda hthdrs: couch.delete(name, hthdrs=hthdrs),
    ]
    for call in calls:
        wire.forget()
        # Statistics or a replication may not be there: the request was sent all the same.
        with contextlib.suppress(errors.NotFound):
            call(hthdrs={"x-test": "call", "X-More": "1"})
        headers = wire.last().headers
        assert headers.get_all("X-Test") == ["call"], wire.asked()
        assert (headers["X-Other"], headers["X-More"]) == ("kept", "1"), wire.asked()
    couch()
    assert wire.last().headers["X-Test"] == "instance"


def test_hthdrs_may_hold_the_credentials(connect: Connect, couch: Client, server: Server) -> None:
    authorization = basic_authorization(couch.username, couch._http.password)
    nobody = connect(username=None)
    assert nobody.authsession(hthdrs={"Authorization": authorization})["userCtx"]["name"] == server.username
    assert nobody.authsession()["userCtx"]["name"] is None


# --- What else a server has: nodes, its system, all databases at once, replications


def test_membership_and_nodes(couch: Client, server: Server) -> None:
    members = couch.membership()
    assert len(members["cluster_nodes"]) >= 1
    assert set(members["cluster_nodes"]) <= set(members["all_nodes"])
    assert couch.nodes(["all"]) == members["cluster_nodes"]
    assert couch.nodes(["_local", "_local"]) == ["_local"]
    with pytest.raises(errors.InvalidInput, match="nodes"):
        couch.nodes([])


def test_config_of_nodes(couch: Client) -> None:
    everywhere = couch.config_of_nodes(["all"])
    assert list(everywhere) == couch.nodes(["all"])
    assert all(settings and "admins" in settings for settings in everywhere.values())
    with pytest.raises(errors.InvalidInput, match="no such node: couchdb@nowhere"):
        couch.config_of_nodes(["_local", "couchdb@nowhere"])


def test_system(couch: Client, server: Server) -> None:
    if server.clustered:
        assert couch.system()["uptime"] >= 0
    else:
        with pytest.raises(errors.Unsupported, match="system information"):
            couch.system()


def test_dbs_info(couch: Client, db: Database) -> None:
    absent = unique()
    db.put_document({"_id": "a"})
    told = couch.dbs_info([db.name, absent])
    assert list(told) == [db.name, absent]
    assert told[absent] is None
    assert told[db.name]["doc_count"] == 1
    everything = couch.dbs_info()
    assert everything[db.name]["db_name"] == db.name
    assert set(everything) >= {"_users", "_replicator", db.name}


def test_dbs_info_of_more_than_one_request_may_name(connect: Connect, server: Server, wire: Wire, db: Database) -> None:
    couch = connect(wire.url)
    asked = [db.name, *(unique() for _number in range(200))]
    told = couch.dbs_info(asked)
    assert list(told) == asked
    assert [name for name, info in told.items() if info] == [db.name]
    if server.clustered:
        assert wire.asked("POST") == ["POST /_dbs_info"] * 3


def test_replications(couch: Client, server: Server, db: Database, new_name: Name) -> None:
    target = couch.put(new_name())
    ends: dict[str, Any] = {one.name: one.name for one in (db, target)}
    if not couch.dialect.takes_local_endpoints:
        basic = {"username": server.username, "password": server.password}
        ends = {name: {"url": couch.url + name, "auth": {"basic": basic}} for name in ends}
    docid = unique()
    jobs = couch["_replicator"]
    jobs.put_document({"_id": docid, "source": ends[db.name], "target": ends[target.name], "continuous": True})
    try:

        def found() -> list[dict[str, Any]]:
            return [one for one in couch.replications() if one["name"] == docid and one["state"]]

        job = until(found)[0]
        assert job["database"] == "_replicator"
        assert db.name in str(job["source"])
        assert target.name in str(job["target"])
    finally:
        until(lambda: deleted(jobs, docid))


def deleted(database: Database, docid: str) -> bool:
    """Delete a document that the server may be changing at the same time."""
    try:
        database.delete(docid, rev=database.get(docid)["_rev"])
    except errors.Conflict:
        return False
    return True
