# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rooms of docs/architecture.md: imports point one way, and each room keeps to its work."""

from __future__ import annotations

import ast
import graphlib
import importlib
import re
from pathlib import Path

import pytest
from ansible_collections.couchpy.couchdb.plugins.module_utils._engine.composition import Composition

PLUGINS = Path(__file__).parents[3] / "plugins"
ROOMS = {
    str(path.relative_to(PLUGINS / "module_utils").with_suffix("")): path
    for path in (PLUGINS / "module_utils").rglob("*.py")
    if path.name != "__init__.py"
}
MODULES = sorted((PLUGINS / "modules").glob("*.py"))
RESOURCES = [path for room, path in sorted(ROOMS.items()) if room.startswith("_resources/")]
PREFIX = "ansible_collections.couchpy.couchdb.plugins.module_utils"

# The layers, from the top: a file imports what stands in its own folder or in one below it.
LAYERS = ("_resources", "_engine", "_client", "_rules", "errors")
PURE = sorted(room for room in ROOMS if room.startswith("_rules/"))


def layer(room: str) -> int:
    """The number of the layer of a room, 0 at the top; what is public and no layer of its own is made of the client's."""
    folder = room.partition("/")[0]
    return LAYERS.index({"client": "_client", "database": "_client"}.get(folder, folder))


def imported(path: Path) -> set[str]:
    """What a file imports: the rooms of ours by their places, of all else the outermost package."""
    found: set[str] = set()
    here = f"{PREFIX}.{path.relative_to(PLUGINS / 'module_utils')}" if "module_utils" in path.parts else ""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            base = re.split(r"[./]", here.removeprefix(PREFIX + "."))[: -1 - node.level] if node.level else []
            module = ".".join([PREFIX, *base, *filter(None, [node.module])]) if node.level else node.module or ""
            if not module.startswith(PREFIX):
                found.add(module.partition(".")[0])
                continue
            place = "/".join(module.removeprefix(PREFIX).split(".")[1:])
            found.update([place] if place in ROOMS else [f"{place}/{alias.name}".lstrip("/") for alias in node.names])
        elif isinstance(node, ast.Import):
            found.update(alias.name.partition(".")[0] for alias in node.names)
    return found


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_imports_point_down(room: str) -> None:
    ours = imported(ROOMS[room]) & set(ROOMS)
    assert {other for other in ours if layer(other) < layer(room)} == set()


def test_nothing_is_imported_in_a_circle() -> None:
    above = {room: imported(path) & set(ROOMS) for room, path in ROOMS.items()}
    list(graphlib.TopologicalSorter(above).static_order())


@pytest.mark.parametrize("path", RESOURCES, ids=lambda path: path.stem)
def test_no_resource_knows_another_unless_it_is_made_of_others(path: Path) -> None:
    others = {room for room in imported(path) if room.startswith("_resources/")}
    composed = isinstance(importlib.import_module(f"{PREFIX}._resources.{path.stem}").RESOURCE, Composition)
    assert bool(others) == composed


def test_every_module_has_a_resource_of_its_own() -> None:
    used = [room for path in MODULES for room in imported(path) if room.startswith("_resources/")]
    assert sorted(used) == sorted(room for room in ROOMS if room.startswith("_resources/"))


