# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rooms of docs/architecture.md: imports point one way, and each room keeps to its work."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest
from ansible_collections.couchpy.couchdb.plugins.module_utils._composition import Composition

PLUGINS = Path(__file__).parents[3] / "plugins"
ROOMS = {
    str(path.relative_to(PLUGINS / "module_utils").with_suffix("")): path
    for path in (PLUGINS / "module_utils").rglob("*.py")
    if path.name != "__init__.py"
}
MODULES = sorted((PLUGINS / "modules").glob("*.py"))
RESOURCES = [path for room, path in sorted(ROOMS.items()) if room.startswith("_resources/")]
PREFIX = "ansible_collections.couchpy.couchdb.plugins.module_utils"

# What each room may import of ours, besides errors. A room that is not here may import none.
BELOW: dict[str, set[str]] = {
    "_cluster": {"_names"},
    "_passwords": {"_names"},
    "_settings": {"_names"},
    "_users": {"_names", "_passwords", "_secrets"},
    "_replications": {"_dialect", "_names", "_secrets", "_selectors"},
    "_documents": {"_couchapp", "_names"},
    "_plan": {"_secrets"},
    "_admins": {"_dialect", "_passwords", "_plan"},
    "_databases": {"_dialect", "_names", "_plan"},
    "_dialect": {"_passwords"},
    "_indexes": {"_selectors"},
    "_http": {"_secrets"},
    "_rolling": {"_client/restarts", "_dialect", "_restart"},
    "_client/server": {"_dialect", "_http", "_settings"},
    "_client/admins": {"_client/server", "_dialect", "_http", "_names", "_passwords"},
    "_client/monitoring": {"_client/server", "_dialect"},
    "_client/restarts": {"_client/server", "_dialect", "_http", "_restart", "_rolling"},
    "_client/database": {"_client/server", "_http", "_security"},
    "_client/databases": {"_client/database", "_client/server", "_http", "_names"},
    "_client/documents": {"_client/database", "_client/databases", "_client/server", "_documents", "_http"},
    "_client/indexes": {"_client/database", "_client/databases", "_client/server", "_http", "_indexes"},
    "_client/members": {
        "_client/database",
        "_client/databases",
        "_client/server",
        "_cluster",
        "_dialect",
        "_http",
    },
    "_client/replications": {
        "_client/database",
        "_client/databases",
        "_client/monitoring",
        "_client/server",
        "_http",
        "_replications",
    },
    "_client/users": {"_client/admins", "_client/databases", "_client/server", "_users"},
    "database": {"_client/database", "_client/documents", "_client/indexes"},
    "client": {
        "_client/documents",
        "_client/indexes",
        "_client/members",
        "_client/replications",
        "_client/restarts",
        "_client/server",
        "_client/users",
        "database",
    },
    "_module": {"_client/server", "_http", "_plan", "_secrets"},
    "_composition": {"_client/server", "_module", "_plan"},
    "_resources/server": {
        "_client/documents",
        "_client/indexes",
        "_client/replications",
        "_client/users",
        "_composition",
        "_resources/admins",
        "_resources/databases",
        "_resources/documents",
        "_resources/indexes",
        "_resources/replications",
        "_resources/settings",
        "_resources/users",
        "database",
    },
}
PURE = {
    "_admins",
    "_cluster",
    "_couchapp",
    "_databases",
    "_dialect",
    "_documents",
    "_indexes",
    "_names",
    "_passwords",
    "_plan",
    "_replications",
    "_restart",
    "_secrets",
    "_security",
    "_selectors",
    "_settings",
    "_users",
}


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
    # A resource knows the engine, the parts of the client and the pure rooms; no other resource but those it is made of.
    parts = {"_module", *PURE, *(other for other in ROOMS if other.startswith("_client/"))}
    below = BELOW.get(room, parts if room.startswith("_resources/") else set())
    assert ours - {"errors"} <= below


def test_no_room_of_the_list_is_gone() -> None:
    assert {*BELOW, *PURE, *(room for below in BELOW.values() for room in below)} <= set(ROOMS)


@pytest.mark.parametrize("room", sorted(PURE))
def test_pure_rooms_touch_no_network_and_no_ansible(room: str) -> None:
    assert not imported(ROOMS[room]) & {"requests", "ansible", "socket", "urllib3"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_a_module_is_its_documentation_and_one_call(path: Path) -> None:
    ours = imported(path)
    (resource,) = (room for room in ours if room.startswith("_resources/"))
    assert ours - {"__future__", resource} in ({"_module"}, {"_composition"})


@pytest.mark.parametrize("path", RESOURCES, ids=lambda path: path.stem)
def test_a_resource_sends_no_request_and_fails_in_no_own_way(path: Path) -> None:
    assert not imported(path) & {"requests", "ansible", "_http"}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            assert node.attr not in ("fail_json", "exit_json", "request"), f"line {node.lineno}"


def test_an_action_plugin_does_nothing_but_read_files() -> None:
    for path in (PLUGINS / "action").glob("*.py"):
        assert imported(path) & {*ROOMS, "requests"} <= {"_couchapp", "errors"}
        assert path.stem in {module.stem for module in MODULES}


def test_only_the_engine_knows_ansible() -> None:
    knowing = [room for room in ROOMS if "ansible" in imported(ROOMS[room])]
    assert sorted(knowing) == ["_composition", "_module"]


def test_only_http_knows_requests() -> None:
    knowing = [room for room in ROOMS if "requests" in imported(ROOMS[room])]
    assert knowing == ["_http"]


# What a module is sent with: Ansible sends all that it imports, and each task reads and compiles that anew.
NEEDLESS = {
    "couchdb_config": {
        "client",
        "database",
        "_client/databases",
        "_cluster",
        "_couchapp",
        "_documents",
        "_replications",
    },
    "couchdb_database": {"client", "database", "_couchapp", "_documents", "_indexes", "_replications", "_rolling"},
    "couchdb_user": {"client", "database", "_couchapp", "_documents", "_indexes", "_replications", "_rolling"},
    "couchdb_document": {"client", "database", "_cluster", "_indexes", "_replications", "_rolling"},
    "couchdb_replication": {"client", "database", "_cluster", "_couchapp", "_documents", "_indexes", "_rolling"},
}


@pytest.mark.parametrize(("module", "needless"), NEEDLESS.items())
def test_a_task_is_sent_with_what_it_needs(module: str, needless: set[str]) -> None:
    sent, waiting = set(), [PLUGINS / "modules" / f"{module}.py"]
    while waiting:
        new = (imported(waiting.pop()) & set(ROOMS)) - sent
        sent |= new
        waiting += [ROOMS[room] for room in new]
    assert {"_module", "_http", "_client/server"} <= sent
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
    calls = calls_of(path).union(*(calls_of(ROOMS[room]) for room in imported(path) & {"_admins", "_databases"}))
    assert calls or resource.plan is None
    kinds = (resource.client, getattr(resource.client, "_KIND", None))
    assert {name for name in calls if not any(hasattr(kind, name) for kind in kinds)} == set()
