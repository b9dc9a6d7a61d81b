# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""_documents: what is refused, what a write makes of a document, and when two are the same, as tables."""

from __future__ import annotations

import base64
import json
import typing as t

import pytest
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules import documents as rules
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules.documents import Wanted
from ansible_collections.couchpy.couchdb.plugins.module_utils.errors import InvalidInput

TEXT = b"hello world\n" * 100
PLAIN = "md5-hABsL6cLfk0u8wfMheQItg=="
# As CouchDB 3.3.3 and 3.4.3 answered for this content of the type text/plain.
GZIPPED = "md5-aIJGMijlyyxmkZ5voPhVDg=="
GIVEN = {"a.txt": {"content_type": "text/plain", "data": base64.b64encode(TEXT).decode()}}


def stub(digest: str = PLAIN, kind: str = "text/plain", length: int = 1200) -> dict[str, t.Any]:
    return {"a.txt": {"content_type": kind, "revpos": 1, "digest": digest, "length": length, "stub": True}}


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (1, 1.0, True),
        (1, True, False),
        (0, False, False),
        ([1, {"a": 1}], [1.0, {"a": 1.0}], True),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ({"a": True}, {"a": 1}, False),
        ([1, 2], [2, 1], False),
        ([1], [1, 1], False),
        ({"a": None}, {}, False),
        ("1", 1, False),
        ({}, [], False),
        (None, None, True),
    ],
)
def test_json_values_that_are_the_same(one: t.Any, other: t.Any, expected: bool) -> None:
    for pair in ((one, other), (other, one)):
        assert rules.equal(*pair) is expected


@pytest.mark.parametrize(
    ("given", "held", "mode", "expected"),
    [
        ({"a": 1}, None, "replace", {"_id": "x", "a": 1}),
        ({"a": 1, "_rev": "9-z", "_revisions": {}, "_conflicts": []}, None, "replace", {"_id": "x", "a": 1}),
        ({"a": 1}, {"a": 1.0}, "replace", None),
        ({"a": 1, "_rev": "9-z"}, {"a": 1}, "replace", None),
        ({"a": 1}, {"a": 1, "b": 2}, "replace", {"_id": "x", "_rev": "1-a", "a": 1}),
        ({"a": 1}, {"a": 1, "b": 2}, "merge", None),
        ({"a": 2}, {"a": 1, "b": 2}, "merge", {"_id": "x", "_rev": "1-a", "a": 2, "b": 2}),
        ({"a": {"c": 1}}, {"a": {"b": 1}}, "merge", {"_id": "x", "_rev": "1-a", "a": {"c": 1}}),
        ({"a": None}, {"a": 1}, "merge", {"_id": "x", "_rev": "1-a", "a": None}),
        ({}, None, "merge", {"_id": "x"}),
        ({"_attachments": GIVEN}, None, "replace", {"_id": "x", "_attachments": GIVEN}),
        ({"_attachments": GIVEN}, {"_attachments": stub()}, "replace", None),
        ({"_attachments": GIVEN}, {"_attachments": stub(GZIPPED)}, "replace", None),
        ({"_attachments": stub("other")}, {"_attachments": stub()}, "replace", None),
        (
            {"_attachments": GIVEN},
            {"_attachments": stub(kind="text/html")},
            "replace",
            {"_id": "x", "_rev": "1-a", "_attachments": GIVEN},
        ),
        (
            {"a": 2, "_attachments": GIVEN},
            {"a": 1, "_attachments": stub(GZIPPED)},
            "replace",
            {"_id": "x", "_rev": "1-a", "a": 2, "_attachments": stub(GZIPPED)},
        ),
        ({"a": 1}, {"a": 1, "_attachments": stub()}, "replace", {"_id": "x", "_rev": "1-a", "a": 1}),
        ({"a": 1}, {"a": 1, "_attachments": stub()}, "merge", None),
        (
            {"_attachments": {"b": {"data": "YQ=="}}},
            {"_attachments": stub()},
            "merge",
            {
                "_id": "x",
                "_rev": "1-a",
                "_attachments": {**stub(), "b": {"content_type": "application/octet-stream", "data": "YQ=="}},
            },
        ),
    ],
)
def test_what_is_written(given: t.Any, held: t.Any, mode: str, expected: t.Any) -> None:
    held = held and {"_id": "x", "_rev": "1-a", **held}
    written = rules.to_write(Wanted("db", {"_id": "x", **given}, True, mode), held)
    assert written is held if expected is None else written == expected


