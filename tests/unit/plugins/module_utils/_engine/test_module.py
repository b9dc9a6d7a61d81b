# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""_module and _plan: each promise that the engine makes to every module."""

from __future__ import annotations

import base64
import typing as t
from dataclasses import replace

import pytest
from ansible_collections.couchpy.couchdb.plugins.module_utils import errors
from ansible_collections.couchpy.couchdb.plugins.module_utils._engine import module
from ansible_collections.couchpy.couchdb.plugins.module_utils._engine.module import Interrupted, Progress, Resource
from ansible_collections.couchpy.couchdb.plugins.module_utils._engine.plan import TRY, Change, Plan, diff
from ansible_collections.couchpy.couchdb.plugins.module_utils.client import Client
from ansible_collections.couchpy.couchdb.plugins.module_utils.database import Database
from ansible_collections.couchpy.couchdb.tests.unit.wire import URL, InTurn, Wire, client

CONFLICT = (409, {"error": "conflict", "reason": "Document update conflict."})
OK = (200, {"ok": True})


def limits(wanted: dict[str, int], **extra: t.Any) -> Resource:
    """A resource for the tests: the limits of databases, one request to read and one to write each."""

    def observe(couch: Client, desired: dict[str, int]) -> dict[str, int]:
        return {name: couch[name].revs_limit() for name in desired}

    def plan(desired: dict[str, int], observed: dict[str, int]) -> Plan:
        changes = tuple(
            Change(
                action="update",
                what="limit",
                path=(name,),
                before=observed[name],
                after=limit,
                call=Database.set_revs_limit,
                arguments={"limit": limit},
                database=name,
                **extra,
            )
            for name, limit in desired.items()
            if observed[name] != limit
        )
        return Plan(changes, {**observed, **desired})

    def report(desired: dict[str, int], observed: dict[str, int], changes: list[Change]) -> dict[str, t.Any]:
        return {"limits": observed, "changes": len(changes)}

    return Resource(lambda params: wanted, observe, report, plan)


LIMIT = Change(
    action="update",
    what="limit",
    path=("a",),
    before=1,
    after=5,
    call=Database.set_revs_limit,
    arguments={"limit": 5},
    database="a",
)


def serve(wire: Wire, held: dict[str, int]) -> None:
    """Serve the limits of databases, and let them be written."""

    def write(name: str) -> t.Callable[[int], tuple[int, t.Any]]:
        def answer(limit: int) -> tuple[int, t.Any]:
            held[name] = limit
            return OK

        return answer

    for name in held:
        wire[f"GET /{name}/_revs_limit"] = lambda _body, name=name: (200, held[name])
        wire[f"PUT /{name}/_revs_limit"] = write(name)


def carry_out(wanted: dict[str, int], *, check_mode: bool = False, **extra: t.Any) -> module.Outcome:
    resource = limits(wanted, **extra)
    return module.carry_out(resource, resource.desire({}), client(), check_mode=check_mode)


def test_what_is_as_desired_is_only_read(wire: Wire) -> None:
    serve(wire, {"a": 5})
    outcome = carry_out({"a": 5})
    assert not outcome.changes
    assert wire.asked == ["GET /", "GET /a/_revs_limit"]


def test_what_differs_is_written_once_and_then_is_as_desired(wire: Wire) -> None:
    held = {"a": 1, "b": 5}
    serve(wire, held)
    assert [str(change) for change in carry_out({"a": 5, "b": 5}).changes] == ["update limit a"]
    assert wire.written == ["PUT /a/_revs_limit"]
    assert held == {"a": 5, "b": 5}
    assert not carry_out({"a": 5, "b": 5}).changes
    assert wire.written == ["PUT /a/_revs_limit"]


