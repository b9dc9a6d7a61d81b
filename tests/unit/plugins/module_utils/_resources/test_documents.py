# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""couchdb_document: its plans as tables, and the requests that reach the wire."""

from __future__ import annotations

import base64
import typing as t
from pathlib import Path

import pytest
from ansible_collections.couchpy.couchdb.plugins.module_utils import errors
from ansible_collections.couchpy.couchdb.plugins.module_utils._engine import module
from ansible_collections.couchpy.couchdb.plugins.module_utils._engine.plan import diff
from ansible_collections.couchpy.couchdb.plugins.module_utils._resources import documents as resource
from ansible_collections.couchpy.couchdb.plugins.module_utils._resources.documents import Observed
from ansible_collections.couchpy.couchdb.plugins.module_utils.errors import InvalidInput
from ansible_collections.couchpy.couchdb.tests.unit.clock import Clock
from ansible_collections.couchpy.couchdb.tests.unit.wire import InTurn, Wire, client

RESOURCE = resource.RESOURCE
OPTIONS: dict[str, t.Any] = {"documents": None, "src": None, "ids": None}
OWN = {"state": "present", "mode": "replace", "build": False, "staged": False}
PARAMS: dict[str, t.Any] = {
    **OPTIONS,
    **OWN,
    "database": "db",
    "remote_src": False,
    "wait_timeout": 600,
    "databases": None,
}
NONE_OF_ITS_OWN: dict[str, t.Any] = {**OPTIONS, **dict.fromkeys(OWN)}
READ = "POST /db/_all_docs?conflicts=true&include_docs=true"
WRITE = "POST /db/_bulk_docs"
LIMIT = "GET /_node/_local/_config/couchdb"
DDOC = {"_id": "_design/app", "views": {"a": {"map": "function (doc) {}"}}}
REFUSED_PROBE = [
    {
        "id": "_design/app-functions",
        "error": "compilation_error",
        "reason": "Compilation of the map function in the '~' view failed: SyntaxError (~)",
    }
]


class Shelf:
    """Databases on a Wire: documents that are read by their keys and written in bulk or alone, as CouchDB does it."""

    def __init__(self, wire: Wire, **databases: dict[str, dict[str, t.Any]]) -> None:
        self.databases = databases
        wire[LIMIT] = {}
        for name in databases:
            for query in ("include_docs=true", "conflicts=true&include_docs=true"):
                wire[f"POST /{name}/_all_docs?{query}"] = lambda body, name=name: (200, self._read(name, body))
            wire[f"POST /{name}/_bulk_docs"] = lambda body, name=name: (201, self._write(name, body["docs"]))

    def _read(self, name: str, body: t.Any) -> dict[str, t.Any]:
        held = self.databases[name]
        rows = []
        for key in body["keys"]:
            row = (
                {"id": key, "key": key, "value": {}, "doc": held.get(key)}
                if key in held
                else {"key": key, "error": "not_found"}
            )
            rows.append(row)
        return {"rows": rows}

    def _write(self, name: str, documents: list[dict[str, t.Any]]) -> list[dict[str, t.Any]]:
        return [self._row(self.databases[name], dict(document)) for document in documents]

    def _row(self, held: dict[str, dict[str, t.Any]], document: dict[str, t.Any]) -> dict[str, t.Any]:
        docid, rev = document["_id"], document.pop("_rev", None)
        if docid.endswith("-functions"):
            return {**REFUSED_PROBE[0], "id": docid}
        if (held.get(docid) or {}).get("_rev") != rev:
            return {"id": docid, "error": "conflict", "reason": "Document update conflict."}
        number = int(rev.partition("-")[0]) if rev else 0
        if document.pop("_deleted", False):
            del held[docid]
        else:
            held[docid] = {**document, "_rev": f"{number + 1}-x"}
        return {"ok": True, "id": docid, "rev": f"{number + 1}-x"}

    def take_alone(self, wire: Wire, name: str, docid: str) -> None:
        """Let a design document be written by PUT."""

        def answer(body: t.Any) -> tuple[int, t.Any]:
            row = self._row(self.databases[name], dict(body))
            return (409 if "error" in row else 201), row

        wire[f"PUT /{name}/{docid}"] = answer


