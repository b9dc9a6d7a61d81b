# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""_couchapp: which documents files are, as tables of trees, and which trees are refused."""

from __future__ import annotations

import base64
import os
import typing as t
from pathlib import Path

import pytest
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules import couchapp as rules
from ansible_collections.couchpy.couchdb.plugins.module_utils.errors import InvalidInput

MAP = "function (doc) { emit(doc.date); }"


def grow(root: Path, tree: dict[str, str | bytes]) -> Path:
    """Write files, by their paths; a path that ends with a slash is an empty directory."""
    for name, content in tree.items():
        path = root / name
        if name.endswith("/"):
            path.mkdir(parents=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def documents(path: Path) -> list[dict[str, t.Any]]:
    return [source.document for source in rules.read(str(path))]


def attachment(kind: str, content: bytes) -> dict[str, str]:
    return {"content_type": kind, "data": base64.b64encode(content).decode()}


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        ({}, []),
        ({"a.json": '{"n": 1}'}, [{"_id": "a", "n": 1}]),
        ({"a.json": '{"_id": "b"}'}, [{"_id": "b"}]),
        ({"a.b.json": "{}"}, [{"_id": "a.b"}]),
        ({"a.json": b"\xef\xbb\xbf{}"}, [{"_id": "a"}]),
        ({"org.couchdb.user:ann.json": "{}"}, [{"_id": "org.couchdb.user:ann"}]),
        ({"b.json": "{}", "a/n.json": "1"}, [{"_id": "a", "n": 1}, {"_id": "b"}]),
        ({"a/text.txt": "  of two\nlines \r\n"}, [{"_id": "a", "text": "of two\nlines"}]),
        ({"a/text": "\ufeff\u00a0x\u2028"}, [{"_id": "a", "text": "x"}]),
        ({"a/x": "\x1fx\x85"}, [{"_id": "a", "x": "\x1fx\x85"}]),
        ({"a/x.js": ""}, [{"_id": "a", "x": ""}]),
        ({"a/_id": "b/c\n", "a/x": "1"}, [{"_id": "b/c", "x": "1"}]),
        ({"a/v1.2.json": "null"}, [{"_id": "a", "v1.2": None}]),
        ({"a/in/v1.2/x.y": "z"}, [{"_id": "a", "in": {"v1.2": {"x": "z"}}}]),
        ({"a/": "", "b/c/": ""}, []),
        ({"_local/a.json": "{}", "_local/b/x": "1"}, [{"_id": "_local/a"}, {"_id": "_local/b", "x": "1"}]),
        ({"_design/a.json": '{"views": {}}'}, [{"_id": "_design/a", "views": {}}]),
        (
            {"_design/app/views/by-date/map.js": MAP + "\n", "_design/app/views/by-date/reduce": "_count\n"},
            [{"_id": "_design/app", "views": {"by-date": {"map": MAP, "reduce": "_count"}}}],
        ),
        (
            {"_design/app/_attachments/css/a.CSS": "b {}", "_design/app/_attachments/x": b"\xff"},
            [
                {
                    "_id": "_design/app",
                    "_attachments": {
                        "css/a.CSS": attachment("text/css", b"b {}"),
                        "x": attachment("application/octet-stream", b"\xff"),
                    },
                }
            ],
        ),
        (
            {
                "a/_attachments/.well-known/x": "y",
                "a/_attachments/.git/x": "",
                "a/_attachments/.x.swp": "",
                "a/_attachments/x~": "",
            },
            [{"_id": "a", "_attachments": {".well-known/x": attachment("application/octet-stream", b"y")}}],
        ),
        ({"a/lib/_attachments/x": "y"}, [{"_id": "a", "lib": {"_attachments": {"x": "y"}}}]),
        ({"_security.json": "no JSON", ".git/x": "", "a.json~": "", "a/.x": "", "a/b~": ""}, []),
        ({"_security/admins.json": "[]"}, []),
    ],
)
def test_the_documents_of_a_database(tmp_path: Path, tree: dict[str, str | bytes], expected: t.Any) -> None:
    assert documents(grow(tmp_path, tree)) == expected


