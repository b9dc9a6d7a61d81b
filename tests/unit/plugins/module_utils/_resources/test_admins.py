# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""couchdb_admin: its plans as tables, what a hash costs, and the requests that reach the wire."""

from __future__ import annotations

import base64
import hashlib
import typing as t

import pytest
from ansible_collections.couchpy.couchdb.plugins.module_utils._engine import module
from ansible_collections.couchpy.couchdb.plugins.module_utils._engine.plan import DONT
from ansible_collections.couchpy.couchdb.plugins.module_utils._resources import admins as resource
from ansible_collections.couchpy.couchdb.plugins.module_utils._resources.admins import Observed
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules import passwords
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules.dialect import Dialect, OneX
from ansible_collections.couchpy.couchdb.plugins.module_utils.client import Client
from ansible_collections.couchpy.couchdb.plugins.module_utils.errors import CouchDBError, InvalidInput, Unauthorized
from ansible_collections.couchpy.couchdb.tests.unit.wire import InTurn, Wire, client

RESOURCE = resource.RESOURCE
PARAMS: dict[str, t.Any] = {
    "name": "bob",
    "password": None,
    "password_hash": None,
    "state": "present",
    "update_password": "always",
    "admins": None,
    "nodes": ["all"],
}
THREE = Dialect("CouchDB", "3.4.3")
QUICK = {"prf": "sha256", "iterations": 1}
ROOT = "-pbkdf2-33dd85e33618b30a29bec5d9175eace4e4c92aaf,7aa3f5773278176f22d87a545877a35e,10"


def hashed(password: str, prf: str = "sha256") -> str:
    return str(passwords.derive(password, prf=prf, iterations=1))


def simple(password: str) -> str:
    return f"-hashed-{hashlib.sha1((password + 'abc').encode()).hexdigest()},abc"


PW, PW_AGAIN = hashed("pw"), hashed("pw")


def item(name: str, **options: t.Any) -> dict[str, t.Any]:
    """An item of admins as Ansible gives it: with None for what is not set."""
    return {**dict.fromkeys(resource._ADMIN), "name": name, **options}


def observed(*admins: dict[str, str], dialect: Dialect = THREE, own_node: str | None = None) -> Observed:
    """Nodes n1, n2, ... with these admins besides one called root."""
    nodes = {f"n{number}": {"root": ROOT, **held} for number, held in enumerate(admins, 1)}
    return Observed(nodes, QUICK, dialect, (own_node, "bob") if own_node else None)


@pytest.mark.parametrize(
    ("held", "given", "calls"),
    [
        ([{}], {"password": "pw"}, ["set_admin n1"]),
        ([{"bob": PW}], {"password": "pw"}, []),
        ([{"bob": simple("pw")}], {"password": "pw"}, []),
        ([{"bob": hashed("pw", "sha")}], {"password": "pw"}, []),
        ([{"bob": hashed("pw", "sha512")}], {"password": "pw"}, []),
        ([{"bob": PW}], {"password": "other"}, ["set_admin n1"]),
        ([{"bob": "plain text"}], {"password": "plain text"}, ["set_admin n1"]),
        ([{"bob": PW}], {"password": "other", "update_password": "on_create"}, []),
        ([{}], {"password": "pw", "update_password": "on_create"}, ["set_admin n1"]),
        ([{"bob": PW}], {"password_hash": PW}, []),
        ([{"bob": PW}], {"password_hash": PW_AGAIN}, ["set_admin n1"]),
        ([{"bob": PW}], {"state": "absent"}, ["deladmin n1"]),
        ([{}], {"state": "absent"}, []),
        # Every node holds the same in the end.
        ([{"bob": PW}, {}, {"bob": PW}], {"password": "pw"}, ["set_admin n2"]),
        ([{"bob": PW}, {"bob": PW_AGAIN}], {"password": "pw"}, ["set_admin n2"]),
        ([{"bob": hashed("old")}, {"bob": PW}], {"password": "pw"}, ["set_admin n1"]),
        ([{}, {"bob": PW}], {"password": "other", "update_password": "on_create"}, ["set_admin n1"]),
        ([{}, {"bob": PW}], {"state": "absent"}, ["deladmin n2"]),
    ],
)
def test_plan(held: list[dict[str, str]], given: dict[str, t.Any], calls: list[str]) -> None:
    desired = resource.desire({**PARAMS, **given})
    plan = resource.plan(desired, observed(*held))
    assert [f"{change.call.__name__} {change.arguments['node']}" for change in plan.changes] == calls
    texts = {admins.get("bob") for admins in plan.predicted.admins.values()}
    assert len(texts) == 1
    assert not resource.plan(desired, plan.predicted).changes
    if given.get("password_hash"):
        assert texts == {given["password_hash"]}
    elif given.get("password") and not given.get("update_password"):
        assert passwords.verify(given["password"], passwords.parse(texts.pop() or ""))