def carry_out(check_mode: bool = False, **given: t.Any) -> module.Outcome:
    desired = RESOURCE.desire({**PARAMS, **given})
    return module.carry_out(RESOURCE, desired, client(), check_mode=check_mode)


def statuses(outcome: module.Outcome) -> dict[str, str]:
    return {row["id"]: row["status"] for row in outcome.returned["documents"]}


@pytest.mark.parametrize(
    ("held", "given", "status"),
    [
        (None, {"documents": [{"_id": "x", "a": 1}]}, "created"),
        ({"a": 1}, {"documents": [{"_id": "x", "a": 1}]}, "unchanged"),
        ({"a": 1}, {"documents": [{"_id": "x", "_rev": "7-z", "a": 1.0}]}, "unchanged"),
        ({"a": 1, "b": 1}, {"documents": [{"_id": "x", "a": 1}]}, "updated"),
        ({"a": 1, "b": 1}, {"documents": [{"_id": "x", "a": 1}], "mode": "merge"}, "unchanged"),
        ({"a": 1}, {"ids": ["x"], "state": "absent"}, "deleted"),
        ({"a": 1}, {"documents": [{"_id": "x", "b": 7, "_x": 1}], "state": "absent"}, "deleted"),
        (None, {"ids": ["x"], "state": "absent"}, "unchanged"),
    ],
)
def test_each_document_has_a_status_and_the_second_run_writes_nothing(
    wire: Wire, held: t.Any, given: dict[str, t.Any], status: str
) -> None:
    shelf = Shelf(wire, db={"x": {"_id": "x", "_rev": "3-c", **held}} if held else {})
    predicted = carry_out(check_mode=True, **given)
    assert not wire.written
    outcome = carry_out(**given)
    assert statuses(predicted) == statuses(outcome) == {"x": status}
    assert diff(predicted.changes) == diff(outcome.changes)
    revs = [shelf.databases["db"].get("x", {}).get("_rev")]
    assert [row["rev"] for row in outcome.returned["documents"]] == revs
    written = list(wire.written)
    assert bool(written) == (status != "unchanged")
    assert statuses(carry_out(**given)) == {"x": "unchanged"}
    assert wire.written == written


def test_a_thousand_documents_that_are_as_declared_take_two_requests(wire: Wire) -> None:
    documents = [{"_id": f"d{number}", "n": number} for number in range(1000)]
    Shelf(wire, db={document["_id"]: {**document, "_rev": "1-a"} for document in documents})
    outcome = carry_out(documents=documents)
    assert set(statuses(outcome).values()) == {"unchanged"}
    assert wire.asked == ["GET /", READ]


def test_many_documents_are_written_in_portions(wire: Wire) -> None:
    Shelf(wire, db={})
    outcome = carry_out(documents=[{"_id": f"d{number}"} for number in range(1200)])
    assert len(outcome.changes) == 1200
    sent = [len(body["docs"]) for body in wire.bodies if body and "docs" in body]
    assert sorted(sent) == [200, 500, 500]


def test_large_documents_are_written_in_portions_of_bounded_size(wire: Wire) -> None:
    Shelf(wire, db={})
    content = base64.b64encode(bytes(5 * 512 * 1024)).decode()
    documents = [{"_id": f"d{number}", "_attachments": {"a": {"data": content}}} for number in range(5)]
    carry_out(documents=documents)
    sent = [len(body["docs"]) for body in wire.bodies if body and "docs" in body]
    assert sorted(sent) == [1, 2, 2]


def test_a_document_over_the_limit_of_the_server_is_refused_before_anything_is_written(wire: Wire) -> None:
    Shelf(wire, db={})
    wire[LIMIT] = {"max_document_size": "100"}
    with pytest.raises(
        InvalidInput, match=r"^documents\[1\]: the document b has 108 bytes, and the server accepts 100"
    ):
        carry_out(documents=[{"_id": "a"}, {"_id": "b", "x": "y" * 100}])
    assert not wire.written


@pytest.mark.parametrize("answer", [(403, {"error": "forbidden"}), (401, {"error": "unauthorized"})])
def test_a_limit_that_may_not_be_read_is_left_to_the_server(wire: Wire, answer: t.Any) -> None:
    Shelf(wire, db={})
    wire[LIMIT] = answer
    wire[WRITE] = 413, {"error": "document_too_large", "reason": "a"}
    with pytest.raises(module.Interrupted) as stop:
        carry_out(documents=[{"_id": "a"}])
    assert stop.value.error.error == "document_too_large"


