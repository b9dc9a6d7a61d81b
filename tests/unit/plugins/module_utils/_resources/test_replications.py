# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""couchdb_replication: its plans as tables, the requests that reach the wire, and what is waited for."""

from __future__ import annotations

import copy
import json
import re
import typing as t

import pytest
from ansible_collections.couchpy.couchdb.plugins.module_utils import errors
from ansible_collections.couchpy.couchdb.plugins.module_utils._client import connection, wait
from ansible_collections.couchpy.couchdb.plugins.module_utils._engine import module
from ansible_collections.couchpy.couchdb.plugins.module_utils._resources import replications as resource
from ansible_collections.couchpy.couchdb.plugins.module_utils._resources.replications import Observed
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules import passwords
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules.dialect import Dialect, OneX
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules.replications import Here
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules.urls import basic_authorization
from ansible_collections.couchpy.couchdb.plugins.module_utils.client import Client
from ansible_collections.couchpy.couchdb.plugins.module_utils.database import Database
from ansible_collections.couchpy.couchdb.plugins.module_utils.errors import InvalidInput
from ansible_collections.couchpy.couchdb.tests.unit.clock import Clock
from ansible_collections.couchpy.couchdb.tests.unit.wire import URL, WELCOME, InTurn, Wire, client

RESOURCE = resource.RESOURCE
BARE: dict[str, t.Any] = dict.fromkeys(resource.ARGUMENT_SPEC["replications"]["options"])
DEFAULTS = {"state": "present", "persistent": True, "wait": False, "restart_failed": False}
TOP = {
    "wait_timeout": 60,
    "replicator": "_replicator",
    "local_url": None,
    "replications": None,
    "endpoint_admins": None,
}
REPLICATION = {**BARE, **DEFAULTS, "name": "r", "source": "a", "target": "b"}
PARAMS: dict[str, t.Any] = {**REPLICATION, **TOP}
HERE = Here(Dialect("CouchDB", "3.4.3"), URL, "admin", "secret")
AUTH = {"basic": {"username": "admin", "password": "secret"}}
DOCUMENT = {"source": {"url": f"{URL}a", "auth": AUTH}, "target": {"url": f"{URL}b", "auth": AUTH}}
HELD = {"_id": "r", "_rev": "1-a", "owner": "admin", **DOCUMENT}
DONE = {"_replication_state": "completed", "_replication_stats": {"docs_written": 1}}
JOB = {
    "id": "j+continuous",
    "source": f"{URL}a/",
    "target": f"{URL}b/",
    "continuous": True,
    "state": "running",
    "info": None,
}
ONCE = {"persistent": False, "name": None}
ON = {**ONCE, "continuous": True}

READS = "POST /_replicator/_all_docs?conflicts=true&include_docs=true"
STATES = "GET /_scheduler/docs/_replicator?limit=1000&skip=0"
STATE = "GET /_scheduler/docs/_replicator/r"
JOBS = "GET /_scheduler/jobs?limit=1000&skip=0"


def planned(given: dict[str, t.Any], observed: Observed) -> t.Any:
    """What is sent: the call and its arguments, or None; the prediction must be where it leads to."""
    desired = resource.desire({**PARAMS, **given})
    plan = resource.plan(desired, observed)
    if not (given.get("persistent") is False and not given.get("continuous")):
        assert not resource.plan(desired, plan.predicted).changes
    return (plan.changes[0].call, dict(plan.changes[0].arguments)) if plan.changes else None


@pytest.mark.parametrize(
    ("held", "given", "expected"),
    [
        (None, {}, {"_id": "r", **DOCUMENT}),
        (None, {"continuous": True}, {"_id": "r", **DOCUMENT, "continuous": True}),
        (None, {"continuous": False, "create_target": False}, {"_id": "r", **DOCUMENT}),
        (
            None,
            {"query_params": {"y": 1, "z": True, "n": None}, "filter": "a/b"},
            {"_id": "r", **DOCUMENT, "filter": "a/b", "query_params": {"y": "1", "z": "true"}},
        ),
        (
            None,
            {"options": {"worker_processes": "2", "use_checkpoints": False, "since_seq": "5"}},
            {"_id": "r", **DOCUMENT, "worker_processes": 2, "use_checkpoints": False, "since_seq": "5"},
        ),
        (HELD, {}, None),
        ({**HELD, **DONE}, {}, None),
        ({**HELD, "_replication_state": "failed"}, {}, None),
        ({**HELD, "continuous": False}, {}, None),
        ({**HELD, "source": f"http://admin:secret@{URL[7:]}a/"}, {}, None),
        ({**HELD, "source": f"http://admin:other@{URL[7:]}a/"}, {}, HELD),
        (HELD, {"continuous": True}, {**HELD, "continuous": True}),
        ({**HELD, "by_hand": 1}, {}, HELD),
        # It runs again, so what was noted of its end is left out.
        ({**HELD, **DONE}, {"doc_ids": ["x"]}, {**HELD, "doc_ids": ["x"]}),
        # A change keeps the owner, who may read the logins.
        (
            {**HELD, "owner": "ann"},
            {"target": "c"},
            {**HELD, "owner": "ann", "target": {"url": f"{URL}c", "auth": AUTH}},
        ),
    ],
)
def test_a_document_is_written_only_when_it_differs(held: t.Any, given: dict[str, t.Any], expected: t.Any) -> None:
    found = planned(given, Observed(HERE, {"r": held}))
    assert found == (None if expected is None else (Database.put_document, {"document": expected}))


