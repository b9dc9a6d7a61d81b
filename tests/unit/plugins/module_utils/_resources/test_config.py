# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""couchdb_config: its plans as tables, and the requests that reach the wire."""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import socket
import threading
import typing as t

import pytest
from ansible_collections.couchpy.couchdb.plugins.module_utils._client.server import Server
from ansible_collections.couchpy.couchdb.plugins.module_utils._engine import module
from ansible_collections.couchpy.couchdb.plugins.module_utils._engine.plan import ASK, TRY
from ansible_collections.couchpy.couchdb.plugins.module_utils._resources import config as resource
from ansible_collections.couchpy.couchdb.plugins.module_utils._resources.config import Observed
from ansible_collections.couchpy.couchdb.plugins.module_utils.errors import InvalidInput, Unreachable
from ansible_collections.couchpy.couchdb.tests.unit.wire import InTurn, Wire, client

NODE = "n1@h"
RESOURCE = resource.RESOURCE
PARAMS: dict[str, t.Any] = {
    "settings": None,
    "section": None,
    "key": None,
    "value": None,
    "state": "present",
    "nodes": ["all"],
    "persist": True,
}


@pytest.mark.parametrize(
    ("held", "settings", "state", "changes"),
    [
        ({}, {"log": {"level": "info"}}, "present", ["create log/level: None → info"]),
        ({"log": {"level": "info"}}, {"log": {"level": "info"}}, "present", []),
        ({"log": {"level": "info"}}, {"log": {"level": "debug"}}, "present", ["update log/level: info → debug"]),
        ({"log": {"level": "info"}}, {"log": {"level": None}}, "present", ["delete log/level: info → None"]),
        ({"log": {"level": "info"}}, {"log": {"level": "any"}}, "absent", ["delete log/level: info → None"]),
        ({}, {"log": {"level": None}}, "present", []),
        ({}, {"log": {"level": "x"}}, "absent", []),
        ({"a": {"b": "true", "c": "5", "d": "1.5"}}, {"a": {"b": True, "c": 5, "d": 1.5}}, "present", []),
        ({"a": {"b": "x y"}}, {"a": {"b": "  x y "}}, "present", []),
        ({"a": {"b": "x"}}, {"a": {"b": ""}}, "present", ["update a/b: x → "]),
        ({}, {"a": {"b": ""}}, "present", []),
        ({"a": {"b": True}}, {"a": {"b": True}}, "present", []),
        ({"a": {"b": "1"}, "z": {"y": "kept"}}, {"a": {"b": 2}}, "present", ["update a/b: 1 → 2"]),
        ({}, {}, "present", []),
        ({}, {"a": {}}, "present", []),
    ],
)
def test_plan(held: t.Any, settings: t.Any, state: str, changes: list[str]) -> None:
    desired = resource.desire({**PARAMS, "settings": settings, "state": state})
    plan = resource.plan(desired, Observed({NODE: held}))
    assert [
        f"{change.action} {'/'.join(change.path[1:])}: {change.before} → {change.after}" for change in plan.changes
    ] == changes
    assert not resource.plan(desired, plan.predicted).changes


def test_each_node_has_its_own_changes() -> None:
    desired = resource.desire({**PARAMS, "settings": {"log": {"level": "info"}}})
    plan = resource.plan(desired, Observed({"n1@h": {"log": {"level": "info"}}, "n2@h": {}}))
    assert [change.path for change in plan.changes] == [("n2@h", "log", "level")]


def test_what_moves_the_listener_goes_last() -> None:
    settings = {"chttpd": {"port": 5985, "bind_address": "any", "require_valid_user": True}}
    plan = resource.plan(resource.desire({**PARAMS, "settings": settings}), Observed({NODE: {}}))
    assert [[change.path[2] for change in stage] for stage in plan.stages()] == [
        ["require_valid_user"],
        ["bind_address"],
        ["port"],
    ]
    assert plan.afterwards == TRY


MOVES: list[tuple[dict[str, t.Any], str, t.Any]] = [
    ({"chttpd": {"port": 5985, "bind_address": "any"}}, TRY, ("any", "5985")),
    ({"chttpd": {"port": 5985}}, TRY, (None, "5985")),
    ({"chttpd": {"port": None}}, TRY, None),
    ({"prometheus": {"port": 17987}}, ASK, None),
    ({"ssl": {"port": 6985}}, TRY, None),
    ({"chttpd": {"server_options": "[]"}}, ASK, None),
    ({"log": {"level": "debug"}}, ASK, None),
]