def test_a_missing_database_fails_before_anything_is_written(wire: Wire) -> None:
    Shelf(wire, db={})
    databases = [
        {**NONE_OF_ITS_OWN, "database": "db", "documents": [{"_id": "a"}]},
        {**NONE_OF_ITS_OWN, "database": "none", "documents": [{"_id": "b"}]},
    ]
    given = {"database": None, "databases": databases}
    predicted = carry_out(check_mode=True, **given)
    assert statuses(predicted) == {"a": "created", "b": "created"}
    (warning,) = predicted.warnings
    assert warning.startswith("database none is missing. Create it first, with couchdb_database (a real run fails")
    with pytest.raises(
        errors.NotFound, match="database none is missing. Create it first, with couchdb_database"
    ) as stop:
        carry_out(**given)
    assert errors.describe(stop.value) == {"status": 404, "error": "not_found", "reason": "Database does not exist."}
    assert wire.written == []
    absent = carry_out(database="none", ids=["b"], state="absent")
    assert (statuses(absent), absent.warnings) == ({"b": "unchanged"}, [])


def test_a_document_that_is_refused_is_named(wire: Wire) -> None:
    Shelf(wire, db={})
    wire[WRITE] = 201, [{"id": "a", "error": "forbidden", "reason": "no a"}, {"ok": True, "id": "b", "rev": "1-x"}]
    with pytest.raises(module.Interrupted) as stop:
        carry_out(documents=[{"_id": "a"}, {"_id": "b"}])
    failed = module.failure(stop.value.error, stop.value.progress)
    assert failed["msg"].startswith("create document db/a: the document a was refused: forbidden: no a")
    assert failed["changes_done"] == ["create document db/b"]


def test_a_document_is_deleted_with_those_in_conflict_with_it(wire: Wire) -> None:
    held = {"_id": "x", "_rev": "2-b", "_conflicts": ["2-a", "1-z"]}
    wire[READ] = InTurn([{"rows": [{"key": "x", "doc": held}]}, {"rows": [{"key": "x", "doc": None}]}])
    wire[LIMIT] = {}
    wire[WRITE] = lambda body: (201, [{"ok": True, "id": "x", "rev": "3-c"} for document in body["docs"]])
    assert statuses(carry_out(ids=["x"], state="absent")) == {"x": "deleted"}
    sent = next(body["docs"] for body in wire.bodies if body and "docs" in body)
    assert sent == [{"_id": "x", "_rev": rev, "_deleted": True} for rev in ("2-b", "2-a", "1-z")]


def test_conflicts_without_end_end(wire: Wire) -> None:
    Shelf(wire, db={"a": {"_id": "a", "_rev": "1-a"}})
    wire[WRITE] = 201, [{"id": "a", "error": "conflict", "reason": "Document update conflict."}]
    with pytest.raises(module.Interrupted) as stop:
        carry_out(documents=[{"_id": "a", "n": 1}])
    assert isinstance(stop.value.error, errors.Conflict)
    assert len(wire.written) == 5
    message = module.failure(stop.value.error, stop.value.progress)["msg"]
    assert message.startswith("update document db/a: the document a was refused: conflict")
    assert "changed it at each of 5 attempts" in message


def test_an_attachment_whose_digest_shows_nothing_is_read(wire: Wire) -> None:
    held = {"content_type": "text/plain", "digest": "md5-other", "length": 1, "revpos": 1, "stub": True}
    Shelf(wire, db={"x": {"_id": "x", "_rev": "1-a", "_attachments": {"dir/a b": held}}})
    wire["GET /db/x/dir/a%20b"] = b"a"
    given = {"content_type": "text/plain", "data": "YQ=="}
    outcome = carry_out(documents=[{"_id": "x", "_attachments": {"dir/a b": given}}])
    assert statuses(outcome) == {"x": "unchanged"}
    assert not wire.written
    other = {"content_type": "text/plain", "data": "Yg=="}
    carry_out(documents=[{"_id": "x", "_attachments": {"dir/a b": other}}])
    assert [body["docs"][0]["_attachments"] for body in wire.bodies if body and "docs" in body] == [{"dir/a b": other}]