def test_no_password_is_in_what_is_sent_but_for_the_own_one() -> None:
    desired = resource.desire({**PARAMS, "password": "pw"})
    plan = resource.plan(desired, observed({}, {}, own_node="n1"))
    assert {change.arguments["node"]: change.arguments["password"] for change in plan.changes} == {
        "n1": "pw",
        "n2": None,
    }
    # The node that answers goes last, for it takes the old password until then.
    assert [[change.arguments["node"] for change in stage] for stage in plan.stages()] == [["n2"], ["n1"]]


def test_an_own_password_that_is_not_known_cuts_off() -> None:
    desired = resource.desire({**PARAMS, "password_hash": PW})
    assert resource.plan(desired, observed({}, own_node="n1")).afterwards == DONT
    assert resource.plan(desired, observed({"bob": PW}, own_node="n1")).afterwards != DONT
    assert resource.plan(desired, observed({})).afterwards != DONT


@pytest.mark.parametrize("dialect", [THREE, Dialect("CouchDB", "2.3.1"), OneX("CouchDB", "1.7.2")])
def test_the_last_admin_of_a_couchdb_3_stays(dialect: Dialect) -> None:
    desired = resource.desire({**PARAMS, "name": "root", "state": "absent"})
    if dialect is THREE:
        with pytest.raises(InvalidInput, match="would have no server admin left"):
            resource.plan(desired, observed({}, dialect=dialect))
    else:
        assert len(resource.plan(desired, observed({}, dialect=dialect)).changes) == 1


@pytest.mark.parametrize(
    ("dialect", "text", "known"),
    [
        (THREE, PW, True),
        (THREE, simple("pw"), True),
        (Dialect("CouchDB", "3.3.3"), PW, False),
        (Dialect("CouchDB", "3.3.3"), ROOT, True),
        (OneX("CouchDB", "1.7.2"), ROOT, True),
        (OneX("CouchDB", "1.7.2"), PW, False),
        (OneX("PouchDB Server", "4.2.0"), ROOT, True),
        (OneX("PouchDB Server", "4.2.0"), simple("pw"), False),
    ],
)
def test_a_hash_that_the_version_does_not_know_is_refused(dialect: Dialect, text: str, known: bool) -> None:
    desired = resource.desire({**PARAMS, "password_hash": text})
    if known:
        assert len(resource.plan(desired, observed({}, dialect=dialect)).changes) == 1
    else:
        with pytest.raises(InvalidInput, match="^password_hash: "):
            resource.plan(desired, observed({}, dialect=dialect))


@pytest.mark.parametrize(("version", "refused"), [("3.4.3", True), ("3.3.3", False)])
def test_a_new_password_with_the_old_salt_is_refused_where_the_old_one_would_go_on(version: str, refused: bool) -> None:
    old, new = (str(passwords.derive(text, prf="sha", iterations=1, salt="aa")) for text in ("old", "new"))
    desired = resource.desire({**PARAMS, "password_hash": new})
    held = observed({"bob": old}, dialect=Dialect("CouchDB", version))
    if refused:
        with pytest.raises(InvalidInput, match="^password_hash: has the salt"):
            resource.plan(desired, held)
    else:
        assert len(resource.plan(desired, held).changes) == 1
    assert not resource.plan(desired, observed({"bob": new})).changes