def test_a_node_that_goes_down_with_its_settings_is_a_failure(wire: Wire) -> None:
    wire["GET /_membership"] = {"all_nodes": ["a@h", "b@h"], "cluster_nodes": ["a@h", "b@h"]}
    held = {"log": {"level": "info"}}
    for node in ("a@h", "b@h"):
        wire[f"PUT /_node/{node}/_config/log/level"] = 200, "info"
    wire["GET /_node/a@h/_config"] = InTurn([held, {"log": {"level": "debug"}}])
    wire["GET /_node/b@h/_config"] = InTurn([held, (404, {"error": "not_found", "reason": "no such node: b@h"})])
    desired = resource.desire({**PARAMS, "settings": {"log": {"level": "debug"}}, "nodes": ["all"]})
    with pytest.raises(
        module.Interrupted, match="b@h: down since the changes. .* log/level .was info, now debug"
    ) as stop:
        module.carry_out(RESOURCE, desired, client(), check_mode=False)
    assert len(stop.value.progress.done) == 2


@pytest.mark.parametrize(("settings", "afterwards", "moved_to"), MOVES)
def test_a_server_that_moves_need_not_answer_at_its_old_place(
    settings: dict[str, t.Any], afterwards: str, moved_to: t.Any
) -> None:
    held = {NODE: {"chttpd": {"port": "5984"}}}
    plan = resource.plan(resource.desire({**PARAMS, "settings": settings}), Observed(held))
    assert (plan.afterwards, plan.moved_to) == (afterwards, moved_to)


@pytest.mark.parametrize(
    ("settings", "heard", "fails"),
    [
        ({"chttpd": {"port": 5985}}, True, False),
        ({"chttpd": {"port": 5985}}, None, False),
        ({"chttpd": {"port": 5985}}, False, True),
        ({"chttpd": {"server_options": "[]"}}, True, True),
        ({"log": {"level": "debug"}}, True, True),
        ({"prometheus": {"bind_address": "10.9.9.9"}}, None, True),
    ],
)
def test_a_server_that_stops_with_a_setting_is_a_failure(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, settings: dict[str, t.Any], heard: bool | None, fails: bool
) -> None:
    desired = resource.desire({**PARAMS, "settings": settings, "nodes": [NODE]})
    asked: list[t.Any] = []

    def config_of_nodes(nodes: t.Any) -> t.Any:
        asked.append(nodes)
        if len(asked) > 1:
            raise Unreachable("nothing answers at http://localhost:5984/: connection refused")
        return {NODE: {"log": {"level": "info"}, "chttpd": {"port": "5984"}}}

    server = client()
    monkeypatch.setattr(server, "config_of_nodes", config_of_nodes)
    ((section, keys),) = settings.items()
    ((key, value),) = keys.items()
    wire[f"PUT /_node/{NODE}/_config/{section}/{key}"] = 200, ""
    monkeypatch.setattr(server, "listens", lambda host, port: heard)
    if not fails:
        outcome = module.carry_out(RESOURCE, desired, server, check_mode=False)
        assert outcome.changes
        # Where it listens can't be seen from here: it may have stopped.
        assert [("connection refused" in warning, "If it stopped" in warning) for warning in outcome.warnings] == (
            [] if heard else [(True, True)]
        )
        return
    with pytest.raises(module.Interrupted) as stop:
        module.carry_out(RESOURCE, desired, server, check_mode=False)
    result = module.failure(stop.value.error, stop.value.progress)
    assert f"{section}/{key} (was" in result["msg"]
    assert f"now {value})" in result["msg"]
    assert "restore them in the last of its ini files" in result["msg"]
    assert result["changed"]


@contextlib.contextmanager
def answering(status: int, body: t.Any) -> t.Iterator[str]:
    """A server that answers each request with this; its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = body if isinstance(body, str) else json.dumps(body)
            self.send_response(status)
            self.send_header("Content-Type", "text/html" if isinstance(body, str) else "application/json")
            self.end_headers()
            self.wfile.write(content.encode())

        def log_message(self, *_arguments: t.Any) -> None:
            """Log nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield str(serving.server_port)
        serving.shutdown()


