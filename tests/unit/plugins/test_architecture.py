# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The layers of docs/architecture.md: imports point one way, and each file keeps to its work."""

from __future__ import annotations

import ast
import graphlib
import importlib
import inspect
import re
import typing as t
from pathlib import Path
from types import ModuleType

import pytest
from ansible_collections.couchpy.couchdb.plugins.module_utils._client.database import Database
from ansible_collections.couchpy.couchdb.plugins.module_utils._client.server import Server
from ansible_collections.couchpy.couchdb.plugins.module_utils._engine.composition import Composition

PLUGINS = Path(__file__).parents[3] / "plugins"
FILES = {
    str(path.relative_to(PLUGINS / "module_utils").with_suffix("")): path
    for path in (PLUGINS / "module_utils").rglob("*.py")
    if path.name != "__init__.py"
}
MODULES = sorted((PLUGINS / "modules").glob("*.py"))
RESOURCES = [path for name, path in sorted(FILES.items()) if re.match(r"_resources/[^_]", name)]
# What several resources share.
SHARED = {name for name in FILES if name.startswith("_resources/_")}
PREFIX = "ansible_collections.couchpy.couchdb.plugins.module_utils"

# The layers, from the top: a file imports what is in its own folder or in one below it.
LAYERS = ("_resources", "_engine", "_client", "_rules", "errors")
PURE = sorted(name for name in FILES if name.startswith("_rules/"))


def layer(name: str) -> int:
    """The number of the layer of a file, 0 at the top; what is public and no layer of its own is made of the client's."""
    folder = name.partition("/")[0]
    return LAYERS.index({"client": "_client", "database": "_client"}.get(folder, folder))


def imported(path: Path) -> set[str]:
    """What a file imports: the files of ours by their places, of all else the outermost package."""
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
            found.update([place] if place in FILES else [f"{place}/{alias.name}".lstrip("/") for alias in node.names])
        elif isinstance(node, ast.Import):
            found.update(alias.name.partition(".")[0] for alias in node.names)
    return found


@pytest.mark.parametrize("name", sorted(FILES))
def test_imports_point_down(name: str) -> None:
    ours = imported(FILES[name]) & set(FILES)
    assert {other for other in ours if layer(other) < layer(name)} == set()


def test_what_runs_once_on_each_python_imports_nothing_of_ansible() -> None:
    """Only the layers above the client import Ansible; noxfile.py leaves these tests out on other ansible-cores."""
    root = PLUGINS.parent
    (listed,) = re.findall(r"^OF_PYTHON = (\[.*?\])", (root / "noxfile.py").read_text(), re.MULTILINE | re.DOTALL)
    for name in ast.literal_eval(listed):
        for path in [root / name] if name.endswith(".py") else sorted((root / name).rglob("*.py")):
            imports = re.findall(r"^\s*(?:from|import) .*", path.read_text(), re.MULTILINE)
            assert [
                line for line in imports if re.search(r"\bansible\b|\b_(engine|resources)\b|\.filter\b", line)
            ] == [], path


def test_the_map_of_the_code_names_existing_files() -> None:
    shown = (PLUGINS.parent / "docs" / "architecture.md").read_text()
    named = re.findall(r"`(_(?:resources|engine|client|rules)/\w+)\.py`", shown)
    assert named
    assert [name for name in named if name not in FILES] == []


def test_the_docs_name_existing_files() -> None:
    """All but the kind of thing that adding-a-resource.md makes up."""
    root = PLUGINS.parent
    texts = [
        *root.glob("*.md"),
        *(root / "docs").rglob("*.md"),
        *(root / "docs").rglob("*.rst"),
        *(root / "tests").glob("*/README.md"),
    ]
    path = re.compile(
        r"\b(?:plugins|roles|tests|docs|examples|playbooks|extensions)/[\w./-]+\.(?:py|yml|js|md|rst|j2)\b"
    )
    named = {name for text in texts for name in path.findall(text.read_text()) if "purges" not in name}
    assert [name for name in sorted(named) if not (root / name).exists()] == []