def test_design_documents_go_before_the_documents_that_they_check(wire: Wire) -> None:
    shelf = Shelf(wire, db={})
    shelf.take_alone(wire, "db", "_design/app")
    carry_out(documents=[{"_id": "a"}, {**DDOC, "validate_doc_update": "function (doc) {}"}])
    assert wire.written == [WRITE, "PUT /db/_design/app", WRITE]
    probe = next(body["docs"][0] for body in wire.bodies if body and "docs" in body)
    assert probe["views"] == {"validate_doc_update": {"map": "function (doc) {}"}, "~": {"map": "~"}}


def test_a_function_that_does_not_compile_is_named_with_its_file_and_nothing_is_written(
    wire: Wire, tmp_path: Path
) -> None:
    Shelf(wire, db={})
    view = tmp_path / "_design" / "app" / "views" / "a"
    view.mkdir(parents=True)
    (view / "map.js").write_text("function (")
    reason = "Compilation of the map function in the 'a' view failed: SyntaxError (function ()"
    wire["PUT /db/_design/app"] = 400, {"error": "compilation_error", "reason": reason}
    with pytest.raises(module.Interrupted) as stop:
        carry_out(src=str(tmp_path))
    message = module.failure(stop.value.error, stop.value.progress)["msg"]
    assert message.startswith("create document db/_design/app: ")
    assert reason in message
    assert f"(in {view / 'map.js'})" in message


def test_a_check_of_documents_that_does_not_compile_is_never_written(wire: Wire, tmp_path: Path) -> None:
    Shelf(wire, db={})
    app = tmp_path / "_design" / "app"
    app.mkdir(parents=True)
    (app / "validate_doc_update.js").write_text("function (")
    reason = "Compilation of the map function in the 'validate_doc_update' view failed: SyntaxError (function ()"
    wire[WRITE] = 201, [{"id": "_design/app-functions", "error": "compilation_error", "reason": reason}]
    with pytest.raises(module.Interrupted) as stop:
        carry_out(src=str(tmp_path))
    message = module.failure(stop.value.error, stop.value.progress)["msg"]
    assert "validate_doc_update does not compile: SyntaxError (function ()" in message
    assert f"(in {app / 'validate_doc_update.js'})" in message
    assert wire.written == [WRITE]


def test_a_function_that_requires_a_module_while_it_compiles_hides_no_other(wire: Wire) -> None:
    shelf = Shelf(wire, db={})
    shelf.take_alone(wire, "db", "_design/app")
    failed = "Compilation of the map function in the '{}' view failed: {} (code)"
    probes: list[list[str]] = []

    def answer(body: t.Any) -> tuple[int, t.Any]:
        probes.append(sorted(body["docs"][0]["views"]))
        if "filters/a" in body["docs"][0]["views"]:
            reason = failed.format("filters/a", "error,invalid_require_path,Object has no property lib.")
        else:
            reason = failed.format("filters/b", "SyntaxError: unexpected token")
        return 201, [{"id": "_design/app-functions", "error": "compilation_error", "reason": reason}]

    wire[WRITE] = answer
    filters = {"a": "(function () { var m = require('lib/m'); return function () {} })()", "b": "function ("}
    with pytest.raises(module.Interrupted, match="filters/b does not compile"):
        carry_out(database="db", documents=[{"_id": "_design/app", "filters": filters}])
    assert probes == [["filters/a", "filters/b", "~"], ["filters/b", "~"]]
    assert shelf.databases["db"] == {}


def test_a_reference_to_an_undefined_name_is_refused_like_a_syntax_error(wire: Wire) -> None:
    shelf = Shelf(wire, db={})
    reason = (
        "Compilation of the map function in the 'validate_doc_update' view failed: "
        "ReferenceError: 'validate_orders' is not defined (validate_orders)"
    )
    wire[WRITE] = 201, [{"id": "_design/app-functions", "error": "compilation_error", "reason": reason}]
    with pytest.raises(module.Interrupted, match="validate_doc_update does not compile: ReferenceError"):
        carry_out(database="db", documents=[{"_id": "_design/app", "validate_doc_update": "validate_orders"}])
    assert wire.written == [WRITE]
    assert shelf.databases["db"] == {}