def test_what_couchdb_notes_of_a_replication_is_no_difference() -> None:
    held = {"_id": "x", "_rev": "1-a", "source": "a", "owner": "ann", "_replication_state": "completed"}
    wanted = Wanted("db/_replicator", {"_id": "x", "source": "a"}, True)
    assert rules.to_write(wanted, held) is held


def test_a_stub_of_what_is_missing_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"^here: the attachment x/a\.txt is a stub"):
        rules.to_write(Wanted("db", {"_id": "x", "_attachments": stub()}, True, where="here"), None)


@pytest.mark.parametrize(
    ("held", "expected"),
    [
        (None, []),
        ({}, []),
        ({"_attachments": stub()}, []),
        ({"_attachments": stub(GZIPPED)}, []),
        ({"_attachments": stub("md5-other")}, ["a.txt"]),
        ({"_attachments": stub("md5-other", length=1201)}, []),
        ({"_attachments": stub("md5-other", kind="text/html")}, []),
    ],
)
def test_attachments_that_must_be_read_to_compare_them(held: t.Any, expected: list[str]) -> None:
    assert rules.undecided(Wanted("db", {"_id": "x", "_attachments": GIVEN}, True), held) == expected


OPTIONS: dict[str, t.Any] = {
    "database": "db",
    "documents": None,
    "src": None,
    "ids": None,
    "state": "present",
    "mode": "replace",
    "build": False,
    "staged": False,
}


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({}, "without _id"),
        ({"_id": None}, "without _id"),
        ({"_id": ""}, "without _id"),
        ({"_id": 1}, "the _id 1 is not a string"),
        ({"_id": "_x"}, "'_x' is not an id"),
        ({"_id": "_design/"}, "'_design/' is not an id"),
        ({"_id": "_design/.."}, "'_design/..' is not an id"),
        ({"_id": "_local/."}, "'_local/.' is not an id"),
        ({"_id": "\ud800"}, "surrogate"),
        ({"_id": "x", "_deleted": True}, "x contains _deleted. Use state: absent"),
        ({"_id": "x", "_mine": 1}, "x contains _mine"),
        ({"_id": "x", "_replication_state": 1}, "x contains _replication_state"),
        ({"_id": "x", "a": float("nan")}, "x contains something that JSON cannot express"),
        (
            {"_id": "x", "a": json.loads("[" * 400 + "]" * 400)},
            "x contains lists or mappings nested deeper than 400 levels",
        ),
        (
            {"_id": "x", "a": json.loads('{"a":' * 401 + "1" + "}" * 401)},
            "x contains lists or mappings nested deeper than 400",
        ),
        ({"_id": "x", "a": "\ud800"}, "x contains half of a surrogate pair"),
        ({"_id": "x", "a": [{"b": -5e-324}]}, "x contains the number 5e-324, which CouchDB stores as 0.0"),
        ({"_id": "x", "_attachments": []}, "x contains _attachments that are not a mapping"),
        ({"_id": "x", "_attachments": {"a": {}}}, "x contains the attachment a without data"),
        (
            {"_id": "x", "_attachments": {"a": {"data": "é"}}},
            "x contains the attachment a with data that is not Base64",
        ),
        (
            {"_id": "x", "_attachments": {"a": {"data": "YQ"}}},
            "x contains the attachment a with data that is not Base64",
        ),
        ({"_id": "x", "_attachments": {"_a": {"data": ""}}}, "x contains the attachment _a. The name"),
        ({"_id": "x", "_attachments": {"a/../b": {"data": ""}}}, "the attachment a/../b. A part of the name is a step"),
        ({"_id": "x", "_attachments": {".": {"data": ""}}}, "the attachment .. A part of the name is a step"),
        ({"_id": "x", "_attachments": {"a": {"data": "", "content_type": 1}}}, "content_type that is not a string"),
        ({"_id": "_local/x", "_attachments": {"a": {"data": ""}}}, "doesn't keep in _local"),
    ],
)
def test_bad_documents_are_named(document: t.Any, says: str) -> None:
    given = [{"_id": "fine"}, document]
    with pytest.raises(InvalidInput, match=says) as caught:
        list(rules.declared({**OPTIONS, "documents": given}, "databases[3]."))
    assert caught.value.option == "databases[3].documents[1]"