def test_what_listens_elsewhere_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    local = Server("http://127.0.0.1:5984")
    with answering(200, {"couchdb": "Welcome", "version": "3.4.3"}) as port:
        assert local.listens(None, port) is True
        assert local.listens("0.0.0.0", port) is True
        assert local.listens("127.0.0.1", port) is True
    assert local.listens(None, port) is False
    assert Server("http://couch.example:5984").listens("127.0.0.1", port) is None
    with answering(401, {"error": "unauthorized", "reason": "Authentication required."}) as port:
        assert local.listens(None, port) is True


def test_another_program_that_listens_there_is_not_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with answering(200, "<html>") as port:
        assert Server("http://127.0.0.1:5984").listens(None, port) is False
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        assert Server("http://127.0.0.1:5984").listens(None, port) is False


def test_more_changes_of_the_listener_than_a_node_survives_are_refused() -> None:
    settings = {"chttpd": {"port": 5985, "bind_address": "any", "backlog": 512, "server_options": "[]"}}
    with pytest.raises(InvalidInput, match="listener"):
        resource.plan(resource.desire({**PARAMS, "settings": settings}), Observed({NODE: {}}))


@pytest.mark.parametrize(
    ("held", "settings", "refused"),
    [
        ({}, {"chttpd_auth": {"max_iterations": 9}}, True),
        ({}, {"chttpd_auth": {"max_iterations": 10}}, False),
        ({}, {"chttpd_auth": {"min_iterations": 11}}, True),
        ({}, {"chttpd_auth": {"min_iterations": 10, "max_iterations": 10}}, False),
        ({}, {"couch_httpd_auth": {"max_iterations": 9}}, True),
        ({"chttpd_auth": {"max_iterations": "100"}}, {"couch_httpd_auth": {"max_iterations": 9}}, False),
        ({"chttpd_auth": {"max_iterations": "9"}}, {"chttpd_auth": {"max_iterations": None}}, False),
        ({"couch_httpd_auth": {"max_iterations": "9"}, "chttpd_auth": {"max_iterations": "20"}},
         {"chttpd_auth": {"max_iterations": None}}, True),
        # CouchDB takes the default for what is no number.
        ({"chttpd_auth": {"max_iterations": "many"}}, {"chttpd_auth": {"min_iterations": 10}}, False),
        # What differs already is not this task's.
        ({"chttpd_auth": {"max_iterations": "9"}}, {"log": {"level": "info"}}, False),
    ],
)  # fmt: skip
def test_iterations_that_would_lock_an_admin_out_are_refused(held: t.Any, settings: t.Any, refused: bool) -> None:
    admins = {"deploy": f"-pbkdf2:sha256-{'0a' * 32},5a1700,10", "old": "-hashed-" + "0a" * 20 + ",5a1700"}
    desired = resource.desire({**PARAMS, "settings": settings})
    if refused:
        with pytest.raises(
            InvalidInput, match=r"^settings: on n1@h, the admin deploy could not log in .* has 10 iterations"
        ):
            resource.plan(desired, Observed({NODE: {**held, "admins": admins}}))
    else:
        resource.plan(desired, Observed({NODE: {**held, "admins": admins}}))


@pytest.mark.parametrize("section", ["chttpd", "httpd"])
def test_hosts_are_named_before_they_are_required(section: str) -> None:
    both = {section: {"validate_host": True, "valid_hosts": "db.example.com"}}
    plan = resource.plan(resource.desire({**PARAMS, "settings": both}), Observed({NODE: {}}))
    assert [[change.path[2] for change in changes] for changes in plan.stages()] == [["valid_hosts"], ["validate_host"]]
    alone = resource.desire({**PARAMS, "settings": {section: {"validate_host": True}}})
    assert resource.plan(alone, Observed({NODE: {section: {"valid_hosts": "db.example.com"}}})).changes
    with pytest.raises(InvalidInput, match="no request would be accepted any more: validate_host is true"):
        resource.plan(alone, Observed({NODE: {}}))
    absent = resource.desire({**PARAMS, "settings": {section: {"valid_hosts": None}}})
    with pytest.raises(InvalidInput, match="no request would be accepted any more"):
        resource.plan(absent, Observed({NODE: {section: {"validate_host": "true", "valid_hosts": "a"}}}))


def test_certificates_are_verified_with_authorities_only() -> None:
    verified = {"ssl": {"verify_ssl_certificates": True}}
    with pytest.raises(InvalidInput, match="^settings: on n1@h, CouchDB would not start with TLS: .*cacert_file"):
        resource.plan(resource.desire({**PARAMS, "settings": verified}), Observed({NODE: {}}))
    both = {"ssl": {"verify_ssl_certificates": True, "cacert_file": "/etc/ssl/ca.pem"}}
    assert resource.plan(resource.desire({**PARAMS, "settings": both}), Observed({NODE: {}})).changes