@pytest.mark.parametrize("staged", [False, True])
def test_a_function_that_requires_a_missing_module_is_never_written(wire: Wire, tmp_path: Path, staged: bool) -> None:
    Shelf(wire, db={})
    app = tmp_path / "_design" / "app"
    (app / "lib").mkdir(parents=True)
    (app / "lib" / "m.txt").write_text("exports.f = 1")
    (app / "validate_doc_update.js").write_text("function (doc) { require('lib/missing').f(doc); }")
    wire[WRITE] = 201, REFUSED_PROBE
    with pytest.raises(module.Interrupted) as stop:
        carry_out(src=str(tmp_path), staged=staged)
    message = module.failure(stop.value.error, stop.value.progress)["msg"]
    assert "validate_doc_update requires 'lib/missing', and _design/app has no such module" in message
    assert f"(in {app / 'validate_doc_update.js'})" in message
    assert wire.written == [WRITE]


def test_a_module_that_the_merged_design_document_has_may_be_required(wire: Wire) -> None:
    shelf = Shelf(wire, db={"_design/app": {"_id": "_design/app", "_rev": "1-x", "lib": {"m": "exports.f = 1"}}})
    shelf.take_alone(wire, "db", "_design/app")
    update = {"u": "(function () { var m = require('lib/m'); return function () {} })()"}
    carry_out(database="db", mode="merge", documents=[{"_id": "_design/app", "updates": update}])
    assert shelf.databases["db"]["_design/app"]["updates"] == update


VIEW = "GET /db/_design/{}/_view/a?limit=0&reduce=false"
BUILT = {"view_index": {"updates_pending": {"total": 0}, "updater_running": False}}


def test_a_staged_design_document_is_built_before_it_is_written(wire: Wire) -> None:
    shelf = Shelf(wire, db={"_design/app": {**DDOC, "_rev": "1-x", "views": {"a": {"map": "old"}}}})
    for docid in ("_design/app", "_design/app-staged"):
        shelf.take_alone(wire, "db", docid)
    seen: list[t.Any] = []

    def answer(body: t.Any) -> tuple[int, t.Any]:
        seen.append(shelf.databases["db"]["_design/app"]["views"])
        return 200, {"rows": []}

    wire[VIEW.format("app-staged")] = answer
    wire["GET /db/_design/app-staged/_info"] = wire["GET /db/_design/app/_info"] = BUILT
    wire[VIEW.format("app")] = {"rows": []}
    outcome = carry_out(documents=[DDOC], staged=True)
    assert seen == [{"a": {"map": "old"}}]
    assert wire.asked.index(VIEW.format("app")) < wire.asked.index(WRITE)
    assert statuses(outcome) == {"_design/app": "updated"}
    assert wire.written == ["PUT /db/_design/app-staged", "PUT /db/_design/app", WRITE]
    assert shelf.databases["db"] == {"_design/app": {**DDOC, "_rev": "2-x"}}
    carry_out(documents=[DDOC], staged=True)
    assert len(wire.written) == 3


def test_a_staged_design_document_that_is_not_built_in_time_leaves_the_old_one_and_is_gone_on_with(
    wire: Wire, clock: Clock
) -> None:
    shelf = Shelf(wire, db={"_design/app": {"_id": "_design/app", "_rev": "1-x", "views": {"a": {"map": "old"}}}})
    for docid in ("_design/app", "_design/app-staged"):
        shelf.take_alone(wire, "db", docid)
    late = (500, {"error": "timeout", "reason": "The request could not be processed in a reasonable amount of time."})
    pending = {"view_index": {"updates_pending": {"total": 1234}, "updater_running": True}}
    wire[VIEW.format("app-staged")] = late
    wire["GET /db/_design/app-staged/_info"] = pending
    wire["GET /db/_design/app/_info"], wire[VIEW.format("app")] = BUILT, {"rows": []}
    with pytest.raises(
        module.Interrupted, match="db/_design/app-staged are not built after 100 s: its copies still lack 1234 updates"
    ):
        carry_out(documents=[DDOC], staged=True, wait_timeout=100)
    assert shelf.databases["db"]["_design/app"]["views"] == {"a": {"map": "old"}}
    assert wire.written == ["PUT /db/_design/app-staged"]
    wire[VIEW.format("app-staged")] = {"rows": []}
    wire["GET /db/_design/app-staged/_info"] = BUILT
    carry_out(documents=[DDOC], staged=True, wait_timeout=1000)
    assert wire.written == ["PUT /db/_design/app-staged", "PUT /db/_design/app", WRITE]