@pytest.mark.parametrize("room", PURE)
def test_rules_touch_no_network_and_no_ansible(room: str) -> None:
    assert not imported(ROOMS[room]) & {"requests", "ansible", "socket", "urllib3"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_a_module_is_its_documentation_and_one_call(path: Path) -> None:
    ours = imported(path)
    (resource,) = (room for room in ours if room.startswith("_resources/"))
    assert ours - {"__future__", resource} in ({"_engine/module"}, {"_engine/composition"})


@pytest.mark.parametrize("path", RESOURCES, ids=lambda path: path.stem)
def test_a_resource_sends_no_request_and_fails_in_no_own_way(path: Path) -> None:
    assert not imported(path) & {"requests", "ansible", "_client/http"}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            assert node.attr not in ("fail_json", "exit_json", "request"), f"line {node.lineno}"


def test_an_action_plugin_does_nothing_but_read_files() -> None:
    for path in (PLUGINS / "action").glob("*.py"):
        assert imported(path) & {*ROOMS, "requests"} <= {"_rules/couchapp", "errors"}
        assert path.stem in {module.stem for module in MODULES}


def test_only_the_engine_knows_ansible() -> None:
    knowing = [room for room in ROOMS if "ansible" in imported(ROOMS[room])]
    assert sorted(knowing) == ["_engine/composition", "_engine/module"]


def test_only_http_knows_requests() -> None:
    knowing = [room for room in ROOMS if "requests" in imported(ROOMS[room])]
    assert knowing == ["_client/http"]


# What a module is sent with: Ansible sends all that it imports, and each task reads and compiles that anew.
NEEDLESS = {
    "couchdb_config": {
        "client",
        "database",
        "_client/databases",
        "_rules/cluster",
        "_rules/couchapp",
        "_rules/documents",
        "_rules/replications",
    },
    "couchdb_database": {
        "client",
        "database",
        "_rules/couchapp",
        "_rules/documents",
        "_rules/indexes",
        "_rules/replications",
        "_client/rolling",
    },
    "couchdb_user": {
        "client",
        "database",
        "_rules/couchapp",
        "_rules/documents",
        "_rules/indexes",
        "_rules/replications",
        "_client/rolling",
    },
    "couchdb_document": {
        "client",
        "database",
        "_rules/cluster",
        "_rules/indexes",
        "_rules/replications",
        "_client/rolling",
    },
    "couchdb_replication": {
        "client",
        "database",
        "_rules/cluster",
        "_rules/couchapp",
        "_rules/documents",
        "_rules/indexes",
        "_client/rolling",
    },
}


@pytest.mark.parametrize(("module", "needless"), NEEDLESS.items())
def test_a_task_is_sent_with_what_it_needs(module: str, needless: set[str]) -> None:
    sent, waiting = set(), [PLUGINS / "modules" / f"{module}.py"]
    while waiting:
        new = (imported(waiting.pop()) & set(ROOMS)) - sent
        sent |= new
        waiting += [ROOMS[room] for room in new]
    assert {"_engine/module", "_client/http", "_client/server"} <= sent
    assert not needless & sent


def calls_of(path: Path) -> set[str]:
    """The methods that the changes of a file call: given by place or by name, or through a variable C(call)."""
    found: list[ast.AST] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            place = {"Change": 5, "adjustment": 4}.get(ast.unparse(node.func).rpartition(".")[2])
            found += node.args[place : place + 1] if place else []
            found += [keyword.value for keyword in node.keywords if keyword.arg == "call"]
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]).strip("()").partition(", ")[0] == "call":
            found.append(node.value.elts[0] if isinstance(node.value, ast.Tuple) else node.value)
    ends = (value for node in found for value in ([node.body, node.orelse] if isinstance(node, ast.IfExp) else [node]))
    return {value.value for value in ends if isinstance(value, ast.Constant)}


@pytest.mark.parametrize("path", RESOURCES, ids=lambda path: path.stem)
def test_the_client_of_a_resource_has_the_methods_that_its_changes_call(path: Path) -> None:
    resource = importlib.import_module(f"{PREFIX}._resources.{path.stem}").RESOURCE
    if isinstance(resource, Composition):
        assert all(issubclass(resource.client, part.resource.client) for part in resource.parts.values())
        kinds = [getattr(part.resource.client, "_KIND", object) for part in resource.parts.values()]
        assert all(issubclass(resource.client._KIND, kind) for kind in kinds)
        return
    calls = calls_of(path).union(
        *(calls_of(ROOMS[room]) for room in imported(path) & {"_rules/admins", "_rules/databases"})
    )
    assert calls or resource.plan is None
    kinds = (resource.client, getattr(resource.client, "_KIND", None))
    assert {name for name in calls if not any(hasattr(kind, name) for kind in kinds)} == set()