@pytest.mark.parametrize(
    ("settings", "held", "problem"),
    [
        ({"ssl": {"enable": True}}, {}, "needs ssl/cert_file and ssl/key_file"),
        ({"ssl": {"enable": True, "cert_file": "/a"}}, {}, "needs ssl/cert_file and ssl/key_file"),
        ({"ssl": {"enable": True, "cert_file": "/a", "key_file": "/b"}}, {}, None),
        ({"ssl": {"enable": True}}, {"ssl": {"cert_file": "/a", "key_file": "/b"}}, None),
        ({"ssl": {"key_file": None}}, {"ssl": {"enable": "true", "cert_file": "/a", "key_file": "/b"}}, "key_file"),
        ({"cluster": {"seedlist": "a@b"}}, {"couchdb": {"single_node": "true"}}, "single_node is true"),
        ({"couchdb": {"single_node": True}}, {"cluster": {"seedlist": "a@b"}}, "single_node is true"),
        ({"cluster": {"seedlist": "a@b"}}, {"couchdb": {"single_node": "false"}}, None),
    ],
)
def test_what_would_keep_couchdb_from_starting_is_refused(settings: t.Any, held: t.Any, problem: str | None) -> None:
    desired = resource.desire({**PARAMS, "settings": settings})
    if problem is None:
        assert resource.plan(desired, Observed({NODE: held})).changes
        return
    with pytest.raises(InvalidInput, match=f"^settings: on n1@h, CouchDB would not start.*{problem}"):
        resource.plan(desired, Observed({NODE: held}))


def test_a_file_that_couchdb_must_write_is_warned_of_when_it_changes() -> None:
    desired = resource.desire({**PARAMS, "settings": {"couchdb": {"uri_file": "/run/couch.uri"}}})
    (warning,) = resource.plan(desired, Observed({NODE: {}, "n2@h": {}})).warnings
    assert "can't write the file that couchdb/uri_file names" in warning
    assert not resource.plan(desired, Observed({NODE: {"couchdb": {"uri_file": "/run/couch.uri"}}})).warnings


def test_a_restart_is_required_only_for_what_changed() -> None:
    desired = resource.desire({**PARAMS, "settings": {"couchdb": {"uuid": "x"}, "log": {"level": "info"}}})
    plan = resource.plan(desired, Observed({NODE: {}}))
    assert resource.report(desired, plan.predicted, list(plan.changes))["restart_required"]
    assert not resource.report(desired, plan.predicted, [])["restart_required"]