def test_what_an_earlier_run_left_over_is_removed(wire: Wire) -> None:
    staged = {"_id": "_design/app-staged", "views": DDOC["views"], "_rev": "1-x"}
    shelf = Shelf(wire, db={"_design/app": {**DDOC, "_rev": "2-x"}, "_design/app-staged": staged})
    wire[VIEW.format("app")], wire["GET /db/_design/app/_info"] = {"rows": []}, BUILT
    outcome = carry_out(documents=[DDOC], staged=True)
    assert [str(change) for change in outcome.changes] == ["delete document db/_design/app-staged"]
    assert statuses(outcome) == {"_design/app": "unchanged"}
    assert list(shelf.databases["db"]) == ["_design/app"]


def test_build_waits_for_each_copy_that_is_at_work(wire: Wire, clock: Clock) -> None:
    Shelf(wire, db={"_design/app": {**DDOC, "_rev": "2-x"}})
    busy = {"view_index": {"updates_pending": {"total": 9}, "updater_running": True}}
    wire[VIEW.format("app")], wire["GET /db/_design/app/_info"] = {"rows": []}, InTurn([busy, busy, BUILT])
    wire[VIEW.format("app") + "&update=lazy"] = {"rows": []}
    carry_out(documents=[DDOC], build=True)
    assert wire.asked.count("GET /db/_design/app/_info") == 3
    idle = {"view_index": {"updates_pending": {"total": 9}, "updater_running": False}}
    wire["GET /db/_design/app/_info"] = idle
    wire.asked.clear()
    clock.pauses.clear()
    carry_out(documents=[DDOC], build=True)
    assert 5 <= sum(clock.pauses) < 7
    wire.asked.clear()
    carry_out(check_mode=True, documents=[DDOC], build=True)
    carry_out(documents=[{"_id": "_design/none", "filters": {}}], build=True, check_mode=True)
    assert VIEW.format("app") not in wire.asked


def test_an_index_that_couchdb_closes_is_asked_again(wire: Wire, clock: Clock) -> None:
    Shelf(wire, db={"_design/app": {**DDOC, "_rev": "2-x"}})
    closed = (404, {"error": "not_found", "reason": "Design document was updated or deleted."})
    wire[VIEW.format("app")], wire["GET /db/_design/app/_info"] = InTurn([closed, {"rows": []}]), BUILT
    carry_out(documents=[DDOC], build=True)
    assert wire.asked.count(VIEW.format("app")) == 2
    wire[VIEW.format("app")] = 404, {"error": "not_found", "reason": "deleted"}
    with pytest.raises(errors.NotFound):
        carry_out(documents=[DDOC], build=True)


def test_views_of_a_partitioned_database_are_asked_in_a_partition_of_each_shard(wire: Wire, clock: Clock) -> None:
    Shelf(wire, db={"_design/app": {**DDOC, "_rev": "2-x"}})
    refusal = {"error": "query_parse_error", "reason": "`partition` parameter is mandatory for queries to this view."}
    late = (500, {"error": "timeout", "reason": "The request could not be processed in a reasonable amount of time."})
    busy = {"view_index": {"updates_pending": {"total": 9}, "updater_running": True}}
    wire["GET /db/_shards"] = {"shards": {"00000000-7fffffff": ["a"], "80000000-ffffffff": ["a"]}}
    asked = VIEW.format("app")
    there = [asked.replace("_design", f"_partition/{name}/_design") for name in ("2", "0")]
    for lazy in ("", "&update=lazy"):
        wire[asked + lazy] = 400, refusal
        wire[there[0] + lazy] = {"rows": []}
        wire[there[1] + lazy] = {"rows": []} if lazy else InTurn([late, {"rows": []}])
    wire["GET /db/_design/app/_info"] = InTurn([busy, busy, busy, BUILT])
    carry_out(documents=[DDOC], build=True)
    counts = {request: wire.asked.count(request) for request in (*there, *(f"{one}&update=lazy" for one in there))}
    assert list(counts.values()) == [2, 2, 2, 2]