@pytest.mark.parametrize(
    ("tree", "place", "expected"),
    [
        ({"app/_id": "_design/app", "app/language": "erlang"}, "app", [{"_id": "_design/app", "language": "erlang"}]),
        ({"app/_id.txt": "x"}, "app", [{"_id": "x"}]),
        (
            {"app/_attachments/a.txt": "x", "app/n.json": "1"},
            "app",
            [{"_id": "app", "n": 1, "_attachments": {"a.txt": attachment("text/plain", b"x")}}],
        ),
        ({"_design/app/language": "erlang"}, "_design/app", [{"_id": "_design/app", "language": "erlang"}]),
        ({"_local/app/x": "1"}, "_local/app", [{"_id": "_local/app", "x": "1"}]),
        (
            {"_design/app/x": "1", "_design/b.json": "{}", "c.json": "{}"},
            "_design",
            [{"_id": "_design/app", "x": "1"}, {"_id": "_design/b"}],
        ),
        ({"_local/app/x": "1"}, "_local", [{"_id": "_local/app", "x": "1"}]),
        ({"_design/app.json": "{}"}, "_design/app.json", [{"_id": "_design/app"}]),
        ({"a.json": '{"_id": "b"}'}, "a.json", [{"_id": "b"}]),
        ({"a.json": '[{"_id": "b"}, {"_id": "c"}]'}, "a.json", [{"_id": "b"}, {"_id": "c"}]),
        ({"a.json": '{"docs": [{"_id": "b"}]}'}, "a.json", [{"_id": "b"}]),
        ({"a.json": '{"new_edits": false, "docs": []}'}, "a.json", []),
        ({"a.json": '{"docs": [], "more": 1}'}, "a.json", [{"_id": "a", "docs": [], "more": 1}]),
        ({"a.json": "{}"}, "./x/../a.json", [{"_id": "a"}]),
    ],
)
def test_a_source_that_is_one_document_or_a_file(
    tmp_path: Path, tree: dict[str, str | bytes], place: str, expected: t.Any
) -> None:
    assert documents(grow(tmp_path, tree) / place) == expected


@pytest.mark.parametrize(
    ("tree", "says"),
    [
        ({"a.json": "{", "b.json": "{}"}, r"/a\.json is not JSON: line 1, column 2: "),
        ({"a.json": '{\n "x": 1\n"'}, r"/a\.json is not JSON: line 3, column 1: "),
        ({"a.json": '{"x": NaN}'}, r"/a\.json is not JSON: it contains NaN"),
        ({"a.json": "[" * 100000}, r"/a\.json has lists or objects nested deeper than 400 levels"),
        ({"a.json": "[" * 500 + "]" * 500}, r"/a\.json has lists or objects nested deeper than 400 levels"),
        ({"a.json": "[]"}, r"/a\.json is not a document"),
        ({"a.json": ""}, r"/a\.json is not JSON: line 1, column 1"),
        ({"a/x.json": "1 2"}, r"/a/x\.json is not JSON: line 1, column 3"),
        ({"a/x.txt": b"1\n\xff"}, r"/a/x\.txt is not UTF-8 text: line 2"),
        ({"a/x.js": "1", "a/x.json": "2"}, r"field x has two sources: .*/a/x\.js and .*/a/x\.json"),
        ({"a/v/b.json": "{}", "a/v/b/c": "2"}, r"field v/b has two sources: .*/a/v/b and .*/a/v/b\.json"),
        ({"a.json": "{}", "a/x": "1"}, r"document a has two sources: .*/a and .*/a\.json"),
        ({"a.json": '{"_id": "b"}', "b.json": "{}"}, r"document b has two sources: .*/a\.json and .*/b\.json"),
        ({"_design/a.json": "{}", "_design/a/x": "1"}, r"document _design/a has two sources"),
        (
            {"README.md": "x"},
            r"/README\.md is not a document: it is neither a JSON file nor a directory. .* add a file _id",
        ),
        ({"a.js": "module.exports = {}"}, r"/a\.js is a JavaScript module, .*couchdb-compile"),
        ({"a/index.js": "module.exports = {}"}, r"/a/index\.js is a JavaScript module"),
        ({"a/index.coffee": "module.exports = _id: 'a'"}, r"/a/index\.coffee is a JavaScript module"),
        ({"a.coffee": "module.exports = _id: 'a'"}, r"/a\.coffee is a JavaScript module"),
        ({"a/\udcff": "1"}, r"/a contains b'\\xff', and this name is not UTF-8"),
        ({"_desing/a/x": "1"}, r"/_desing is not a document: names that begin with an underscore"),
        ({"_design.json": "{}"}, r"/_design\.json is not a document"),
        ({"a/_id": " \n"}, r"/a/_id does not contain a string"),
        ({"a/_id.json": "1"}, r"/a/_id\.json does not contain a string"),
        ({"views/a/map.js": MAP}, r"holds views, as design documents do"),
    ],
)
def test_what_is_refused_names_the_file(tmp_path: Path, tree: dict[str, str | bytes], says: str) -> None:
    with pytest.raises(InvalidInput, match=says) as caught:
        documents(grow(tmp_path, tree))
    assert caught.value.option == "src"