def test_the_report_holds_the_named_settings_and_no_secret() -> None:
    settings = {"chttpd_auth": {"secret": "c4n4ry"}, "log": {"level": None}}
    desired = resource.desire({**PARAMS, "settings": settings})
    held = {NODE: {"chttpd_auth": {"secret": "c4n4ry", "timeout": "600"}}}
    assert resource.report(desired, Observed(held), []) == {
        "settings": {NODE: {"chttpd_auth": {"secret": "********"}, "log": {"level": None}}},
        "settings_before": {NODE: {"chttpd_auth": {"secret": "********"}, "log": {"level": None}}},
        "nodes_down": [],
        "restart_required": False,
    }
    assert "c4n4ry" in resource.secrets({**PARAMS, "settings": settings})


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"settings": {"log": "level"}}, "settings.log"),
        ({"settings": {"log": {"level": ["a"]}}}, "settings.log.level"),
        ({"settings": {"log": {"level": "a\nb"}}}, "settings.log.level"),
        ({"settings": {"log": {"level": "☃"}}}, "settings.log.level"),
        ({"settings": {"admins": {"a": "b"}}}, "settings.admins"),
        ({"settings": {"query_servers": {"a": "b"}}}, "settings.query_servers"),
        ({"settings": {"chttpd": {"port": "x"}}}, "settings.chttpd.port"),
        ({"section": "admins", "key": "a", "value": "b"}, "section"),
        ({"section": "log", "key": "", "value": "b"}, "key"),
        ({"section": "log", "key": "level", "value": ["b"]}, "value"),
        ({"section": "chttpd", "key": "port", "value": 0}, "value"),
        ({"section": "admins", "key": "a", "state": "absent"}, "section"),
    ],
)
def test_bad_input_names_the_option(given: t.Any, named: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        resource.desire({**PARAMS, **given})
    assert caught.value.option == named


def many() -> dict[str, dict[str, str]]:
    return {f"section{number}": {f"key{key}": f"value {key}" for key in range(10)} for number in range(10)}


def test_a_hundred_settings_unchanged_take_three_requests(wire: Wire) -> None:
    wire["GET /_membership"] = {"all_nodes": [NODE], "cluster_nodes": [NODE]}
    wire[f"GET /_node/{NODE}/_config"] = many()
    outcome = module.carry_out(RESOURCE, RESOURCE.desire({**PARAMS, "settings": many()}), client(), check_mode=False)
    assert not outcome.changes
    assert wire.asked == ["GET /", "GET /_membership", f"GET /_node/{NODE}/_config"]


@pytest.mark.parametrize("check_mode", [True, False])
def test_what_reaches_the_wire(wire: Wire, check_mode: bool) -> None:
    wire["GET /_node/_local/_config"] = InTurn([{"a": {"gone": "x"}}, {"a": {"b/c d": "1 = 2; 3"}}])
    wire["PUT /_node/_local/_config/a/b%2Fc%20d"] = ""
    wire["DELETE /_node/_local/_config/a/gone"] = "x"
    settings = {"a": {"b/c d": "1 = 2; 3", "gone": None}}
    desired = RESOURCE.desire({**PARAMS, "settings": settings, "nodes": ["_local"]})
    outcome = module.carry_out(RESOURCE, desired, client(), check_mode=check_mode)
    assert len(outcome.changes) == 2
    assert outcome.returned["settings"] == {"_local": {"a": {"b/c d": "1 = 2; 3", "gone": None}}}
    written = ["DELETE /_node/_local/_config/a/gone", "PUT /_node/_local/_config/a/b%2Fc%20d"]
    assert sorted(wire.written) == ([] if check_mode else written)
    if not check_mode:
        assert "1 = 2; 3" in wire.bodies


def test_a_default_that_stays_is_accepted_and_no_change(wire: Wire) -> None:
    wire["GET /_node/_local/_config"] = {"log": {"level": "info"}}
    wire["DELETE /_node/_local/_config/log/level"] = "info"
    desired = RESOURCE.desire({**PARAMS, "settings": {"log": {"level": None}}, "nodes": ["_local"]})
    outcome = module.carry_out(RESOURCE, desired, client(), check_mode=False)
    assert not outcome.changes
    assert outcome.returned["settings"] == {"_local": {"log": {"level": "info"}}}


def test_a_default_that_can_not_be_deleted_is_accepted_and_no_change(wire: Wire) -> None:
    wire["GET /"] = {"express-pouchdb": "Welcome!", "version": "4.2.0"}
    wire["GET /_config"] = {"log": {"level": "info"}}
    wire["DELETE /_config/log/level"] = 404, {"error": "not_found", "reason": "unknown_config_value"}
    desired = RESOURCE.desire({**PARAMS, "settings": {"log": {"level": None}}})
    outcome = module.carry_out(RESOURCE, desired, client(), check_mode=False)
    assert not outcome.changes
    assert outcome.returned["settings"] == {"_local": {"log": {"level": "info"}}}
    assert wire.written == ["DELETE /_config/log/level"]


def test_on_couchdb_1_there_is_one_node(wire: Wire) -> None:
    wire["GET /"] = {"couchdb": "Welcome", "version": "1.7.2"}
    wire["GET /_config"] = InTurn([{"log": {}}, {"log": {"level": "info"}}])
    wire["PUT /_config/log/level"] = ""
    desired = RESOURCE.desire({**PARAMS, "settings": {"log": {"level": "info"}}})
    outcome = module.carry_out(RESOURCE, desired, client(), check_mode=False)
    assert wire.asked == ["GET /", "GET /_config", "PUT /_config/log/level", "GET /_config"]
    assert outcome.returned["settings"] == {"_local": {"log": {"level": "info"}}}


DOWN = (412, {"error": "nodedown", "reason": "n2@h is down"})
MEMBERS = {"all_nodes": ["n1@h", "n3@h"], "cluster_nodes": ["n1@h", "n2@h", "n3@h"]}


@pytest.mark.parametrize(
    "answer",
    [
        (404, {"error": "not_found", "reason": "no such node: x@y"}),
        # One that has left.
        (412, {"error": "nodedown", "reason": "x@y is down"}),
    ],
)
def test_an_unknown_node_is_refused_before_anything_is_written(wire: Wire, answer: t.Any) -> None:
    wire["GET /_membership"] = MEMBERS
    wire["GET /_node/_local"] = {"name": "n1@h"}
    wire["GET /_node/n1@h/_config"] = {"log": {}}
    wire["GET /_node/x@y/_config"] = answer
    desired = RESOURCE.desire({**PARAMS, "settings": {"log": {"level": "info"}}, "nodes": ["_local", "x@y"]})
    with pytest.raises(InvalidInput, match="^nodes: no such node: x@y. Use one of n1@h, n2@h, n3@h"):
        module.carry_out(RESOURCE, desired, client(), check_mode=False)
    assert wire.written == []


def serve(wire: Wire, held: dict[str, dict[str, dict[str, str]] | None]) -> None:
    """Serve the settings of nodes, and let them be written; those of None are down."""

    def read(node: str) -> t.Callable[[t.Any], t.Any]:
        return lambda _body: DOWN if held[node] is None else (200, held[node])

    def write(node: str) -> t.Callable[[t.Any], t.Any]:
        def answer(body: t.Any) -> t.Any:
            settings = held[node]
            if settings is None:
                return DOWN
            old = settings.setdefault("log", {}).pop("level", None)
            if body is not None:
                settings["log"]["level"] = body
            return 200, old or ""

        return answer

    wire["GET /_membership"] = MEMBERS
    for node in held:
        wire[f"GET /_node/{node}/_config"] = read(node)
        wire[f"PUT /_node/{node}/_config/log/level"] = write(node)
        wire[f"DELETE /_node/{node}/_config/log/level"] = write(node)


@pytest.mark.parametrize("nodes", [["all"], ["n1@h", "n2@h", "n3@h"]])
@pytest.mark.parametrize("check_mode", [True, False])
def test_a_member_that_is_down_is_reported_once_the_others_are_done(
    wire: Wire, nodes: list[str], check_mode: bool
) -> None:
    serve(wire, {"n1@h": {"log": {}}, "n2@h": None, "n3@h": {"log": {"level": "debug"}}})
    desired = RESOURCE.desire({**PARAMS, "settings": {"log": {"level": "info"}, "a": {"b": None}}, "nodes": nodes})
    outcome = module.carry_out(RESOURCE, desired, client(), check_mode=check_mode)
    after = {"log": {"level": "info"}, "a": {"b": None}}
    assert outcome.returned == {
        "settings": {"n1@h": after, "n3@h": after},
        "settings_before": {
            "n1@h": {"log": {"level": None}, "a": {"b": None}},
            "n3@h": {"log": {"level": "debug"}, "a": {"b": None}},
        },
        "nodes_down": ["n2@h"],
        "restart_required": False,
    }
    assert str(outcome.shortfall).startswith("n2@h: down, and missed log/level, a/b. The other nodes are done")
    written = [f"PUT /_node/{node}/_config/log/level" for node in ("n1@h", "n3@h")]
    assert sorted(wire.written) == ([] if check_mode else written)


@pytest.mark.parametrize(("state", "method"), [("present", "PUT"), ("absent", "DELETE")])
@pytest.mark.parametrize("answer", [DOWN, (500, {"error": "case_clause", "reason": "{badrpc,nodedown}"})])
def test_a_member_that_goes_down_meanwhile_is_reported_once_the_others_are_done(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, state: str, method: str, answer: t.Any
) -> None:
    paused: list[float] = []
    monkeypatch.setattr(module.time, "sleep", paused.append)
    held: dict[str, t.Any] = {node: {"log": {"level": "debug"}} for node in ("n1@h", "n2@h", "n3@h")}
    serve(wire, held)

    def go_down(body: t.Any) -> t.Any:
        held["n2@h"] = None
        return answer

    wire[f"{method} /_node/n2@h/_config/log/level"] = go_down
    desired = RESOURCE.desire({**PARAMS, "settings": {"log": {"level": "info"}}, "state": state})
    outcome = module.carry_out(RESOURCE, desired, client(), check_mode=False)
    assert "n2@h: down, and missed log/level" in str(outcome.shortfall)
    assert sorted(change.path[0] for change in outcome.changes) == ["n1@h", "n3@h"]
    after = {"log": {"level": "info" if state == "present" else None}}
    assert outcome.returned["settings"] == {"n1@h": after, "n3@h": after}
    assert outcome.returned["settings_before"] == {node: {"log": {"level": "debug"}} for node in ("n1@h", "n3@h")}
    assert outcome.returned["nodes_down"] == ["n2@h"]
    assert wire.written.count(f"{method} /_node/n1@h/_config/log/level") == 1
    assert paused == [1.0]


def test_a_member_that_is_back_soon_misses_nothing(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    held: dict[str, t.Any] = {node: {"log": {}} for node in ("n1@h", "n2@h", "n3@h")}
    serve(wire, held)
    write = wire.answers["PUT /_node/n2@h/_config/log/level"]
    tries: list[t.Any] = []

    def restart(body: t.Any) -> t.Any:
        tries.append(body)
        return DOWN if len(tries) < 3 else write(body)

    wire["PUT /_node/n2@h/_config/log/level"] = restart
    desired = RESOURCE.desire({**PARAMS, "settings": {"log": {"level": "info"}}})
    outcome = module.carry_out(RESOURCE, desired, client(), check_mode=False)
    assert outcome.shortfall is None
    assert held == {node: {"log": {"level": "info"}} for node in held}
    assert len(outcome.changes) == 3


def test_settings_in_memory_are_sent_with_the_header_that_says_so() -> None:
    settings = {"log": {"level": "debug", "file": None}}
    desired = resource.desire({**PARAMS, "settings": settings, "persist": False})
    plan = resource.plan(desired, Observed({NODE: {"log": {"level": "info", "file": "f"}}}))
    assert [change.arguments["hthdrs"] for change in plan.changes] == [{"X-Couch-Persist": "false"}] * 2


def test_what_is_read_at_the_start_only_can_not_be_in_memory_only() -> None:
    settings = {"couchdb": {"database_dir": "/srv"}}
    with pytest.raises(InvalidInput, match="^persist: is false. Set it to true for couchdb/database_dir"):
        resource.desire({**PARAMS, "settings": settings, "persist": False})


def test_the_log_level_changes_after_the_secrets() -> None:
    settings = {"log": {"level": "debug"}, "chttpd_auth": {"secret": "s"}}
    plan = resource.plan(resource.desire({**PARAMS, "settings": settings}), Observed({NODE: {}}))
    assert {change.path[-1]: change.stage for change in plan.changes} == {"level": 1, "secret": 0}


def test_the_listener_of_the_node_that_answers_moves_last() -> None:
    desired = resource.desire({**PARAMS, "settings": {"chttpd": {"port": 5985, "backlog": 512}}})
    plan = resource.plan(desired, Observed({"n1": {}, "n2": {}, "n3": {}}, own="n1"))
    assert [[change.path[::2] for change in stage] for stage in plan.stages()] == [
        [("n2", "backlog"), ("n3", "backlog")],
        [("n2", "port"), ("n3", "port")],
        [("n1", "backlog")],
        [("n1", "port")],
    ]


def test_a_node_that_is_named_twice_changes_once(wire: Wire) -> None:
    wire["GET /_node/_local"] = {"name": "n1"}
    for node in ("n1", "_local"):
        wire[f"GET /_node/{node}/_config"] = {"log": {}}
        wire[f"PUT /_node/{node}/_config/chttpd/backlog"] = ""
        wire[f"PUT /_node/{node}/_config/chttpd/server_options"] = ""
    settings = {"chttpd": {"backlog": 512, "server_options": "[]"}}
    desired = resource.desire({**PARAMS, "settings": settings, "nodes": ["_local", "n1"]})
    outcome = module.carry_out(RESOURCE, desired, client(), check_mode=False)
    assert len(outcome.changes) == 2
    assert list(outcome.returned["settings"]) == ["n1"]


@pytest.mark.parametrize("held", ["old", "new"])
def test_a_new_secret_does_not_end_the_session_that_the_task_needs(wire: Wire, held: str) -> None:
    wire["GET /_membership"] = {"all_nodes": ["n1", "n2"], "cluster_nodes": ["n1", "n2"]}
    wire["GET /_node/_local"] = {"name": "n1"}
    for node, secret in (("n1", held), ("n2", "new")):
        wire[f"GET /_node/{node}/_config"] = {"chttpd_auth": {"secret": secret}, "log": {"level": "error"}}
        wire[f"GET /_node/{node}/_config/log"] = {"level": "error"}
        wire[f"PUT /_node/{node}/_config/chttpd_auth/secret"] = ""
    desired = resource.desire({**PARAMS, "settings": {"chttpd_auth": {"secret": "new"}}})

    def run(**login: t.Any) -> t.Any:
        return module.carry_out(RESOURCE, desired, client(cookie="AuthSession=YTox", **login), check_mode=False)

    if held == "old":
        with pytest.raises(InvalidInput, match="^cookie: "):
            run(username=None, password=None)
    else:
        assert not run(username=None, password=None).changes
    assert wire.written == []
    # With a password as well, that is used.
    assert len(run().changes) == (held == "old")
    assert "Cookie" not in wire.headers[-1]


HEAD = base64.urlsafe_b64encode(b'{"alg": "RS256", "kid": "k"}').decode().rstrip("=")


@pytest.mark.parametrize("check_mode", [True, False])
@pytest.mark.parametrize(
    ("headers", "settings", "refused"),
    [
        ({"X-Auth-CouchDB-Token": "0a"}, {"chttpd_auth": {"secret": "new"}}, "chttpd_auth/secret"),
        ({"x-auth-couchdb-token": "0a"}, {"couch_httpd_auth": {"secret": "new"}}, "couch_httpd_auth/secret"),
        ({"Cookie": "a=b; AuthSession=YTox"}, {"chttpd_auth": {"secret": "new"}}, "chttpd_auth/secret"),
        ({"X-Auth-CouchDB-UserName": "ann"}, {"chttpd_auth": {"secret": "new"}}, ""),
        ({"X-Auth-CouchDB-Token": "0a"}, {"jwt_keys": {"rsa:k": None}}, ""),
        ({"Authorization": f"Bearer {HEAD}.e30.c2ln"}, {"jwt_keys": {"rsa:k": None}}, "jwt_keys/rsa:k"),
        ({"Authorization": f"Bearer {HEAD}.e30.c2ln"}, {"jwt_keys": {"rsa:k": "other"}}, "jwt_keys/rsa:k"),
        ({"Authorization": f"Bearer {HEAD}.e30.c2ln"}, {"jwt_keys": {"rsa:l": "new"}}, ""),
        ({"Authorization": f"Bearer {HEAD}.e30.c2ln"}, {"chttpd_auth": {"secret": "new"}}, ""),
    ],
)
def test_what_a_login_with_headers_depends_on_stays(
    wire: Wire, headers: dict[str, str], settings: dict[str, t.Any], refused: str, check_mode: bool
) -> None:
    wire["GET /_membership"] = {"all_nodes": ["n1", "n2"], "cluster_nodes": ["n1", "n2"]}
    wire["GET /_node/_local"] = {"name": "n1"}
    ((section, ((key, _value),)),) = ((section, tuple(keys.items())) for section, keys in settings.items())
    for node in ("n1", "n2"):
        wire[f"GET /_node/{node}/_config"] = {"jwt_keys": {"rsa:k": "PEM"}, "log": {"level": "error"}}
        wire[f"GET /_node/{node}/_config/log"] = {"level": "error"}
        wire[f"PUT /_node/{node}/_config/{section}/{key}"] = wire[f"DELETE /_node/{node}/_config/{section}/{key}"] = ""
    desired = resource.desire({**PARAMS, "settings": settings})
    login = {"username": None, "password": None, "headers": headers}
    if refused:
        with pytest.raises(InvalidInput, match=f"^(headers|cookie): a change of {refused} would end this login"):
            module.carry_out(RESOURCE, desired, client(**login), check_mode=check_mode)
        assert wire.written == []
    else:
        module.carry_out(RESOURCE, desired, client(**login), check_mode=check_mode)
        assert len(wire.written) == (0 if check_mode else 2)
    # Nodes through which nothing else is sent can change.
    others = resource.desire({**PARAMS, "settings": settings, "nodes": ["n2"]})
    module.carry_out(RESOURCE, others, client(**login), check_mode=True)


def test_a_node_is_repaired_whose_list_of_members_fails(wire: Wire) -> None:
    wire["GET /_membership"] = 500, {"error": "unknown_error", "reason": "badarg"}
    wire["GET /_node/_local/_config"] = InTurn([{"fabric": {"request_timeout": "x"}}, {"log": {}}])
    wire["DELETE /_node/_local/_config/fabric/request_timeout"] = "x"
    desired = resource.desire({**PARAMS, "settings": {"fabric": {"request_timeout": None}}, "nodes": ["_local"]})
    assert len(module.carry_out(RESOURCE, desired, client(), check_mode=False).changes) == 1