def test_a_staged_design_document_whose_functions_do_not_compile_is_not_built(wire: Wire) -> None:
    shelf = Shelf(wire, db={"_design/app": {**DDOC, "_rev": "1-x", "views": {"a": {"map": "old"}}}})
    shelf.take_alone(wire, "db", "_design/app-staged")
    reason = "Compilation of the map function in the 'filters/f' view failed: SyntaxError (function ()"
    wire[WRITE] = 201, [{"id": "_design/app-functions", "error": "compilation_error", "reason": reason}]
    with pytest.raises(module.Interrupted, match="filters/f does not compile"):
        carry_out(documents=[{**DDOC, "filters": {"f": "function ("}}], staged=True)
    assert wire.written == [WRITE]


@pytest.mark.parametrize("options", [{"build": True}, {"staged": True}])
def test_a_language_without_a_query_server_is_refused_before_the_design_document_is_written(
    wire: Wire, options: dict[str, t.Any]
) -> None:
    before = {"_design/app": {**DDOC, "_rev": "1-x"}}
    shelf = Shelf(wire, db=dict(before))
    for docid in ("_design/app", "_design/app-staged"):
        shelf.take_alone(wire, "db", docid)
    wire[VIEW.format("app-staged")] = 500, {"error": "unknown_query_language", "reason": "cobol"}
    with pytest.raises(module.Interrupted, match="_design/app: language is 'cobol'"):
        carry_out(documents=[{**DDOC, "language": "cobol"}], **options)
    assert shelf.databases["db"] == before


@pytest.mark.parametrize(
    ("given", "option"),
    [
        ({"documents": [{"_id": "a"}, {"_id": "a"}]}, "documents"),
        ({"documents": [{"a": 1}]}, "documents[0]"),
        ({"ids": ["a"]}, "ids"),
        ({"ids": ["a", "a"], "state": "absent"}, "documents"),
        ({"documents": [], "database": "A"}, "database"),
        ({"documents": [], "wait_timeout": 0}, "wait_timeout"),
        ({"src": "/nowhere"}, "src"),
        ({"src": ""}, "src"),
        ({"databases": [{**NONE_OF_ITS_OWN, "database": "A", "ids": []}]}, "databases[0].database"),
        ({"databases": [{**NONE_OF_ITS_OWN, "database": "a", "documents": [{}]}]}, "databases[0].documents[0]"),
        ({"documents": [{"_id": "_design/a"}, {"_id": "_design/a-staged"}], "staged": True}, "documents"),
    ],
)
def test_bad_input_names_the_option(given: dict[str, t.Any], option: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        resource.desire({**PARAMS, **given})
    assert caught.value.option == option


def test_a_document_from_two_options_names_both(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(InvalidInput, match=rf"the document a has two sources: documents\[0\] and {tmp_path}/a\.json"):
        resource.desire({**PARAMS, "documents": [{"_id": "a"}], "src": str(tmp_path)})


def test_what_a_database_does_not_say_the_task_says() -> None:
    databases = [
        {**NONE_OF_ITS_OWN, "database": "a", "ids": ["x"]},
        {**NONE_OF_ITS_OWN, "database": "b", "documents": [{"_id": "x"}], "state": "present", "build": False},
    ]
    desired = resource.desire(
        {**PARAMS, "database": None, "databases": databases, "state": "absent", "mode": "merge", "build": True}
    )
    assert [(one.present, one.mode, one.build) for one in desired.wanted.values()] == [
        (False, "merge", True),
        (True, "merge", False),
    ]


def test_secrets_inside_documents_are_hidden() -> None:
    databases = [{**NONE_OF_ITS_OWN, "database": "a", "documents": [{"_id": "x", "api_key": "c4n4ry"}]}]
    assert resource.secrets({**PARAMS, "documents": [{"_id": "x", "password": "pw"}]}) == {"pw"}
    assert resource.secrets({**PARAMS, "databases": databases}) == {"c4n4ry"}
    desired = resource.desire({**PARAMS, "documents": [{"_id": "x", "token": "c4n4ry"}]})
    plan = resource.plan(desired, Observed({}, {("db", "x"): None}, frozenset()))
    assert "c4n4ry" not in str(diff(plan.changes))