@pytest.mark.parametrize(
    ("tree", "place", "says"),
    [
        (
            {"_design/app/lib/a.json": "{}"},
            "_design/app/lib",
            r"is a part of the document _design/app. Use .*/_design/app",
        ),
        ({"_design/app/lib/a.json": "{}"}, "_design/app/lib/a.json", r"is a part of the document _design/app"),
        ({"_design/a/x/y/z": ""}, "_design/a/x/y", r"is a part of the document _design/a"),
        ({"a.js": "module.exports = {}"}, "a.js", r"/a\.js is a JavaScript module"),
    ],
)
def test_a_source_that_can_not_be_one(tmp_path: Path, tree: dict[str, str | bytes], place: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        documents(grow(tmp_path, tree) / place)


def test_what_was_packed_elsewhere_is_not_counted_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = rules.read(str(grow(tmp_path / "db", {"a/_attachments/x": b"y" * 90})))
    packed = rules.pack(read)
    (tmp_path / "packed.json").write_text(packed)
    monkeypatch.setattr(rules, "MOST_BYTES", 100)
    assert len(packed) > 100
    assert rules.read(str(tmp_path / "packed.json")) == read


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    grow(tmp_path, {"shared/map.js": MAP, "db/_design/app/views/a/x": "1"})
    view = tmp_path / "db/_design/app/views/a"
    (view / "more").symlink_to(tmp_path / "shared")
    assert documents(tmp_path / "db")[0]["views"]["a"]["more"] == {"map": MAP}
    (view / "round").symlink_to(tmp_path / "db/_design/app")
    with pytest.raises(InvalidInput, match="/round is a link to a directory that contains it"):
        documents(tmp_path / "db")
    (view / "round").unlink()
    (view / "gone").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InvalidInput, match="/gone is a link to a file that does not exist"):
        documents(tmp_path / "db")


def test_what_is_no_file_or_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInput, match="the file or directory .*/nowhere"):
        documents(tmp_path / "nowhere")
    grow(tmp_path, {"a.json": '{"x": "' + "y" * 60 + '"}', "b.json": '{"x": "' + "y" * 60 + '"}'})
    monkeypatch.setattr(rules, "MOST_BYTES", 100)
    with pytest.raises(InvalidInput, match=r"with .*/b\.json its files have more than"):
        documents(tmp_path)
    os.mkfifo(tmp_path / "a.fifo")
    with pytest.raises(InvalidInput, match=r"/a\.fifo is neither a file nor a directory"):
        documents(tmp_path)


def test_each_field_knows_its_file(tmp_path: Path) -> None:
    grow(
        tmp_path,
        {"_design/app/views/a/map.js": MAP, "_design/app/language": "javascript", "_design/app/filters/f.js": "x"},
    )
    (source,) = rules.read(str(tmp_path))
    assert source.path == str(tmp_path / "_design/app")
    assert source.files == {
        "filters/f": str(tmp_path / "_design/app/filters/f.js"),
        "language": str(tmp_path / "_design/app/language"),
        "views/a/map": str(tmp_path / "_design/app/views/a/map.js"),
    }


def test_what_was_read_on_one_host_is_the_same_on_another(tmp_path: Path) -> None:
    grow(tmp_path / "db", {"_design/app/views/a/map.js": MAP, "a.json": '{"n": 1.0}', "b/_attachments/c": b"\xff"})
    read = rules.read(str(tmp_path / "db"))
    (tmp_path / "packed.json").write_text(rules.pack(read))
    assert rules.read(str(tmp_path / "packed.json")) == read


def test_files_are_read_with_the_given_function(tmp_path: Path) -> None:
    grow(tmp_path, {"a.json": "not this"})
    assert [source.document for source in rules.read(str(tmp_path), lambda path: b'{"from": "elsewhere"}')] == [
        {"_id": "a", "from": "elsewhere"}
    ]