def test_check_mode_plans_the_same_and_writes_nothing(wire: Wire) -> None:
    held = {"a": 1}
    serve(wire, held)
    predicted = carry_out({"a": 5}, check_mode=True)
    assert wire.written == []
    assert held == {"a": 1}
    done = carry_out({"a": 5})
    assert predicted.changes == done.changes
    assert predicted.returned == done.returned
    assert diff(predicted.changes) == diff(done.changes) == {"before": {"a": 1}, "after": {"a": 5}}


def test_a_conflict_is_read_and_planned_again(wire: Wire) -> None:
    wire["GET /a/_revs_limit"] = InTurn([1, 2, 5])
    wire["PUT /a/_revs_limit"] = InTurn([CONFLICT, OK])
    outcome = carry_out({"a": 5})
    assert wire.asked == ["GET /", *["GET /a/_revs_limit", "PUT /a/_revs_limit"] * 2, "GET /a/_revs_limit"]
    assert [change.before for change in outcome.changes] == [2]


def test_a_conflict_that_another_client_settled_as_desired_is_no_change(wire: Wire) -> None:
    wire["GET /a/_revs_limit"] = InTurn([1, 5])
    wire["PUT /a/_revs_limit"] = CONFLICT
    assert not carry_out({"a": 5}).changes


def test_conflicts_without_end_end(wire: Wire) -> None:
    wire["GET /a/_revs_limit"] = 1
    wire["PUT /a/_revs_limit"] = CONFLICT
    with pytest.raises(Interrupted) as stop:
        carry_out({"a": 5})
    assert isinstance(stop.value.error, errors.Conflict)
    assert len(wire.written) == 5


def test_a_plan_that_stops_says_what_was_done_and_what_not(wire: Wire) -> None:
    names = [f"db{number}" for number in range(40)]
    held = dict.fromkeys(names, 1)
    serve(wire, held)
    wire["PUT /db5/_revs_limit"] = 500, {"error": "internal_server_error", "reason": "No DB shards could be opened."}
    with pytest.raises(Interrupted) as stop:
        carry_out(dict.fromkeys(names, 5))
    progress = stop.value.progress
    assert [str(change) for change in progress.failed] == ["update limit db5"]
    assert {change.path[0] for change in progress.done} == {name for name in names if held[name] == 5}
    assert len(progress.done) + len(progress.undone) + 1 == 40
    assert progress.undone
    result = module.failure(stop.value.error, progress)
    assert result["changed"] is True
    assert result["status"] == 500
    assert result["reason"] == "No DB shards could be opened."
    assert result["changes_failed"] == ["update limit db5"]
    assert f"{len(progress.done)} changes made" in result["msg"]


def test_what_no_majority_confirms_may_have_been_made(wire: Wire) -> None:
    serve(wire, {"db": 1})
    wire["PUT /db/_revs_limit"] = 500, {"error": "error", "reason": "no_majority"}
    with pytest.raises(Interrupted) as stop:
        carry_out({"db": 5})
    assert [str(change) for change in stop.value.progress.unsure] == ["update limit db"]
    assert stop.value.progress.failed == []


