# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each place that lists the parts of couchdb_server lists all of them, so that a new part is forgotten nowhere."""

from __future__ import annotations

import json
import re
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible_collections.couchpy.couchdb.plugins.module_utils._resources.server import RESOURCE
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules import adoption, differences

ROOT = Path(__file__).parents[2]
PARTS = list(RESOURCE.parts)


def loaded(path: str) -> t.Any:
    return yaml.safe_load((ROOT / path).read_text())


def test_the_playbook_check_compares_each() -> None:
    (task,) = [task for task in loaded("playbooks/tasks/compare.yml") if "couchpy.couchdb.couchdb_server" in task]
    assert set(PARTS) <= set(task["couchpy.couchdb.couchdb_server"])


def test_each_is_gathered() -> None:
    source = (ROOT / "plugins/module_utils/_client/declaration.py").read_text()
    assert set(re.findall(r'declared\["(\w+)"\] =', source)) == {*PARTS, "members"}


def test_the_report_can_name_each() -> None:
    schema = json.loads((ROOT / "docs" / "report.schema.json").read_text())
    (listed,) = [found["enum"] for found in _objects(schema) if "settings" in found.get("enum", ())]
    assert listed == [*PARTS, "members"]


def _objects(node: t.Any) -> t.Iterator[dict[str, t.Any]]:
    if isinstance(node, dict):
        yield node
    if isinstance(node, (dict, list)):
        for inner in node.values() if isinstance(node, dict) else node:
            yield from _objects(inner)


def test_the_depth_of_the_diff_of_each_is_known() -> None:
    assert list(differences._DEPTHS) == [*PARTS, "members"]


def _entry(part: str) -> dict[str, t.Any]:
    """The options of an entry of a part."""
    resource, options = RESOURCE.parts[part].resource, RESOURCE.parts[part].options
    entry: dict[str, t.Any] = resource.options[options[part]].get("options", {})
    return entry


@pytest.mark.parametrize("part", PARTS)
def test_a_secret_of_an_entry_goes_to_the_vault(part: str) -> None:
    options = _entry(part)
    # A password is never read from a server, its hash is.
    secret = [name for name, option in options.items() if option.get("no_log") and name != "password"]
    assert secret == [field for field in [adoption._SECRET_FIELDS.get(part)] if field]


def test_the_role_removes_each() -> None:
    removed = (ROOT / "roles/server/tasks/remove-none.yml").read_text()
    # They go with their database.
    in_databases = {"documents", "indexes"}
    assert {part for part in PARTS if f"couchdb_{part}" in removed} == set(PARTS) - in_databases


@pytest.mark.parametrize("path", sorted((ROOT / "roles/server/tasks").glob("*.yml")), ids=lambda path: path.stem)
def test_a_list_of_tags_has_each(path: Path) -> None:
    for tags in re.findall(r"tags:.*\[(.*)\]", path.read_text()):
        named = [tag for tag in re.split(r",\s*", tags) if tag in PARTS]
        assert named in ([], PARTS), tags


@pytest.mark.parametrize("path", ["docs/docsite/rst/guide_one_server.rst", "roles/server/README.md"])
def test_the_tags_are_documented(path: str) -> None:
    page = (ROOT / path).read_text()
    assert [part for part in PARTS if f"`{part}`" not in page] == []