def test_a_password_of_a_user_is_another_modules() -> None:
    for database in ("_users", "tenant/_users"):
        with pytest.raises(InvalidInput, match="Use couchdb_user"):
            list(rules.declared({**OPTIONS, "database": database, "documents": [{"_id": "x", "password": "p"}]}))
    with pytest.raises(InvalidInput, match="Use couchdb_user"):
        list(rules.declared({**OPTIONS, "documents": [{"_id": "org.couchdb.user:x", "password": "p"}]}))
    list(rules.declared({**OPTIONS, "documents": [{"_id": "x", "password": "p"}]}))


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"ids": ["a"]}, "ids"),
        ({"database": "Shop", "ids": []}, "database"),
        ({"ids": ["_a"], "state": "absent"}, "ids[0]"),
    ],
)
def test_bad_options_are_named(options: dict[str, t.Any], option: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        list(rules.declared({**OPTIONS, **options}))
    assert caught.value.option == option


def test_a_document_over_the_limit_is_refused_with_its_size() -> None:
    # Measured on CouchDB 3.4.3: 8000000 bytes are taken, and 8000001 are not; é counts for two.
    limit = 8_000_000
    fits = {"_id": "x", "_attachments": GIVEN, "x": "é" * 10 + "a" * (limit - 28)}
    assert rules.body_size(fits) == limit
    assert rules.to_write(Wanted("db", fits, True), None, limit) == fits
    with pytest.raises(InvalidInput, match="^here: the document x has 8000001 bytes, and the server accepts 8000000"):
        rules.to_write(Wanted("db", {**fits, "x": fits["x"] + "a"}, True, where="here"), None, limit)


def test_portions_are_bounded_in_number_and_bytes() -> None:
    sizes = [1] * 2500
    assert [len(portion) for portion in rules.portions(sizes, lambda size: size)] == [1000, 1000, 500]
    megabytes = [size * 1024 * 1024 for size in (10, 5, 2, 20, 1, 1)]
    portions = [[size >> 20 for size in portion] for portion in rules.portions(megabytes, lambda size: size)]
    assert portions == [[10, 5], [2], [20], [1, 1]]


def test_a_staged_document_has_the_views_and_nothing_that_has_an_effect() -> None:
    views = {"lib": {"x": "1"}, "a": {"map": "m"}}
    document = {
        "_id": "_design/app",
        "_rev": "1-a",
        "language": "javascript",
        "options": {"partitioned": False},
        "views": views,
        "validate_doc_update": "v",
        "filters": {"f": "f"},
        "_attachments": GIVEN,
    }
    assert rules.staging(document) == {
        "_id": "_design/app-staged",
        "language": "javascript",
        "options": {"partitioned": False},
        "views": views,
    }
    assert rules.views(document) == ["a"]
    assert rules.functions(document) == {"validate_doc_update": "v", "filters/f": "f"}
    assert rules.functions({**document, "language": "erlang"}) == {}


@pytest.mark.parametrize(
    ("held", "expected"),
    [
        (None, True),
        ({"views": {"a": {"map": "m"}}}, False),
        ({"views": {"a": {"map": "m"}}, "filters": {}}, False),
        ({"views": {"a": {"map": "n"}}}, True),
        ({"views": {"a": {"map": "m"}}, "options": {"partitioned": False}}, True),
        ({}, True),
    ],
)
def test_what_must_be_built_before_it_is_written(held: t.Any, expected: bool) -> None:
    assert rules.needs_building({"_id": "_design/a", "views": {"a": {"map": "m"}}}, held) is expected
    assert not rules.needs_building({"_id": "_design/a", "views": {"lib": {}}}, held)


@pytest.mark.parametrize(
    ("shards", "expected"),
    [
        (["00000000-ffffffff"], ["0"]),
        (["00000000-7fffffff", "80000000-ffffffff"], ["2", "0"]),
        (["00000000-3fffffff", "40000000-7fffffff", "80000000-ffffffff"], ["2", "3", "0"]),
        ([], []),
    ],
)
def test_a_partition_in_each_shard(shards: list[str], expected: list[str]) -> None:
    assert rules.partitions(shards) == expected


def test_what_a_diff_shows_of_attachments() -> None:
    shown = rules.shown({"_id": "x", "_rev": "1-a", "n": 1, "_attachments": GIVEN})
    assert shown == {"_id": "x", "n": 1, "_attachments": {"a.txt": {"content_type": "text/plain", "length": 1200}}}
    assert rules.shown({"_id": "x", "_rev": "2-b", "n": 1, "_attachments": stub(GZIPPED)}) == shown
    assert rules.shown(None) is None


COMPILED = "Compilation of the map function in the '{}' view failed: {} (function...)"


@pytest.mark.parametrize(
    ("code", "why", "excused"),
    [
        (
            "(function () { require('lib/m'); return function (doc) {} })()",
            'error,invalid_require_path,no property "lib"',
            True,
        ),
        ("(function () { require('lib/m'); return function (doc) {} })()", '["error", "invalid_require_path"]', True),
        ("(function () { require('views/lib/m').f(); })()", "TypeError: cannot read property of null", True),
        (
            "(function () { try { require('lib/m'); } catch (e) {} return f })()",
            "ReferenceError: 'f' is not defined",
            True,
        ),
        ("validate_orders", "ReferenceError: 'validate_orders' is not defined (validate_orders)", False),
        ("(function () { return requires })()", '(new ReferenceError("requires is not defined", "", 1))', False),
        ("function (doc) { require('lib/m'); return ", "SyntaxError: unexpected token", False),
        (
            "function (doc) { require('lib/m'); return ",
            '(new Error("Line 1: Unexpected end of input", "main.js", 1))',
            False,
        ),
        ("require; 3", "Expression does not eval to a function.", False),
        ("(function () { throw 'x' })()", "TypeError: x", False),
    ],
)
def test_a_function_may_fail_for_want_of_a_module(code: str, why: str, excused: bool) -> None:
    assert rules.may_need_a_module(code, why) is excused


MODULES = {"_id": "_design/app", "lib": {"m": "exports.f = 1", "n": 1}, "views": {"lib": {"v": ""}}, "many": ["a"]}


@pytest.mark.parametrize(
    ("code", "missing"),
    [
        ("function (doc) { require('lib/m').f(require(\"views/lib/v\")); }", None),
        ("function (doc) { require('lib/missing').f(); }", "lib/missing"),
        ("function (doc) { require('lib/m'); require( 'other/m' ); }", "other/m"),
        ("(function () { var m = require('lib'); return function () {} })()", "lib"),
        ("function (doc) { require('lib/n'); }", "lib/n"),
        ("function (doc) { require('/lib/m'); }", "/lib/m"),
        ("function (doc) { require('lib/m/f'); }", "lib/m/f"),
        ("function (doc) { throw {forbidden: 'it\\'s in \"lib\"'}; } // why\nrequire('a')", "a"),
        # What may be none of CouchDB's modules, or is not required for sure.
        ("function (doc) { require('many/0'); require('a/b/../../lib/m'); require('./m'); }", None),
        (
            "function (doc) { // require('a')\n /* require('a') **/ 'require(\\'a\\')'; \"require('a')\"; `require('a')` }",
            None,
        ),
        ("function (doc) { this.require('a'); $require('a'); required('a'); }", None),
        ("function (doc) { require('lib/' + doc.type); }", None),
        ("function (doc) { (function (require) { require('a'); })(function () {}); }", None),
        ("function (doc) { if (typeof require === 'function') require('a'); }", None),
        ("function (doc) { typeof exports === 'object' ? f(require('a')) : f(); }", None),
        ("function (doc) { try { require('a'); } catch (e) {} }", None),
        ("function (doc) { /* require('a')", None),
    ],
)
def test_a_required_module_that_a_design_document_lacks(code: str, missing: str | None) -> None:
    assert rules.missing_module(code, MODULES) == missing


def test_the_functions_that_couchdb_does_not_compile() -> None:
    document = {
        "validate_doc_update": "a",
        "rewrites": "b",
        "filters": {"c": "d", "e": 1},
        "views": {"f": {"map": "g"}},
    }
    assert rules.functions(document) == {"validate_doc_update": "a", "rewrites": "b", "filters/c": "d"}
    assert rules.functions({"rewrites": [{"from": "a", "to": "b"}]}) == {}
    assert rules.functions({**document, "language": "erlang"}) == {}


def test_the_function_that_did_not_compile_is_found() -> None:
    reason = COMPILED.format("filters/f", "SyntaxError")
    assert rules.failed_function(reason, {"filters/f": "x"}) == ("filters/f", "SyntaxError (function...)")
    assert rules.failed_function(reason, {"other": "x"}) == (None, "")
    assert rules.failed_function("", {"": "x"})[1] == ""
    assert rules.failed_field(COMPILED.format("by", "no")) == "views/by/map"
    assert rules.failed_field(COMPILED.format("by", "no").replace("map", "reduce")) == "views/by/reduce"
    assert rules.failed_field("filters/f: SyntaxError") == "filters/f"