def test_nothing_is_imported_in_a_circle() -> None:
    above = {name: imported(path) & set(FILES) for name, path in FILES.items()}
    list(graphlib.TopologicalSorter(above).static_order())


@pytest.mark.parametrize("path", RESOURCES, ids=lambda path: path.stem)
def test_no_resource_knows_another_unless_it_is_made_of_others(path: Path) -> None:
    others = {name for name in imported(path) if name.startswith("_resources/")} - SHARED
    composed = isinstance(importlib.import_module(f"{PREFIX}._resources.{path.stem}").RESOURCE, Composition)
    assert bool(others) == composed


def test_every_module_has_a_resource_of_its_own() -> None:
    used = [name for path in MODULES for name in imported(path) if name.startswith("_resources/")]
    assert sorted(used) == sorted({name for name in FILES if name.startswith("_resources/")} - SHARED)


@pytest.mark.parametrize("name", PURE)
def test_rules_touch_no_network_and_no_ansible(name: str) -> None:
    assert not imported(FILES[name]) & {"requests", "ansible", "socket", "urllib3"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_a_module_is_its_documentation_and_one_call(path: Path) -> None:
    ours = imported(path)
    (resource,) = (name for name in ours if name.startswith("_resources/"))
    assert ours - {"__future__", resource} in ({"_engine/module"}, {"_engine/composition"})


@pytest.mark.parametrize("path", RESOURCES, ids=lambda path: path.stem)
def test_a_resource_sends_no_request_and_fails_in_no_own_way(path: Path) -> None:
    assert not imported(path) & {"requests", "ansible", "_client/connection"}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            assert node.attr not in ("fail_json", "exit_json", "request"), f"line {node.lineno}"


def test_an_action_plugin_sends_nothing_and_each_module_has_one() -> None:
    for path in (*(PLUGINS / "action").glob("*.py"), *(PLUGINS / "plugin_utils").glob("*.py")):
        assert imported(path) & {*FILES, "requests"} <= {*PURE, "errors", "_engine/module", "_engine/progress"}
    assert {path.stem for path in (PLUGINS / "action").glob("*.py")} == {module.stem for module in MODULES}
    for path in (PLUGINS / "action").glob("*.py"):
        assert f"MODULE = {path.stem}" in path.read_text(), "the module is to be run directly"


@pytest.mark.parametrize("path", sorted((PLUGINS / "filter").glob("*.py")), ids=lambda path: path.stem)
def test_a_filter_imports_ours_when_it_is_called(path: Path) -> None:
    """For one filter, Ansible loads those of all files, in each process of a task, and compiles again what they import."""
    at_once = [node for node in ast.parse(path.read_text()).body if isinstance(node, (ast.Import, ast.ImportFrom))]
    assert [ast.unparse(node) for node in at_once if "couchpy" in ast.unparse(node)] == []


def test_only_the_engine_knows_ansible() -> None:
    knowing = [name for name in FILES if "ansible" in imported(FILES[name])]
    assert sorted(knowing) == ["_engine/composition", "_engine/module"]


def test_only_connections_know_requests() -> None:
    knowing = [name for name in FILES if "requests" in imported(FILES[name])]
    assert knowing == ["_client/connection"]


# What a module is sent with: Ansible sends all that it imports, and each task reads and compiles that again.
NEEDLESS = {
    "couchdb_config": {
        "client",
        "database",
        "_rules/passwords",
        "_client/databases",
        "_rules/cluster",
        "_rules/couchapp",
        "_rules/documents",
        "_rules/replications",
    },
    "couchdb_database": {
        "client",
        "database",
        "_rules/config",
        "_rules/forms",
        "_rules/passwords",
        "_rules/couchapp",
        "_rules/documents",
        "_rules/indexes",
        "_rules/replications",
        "_client/restart",
    },
    "couchdb_user": {
        "client",
        "database",
        "_rules/config",
        "_rules/forms",
        "_rules/couchapp",
        "_rules/documents",
        "_rules/indexes",
        "_rules/replications",
        "_client/restart",
    },
    "couchdb_document": {
        "client",
        "database",
        "_rules/config",
        "_rules/forms",
        "_rules/passwords",
        "_rules/cluster",
        "_rules/indexes",
        "_rules/replications",
        "_client/restart",
    },
    "couchdb_info": {"client", "database", "_client/moves", "_client/restart", "_rules/moves"},
    "couchdb_replication": {
        "client",
        "database",
        "_rules/config",
        "_rules/forms",
        "_rules/cluster",
        "_rules/couchapp",
        "_rules/documents",
        "_rules/indexes",
        "_client/restart",
    },
}


# The kilobytes of source that a task is sent with, at most. A feature may need more; an import for one small rule may not.
KILOBYTES_OF_A_NEW_MODULE = 200
KILOBYTES = {
    "couchdb_admin": 188,
    "couchdb_cluster": 333,
    "couchdb_config": 191,
    "couchdb_database": 258,
    "couchdb_document": 260,
    "couchdb_index": 240,
    "couchdb_info": 434,
    "couchdb_jwt_key": 180,
    "couchdb_replication": 310,
    "couchdb_restart": 205,
    "couchdb_server": 600,
    "couchdb_shards": 317,
    "couchdb_user": 230,
}


def sent_with(module: str) -> set[str]:
    """The files that Ansible sends a module with."""
    sent, waiting = set(), [PLUGINS / "modules" / f"{module}.py"]
    while waiting:
        new = (imported(waiting.pop()) & set(FILES)) - sent
        sent |= new
        waiting += [FILES[name] for name in new]
    return sent


@pytest.mark.parametrize(("module", "needless"), NEEDLESS.items())
def test_a_task_is_sent_with_what_it_needs(module: str, needless: set[str]) -> None:
    sent = sent_with(module)
    assert {"_engine/module", "_client/connection", "_client/server"} <= sent
    assert not needless & sent


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_a_task_is_sent_with_few_bytes(path: Path) -> None:
    sizes = {name: FILES[name].stat().st_size for name in sent_with(path.stem)}
    total = sum(sizes.values()) + path.stat().st_size
    largest = sorted(sizes, key=lambda name: -sizes[name])
    limit = KILOBYTES.get(path.stem, KILOBYTES_OF_A_NEW_MODULE)
    assert total <= limit * 1024, f"{total / 1024:.0f} kB: {', '.join(largest)}"


def methods_of(module: ModuleType) -> set[t.Any]:
    """The classes of the client whose methods a resource names, such as IndexedDatabase in C(IndexedDatabase.put_index)."""
    named = (node for node in ast.walk(ast.parse(inspect.getsource(module))) if isinstance(node, ast.Attribute))
    owners = ((getattr(module, node.value.id, None), node.attr) for node in named if isinstance(node.value, ast.Name))
    return {
        owner
        for owner, name in owners
        if inspect.isclass(owner) and issubclass(owner, (Server, Database)) and callable(getattr(owner, name))
    }


@pytest.mark.parametrize("path", RESOURCES, ids=lambda path: path.stem)
def test_the_client_of_a_resource_has_the_methods_that_its_changes_call(path: Path) -> None:
    module = importlib.import_module(f"{PREFIX}._resources.{path.stem}")
    resource = module.RESOURCE
    if isinstance(resource, Composition):
        assert all(issubclass(resource.client, part.resource.client) for part in resource.parts.values())
        kinds = [getattr(part.resource.client, "_KIND", object) for part in resource.parts.values()]
        assert all(issubclass(resource.client._KIND, kind) for kind in kinds)
        return
    shared = [importlib.import_module(f"{PREFIX}.{name.replace('/', '.')}") for name in imported(path) & SHARED]
    owners = methods_of(module).union(*map(methods_of, shared))
    assert owners or resource.plan is None
    kinds = (resource.client, getattr(resource.client, "_KIND", object))
    assert {owner for owner in owners if not any(issubclass(kind, owner) for kind in kinds)} == set()


@pytest.mark.parametrize("name", [name for name in FILES if not name.startswith("_resources/")])
def test_changes_are_built_in_resources_only(name: str) -> None:
    called = [node.func for node in ast.walk(ast.parse(FILES[name].read_text())) if isinstance(node, ast.Call)]
    assert "Change" not in {ast.unparse(function).rpartition(".")[2] for function in called}