def test_a_node_that_is_down_keeps_nothing_else_from_being_done(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    names = [f"db{number}" for number in range(40)]
    held = dict.fromkeys(names, 1)
    serve(wire, held)
    wire["PUT /db5/_revs_limit"] = 412, {"error": "nodedown", "reason": "n2@h is down"}
    with pytest.raises(Interrupted) as stop:
        carry_out(dict.fromkeys(names, 5))
    assert isinstance(stop.value.error, errors.NodeDown)
    assert [name for name in names if held[name] == 1] == ["db5"]
    assert len(stop.value.progress.done) == 39
    assert [str(change) for change in stop.value.progress.failed] == ["update limit db5"]


def test_what_may_be_void_is_not_when_its_node_is_down(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    wire["GET /a/_revs_limit"] = 1
    wire["PUT /a/_revs_limit"] = 412, {"error": "nodedown", "reason": "n2@h is down"}
    with pytest.raises(Interrupted, match="n2@h is down"):
        carry_out({"a": 5}, may_be_void=True)


def test_a_later_stage_waits_for_the_earlier(wire: Wire) -> None:
    changes = tuple(
        Change(
            action="create",
            what="database",
            path=(name,),
            before=None,
            after={},
            call=Database.put,
            database=name,
            stage=stage,
        )
        for stage, name in ((1, "b"), (0, "a"))
    )
    wire["PUT /a"] = 201, {"ok": True}
    wire["PUT /b"] = 201, {"ok": True}
    progress, error = module.apply(Plan(changes), client())
    assert wire.written == ["PUT /a", "PUT /b"]
    assert error is None
    wire["PUT /a"] = 500, {"error": "e", "reason": "r"}
    progress, error = module.apply(Plan(changes), client())
    assert isinstance(error, errors.ServerError)
    assert [change.path for change in progress.undone] == [("b",)]


def test_a_change_without_an_answer_is_unsure(wire: Wire) -> None:
    serve(wire, {"a": 1})
    wire["PUT /a/_revs_limit"] = ConnectionResetError(104, "reset")
    with pytest.raises(Interrupted) as stop:
        carry_out({"a": 5})
    assert [str(change) for change in stop.value.progress.unsure] == ["update limit a"]
    assert "sent without an answer" in module.failure(stop.value.error, stop.value.progress)["msg"]


def test_a_change_that_changed_nothing_is_none(wire: Wire) -> None:
    wire["GET /a/_revs_limit"] = 1
    wire["PUT /a/_revs_limit"] = OK
    assert carry_out({"a": 5}, may_be_void=True).changes == []
    assert wire.written == ["PUT /a/_revs_limit"]


def test_a_change_that_led_elsewhere_shows_where_to(wire: Wire) -> None:
    wire["GET /a/_revs_limit"] = InTurn([1, 3])
    wire["PUT /a/_revs_limit"] = OK
    assert diff(carry_out({"a": 5}, may_be_void=True).changes) == {"before": {"a": 1}, "after": {"a": 3}}


def test_an_unreachable_server_is_an_error_unless_the_plan_moved_it(wire: Wire) -> None:
    def plan(desired: t.Any, observed: t.Any) -> Plan:
        return Plan((LIMIT,), {"a": 5}, afterwards=TRY)

    resource = limits({"a": 5})
    moved = Resource(resource.desire, resource.observe, resource.report, plan)
    wire["GET /a/_revs_limit"] = InTurn([(200, 1), ConnectionRefusedError(111, "refused")])
    wire["PUT /a/_revs_limit"] = OK
    outcome = module.carry_out(moved, {"a": 5}, client(), check_mode=False)
    assert outcome.returned["limits"] == {"a": 5}
    wire["GET /a/_revs_limit"] = InTurn([(200, 1), ConnectionRefusedError(111, "refused")])
    with pytest.raises(Interrupted) as stop:
        module.carry_out(resource, {"a": 5}, client(), check_mode=False)
    assert isinstance(stop.value.error, errors.Unreachable)
    assert [str(change) for change in stop.value.progress.done] == ["update limit a"]


def test_an_error_before_any_change_has_no_lists() -> None:
    result = module.failure(errors.Unauthorized("no", status=401, error="unauthorized", reason="wrong"), Progress())
    assert result == {"msg": "no", "changed": False, "status": 401, "error": "unauthorized", "reason": "wrong"}


def test_diff_has_no_entry_for_what_is_missing_and_keeps_the_first_before() -> None:
    rows = [
        ("create", "database", ("a",), None, {"doc_count": 0}),
        ("update", "limit", ("a", "revs_limit"), None, 5),
        ("delete", "database", ("b",), {"doc_count": 7}, None),
        ("update", "limit", ("c",), 1, 2),
        ("update", "limit", ("c",), 2, 3),
    ]
    changes = [
        replace(LIMIT, action=action, what=what, path=path, before=before, after=after)
        for action, what, path, before, after in rows
    ]
    assert diff(changes) == {
        "before": {"b": {"doc_count": 7}, "c": 1},
        "after": {"a": {"doc_count": 0, "revs_limit": 5}, "c": 3},
    }


CONNECTION = {**dict.fromkeys(module.CONNECTION), "headers": {}, "validate_certs": True, "timeout": 30, "retries": 3}


@pytest.mark.parametrize(
    ("options", "environment", "used"),
    [
        ({}, {}, None),
        ({"login_user": "a", "login_password": "b"}, {"username": "c", "password": "d"}, ("a", "b")),
        ({"url": "http://e:f@couch.example:5984/"}, {"username": "c", "password": "d"}, ("e", "f")),
        ({"url": "http://e:f@couch.example:5984/", "login_user": "a", "login_password": "b"}, {}, ("a", "b")),
        ({"url": "http://e:f@couch.example:5984/", "login_user": "a"}, {"password": "d"}, ("a", "d")),
        ({"url": "http://e:f@couch.example:5984/", "login_user": "e"}, {"password": "d"}, ("e", "f")),
        ({"login_user": "a"}, {"password": "d"}, ("a", "d")),
        ({"login_user": "", "login_password": ""}, {}, None),
        ({}, {"username": "c", "password": "d"}, ("c", "d")),
        ({}, {"password": "d"}, None),
    ],
)
def test_where_the_login_comes_from(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, options: t.Any, environment: t.Any, used: tuple[str, str] | None
) -> None:
    for name in ("url", "username", "password"):
        monkeypatch.delenv(f"COUCHDB_{name.upper()}", raising=False)
    monkeypatch.setenv("COUCHDB_URL", URL)
    for name, value in environment.items():
        monkeypatch.setenv(f"COUCHDB_{name.upper()}", value)
    module.make_client({**CONNECTION, **options}, Client)()
    sent = wire.headers[0].get("Authorization")
    assert sent == (used and "Basic " + base64.b64encode(":".join(used).encode()).decode())


@pytest.mark.parametrize("managed", [{}, {"password": "of a managed account"}])
def test_a_name_without_a_password_is_refused(monkeypatch: pytest.MonkeyPatch, managed: dict[str, t.Any]) -> None:
    monkeypatch.delenv("COUCHDB_PASSWORD", raising=False)
    with pytest.raises(errors.InvalidInput, match="login_password: is missing. Set it with login_user"):
        module.make_client({**CONNECTION, "url": URL, "login_user": "a", **managed}, Client)


def test_an_error_of_the_client_names_the_option_of_the_module() -> None:
    with pytest.raises(errors.InvalidInput, match="login_user: contains a colon"):
        module.make_client({**CONNECTION, "url": URL, "login_user": "a:b", "login_password": "c"}, Client)


def test_what_a_call_gave_reaches_the_report(wire: Wire) -> None:
    def plan(desired: t.Any, observed: t.Any) -> Plan:
        return Plan((replace(LIMIT, call=Database.put_document, arguments={"document": {"_id": "d"}}),))

    wire["PUT /a/d"] = 201, {"ok": True, "id": "d", "rev": "1-x"}
    resource = Resource(
        dict, lambda *_arguments: None, lambda desired, observed, changes: {"revs": [c.result for c in changes]}, plan
    )
    assert module.carry_out(resource, {}, client(), check_mode=False).returned == {"revs": ["1-x"]}


@pytest.mark.parametrize("held", [1, 5])
def test_what_is_waited_for_is_what_is_reported(wire: Wire, held: int) -> None:
    serve(wire, {"a": held})
    seen = []

    def wait(couch: Client, desired: t.Any, first: t.Any, observed: dict[str, int]) -> dict[str, int]:
        seen.append(observed)
        return {"a": 6}

    resource = replace(limits({"a": 5}), wait=wait)
    assert module.carry_out(resource, {"a": 5}, client(), check_mode=True).returned["limits"] == {"a": 5}
    assert seen == []
    assert module.carry_out(resource, {"a": 5}, client(), check_mode=False).returned["limits"] == {"a": 6}
    assert seen == [{"a": 5}]


def test_a_wait_in_vain_is_an_error_that_lists_the_changes(wire: Wire) -> None:
    def wait(couch: Client, desired: t.Any, first: t.Any, observed: t.Any) -> t.Any:
        raise errors.TimedOut("it never came")

    serve(wire, {"a": 1})
    with pytest.raises(Interrupted) as stop:
        module.carry_out(replace(limits({"a": 5}), wait=wait), {"a": 5}, client(), check_mode=False)
    result = module.failure(stop.value.error, stop.value.progress)
    assert result["msg"] == "it never came"
    assert result["changed"] is True
    assert result["changes_done"] == ["update limit a"]


def test_what_a_plan_leaves_out_is_reported_once_the_rest_is_done(wire: Wire) -> None:
    serve(wire, {"a": 1})
    resource = limits({"a": 5})

    def plan(desired: t.Any, observed: t.Any) -> Plan:
        assert resource.plan
        return replace(resource.plan(desired, observed), shortfall=errors.NodeDown("b is down"))

    for check_mode in (True, False):
        outcome = module.carry_out(replace(resource, plan=plan), {"a": 5}, client(), check_mode=check_mode)
        assert [str(change) for change in outcome.changes] == ["update limit a"]
        assert str(outcome.shortfall) == "b is down"
    assert wire.written == ["PUT /a/_revs_limit"]


def test_a_change_whose_result_shows_nothing_is_none_and_is_reported(wire: Wire) -> None:
    wire["POST /_replicate"] = InTurn([{"no_changes": True}, {"history": [{"docs_written": 2}]}])
    copying = Change(
        action="create",
        what="copy",
        path=("a",),
        before=None,
        after={},
        call=Client.replicate_once,
        arguments={"document": {}, "timeout": 5},
        void_if={"docs_written": 0},
    )
    resource = Resource(
        lambda params: None,
        lambda client, desired: None,
        lambda desired, observed, changes: {"written": [change.result["docs_written"] for change in changes]},
        lambda desired, observed: Plan((copying,)),
    )
    for written, changes in ((0, 0), (2, 1)):
        outcome = module.carry_out(resource, None, client(), check_mode=False)
        assert (outcome.returned, len(outcome.changes)) == ({"written": [written]}, changes)
    assert module.failure(errors.NotFound("x"), module.Progress([copying]))["changed"] is True


def test_what_must_be_there_first_stops_a_real_run_and_is_a_warning_in_check_mode(wire: Wire) -> None:
    unmet = errors.InvalidInput("source", "is not there")
    resource = Resource(
        lambda params: None,
        lambda client, desired: None,
        lambda desired, observed, changes: {},
        lambda desired, observed: Plan((LIMIT,), unmet=unmet),
    )
    with pytest.raises(errors.InvalidInput, match="is not there"):
        module.carry_out(resource, None, client(), check_mode=False)
    assert wire.written == []
    outcome = module.carry_out(resource, None, client(), check_mode=True)
    assert outcome.changes == [LIMIT]
    assert outcome.warnings[-1].startswith("source: is not there")


@pytest.mark.parametrize("answer", [{}, [], [None], 7, None, {"names": 1}])
def test_an_answer_of_another_form_is_an_error(answer: t.Any, wire: Wire) -> None:
    wire["GET /_names"] = (200, answer)
    resource = module.Resource(
        lambda params: None,
        lambda couch, desired: [name.upper() for name in couch.request("GET", ("_names",)).body["names"]],
        lambda desired, observed, changes: {"names": observed},
    )
    with pytest.raises(errors.NotCouchDB, match=r"can't be understood .* GET http://couch.example:5984/_names"):
        module.carry_out(resource, None, client(), check_mode=False)