OWN = {"database": "a", "username": "ann", "password": "h1dden"}
COOKIE = Here(Dialect("CouchDB", "3.4.3"), URL, None, None, {"Authorization": "Bearer abc"})


@pytest.mark.parametrize(
    ("given", "here", "warned"),
    [
        ({}, HERE, True),
        ({"source": OWN}, HERE, True),
        ({"source": "https://db.example.com/a"}, HERE, True),
        ({"replications": [REPLICATION, {**REPLICATION, "name": "s", "source": OWN, "target": OWN}]}, HERE, True),
        ({}, COOKIE, True),
        ({"source": OWN, "target": {**OWN, "database": "b"}}, HERE, False),
        ({"source": "https://db.example.com/a", "target": "https://db.example.com/b"}, HERE, False),
        ({"state": "absent"}, HERE, False),
        (ONCE, HERE, False),
        (ON, HERE, False),
        ({}, Here(Dialect("CouchDB", "3.4.3"), URL), False),
        ({}, Here(OneX("CouchDB", "1.7.2"), URL, "admin", "secret"), False),
    ],
)
def test_a_document_with_the_credentials_of_the_task_is_a_warning(given: t.Any, here: Here, warned: bool) -> None:
    documents = {"r": None, "s": None}
    params = {**PARAMS, **({**dict.fromkeys(BARE), **DEFAULTS} if "replications" in given else {}), **given}
    desired = resource.desire(params)
    plan = resource.plan(desired, Observed(here, documents))
    # As long as the document is so, whether this run writes it or not.
    again = resource.plan(desired, plan.predicted)
    assert plan.warnings == again.warnings
    assert bool(plan.warnings) == warned
    for warning in plan.warnings:
        assert warning.startswith("the document of the replication r contains the credentials of this task")
        assert "secret" not in warning
        assert "h1dden" not in warning
        assert "Bearer" not in warning


def test_one_warning_names_all_documents_with_the_credentials_of_the_task() -> None:
    several = [REPLICATION, {**REPLICATION, "name": "s"}]
    desired = resource.desire({**PARAMS, **dict.fromkeys(BARE), **DEFAULTS, "replications": several})
    (warning,) = resource.plan(desired, Observed(HERE, {"r": HELD, "s": None})).warnings
    assert warning.startswith(
        "the documents of the replications r, s contain the credentials of this task, admin, in plain text"
    )


def test_a_document_that_1x_runs_is_replaced() -> None:
    one = Here(OneX("CouchDB", "1.7.2"), URL)
    held = {
        "_id": "r",
        "_rev": "2-a",
        "owner": "admin",
        "source": "a",
        "target": "b",
        "_replication_state": "triggered",
    }
    desired = resource.desire({**PARAMS, "target": "c"})
    plan = resource.plan(desired, Observed(one, {"r": held}))
    assert [(change.action, change.call, change.stage, change.arguments) for change in plan.changes] == [
        ("delete", Database.delete, 0, {"document": "r", "rev": "2-a"}),
        ("create", Database.put_document, 1, {"document": {"_id": "r", "source": "a", "target": "c"}}),
    ]
    done = resource.plan(desired, Observed(one, {"r": {**held, "_replication_state": "completed"}}))
    assert [change.action for change in done.changes] == ["update"]


def test_a_document_is_removed() -> None:
    absent = {"state": "absent", "source": None, "target": None}
    assert planned(absent, Observed(HERE, {"r": HELD})) == (Database.delete, {"document": "r", "rev": "1-a"})
    assert planned(absent, Observed(HERE, {"r": None})) is None


@pytest.mark.parametrize(("given", "calls"), [({}, 2), ({"target": "c"}, 1), ({"state": "restarted"}, 3)])
def test_a_conflicting_revision_goes_with_the_document(given: dict[str, t.Any], calls: int) -> None:
    held = {**HELD, "_conflicts": ["1-0"]}
    absent = {"state": "absent", "source": None, "target": None}
    plan = resource.plan(resource.desire({**PARAMS, **(given or absent)}), Observed(HERE, {"r": held}))
    assert len(plan.changes) == calls
    deleted = [change.arguments for change in plan.changes if change.call == Database.delete]
    both = [{"document": "r", "rev": "1-a"}, {"document": "r", "rev": "1-0"}]
    assert deleted == ([] if calls == 1 else both)
    assert "_conflicts" not in str(plan)


def test_a_document_with_a_conflict_is_unchanged() -> None:
    held = {**HELD, "_conflicts": ["1-0"]}
    assert resource.plan(resource.desire(PARAMS), Observed(HERE, {"r": held})).changes == ()