@pytest.mark.parametrize(
    ("version", "settings", "hashing"),
    [
        ("3.4.3", {}, {"prf": "sha256", "iterations": 600000}),
        (
            "3.4.3",
            {"chttpd_auth": {"iterations": "1000", "pbkdf2_prf": "sha512"}},
            {"prf": "sha512", "iterations": 1000},
        ),
        ("3.4.3", {"chttpd_auth": {"iterations": "many"}}, {"prf": "sha256", "iterations": 600000}),
        ("3.3.3", {}, {"prf": "sha", "iterations": 10}),
        ("3.3.3", {"chttpd_auth": {"iterations": "50"}}, {"prf": "sha", "iterations": 50}),
    ],
)
def test_a_password_is_hashed_as_the_server_does(version: str, settings: t.Any, hashing: dict[str, t.Any]) -> None:
    assert Dialect("CouchDB", version).hashing(settings) == hashing


@pytest.mark.parametrize(
    ("held", "given", "expected"),
    [
        ([{"bob": PW}] * 3, {"password": "pw"}, 1),
        ([{"bob": PW}] * 3, {"password": "other"}, 2),
        ([{}] * 3, {"password": "pw"}, 1),
        ([{"bob": PW}] * 3, {"password": "other", "update_password": "on_create"}, 0),
        ([{"bob": PW}], {"password_hash": PW}, 0),
        ([{"bob": PW}], {"state": "absent"}, 0),
    ],
)
def test_a_password_costs_few_derivations(
    derivations: list[str], held: list[dict[str, str]], given: dict[str, t.Any], expected: int
) -> None:
    resource.plan(resource.desire({**PARAMS, **given}), observed(*held))
    assert len(derivations) == expected


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"name": ""}, "name"),
        ({"name": "a:b"}, "name"),
        ({"name": "a\n"}, "name"),
        ({"name": "."}, "name"),
        ({"name": None, "admins": [item("a", password="pw"), item("..", password="pw")]}, "admins[1].name"),
        ({"password": ""}, "password"),
        ({"password_hash": "secret"}, "password_hash"),
        ({"password_hash": ""}, "password_hash"),
        ({}, "password"),
        ({"name": None, "admins": [item("a", password="pw"), item("a:b", password="pw")]}, "admins[1].name"),
        ({"name": None, "admins": [item("a", password="pw"), item("a", password="pw")]}, "admins[1].name"),
        ({"name": None, "admins": [item("a", password="")]}, "admins[0].password"),
        ({"name": None, "admins": [item("a")]}, "admins[0].password"),
    ],
)
def test_bad_input_names_the_option(given: dict[str, t.Any], named: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        resource.desire({**PARAMS, **given})
    assert caught.value.option == named


def test_an_admin_that_the_files_keep_is_an_error(wire: Wire) -> None:
    wire["GET /_node/_local/_config"] = {"admins": {"root": ROOT, "bob": PW}}
    wire["DELETE /_node/_local/_config/admins/bob"] = PW
    desired = RESOURCE.desire({**PARAMS, "state": "absent", "nodes": ["_local"]})
    with pytest.raises(CouchDBError, match="still an admin"):
        module.carry_out(RESOURCE, desired, client(), check_mode=False)


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def test_an_own_password_is_changed_and_used_from_then_on(wire: Wire) -> None:
    held = [
        {"admins": {"admin": hashed(password)}, "chttpd_auth": {"iterations": "1"}} for password in ("secret", "new")
    ]
    wire["GET /_membership"] = {"all_nodes": ["n1", "n2"], "cluster_nodes": ["n1", "n2"]}
    wire["GET /_node/_local"] = {"name": "n2"}
    for node in ("n1", "n2"):
        wire[f"GET /_node/{node}/_config"] = InTurn(held)
        wire[f"PUT /_node/{node}/_config/admins/admin"] = ""
    desired = RESOURCE.desire({**PARAMS, "name": "admin", "password": "new"})
    outcome = module.carry_out(RESOURCE, desired, client(), check_mode=False)
    assert wire.written == ["POST /_session", *(f"PUT /_node/{node}/_config/admins/admin" for node in ("n1", "n2"))]
    # Nobody has a session here, so that the password is sent.
    used = [headers.get("Authorization", basic("admin", "secret")) for headers in wire.headers]
    changed = wire.asked.index(wire.written[-1]) + 1
    assert set(used[:changed]) == {basic("admin", "secret")}
    assert set(used[changed:]) == {basic("admin", "new")}
    assert len(set(filter(None, (body for body in wire.bodies if isinstance(body, str))))) == 1
    assert outcome.returned["admin"]["nodes"] == ["n1", "n2"]


class Cluster:
    """Two nodes with the admin C(admin), who logs in at n1 with a password or a session, and how many logins failed."""

    def __init__(self, wire: Wire, password: str, changes_at: str = "") -> None:
        self.wire = wire
        self.failed_logins = 0
        self.passwords = {"n1": password, "n2": password}
        self.hashes = {node: hashed(password) for node in self.passwords}
        self.changes_at = changes_at
        for line, answer in {
            "GET /": {"couchdb": "Welcome", "version": "3.4.3"},
            "GET /_membership": {"all_nodes": ["n1", "n2"], "cluster_nodes": ["n1", "n2"]},
            "GET /_node/_local": {"name": "n1"},
        }.items():
            self._serve(line, lambda _body, answer=answer: (200, answer))
        self._serve("GET /_session", self._session, login=False)
        wire["POST /_session"] = self._login
        for node in self.hashes:
            self._serve(f"GET /_node/{node}/_config", lambda _body, node=node: (200, self._config(node)))
            self._serve(
                f"PUT /_node/{node}/_config/admins/admin", lambda body, node=node: (200, self._write(node, body))
            )

    def change(self) -> None:
        """What another task does: the same password, with another salt."""
        self.hashes = dict.fromkeys(self.hashes, hashed("new"))

    def _serve(self, line: str, answer: t.Callable[[t.Any], t.Any], login: bool = True) -> None:
        def serve(body: t.Any) -> t.Any:
            if line == self.changes_at:
                self.changes_at = ""
                self.change()
            if self._who(self.wire.headers[-1]) is None and "Authorization" in self.wire.headers[-1]:
                self.failed_logins += 1
                return 401, {"error": "unauthorized", "reason": "Name or password is incorrect."}
            if login and line != "GET /" and self._who(self.wire.headers[-1]) is None:
                return 401, {"error": "unauthorized", "reason": "You are not a server admin."}
            return answer(body)

        self.wire[line] = serve

    def _fits(self, password: str) -> bool:
        return passwords.verify(password, passwords.parse(self.hashes["n1"]))

    def _cookie(self) -> str:
        return (
            base64.urlsafe_b64encode(f"admin:1:{passwords.parse(self.hashes['n1']).salt}".encode()).decode().rstrip("=")
        )

    def _who(self, headers: dict[str, str]) -> str | None:
        if "Cookie" in headers:
            return "admin" if headers["Cookie"] == f"AuthSession={self._cookie()}" else None
        name, _colon, password = (
            base64.b64decode(headers.get("Authorization", "Basic Og==")[6:]).decode().partition(":")
        )
        return name if name == "admin" and self._fits(password) else None

    def _login(self, body: t.Any) -> t.Any:
        if not self._fits(body["password"]):
            self.failed_logins += 1
            return 401, {"error": "unauthorized", "reason": "Name or password is incorrect."}
        return 200, {"ok": True, "name": "admin"}, {"Set-Cookie": f"AuthSession={self._cookie()}; Path=/"}

    def _session(self, _body: t.Any) -> t.Any:
        return 200, {"ok": True, "userCtx": {"name": self._who(self.wire.headers[-1]), "roles": []}}

    def _config(self, node: str) -> t.Any:
        return {"admins": {"admin": self.hashes[node]}, "chttpd_auth": {"iterations": "1"}}

    def _write(self, node: str, hash_: str) -> str:
        self.hashes[node] = hash_
        return ""


OWN_PUT = "PUT /_node/n1/_config/admins/admin"


@pytest.mark.parametrize(
    "changes_at",
    ["", "GET /", "GET /_membership", "GET /_node/n2/_config", "PUT /_node/n2/_config/admins/admin", OWN_PUT],
)
def test_a_password_that_another_task_changes_to_the_same_costs_no_failed_login(wire: Wire, changes_at: str) -> None:
    cluster = Cluster(wire, "secret", changes_at)
    desired = RESOURCE.desire({**PARAMS, "name": "admin", "password": "new"})
    module.carry_out(RESOURCE, desired, client(), check_mode=False)
    assert cluster.failed_logins == 0
    assert len(set(cluster.hashes.values())) == 1
    assert passwords.verify("new", passwords.parse(cluster.hashes["n1"]))


@pytest.mark.parametrize("login", ["password", "header", "cookie", "cookie header"])
def test_an_own_password_that_holds_already_costs_one_failed_login_at_most(wire: Wire, login: str) -> None:
    cluster = Cluster(wire, "secret")
    cookie = f"AuthSession={cluster._cookie()}"
    cluster.change()
    couch = {
        "password": client,
        "header": lambda: client(username=None, password=None, headers={"authorization": basic("admin", "secret")}),
        "cookie": lambda: client(username=None, password=None, cookie=cookie),
        "cookie header": lambda: client(username=None, password=None, headers={"Cookie": cookie}),
    }[login]()
    desired = RESOURCE.desire({**PARAMS, "name": "admin", "password": "new"})
    assert not module.carry_out(RESOURCE, desired, couch, check_mode=False).changes
    assert cluster.failed_logins == (0 if "cookie" in login else 1)


@pytest.mark.parametrize("login", ["header", "cookie", "cookie header"])
def test_the_own_password_is_changed_however_the_task_logs_in(wire: Wire, login: str) -> None:
    cluster = Cluster(wire, "secret")
    cookie = f"AuthSession={cluster._cookie()}"
    headers = {"header": {"Authorization": basic("admin", "secret")}, "cookie header": {"Cookie": cookie}}.get(
        login, {}
    )
    couch = client(username=None, password=None, headers=headers, cookie=cookie if login == "cookie" else None)
    desired = RESOURCE.desire({**PARAMS, "name": "admin", "password": "new"})
    assert len(module.carry_out(RESOURCE, desired, couch, check_mode=False).changes) == 2
    assert cluster.failed_logins == 0
    assert wire.written[-2:] == ["PUT /_node/n2/_config/admins/admin", OWN_PUT]


@pytest.mark.parametrize(
    ("nodes", "written"),
    [
        (["n2"], ["n2"]),
        (["_local"], ["_local"]),
        (["_local", "n1"], ["n1"]),
        (["n1", "_local", "n2"], ["n2", "n1"]),
        (["n1", "n2"], ["n2", "n1"]),
    ],
)
def test_the_node_that_answers_is_recognised_under_each_of_its_names(
    wire: Wire, nodes: list[str], written: list[str]
) -> None:
    cluster = Cluster(wire, "secret")
    for line in ("GET /_node/{}/_config", "PUT /_node/{}/_config/admins/admin"):
        wire[line.format("_local")] = wire.answers[line.format("n1")]
    desired = RESOURCE.desire({**PARAMS, "name": "admin", "password": "new", "nodes": nodes})
    outcome = module.carry_out(RESOURCE, desired, client(), check_mode=False)
    assert [line.split("/")[2] for line in wire.written if line.startswith("PUT")] == written
    assert sorted(outcome.returned["nodes"]) == sorted(written)
    assert cluster.failed_logins == 0


def test_a_wrong_password_is_an_error_after_one_login_with_each(wire: Wire) -> None:
    cluster = Cluster(wire, "quite another")
    desired = RESOURCE.desire({**PARAMS, "name": "admin", "password": "new"})
    with pytest.raises(Unauthorized):
        module.carry_out(RESOURCE, desired, client(), check_mode=False)
    assert cluster.failed_logins == 2


def test_an_account_that_is_no_admin_is_refused_without_another_login(wire: Wire) -> None:
    cluster = Cluster(wire, "secret")
    wire["GET /_membership"] = 401, {"error": "unauthorized", "reason": "You are not a server admin."}
    desired = RESOURCE.desire({**PARAMS, "name": "admin", "password": "new"})
    with pytest.raises(Unauthorized, match="You are not a server admin"):
        module.carry_out(RESOURCE, desired, client(), check_mode=False)
    assert cluster.failed_logins == 0


@pytest.mark.parametrize("given", [{"password": "pw"}, {"password_hash": PW}, {"name": "old", "state": "absent"}])
def test_check_mode_only_reads(wire: Wire, given: dict[str, t.Any]) -> None:
    wire["GET /_membership"] = {"all_nodes": ["n1", "n2"], "cluster_nodes": ["n1", "n2"]}
    for node in ("n1", "n2"):
        wire[f"GET /_node/{node}/_config"] = {"admins": {"root": ROOT, "old": PW}, "chttpd_auth": {"iterations": "1"}}
    outcome = module.carry_out(RESOURCE, RESOURCE.desire({**PARAMS, **given}), client(), check_mode=True)
    assert len(outcome.changes) == 2
    assert wire.written == []
    assert set(outcome.returned["admin"]) == {"name", "scheme", "iterations", "nodes"}


def test_on_an_admin_party_the_first_admin_is_used_from_then_on(wire: Wire) -> None:
    wire["GET /"] = {"couchdb": "Welcome", "version": "1.7.2"}
    wire["GET /_config"] = InTurn([{"log": {}}, {"admins": {"bob": PW}}])
    wire["PUT /_config/admins/bob"] = ""
    desired = RESOURCE.desire({**PARAMS, "password": "pw"})
    module.carry_out(RESOURCE, desired, client(username=None, password=None), check_mode=False)
    assert "Authorization" not in wire.headers[0]
    assert wire.headers[-1]["Authorization"] == basic("bob", "pw")


MEMBERS = {"all_nodes": ["n1", "n3"], "cluster_nodes": ["n1", "n2", "n3"]}


@pytest.mark.parametrize(
    ("given", "missed", "told"),
    [
        ({"password": "pw"}, "the hash of bob", {"scheme": "pbkdf2", "iterations": 1}),
        ({"state": "absent"}, "the removal of bob", None),
    ],
)
@pytest.mark.parametrize("check_mode", [True, False])
def test_a_member_that_is_down_is_reported_once_the_others_are_done(
    wire: Wire, given: dict[str, t.Any], missed: str, told: t.Any, check_mode: bool
) -> None:
    settings = {"chttpd_auth": {"iterations": "1"}}
    held: dict[str, dict[str, str]] = {"n1": {"root": ROOT}, "n3": {"root": ROOT, "bob": hashed("old", "sha512")}}

    def write(node: str) -> t.Callable[[t.Any], t.Any]:
        def answer(body: t.Any) -> t.Any:
            old = held[node].pop("bob", "")
            if body is not None:
                held[node]["bob"] = body
            return 200, old

        return answer

    wire["GET /_membership"] = MEMBERS
    wire["GET /_node/n2/_config"] = 412, {"error": "nodedown", "reason": "n2 is down"}
    for node in held:
        wire[f"GET /_node/{node}/_config"] = lambda _body, node=node: (200, {**settings, "admins": held[node]})
        wire[f"PUT /_node/{node}/_config/admins/bob"] = wire[f"DELETE /_node/{node}/_config/admins/bob"] = write(node)
    desired = RESOURCE.desire({**PARAMS, **given})
    outcome = module.carry_out(RESOURCE, desired, client(), check_mode=check_mode)
    assert str(outcome.shortfall).startswith(f"n2: down, and missed {missed}.")
    assert outcome.returned["nodes"] == {
        "n1": {"bob": {"before": None, "after": told}},
        "n3": {"bob": {"before": {"scheme": "pbkdf2", "iterations": 1}, "after": told}},
    }
    assert outcome.returned["nodes_down"] == ["n2"]
    assert bool(wire.written) is not check_mode
    assert not any("/n2/" in line for line in wire.written)


def test_the_same_desire_planned_again_gives_the_same_hash() -> None:
    desired = resource.desire({**PARAMS, "password": "new"})
    plan = resource.plan(desired, observed({"bob": PW}))
    assert plan.changes
    assert resource.plan(desired, observed({"bob": PW})) == plan
    assert resource.plan(resource.desire({**PARAMS, "password": "new"}), observed({"bob": PW})) != plan


def test_several_admins_have_their_own_options_or_the_task_s(derivations: list[str]) -> None:
    admins = [
        item("bob", password="pw"),
        item("new", password="new", update_password="on_create"),
        item("kept", password="other"),
        item("gone", state="absent"),
    ]
    desired = resource.desire({**PARAMS, "name": None, "update_password": "on_create", "admins": admins})
    plan = resource.plan(desired, observed({"bob": PW, "kept": PW}, {"bob": PW, "kept": PW, "gone": PW}))
    calls = [(change.call, change.arguments["node"], change.arguments["name"]) for change in plan.changes]
    assert calls == [(Client.set_admin, "n1", "new"), (Client.set_admin, "n2", "new"), (Client.deladmin, "n2", "gone")]
    assert len(derivations) == 1
    returned = resource.report(desired, plan.predicted, [])
    assert [(admin["name"], admin["nodes"]) for admin in returned["admins"]] == [
        ("bob", ["n1", "n2"]),
        ("new", ["n1", "n2"]),
        ("kept", ["n1", "n2"]),
        ("gone", []),
    ]
    assert "admin" not in returned


def test_all_admins_can_not_be_removed_together() -> None:
    admins = [item("root", state="absent"), item("bob", state="absent")]
    desired = resource.desire({**PARAMS, "name": None, "admins": admins})
    with pytest.raises(InvalidInput, match="would have no server admin left"):
        resource.plan(desired, observed({"bob": PW}))


def test_one_can_go_when_another_comes() -> None:
    admins = [item("root", state="absent"), item("bob", password="pw")]
    desired = resource.desire({**PARAMS, "name": None, "admins": admins})
    assert len(resource.plan(desired, observed({})).changes) == 2


def test_at_an_admin_party_the_first_of_several_goes_first_and_the_rest_as_that(wire: Wire) -> None:
    wire["GET /"] = {"couchdb": "Welcome", "version": "1.7.2"}
    both = {"admins": {"bob": PW, "ann": PW_AGAIN}}
    wire["GET /_config"] = InTurn([{"log": {}}, both])
    wire["PUT /_config/admins/bob"] = ""
    wire["PUT /_config/admins/ann"] = ""
    admins = [item("bob", password="pw"), item("ann", password="pw")]
    desired = RESOURCE.desire({**PARAMS, "name": None, "admins": admins})
    module.carry_out(RESOURCE, desired, client(username=None, password=None), check_mode=False)
    assert wire.written == ["PUT /_config/admins/bob", "PUT /_config/admins/ann"]
    assert wire.headers[wire.asked.index("PUT /_config/admins/ann")]["Authorization"] == basic("bob", "pw")


def test_at_an_admin_party_one_with_a_password_goes_first_whatever_is_absent(wire: Wire) -> None:
    wire["GET /"] = {"couchdb": "Welcome", "version": "1.7.2"}
    wire["GET /_config"] = InTurn([{"log": {}}, {"admins": {"bob": PW, "ann": ROOT}}])
    wire["PUT /_config/admins/bob"] = wire["PUT /_config/admins/ann"] = ""
    admins = [item("gone", state="absent"), item("ann", password_hash=ROOT), item("bob", password="pw")]
    desired = RESOURCE.desire({**PARAMS, "name": None, "admins": admins})
    module.carry_out(RESOURCE, desired, client(username=None, password=None), check_mode=False)
    assert wire.written == ["PUT /_config/admins/bob", "PUT /_config/admins/ann"]
    assert wire.headers[wire.asked.index("PUT /_config/admins/ann")]["Authorization"] == basic("bob", "pw")


def test_an_admin_party_does_not_end_half_way() -> None:
    admins = [item("ann", password_hash=ROOT), item("bob", password_hash=ROOT)]
    desired = RESOURCE.desire({**PARAMS, "name": None, "admins": admins})
    party = Observed({"_local": {}}, QUICK, OneX("CouchDB", "1.7.2"), ("_local", "ann"), party=True)
    with pytest.raises(InvalidInput, match="^admins: "):
        resource.plan(desired, party)


def test_who_logs_in_with_a_token_is_at_no_party(wire: Wire) -> None:
    for headers in ({"Authorization": "Bearer any"}, {"X-Auth-CouchDB-UserName": "ann"}):
        assert not client(username=None, password=None, headers=headers).is_anonymous
    assert client(username=None, password=None, headers={"X-Trace": "1"}).is_anonymous