@pytest.mark.parametrize(
    ("given", "state", "sent"),
    [
        ({}, "failed", []),
        ({"state": "restarted"}, "running", ["delete", "create"]),
        ({"state": "restarted", "source": "c"}, "running", ["delete", "create"]),
        ({"restart_failed": True}, "running", []),
        ({"restart_failed": True}, "completed", []),
        ({"restart_failed": True}, None, []),
        ({"restart_failed": True}, "crashing", ["delete", "create"]),
        ({"restart_failed": True}, "failed", ["delete", "create"]),
        ({"restart_failed": True, "source": "c"}, "running", ["update"]),
    ],
)
def test_a_replication_is_restarted_by_a_new_document(given: t.Any, state: str | None, sent: list[str]) -> None:
    desired = resource.desire({**PARAMS, **given})
    plan = resource.plan(desired, Observed(HERE, {"r": HELD}, {"r": {"state": state, "info": None}}))
    assert [change.action for change in plan.changes] == sent
    assert [change.stage for change in plan.changes] == list(range(len(sent)))
    if "create" in sent:
        assert "_rev" not in plan.changes[-1].arguments["document"]


def test_a_job_that_runs_is_stopped_and_started_to_restart_it() -> None:
    desired = resource.desire({**PARAMS, **ON, "state": "restarted"})
    plan = resource.plan(desired, Observed(HERE, jobs=[JOB]))
    assert [(change.action, change.stage) for change in plan.changes] == [("delete", 0), ("create", 1)]
    assert len(plan.predicted.jobs) == 1
    assert [change.action for change in resource.plan(desired, Observed(HERE, jobs=[])).changes] == ["create"]


@pytest.mark.parametrize(
    ("jobs", "given", "expected"),
    [
        ([], ON, (Client.send_replication, {"document": {**DOCUMENT, "continuous": True}})),
        ([JOB], ON, None),
        (
            [{**JOB, "target": f"{URL}c/"}],
            ON,
            (Client.send_replication, {"document": {**DOCUMENT, "continuous": True}}),
        ),
        ([{**JOB, "continuous": False}], ON, (Client.send_replication, {"document": {**DOCUMENT, "continuous": True}})),
        ([], {**ON, "state": "absent"}, None),
        (
            [JOB],
            {**ON, "state": "absent"},
            (Client.cancel_replication, {"document": {**DOCUMENT, "continuous": True, "create_target": False}}),
        ),
        (
            [{**JOB, "id": "j+continuous+create_target"}],
            {**ON, "state": "absent"},
            (Client.cancel_replication, {"document": {**DOCUMENT, "continuous": True, "create_target": True}}),
        ),
        ([JOB], {**ONCE, "state": "absent"}, None),
        (None, {**ONCE, "state": "absent"}, (Client.cancel_replication, {"document": DOCUMENT})),
        ([], ONCE, (Client.replicate_once, {"document": DOCUMENT, "timeout": 60})),
    ],
)
def test_what_runs_without_a_document(jobs: t.Any, given: dict[str, t.Any], expected: t.Any) -> None:
    if jobs is None:
        change = resource.plan(resource.desire({**PARAMS, **given}), Observed(HERE, jobs=None)).changes[0]
        assert (change.call, dict(change.arguments)) == expected
    else:
        assert planned(given, Observed(HERE, jobs=jobs)) == expected


@pytest.mark.parametrize(
    ("given", "jobs", "warned"),
    [
        ({"selector": {"a": 1}}, [JOB], "selector"),
        ({"doc_ids": ["a"]}, [JOB], "doc_ids"),
        ({"selector": {"a": 1}}, [], None),
        ({}, [JOB], None),
        ({"selector": {"a": 1}, "state": "restarted"}, [JOB], None),
    ],
)
def test_what_runs_with_another_selector_may_be_warned_of(given: t.Any, jobs: t.Any, warned: str | None) -> None:
    plan = resource.plan(resource.desire({**PARAMS, **ON, **given}), Observed(HERE, jobs=jobs))
    assert len(plan.warnings) == bool(warned)
    if warned:
        assert f"does not report its {warned}" in plan.warnings[0]
        assert not plan.changes


def test_a_server_that_does_not_show_what_runs_is_not_asked_to_go_on() -> None:
    pouch = Here(OneX("PouchDB Server", "4.2.0"), URL)
    with pytest.raises(InvalidInput, match="^persistent: .*PouchDB Server"):
        resource.plan(resource.desire({**PARAMS, **ON}), Observed(pouch, jobs=None))


@pytest.mark.parametrize(
    ("given", "missing", "option"),
    [
        ({}, {"a"}, "source"),
        ({}, {"b"}, "target"),
        ({"create_target": True}, {"b"}, None),
        ({"create_target": True}, {"a", "b"}, "source"),
        ({**ONCE}, {"a"}, "source"),
        ({"source": "http://far.example/a"}, {"a"}, None),
        ({"state": "absent"}, {"a"}, None),
    ],
)
def test_databases_that_must_be_there(given: dict[str, t.Any], missing: set[str], option: str | None) -> None:
    observed = Observed(HERE, {"r": None}, missing=frozenset(missing))
    plan = resource.plan(resource.desire({**PARAMS, **given}), observed)
    assert (plan.unmet and t.cast(InvalidInput, plan.unmet).option) == option


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"name": None}, "name"),
        ({"name": ""}, "name"),
        ({"name": "_x"}, "name"),
        ({"name": "."}, "name"),
        ({"name": "..", "state": "absent"}, "name"),
        ({"source": None}, "source"),
        ({"target": None}, "target"),
        ({"source": "ftp://far.example/x"}, "source"),
        ({"target": "No Name"}, "target"),
        ({**ONCE, "state": "absent", "source": None}, "source"),
        ({"doc_ids": ["a"], "selector": {}}, "selector"),
        ({"doc_ids": [], "filter": "a/b"}, "filter"),
        ({"selector": {}, "filter": "a/b"}, "filter"),
        ({"source_proxy": "far.example"}, "source_proxy"),
        ({"target_proxy": "ftp://far.example"}, "target_proxy"),
        ({"options": {"proxy": "http://a"}, "source_proxy": "http://a"}, "options"),
        ({"options": {"source": "x"}}, "options"),
        ({"options": {"continuous": True}}, "options"),
        ({"options": {"_rev": "1"}}, "options"),
        ({"options": {"owner": "x"}}, "options"),
        ({"options": {"cancel": True}}, "options"),
        ({"options": {"worker_processes": "many"}}, "options"),
        ({"options": {"use_bulk_get": 5}}, "options"),
        ({"wait_timeout": 0}, "wait_timeout"),
        ({"replicator": "replications"}, "replicator"),
        ({"replicator": "_users"}, "replicator"),
        ({"replications": [REPLICATION, REPLICATION]}, "replications[1].name"),
        ({"replications": [REPLICATION, {**REPLICATION, "name": ".."}]}, "replications[1].name"),
        ({"replications": [REPLICATION, {**REPLICATION, "name": "s", "source": "X"}]}, "replications[1].source"),
    ],
)
def test_bad_input_names_the_option(given: dict[str, t.Any], named: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        resource.desire({**PARAMS, **given})
    assert caught.value.option == named


@pytest.mark.parametrize("option", ["selector", "source_proxy"])
def test_what_1x_would_pass_over_is_refused(option: str) -> None:
    given = {"selector": {"a": 1}, "source_proxy": "http://p"}
    desired = resource.desire({**PARAMS, option: given[option]})
    with pytest.raises(InvalidInput, match=f"^{option}: CouchDB 1.7.2 does not have it"):
        resource.plan(desired, Observed(Here(OneX("CouchDB", "1.7.2"), URL), {"r": None}))


def test_what_is_given_at_the_top_applies_to_those_that_have_none_of_their_own() -> None:
    items = [
        {**BARE, "name": "a"},
        {**BARE, "name": "b", "state": "present", "source": "a", "target": "b", "wait": False},
    ]
    desired = resource.desire({**PARAMS, "state": "absent", "wait": True, "replications": items})
    assert [(each.present, each.wait) for each in desired.replications] == [(False, True), (True, False)]
    assert resource.desire({**PARAMS, "replications": []}).replications == []


# --- What reaches the wire


def rows(*documents: dict[str, t.Any]) -> t.Callable[[t.Any], tuple[int, t.Any]]:
    held = {document["_id"]: document for document in documents}

    def answer(body: t.Any) -> tuple[int, t.Any]:
        return 200, {"rows": [{"key": key, "doc": held[key]} if key in held else {"key": key} for key in body["keys"]]}

    return answer


def scheduled(**states: t.Any) -> dict[str, t.Any]:
    docs = [{"doc_id": name, "state": state, "info": info, "id": "j"} for name, (state, info) in states.items()]
    return {"total_rows": len(docs), "docs": docs}


def carry_out(given: dict[str, t.Any], check_mode: bool = False) -> module.Outcome:
    return module.carry_out(RESOURCE, RESOURCE.desire({**PARAMS, **given}), client(), check_mode=check_mode)


@pytest.mark.parametrize("wait", [True, False])
def test_fifty_that_are_the_same_take_three_requests(wire: Wire, wait: bool) -> None:
    names = [f"r{number}" for number in range(50)]
    wire[READS] = rows(*[{**HELD, "_id": name, "continuous": True} for name in names])
    wire[STATES] = scheduled(**dict.fromkeys(names, ("running", {"docs_written": 1})))
    given = [{**REPLICATION, "name": name, "continuous": True, "wait": wait} for name in names]
    outcome = carry_out({"replications": given})
    assert outcome.changes == []
    assert [row["state"] for row in outcome.returned["replications"]] == ["running"] * 50
    assert wire.asked == ["GET /", READS, STATES]


@pytest.mark.parametrize("check_mode", [True, False])
def test_a_new_one_is_checked_and_written(wire: Wire, check_mode: bool) -> None:
    wire[READS] = InTurn([rows(), rows(HELD)])
    wire["POST /_dbs_info"] = [{"key": name, "info": {}} for name in "ab"]
    wire["PUT /_replicator/r"] = 201, {"ok": True, "id": "r", "rev": "1-a"}
    wire[STATE] = {"doc_id": "r", "state": "initializing", "info": None}
    outcome = carry_out({}, check_mode)
    assert [str(change) for change in outcome.changes] == ["create replication r"]
    begin = ["GET /", READS, "POST /_dbs_info"]
    assert wire.asked == (begin if check_mode else [*begin, "PUT /_replicator/r", READS, STATE])
    told = {"name": "r", "exists": True, "source": f"{URL}a", "target": f"{URL}b", "info": None}
    assert outcome.returned == {"replications": [{**told, "state": None if check_mode else "initializing"}]}
    assert wire.bodies[2] == {"keys": ["a", "b"]}
    if not check_mode:
        assert wire.bodies[3] == {"_id": "r", **DOCUMENT}


def test_a_source_that_is_missing_stops_all_before_anything_is_sent(wire: Wire) -> None:
    wire[READS] = rows()
    wire["POST /_dbs_info"] = lambda body: (
        200,
        [{"key": key, "info": {}} if key != "c" else {"key": key, "error": "not_found"} for key in body["keys"]],
    )
    given = {"replications": [REPLICATION, {**REPLICATION, "name": "s", "source": "c"}]}
    with pytest.raises(InvalidInput, match=r"^replications\[1\]\.source: the database c does not exist"):
        carry_out(given)
    assert wire.written == []
    outcome = carry_out(given, check_mode=True)
    assert len(outcome.changes) == 2
    assert "replications[1].source" in outcome.warnings[-1]


def test_without_a_replicator_database_a_real_run_fails_and_check_mode_warns(wire: Wire) -> None:
    wire["POST /_dbs_info"] = [{"key": name, "info": {}} for name in ("a", "b")]
    with pytest.raises(errors.NotFound, match="no database x/_replicator"):
        carry_out({"replicator": "x/_replicator"})
    outcome = carry_out({"replicator": "x/_replicator"}, check_mode=True)
    assert [change.action for change in outcome.changes] == ["create"]
    assert "no database x/_replicator" in outcome.warnings[-1]
    assert wire.written == []
    assert carry_out({"state": "absent"}).changes == []


@pytest.mark.parametrize(
    ("answer", "changed"),
    [
        ({"ok": True, "no_changes": True, "history": [{"docs_written": 9}]}, False),
        ({"ok": True, "history": [{"docs_read": 2, "docs_written": 0, "doc_write_failures": 2}]}, False),
        ({"ok": True, "history": [{"docs_read": 2, "docs_written": 2, "doc_write_failures": 0}]}, True),
    ],
)
def test_copying_once_is_a_change_when_something_was_copied(wire: Wire, answer: t.Any, changed: bool) -> None:
    wire["POST /_dbs_info"] = [{"key": name, "info": {}} for name in "ab"]
    wire["POST /_replicate"] = answer
    outcome = carry_out(ONCE)
    assert bool(outcome.changes) is changed
    (row,) = outcome.returned["replications"]
    assert (row["state"], row["info"]["docs_written"], row["exists"]) == ("completed", 2 if changed else 0, False)
    assert carry_out(ONCE, check_mode=True).changes


def test_creating_the_target_is_a_change_though_nothing_was_copied(wire: Wire) -> None:
    wire["POST /_dbs_info"] = [{"key": "a", "info": {}}, {"key": "b", "error": "not_found"}]
    wire["POST /_replicate"] = {"ok": True, "no_changes": True}
    assert carry_out({**ONCE, "create_target": True}).changes


def test_copying_takes_as_long_as_it_may(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float | None] = []
    send = connection.Connection.request

    def note(self: t.Any, *arguments: t.Any, **options: t.Any) -> t.Any:
        given.append(options.get("timeout"))
        return send(self, *arguments, **options)

    monkeypatch.setattr(connection.Connection, "request", note)
    wire["POST /_dbs_info"] = [{"key": name, "info": {}} for name in "ab"]
    wire["POST /_replicate"] = errors.TimedOut("no answer")
    with pytest.raises(module.Interrupted, match="wait_timeout"):
        carry_out({**ONCE, "wait_timeout": 3600})
    assert [timeout for timeout in given if timeout] == [3600]


def test_a_job_that_runs_is_stopped_once(wire: Wire) -> None:
    job = {"doc_id": None, "id": "j+continuous", "source": f"{URL}a/", "target": f"{URL}b/", "info": None}
    other = {**job, "doc_id": "r", "database": "_replicator"}
    wire[JOBS] = InTurn([{"total_rows": 2, "jobs": [other, job]}, {"total_rows": 1, "jobs": [other]}])
    wire["POST /_replicate"] = InTurn([{"ok": True}, (404, {"error": "not_found", "reason": "missing"})])
    given = {**ON, "state": "absent"}
    assert [str(change) for change in carry_out(given).changes] == ["delete replication a to b"]
    assert json.dumps(wire.bodies[2]).count('"cancel": true') == 1
    assert carry_out(given).changes == []
    # Another client stopped it.
    wire[JOBS] = {"total_rows": 1, "jobs": [job]}
    assert carry_out(given).changes == []


def test_jobs_of_1x_are_found_among_its_tasks(wire: Wire) -> None:
    wire["GET /"] = {"couchdb": "Welcome", "version": "1.7.2"}
    task = {"type": "replication", "source": "a", "target": "b", "replication_id": "j+continuous", "continuous": True}
    wire["GET /_active_tasks"] = [{"type": "indexer"}, {**task, "doc_id": "x"}, {**task, "doc_id": None}]
    outcome = carry_out(ON)
    assert outcome.changes == []
    assert outcome.returned["replications"][0]["source"] == "a"


# --- What is waited for


WAITED = {"wait": True, "continuous": True}
HELD_ON = {**HELD, "continuous": True}


def test_a_continuous_one_is_waited_for_until_it_has_reached_its_ends(wire: Wire, clock: Clock) -> None:
    wire[READS] = rows(HELD_ON)
    wire[STATE] = InTurn(
        [{"state": state, "info": None, "id": "j"} for state in (None, "initializing", "running", "running")]
    )
    wire["GET /_active_tasks"] = InTurn([[], [{"type": "replication", "replication_id": "j"}]])
    outcome = carry_out(WAITED)
    assert outcome.returned["replications"][0]["state"] == "running"
    assert wire.asked == ["GET /", READS, STATE, STATE, STATE, "GET /_active_tasks", STATE, "GET /_active_tasks"]
    assert len(clock.pauses) == 3


@pytest.mark.parametrize("state", ["crashing", "error", "failed"])
def test_a_broken_one_fails_with_the_reason(wire: Wire, clock: Clock, state: str) -> None:
    wire[READS] = rows(HELD_ON)
    wire[STATE] = {"state": state, "info": {"error": "db_not_found: could not open x"}, "id": "j"}
    with pytest.raises(errors.CouchDBError) as caught:
        carry_out(WAITED)
    told = "in the state error" if state == "error" else state
    assert str(caught.value) == f"the replication r is {told}: db_not_found: could not open x"
    assert clock.pauses == []


def test_one_that_does_not_come_fails_at_the_timeout(wire: Wire, clock: Clock) -> None:
    wire[READS] = rows(HELD)
    wire[STATE] = {"state": "pending", "info": None, "id": "j"}
    with pytest.raises(errors.CouchDBError, match="the replication r is still pending after 60 s"):
        carry_out({"wait": True})
    assert sum(clock.pauses) == pytest.approx(60)
    assert max(clock.pauses) <= 5
    assert wire.asked.count(STATE) < 40


@pytest.mark.parametrize("waits", [True, False])
def test_what_is_read_after_a_change_ends_with_the_wait(wire: Wire, clock: Clock, waits: bool) -> None:
    left: list[float] = []

    def state(body: t.Any) -> t.Any:
        left.append(wait.seconds_left())
        return 200, {"state": "completed", "info": {}, "id": "j", "start_time": str(len(left))}

    wire[READS] = InTurn([rows(copy.deepcopy(HELD)), rows({**HELD, "_rev": "2-b", "doc_ids": ["x"]})])
    wire["POST /_dbs_info"] = [{"key": name, "info": {}} for name in "ab"]
    wire["PUT /_replicator/r"] = 201, {"ok": True, "id": "r", "rev": "2-b"}
    wire[STATE] = state
    carry_out({"doc_ids": ["x"], "wait": waits, "wait_timeout": 3})
    assert left == [float("inf"), 3 if waits else float("inf")]


def test_several_are_waited_for_with_one_request_a_look(wire: Wire, clock: Clock) -> None:
    names = ["r1", "r2", "r3"]
    wire[READS] = rows(*[{**HELD, "_id": name} for name in names])
    open_, done = ("pending", None), ("completed", {"docs_written": 1})
    wire[STATES] = InTurn([scheduled(r1=done, r2=open_, r3=open_), scheduled(r1=done, r2=done, r3=done)])
    outcome = carry_out({"replications": [{**REPLICATION, "name": name, "wait": True} for name in names]})
    assert wire.asked == ["GET /", READS, STATES, STATES]
    assert [row["state"] for row in outcome.returned["replications"]] == ["completed"] * 3


def test_the_state_of_before_a_change_is_not_taken_for_that_of_after(wire: Wire, clock: Clock) -> None:
    changed = {**HELD_ON, "_rev": "2-b"}
    old = {"state": "running", "info": {"docs_written": 1}, "id": "j", "start_time": "t1"}
    new = {"state": "crashing", "info": {"error": "no"}, "id": "k", "start_time": "t2"}
    wire[READS] = InTurn([rows(copy.deepcopy(HELD)), rows(changed)])
    wire["POST /_dbs_info"] = [{"key": name, "info": {}} for name in "ab"]
    wire["PUT /_replicator/r"] = 201, {"ok": True, "id": "r", "rev": "2-b"}
    wire[STATE] = InTurn([old, old, old, new])
    with pytest.raises(module.Interrupted, match="crashing: no"):
        carry_out(WAITED)
    # A state that stays is believed in the end.
    wire[READS] = InTurn([rows(copy.deepcopy(HELD)), rows(changed)])
    wire[STATE] = old
    assert carry_out(WAITED).returned["replications"][0]["state"] == "running"


def test_a_job_that_vanishes_has_failed(wire: Wire, clock: Clock) -> None:
    wire[JOBS] = {"total_rows": 0, "jobs": []}
    wire["POST /_dbs_info"] = [{"key": name, "info": {}} for name in "ab"]
    wire["POST /_replicate"] = 202, {"ok": True, "_local_id": "j+continuous"}
    with pytest.raises(module.Interrupted, match="the replication a to b is failed: it has stopped"):
        carry_out({**ON, "wait": True})


# --- Passwords at both ends

FAR = "http://far.example/there/"
ADMIN = {"url": FAR, "login_user": "boss", "login_password": "b0ss"}
FAST = {"prf": "sha", "iterations": 1}
ROWS = "GET /_replicator/_all_docs?include_docs=true"


def far_end(name: str, password: str, user: str = "repl") -> dict[str, t.Any]:
    return {"url": f"{FAR}{name}", "username": user, "password": password}


def far_user(password: str, name: str = "repl") -> dict[str, t.Any]:
    fields = passwords.derive(password, **FAST).user_fields()
    return {"_id": f"org.couchdb.user:{name}", "_rev": "1-u", "name": name, "type": "user", "roles": ["r"], **fields}


def far_document(name: str, password: str, **more: t.Any) -> dict[str, t.Any]:
    far = {"url": f"{FAR}a", "auth": {"basic": {"username": "repl", "password": password}}}
    return {"_id": name, "_rev": "1-a", "owner": "ann", **DOCUMENT, "source": far, **more}


def both(wire: Wire, user: t.Any, *documents: dict[str, t.Any], admins: t.Any = ()) -> None:
    """A server with these replications, and the one at which they log in as this user, in the folder /there."""
    wire[READS], wire[ROWS] = rows(*documents), {"rows": [{"id": each["_id"], "doc": each} for each in documents]}
    wire[STATES], wire[STATE] = scheduled(), {"doc_id": "r", "state": "running", "info": None}
    wire["POST /_dbs_info"] = lambda body: (200, [{"key": name, "info": {}} for name in body["keys"]])
    wire[JOBS] = {"total_rows": 0, "jobs": []}
    wire["GET /there/"] = WELCOME
    wire["GET /there/_node/_local/_config"] = {"chttpd_auth": {"iterations": "1"}}
    wire["GET /there/_node/_local/_config/admins"] = dict.fromkeys(admins, "-pbkdf2-")
    wire["POST /there/_users/_all_docs?include_docs=true"] = rows(*([user] if user else []))
    wire["PUT /there/_users/org.couchdb.user:repl"] = 201, {"ok": True, "id": "u", "rev": "2-u"}
    for name in ("r", "s"):
        wire[f"DELETE /_replicator/{name}?rev=1-a"] = {"ok": True, "id": name, "rev": "2-a"}
        wire[f"PUT /_replicator/{name}"] = 201, {"ok": True, "id": name, "rev": "3-a"}


@pytest.mark.parametrize("check_mode", [True, False])
def test_a_new_password_is_set_while_nothing_logs_in_with_it(wire: Wire, check_mode: bool) -> None:
    both(wire, far_user("old"), far_document("r", "old"), {**HELD, "_id": "s"})
    given = {
        "replications": [
            {**REPLICATION, "source": far_end("a", "new")},
            {**REPLICATION, "name": "s"},
        ],
        "endpoint_admins": [ADMIN],
    }
    outcome = carry_out(given, check_mode)
    assert [(str(change), change.stage) for change in sorted(outcome.changes, key=lambda change: change.stage)] == [
        ("delete replication r", 0),
        (f"update user {FAR}repl", 1),
        ("create replication r", 2),
    ]
    assert outcome.warnings[-1:] == [f"credentials go to {FAR} in clear text, which the network can read. Use https"]
    if check_mode:
        assert wire.written == []
        return
    assert wire.written == [
        "DELETE /_replicator/r?rev=1-a",
        "PUT /there/_users/org.couchdb.user:repl",
        "PUT /_replicator/r",
    ]
    sent = dict(zip(wire.asked, wire.bodies, strict=True))
    user = sent["PUT /there/_users/org.couchdb.user:repl"]
    assert passwords.verify("new", t.cast(t.Any, passwords.parse_user(user)))
    assert (user["_rev"], user["roles"]) == ("1-u", ["r"])
    assert sent["PUT /_replicator/r"]["source"]["auth"]["basic"]["password"] == "new"
    assert sent["PUT /_replicator/r"]["owner"] == "ann"
    for line, headers in zip(wire.asked, wire.headers, strict=True):
        admin = basic_authorization("boss", "b0ss") if "/there/" in line else basic_authorization("admin", "secret")
        assert headers["Authorization"] == admin


def test_a_password_changes_once_the_replications_have_ended(wire: Wire, clock: Clock) -> None:
    both(wire, far_user("old"), far_document("r", "old"))
    running = {"total_rows": 2, "jobs": [{"doc_id": "other"}, {"doc_id": "r"}]}
    wire[JOBS] = InTurn([running, running, {"total_rows": 0, "jobs": []}])
    given = {"source": far_end("a", "new"), "endpoint_admins": [ADMIN]}
    carry_out(given)
    at = wire.asked.index
    assert wire.asked.count(JOBS) == 3
    assert at("DELETE /_replicator/r?rev=1-a") < at(JOBS) < at("PUT /there/_users/org.couchdb.user:repl")
    wire[JOBS] = running
    del wire.asked[:]
    with pytest.raises(module.Interrupted, match="replications r still run 60 s after their documents were deleted"):
        carry_out(given)
    assert wire.written == ["DELETE /_replicator/r?rev=1-a"]


@pytest.mark.parametrize("jobs", [{"total_rows": 1, "jobs": [{"doc_id": "r"}]}, TimeoutError("late")])
def test_a_password_that_is_not_sent_is_not_unsure(wire: Wire, clock: Clock, jobs: t.Any) -> None:
    both(wire, far_user("old"), far_document("r", "old"))
    wire[JOBS] = jobs
    with pytest.raises(module.Interrupted) as stop:
        carry_out({"source": far_end("a", "new"), "endpoint_admins": [ADMIN]})
    result = module.failure(stop.value.error, stop.value.progress)
    assert (result["changes_failed"], result["changes_unsure"]) == ([f"update user {FAR}repl"], [])


def test_a_new_password_starts_replications_without_a_document_anew(wire: Wire) -> None:
    both(wire, far_user("old"))
    wire[JOBS] = {"total_rows": 1, "jobs": [{**JOB, "doc_id": None, "source": f"{FAR}a/"}]}
    sent: list[t.Any] = []
    wire["POST /_replicate"] = lambda body: (sent.append(body), (200, {"ok": True}))[1]
    carry_out({**ON, "source": far_end("a", "new"), "endpoint_admins": [ADMIN]})
    assert wire.written == ["POST /_replicate", "PUT /there/_users/org.couchdb.user:repl", "POST /_replicate"]
    assert [body.get("cancel") for body in sent] == [True, None]


@pytest.mark.parametrize(
    ("user", "document"),
    [
        ("new", far_document("r", "new")),
        # It has ended, and logs in no more.
        ("old", far_document("r", "new", **DONE)),
    ],
)
def test_what_is_as_declared_stays(wire: Wire, user: str, document: dict[str, t.Any]) -> None:
    both(wire, far_user(user), document)
    outcome = carry_out({"source": far_end("a", "new"), "endpoint_admins": [ADMIN]})
    assert [str(change) for change in outcome.changes] == ([] if user == "new" else [f"update user {FAR}repl"])


@pytest.mark.parametrize(
    ("user", "others", "admins", "problem"),
    [
        (None, [], [], f"endpoint_admins[0].url: there is no user repl at {FAR}"),
        (far_user("old"), [], ["repl"], "endpoint_admins[0].url: repl is a server admin there"),
        (far_user("old"), [far_document("s", "old")], [], f"replications: s also log in as repl at {FAR}"),
        (far_user("old"), [far_document("s", "old", **DONE)], [], None),
    ],
)
def test_a_password_that_must_not_change_stops_all_before_anything_is_sent(
    wire: Wire, user: t.Any, others: list[t.Any], admins: list[str], problem: str | None
) -> None:
    both(wire, user, far_document("r", "old"), *others, admins=admins)
    given = {"source": far_end("a", "new"), "endpoint_admins": [ADMIN]}
    if problem is None:
        carry_out(given)
        return
    with pytest.raises(InvalidInput, match=re.escape(problem)):
        carry_out(given)
    assert problem in carry_out(given, check_mode=True).warnings[-1]
    assert wire.written == []


@pytest.mark.parametrize(
    ("admins", "source", "problem"),
    [
        ([ADMIN, {**ADMIN, "url": "http://FAR.example:80/there"}], {}, "endpoint_admins[1].url: .* listed twice"),
        ([{**ADMIN, "url": "http://x:y@far.example/"}], {}, "endpoint_admins[0].url: contains credentials"),
        ([{**ADMIN, "url": "https://far.example/there/"}], {}, "endpoint_admins[0].url: no replication logs in to"),
        ([{**ADMIN, "url": "far.example"}], {}, "endpoint_admins[0].url"),
        ([ADMIN], {"password": ""}, "source: contains an empty password for repl"),
        ([ADMIN], {"username": "boss"}, "source: logs in as boss, the server admin"),
    ],
)
def test_servers_that_no_password_can_be_set_on(admins: t.Any, source: t.Any, problem: str) -> None:
    given = {**PARAMS, "source": {**far_end("a", "new"), **source}, "endpoint_admins": admins}
    with pytest.raises(InvalidInput, match=problem.replace("[", r"\[")):
        resource.desire(given)


def test_replications_agree_on_a_password() -> None:
    given = [{**REPLICATION, "name": name, "source": far_end("a", name)} for name in ("r", "s")]
    with pytest.raises(InvalidInput, match=r"^replications\[1\].source: contains another password for repl"):
        resource.desire({**PARAMS, "replications": given, "endpoint_admins": [ADMIN]})


def test_the_password_of_the_other_server_is_hidden() -> None:
    given = {**PARAMS, "source": far_end("a", "new"), "endpoint_admins": [{**ADMIN, "login_password": "b/ss"}]}
    assert "b%2Fss" in resource.secrets(given)


def test_what_is_returned_and_hidden() -> None:
    given = {
        "source": "https://ann:p%2Fw@far.example/x",
        "target": {"database": "b", "username": "u", "password": "h1dden"},
    }
    assert {"p%2Fw", "p/w", "h1dden"} <= resource.secrets({**PARAMS, **given})
    assert "h1dden" in resource.secrets({**PARAMS, "replications": [{**BARE, **given}]})
    desired = resource.desire({**PARAMS, **given})
    plan = resource.plan(desired, Observed(HERE, {"r": None}))
    told = json.dumps(resource.report(desired, plan.predicted, list(plan.changes)))
    assert "https://far.example/x" in told
    assert "p/w" not in told
    assert "h1dden" not in told
